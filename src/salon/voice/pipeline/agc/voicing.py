"""Whether a piece of sound is voiced: what tells speech from noise by its shape, not its level."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WINDOW_MS: Final = 32
_LEAST_PITCH_HZ: Final = 70
_MOST_PITCH_HZ: Final = 400
_LEAST_MATCH: Final = 0.5
"""Normalised autocorrelation at the pitch; noise stays below 0.4, vowels lie above 0.6."""


class Voicing:
    """Looks for a pitch of 70 to 400 Hz in the last 32 ms of one stream."""

    __slots__ = ("_filled", "_first", "_last", "_recent", "_size", "_step")

    def __init__(self, rate: int) -> None:
        self._step = max(1, rate // 8_000)
        inner = rate / self._step
        self._first = max(1, int(inner / _MOST_PITCH_HZ))
        self._last = max(self._first + 2, int(inner / _LEAST_PITCH_HZ) + 2)
        self._recent: Floats = np.zeros(max(2 * self._last, int(inner * WINDOW_MS / 1000)))
        self._filled = 0
        self._size = 1 << (2 * len(self._recent) - 1).bit_length()

    def push(self, samples: Floats) -> None:
        """Add mono sound of any length (a remainder below one inner sample is dropped)."""
        step, recent = self._step, self._recent
        if step > 1:
            samples = samples[: len(samples) // step * step].reshape(-1, step).mean(axis=1)
        count = min(len(samples), len(recent))
        if not count:
            return
        recent[:-count] = recent[count:]
        recent[-count:] = samples[-count:]
        self._filled = min(len(recent), self._filled + count)

    def voiced(self) -> bool:
        """Whether the newest sound has a pitch; False until there is enough of it."""
        if self._filled < 2 * self._last:
            return False
        piece = self._recent - self._recent.mean()
        spectrum = np.fft.rfft(piece, self._size)
        match = np.fft.irfft(spectrum.real**2 + spectrum.imag**2)
        if match[0] <= 0.0:
            return False
        # The further the lag, the fewer products are in the sum.
        lags = np.arange(self._first, self._last)
        scaled = match[lags] * (len(piece) / (match[0] * (len(piece) - lags)))
        best = int(np.argmax(scaled))
        # At the short end it is no pitch: a slope from lag 0, as rumble and hum have.
        return best > 0 and float(scaled[best]) >= _LEAST_MATCH
