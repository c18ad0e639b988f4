"""The guides to rooms are programs: their blocks, run in order, print what they say."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.docs.pages import blocks

PAGES = ["rooms", "hooks", "telemetry", "identity", "sources", "tools-and-agents", "webhooks"]

_SAID = re.compile(r"^ *(?:print\(.+\)\n|print\(.+\)  )# (.+)$", re.MULTILINE)
"""What a comment says that a line prints, up to a colon."""


@pytest.mark.parametrize("page", PAGES)
async def test_the_page_runs_and_prints_what_it_says(
    page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"docs/how-to/{page}.md"
    program = "\n\n".join(blocks(name, "python"))
    code = compile(program, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    done = eval(code, {"__name__": "page"})
    if inspect.iscoroutine(done):
        await done
    printed = capsys.readouterr().out.splitlines()
    for words in _SAID.findall(program):
        fitting = [line for line in printed if words == line or words.startswith(f"{line}: ")]
        assert fitting, f"{name}: {words!r} is not among {printed}"
        printed.remove(fitting[0])


def test_the_tutorial_on_text_messages_prints_what_it_shows(tmp_path: Path) -> None:
    page = "docs/tutorial/text-messages.md"
    program = tmp_path / "customer.py"
    program.write_text("\n\n".join(blocks(page, "python")), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (shown,) = blocks(page, "text")
    assert done.stdout == shown
