"""What may stand in fields from outside, so that every store keeps it and every client can read it
back: the same answer whatever the database. Events as a whole the core checks (R266)."""

from __future__ import annotations

import re
from typing import Any, Final

MAX_DEPTH: Final = 64
"""Maps and lists inside each other."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


class UnfitError(ValueError):
    """A value that not every store can keep; its words may be shown."""


def one_line(text: str) -> str:
    """`text`, without control characters; raises `UnfitError`."""
    if _CONTROL.search(text) or _SURROGATE.search(text):
        raise UnfitError("the text has control characters or is no Unicode")
    return text


def json_value(value: Any) -> Any:
    """`value`, which came as JSON; raises `UnfitError` if it is nested too deep or holds what is no
    Unicode."""
    _check(value, MAX_DEPTH)
    return value


def _check(value: Any, left: int) -> None:
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise UnfitError("there is text that is no Unicode")
        return
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise UnfitError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for key in value:
            _check(key, left)
    for part in value.values() if isinstance(value, dict) else value:
        _check(part, left - 1)
