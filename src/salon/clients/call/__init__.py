"""A client for the active-call protocol and for a room's text socket, over WebSocket.

Needs the extra "client" (`websockets`); sound in any codec needs numpy too (extra "voice"), and
`g722` the extra "codecs"; calls over WebRTC need the extra "webrtc".
"""

from salon.clients.call.client import CallClient
from salon.clients.call.errors import (
    CallClosed,
    CallFailed,
    ClientError,
    ConnectFailed,
    Forbidden,
    Refused,
    ServerBusy,
    Unauthorized,
)
from salon.clients.call.events import CallEvent, RoomMessage
from salon.clients.call.microphone import Microphone, Spoken
from salon.clients.call.received import AudioPacket, ReceivedAudio
from salon.clients.call.room import RoomSocketClient
from salon.clients.call.turns import speech_bounds
from salon.clients.call.webrtc import WebRtcCallClient, WebRtcConnection

__all__ = [
    "AudioPacket",
    "CallClient",
    "CallClosed",
    "CallEvent",
    "CallFailed",
    "ClientError",
    "ConnectFailed",
    "Forbidden",
    "Microphone",
    "ReceivedAudio",
    "Refused",
    "RoomMessage",
    "RoomSocketClient",
    "ServerBusy",
    "Spoken",
    "Unauthorized",
    "WebRtcCallClient",
    "WebRtcConnection",
    "speech_bounds",
]
