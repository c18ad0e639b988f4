"""Steady noise taken out of one stream of speech, in its short-time spectrum.

Every 10 ms a window of 30 ms is scaled, frequency by frequency, with the gain of a Wiener filter.
Its estimate of the speech is decision-directed (Ephraim and Malah, 1984); that of the noise follows
where speech is improbable (Gerkmann and Hendriks, "Unbiased MMSE-based noise power estimation with
low complexity and low tracking delay", 2012), and is never below the lowest that was heard at its
frequency for a while (Martin, "Noise power spectral density estimation based on optimal smoothing
and minimum statistics", 2001). A part of the noise stays: its total absence sounds
worse than itself, and the traces of its removal disturb recognisers.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from salon.media.frame import Samples
from salon.media.pcm import to_int16

Floats = NDArray[np.float64]

HOPS: Final = 3
"""Steps of 10 ms in one window."""
LEAST_GAIN: Final = 0.07
"""-23 dB."""
FOLLOW: Final = 0.95
"""Weight of the speech found in the last window against that in this one."""
NOISE_MEMORY: Final = 0.93
"""Weight of the noise known against that in this window, where it holds no speech."""
LEARN_HOPS: Final = 6
"""Windows at the start whose average is taken for noise."""
RUMBLE_BINS: Final = 2
"""Frequencies of 0 and 33 Hz, below every voice, are taken for noise always."""
_SPEECH_SNR: Final = 10**1.5
"""How far speech is taken to lie above the noise where there is any."""
_ODDS: Final = _SPEECH_SNR / (1 + _SPEECH_SNR)
_SMOOTH_MEMORY: Final = 0.85
_PART_HOPS: Final = 30
_PARTS: Final = 5
"""Parts whose lowest counts: 1.5 s."""
_LEAST_PRIOR: Final = 10**-2.5
_LEAST_POWER: Final = 0.05
"""Power of a sample below which nothing counts, int16 scale squared: less than rounding makes."""


class Suppressor:
    """State of one stream. Takes hops of 10 ms; what comes out is 20 ms late."""

    __slots__ = (
        "_known",
        "_least",
        "_lowest",
        "_noise",
        "_past",
        "_seen",
        "_smooth",
        "_speech",
        "_sum",
        "_window",
        "_work",
    )

    def __init__(self, hop: int) -> None:
        size = hop * HOPS
        # Periodic, so that the squares of overlapping windows add up to one everywhere.
        window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size))
        self._window: Floats = window * np.sqrt(2 / HOPS)
        bins = size // 2 + 1
        self._work: Floats = np.zeros(size)
        self._sum: Floats = np.zeros(size)
        self._noise: Floats = np.zeros(bins)
        self._speech: Floats = np.zeros(bins)
        self._smooth: Floats = np.zeros(bins)
        self._lowest: Floats = np.full(bins, np.inf)
        self._least: Floats = np.zeros(bins)
        self._past: list[Floats] = []
        self._seen = 0
        self._known = float(_LEAST_POWER * np.sum(self._window**2))

    def process(self, samples: Samples) -> Samples:
        """One hop, ``int16[hop]``, for the one of 20 ms ago."""
        hop = len(samples)
        self._work[:-hop] = self._work[hop:]
        self._work[-hop:] = samples
        spectrum = np.fft.rfft(self._work * self._window)
        spectrum *= self._gain(spectrum.real**2 + spectrum.imag**2 + self._known)
        self._sum[:-hop] = self._sum[hop:]
        self._sum[-hop:] = 0.0
        self._sum += np.fft.irfft(spectrum, len(self._work)) * self._window
        return to_int16(self._sum[:hop].copy())

    def _gain(self, power: Floats) -> Floats:
        noise = self._track(power)
        prior = power / noise
        prior -= 1.0
        np.maximum(prior, 0.0, out=prior)
        prior *= 1 - FOLLOW
        prior += FOLLOW * self._speech / noise
        np.maximum(prior, _LEAST_PRIOR, out=prior)
        gain: Floats = prior / (1.0 + prior)
        self._speech = gain * gain * power
        np.maximum(gain, LEAST_GAIN, out=gain)
        gain[:RUMBLE_BINS] = LEAST_GAIN
        return gain

    def _track(self, power: Floats) -> Floats:
        if self._seen < LEARN_HOPS:
            self._noise = (self._noise * self._seen + power) / (self._seen + 1)
            self._smooth = self._noise.copy()
        odds = np.exp(np.minimum(power / self._noise, 200.0) * -_ODDS)
        improbable: Floats = odds / (odds + 1.0 / (1.0 + _SPEECH_SNR))
        improbable *= 1.0 - NOISE_MEMORY
        self._noise += improbable * (power - self._noise)
        # Noise that has become louder looks like speech, but speech has gaps at each frequency.
        self._smooth *= _SMOOTH_MEMORY
        self._smooth += (1.0 - _SMOOTH_MEMORY) * power
        np.minimum(self._lowest, self._smooth, out=self._lowest)
        self._seen += 1
        if self._seen % _PART_HOPS == 0:
            self._past = [*self._past, self._lowest][-_PARTS:]
            if len(self._past) == _PARTS:
                self._least = np.min(self._past, axis=0)
            self._lowest = self._smooth.copy()
        return np.maximum(self._noise, self._least, out=self._noise)
