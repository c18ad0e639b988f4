"""What the voice hooks are given (part 23 of the voice rules). Each names the session it is about.

Frozen: a hook that modifies returns ``dataclasses.replace(event, text=...)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from salon.media.frame import AudioFrame
from salon.voice.backends.session import VoiceSession

CancelReason = Literal["barge_in", "explicit", "disconnect", "error", "superseded"]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class TranscriptionEvent:
    """ON_TRANSCRIPTION: what a session's participant said. `text` may be replaced, also by nothing
    (V92); with a `speaker`, so may `sender_name` and `participant_id` (V235)."""

    session: VoiceSession
    text: str
    language: str | None = None
    timestamp: datetime = field(default_factory=_now)
    speaker: str | None = None
    speaker_epoch: int | None = None
    sender_name: str | None = None
    participant_id: str | None = None


@dataclass(frozen=True, slots=True)
class PartialTranscriptionEvent:
    """ON_PARTIAL_TRANSCRIPTION: interim words; they are never routed (V91)."""

    session: VoiceSession
    text: str
    confidence: float | None
    is_stable: bool
    role: str = "user"
    language: str | None = None
    timestamp: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class BargeInEvent:
    """ON_BARGE_IN: the participant cut the agent off. `interrupted_text` is what had been heard of
    it, after `audio_position_ms` of playback."""

    session: VoiceSession
    interrupted_text: str
    audio_position_ms: int
    timestamp: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class TTSCancelledEvent:
    """ON_TTS_CANCELLED: playback ended before its end."""

    session: VoiceSession
    reason: CancelReason
    text: str
    audio_position_ms: int
    timestamp: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class BackchannelEvent:
    """ON_BACKCHANNEL: speech that only says "I am listening" (V118)."""

    session: VoiceSession
    text: str
    confidence: float = 1.0
    timestamp: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class DTMFDetectedEvent:
    """ON_DTMF: a key, from the sound or from signalling (V23). `redacted_digit` is what may be
    stored of it."""

    session: VoiceSession
    digit: str
    duration_ms: float
    confidence: float | None = 1.0
    redacted_digit: str = ""
    timestamp: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class AudioLevelEvent:
    """ON_INPUT_AUDIO_LEVEL, ON_OUTPUT_AUDIO_LEVEL: RMS in dBFS, at most ten a second (V128)."""

    session: VoiceSession
    level_db: float
    timestamp: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class VADAudioLevelEvent:
    """ON_VAD_AUDIO_LEVEL: the same with what the detector makes of it."""

    session: VoiceSession
    level_db: float
    is_speech: bool
    timestamp: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class VADSilenceEvent:
    """ON_VAD_SILENCE: quiet for longer than the detector's threshold."""

    session: VoiceSession
    silence_duration_ms: int
    timestamp: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class TurnCompleteEvent:
    """ON_TURN_COMPLETE: `text` is routed next (V110)."""

    session: VoiceSession
    text: str
    confidence: float = 1.0
    timestamp: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class TurnIncompleteEvent:
    """ON_TURN_INCOMPLETE: more is expected, nothing is routed yet (V111)."""

    session: VoiceSession
    text: str
    confidence: float = 1.0
    timestamp: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class SpeakerChangeEvent:
    """ON_SPEAKER_CHANGE: another voice. `speaker_id` is the provider's label, no participant (V77);
    `source` is ``pipeline`` or ``stt`` (V235)."""

    session: VoiceSession
    speaker_id: str
    confidence: float | None
    is_new_speaker: bool
    timestamp: datetime = field(default_factory=_now)
    source: str = "pipeline"
    speaker_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class RecordingStartedEvent:
    """ON_RECORDING_STARTED: heard before anything is captured (V85)."""

    session: VoiceSession | None = None
    id: str = ""
    room_id: str = ""
    timestamp: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class RecordingStoppedEvent:
    """ON_RECORDING_STOPPED: where the files are."""

    session: VoiceSession | None = None
    id: str = ""
    urls: tuple[str, ...] = ()
    duration_seconds: float = 0.0
    timestamp: datetime = field(default_factory=_now)
    room_id: str = ""


@dataclass(frozen=True, slots=True)
class BridgeAudioEvent:
    """BEFORE_BRIDGE_AUDIO: one frame on its way to the others (V141)."""

    session: VoiceSession
    frame: AudioFrame
    room_id: str = ""
    timestamp: datetime = field(default_factory=_now)
