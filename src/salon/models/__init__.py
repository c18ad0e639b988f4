"""Floor 2: what a conversation is made of. No I/O.

Facts (events, contents) are frozen; records (rooms, bindings, participants) are copies that belong
to whoever read them.
"""

from __future__ import annotations

from salon.models.channel import ChannelBinding, ChannelCapabilities, RateLimit, RetryPolicy
from salon.models.content import (
    AudioContent,
    CompositeContent,
    DeleteContent,
    EditContent,
    EventContent,
    LocationContent,
    MediaContent,
    RichContent,
    SystemContent,
    TemplateContent,
    TextContent,
    ToolCallContent,
    VideoContent,
)
from salon.models.enums import (
    Access,
    AgentResponsePolicy,
    AnyChannelType,
    ChannelCategory,
    ChannelDirection,
    ChannelMediaType,
    ChannelType,
    DeleteType,
    EventStatus,
    EventType,
    HookExecution,
    HookTrigger,
    IdentificationStatus,
    ParticipantRole,
    ParticipantStatus,
    RoomStatus,
    TaskStatus,
)
from salon.models.event import ChannelData, EventSource, RoomEvent
from salon.models.exchange import (
    NO_OUTPUT,
    ChannelOutput,
    DeliveryError,
    DeliveryResult,
    InboundMessage,
    InboundResult,
    Observation,
    RoomContext,
    Task,
)
from salon.models.hook import HookResult, InjectedEvent
from salon.models.room import Participant, Room, RoomTimers
from salon.models.speech import NO_HINTS, SpeechHints

__all__ = [
    "NO_HINTS",
    "NO_OUTPUT",
    "Access",
    "AgentResponsePolicy",
    "AnyChannelType",
    "AudioContent",
    "ChannelBinding",
    "ChannelCapabilities",
    "ChannelCategory",
    "ChannelData",
    "ChannelDirection",
    "ChannelMediaType",
    "ChannelOutput",
    "ChannelType",
    "CompositeContent",
    "DeleteContent",
    "DeleteType",
    "DeliveryError",
    "DeliveryResult",
    "EditContent",
    "EventContent",
    "EventSource",
    "EventStatus",
    "EventType",
    "HookExecution",
    "HookResult",
    "HookTrigger",
    "IdentificationStatus",
    "InboundMessage",
    "InboundResult",
    "InjectedEvent",
    "LocationContent",
    "MediaContent",
    "Observation",
    "Participant",
    "ParticipantRole",
    "ParticipantStatus",
    "RateLimit",
    "RetryPolicy",
    "RichContent",
    "Room",
    "RoomContext",
    "RoomEvent",
    "RoomStatus",
    "RoomTimers",
    "SpeechHints",
    "SystemContent",
    "Task",
    "TaskStatus",
    "TemplateContent",
    "TextContent",
    "ToolCallContent",
    "VideoContent",
]
