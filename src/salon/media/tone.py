"""Sine tones for probes and tests."""

from __future__ import annotations

import numpy as np

from salon.media.frame import FRAME_SAMPLES, SAMPLE_RATE, Samples
from salon.media.level import from_dbfs
from salon.media.pcm import to_int16


class Tone:
    """A sine of `frequency` Hz whose peak is at `dbfs`; its phase runs on from frame to frame.

    `ValueError` for a frequency not between 0 and half the rate.
    """

    __slots__ = ("_amplitude", "_frequency", "_position", "_rate")

    def __init__(
        self, frequency: float, *, dbfs: float = -6.0, sample_rate: int = SAMPLE_RATE
    ) -> None:
        if not 0 < frequency < sample_rate / 2:
            raise ValueError(f"{frequency} Hz can't be made at a sampling rate of {sample_rate} Hz")
        self._frequency = frequency
        self._rate = sample_rate
        self._amplitude = from_dbfs(dbfs)
        self._position = 0

    def read(self, n: int = FRAME_SAMPLES) -> Samples:
        """The next ``int16[n]``."""
        cycles = (np.arange(n) + self._position) * (self._frequency / self._rate)
        self._position += n
        return to_int16(np.sin(2 * np.pi * np.mod(cycles, 1.0)) * self._amplitude)


def sine(
    frequency: float, seconds: float, *, dbfs: float = -6.0, sample_rate: int = SAMPLE_RATE
) -> Samples:
    """`seconds` of a sine as ``int16[n]``; see `Tone`."""
    return Tone(frequency, dbfs=dbfs, sample_rate=sample_rate).read(round(seconds * sample_rate))
