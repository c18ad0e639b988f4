"""Floor 6: what can join a room: agents, voices, browsers and the transports of messages.

Names are loaded when they are asked for: a text message needs no audio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salon.channels.agent import Agent
    from salon.channels.ai import AIChannel
    from salon.channels.factories import (
        EmailChannel,
        HTTPChannel,
        MessengerChannel,
        RCSChannel,
        SMSChannel,
        TeamsChannel,
        TelegramChannel,
        WhatsAppChannel,
    )
    from salon.channels.transport import TransportChannel, TransportOutput
    from salon.channels.voice import VoiceChannel
    from salon.channels.websocket import (
        SendFn,
        StreamChunk,
        StreamEnd,
        StreamError,
        StreamSendFn,
        StreamStart,
        WebSocketChannel,
    )

_WHERE = {
    "StreamStart": "websocket",
    "StreamSendFn": "websocket",
    "StreamMessage": "websocket",
    "StreamError": "websocket",
    "StreamEnd": "websocket",
    "StreamChunk": "websocket",
    "SendFn": "websocket",
    "AIChannel": "ai",
    "Agent": "agent",
    "EmailChannel": "factories",
    "HTTPChannel": "factories",
    "MessengerChannel": "factories",
    "RCSChannel": "factories",
    "SMSChannel": "factories",
    "TeamsChannel": "factories",
    "TelegramChannel": "factories",
    "TransportChannel": "transport",
    "TransportOutput": "transport",
    "VoiceChannel": "voice",
    "WebSocketChannel": "websocket",
    "WhatsAppChannel": "factories",
}

__all__ = [
    "AIChannel",
    "Agent",
    "EmailChannel",
    "HTTPChannel",
    "MessengerChannel",
    "RCSChannel",
    "SMSChannel",
    "SendFn",
    "StreamChunk",
    "StreamEnd",
    "StreamError",
    "StreamSendFn",
    "StreamStart",
    "TeamsChannel",
    "TelegramChannel",
    "TransportChannel",
    "TransportOutput",
    "VoiceChannel",
    "WebSocketChannel",
    "WhatsAppChannel",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
