"""The gain of one stream: measured on speech only, held in between."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from salon.media.frame import Samples
from salon.media.pcm import INT16_MAX, to_int16
from salon.voice.pipeline.agc.base import AGCConfig
from salon.voice.pipeline.agc.voicing import Voicing

Floats = NDArray[np.float64]

PIECE_MS: Final = 20
FULL_SCALE: Final = 32_768.0
SILENCE_DBFS: Final = -60.0
"""Level below which nothing is speech, unless the settings say otherwise."""
LEAST_GAIN_DB: Final = -30.0
"""The most that is taken away, unless the settings say otherwise."""
_OVER_FLOOR_DB: Final = 8.0
"""How far speech must lie above the quietest of the last two seconds."""
_FLOOR_PART_MS: Final = 500.0
_FLOOR_PARTS: Final = 4
_SURE_MS: Final = 60.0
"""Voiced sound heard before the gain moves."""
_DECAY_DB_PER_S: Final = 6.0
"""How fast the measured level of speech falls, in speech."""
_CEILING_DBFS: Final = -0.5


class Floor:
    """The lowest level of the last two seconds."""

    __slots__ = ("_age", "_now", "_past")

    def __init__(self) -> None:
        self._past: list[float] = []
        self._now = np.inf
        self._age = 0.0

    def add(self, level_db: float, ms: float) -> float:
        """Take a piece's level; the floor."""
        self._now = min(self._now, level_db)
        lowest = min(self._now, *self._past) if self._past else self._now
        self._age += ms
        if self._age >= _FLOOR_PART_MS:
            self._past = [*self._past, self._now][-_FLOOR_PARTS:]
            self._now, self._age = np.inf, 0.0
        return lowest


class GainControl:
    """State of one stream at one rate."""

    __slots__ = (
        "_config",
        "_floor",
        "_least_db",
        "_level",
        "_rate",
        "_silence_db",
        "_sure",
        "_voicing",
        "_wanted",
        "gain_db",
    )

    def __init__(self, config: AGCConfig, rate: int) -> None:
        self._config = config
        self._rate = rate
        self._silence_db = _setting(config, "silence_threshold_dbfs", SILENCE_DBFS)
        self._least_db = _setting(config, "min_gain_db", LEAST_GAIN_DB)
        self._voicing = Voicing(rate)
        self._floor = Floor()
        self._level: float | None = None
        self._sure = 0.0
        self._wanted = 0.0
        self.gain_db = 0.0

    def process(self, samples: Samples, channels: int) -> Samples:
        """Interleaved sound at its new level; all channels get the same gain."""
        piece = max(1, self._rate * PIECE_MS // 1000) * channels
        if len(samples) <= piece:
            return self._piece(samples, channels)
        cuts = range(0, len(samples), piece)
        return np.concatenate([self._piece(samples[at : at + piece], channels) for at in cuts])

    def _piece(self, samples: Samples, channels: int) -> Samples:
        sound = samples.astype(np.float64)
        peak = max(float(np.max(sound)), -float(np.min(sound)))
        mono = sound if channels == 1 else sound.reshape(-1, channels).mean(axis=1)
        ms = len(mono) * 1000.0 / self._rate
        peak_db = _decibels(peak / FULL_SCALE)
        self._measure(mono, peak_db, ms)
        before = self.gain_db
        self._move(peak_db, ms)
        if before == self.gain_db == 0.0:
            return samples
        sound *= self._curve(before, len(mono), channels)
        return to_int16(self._limited(sound))

    def _measure(self, mono: Floats, peak_db: float, ms: float) -> None:
        """Take the level of speech, if this is speech."""
        self._voicing.push(mono)
        level_db = _decibels(float(np.sqrt(mono @ mono / len(mono))) / FULL_SCALE)
        floor = self._floor.add(level_db, ms)
        if level_db < max(self._silence_db, floor + _OVER_FLOOR_DB):
            return
        if not self._voicing.voiced():
            return
        self._sure += ms
        if self._level is None or peak_db > self._level:
            self._level = peak_db
        else:
            self._level = max(peak_db, self._level - _DECAY_DB_PER_S * ms / 1000.0)
        if self._sure >= _SURE_MS:
            wanted = self._config.target_level_dbfs - self._level
            self._wanted = min(self._config.max_gain_db, max(self._least_db, wanted))

    def _move(self, peak_db: float, ms: float) -> None:
        """Go towards the gain that is wanted; down at once as far as the peak demands."""
        config = self._config
        goal = self._wanted
        if goal > 0.0:
            goal = min(goal, max(0.0, _CEILING_DBFS - peak_db))
        span = config.attack_ms if goal < self.gain_db else config.release_ms
        self.gain_db += (goal - self.gain_db) * (1.0 - float(np.exp(-ms / max(span, 1e-3))))
        if abs(self.gain_db) < 0.01 and goal == 0.0:
            self.gain_db = 0.0

    def _curve(self, before_db: float, count: int, channels: int) -> Floats:
        """The gain of each sample: from the last one to the new one."""
        first, last = 10.0 ** (before_db / 20.0), 10.0 ** (self.gain_db / 20.0)
        curve = np.full(count, last)
        ramp = count
        if last < first:
            ramp = min(count, max(1, int(self._config.attack_ms * self._rate / 1000)))
        curve[:ramp] = first + (last - first) * np.arange(1, ramp + 1) / ramp
        return curve if channels == 1 else np.repeat(curve, channels)

    def _limited(self, sound: Floats) -> Floats:
        """What exceeds the target bends towards full scale, which it never reaches."""
        knee = FULL_SCALE * 10.0 ** (min(self._config.target_level_dbfs, -1.0) / 20.0)
        size = np.abs(sound)
        if float(size.max()) <= knee:
            return sound
        room = INT16_MAX - knee
        over = size > knee
        bent = knee + room * np.tanh((size[over] - knee) / room)
        sound[over] = np.copysign(bent, sound[over])
        return sound


def _decibels(ratio: float) -> float:
    return 20.0 * float(np.log10(max(ratio, 1e-6)))


def _setting(config: AGCConfig, key: str, default: float) -> float:
    value = config.metadata.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"metadata[{key!r}] is {value!r}, not a number")
    return float(value)
