"""The mixer that is always there; its sums are limited softly, not clipped."""

from __future__ import annotations

import numpy as np

from salon.media.frame import AudioFrame
from salon.media.mixer import soft_limit
from salon.voice.pipeline.mixer.base import MixerProvider


class PythonMixerProvider(MixerProvider):
    """Sums up to 3/4 of full scale pass unchanged; above, they bend towards it (V139)."""

    @property
    def name(self) -> str:
        return "python"

    def mix(self, frames: list[AudioFrame]) -> AudioFrame:
        if not frames:
            raise ValueError("there is nothing to mix")
        first = frames[0]
        if len(frames) == 1:
            return first
        form = first.sample_rate, first.channels
        for frame in frames[1:]:
            if (frame.sample_rate, frame.channels) != form:
                raise ValueError(
                    f"can't mix {frame.sample_rate} Hz, {frame.channels} ch with"
                    f" {first.sample_rate} Hz, {first.channels} ch"
                )
        length = min(len(frame.samples) for frame in frames)
        total = np.zeros(length, dtype=np.int32)
        for frame in frames:
            total += frame.samples[:length]
        return first.with_samples(soft_limit(total))
