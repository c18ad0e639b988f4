"""Log-mel features of the kind Whisper models take: 80 bands, 10 ms apart."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
BANDS = 80
HOP = 160
WINDOW = 400

Floats = NDArray[np.float32]

_LINEAR_HZ = 200.0 / 3
"""Below 1 kHz the mel scale is linear, this much per mel."""
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27
"""Above, this much of the natural logarithm per mel (Slaney)."""
_TOP_MEL = float(_BREAK_MEL + np.log(SAMPLE_RATE / 2 / _BREAK_HZ) / _LOG_STEP)


def log_mel(samples: NDArray[Any]) -> Floats:
    """``float32[80, len(samples) // 160]`` of ``float[n]``, 16 kHz mono in -1..1, n a multiple of
    160 and at least 400. Scaled as Whisper does: the loudest value lies 2 above the floor."""
    half = WINDOW // 2
    padded = np.pad(np.asarray(samples, dtype=np.float64), half, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:-1]
    spectrum = np.fft.rfft(windows * _hann(), axis=1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    levels = np.log10(np.maximum(power @ _filters(), 1e-10)).T
    levels = np.maximum(levels, levels.max() - 8.0)
    scaled: Floats = ((levels + 4.0) / 4.0).astype(np.float32)
    return scaled


def normalised(samples: NDArray[Any]) -> NDArray[np.float64]:
    """The same sound with mean 0 and variance 1."""
    sound = np.asarray(samples, dtype=np.float64)
    result: NDArray[np.float64] = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
    return result


@lru_cache(maxsize=1)
def _hann() -> NDArray[np.float64]:
    window: NDArray[np.float64] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    return window


@lru_cache(maxsize=1)
def _filters() -> NDArray[np.float64]:
    """``float64[201, 80]``: triangles of equal area between neighbouring mels up to 8 kHz."""
    bins = np.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)
    edges = _hertz(np.linspace(0, _TOP_MEL, BANDS + 2))
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rise = (bins[:, None] - low) / (middle - low)
    fall = (high - bins[:, None]) / (high - middle)
    triangles: NDArray[np.float64] = np.maximum(0, np.minimum(rise, fall)) * (2 / (high - low))
    return triangles


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ, above)
