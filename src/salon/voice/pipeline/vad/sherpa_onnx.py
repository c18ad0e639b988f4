"""Speech detection by sherpa-onnx with a model of the user's: TEN VAD or Silero."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from salon.base.errors import ConfigurationError
from salon.media.conform import FrameResampler
from salon.media.frame import SAMPLE_RATE, AudioFrame, Samples
from salon.voice.pipeline.vad.base import VADConfig, VADEvent, VADProvider
from salon.voice.pipeline.vad.segments import CutConfig, SegmentCutter
from salon.voice.sherpa import check_compute, onnx_file, sherpa_library
from salon.voice.vad.config import VADConfigError, number

__all__ = ["SherpaOnnxVADConfig", "SherpaOnnxVADProvider"]

_WINDOWS: Final = {"ten": 256, "silero": 512}
_NEEDS: Final = {"ten": ("model_type", "mean", "inv_stddev", "window"), "silero": ()}
_KEYS: Final = ("threshold", "max_speech_duration", "energy_silence_rms")
_NOT_NEGATIVE: Final = (
    "silence_threshold_ms",
    "min_speech_duration_ms",
    "speech_pad_ms",
    "sherpa_min_silence_duration",
    "sherpa_min_speech_duration",
    "energy_silence_rms",
)
_SPARE: Final = 4
_LEVELS_PER_SECOND: Final = 10.0


@dataclass
class SherpaOnnxVADConfig:
    """`model` is the path of a ``ten-vad.onnx`` (`model_type` ``ten``) or ``silero_vad.onnx``
    (``silero``).

    Sound whose RMS lies below `energy_silence_rms` (of 32768) is quiet whatever the model says.
    `max_speech_duration` and the two ``sherpa_`` times, which smooth what the model says of single
    windows, are seconds.
    """

    model: str = ""
    model_type: str = "ten"
    threshold: float = 0.35
    silence_threshold_ms: float = 500
    min_speech_duration_ms: float = 250
    speech_pad_ms: float = 1000
    max_speech_duration: float = 20.0
    energy_silence_rms: float = 20.0
    sherpa_min_silence_duration: float = 0.05
    sherpa_min_speech_duration: float = 0.1
    sample_rate: int = SAMPLE_RATE
    num_threads: int = 1
    provider: str = "cpu"

    def check(self) -> None:
        """`ConfigurationError` for what is out of range and for a file that is none."""
        if self.model_type not in _WINDOWS:
            raise ConfigurationError(f"model_type is {self.model_type!r}, not ten or silero")
        if self.sample_rate != SAMPLE_RATE:
            raise ConfigurationError(
                f"sample_rate is {self.sample_rate}; the models hear {SAMPLE_RATE} Hz, and other "
                "sound is converted"
            )
        if not 0 < self.threshold < 1:
            raise VADConfigError(f"threshold is {self.threshold}, not between 0 and 1")
        if not 1 <= self.max_speech_duration <= 3_600:
            raise VADConfigError(f"max_speech_duration is {self.max_speech_duration}, not 1..3600")
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise VADConfigError(f"{name} is {value}, not 0 or more")
        check_compute(self.num_threads, self.provider)
        onnx_file(self.model, "model", _NEEDS[self.model_type])


class SherpaOnnxVADProvider(VADProvider):
    """The library keeps one copy of the model per stream: some 8 MB and 30 ms with Silero, from the
    stream's first window on. A few that were left are used again.

    SPEECH_START, SPEECH_END, SILENCE and AUDIO_LEVEL come as from the built-in detector; there is
    no confidence. Frames of other rates, widths and of two channels are converted for the model.
    `VADConfig.extra` may have ``threshold``, ``max_speech_duration`` and ``energy_silence_rms``.

    Here already: `MissingExtraError` without the library, `ConfigurationError` for a file that is
    missing or no such model. One copy of the model is loaded here.
    """

    def __init__(self, config: SherpaOnnxVADConfig) -> None:
        config.check()
        self._library = sherpa_library("speech detection with sherpa-onnx")
        self._streams: dict[str, _Stream] = {}
        self._spare: list[Any] = []
        self._closed = False
        self._apply(config)
        self._leave(self._make())

    @property
    def name(self) -> str:
        return "SherpaOnnxVAD"

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    @property
    def config(self) -> SherpaOnnxVADConfig:
        """What applies to streams that begin now."""
        return replace(self._config)

    def configure(self, config: VADConfig) -> None:
        chosen = config.settings(self.name, _KEYS)
        for name in _KEYS:
            if name in chosen:
                chosen[name] = number(name, chosen[name])
        changed = replace(self._config, **chosen)  # type: ignore[arg-type]
        changed.check()
        self._apply(changed)

    def _apply(self, config: SherpaOnnxVADConfig) -> None:
        self._config = config
        self._spare.clear()
        self._cuts = CutConfig(
            silence_ms=config.silence_threshold_ms,
            pad_ms=config.speech_pad_ms,
            min_speech_ms=0.0,
            max_speech_ms=config.max_speech_duration * 1000,
            start_after_ms=config.min_speech_duration_ms,
            levels_per_second=_LEVELS_PER_SECOND,
            tell_silence=True,
        )

    def _make(self) -> Any:
        config, library = self._config, self._library
        common = {
            "model": config.model,
            "threshold": config.threshold,
            "min_silence_duration": config.sherpa_min_silence_duration,
            "min_speech_duration": config.sherpa_min_speech_duration,
            "max_speech_duration": config.max_speech_duration,
            "window_size": _WINDOWS[config.model_type],
        }
        made = library.VadModelConfig(
            sample_rate=SAMPLE_RATE, num_threads=config.num_threads, provider=config.provider
        )
        if config.model_type == "ten":
            made.ten_vad = library.TenVadModelConfig(**common)
        else:
            made.silero_vad = library.SileroVadModelConfig(**common)
        try:
            return library.VadModel.create(made)
        except (RuntimeError, ValueError) as error:
            raise ConfigurationError(f"model {config.model!r} can't be loaded: {error}") from error

    def _take(self) -> Any:
        return self._spare.pop() if self._spare else self._make()

    def _leave(self, model: Any) -> None:
        if not self._closed and len(self._spare) < _SPARE:
            model.reset()
            self._spare.append(model)

    def process(self, frame: AudioFrame, stream: str) -> VADEvent | None:
        state = self._streams.get(stream)
        if state is None:
            if self._closed:
                return None
            state = _Stream(self, self._config, self._cuts, frame)
            self._streams[stream] = state
        state.push(frame, stream)
        event = state.cutter.take(state.heard)
        if event is not None:
            event.confidence = None
        return event

    def is_speaking(self, stream: str) -> bool:
        """Between SPEECH_START and SPEECH_END."""
        state = self._streams.get(stream)
        return state is not None and state.cutter.speaking

    def reset(self, stream: str) -> None:
        state = self._streams.pop(stream, None)
        if state is not None and state.model is not None and state.config is self._config:
            self._leave(state.model)

    def close(self) -> None:
        self._closed = True
        self._streams.clear()
        self._spare.clear()


class _Stream:
    """One stream's way through its model."""

    __slots__ = (
        "_at",
        "_convert",
        "_hop",
        "_least",
        "_owner",
        "_rest",
        "config",
        "cutter",
        "heard",
        "model",
    )

    def __init__(
        self,
        owner: SherpaOnnxVADProvider,
        config: SherpaOnnxVADConfig,
        cuts: CutConfig,
        frame: AudioFrame,
    ) -> None:
        self._owner = owner
        self.config = config
        self.cutter = SegmentCutter(cuts, frame, SAMPLE_RATE)
        plain = self.cutter.format == (SAMPLE_RATE, 1, 2)
        self._convert = None if plain else FrameResampler()
        self._hop = _WINDOWS[config.model_type]
        self._least = config.energy_silence_rms**2
        self._rest: Samples = np.zeros(0, dtype=np.int16)
        self._at = 0
        """Samples whose windows are known."""
        self.model: Any = None
        self.heard = self._rest
        """The newest frame as the model gets it."""

    def push(self, frame: AudioFrame, stream: str) -> None:
        self.cutter.push(frame, stream)
        convert = self._convert
        self.heard = frame.samples if convert is None else convert.process(frame).samples
        if self.model is None and len(self._rest) + len(self.heard) >= self._hop:
            self.model = self._owner._take()
            # Silero hears the end of the window before, too: at first silence.
            overlap = self.model.window_size() - self._hop
            self._rest = np.concatenate([np.zeros(overlap, dtype=np.int16), self._rest])
        held = np.concatenate([self._rest, self.heard])
        if self.model is not None:
            size, at = self.model.window_size(), 0
            while at + size <= len(held):
                self._window(held[at : at + size])
                at += self._hop
            held = held[at:]
        self._rest = held

    def _window(self, samples: Samples) -> None:
        sound = samples.astype(np.float32)
        new = sound[-self._hop :]
        loud = float(new.dot(new)) >= self._least * self._hop
        voiced = bool(self.model.is_speech(sound / 32_768.0)) and loud
        begin = self._at * 1000 / SAMPLE_RATE
        self._at += self._hop
        self.cutter.window(float(voiced), voiced, begin, self._at * 1000 / SAMPLE_RATE)
