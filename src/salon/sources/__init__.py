"""Connections that bring messages: attach one to a channel with `RoomKit.attach_source`."""

from salon.core.ports.source import (
    BaseSourceProvider,
    EmitCallback,
    SourceHealth,
    SourceProvider,
)
from salon.models import SourceStatus
from salon.sources.connected import ConnectedSource, ConnectionEndedError
from salon.sources.event_stream import EventStreamParser, ServerSentEvent
from salon.sources.parsing import message_from_json
from salon.sources.sse import SSESource
from salon.sources.websocket import WebSocketSource

__all__ = [
    "BaseSourceProvider",
    "ConnectedSource",
    "ConnectionEndedError",
    "EmitCallback",
    "EventStreamParser",
    "SSESource",
    "ServerSentEvent",
    "SourceHealth",
    "SourceProvider",
    "SourceStatus",
    "WebSocketSource",
    "message_from_json",
]
