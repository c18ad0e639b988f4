"""The notation of example sentences: ``(a|b)``, ``[left out]``, ``{slot}``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

_MARK = re.compile(r"[()\[\]|]")


class NotationError(ValueError):
    """An example sentence is not well formed; the message says why."""


def expand(example: str, limit: int = 400) -> tuple[str, ...]:
    """Every sentence `example` stands for, at most `limit`. Raises `NotationError`."""
    parts = _Parser(example).parse()
    found = (" ".join(words.split()) for words in _walk(parts))
    return tuple(dict.fromkeys(sentence for sentence in islice(found, limit) if sentence))


_Sequence = list["str | list[_Sequence]"]


class _Parser:
    """Recursive descent over one example."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def parse(self) -> _Sequence:
        branches = self._branches("")
        return [branches] if len(branches) > 1 else branches[0]

    def _branches(self, end: str) -> list[_Sequence]:
        branches: list[_Sequence] = [[]]
        while True:
            match = _MARK.search(self._text, self._at)
            if match is None:
                if end:
                    raise NotationError(f"a closing {end!r} is missing")
                branches[-1].append(self._text[self._at :])
                return branches
            branches[-1].append(self._text[self._at : match.start()])
            self._at, mark = match.end(), match.group()
            if mark == end:
                return branches
            if mark == "|":
                if not end:
                    raise NotationError("'|' outside of (…)")
                branches.append([])
            elif mark == "(":
                branches[-1].append(self._branches(")"))
            elif mark == "[":
                branches[-1].append([*self._branches("]"), []])
            else:
                raise NotationError(f"{mark!r} closes nothing")


def _walk(parts: _Sequence) -> Iterator[str]:
    if not parts:
        yield ""
        return
    first, rest = parts[0], parts[1:]
    heads = iter((first,)) if isinstance(first, str) else (w for b in first for w in _walk(b))
    for head in heads:
        for tail in _walk(rest):
            yield f"{head} {tail}"
