"""From the transport to whoever listens: the order of part 7, built once per stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from salon.media.frame import AudioFormat, AudioFrame
from salon.voice.pipeline.debug_taps import DebugTaps
from salon.voice.pipeline.diarization.base import DiarizationResult
from salon.voice.pipeline.dtmf.base import DTMFEvent
from salon.voice.pipeline.failures import Failures
from salon.voice.pipeline.listeners import Listeners
from salon.voice.pipeline.metrics import Gauges, NamedSteps, StageTimer, Step, timed
from salon.voice.pipeline.recording import Recording
from salon.voice.pipeline.stages import Stages
from salon.voice.pipeline.steps import (
    frame_step,
    level_step,
    notice_step,
    record_step,
    resample_step,
    tap_step,
)
from salon.voice.pipeline.vad.base import VADEvent

if TYPE_CHECKING:
    from salon.voice.backends.session import VoiceSession
    from salon.voice.pipeline.diarization.base import DiarizationProvider
    from salon.voice.pipeline.dtmf.base import DTMFDetector
    from salon.voice.pipeline.vad.base import VADProvider


_VAD_NOTES: Final = ("vad", "vad_is_speech", "vad_speech_end")


@dataclass(slots=True)
class Surroundings:
    """What all streams of a pipeline share beside its stages."""

    failures: Failures
    listeners: Listeners
    taps: DebugTaps | None
    gauges: Gauges
    timer: StageTimer | None


class InboundStream:
    """One speaker's way through the stages.

    `steps` is replaced as a whole when something about it changes, never altered. With a session,
    listeners are told; without one (a lane) what happened to the newest frame stands in the
    attributes.
    """

    __slots__ = (
        "built",
        "dtmf",
        "key",
        "last_speaker",
        "recording",
        "session",
        "speaker",
        "speaking",
        "steps",
        "vad_event",
    )

    def __init__(self, key: str, session: VoiceSession | None) -> None:
        self.key = key
        self.session = session
        self.recording: Recording | None = None
        self.built = False
        self.steps: tuple[Step, ...] = ()
        self.clear()

    def clear(self) -> None:
        """Forget what has been heard."""
        self.speaking = False
        self.last_speaker: str | None = None
        self.vad_event: VADEvent | None = None
        self.dtmf: DTMFEvent | None = None
        self.speaker: DiarizationResult | None = None

    def build(self, stages: Stages, around: Surroundings) -> None:
        """Put the steps together anew; state of stages and stream stays."""
        self.built = True
        named: NamedSteps = tuple(_Builder(self, stages, around).steps())
        self.steps = tuple(step for _, step in named)
        if around.timer is not None and named:
            self.steps = (timed(named, around.timer, self.key, around.gauges.clock),)


class _Builder:
    """Puts the steps of one stream in order."""

    def __init__(self, stream: InboundStream, stages: Stages, around: Surroundings) -> None:
        self._stream = stream
        self._stages = stages
        self._around = around
        self._failures = around.failures
        self._key = stream.key
        self._steps: list[tuple[str, Step]] = []

    def steps(self) -> list[tuple[str, Step]]:
        stages, key, failures = self._stages, self._key, self._failures
        if stages.resampler is not None and stages.internal is not None:
            step = resample_step(stages.resampler, stages.internal, key, key, failures)
            self._add("resampler", step)
        self._observe()
        if stages.dtmf is not None:
            self._add("dtmf", _dtmf_step(stages.dtmf, self._stream, self._around))
            if stages.suppress_dtmf:
                self._add("dtmf_suppression", _suppress_step(stages.dtmf, key, failures))
        for slot, stage, tap in (
            ("aec", stages.aec, "post_aec"),
            ("agc", stages.agc, "post_agc"),
            ("denoiser", stages.denoiser, "post_denoiser"),
        ):
            if stage is not None:
                self._add(slot, frame_step(slot, stage.process, key, failures, keeps_sound=True))
            self._tap(tap)
        if stages.vad is not None:
            self._add("vad", _vad_step(stages.vad, self._stream, self._around))
        if stages.diarization is not None:
            self._add(
                "diarization", _diarization_step(stages.diarization, self._stream, self._around)
            )
        self._tell()
        return self._steps

    def _add(self, slot: str, step: Step) -> None:
        self._steps.append((slot, step))

    def _tap(self, stage: str) -> None:
        taps = self._around.taps
        if taps is not None and taps.captures(stage):
            self._add(f"tap_{stage}", tap_step(taps, stage, self._key))

    def _observe(self) -> None:
        """What sees the sound before anything works on it."""
        recording = self._stream.recording
        if recording is not None and recording.captures_inbound:
            tap = recording.recorder.tap_inbound
            self._add("recorder", record_step(tap, recording.handle, self._key, self._failures))
        self._tap("raw")
        session, levels = self._stream.session, self._around.listeners.input_level
        if session is not None and levels:
            self._add("input_level", level_step("on_input_level", levels, session, self._failures))

    def _tell(self) -> None:
        stream, listeners = self._stream, self._around.listeners
        if stream.session is None:
            return
        if listeners.speech_frame and self._stages.vad is not None:
            self._add("speech_frame", _speech_frame_step(stream, self._around))
        if listeners.processed_frame:
            self._add("processed_frame", _processed_frame_step(stream, self._around))


def _dtmf_step(detector: DTMFDetector, stream: InboundStream, around: Surroundings) -> Step:
    key, failures = stream.key, around.failures

    def noticed(event: DTMFEvent, _frame: AudioFrame) -> None:
        stream.dtmf = event
        around.gauges.record("pipeline.dtmf_detected", 1, "1", key)
        if stream.session is not None:
            failures.tell("on_dtmf", around.listeners.dtmf, stream.session, event)

    return notice_step("dtmf", detector.process, key, failures, noticed, DTMFEvent)


def _suppress_step(detector: DTMFDetector, key: str, failures: Failures) -> Step:
    """Silence while a key is heard (V69)."""
    tone_active = detector.tone_active

    def suppress(frame: AudioFrame, stream: str) -> AudioFrame:
        return frame.with_samples(np.zeros_like(frame.samples)) if tone_active(stream) else frame

    return frame_step("dtmf", suppress, key, failures)


def _vad_step(detector: VADProvider, stream: InboundStream, around: Surroundings) -> Step:
    process = detector.process

    def watch(frame: AudioFrame, key: str) -> VADEvent | None:
        notes = frame.metadata
        if "vad" in notes or "vad_is_speech" in notes:
            for name in _VAD_NOTES:  # of another time, or another stream
                notes.pop(name, None)
        event = process(frame, key)
        if stream.speaking and event is None:
            notes["vad_is_speech"] = True
        return event

    def noticed(event: VADEvent, frame: AudioFrame) -> None:
        _heard(event, frame, stream, around)

    return notice_step("vad", watch, stream.key, around.failures, noticed, VADEvent)


def _heard(event: VADEvent, frame: AudioFrame, stream: InboundStream, around: Surroundings) -> None:
    """Something changed: note it on the frame, tell it."""
    stream.vad_event = event
    frame.metadata["vad"] = {"type": event.type, "confidence": event.confidence}
    kind = event.type
    ended = kind == "speech_end"
    if kind == "speech_start":
        stream.speaking = True
    elif ended:
        stream.speaking = False
        frame.metadata["vad_speech_end"] = True
    if stream.speaking:
        frame.metadata["vad_is_speech"] = True
    failures, listeners, session = around.failures, around.listeners, stream.session
    recording = stream.recording
    if recording is not None and (ended or kind == "speech_start"):
        recorder, handle = recording.recorder, recording.handle
        failures.guard("recorder", stream.key, lambda: recorder.speech(handle, not ended))
    if session is not None:
        failures.tell("on_vad_event", listeners.vad_event, session, event)
    if not ended:
        return
    if event.duration_ms is not None:
        around.gauges.record("pipeline.vad_speech_duration_ms", event.duration_ms, "ms", stream.key)
    segment = event.audio_bytes
    if not segment:
        return
    if around.taps is not None:
        _tap_segment(segment, frame, stream.key, around.taps, failures)
    if session is not None:
        failures.tell("on_speech_end", listeners.speech_end, session, segment)


def _tap_segment(
    segment: bytes, frame: AudioFrame, key: str, taps: DebugTaps, failures: Failures
) -> None:
    try:
        heard = AudioFrame(segment, frame.sample_rate, frame.channels, frame.sample_width)
    except ValueError as error:
        failures.note("vad", key, error)
    else:
        taps.segment(key, heard)


def _diarization_step(
    stage: DiarizationProvider, stream: InboundStream, around: Surroundings
) -> Step:
    failures = around.failures

    def noticed(result: DiarizationResult, _frame: AudioFrame) -> None:
        stream.speaker = result
        if (session := stream.session) is not None:
            listeners = around.listeners.diarization
            failures.tell("on_diarization", listeners, session, result)
        speaker = result.speaker_id
        if not speaker or speaker == stream.last_speaker:
            return
        stream.last_speaker = speaker
        if stream.session is not None:
            listeners = around.listeners.speaker_change
            failures.tell("on_speaker_change", listeners, stream.session, result)

    return notice_step(
        "diarization", stage.process, stream.key, failures, noticed, DiarizationResult
    )


def _speech_frame_step(stream: InboundStream, around: Surroundings) -> Step:
    listeners, session, failures = around.listeners.speech_frame, stream.session, around.failures

    def step(frame: AudioFrame) -> AudioFrame:
        if stream.speaking:
            failures.tell("on_speech_frame", listeners, session, frame)
        return frame

    return step


def _processed_frame_step(stream: InboundStream, around: Surroundings) -> Step:
    listeners, session, failures = (
        around.listeners.processed_frame,
        stream.session,
        around.failures,
    )

    def step(frame: AudioFrame) -> AudioFrame:
        failures.tell("on_processed_frame", listeners, session, frame)
        return frame

    return step


def format_of(frame: AudioFrame) -> AudioFormat:
    """What the frame holds."""
    return AudioFormat(frame.sample_rate, frame.channels, frame.sample_width)
