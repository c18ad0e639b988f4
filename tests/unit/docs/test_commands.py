"""Every command in the documentation exists, with every flag it is shown with."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from tests.unit.docs.pages import code, read, texts

from salon.cli.commands import salon

_INLINE = re.compile(r"`((?:\.venv/bin/)?salon [^`]+)`")


def shown() -> list[tuple[str, str]]:
    """Lines that call ``salon``, from code blocks and from the text, with the page's name."""
    found = []
    for name, block in code("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split(" | "):
                words = re.sub(r"^(\w+=\S* )+", "", part.strip())
                if re.match(r"(\.venv/bin/)?salon\s", words):
                    found.append((name, words))
    for name in texts():
        found += [(name, line) for line in _INLINE.findall(read(name))]
    return found


def targets() -> list[tuple[str, str]]:
    """``make`` targets, with the page's name."""
    found = []
    for name in texts():
        found += [(name, target) for target in re.findall(r"`make ([a-z-]+)", read(name))]
    for name, block in code("sh"):
        found += [(name, target) for target in re.findall(r"^make ([a-z-]+)", block, re.M)]
    return found


def known(command: click.Command) -> set[str]:
    options = {"-h", "--help"}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            options |= {*parameter.opts, *parameter.secondary_opts}
    return options


@pytest.mark.parametrize(("name", "line"), shown())
def test_a_command_and_its_flags_exist(name: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    if words[0] == "serve" and "dev" in words:  # the list of all commands in llms.txt
        assert words == salon.list_commands(click.Context(salon))
        return
    command: click.Command = salon
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(click.Context(command), words.pop(0))
        assert inner is not None, f"{name}: {line}"
        command = inner
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known(command), f"{name}: {line}"


def test_there_is_something_to_look_at() -> None:
    assert len(shown()) > 40


@pytest.mark.parametrize(("name", "target"), sorted(set(targets())))
def test_a_make_target_exists(name: str, target: str) -> None:
    assert re.search(rf"^{target}:", read("Makefile"), re.M), name
