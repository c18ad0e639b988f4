"""A clock that follows virtual time."""

from __future__ import annotations

import asyncio
from typing import Final

from salon.base import Clock

EPOCH: Final = 1_767_600_000.0
"""2026-01-05T08:00:00Z, where virtual wall clocks begin."""


class VirtualClock(Clock):
    """Begins at `epoch` and moves with the event loop it was made in, and by `advance`.

    In a `VirtualTimeLoop` it moves whenever the program waits. Made outside a loop it stands still
    until `advance`, which is what tests of parts without I/O want.
    """

    def __init__(self, *, epoch: float = EPOCH) -> None:
        self._epoch = epoch
        self._advanced = 0.0
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        self._began = self._loop.time() if self._loop is not None else 0.0

    def time(self) -> float:
        return self._epoch + self.monotonic()

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        passed = self._loop.time() - self._began if self._loop is not None else 0.0
        return passed + self._advanced

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Move this clock only: timers of the loop are not moved (wait in it for that).
        `ValueError` for a step back."""
        if seconds < 0:
            raise ValueError(f"a clock does not go back ({seconds} s)")
        self._advanced += seconds
