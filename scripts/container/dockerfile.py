"""What a Dockerfile and a .dockerignore say. Reads the subset that this repository uses.

An instruction or flag outside of it is a `DockerfileError`: nothing is passed over in silence.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

FLAGS = {
    "FROM": frozenset[str](),
    "RUN": frozenset[str](),
    "COPY": frozenset({"from"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "retries"}),
}
"""The flags understood, by instruction; the others take none."""
PLAIN = frozenset(
    "ARG CMD ENTRYPOINT ENV EXPOSE LABEL STOPSIGNAL USER VOLUME WORKDIR".split()  # noqa: SIM905
)
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S+))?\s+")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")


class DockerfileError(Exception):
    """The Dockerfile says something that this reader does not know."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """``COPY --from=a b c`` has the word COPY, the flag from=a and the text ``b c``."""

    word: str
    text: str
    flags: Mapping[str, str] = field(default_factory=dict)
    line: int = 0

    def exec_form(self) -> list[str]:
        """The arguments of a JSON form; `DockerfileError` for the shell form."""
        try:
            found = json.loads(self.text)
        except json.JSONDecodeError:
            found = None
        if not isinstance(found, list) or not all(isinstance(part, str) for part in found):
            raise DockerfileError(f'line {self.line}: {self.word} must have the form ["..."]')
        return found


@dataclass(frozen=True, slots=True)
class Stage:
    """What stands between two FROM."""

    name: str
    image: str
    instructions: tuple[Instruction, ...]

    def last(self, word: str) -> Instruction | None:
        """The one that counts where the last one does: CMD, USER, HEALTHCHECK ..."""
        return next((i for i in reversed(self.instructions) if i.word == word), None)


def logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines with continuations joined and comments left out, each with its first line's number."""
    found: list[tuple[int, str]] = []
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue  # also between continued lines
        if not line.strip():
            continue
        begun = begun if parts else number
        more = line.rstrip().endswith("\\")
        parts.append(line.rstrip()[:-1].strip() if more else line.strip())
        if not more:
            found.append((begun, " ".join(parts)))
            parts = []
    if parts:
        raise DockerfileError(f"line {begun}: ends in a continuation")
    return found


def instruction(line: str, number: int) -> Instruction:
    """One logical line, read."""
    word, _, rest = line.partition(" ")
    word, rest = word.upper(), rest.strip()
    if word not in PLAIN and word not in FLAGS:
        raise DockerfileError(f"line {number}: {word} is not understood")
    flags: dict[str, str] = {}
    while match := _FLAG.match(rest):
        if match[1] not in FLAGS.get(word, ()) or match[2] is None:
            raise DockerfileError(f"line {number}: {word} --{match[1]} is not understood")
        flags[match[1]] = match[2]
        rest = rest[match.end() :]
    if not rest:
        raise DockerfileError(f"line {number}: {word} says nothing")
    return Instruction(word, rest, flags, number)


def stages(text: str) -> list[Stage]:
    """The stages of a Dockerfile, in order. Each must have a name."""
    found: list[Stage] = []
    for number, line in logical_lines(text):
        read = instruction(line, number)
        if read.word == "FROM":
            match read.text.split():
                case [image, as_word, name] if as_word.upper() == "AS":
                    found.append(Stage(name, image, ()))
                case _:
                    raise DockerfileError(f"line {number}: FROM image AS name")
        elif not found:
            raise DockerfileError(f"line {number}: {read.word} stands before FROM")
        else:
            last = found[-1]
            found[-1] = Stage(last.name, last.image, (*last.instructions, read))
    if not found:
        raise DockerfileError("no FROM")
    return found


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with ``$NAME`` and ``${NAME}`` filled in; unknown ones are empty, as Docker has it."""
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], ""), text)


def assignments(read: Instruction, variables: Mapping[str, str]) -> dict[str, str]:
    """The pairs of an ENV or LABEL. Values see the variables as they were before the line."""
    pairs = [part.partition("=") for part in shlex.split(expand(read.text, variables))]
    if not all(equals for _, equals, _ in pairs):
        raise DockerfileError(f"line {read.line}: {read.word} name=value")
    return {name: value for name, _, value in pairs}


class Ignored:
    """The rules of a .dockerignore: the last one that fits a path or a folder above it counts."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        self._exceptions = [line[1:].strip("/") for line in lines if line.startswith("!")]
        self._rules = [
            (not line.startswith("!"), _rule(line.removeprefix("!").strip("/"))) for line in lines
        ]

    def __call__(self, path: PurePosixPath) -> bool:
        """Whether this path, relative to the context, stays out."""
        names = [str(path), *(str(parent) for parent in path.parents[:-1])]
        out = False
        for leaves_out, rule in self._rules:
            if leaves_out != out and any(rule.fullmatch(name) for name in names):
                out = leaves_out
        return out

    def whole(self, folder: PurePosixPath) -> bool:
        """Whether this folder stays out with all that is in it, so that nobody need look."""
        return self(folder) and not any(
            rule.startswith(f"{folder}/") or "**" in rule for rule in self._exceptions
        )


def _rule(pattern: str) -> re.Pattern[str]:
    """``*`` and ``?`` stay within a name, ``**/`` stands for any number of folders."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    translated = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(translated.get(part, re.escape(part)) for part in parts))
