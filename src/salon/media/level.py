"""How loud sound is, in dB below full scale.

0 dBFS is a square wave of full amplitude: a full-scale sine has an RMS of -3 dBFS.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from typing import Final

import numpy as np

from salon.media.frame import SAMPLE_RATE, Samples

FLOOR_DBFS: Final = -96.0
"""Given for digital silence; nothing is lower."""
_FULL_SCALE: Final = 32768.0


def to_dbfs(amplitude: float) -> float:
    """An amplitude on the int16 scale in dBFS."""
    if amplitude <= 0:
        return FLOOR_DBFS
    return max(FLOOR_DBFS, 20 * log10(amplitude / _FULL_SCALE))


def from_dbfs(dbfs: float) -> float:
    """A level in dBFS as an amplitude on the int16 scale."""
    return float(_FULL_SCALE * 10 ** (dbfs / 20))


def _energy(samples: Samples) -> float:
    wide = samples.astype(np.float32)
    return float(np.dot(wide, wide))


def _peak(samples: Samples) -> int:
    return max(int(samples.max()), -int(samples.min())) if len(samples) else 0


def rms_dbfs(samples: Samples) -> float:
    """Root mean square of ``int16[n]``; `FLOOR_DBFS` for silence or no samples."""
    return to_dbfs((_energy(samples) / len(samples)) ** 0.5) if len(samples) else FLOOR_DBFS


def peak_dbfs(samples: Samples) -> float:
    """Largest magnitude in ``int16[n]``; `FLOOR_DBFS` for silence or no samples."""
    return to_dbfs(_peak(samples))


@dataclass(frozen=True, slots=True)
class Level:
    """Loudness over one interval; `position` is the sample at which it ends."""

    rms_dbfs: float
    peak_dbfs: float
    position: int


class LevelMeter:
    """Sums up frames and reports at most `per_second` times per second of sound.

    Time is counted in samples, so the pace is that of the media, whatever the clock does.
    """

    __slots__ = ("_count", "_energy", "_interval", "_peak", "_position")

    def __init__(self, sample_rate: int = SAMPLE_RATE, per_second: float = 10) -> None:
        if sample_rate <= 0 or per_second <= 0:
            raise ValueError("sample_rate and per_second must be positive")
        self._interval = max(1, round(sample_rate / per_second))
        self._position = 0
        self._restart()

    def _restart(self) -> None:
        self._count = 0
        self._energy = 0.0
        self._peak = 0

    def push(self, samples: Samples) -> Level | None:
        """Add ``int16[n]``; the level of everything since the last report, when one is due."""
        self._count += len(samples)
        self._position += len(samples)
        self._energy += _energy(samples)
        self._peak = max(self._peak, _peak(samples))
        if self._count < self._interval:
            return None
        level = Level(
            to_dbfs((self._energy / self._count) ** 0.5), to_dbfs(self._peak), self._position
        )
        self._restart()
        return level
