"""The cheap resampler: straight lines between samples."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from salon.media.frame import Samples
from salon.media.pcm import to_int16
from salon.voice.pipeline.resampler.streaming import RateConverter, StreamingResamplerProvider


class _Line:
    """One channel. Output `k` lies at input place ``k * in / out``, one input sample late."""

    __slots__ = ("_at", "_in", "_last", "_out", "_same")

    def __init__(self, in_rate: int, out_rate: int) -> None:
        ratio = Fraction(in_rate, out_rate)
        self._in, self._out = ratio.numerator, ratio.denominator
        self._same = in_rate == out_rate
        self._last = 0.0
        self._at = 0
        """Place of the next output after `_last`, in parts of 1 / out."""

    def process(self, samples: Samples) -> Samples:
        size = len(samples)
        if self._same or not size:
            return samples
        line = np.empty(size + 1)
        line[0] = self._last
        line[1:] = samples
        end = size * self._out
        ticks = np.arange(self._at, end, self._in)
        self._at += len(ticks) * self._in - end
        self._last = float(line[-1])
        return to_int16(np.interp(ticks / self._out, np.arange(size + 1), line))

    def flush(self) -> Samples:
        if self._same:
            return np.zeros(0, dtype=np.int16)
        return self.process(np.full(1, self._last, dtype=np.int16))


class LinearResamplerProvider(StreamingResamplerProvider):
    """Linear interpolation, one input sample late: cheap, but what lies above half the lower rate
    folds back into the speech and high tones lose level. For speech detection and recognition take
    `SincResamplerProvider` (V63)."""

    @property
    def name(self) -> str:
        return "linear"

    def _converter(self, in_rate: int, out_rate: int) -> RateConverter:
        if in_rate < 1 or out_rate < 1:
            raise ValueError(f"cannot resample {in_rate} Hz to {out_rate} Hz")
        return _Line(in_rate, out_rate)
