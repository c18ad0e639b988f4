"""Names under the module path that RoomKit's users import them from."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from salon.media.frame import AudioChunk
from salon.voice.chunks import PCM16_FORMATS, require_pcm16
from salon.voice.stt.result import SpeakerSegment, TranscriptionResult, speaker_label

if TYPE_CHECKING:
    from salon.voice.backends.base import BargeInCallback, VoiceCapability
    from salon.voice.backends.errors import VoiceSessionEndedError
    from salon.voice.backends.session import VoiceSession, VoiceSessionState

_HOMES = {
    "BargeInCallback": "base",
    "VoiceCapability": "base",
    "VoiceSession": "session",
    "VoiceSessionEndedError": "errors",
    "VoiceSessionState": "session",
}

__all__ = [
    "PCM16_FORMATS",
    "AudioChunk",
    "BargeInCallback",
    "SpeakerSegment",
    "TranscriptionResult",
    "VoiceCapability",
    "VoiceSession",
    "VoiceSessionEndedError",
    "VoiceSessionState",
    "require_pcm16",
    "speaker_label",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"salon.voice.backends.{_HOMES[name]}"), name)
