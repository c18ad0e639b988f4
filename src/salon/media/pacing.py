"""When the next 20 ms are due: arithmetic only, the clock belongs to the caller (G132)."""

from __future__ import annotations

from typing import Final

PERIOD_NS: Final = 20_000_000
"""One frame."""


class Pacer:
    """Ticks at ``start + n * period``, each deadline reckoned from the start, so nothing drifts.

    A caller that comes late gets all ticks at once from `due` but plays one frame only: the others
    are skipped and counted, never sent in a burst, and the media position moves on by all of them.
    Times are integers of one monotonic clock in nanoseconds.
    """

    __slots__ = ("_next", "period_ns", "skipped", "ticks")

    def __init__(self, period_ns: int = PERIOD_NS, *, start_ns: int | None = None) -> None:
        """Without `start_ns` the first call of `due` is the start, and its tick is due at once."""
        if period_ns <= 0:
            raise ValueError(f"period_ns must be positive, not {period_ns}")
        self.period_ns = period_ns
        self.ticks = 0
        """Ticks passed so far, skipped ones included: the media position in frames."""
        self.skipped = 0
        """Ticks that came too late to be played."""
        self._next = start_ns

    @property
    def next_deadline(self) -> int | None:
        """When the next tick is due; None before the start."""
        return self._next

    def due(self, now_ns: int) -> int:
        """How many ticks have become due since the last call: 0 when early, 1 in time (up to one
        period late), more when late; all but one of them count as `skipped`.
        """
        if self._next is None:
            self._next = now_ns
        late = now_ns - self._next
        if late < 0:
            return 0
        count = late // self.period_ns + 1
        self._next += count * self.period_ns
        self.ticks += count
        self.skipped += count - 1
        return count

    def wait_ns(self, now_ns: int) -> int:
        """Nanoseconds until the next tick; 0 if it is due or the pacer has not started."""
        return 0 if self._next is None else max(0, self._next - now_ns)

    def restart(self, start_ns: int | None = None) -> None:
        """Begin again at `start_ns` (or at the next `due`) after a pause; the counters stay."""
        self._next = start_ns
