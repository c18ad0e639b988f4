"""The notation of example sentences: ``(a|b)``, ``[left out]``, ``{slot}``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import prod

_MARK = re.compile(r"[()\[\]|]")


class NotationError(ValueError):
    """An example sentence is not well formed; the message says why."""


_GOLDEN = (5**0.5 - 1) / 2


def expand(example: str, limit: int = 120) -> tuple[str, ...]:
    """Every sentence `example` stands for; of more than `limit`, that many from all over, so that
    every alternative occurs in some. Raises `NotationError`."""
    parts = _Parser(example).parse()
    total = _count(parts)
    places: Iterable[int] = range(total)
    if total > limit:
        places = sorted({int(n * _GOLDEN % 1 * total) for n in range(limit)})
    found = (" ".join(_pick(parts, place).split()) for place in places)
    return tuple(dict.fromkeys(sentence for sentence in found if sentence))


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


def _count(parts: _Sequence) -> int:
    """How many sentences there are."""
    return prod(1 if isinstance(p, str) else sum(map(_count, p)) for p in parts)


def _pick(parts: _Sequence, place: int) -> str:
    """The sentence at `place`, counted from 0."""
    words = []
    for part in parts:
        if isinstance(part, str):
            words.append(part)
            continue
        place, here = divmod(place, sum(map(_count, part)))
        for branch in part:
            size = _count(branch)
            if here < size:
                words.append(_pick(branch, here))
                break
            here -= size
    return " ".join(words)
