"""Linear fades: sound that is cut off ends without a click."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salon.media.frame import Samples
from salon.media.pcm import to_int16


def _scaled(samples: Samples, gain: NDArray[np.float64]) -> Samples:
    return to_int16(samples * gain)


def fade_out(samples: Samples, length: int | None = None) -> Samples:
    """A copy whose last `length` samples (all by default) sink to zero in a straight line."""
    size = len(samples)
    span = size if length is None else min(length, size)
    fade = Fade(span)
    return np.concatenate([samples[: size - span], fade.apply(samples[size - span :])])


def fade_in(samples: Samples, length: int | None = None) -> Samples:
    """A copy whose first `length` samples (all by default) rise from zero in a straight line."""
    size = len(samples)
    span = size if length is None else min(length, size)
    fade = Fade(span, start=0.0, end=1.0)
    return np.concatenate([fade.apply(samples[:span]), samples[span:]])


class Fade:
    """A gain that moves in a straight line from `start` to `end` over `length` samples, then stays.

    Sample i of the fade gets ``start + (end - start) * (i + 1) / length``: the last one has exactly
    `end`. State runs over frames of any size.
    """

    __slots__ = ("_end", "_length", "_position", "_start")

    def __init__(self, length: int, *, start: float = 1.0, end: float = 0.0) -> None:
        if length < 0:
            raise ValueError(f"length must not be negative: {length}")
        self._length = length
        self._start = start
        self._end = end
        self._position = 0

    @property
    def done(self) -> bool:
        """Whether the gain has arrived at `end`."""
        return self._position >= self._length

    @property
    def gain(self) -> float:
        """Gain of the newest sample."""
        if self.done:
            return self._end
        return self._start + (self._end - self._start) * self._position / self._length

    def apply(self, samples: Samples) -> Samples:
        """A faded copy of ``int16[n]``."""
        if self.done:
            return _scaled(samples, np.full(len(samples), self._end))
        place = np.arange(1, len(samples) + 1) + self._position
        part = np.minimum(place / self._length, 1.0)
        self._position = min(self._position + len(samples), self._length)
        gain = self._start + (self._end - self._start) * part
        gain[part >= 1.0] = self._end  # exactly, however it was cut
        return _scaled(samples, gain)
