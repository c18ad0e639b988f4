"""What one listener is being played, kept until the capture catches up with it (V64)."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

import numpy as np

from salon.media.frame import Samples

STANDING_MS: Final = 60
"""A backlog that never falls below this for a second is taken out: the capture had a gap, and a
reference later than its echo cancels nothing."""
_WATCH_MS: Final = 1_000


class ReferenceQueue:
    """Samples in from the playing side, samples out at the pace of the capture.

    Holds at most `limit` samples: the oldest go first, counted in `dropped`. An empty queue gives
    silence. Any thread may call anything.
    """

    __slots__ = ("_held", "_limit", "_lock", "_lowest", "_parts", "_rate", "_watched", "dropped")

    def __init__(self, rate: int, limit: int) -> None:
        self._rate = rate
        self._limit = limit
        self._parts: deque[Samples] = deque()
        self._held = 0
        self._lowest = limit
        self._watched = 0
        self._lock = threading.Lock()
        self.dropped = 0

    def __len__(self) -> int:
        return self._held

    def push(self, samples: Samples) -> None:
        """Add ``int16[n]``."""
        if not len(samples):
            return
        with self._lock:
            self._parts.append(samples)
            self._held += len(samples)
            if self._held > self._limit:
                self._drop(self._held - self._limit)

    def pull(self, count: int) -> Samples:
        """The next ``int16[count]``."""
        with self._lock:
            if not self._held:
                self._lowest, self._watched = self._limit, 0
                return np.zeros(count, dtype=np.int16)
            out = self._take(min(count, self._held))
            self._watch(count)
        if len(out) == count:
            return out
        padded = np.zeros(count, dtype=np.int16)
        padded[: len(out)] = out
        return padded

    def clear(self) -> None:
        """Drop everything, not counted."""
        with self._lock:
            self._parts.clear()
            self._held = 0

    def _watch(self, count: int) -> None:
        self._lowest = min(self._lowest, self._held)
        self._watched += count
        if self._watched * 1000 < _WATCH_MS * self._rate:
            return
        if self._lowest * 1000 >= STANDING_MS * self._rate:
            self._drop(self._lowest)
        self._lowest, self._watched = self._limit, 0

    def _drop(self, count: int) -> None:
        self._take(count)
        self.dropped += count

    def _take(self, count: int) -> Samples:
        """`count` samples, all of which are there."""
        parts, self._held = [], self._held - count
        while count:
            part = self._parts.popleft()
            if len(part) > count:
                self._parts.appendleft(part[count:])
                part = part[:count]
            parts.append(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
