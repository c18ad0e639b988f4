"""Who is told what happens in the pipeline. All are plain functions `(session, payload)`, called
where the frame is processed: they must return at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from salon.media.frame import AudioFrame

if TYPE_CHECKING:
    from salon.voice.backends.session import VoiceSession
    from salon.voice.pipeline.diarization.base import DiarizationResult
    from salon.voice.pipeline.dtmf.base import DTMFEvent
    from salon.voice.pipeline.recorder.base import RecordingHandle, RecordingResult
    from salon.voice.pipeline.vad.base import VADEvent

VADEventCallback = Callable[["VoiceSession", "VADEvent"], Any]
SpeechEndPipelineCallback = Callable[["VoiceSession", bytes], Any]
SpeechFramePipelineCallback = Callable[["VoiceSession", AudioFrame], Any]
ProcessedFrameCallback = Callable[["VoiceSession", AudioFrame], Any]
SpeakerChangeCallback = Callable[["VoiceSession", "DiarizationResult"], Any]
DTMFCallback = Callable[["VoiceSession", "DTMFEvent"], Any]
RecordingStartedCallback = Callable[["VoiceSession", "RecordingHandle"], Any]
RecordingStoppedCallback = Callable[["VoiceSession", "RecordingResult"], Any]
LevelCallback = Callable[["VoiceSession", float], Any]
"""Takes a level in dBFS, -60 to 0."""


class Listeners:
    """The registered callbacks, in order of registration."""

    __slots__ = (
        "diarization",
        "dtmf",
        "input_level",
        "output_level",
        "processed_frame",
        "recording_started",
        "recording_stopped",
        "speaker_change",
        "speech_end",
        "speech_frame",
        "vad_event",
    )

    def __init__(self) -> None:
        self.vad_event: list[VADEventCallback] = []
        self.speech_end: list[SpeechEndPipelineCallback] = []
        self.speech_frame: list[SpeechFramePipelineCallback] = []
        self.processed_frame: list[ProcessedFrameCallback] = []
        self.diarization: list[SpeakerChangeCallback] = []
        self.speaker_change: list[SpeakerChangeCallback] = []
        self.dtmf: list[DTMFCallback] = []
        self.recording_started: list[RecordingStartedCallback] = []
        self.recording_stopped: list[RecordingStoppedCallback] = []
        self.input_level: list[LevelCallback] = []
        self.output_level: list[LevelCallback] = []


class Announcer(ABC):
    """The registration half of a pipeline. All registered callbacks of a kind are called."""

    _listeners: Listeners

    @abstractmethod
    def _listen(self, listeners: list[Any], callback: Any) -> None:
        """Add a callback to those of its kind."""

    def on_vad_event(self, callback: VADEventCallback) -> None:
        """Every `VADEvent`."""
        self._listen(self._listeners.vad_event, callback)

    def on_speech_end(self, callback: SpeechEndPipelineCallback) -> None:
        """The captured speech, in the format of processed frames; after the event."""
        self._listen(self._listeners.speech_end, callback)

    def on_speech_frame(self, callback: SpeechFramePipelineCallback) -> None:
        """Every processed frame from the one that begins a speech to the last before its end. Where
        the event at the beginning carries sound, that of the first frame is part of it."""
        self._listen(self._listeners.speech_frame, callback)

    def on_processed_frame(self, callback: ProcessedFrameCallback) -> None:
        """Every frame as the last stage left it."""
        self._listen(self._listeners.processed_frame, callback)

    def on_diarization(self, callback: SpeakerChangeCallback) -> None:
        """Every result of the diarization stage, also of nobody in particular."""
        self._listen(self._listeners.diarization, callback)

    def on_speaker_change(self, callback: SpeakerChangeCallback) -> None:
        """A named speaker who is not the stream's last one (V246)."""
        self._listen(self._listeners.speaker_change, callback)

    def on_dtmf(self, callback: DTMFCallback) -> None:
        """Every key heard."""
        self._listen(self._listeners.dtmf, callback)

    def on_recording_started(self, callback: RecordingStartedCallback) -> None:
        """A recording begins; nothing is captured before the callbacks have returned (V85)."""
        self._listen(self._listeners.recording_started, callback)

    def on_recording_stopped(self, callback: RecordingStoppedCallback) -> None:
        """A recording is complete."""
        self._listen(self._listeners.recording_stopped, callback)

    def on_input_level(self, callback: LevelCallback) -> None:
        """dBFS of what comes in, at most ten times per second of sound (V128)."""
        self._listen(self._listeners.input_level, callback)

    def on_output_level(self, callback: LevelCallback) -> None:
        """dBFS of what is played, at most ten times per second of sound (V128)."""
        self._listen(self._listeners.output_level, callback)
