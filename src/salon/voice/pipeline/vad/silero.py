"""The built-in detector: the Silero network, one stream at a time or all streams together."""

from __future__ import annotations

import threading
from dataclasses import replace
from importlib.util import find_spec
from typing import Final, Self

from salon.base import ConfigurationError, MissingExtraError
from salon.media.conform import FrameResampler
from salon.media.frame import SAMPLE_RATE, SILENCE, AudioFrame
from salon.voice.pipeline.vad.base import VADConfig, VADEvent, VADProvider
from salon.voice.pipeline.vad.segments import CutConfig, SegmentCutter
from salon.voice.vad.batch import BatchedVad
from salon.voice.vad.config import (
    BUILT_IN_KEYS,
    LEVELS_KEY,
    MAX_SPEECH_KEY,
    VOICE_THRESHOLD_KEY,
    VADConfigError,
    VADSettings,
    number,
)
from salon.voice.vad.model import MODEL_PACKAGE, WINDOW_SAMPLES, SileroModel

MAX_SPEECH_DURATION_MS: Final = 60_000
LEVELS_PER_SECOND: Final = 10.0
_WINDOW_MS: Final = WINDOW_SAMPLES * 1000 / SAMPLE_RATE
_SAMPLES_PER_MS: Final = SAMPLE_RATE / 1000
_PUSHED: Final = SAMPLE_RATE  # at most at once, well below what a stream may leave waiting
_MOST_MS: Final = 3_600_000.0


class SileroVADProvider(VADProvider):
    """Speech by the Silero network, which hears windows of 512 samples at 16 kHz (32 ms).

    Its own values: 250 ms of speech, 500 ms of quiet, 300 ms before the speech, 60 s, threshold
    0.5, 10 levels.

    SPEECH_START comes once speech has lasted `min_speech_duration_ms`, with the sound since
    `speech_pad_ms` before its beginning; SPEECH_END after `silence_threshold_ms` of quiet, or when
    the segment is `max_speech_duration_ms` long; SILENCE as soon as nobody has spoken for
    `silence_threshold_ms`; AUDIO_LEVEL `levels_per_second` times per second of sound (0 to 10).

    Frames of other rates, widths and of two channels are converted for the network; segments hold
    the sound as it came. Streams may come from several threads, unless they share a `BatchedVad`.
    `VADConfig.extra` may have ``voice_threshold``, ``max_speech_duration_ms`` and
    ``levels_per_second``. `MissingExtraError` without the ``voice`` extra, `ConfigurationError`
    for settings out of range.
    """

    def __init__(
        self,
        *,
        voice_threshold: float | None = None,
        silence_threshold_ms: int | None = None,
        min_speech_duration_ms: int | None = None,
        speech_pad_ms: int | None = None,
        max_speech_duration_ms: float | None = None,
        levels_per_second: float | None = None,
        model: SileroModel | None = None,
        batched: BatchedVad | None = None,
    ) -> None:
        own = {
            VOICE_THRESHOLD_KEY: voice_threshold,
            MAX_SPEECH_KEY: max_speech_duration_ms,
            LEVELS_KEY: levels_per_second,
        }
        self._config = VADConfig(
            silence_threshold_ms,
            speech_pad_ms,
            min_speech_duration_ms,
            {name: value for name, value in own.items() if value is not None},
        )
        self._apply()
        if model is None and batched is None and find_spec(MODEL_PACKAGE) is None:
            raise MissingExtraError("voice", "speech detection")
        self._model = model
        self._shared = batched is not None
        self._vad = batched
        self._streams: dict[str, _Stream] = {}
        self._lock = threading.Lock()
        """The streams share the network and its memory."""
        self._closed = False

    @property
    def name(self) -> str:
        return "SileroVADProvider"

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    @property
    def settings(self) -> VADSettings:
        """What applies to streams that begin now."""
        return self._settings

    @property
    def config(self) -> VADConfig:
        """What was set, by arguments or `configure`; None is what was left to the detector."""
        return replace(self._config, extra=dict(self._config.extra))

    def configure(self, config: VADConfig) -> None:
        before = self._config
        self._config = VADConfig(
            _or(config.silence_threshold_ms, before.silence_threshold_ms),
            _or(config.speech_pad_ms, before.speech_pad_ms),
            _or(config.min_speech_duration_ms, before.min_speech_duration_ms),
            {**before.extra, **config.extra},
        )
        try:
            self._apply()
        except ConfigurationError:
            self._config = before
            raise

    def _apply(self) -> None:
        config = self._config
        chosen = config.settings(self.name, BUILT_IN_KEYS)
        most = _within(
            MAX_SPEECH_KEY, chosen.get(MAX_SPEECH_KEY, MAX_SPEECH_DURATION_MS), 1.0, _MOST_MS
        )
        pace = chosen.get(LEVELS_KEY, LEVELS_PER_SECOND)
        pace = _within(LEVELS_KEY, pace, 0.0, LEVELS_PER_SECOND)
        self._settings = config.settings()
        self._cuts = CutConfig(
            silence_ms=self._settings.silence_threshold_ms,
            pad_ms=self._settings.speech_pad_ms,
            min_speech_ms=0.0,
            max_speech_ms=most,
            start_after_ms=self._settings.min_speech_duration_ms,
            levels_per_second=pace,
            tell_silence=True,
        )

    def batched(self, vad: BatchedVad) -> Self:
        """A detector with the same settings over `vad`, which evaluates the streams of all
        detectors at once.

        Whoever owns `vad` calls its `run`; a frame's events come from the first `take` or `process`
        of the stream after that. They are the same events.
        """
        other = type(self)(batched=vad)
        other.configure(self._config)
        return other

    def process(self, frame: AudioFrame, stream: str) -> VADEvent | None:
        with self._lock:
            state = self._streams.get(stream) or self._open(frame, stream)
            if state is None:
                return None
            state.push(frame, stream, None if self._shared else self._vad)
            return state.cutter.take(state.heard)

    def _open(self, frame: AudioFrame, stream: str) -> _Stream | None:
        if self._closed:
            return None
        if self._vad is None:
            self._vad = BatchedVad(self._model or SileroModel.load())
        state = _Stream(self._vad, self._cuts, self._settings.voice_threshold, frame)
        self._streams[stream] = state
        return state

    def take(self, stream: str) -> VADEvent | None:
        """The next event of `stream` that is known already."""
        state = self._streams.get(stream)
        return None if state is None else state.cutter.take()

    def is_speaking(self, stream: str) -> bool:
        """Between SPEECH_START and SPEECH_END."""
        state = self._streams.get(stream)
        return state is not None and state.cutter.speaking

    def reset(self, stream: str) -> None:
        with self._lock:
            state = self._streams.pop(stream, None)
            if state is not None:
                state.windows.close()

    def close(self) -> None:
        self._closed = True
        for stream in list(self._streams):
            self.reset(stream)


class _Stream:
    """One stream's way through the network."""

    __slots__ = ("_convert", "_threshold", "cutter", "heard", "windows")

    def __init__(
        self, vad: BatchedVad, config: CutConfig, threshold: float, frame: AudioFrame
    ) -> None:
        self.cutter = SegmentCutter(config, frame, SAMPLE_RATE)
        self.windows = vad.open(self._window)
        self._threshold = threshold
        plain = self.cutter.format == (SAMPLE_RATE, 1, 2)
        self._convert = None if plain else FrameResampler()
        self.heard = SILENCE[:0]
        """The newest frame as the network gets it."""

    def push(self, frame: AudioFrame, stream: str, run: BatchedVad | None) -> None:
        self.cutter.push(frame, stream)
        convert = self._convert
        sound = frame.samples if convert is None else convert.process(frame).samples
        self.heard = sound
        for at in range(0, len(sound), _PUSHED):
            self.windows.push(sound[at : at + _PUSHED])
            if run is not None:
                run.run()

    def _window(self, probability: float, end_sample: int) -> None:
        end = end_sample / _SAMPLES_PER_MS
        voiced = probability > self._threshold
        self.cutter.window(probability, voiced, end - _WINDOW_MS, end)


def _within(name: str, value: object, least: float, most: float) -> float:
    found = number(name, value)
    if not least <= found <= most:
        raise VADConfigError(f"{name} is {found:g}, not within {least:g}..{most:g}")
    return found


def _or(value: int | None, before: int | None) -> int | None:
    return before if value is None else value
