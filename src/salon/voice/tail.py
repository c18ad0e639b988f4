"""Where speech really ends: the detector's tail, trimmed by level.

A recurrent detector goes on saying "speech" for about 100 ms after the last sound. For the end of
a turn that is a third of the whole silence waited for, so a window that is as quiet as the pauses
around it counts as silence whatever the detector remembers.
"""

from __future__ import annotations

import math

import numpy as np

from salon.media.frame import Samples

DROP_DB = 32.0
"""This far below the loudest recent speech is silence, in any room."""
FLOOR_MARGIN_DB = 3.0
"""Within this of the background is background; a window of noise varies by under 1 dB."""
QUIET_PROBABILITY = 0.1
"""Below it a window surely is background."""
PEAK_DECAY_DB = 0.2
"""Per window: a loud word is forgotten within seconds."""
FLOOR_RISE_DB = 0.05
SILENT_DB = -96.0


class SpeechTail:
    """Corrects the probabilities of one call, window by window."""

    def __init__(self) -> None:
        self._peak = SILENT_DB
        self._floor: float | None = None

    def correct(self, probability: float, window: Samples) -> float:
        """The probability, or 0 if the window (``int16[n]``) holds no more than background."""
        level = level_db(window)
        self._peak = max(self._peak - PEAK_DECAY_DB, SILENT_DB)
        if probability < QUIET_PROBABILITY:
            floor = level if self._floor is None else self._floor
            # down at once, up slowly: a breath between words does not lift the background
            self._floor = min(level, floor + FLOOR_RISE_DB)
            return probability
        if level <= self._peak - DROP_DB:
            return 0.0
        if self._floor is not None and level <= self._floor + FLOOR_MARGIN_DB:
            return 0.0
        self._peak = max(self._peak, level)
        return probability


def level_db(window: Samples) -> float:
    """RMS in dBFS, at least -96."""
    wide = window.astype(np.float32)
    power = float(np.dot(wide, wide)) / max(len(wide), 1)
    return max(10.0 * math.log10(power / 2**30), SILENT_DB) if power > 0 else SILENT_DB
