"""The README is true: its agent runs, its commands exist, its questions are understood."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.docs.pages import ROOT, blocks, read

from salon.core.ports.ai import AIContext, AIMessage, AIProvider, TextDelta
from salon.providers.house import HouseAgent
from salon.providers.loader import load_agent


async def ask(agent: AIProvider, text: str) -> str:
    context = AIContext("room", (AIMessage("user", text, name="Ann"),))
    parts = [part async for part in agent.generate_stream(context)]
    return "".join(part.text for part in parts if isinstance(part, TextDelta))


def test_it_starts_with_an_agent_of_ten_lines() -> None:
    title, rest = read("README.md").split("\n\n", 1)
    assert title == "# Salon"
    assert rest.startswith("```python\nimport salon\n")
    written = [line for line in blocks("README.md", "python")[0].splitlines() if line]
    assert len(written) <= 10


async def test_its_agent_answers(tmp_path: Path) -> None:
    file = tmp_path / "agent.py"
    file.write_text(blocks("README.md", "python")[0], encoding="utf-8")
    agent = load_agent(file)
    assert await ask(agent, "good morning") == "Hello Ann. You said: good morning"
    assert await ask(agent, "bye then") == "Goodbye!"


def test_the_first_example_is_the_same_agent() -> None:
    assert read("examples/hello.py").endswith(blocks("README.md", "python")[0])


def test_it_has_two_commands_and_the_makefile_has_both() -> None:
    (block,) = blocks("README.md", "sh")
    commands = [line.partition("#")[0].strip() for line in block.splitlines()]
    assert commands == ["make run", "make test"]
    for command in commands:
        assert f"\n{command.removeprefix('make ')}: " in read("Makefile")


def test_its_picture_is_there() -> None:
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+\.png)\)", read("README.md"))
    assert (ROOT / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("question", re.findall(r"^    - \*(.+)\*$", read("README.md"), re.M))
async def test_the_house_agent_understands_what_the_readme_says_to_ask(question: str) -> None:
    house = HouseAgent.load()
    await house.start()
    answer = await ask(house, question)
    assert answer
    assert "did not understand" not in answer
