"""Voice detectors that need no network."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from salon.voice.vad.model import Floats, SileroModel


class EnergyVad(SileroModel):
    """Calls every window speech whose level is above `threshold_dbfs`; for `BatchedVad`."""

    def __init__(self, threshold_dbfs: float = -40.0) -> None:
        self._threshold = 10 ** (threshold_dbfs / 10)

    def evaluate(self, windows: Floats, context: Floats, state: Floats) -> Floats:
        """1.0 or 0.0 for each window."""
        del context, state
        power = np.mean(np.square(windows), axis=1)
        speech: Floats = (power > self._threshold).astype(np.float32)
        return speech


class ScriptedVad(SileroModel):
    """Gives the probabilities of `script`, one for each window whatever it holds, then `rest`.

    Windows of several calls take from the same script, in the order of their batch.
    """

    def __init__(self, script: Iterable[float] = (), *, rest: float = 0.0) -> None:
        self._script = deque(script)
        self.rest = rest
        self.evaluated = 0
        """Windows so far."""

    def add(self, probability: float, windows: int = 1) -> None:
        """Lengthen the script."""
        self._script.extend([probability] * windows)

    def evaluate(self, windows: Floats, context: Floats, state: Floats) -> Floats:
        """The next of the script for each window."""
        del context, state
        self.evaluated += len(windows)
        return np.array(
            [self._script.popleft() if self._script else self.rest for _ in windows],
            dtype=np.float32,
        )
