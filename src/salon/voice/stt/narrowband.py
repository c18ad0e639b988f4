"""Telephone sound for a recogniser that was trained on the whole band.

Sound that came through an 8 kHz codec ends at 4 kHz, and the features of what lies above are those
of no speech at all. Mirroring the spectrum at 4 kHz (spectral folding, Makhoul and Berouti, 1979)
gives it something like the energy of speech there.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from salon.media.frame import Samples

MIRRORED: Final = 0.1
"""Gain of the mirrored half."""
_WINDOW: Final = 512
_LOWER: Final = 128
"""Bins below 4 kHz."""
_UPPER: Final = 138
"""The first bin above what the slope of a resampler may leave."""
_NOTHING: Final = 1e-6
"""With this share of the energy above 4.3 kHz the band is empty; whispered vowels have 1e-5."""


def is_narrow(samples: Samples) -> bool:
    """Whether ``int16[n]`` at 16 kHz holds nothing above 4 kHz; False if there is no sound."""
    if len(samples) < _WINDOW:
        return False
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[:: _WINDOW // 2]
    power = (np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)) ** 2).sum(axis=0)
    low, high = float(power[:_LOWER].sum()), float(power[_UPPER:].sum())
    return low > 0 and high < _NOTHING * low


class Folding:
    """Adds the mirrored half; pieces of any length."""

    def __init__(self) -> None:
        self._odd = 0

    def reset(self) -> None:
        """Begin again."""
        self._odd = 0

    def add(self, samples: Samples) -> Samples:
        """`samples` with a mirrored upper half, clamped to int16."""
        signs = np.where((np.arange(len(samples)) + self._odd) % 2, -MIRRORED, MIRRORED)
        self._odd = (self._odd + len(samples)) % 2
        folded = np.clip(samples * (1 + signs), -32768, 32767)
        return np.asarray(folded, dtype=np.int16)
