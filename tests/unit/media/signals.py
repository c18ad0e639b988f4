"""Signals and measures the media tests share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from salon.media import Samples

int16_arrays = npst.arrays(np.int16, st.integers(0, 900))
"""Any samples."""
cut_sizes = st.lists(st.integers(0, 400), max_size=12)
"""Sizes of pieces; what is left over is one more piece."""


def tone(frequency: float, n: int, rate: int, amplitude: float = 16000) -> Samples:
    """An exact sine, independent of `salon.media.tone`."""
    return np.rint(amplitude * np.sin(2 * np.pi * frequency * np.arange(n) / rate)).astype(np.int16)


def cut(samples: NDArray[Any], sizes: Sequence[int]) -> list[NDArray[Any]]:
    """`samples` in pieces of `sizes`, the rest in one more."""
    edges = np.minimum(np.cumsum([0, *sizes]), len(samples))
    pieces = [samples[a:b] for a, b in pairwise(edges)]
    return [*pieces, samples[edges[-1] :]]


def speechlike(n: int, rate: int = 16000) -> Samples:
    """Harmonics of a gliding pitch in syllables of noise and voice."""
    rng = np.random.default_rng(7)
    time = np.arange(n) / rate
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    hiss = np.convolve(rng.standard_normal(n), [0.5, 0.3, 0.2], "same")
    envelope = np.clip(np.sin(2 * np.pi * 3 * time), 0, 1)
    sound = envelope * voice + 0.15 * (1 - envelope) * hiss
    return np.rint(9000 * sound / np.abs(sound).max()).astype(np.int16)


def snr_db(reference: NDArray[np.generic], heard: NDArray[np.generic]) -> float:
    """Signal to error of two aligned signals."""
    wanted = reference.astype(np.float64)
    error = heard.astype(np.float64) - wanted
    return float(10 * np.log10((wanted**2).sum() / max((error**2).sum(), 1e-9)))


def fit(samples: Samples, frequency: float, rate: int) -> tuple[float, float]:
    """Amplitude of the tone at `frequency` in `samples`, and its level over the rest, in dB."""
    at = 2 * np.pi * frequency * np.arange(len(samples)) / rate
    basis = np.stack([np.sin(at), np.cos(at)], axis=1)
    wide = samples.astype(np.float64)
    parts = np.linalg.lstsq(basis, wide, rcond=None)[0]
    rest = wide - basis @ parts
    amplitude = float(np.hypot(*parts))
    return amplitude, float(10 * np.log10(amplitude**2 / 2 / max((rest**2).mean(), 1e-9)))


def peak_frequency(samples: Samples, rate: int) -> float:
    """The strongest frequency, by a windowed spectrum with parabolic interpolation."""
    spectrum = np.log(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) + 1e-9)
    top = int(spectrum.argmax())
    left, middle, right = spectrum[top - 1 : top + 2]
    return (top + 0.5 * (left - right) / (left - 2 * middle + right)) * rate / len(samples)
