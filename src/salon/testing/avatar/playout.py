"""The clock of a playout that nobody hears: where it stands, and when it is drained (A61, A103)."""

from __future__ import annotations

from typing import Final

_ROUNDING_S: Final = 1e-9


class Playout:
    """Plays `length` seconds from `now` on, at real time, while it is not held; waits where the
    sound is not there yet."""

    def __init__(self, now: float) -> None:
        self.length = 0.0
        self.complete = False
        """No more sound follows."""
        self._position = 0.0
        self._at = now
        self._held_since: float | None = None

    @property
    def held_since(self) -> float | None:
        """When it was paused; None while it runs."""
        return self._held_since

    def position(self, now: float) -> float:
        """Seconds played."""
        if self._held_since is None:
            self._position = min(self.length, self._position + max(0.0, now - self._at))
        self._at = max(self._at, now)
        return self._position

    def add(self, seconds: float, now: float) -> None:
        """More sound."""
        self.position(now)
        self.length += seconds

    def pause(self, now: float) -> None:
        """Hold; again: nothing."""
        self.position(now)
        if self._held_since is None:
            self._held_since = now

    def resume(self, now: float) -> None:
        """Go on; while it runs: nothing."""
        self.position(now)
        self._held_since = None

    def drained(self, now: float) -> bool:
        """Whether all has been played."""
        return self.complete and self.position(now) >= self.length - _ROUNDING_S

    def wake_at(self) -> float | None:
        """When it will be drained, as far as is known."""
        if not self.complete or self._held_since is not None:
            return None
        return self._at + self.length - self._position
