"""Floor 2: what a conversation is made of. No I/O.

Facts (events, contents, bindings, participants) are frozen and shared; records (rooms) are copies
that belong to whoever read them.
"""

from __future__ import annotations

from typing import Any

from salon.models.ai import AIGenerationEvent, AIResponseEvent, ThinkingEvent, ToolCallEvent
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
from salon.models.delivery import DeliveryStatus, ProviderResult
from salon.models.enums import (
    Access,
    AgentResponsePolicy,
    AnyChannelType,
    ChannelCategory,
    ChannelDirection,
    ChannelMediaType,
    ChannelType,
    DeleteType,
    DeliveryMode,
    EventDirection,
    EventStatus,
    EventType,
    HookExecution,
    HookTrigger,
    IdentificationStatus,
    ParticipantRole,
    ParticipantStatus,
    RoomStatus,
    SourceStatus,
    TaskStatus,
    Visibility,
)
from salon.models.errors import (
    NoProviderError,
    NoRecipientError,
    ProviderDeliveryError,
    RoomKitError,
    UnsupportedError,
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
    SessionStartedEvent,
    Task,
)
from salon.models.filters import EventFilter, PersistencePolicy, ThreadSummary
from salon.models.hook import HookResult, InjectedEvent
from salon.models.identity import Identity, IdentityHookResult, IdentityResult
from salon.models.pending_input import PendingInput, PendingInputEvent, PendingInputStatus
from salon.models.response_metadata import ResponseMetadata
from salon.models.room import Participant, Room, RoomTimers
from salon.models.speech import NO_HINTS, SpeechHints

__all__ = [
    "NO_HINTS",
    "NO_OUTPUT",
    "AIGenerationEvent",
    "AIResponseEvent",
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
    "DeliveryMode",
    "DeliveryResult",
    "DeliveryStatus",
    "EditContent",
    "EventContent",
    "EventDirection",
    "EventFilter",
    "EventSource",
    "EventStatus",
    "EventType",
    "FrameworkEvent",
    "HookExecution",
    "HookResult",
    "HookTrigger",
    "IdentificationStatus",
    "Identity",
    "IdentityHookResult",
    "IdentityResult",
    "InboundMessage",
    "InboundResult",
    "InjectedEvent",
    "LocationContent",
    "MediaContent",
    "NoProviderError",
    "NoRecipientError",
    "Observation",
    "Participant",
    "ParticipantRole",
    "ParticipantStatus",
    "PendingInput",
    "PendingInputEvent",
    "PendingInputStatus",
    "PersistencePolicy",
    "ProviderDeliveryError",
    "ProviderResult",
    "RateLimit",
    "ResponseMetadata",
    "RetryPolicy",
    "RichContent",
    "Room",
    "RoomContext",
    "RoomEvent",
    "RoomKitError",
    "RoomStatus",
    "RoomTimers",
    "SessionStartedEvent",
    "SourceStatus",
    "SpeechHints",
    "SystemContent",
    "Task",
    "TaskStatus",
    "TemplateContent",
    "TextContent",
    "ThinkingEvent",
    "ThreadSummary",
    "ToolCallContent",
    "ToolCallEvent",
    "UnsupportedError",
    "VideoContent",
    "Visibility",
]


def __getattr__(name: str) -> Any:
    if name != "FrameworkEvent":  # made by the core, and here for those who look for it here
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from salon.models import framework_event

    return framework_event.FrameworkEvent
