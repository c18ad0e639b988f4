"""A detector that asks nothing: whatever is not digital silence is speech (G62, ``nop``)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from salon.media.frame import Samples

WINDOW_SAMPLES = 512


class AnySound:
    """Calls `on_window` with 1.0 or 0.0 and the position of its end for every 32 ms of sound, as it
    comes."""

    def __init__(self, on_window: Callable[[float, int], None]) -> None:
        self._on_window = on_window
        self._heard = 0
        self._loud = False

    def push(self, samples: Samples) -> None:
        """Add ``int16[n]``, 16 kHz mono, of any length."""
        at = 0
        while at < len(samples):
            part = samples[at : at + WINDOW_SAMPLES - self._heard % WINDOW_SAMPLES]
            at += len(part)
            self._heard += len(part)
            self._loud = self._loud or bool(np.any(part))
            if self._heard % WINDOW_SAMPLES == 0:
                loud, self._loud = self._loud, False
                self._on_window(float(loud), self._heard)
