"""Pieces of any size become frames of one size (V12, G47)."""

from __future__ import annotations

import numpy as np

from salon.media.frame import FRAME_SAMPLES, Samples


class Framer:
    """Cuts one stream of samples into frames of `frame_samples`; less than one frame stays inside.

    The frames of a piece that needs no joining are views of it, not copies.
    """

    __slots__ = ("_fill", "_rest", "_size")

    def __init__(self, frame_samples: int = FRAME_SAMPLES) -> None:
        if frame_samples < 1:
            raise ValueError(f"frame_samples must be positive, not {frame_samples}")
        self._size = frame_samples
        self._rest: Samples = np.zeros(frame_samples, dtype=np.int16)
        self._fill = 0

    @property
    def pending(self) -> int:
        """Samples that wait for their frame to fill."""
        return self._fill

    def push(self, samples: Samples) -> list[Samples]:
        """Add ``int16[n]``; all frames that are whole now, in order."""
        frames: list[Samples] = []
        start = 0
        if self._fill:
            start = min(self._size - self._fill, len(samples))
            self._rest[self._fill : self._fill + start] = samples[:start]
            self._fill += start
            if self._fill < self._size:
                return frames
            frames.append(self._rest.copy())
        whole = start + (len(samples) - start) // self._size * self._size
        frames += [samples[at : at + self._size] for at in range(start, whole, self._size)]
        self._fill = len(samples) - whole
        self._rest[: self._fill] = samples[whole:]
        return frames

    def flush(self) -> Samples | None:
        """The last frame, padded with zeros (G47), or None if nothing waits."""
        if not self._fill:
            return None
        last = np.zeros(self._size, dtype=np.int16)
        last[: self._fill] = self._rest[: self._fill]
        self._fill = 0
        return last

    def clear(self) -> None:
        """Drop what waits."""
        self._fill = 0
