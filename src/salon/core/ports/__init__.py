"""Every ABC the core calls. Implementations live in the packages above; `core.memory` holds the
in-process defaults."""

from __future__ import annotations

from salon.core.ports.ai import (
    AIContext,
    AIMessage,
    AIProvider,
    AIStreamPart,
    AITool,
    AIToolCall,
    AIToolResult,
    ResponseMetadata,
    TextDelta,
)
from salon.core.ports.calls import CallLog, CallRecord
from salon.core.ports.channel import Channel, StreamOutcome
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.router import InboundRoomRouter
from salon.core.ports.store import ConversationStore

__all__ = [
    "AIContext",
    "AIMessage",
    "AIProvider",
    "AIStreamPart",
    "AITool",
    "AIToolCall",
    "AIToolResult",
    "CallLog",
    "CallRecord",
    "Channel",
    "ConversationStore",
    "InboundRoomRouter",
    "ResponseMetadata",
    "RoomLockManager",
    "StreamOutcome",
    "TextDelta",
]
