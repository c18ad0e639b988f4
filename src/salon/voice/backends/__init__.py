"""What carries the voices of a room's participants, behind one contract (part 4 of the rules).

`VoiceBackend` is the contract, `WebRTCVoiceBackend` serves WebRTC clients, and
`FastRTCVoiceBackend` is the same under the name and with the endpoints that programs written for
RoomKit know.
"""

from salon.media.frame import AudioChunk, AudioFrame
from salon.voice.backends.auth import AuthCallback, auth_context
from salon.voice.backends.base import (
    AudioPlayedCallback,
    AudioReceivedCallback,
    BargeInCallback,
    SessionReadyCallback,
    SpeakerChangeCallback,
    TransportDisconnectCallback,
    VoiceBackend,
    VoiceCapability,
)
from salon.voice.backends.dtmf import DTMFEvent, DTMFReceivedCallback
from salon.voice.backends.errors import VoiceSessionEndedError
from salon.voice.backends.fastrtc import FastRTCVoiceBackend, mount_fastrtc_voice
from salon.voice.backends.peer_connection import Reception
from salon.voice.backends.session import VoiceSession, VoiceSessionState
from salon.voice.backends.webrtc import ConnectionStatistics, WebRTCVoiceBackend

__all__ = [
    "AudioChunk",
    "AudioFrame",
    "AudioPlayedCallback",
    "AudioReceivedCallback",
    "AuthCallback",
    "BargeInCallback",
    "ConnectionStatistics",
    "DTMFEvent",
    "DTMFReceivedCallback",
    "FastRTCVoiceBackend",
    "Reception",
    "SessionReadyCallback",
    "SpeakerChangeCallback",
    "TransportDisconnectCallback",
    "VoiceBackend",
    "VoiceCapability",
    "VoiceSession",
    "VoiceSessionEndedError",
    "VoiceSessionState",
    "WebRTCVoiceBackend",
    "auth_context",
    "mount_fastrtc_voice",
]
