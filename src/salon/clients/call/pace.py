"""When the next frame is to be sent."""

from __future__ import annotations

from typing import Final

from salon.base import SYSTEM_CLOCK, Clock

FRAME_SECONDS: Final = 0.02
GIVE_UP: Final = 1.0
"""Seconds of lateness after which the beat starts anew instead of catching up."""


class Beat:
    """Absolute deadlines, `start + n * period`: nothing drifts.

    Who comes late catches up at once, as the driver of a real microphone does after a stall; after
    more than `GIVE_UP` seconds the missing time is skipped and counted.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK, period: float = FRAME_SECONDS) -> None:
        self._clock = clock
        self._start = clock.monotonic()
        self._count = 0
        self.period = period
        self.max_late = 0.0
        """Worst lateness so far, in seconds."""
        self.restarts = 0

    async def next(self) -> float:
        """Wait for the next deadline, the first at once; its time (monotonic seconds)."""
        deadline = self._start + self._count * self.period
        late = self._clock.monotonic() - deadline
        if late < 0:
            await self._clock.sleep(-late)
            late = max(0.0, self._clock.monotonic() - deadline)
        self.max_late = max(self.max_late, late)
        if late > GIVE_UP:
            self.restarts += 1
            self._start = deadline = deadline + late
            self._count = 0
        self._count += 1
        return deadline
