"""The tones of telephone keys in one piece of sound (ITU-T Q.23, with checks like Q.24's).

A window of 30 ms, raised-cosine shaped, is projected on the eight frequencies by one matrix
product. Only where two of them stand out, the second matrix looks beside each tone (where its
true frequency lies) and at twice its frequency (where speech has harmonics and keys have nothing).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import exp, log, pi
from typing import Final

import numpy as np
from numpy.typing import NDArray

from salon.media.frame import Samples
from salon.media.level import from_dbfs

Floats = NDArray[np.float32]

ROWS: Final = (697.0, 770.0, 852.0, 941.0)
COLUMNS: Final = (1209.0, 1336.0, 1477.0, 1633.0)
KEYS: Final = ("123A", "456B", "789C", "*0#D")

HOP_MS: Final = 20
PARTS: Final = 4
"""Pieces of a hop, 5 ms each, whose energies tell where a tone begins and ends."""
KEPT_HOPS: Final = 3
LEAST_RATE: Final = 8_000
_MOST_RATE: Final = 32_000  # from here on neighbouring samples are averaged first

QUIETEST_DBFS: Final = -50.0
LEAST_SHARE: Final = 0.78
"""Of the energy that both tones must hold together: noise 6 dB below them passes."""
_WORTH_A_LOOK: Final = 0.35
_DOMINANCE: Final = 8.0  # against the other tones of the group
_TWIST: Final = (10 ** (-9 / 10), 10 ** (5 / 10))  # column over row: -8 to +4 dB, and 1 dB more
_HARMONIC: Final = 0.06
_TOLERANCE: Final = 0.025  # between the 1.5 % that must pass and the 3.5 % that must not
_BESIDE_HZ: Final = 25.0
_APART_HZ: Final = 120.0


@dataclass(frozen=True, slots=True)
class Hit:
    """A key's tones fill one window. `power` is their mean square, `share` their part of all."""

    digit: str
    power: float
    share: float


class ToneBank:
    """The matrices for one sampling rate; never written to, shared by all streams and threads."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._merge = max(1, rate // (_MOST_RATE // 2)) if rate >= _MOST_RATE else 1
        step = self._merge * PARTS
        self.hop = round(rate * HOP_MS / 1000 / step) * step
        """Samples from one window to the next."""
        self.hop_ms = self.hop * 1000 / rate
        self._mean: Floats = np.full(self._merge, 1 / self._merge, dtype=np.float32)
        size = self.hop // self._merge
        self.window = size + size // 2
        self.fresh = size
        """Of a hop, after `merge`."""
        own_rate = rate / self._merge
        shape = 0.5 - 0.5 * np.cos(2 * pi * (np.arange(self.window) + 0.5) / self.window)
        self._shape: Floats = shape.astype(np.float32)
        times = np.arange(self.window) / own_rate
        self._tones = _waves(times, (*ROWS, *COLUMNS))
        self._details = {
            (row, column): _waves(times, _details(ROWS[row], COLUMNS[column]))
            for row in range(4)
            for column in range(4)
        }
        # twice the squared projection times this is the energy of a tone in the shaped window
        self._gain = 2 * float(np.sum(shape**2) / np.sum(shape) ** 2)
        self._energy_of_power = float(np.sum(shape**2))
        beside = np.exp(-2j * pi * _BESIDE_HZ * times) @ shape
        self._bend = -2 * log(abs(beside) / float(np.sum(shape))) / _BESIDE_HZ**2
        self._quiet = from_dbfs(QUIETEST_DBFS) ** 2 * self._energy_of_power

    def merge(self, hop: Samples) -> NDArray[np.generic]:
        """A hop at the rate of the matrices."""
        if self._merge == 1:
            return hop
        merged: Floats = hop.astype(np.float32).reshape(-1, self._merge).dot(self._mean)
        return merged

    def find(self, sound: Floats) -> Hit | None:
        """The key in ``float32[window]``."""
        shaped: Floats = sound * self._shape
        energy = float(shaped.dot(shaped))
        if energy < self._quiet:
            return None
        waves = shaped.dot(self._tones)
        waves *= waves
        powers = (waves[:8] + waves[8:]).tolist()
        rows, columns = powers[:4], powers[4:]
        row, column = max(rows), max(columns)
        if (row + column) * self._gain < energy * _WORTH_A_LOOK:
            return None
        place = rows.index(row), columns.index(column)
        rows[place[0]] = columns[place[1]] = 0.0
        if row < max(rows) * _DOMINANCE or column < max(columns) * _DOMINANCE:
            return None
        return self._look(shaped, place, row, column, energy)

    def _look(
        self, shaped: Floats, place: tuple[int, int], row: float, column: float, energy: float
    ) -> Hit | None:
        waves = shaped.dot(self._details[place])
        waves *= waves
        low, high, left, right, row_double, column_double = (waves[:6] + waves[6:]).tolist()
        row_offset = self._offset(max(low, high), row)
        column_offset = self._offset(max(left, right), column)
        if (
            row_offset > ROWS[place[0]] * _TOLERANCE
            or column_offset > COLUMNS[place[1]] * _TOLERANCE
        ):
            return None
        row *= exp(self._bend * row_offset**2)
        column *= exp(self._bend * column_offset**2)
        if not _TWIST[0] * row <= column <= _TWIST[1] * row:
            return None
        if row_double > row * _HARMONIC or column_double > column * _HARMONIC:
            return None
        tones = (row + column) * self._gain
        share = min(1.0, tones / energy)
        if share < LEAST_SHARE:
            return None
        return Hit(KEYS[place[0]][place[1]], tones / self._energy_of_power, share)

    def _offset(self, side: float, middle: float) -> float:
        """How far a tone is from the frequency at which it has the power `middle`, in Hz, when it
        has `side` at the nearer of the two beside that: the window's spectrum is nearly a bell."""
        ratio = log((side + 1e-9) / (middle + 1e-9))
        return abs(ratio / self._bend + _BESIDE_HZ**2) / (2 * _BESIDE_HZ)


@lru_cache(maxsize=8)
def tone_bank(rate: int) -> ToneBank:
    """The bank for a rate; `ValueError` below 8 kHz."""
    if rate < LEAST_RATE:
        raise ValueError(f"keys can't be told apart at {rate} Hz: at least {LEAST_RATE} are needed")
    return ToneBank(rate)


def _details(row: float, column: float) -> tuple[float, ...]:
    """Beside both tones, and the harmonics that are far enough from the column."""
    beside = _BESIDE_HZ
    harmonic = 2 * row if abs(2 * row - column) > _APART_HZ else 3 * row
    return row - beside, row + beside, column - beside, column + beside, harmonic, 2 * column


def _waves(times: NDArray[np.float64], frequencies: tuple[float, ...]) -> Floats:
    """Cosines, then sines, as columns."""
    angles = 2 * pi * times[:, None] * np.array(frequencies)
    return np.asfortranarray(np.concatenate((np.cos(angles), np.sin(angles)), axis=1), np.float32)
