"""The instants of what a call hears, in ms: they go by the samples (G121)."""

from __future__ import annotations

from salon.base import Clock
from salon.media.frame import SAMPLE_RATE
from salon.voice.history import History

SAMPLES_PER_MS = SAMPLE_RATE // 1000


class SampleClock:
    """Begins with the first sound and goes on with every sample of `history`.

    `runs_on`: instants as a turn machine sees them (`instant_ms`) go on when the sound does not.
    """

    __slots__ = (
        *("_ahead_ms", "_base_ms", "_clock", "_first_arrival", "_history", "_runs_on"),
        "last_arrival",
    )

    def __init__(self, clock: Clock, history: History, *, runs_on: bool) -> None:
        self._clock = clock
        self._history = history
        self._runs_on = runs_on
        self._base_ms: int | None = None
        self._first_arrival = 0.0
        self._ahead_ms = 0
        """How much more was heard than time went by, at most."""
        self.last_arrival = 0.0
        """When sound came last, monotonic seconds."""

    def arrived(self, count: int) -> None:
        """So many samples came now and are about to be remembered."""
        self.last_arrival = now = self._clock.monotonic()
        if self._base_ms is None:
            self._base_ms, self._first_arrival = self._clock.now_ms(), now
        if self._runs_on:  # sound may come faster than it is spoken
            heard_ms = (self._history.heard + count) // SAMPLES_PER_MS
            ahead = heard_ms - int((now - self._first_arrival) * 1000)
            self._ahead_ms = max(self._ahead_ms, ahead)

    def at_ms(self, position: int) -> int:
        """When the sample at this position of the history was heard."""
        return (self._base_ms or 0) + position // SAMPLES_PER_MS

    def now_ms(self) -> int:
        """The end of what was heard so far."""
        base_ms = self._base_ms or self._clock.now_ms()
        return base_ms + self._history.heard // SAMPLES_PER_MS

    def instant_ms(self) -> int:
        """Now, as the machine sees it."""
        if not self._runs_on or self._base_ms is None:
            return self.now_ms()
        elapsed = self._clock.monotonic() - self._first_arrival
        return self._base_ms + int(elapsed * 1000) + self._ahead_ms

    def missing_s(self) -> float:
        """Seconds since sound came."""
        return self._clock.monotonic() - self.last_arrival
