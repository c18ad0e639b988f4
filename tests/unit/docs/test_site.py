"""The site builds without a warning, with what it takes from the code in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.docs.pages import ROOT

from salon.gateway.commands import COMMAND_TYPES
from salon.gateway.events import EVENT_TYPES
from salon.gateway.schema import call_protocol_schema

if not os.environ.get("SALON_REQUIRE_ALL"):  # there it has to be
    pytest.importorskip("mkdocs")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_the_call_protocol_is_shown_and_published(site: Path) -> None:
    page = (site / "reference/call-protocol.html").read_text(encoding="utf-8")
    for name in (*COMMAND_TYPES, *EVENT_TYPES):
        assert f"<code>{name}</code>" in page, name
    published = json.loads((site / "reference/call.schema.json").read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(call_protocol_schema()))


@pytest.mark.slow
def test_the_commands_are_shown(site: Path) -> None:
    page = (site / "reference/cli.html").read_text(encoding="utf-8")
    for command in ("serve", "dev", "console", "new", "probe websocket", "doctor", "version"):
        assert f"<code>salon {command}</code>" in page, command
    assert "--tls-self-signed" in page


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    for file in site.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        for tag in ('<script src="http', '<link rel="stylesheet" href="http', '<img src="http'):
            assert tag not in text, file.name
