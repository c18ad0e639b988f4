"""Stages that write down what reaches them, for tests of the pipeline around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from salon.media.frame import AudioFormat, AudioFrame, Samples
from salon.voice.backends.session import VoiceSession
from salon.voice.pipeline.aec.base import AECProvider
from salon.voice.pipeline.agc.base import AGCProvider
from salon.voice.pipeline.denoiser.base import DenoiserProvider
from salon.voice.pipeline.diarization.base import DiarizationProvider, DiarizationResult
from salon.voice.pipeline.dtmf.base import DTMFDetector, DTMFEvent
from salon.voice.pipeline.postprocessor.base import AudioPostProcessor
from salon.voice.pipeline.recorder.base import (
    AudioRecorder,
    RecordingConfig,
    RecordingHandle,
    RecordingResult,
)
from salon.voice.pipeline.resampler.base import ResamplerProvider
from salon.voice.pipeline.vad.base import VADEvent, VADProvider

RECORDING = RecordingConfig(storage_encrypted_at_rest=True)


def session(name: str = "s") -> VoiceSession:
    return VoiceSession(name, "room", "caller", "voice")


def frame(level: int = 1, rate: int = 16_000, length: int = 0) -> AudioFrame:
    """20 ms of `level`, or `length` samples."""
    return AudioFrame.of(np.full(length or rate // 50, level, dtype=np.int16), rate)


def first_sample(of: AudioFrame) -> int:
    return int(of.samples[0])


class Stage:
    """Logs `(slot, first sample, stream)` and adds `adds` to every sample."""

    required_format: AudioFormat | None = None
    preferred_format: AudioFormat | None = None
    slot = ""

    def __init__(self, log: list[Any] | None = None, *, adds: int = 0, fails: bool = False) -> None:
        self.log: list[Any] = [] if log is None else log
        self.adds = adds
        self.fails = fails
        self.resets: list[str | None] = []
        self.closed = 0

    @property
    def name(self) -> str:
        return self.slot

    def seen(self, frame: AudioFrame, stream: str) -> None:
        self.log.append((self.slot, first_sample(frame), stream))
        if self.fails:
            raise RuntimeError(f"{self.slot} is broken")

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        self.seen(frame, stream)
        samples: Samples = frame.samples + np.int16(self.adds)
        return frame.with_samples(samples)

    def reset(self, stream: str) -> None:
        self.resets.append(stream)
        self.log.append((f"reset {self.slot}", stream))

    def close(self) -> None:
        self.closed += 1


class Denoiser(Stage, DenoiserProvider):
    slot = "denoiser"


class Gain(Stage, AGCProvider):
    slot = "agc"

    def __init__(self, log: list[Any] | None = None, **more: Any) -> None:
        super().__init__(log, **more)
        self.configured: Any = None

    def configure(self, config: Any) -> None:
        self.configured = config


class PostProcessor(Stage, AudioPostProcessor):
    slot = "postprocessor"


class Canceller(Stage, AECProvider):
    slot = "aec"

    def __init__(self, log: list[Any] | None = None, **more: Any) -> None:
        super().__init__(log, **more)
        self.references: list[tuple[AudioFrame, str]] = []
        self.switched: list[tuple[str, bool]] = []

    def feed_reference(self, frame: AudioFrame, stream: str) -> None:
        self.log.append(("reference", first_sample(frame), stream))
        self.references.append((frame, stream))
        if self.fails:
            raise RuntimeError("aec is broken")

    def set_stream_active(self, stream: str, active: bool) -> None:
        self.switched.append((stream, active))


class Noticing(Stage):
    """Gives its events one per frame, to each stream anew."""

    def __init__(
        self, log: list[Any] | None = None, events: Sequence[Any] = (), **more: Any
    ) -> None:
        super().__init__(log, **more)
        self.events = events
        self.at: dict[str, int] = {}

    def process(self, frame: AudioFrame, stream: str) -> Any:
        self.seen(frame, stream)
        at = self.at.get(stream, 0)
        self.at[stream] = at + 1
        return self.events[at] if at < len(self.events) else None

    def reset(self, stream: str) -> None:
        super().reset(stream)
        self.at.pop(stream, None)


class Detector(Noticing, VADProvider):
    slot = "vad"
    events: Sequence[VADEvent | None]


class Keys(Noticing, DTMFDetector):
    slot = "dtmf"
    events: Sequence[DTMFEvent | None]
    sounding = False

    def tone_active(self, stream: str) -> bool:
        return self.sounding


class Speakers(Noticing, DiarizationProvider):
    slot = "diarization"
    events: Sequence[DiarizationResult | None]


class Converter(Stage, ResamplerProvider):
    """Makes frames of the target format, all of one sample."""

    slot = "resampler"

    def resample(
        self, frame: AudioFrame, target_rate: int, target_channels: int, target_width: int,
        stream: str,
    ) -> AudioFrame:  # fmt: skip
        self.seen(frame, stream)
        length = int(frame.duration_ms * target_rate / 1000) * target_channels
        data = np.full(length, first_sample(frame) + self.adds, dtype=np.int16).tobytes()
        return AudioFrame(data, target_rate, target_channels, 2, frame.timestamp_ms, frame.metadata)

    def reset(self, stream: str | None = None) -> None:
        self.resets.append(stream)
        self.log.append(("reset resampler", stream))


class Recorder(Stage, AudioRecorder):
    slot = "recorder"

    def __init__(self, log: list[Any] | None = None, **more: Any) -> None:
        super().__init__(log, **more)
        self.inbound: list[bytes] = []
        self.outbound: list[bytes] = []
        self.error: Exception | None = None

    def start(self, session: VoiceSession, config: RecordingConfig) -> RecordingHandle:
        self.log.append(("start", session.id))
        if self.error is not None:
            raise self.error
        return RecordingHandle(f"of {session.id}", session.id)

    def stop(self, handle: RecordingHandle) -> RecordingResult:
        self.log.append(("stop", handle.session_id))
        if self.error is not None:
            raise self.error
        return RecordingResult(handle.id, duration_seconds=1.5)

    async def finish(self, handle: RecordingHandle) -> RecordingResult:
        return self.stop(handle)

    def tap_inbound(self, handle: RecordingHandle, frame: AudioFrame) -> None:
        self.seen(frame, handle.session_id)
        self.inbound.append(frame.data)

    def tap_outbound(self, handle: RecordingHandle, frame: AudioFrame) -> None:
        self.seen(frame, handle.session_id)
        self.outbound.append(frame.data)

    def speech(self, handle: RecordingHandle, active: bool) -> None:
        self.log.append(("speech", active))

    def hold(self, handle: RecordingHandle) -> None:
        self.log.append("hold")

    def release(self, handle: RecordingHandle) -> None:
        self.log.append("release")

    def reset(self) -> None:  # type: ignore[override]
        self.log.append("reset recorder")
