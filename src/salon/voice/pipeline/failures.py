"""Stages and listeners that raise: counted, told sparingly, and no harm to the sound (V204).

Here and in `steps` are the edges to code of the integrator's, where anything may be raised.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from salon.base import RAISED

_log = logging.getLogger("salon.voice.pipeline")
_UNSAID = frozenset({"dtmf", "on_dtmf"})
"""What raised here may have a key's digit in its message, which no log may show (V207)."""

T = TypeVar("T")


class Failures:
    """How often each stage, or listener of a kind, has raised."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def note(self, where: str, stream: str, error: BaseException) -> None:
        """Count it; the 1st, 2nd, 4th, 8th... of a place is logged."""
        count = self.counts.get(where, 0) + 1
        self.counts[where] = count
        if count & (count - 1) == 0:
            _log.error(
                "the pipeline's %s raised %s (%d so far); the sound goes on without it",
                where,
                type(error).__name__,
                count,
                exc_info=None if where in _UNSAID else error,
                extra={"session_id": stream, "stage_name": where},
            )

    def guard(self, where: str, stream: str, call: Callable[[], T]) -> T | None:
        """What `call` gives; None, and counted, when it raises."""
        try:
            return call()
        except RAISED as error:
            self.note(where, stream, error)
            return None

    def tell(self, where: str, listeners: Iterable[Any], session: Any, payload: Any) -> None:
        """Call each listener; one that raises stops neither the others nor the frame."""
        for listener in listeners:
            try:
                listener(session, payload)
            except RAISED as error:
                self.note(where, session.id, error)
