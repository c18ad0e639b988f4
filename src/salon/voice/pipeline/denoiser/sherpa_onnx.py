"""Denoising by sherpa-onnx with a model of the user's: GTCRN or DPDFNet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from salon.base.errors import ConfigurationError
from salon.media.frame import AudioFormat, AudioFrame, Samples
from salon.media.pcm import to_int16
from salon.voice.pipeline.denoiser.base import DenoiserProvider
from salon.voice.sherpa import check_compute, onnx_file, sherpa_library

__all__ = ["SherpaOnnxDenoiserConfig", "SherpaOnnxDenoiserProvider"]

_TYPES: Final = ("gtcrn", "dpdfnet")
_SPARE: Final = 4
_FULL: Final = 32_768.0


@dataclass
class SherpaOnnxDenoiserConfig:
    """`model` is the path of a ``gtcrn_simple.onnx`` or, with `model_type` ``dpdfnet``, of a
    ``dpdfnet*.onnx``.

    `context_frames` and `silence_threshold` are taken for compatibility and change nothing: the
    model remembers what it heard by itself.
    """

    model: str = ""
    num_threads: int = 1
    provider: str = "cpu"
    context_frames: int = 3
    silence_threshold: float = 0.005
    model_type: str = "gtcrn"

    def check(self) -> int:
        """The model's samples per second. `ConfigurationError` for a file that is none."""
        if self.model_type not in _TYPES:
            raise ConfigurationError(f"model_type is {self.model_type!r}, not gtcrn or dpdfnet")
        if self.context_frames < 1:
            raise ConfigurationError(f"context_frames is {self.context_frames}, not 1 or more")
        if not (math.isfinite(self.silence_threshold) and self.silence_threshold >= 0):
            raise ConfigurationError(
                f"silence_threshold is {self.silence_threshold}, not 0 or more"
            )
        check_compute(self.num_threads, self.provider)
        told = onnx_file(self.model, "model", ("model_type", "sample_rate"))
        if told and told["model_type"] != self.model_type:
            raise ConfigurationError(
                f"model {self.model!r} is a {told['model_type']!r} model, not {self.model_type!r}"
            )
        rate = told.get("sample_rate", "16000")
        if not rate.isdecimal():
            raise ConfigurationError(f"model {self.model!r} tells no sample rate")
        return int(rate)


class SherpaOnnxDenoiserProvider(DenoiserProvider):
    """The library keeps one copy of the model per stream, from its first sound on; a few that were
    left are used again. Sound is two of the model's steps late: 32 ms with GTCRN.

    Here already: `MissingExtraError` without the library, `ConfigurationError` for a file that is
    missing or no such model. One copy of the model is loaded here.
    """

    def __init__(self, config: SherpaOnnxDenoiserConfig) -> None:
        rate = config.check()
        self._config = config
        self._library = sherpa_library("denoising with sherpa-onnx")
        if not hasattr(self._library, "OnlineSpeechDenoiser"):
            raise ConfigurationError(
                "this sherpa-onnx can't denoise a stream; 1.12.29 or newer can"
            )
        self.required_format = AudioFormat(rate, 1, 2)
        self._spare: list[Any] = []
        self._streams: dict[str, _Stream] = {}
        self._closed = False
        first = self._make()
        self._delay = 2 * int(first.frame_shift_in_samples)
        self._leave(first)

    @property
    def name(self) -> str:
        return "SherpaOnnxDenoiser"

    @property
    def model_sample_rate(self) -> int | None:
        """Of the sound it takes."""
        form = self.required_format
        return None if form is None else form.sample_rate

    @property
    def delay_samples(self) -> int:
        """How late the sound comes."""
        return self._delay

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        form = self.required_format
        if form is None or (frame.sample_rate, frame.channels, frame.sample_width) != (
            form.sample_rate,
            form.channels,
            form.sample_width,
        ):
            raise ValueError(
                f"{self.name} was made for {form}, not {frame.sample_rate} Hz, {frame.channels} "
                f"channels, {frame.sample_width} bytes"
            )
        if self._closed or not frame.data:
            return frame
        state = self._streams.get(stream)
        if state is None:
            model = self._spare.pop() if self._spare else self._make()
            state = self._streams[stream] = _Stream(model, form.sample_rate, self._delay)
        return frame.with_samples(state.process(frame.samples))

    def reset(self, stream: str) -> None:
        state = self._streams.pop(stream, None)
        if state is not None:
            self._leave(state.model)

    def close(self) -> None:
        self._closed = True
        self._streams.clear()
        self._spare.clear()

    def _leave(self, model: Any) -> None:
        if not self._closed and len(self._spare) < _SPARE:
            model.reset()
            self._spare.append(model)

    def _make(self) -> Any:
        config, library = self._config, self._library
        made = library.OfflineSpeechDenoiserModelConfig(
            num_threads=config.num_threads, provider=config.provider
        )
        if config.model_type == "gtcrn":
            made.gtcrn = library.OfflineSpeechDenoiserGtcrnModelConfig(model=config.model)
        else:
            made.dpdfnet = library.OfflineSpeechDenoiserDpdfNetModelConfig(model=config.model)
        try:
            return library.OnlineSpeechDenoiser(library.OnlineSpeechDenoiserConfig(model=made))
        except (RuntimeError, ValueError) as error:
            raise ConfigurationError(f"model {config.model!r} can't be loaded: {error}") from error


class _Stream:
    """As many samples out as in: what the model holds back is covered by silence at the start."""

    __slots__ = ("_out", "_rate", "model")

    def __init__(self, model: Any, rate: int, delay: int) -> None:
        self.model = model
        self._rate = rate
        self._out: Samples = np.zeros(delay, dtype=np.int16)

    def process(self, samples: Samples) -> Samples:
        sound = samples.astype(np.float32) / _FULL
        done = np.asarray(self.model.run(sound, self._rate).samples, dtype=np.float64)
        ready = np.concatenate([self._out, to_int16(done * _FULL)])
        self._out = ready[len(samples) :]
        return ready[: len(samples)]
