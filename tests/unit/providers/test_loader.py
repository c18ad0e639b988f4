"""Agents from files and modules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from salon.base import ConfigurationError
from salon.core.ports.ai import AIContext, AIMessage, AIProvider, TextDelta
from salon.providers import loader
from salon.providers.loader import load_agent

HEAD = "from salon.providers.agent import agent\n"
ONE = HEAD + "@agent\nasync def one(turn, room):\n    yield '{0}'\n"
MOCK = "from salon.providers.mock import MockAIProvider\nmodel = MockAIProvider()\n"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(loader, "_ours", {})
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if not name.startswith("salon."):
            del sys.modules[name]


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def loaded_from(folder: Path) -> list[str]:
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    return [name for name, file in files.items() if file and Path(file).is_relative_to(folder)]


async def said(provider: AIProvider) -> str:
    context = AIContext("r", (AIMessage("user", "hi"),))
    parts = [part async for part in provider.generate_stream(context)]
    return "".join(part.text for part in parts if isinstance(part, TextDelta))


async def test_the_single_agent_of_a_file_is_found(tmp_path: Path) -> None:
    file = write(tmp_path / "my agent.py", ONE.format("x") + MOCK)
    found = load_agent(file)
    assert found.name == "one"
    assert await said(found) == "x"
    assert (await said(load_agent(Path(file)))) == "x"


async def test_an_agent_of_several_is_chosen_by_name(tmp_path: Path) -> None:
    file = write(tmp_path / "a.py", ONE.format("x") + ONE.format("y").replace("one", "two"))
    assert await said(load_agent(f"{file}:two")) == "y"
    with pytest.raises(ConfigurationError, match=r"several agents \(one, two\): name one, as .*:o"):
        load_agent(file)


def test_a_provider_serves_where_there_is_no_agent(tmp_path: Path) -> None:
    assert load_agent(write(tmp_path / "a.py", MOCK)).name == "mock"


def test_an_agent_of_the_file_goes_before_imported_ones(tmp_path: Path) -> None:
    write(tmp_path / "other.py", ONE.format("x"))
    file = write(tmp_path / "a.py", "from other import one\n" + ONE.replace("one", "mine"))
    assert load_agent(file).name == "mine"
    assert load_agent(write(tmp_path / "b.py", "from other import one\n")).name == "one"


async def test_each_load_is_afresh_with_the_local_modules(tmp_path: Path) -> None:
    other = tmp_path / "words_of_it.py"
    write(other, "WORD = 'old'\n")
    text = "import words_of_it\n" + ONE.replace("'{0}'", "words_of_it.WORD")
    file = write(tmp_path / "a.py", text)
    first = load_agent(file)
    write(other, "WORD = 'newer'\n")
    second = load_agent(file)
    write(tmp_path / "a.py", text.replace("one", "two"))
    third = load_agent(file)
    assert [await said(a) for a in (first, second, third)] == ["old", "newer", "newer"]
    assert third.name == "two"
    assert first is not second
    assert len(loaded_from(tmp_path)) == 2


async def test_dataclasses_and_tools_of_the_file_work(tmp_path: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from salon.providers.tools import tool\n"
        "@dataclass\nclass Place:\n    city: str\n"
        "@tool\ndef go(where: Place) -> str: ...\n"
    )
    load_agent(write(tmp_path / "a.py", text + ONE.replace("from __future__", "")))


async def test_modules_are_found_in_the_working_folder(tmp_path: Path) -> None:
    write(tmp_path / "bots" / "__init__.py", "")
    module = tmp_path / "bots" / "fine.py"
    write(module, ONE.format("x"))
    assert await said(load_agent("bots.fine:one")) == "x"
    write(module, ONE.format("longer"))
    assert await said(load_agent("bots.fine")) == "longer"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("gone.py", "agent 'gone.py': no such file"),
        ("gone.py:one", "agent 'gone.py': no such file"),
        ("gone.module:one", "there is no module 'gone'"),
        (".", "neither a file nor the name of a module"),
        ("./", "is not a file"),
        ("", "no agent is named"),
        (":one", "before ':' is missing"),
        ("a.py:1x", "'1x' is no name of an agent"),
        ("a b:one", "neither a file"),
    ],
)
def test_what_is_not_there_is_named(spec: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load_agent(spec)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "holds no agent: put @salon.agent on a function"),
        (":gone", "has no 'gone'; agents in it: none"),
        (":plain", "plain is no agent but function: put @salon.agent on it"),
        (":value", "value is no agent but int$"),
        (":Kind", "Kind is a class: name an instance"),
    ],
)
def test_what_is_no_agent_is_told(tmp_path: Path, name: str, says: str) -> None:
    text = "from salon.core.ports.ai import AIProvider\nvalue = 1\ndef plain(): ...\n"
    file = write(tmp_path / "a.py", text + "class Kind(AIProvider): ...\n")
    with pytest.raises(ConfigurationError, match=says):
        load_agent(file + name)


def test_errors_while_importing_show_the_users_lines(tmp_path: Path) -> None:
    write(tmp_path / "deep.py", "def go():\n    return 1 / 0\n")
    file = write(tmp_path / "a.py", "import deep\ndeep.go()\n")
    with pytest.raises(ConfigurationError) as caught:
        load_agent(file)
    told = str(caught.value)
    assert told.startswith(f"{file} can't be imported:\n")
    assert f'File "{file}", line 2' in told
    assert "return 1 / 0" in told
    assert told.endswith("ZeroDivisionError: division by zero")
    assert "importlib" not in told
    assert "loader.py" not in told
    assert loaded_from(tmp_path) == ["deep"]
    write(tmp_path / "deep.py", "def go():\n    return 'mended'\n")
    write(tmp_path / "a.py", "import deep\ndeep.go()\n" + ONE)
    assert load_agent(file).name == "one"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def broken(:\n", r"line 1\n    def broken\(:"),
        ("import no_such_thing_at_all\n", "No module named 'no_such_thing_at_all'"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        (HEAD + "@agent\nasync def f(turn): ...\n", r"must take two parameters"),
    ],
)
def test_every_way_to_fail_is_a_configuration_error(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load_agent(write(tmp_path / "a.py", text))


def test_a_module_that_lacks_another_is_not_said_to_be_missing(tmp_path: Path) -> None:
    write(tmp_path / "lacking.py", "import no_such_thing\n")
    with pytest.raises(ConfigurationError, match=r"lacking can't be imported:\n.*lacking.py"):
        load_agent("lacking")


def test_installed_modules_stay_loaded(tmp_path: Path) -> None:
    installed = tmp_path / "env" / "site-packages"
    write(installed / "a_library.py", "")
    sys.path.insert(0, str(installed))
    file = write(tmp_path / "a.py", "import a_library\n" + ONE)
    load_agent(file)
    library = sys.modules["a_library"]
    load_agent(file)
    assert sys.modules["a_library"] is library
