"""The volume of a voice as a factor on its samples."""

from __future__ import annotations

from typing import Final

import numpy as np

from salon.media.frame import Samples
from salon.media.pcm import to_int16

NORMAL_VOLUME: Final = 5.0


def amplify(samples: Samples, volume: float) -> Samples:
    """Volume 0-10 (G291) as a linear factor: 5 changes nothing, 0 is silence, 10 is +6 dB."""
    if volume == NORMAL_VOLUME:
        return samples
    return to_int16(samples.astype(np.float64) * (min(max(volume, 0.0), 10.0) / NORMAL_VOLUME))
