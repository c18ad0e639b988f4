"""Steady noise taken out of speech, for recognisers that were trained in quiet rooms.

The short-time spectrum is scaled by the gain that minimises the error of the log spectrum (Ephraim
and Malah, "Speech enhancement using a minimum mean-square error log-spectral amplitude estimator",
1985), with a decision-directed estimate of the speech. It follows speech faster than is usual for
listeners and leaves a fifth of the noise: what disturbs a recogniser is not noise but the traces of
its removal.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from salon.media.frame import Samples

WINDOW: Final = 512
HOP: Final = 128
FOLLOW: Final = 0.7
"""Weight of the speech found in the last frame against that in this one."""
LEAST_GAIN: Final = 0.2
QUIETEST: Final = 0.1
"""Share of the frames that are taken for noise."""
LEAST_FRAMES: Final = 6
_LEAST_PRIOR: Final = 10**-2.5
_EULER: Final = 0.5772156649015329

_Floats = npt.NDArray[np.float64]


def _boost() -> tuple[_Floats, _Floats]:
    """``exp(E1(v) / 2)`` for the logarithm of v, as a table for interpolation."""
    logs = np.linspace(np.log(1e-6), np.log(30.0), 512)
    integral = np.empty_like(logs)
    for place, v in enumerate(np.exp(logs)):
        if v < 1:  # the series
            term, total = 1.0, -_EULER - np.log(v)
            for n in range(1, 25):
                term *= -v / n
                total -= term / n
        else:  # the continued fraction
            fraction = 0.0
            for n in range(40, 0, -1):
                fraction = n / (1 + n / (v + fraction))
            total = np.exp(-v) / (v + fraction)
        integral[place] = total
    return logs, np.exp(integral / 2)


_LOGS, _BOOST = _boost()


class NoiseReducer:
    """`learn` what the noise is, `begin`, `reduce` piece by piece, `flush`.

    Sound is ``int16[n]`` at 16 kHz; output is late by up to `WINDOW` samples (32 ms), which `flush`
    brings, so that as many samples come out as went in.
    """

    def __init__(self) -> None:
        self._window = np.sqrt(np.hanning(WINDOW + 1)[:-1])
        # the squares of windows that overlap add up to this
        self._scale = WINDOW / HOP / 2
        self._noise: _Floats | None = None
        self.begin()

    def begin(self) -> None:
        """Start anew; what is known of the noise stays."""
        self._rest: _Floats = np.zeros(WINDOW - HOP)
        self._overlap = np.zeros(WINDOW)
        self._speech = np.zeros(WINDOW // 2 + 1)
        self._skip = WINDOW - HOP

    def learn(self, samples: Samples) -> None:
        """The noise is what stands in the quietest tenth of this sound."""
        power = np.abs(self._spectra(samples.astype(np.float64))) ** 2
        if not len(power):
            return
        quiet = np.argsort(power.sum(axis=1))[: max(LEAST_FRAMES, int(len(power) * QUIETEST))]
        self._noise = np.maximum(power[quiet].mean(axis=0), 1e-3)

    def reduce(self, samples: Samples) -> Samples:
        """What can be said of the sound so far; the sound as it is if nothing was learnt."""
        sound: _Floats = np.concatenate((self._rest, samples.astype(np.float64)))
        spectra = self._spectra(sound)
        self._rest = sound[len(spectra) * HOP :]
        out = np.empty(len(spectra) * HOP)
        for place, spectrum in enumerate(spectra):
            frame = np.fft.irfft(spectrum * self._gain(np.abs(spectrum) ** 2))
            self._overlap += frame * self._window
            out[place * HOP : (place + 1) * HOP] = self._overlap[:HOP]
            self._overlap[:-HOP] = self._overlap[HOP:]
            self._overlap[-HOP:] = 0
        skipped = min(self._skip, len(out))
        self._skip -= skipped
        whole = np.rint(out[skipped:] / self._scale)
        return np.clip(whole, -32768, 32767).astype(np.int16)

    def flush(self) -> Samples:
        """The rest; then `begin` again."""
        late = len(self._rest) - self._skip
        padding = WINDOW - HOP + -len(self._rest) % HOP
        out = self.reduce(np.zeros(padding, dtype=np.int16))[: max(late, 0)]
        self.begin()
        return out

    def _spectra(self, sound: _Floats) -> npt.NDArray[np.complex128]:
        if len(sound) < WINDOW:
            return np.empty((0, WINDOW // 2 + 1), dtype=np.complex128)
        frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
        return np.fft.rfft(frames * self._window, axis=1)

    def _gain(self, power: _Floats) -> _Floats:
        if self._noise is None:
            return np.ones_like(power)
        after = power / self._noise
        prior = FOLLOW * self._speech + (1 - FOLLOW) * np.maximum(after - 1, 0)
        wiener = np.maximum(prior, _LEAST_PRIOR)
        wiener /= 1 + wiener
        v = np.log(np.maximum(wiener * after, 1e-6))
        gain = np.minimum(wiener * np.interp(v, _LOGS, _BOOST), 1)
        self._speech = gain**2 * after
        return np.asarray(np.maximum(gain, LEAST_GAIN))
