"""Louder or quieter by a fixed amount."""

from __future__ import annotations

from math import isfinite

import numpy as np

from salon.base import ConfigurationError
from salon.media.frame import AudioFrame
from salon.media.mixer import soft_limit
from salon.voice.pipeline.postprocessor.base import AudioPostProcessor


class GainPostProcessor(AudioPostProcessor):
    """Every sample times `gain_db` (-60 to 60, `ConfigurationError` beyond), limited softly.

    Peaks above -2.5 dBFS are bent towards full scale, never past it; at 0 dB that is all it does: a
    limiter. 16-bit frames of any rate, one or two channels; `ValueError` for other widths. No
    state.
    """

    def __init__(self, gain_db: float = 0.0) -> None:
        if not (isfinite(gain_db) and abs(gain_db) <= 60):
            raise ConfigurationError(f"gain_db is {gain_db:g}, not within -60..60")
        self._factor = np.float32(10 ** (gain_db / 20))

    @property
    def name(self) -> str:
        return "GainPostProcessor"

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        del stream
        scaled = frame.samples * self._factor
        return frame.with_samples(soft_limit(np.rint(scaled).astype(np.int32)))
