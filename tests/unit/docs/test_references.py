"""Names in the documentation are names in the code, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.docs.pages import DOCS, ROOT, TOP, pages, read, texts

import salon.base.errors
from salon.app.application import create_app
from salon.app.metrics import Metrics
from salon.app.settings import VARIABLES, Settings

_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
_OUTSIDE = {"SALON_PYTHON"}
"""Not a setting: which Python `make` uses."""


@pytest.mark.parametrize("name", texts())
def test_links_lead_to_files(name: str) -> None:
    folder = (ROOT / name).parent
    for link in _LINK.findall(read(name)):
        if "://" not in link:
            assert (folder / link).exists(), f"{name}: {link}"


@pytest.mark.parametrize("name", [*texts(), ".env.example"])
def test_settings_named_are_settings(name: str) -> None:
    real = {known for variable in VARIABLES for known in variable.names} | _OUTSIDE
    named = set(re.findall(r"\bSALON_[A-Z_]*[A-Z]\b", read(name)))
    assert named <= real


@pytest.mark.parametrize("name", texts())
def test_no_host_of_a_package_registry_is_named(name: str) -> None:
    assert not re.search(r"pypi\.|npmjs|pythonhosted|unpkg|jsdelivr", read(name))


@pytest.mark.parametrize("name", TOP)
def test_paths_in_the_top_level_texts_exist(name: str) -> None:
    for path in re.findall(r"`((?:src|docs|tests|scripts|web|benchmarks)/[\w./-]*)`", read(name)):
        assert (ROOT / path).exists(), f"{name}: {path}"


def test_the_navigation_names_every_page() -> None:
    nav = read("mkdocs.yml").partition("\nnav:\n")[2]
    named = re.findall(r"[\w/-]+\.md", nav)
    there = {page.relative_to(DOCS).as_posix() for page in pages()}
    assert sorted(named) == sorted(there - {"status.md"}), "the status is for those who build"


def test_metrics_in_the_guide_are_the_metrics_there_are() -> None:
    rendered = Metrics().render().decode()
    there = set(re.findall(r"^# TYPE (salon_\w+) ", rendered, re.M))
    there = {name for name in there if not name.endswith("_created")}
    rows = re.findall(r"^\| `(salon_\w+)(?:\{\w+\})?` \|", read("docs/how-to/operations.md"), re.M)
    assert set(rows) == there


def test_routes_in_the_reference_are_the_routes_there_are(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path / "data", store_url="memory://"))
    there = {
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    rows = re.findall(
        r"^\| (GET|POST|PUT|PATCH|DELETE) \| `(/[^`]*)` \|",
        read("docs/reference/rest-api.md"),
        re.M,
    )
    assert set(rows) - {("GET", "/")} == there


def test_codes_in_the_reference_are_the_codes_of_the_errors() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", read("docs/reference/errors.md"), re.M)
    assert rows
    for name, code in rows:
        assert getattr(salon.base.errors, name).code == code


def test_decisions_have_their_four_parts() -> None:
    for page in sorted((DOCS / "decisions").glob("0*.md")):
        text = page.read_text(encoding="utf-8")
        parts = ["Situation", "Decision", "What follows", "What else was possible"]
        assert re.findall(r"^## (.+)$", text, re.M) == parts, page.name
        assert f"({page.name})" in read("docs/decisions/README.md")


def test_what_the_javascript_guide_imports_is_exported() -> None:
    page = read("docs/how-to/javascript-client.md")
    folder = ROOT / "web/src/client"
    exported: set[str] = set()
    for module in re.findall(r'export \* from "\./([\w-]+)"', read("web/src/client/index.ts")):
        text = (folder / f"{module}.ts").read_text(encoding="utf-8")
        exported |= set(re.findall(r"^export (?:class|function|const) (\w+)", text, re.M))
    imported = re.findall(r'import \{ ([^}]+) \} from "/client\.js"', page)
    named = {name.strip() for names in imported for name in names.split(",")}
    named |= set(
        re.findall(r"^\| `(\w+Client|Line|RemoteSound|Microphone|Speaker)` \|", page, re.M)
    )
    assert named
    assert named <= exported
