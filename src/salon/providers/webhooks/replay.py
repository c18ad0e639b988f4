"""Which authenticated webhooks were seen within the time they are valid."""

from __future__ import annotations

from collections import OrderedDict


class ReplayWindow:
    """Remembers keys until their expiry, at most `capacity` of them.

    A full window refuses: forgetting a key that is still valid would open the door to its replay.
    Only keys of verified signatures belong in here, so that nobody else can fill it.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self._capacity = capacity
        self._seen: OrderedDict[str, float] = OrderedDict()
        self.replays = 0
        self.overflows = 0

    def __len__(self) -> int:
        return len(self._seen)

    def admit(self, key: str, now: float, expires: float) -> str | None:
        """None if the key is new, else ``"replayed"`` or ``"overloaded"``. Unix seconds."""
        if self._seen.get(key, -1.0) >= now:
            self.replays += 1
            return "replayed"
        if len(self._seen) >= self._capacity:
            self._sweep(now)
        if len(self._seen) >= self._capacity:
            self.overflows += 1
            return "overloaded"
        self._seen[key] = expires
        return None

    def forget(self, key: str) -> None:
        """The webhook was not taken after all: its sender may repeat it."""
        self._seen.pop(key, None)

    def _sweep(self, now: float) -> None:
        for key in [key for key, expires in self._seen.items() if expires < now]:
            del self._seen[key]
