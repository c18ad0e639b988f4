"""Frames of any size through work that takes blocks of one size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from salon.media.frame import Samples

BlockWork = Callable[[Samples], Samples]
"""One block, ``int16[size]``, to as many samples."""


class Blocks:
    """As many samples out as in, worked on in blocks of `size`.

    No delay as long as every piece is a multiple of `size`. The first piece that is not makes the
    stream `size` samples late, once, with silence put in there, and it stays so.
    """

    __slots__ = ("_out", "_rest", "delay", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.delay = 0
        """Samples the output is late."""
        self._rest: Samples = np.zeros(0, dtype=np.int16)
        self._out: Samples = self._rest

    def process(self, samples: Samples, work: BlockWork) -> Samples:
        """``int16[n]`` in, ``int16[n]`` out; `work` is called for each block that is whole now."""
        size, count = self.size, len(samples)
        if not self.delay:
            if count == size:
                return work(samples)
            if count % size == 0:
                parts = [work(samples[at : at + size]) for at in range(0, count, size)]
                return np.concatenate(parts) if parts else samples
            self.delay = size
            self._out = np.zeros(size, dtype=np.int16)
        held = np.concatenate([self._rest, samples])
        whole = len(held) // size * size
        done = [work(held[at : at + size]) for at in range(0, whole, size)]
        self._rest = held[whole:]
        ready = np.concatenate([self._out, *done])
        self._out = ready[count:]
        return ready[:count]
