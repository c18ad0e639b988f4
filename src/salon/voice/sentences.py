"""Cuts a stream of text into sentences to be spoken.

A mark ends a sentence when white space follows, CJK marks (。！？) by themselves, a newline always
(G182). So the earliest that a cut is certain is one character after the mark; where the next word
decides ("p.m.", "...", a closing quote), it is waited for. How the text was divided on its way here
makes no difference to the sentences.

What a full stop may be instead: part of an abbreviation ("Dr.", "e.g.", "U.S."), of a number
("3.5", "No. 5"), an initial ("J. Smith") or the mark of a list item ("1. ").
"""

from __future__ import annotations

import re
from enum import Enum, auto

from salon.base import ConfigurationError

MAX_CHARS = 240
FIRST_MAX_CHARS = 120
FIRST_CLAUSE_CHARS = 40
"""A first clause at least this long is spoken without waiting for its sentence."""

_CJK_MARKS = "。！？｡"
_CANDIDATE = re.compile(rf"\n|[.!?…{_CJK_MARKS}]+|[,;:—，；：、]")
_CLOSERS = re.compile(r"""["'”’»)\]}*_」』）】》]{0,4}""")
_QUOTES = frozenset("\"'”’»")
_CLAUSE_MARKS = ",;:—，；：、"
_CJK_CLAUSE_MARKS = frozenset("，；：、")
_CLAUSE = re.compile(r"[,;:—](?=\s)|[，；：、]")
_SPACE = re.compile(r"\s+")
_LAST_WORD = re.compile(r"[^\s(\[{\"'“‘«]*$")
_LIST_MARK = re.compile(r"\W*(?:\d{1,3}|[A-Za-z])")
_DOTTED = re.compile(r"(?:[A-Za-z]{1,2}\.)+[A-Za-z]{1,2}")

_LOOKAHEAD = 8
"""White space after which an undecided mark is taken for an end."""

_NEVER_AN_END = frozenset(
    {
        *("Mr", "Mrs", "Ms", "Mx", "Dr", "Prof", "St", "Mt", "Ft", "Gen", "Col", "Sgt", "Capt"),
        *("Lt", "Cmdr", "Rev", "Hon", "Gov", "Sen", "Rep", "Pres", "Messrs", "Mme", "Mlle"),
        *("e.g", "i.e", "E.g", "I.e", "eg", "ie", "vs", "cf", "approx", "resp", "viz"),
    }
)
_END_BEFORE_A_CAPITAL = frozenset(
    {
        *("etc", "Inc", "Ltd", "Co", "Corp", "Jr", "Sr", "Bros", "Ave", "Blvd", "Rd", "dept"),
        *("Jan", "Feb", "Apr", "Aug", "Sept", "Sep", "Oct", "Nov", "Dec", "min", "max", "tel"),
    }
)
_NO_END_BEFORE_A_DIGIT = frozenset(
    {"No", "no", "Nos", "nos", "p", "pp", "vol", "Vol", "ch", "Ch", "sec", "Sec", "fig", "Fig"}
)


class _Mark(Enum):
    """What a full stop or its like turns out to be."""

    END = auto()
    PART = auto()
    """Part of a word or number."""
    END_UNLESS_LOWER = auto()
    END_IF_UPPER = auto()
    END_UNLESS_DIGIT = auto()


class _Undecided(Exception):
    """More text is needed."""


class SentenceSplitter:
    """Feed text as it comes, speak what comes back. One per reply.

    Pieces are stripped and never empty; together they are the text but for white space. A sentence
    longer than `max_chars` is divided, after a comma or the like if there is one, else between
    words. The first piece may come earlier: a clause (up to ``, ; :`` or a dash) of at least 40
    characters is enough, and it is divided at `first_max_chars`. A piece exceeds its limit at most
    by four closing quotes or brackets. What is kept back is bounded by the same limit.
    """

    def __init__(
        self, *, max_chars: int = MAX_CHARS, first_max_chars: int = FIRST_MAX_CHARS
    ) -> None:
        for name, value in (("max_chars", max_chars), ("first_max_chars", first_max_chars)):
            if value < 1:
                raise ConfigurationError(f"{name} is {value}; it must be 1 or more")
        self._max = max_chars
        self._first_max = min(first_max_chars, max_chars)
        self._kept = ""
        self._first = True

    def feed(self, delta: str) -> list[str]:
        """The sentences that `delta` completes."""
        self._kept += delta
        return self._take(final=False)

    def flush(self) -> list[str]:
        """The text is over: the rest. The next `feed` begins a new text."""
        pieces = self._take(final=True)
        self._first = True
        return pieces

    def _take(self, *, final: bool) -> list[str]:
        text = self._kept
        pieces: list[str] = []
        at = _after_space(text, 0)
        while at < len(text):
            limit = at + (self._first_max if self._first else self._max)
            end = _cut(text, at, limit, first=self._first, final=final)
            if end is None:
                break
            pieces.append(text[at:end].rstrip())
            self._first = False
            at = _after_space(text, end)
        self._kept = text[at:]
        return pieces


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _cut(text: str, at: int, limit: int, *, first: bool, final: bool) -> int | None:
    """Where the piece that begins at `at` ends; None if that is not certain yet."""
    try:
        end = _sentence_end(text, at, limit, first=first, final=final)
    except _Undecided:
        return None
    if end is not None:
        return end
    if len(text) > limit:
        return _division(text, at, limit)
    return len(text) if final else None


def _sentence_end(text: str, at: int, limit: int, *, first: bool, final: bool) -> int | None:
    for candidate in _CANDIDATE.finditer(text, at, limit + 1):
        start, end = candidate.span()
        if end > limit:
            return None
        mark = text[start]
        if mark == "\n":
            return start
        if mark in _CLAUSE_MARKS:
            if first and end - at >= FIRST_CLAUSE_CHARS and _ends_clause(text, end):
                return end
            continue
        closed = _CLOSERS.match(text, end)
        after = closed.end() if closed else end
        if after == len(text):
            if final:
                return after
            raise _Undecided
        if text[end - 1] in _CJK_MARKS or (
            text[after].isspace() and _is_end(text, at, (start, end, after), final=final)
        ):
            return after
    return None


def _ends_clause(text: str, end: int) -> bool:
    return text[end - 1] in _CJK_CLAUSE_MARKS or (end < len(text) and text[end].isspace())


def _is_end(text: str, at: int, mark: tuple[int, int, int], *, final: bool) -> bool:
    """Whether the mark, given as (start, end, end of what closes behind it), ends a sentence.

    White space follows it.
    """
    start, end, after = mark
    kind = _kind(text, at, start, end)
    if kind is _Mark.END and any(closer in _QUOTES for closer in text[end:after]):
        kind = _Mark.END_UNLESS_LOWER
    if kind is _Mark.END or kind is _Mark.PART:
        return kind is _Mark.END
    following = _after_space(text, after)
    space = text[after:following]
    if "\n" in space[:_LOOKAHEAD] or len(space) >= _LOOKAHEAD:
        return True
    if following == len(text):
        if final:
            return True
        raise _Undecided
    letter = text[following]
    if kind is _Mark.END_UNLESS_DIGIT:
        return not letter.isdigit()
    if kind is _Mark.END_IF_UPPER:
        return letter.isupper()
    return not letter.islower()


def _kind(text: str, at: int, start: int, end: int) -> _Mark:
    run = text[start:end]
    if run != ".":
        return _Mark.END_UNLESS_LOWER if set(run) <= {".", "…"} else _Mark.END
    if _LIST_MARK.fullmatch(text, at, start):
        return _Mark.PART
    found = _LAST_WORD.search(text, at, start)
    word = found.group() if found else ""
    if word in _NEVER_AN_END:
        return _Mark.PART
    if len(word) == 1 and word.isupper() and word != "I":
        return _Mark.PART
    if word in _NO_END_BEFORE_A_DIGIT:
        return _Mark.END_UNLESS_DIGIT
    if _DOTTED.fullmatch(word):
        return _Mark.PART if word.isupper() else _Mark.END_IF_UPPER
    return _Mark.END_IF_UPPER if word in _END_BEFORE_A_CAPITAL else _Mark.END


def _division(text: str, at: int, limit: int) -> int:
    """Where to divide text that has no end of a sentence up to `limit`."""
    least = at + (limit - at) // 3
    clauses = [found.end() for found in _CLAUSE.finditer(text, least, limit + 1)]
    if clauses and clauses[-1] <= limit:
        return clauses[-1]
    if len(clauses) > 1:
        return clauses[-2]
    spaces = [found.start() for found in _SPACE.finditer(text, at, limit + 1)]
    return spaces[-1] if spaces and spaces[-1] > at else limit
