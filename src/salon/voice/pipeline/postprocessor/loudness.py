"""Voices of different engines at one loudness."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Final

import numpy as np
from numpy.typing import NDArray

from salon.base import ConfigurationError
from salon.media.frame import AudioFrame, Samples
from salon.media.level import from_dbfs, to_dbfs
from salon.media.mixer import soft_limit
from salon.voice.pipeline.postprocessor.base import AudioPostProcessor

PIECE_MS: Final = 20


@dataclass(frozen=True, slots=True)
class LoudnessConfig:
    """Levels in dBFS, RMS. `window_ms`: speech that the level is measured over; `db_per_second`:
    how fast the gain moves; sound below `gate_dbfs` is not speech."""

    target_dbfs: float = -20.0
    max_gain_db: float = 12.0
    max_cut_db: float = 20.0
    window_ms: float = 1500.0
    db_per_second: float = 12.0
    gate_dbfs: float = -50.0

    def __post_init__(self) -> None:
        if not -60 <= self.target_dbfs <= -3:
            raise ConfigurationError(f"target_dbfs is {self.target_dbfs:g}, not within -60..-3")
        for name in ("max_gain_db", "max_cut_db", "window_ms", "db_per_second"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ConfigurationError(f"{name} is {value:g}, not above 0")


class LoudnessPostProcessor(AudioPostProcessor):
    """Brings each stream's speech to `target_dbfs`, slowly, and limits its peaks softly.

    The gain is measured on speech only and held in pauses. It starts at once at the right value of
    the first 20 ms of speech and moves in straight lines from there, so that there are no steps.
    16-bit frames of any rate and length, one or two channels; `ValueError` for other widths or when
    a stream's rate or channel count changes.
    """

    def __init__(
        self, target_dbfs: float | None = None, *, config: LoudnessConfig | None = None
    ) -> None:
        if target_dbfs is not None:
            if config is not None:
                raise ConfigurationError("give target_dbfs or config, not both")
            config = LoudnessConfig(target_dbfs)
        self._config = config or LoudnessConfig()
        self._streams: dict[str, _Stream] = {}
        self._closed = False

    @property
    def name(self) -> str:
        return "LoudnessPostProcessor"

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        found = frame.sample_rate, frame.channels
        samples = frame.samples
        state = self._streams.get(stream)
        if state is None:
            if self._closed:
                return frame
            state = self._streams[stream] = _Stream(self._config, *found)
        if found != state.format:
            raise ValueError(
                f"stream {stream!r} changed from {state.format} to {found} (rate, channels); "
                "reset it first"
            )
        return frame.with_samples(state.apply(samples)) if len(samples) else frame

    def reset(self, stream: str) -> None:
        self._streams.pop(stream, None)

    def close(self) -> None:
        self._closed = True
        self._streams.clear()


class _Stream:
    """What is known of one stream's level, and its gain."""

    __slots__ = ("_config", "_gain", "_gain_db", "_gate", "_piece", "_power", "_ramp", "format")

    def __init__(self, config: LoudnessConfig, rate: int, channels: int) -> None:
        self.format = rate, channels
        self._config = config
        self._piece = max(1, round(rate * PIECE_MS / 1000)) * channels
        self._gate = from_dbfs(config.gate_dbfs) ** 2
        self._ramp = _ramp(self._piece)
        self._power: float | None = None
        self._gain_db = 0.0
        self._gain = 1.0

    def apply(self, samples: Samples) -> Samples:
        """A copy of one frame, louder or quieter."""
        size = self._piece
        if len(samples) <= size:
            return self._apply(samples)
        pieces = [samples[at : at + size] for at in range(0, len(samples), size)]
        return np.concatenate([self._apply(piece) for piece in pieces])

    def _apply(self, samples: Samples) -> Samples:
        wide = samples.astype(np.float32)
        before = self._gain
        self._follow(float(wide.dot(wide)) / len(wide), len(wide))
        if before == self._gain:
            wide *= np.float32(before)
        else:
            ramp = self._ramp if len(wide) == self._piece else _ramp(len(wide))
            wide *= np.float32(before) + ramp * np.float32(self._gain - before)
        np.rint(wide, out=wide)
        return soft_limit(wide.astype(np.int32))

    def _follow(self, power: float, count: int) -> None:
        """Take a piece's mean square; the gain after it."""
        if power < self._gate:
            return
        config = self._config
        seconds = count / (self.format[0] * self.format[1])
        if self._power is None:
            self._power = power
            most = float("inf")  # nothing was heard yet that would tell a step
        else:
            self._power += (power - self._power) * (1 - exp(-seconds * 1000 / config.window_ms))
            most = config.db_per_second * seconds
        wanted = config.target_dbfs - to_dbfs(self._power**0.5)
        wanted = min(max(wanted, -config.max_cut_db), config.max_gain_db)
        self._gain_db += min(max(wanted - self._gain_db, -most), most)
        self._gain = 10 ** (self._gain_db / 20)


def _ramp(count: int) -> NDArray[np.float32]:
    """From just above 0 to 1."""
    return (np.arange(1, count + 1) / count).astype(np.float32)
