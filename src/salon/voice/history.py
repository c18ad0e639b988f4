"""The last seconds of what was heard."""

from __future__ import annotations

import numpy as np

from salon.media.frame import Samples


class History:
    """Sound in a ring of `size` samples, found by its position since the beginning; with 0 it is
    only counted."""

    __slots__ = ("_ring", "heard")

    def __init__(self, size: int) -> None:
        self._ring: Samples = np.zeros(size, dtype=np.int16)
        self.heard = 0
        """Samples so far."""

    def remember(self, samples: Samples) -> None:
        """More was heard, ``int16[n]``; the oldest gives way."""
        ring, count = self._ring, len(samples)
        size = len(ring)
        self.heard += count
        if not size:
            return
        if count > size:
            samples = samples[-size:]
            count = size
        end = (self.heard - 1) % size + 1
        start = end - count
        if start >= 0:
            ring[start:end] = samples
        else:
            ring[start:] = samples[:-end]
            ring[:end] = samples[-end:]

    def since(self, position: int) -> Samples:
        """A copy of what was heard from there on, as far as it is kept."""
        size = len(self._ring)
        count = min(max(self.heard - position, 0), self.heard, size)
        return self._slice(self.heard, count).copy() if count else self._ring[:0]

    def until(self, position: int, count: int) -> Samples:
        """The `count` samples that end there, which must be kept still. Valid until more is
        remembered."""
        return self._slice(position, count)

    def _slice(self, position: int, count: int) -> Samples:
        end = (position - 1) % len(self._ring) + 1
        start = end - count
        if start >= 0:
            return self._ring[start:end]
        return np.concatenate((self._ring[start:], self._ring[:end]))
