"""Python in the documentation compiles, and what it imports is there; tests in it pass."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.docs.pages import blocks, code

PYTHON = code("python")
_IDS = [f"{name}-{number}" for number, (name, _) in enumerate(PYTHON)]


@pytest.mark.parametrize(("name", "block"), PYTHON, ids=_IDS)
def test_it_compiles(name: str, block: str) -> None:
    compile(block, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize(("name", "block"), PYTHON, ids=_IDS)
def test_what_it_takes_from_salon_is_there(name: str, block: str) -> None:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "salon":
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{name}: {node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "salon"
        ):
            assert hasattr(importlib.import_module("salon"), node.attr), (
                f"{name}: salon.{node.attr}"
            )


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_shown_to_users_pass(tmp_path: Path) -> None:
    agent, *tests = blocks("docs/how-to/test-your-agent.md", "python")
    (tmp_path / "agent.py").write_text(agent, encoding="utf-8")
    for test in tests:
        name = test.splitlines()[0].removeprefix("# ")
        assert name.startswith("test_")
        (tmp_path / name).write_text(test, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n", encoding="utf-8")
    out = run("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=tmp_path)
    assert "4 passed" in out


def test_the_room_with_a_hook_behaves_as_described(tmp_path: Path) -> None:
    (block,) = blocks("docs/explanation/rooms-and-events.md", "python")
    (tmp_path / "hook.py").write_text(block, encoding="utf-8")
    out = run("hook.py", folder=tmp_path)
    assert "hello -> delivered" in out
    assert "damn -> mind your language" in out
    assert "HELLO" in out
