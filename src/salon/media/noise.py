"""White noise: as dither before recognition, and to make tests hard.

Recognisers trained on real rooms do badly on digital silence; a little noise cures that.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from salon.media.frame import Samples
from salon.media.level import from_dbfs
from salon.media.pcm import to_int16

DITHER_DBFS: Final = -66.0
"""A quiet room."""


def low_noise(n: int, dbfs: float = DITHER_DBFS, rng: np.random.Generator | None = None) -> Samples:
    """``int16[n]`` of white Gaussian noise with an RMS of `dbfs`.

    Pass `rng` for a noise of your own; without it each call gives the same one.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    return to_int16(rng.standard_normal(n) * from_dbfs(dbfs))


def add_low_noise(
    samples: Samples, dbfs: float = DITHER_DBFS, rng: np.random.Generator | None = None
) -> Samples:
    """`samples` with `low_noise` added, clamped to int16."""
    return to_int16(samples.astype(np.float64) + low_noise(len(samples), dbfs, rng))


def add_noise_at_snr(samples: Samples, snr_db: float, rng: np.random.Generator) -> Samples:
    """`samples` with white noise `snr_db` below their own RMS over the whole array, clamped."""
    wide = samples.astype(np.float64)
    if not len(wide):
        return samples
    rms = float(np.sqrt(np.mean(wide**2)))
    return to_int16(wide + rng.standard_normal(len(wide)) * rms * 10 ** (-snr_db / 20))
