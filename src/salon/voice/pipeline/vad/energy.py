"""A detector that needs no network: whatever is loud is speech."""

from __future__ import annotations

from typing import Final

import numpy as np

from salon.media.frame import AudioFrame, Samples
from salon.media.framer import Framer
from salon.media.pcm import decode_pcm
from salon.voice.pipeline.vad.base import VADConfig, VADEvent, VADProvider
from salon.voice.pipeline.vad.segments import CutConfig, SegmentCutter
from salon.voice.vad.config import VADConfigError, number

_WINDOWS_PER_SECOND: Final = 100
_FALL: Final = 0.2
"""Part of the way to a quieter window that the noise floor goes at once."""
_RISE: Final = 10 ** (3.0 / 20 / _WINDOWS_PER_SECOND)
"""3 dB per second, so that speech with its pauses lifts it little."""
_EXTRA: Final = ("energy_threshold", "max_speech_duration_ms", "noise_margin_db")


class EnergyVADProvider(VADProvider):
    """Speech is what has an RMS above `energy_threshold` (on the scale of 16-bit samples) over
    10 ms. For quiet rooms and tests; `SileroVADProvider` tells speech from other noise.

    SPEECH_START comes with the first loud window and holds the sound since `speech_pad_ms` before
    it, SPEECH_END after `silence_threshold_ms` of quiet or `max_speech_duration_ms` of speech. What
    was loud for less than `min_speech_duration_ms` ends without a segment (`audio_bytes` None).

    `noise_margin_db`: the threshold is at least so much above the noise floor, which is followed;
    None leaves it fixed. `levels_per_second` (0 to 10) and `tell_silence` turn AUDIO_LEVEL and
    SILENCE on. `VADConfig.extra` may have ``energy_threshold``, ``max_speech_duration_ms`` and
    ``noise_margin_db``. `ConfigurationError` for settings below 0.
    """

    def __init__(
        self,
        *,
        energy_threshold: float = 300.0,
        silence_threshold_ms: float = 500,
        min_speech_duration_ms: float = 200,
        speech_pad_ms: float = 300,
        max_speech_duration_ms: float = 60_000,
        noise_margin_db: float | None = None,
        levels_per_second: float = 0.0,
        tell_silence: bool = False,
    ) -> None:
        self._threshold = _positive("energy_threshold", energy_threshold)
        self._margin = _margin(noise_margin_db)
        if levels_per_second > 10:
            raise VADConfigError(f"levels_per_second is {levels_per_second:g}, not within 0..10")
        self._cuts = CutConfig(
            silence_ms=_positive("silence_threshold_ms", silence_threshold_ms),
            pad_ms=_positive("speech_pad_ms", speech_pad_ms),
            min_speech_ms=_positive("min_speech_duration_ms", min_speech_duration_ms),
            max_speech_ms=_positive("max_speech_duration_ms", max_speech_duration_ms),
            start_after_ms=0.0,
            levels_per_second=_positive("levels_per_second", levels_per_second),
            tell_silence=tell_silence,
        )
        self._streams: dict[str, _Stream] = {}
        self._closed = False

    @property
    def name(self) -> str:
        return "EnergyVADProvider"

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    def configure(self, config: VADConfig) -> None:
        chosen = config.settings(self.name, _EXTRA)
        cuts = self._cuts
        threshold = _positive("energy_threshold", chosen.get("energy_threshold", self._threshold))
        if "noise_margin_db" in chosen:
            self._margin = _margin(chosen["noise_margin_db"])
        self._threshold = threshold
        self._cuts = CutConfig(
            silence_ms=_positive(
                "silence_threshold_ms", chosen.get("silence_threshold_ms", cuts.silence_ms)
            ),
            pad_ms=_positive("speech_pad_ms", chosen.get("speech_pad_ms", cuts.pad_ms)),
            min_speech_ms=_positive(
                "min_speech_duration_ms", chosen.get("min_speech_duration_ms", cuts.min_speech_ms)
            ),
            max_speech_ms=_positive(
                "max_speech_duration_ms", chosen.get("max_speech_duration_ms", cuts.max_speech_ms)
            ),
            start_after_ms=0.0,
            levels_per_second=cuts.levels_per_second,
            tell_silence=cuts.tell_silence,
        )

    def process(self, frame: AudioFrame, stream: str) -> VADEvent | None:
        state = self._streams.get(stream)
        if state is None:
            if self._closed:
                return None
            state = _Stream(self._cuts, self._threshold, self._margin, frame)
            self._streams[stream] = state
        return state.process(frame, stream)

    def is_speaking(self, stream: str) -> bool:
        """Between SPEECH_START and SPEECH_END."""
        state = self._streams.get(stream)
        return state is not None and state.cutter.speaking

    def reset(self, stream: str) -> None:
        self._streams.pop(stream, None)

    def close(self) -> None:
        self._closed = True
        self._streams.clear()


class _Stream:
    """One stream's windows and noise floor."""

    __slots__ = (
        "_energy",
        "_factor",
        "_floor",
        "_framer",
        "_threshold",
        "_window",
        "_window_ms",
        "_windows",
        "cutter",
    )

    def __init__(
        self, config: CutConfig, threshold: float, margin: float | None, frame: AudioFrame
    ) -> None:
        window = max(1, round(frame.sample_rate / _WINDOWS_PER_SECOND))
        self._window_ms = window * 1000 / frame.sample_rate
        self._window = window * (frame.channels if frame.sample_width == 2 else 1)
        self._framer = Framer(self._window)
        self.cutter = SegmentCutter(config, frame, self._window * _WINDOWS_PER_SECOND)
        self._windows = 0
        self._threshold = threshold
        self._factor = margin
        self._floor = threshold / margin if margin else 0.0

    def process(self, frame: AudioFrame, stream: str) -> VADEvent | None:
        cutter, size = self.cutter, self._window
        cutter.push(frame, stream)
        if frame.sample_width == 2:
            samples = frame.samples
        else:
            width, channels = frame.sample_width, frame.channels
            samples = decode_pcm(frame.data, sample_width=width, channels=channels)
        if not self._framer.pending and len(samples) % size == 0:
            self._hear(samples)
        else:
            for window in self._framer.push(samples):
                self._hear(window)
        return cutter.take(samples)

    def _hear(self, samples: Samples) -> None:
        """Whole windows."""
        wide = samples.astype(np.float32).reshape(-1, self._window)
        means = np.einsum("ij,ij->i", wide, wide) / self._window
        length = self._window_ms
        for mean in means.tolist():
            start = self._windows * length
            self._windows += 1
            loud = self._is_loud(mean**0.5)
            self.cutter.window(1.0, loud, start, self._windows * length)

    def _is_loud(self, rms: float) -> bool:
        if self._factor is None:
            return rms > self._threshold
        loud = rms > max(self._threshold, self._floor * self._factor)
        if rms < self._floor:
            self._floor += (rms - self._floor) * _FALL
        else:
            self._floor = min(self._floor * _RISE + 0.01, rms)
        return loud


def _positive(name: str, value: object) -> float:
    found = number(name, value)
    if found < 0:
        raise VADConfigError(f"{name} is {found:g}, not 0 or more")
    return found


def _margin(value: object) -> float | None:
    """Decibels as a factor."""
    return None if value is None else float(10 ** (_positive("noise_margin_db", value) / 20))
