"""What carries the voices of a room's participants, behind one contract (part 4 of the rules).

`VoiceBackend` is the contract. `WebRTCVoiceBackend` serves WebRTC clients, and
`FastRTCVoiceBackend` is the same under the name and with the endpoints that programs written for
RoomKit know; `WebSocketVoiceBackend` serves programs without WebRTC, `RTPVoiceBackend` speaks plain
RTP, `LocalAudioBackend` uses this machine's sound card. `MemoryVoiceBackend` and `MockVoiceBackend`
are for tests.
"""

from salon.media.frame import AudioChunk, AudioFrame
from salon.voice.backends.auth import AuthCallback, auth_context
from salon.voice.backends.base import (
    AECTapCallback,
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
from salon.voice.backends.local import LocalAudioBackend
from salon.voice.backends.mock import MockVoiceBackend, MockVoiceCall
from salon.voice.backends.pair import Heard, MemoryCaller, MemoryPath, MemoryVoiceBackend
from salon.voice.backends.peer_connection import Reception
from salon.voice.backends.rtp import Latching, Rtcp, RTPStatistics, RTPVoiceBackend
from salon.voice.backends.session import VoiceSession, VoiceSessionState
from salon.voice.backends.trace import ProtocolTrace, TraceEmitter
from salon.voice.backends.webrtc import ConnectionStatistics, WebRTCVoiceBackend
from salon.voice.backends.websocket import WebSocketVoiceBackend, WireFormat

__all__ = [
    "AECTapCallback",
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
    "Heard",
    "Latching",
    "LocalAudioBackend",
    "MemoryCaller",
    "MemoryPath",
    "MemoryVoiceBackend",
    "MockVoiceBackend",
    "MockVoiceCall",
    "ProtocolTrace",
    "RTPStatistics",
    "RTPVoiceBackend",
    "Reception",
    "Rtcp",
    "SessionReadyCallback",
    "SpeakerChangeCallback",
    "TraceEmitter",
    "TransportDisconnectCallback",
    "VoiceBackend",
    "VoiceCapability",
    "VoiceSession",
    "VoiceSessionEndedError",
    "VoiceSessionState",
    "WebRTCVoiceBackend",
    "WebSocketVoiceBackend",
    "WireFormat",
    "auth_context",
    "mount_fastrtc_voice",
]
