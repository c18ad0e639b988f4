"""Live conversation between people and AI agents.

Public names are loaded when they are first asked for: ``import salon`` itself costs next to
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salon.base import MissingExtraError, SalonError
    from salon.channels import (
        Agent,
        AIChannel,
        EmailChannel,
        HTTPChannel,
        MessengerChannel,
        RCSChannel,
        SMSChannel,
        TeamsChannel,
        TelegramChannel,
        TransportChannel,
        VoiceChannel,
        WebSocketChannel,
        WhatsAppChannel,
    )
    from salon.core.errors import (
        AgentBusyError,
        ChannelAlreadyRegisteredError,
        ChannelNotFoundError,
        ChannelNotRegisteredError,
        HumanInputRejectedError,
        IdentityNotFoundError,
        ParticipantNotAdmittedError,
        ParticipantNotFoundError,
        RoomClosedError,
        RoomDeadlockError,
        RoomNotFoundError,
        SourceAlreadyAttachedError,
        SourceNotFoundError,
    )
    from salon.core.framework import FrameworkEvent
    from salon.core.hooks import HookRegistration
    from salon.core.kit import RoomKit
    from salon.core.memory import InMemoryLockManager, InMemoryStore
    from salon.core.permissions import visible_events
    from salon.core.ports import (
        AIProvider,
        Channel,
        InboundRoomRouter,
        RoomLockManager,
    )
    from salon.core.ports.store import (
        AddressLinkedError,
        ConversationStore,
        EventNotFoundError,
    )
    from salon.core.rooms import TransitionRefusedError
    from salon.core.routing import DefaultInboundRoomRouter
    from salon.identity import (
        IdentityResolver,
        InMemoryIdentityResolver,
        MockIdentityResolver,
        StoreIdentityResolver,
    )
    from salon.media import AudioFrame
    from salon.memory import (
        MemoryProvider,
        MemoryResult,
        MockMemoryProvider,
        SlidingWindowMemory,
    )
    from salon.models import (
        Access,
        AgentResponsePolicy,
        AudioContent,
        ChannelBinding,
        ChannelCapabilities,
        ChannelCategory,
        ChannelData,
        ChannelDirection,
        ChannelMediaType,
        ChannelOutput,
        ChannelType,
        CompositeContent,
        DeleteContent,
        DeleteType,
        DeliveryError,
        DeliveryMode,
        DeliveryResult,
        DeliveryStatus,
        EditContent,
        EventDirection,
        EventFilter,
        EventSource,
        EventStatus,
        EventType,
        HookExecution,
        HookResult,
        HookTrigger,
        IdentificationStatus,
        Identity,
        IdentityHookResult,
        IdentityResult,
        InboundMessage,
        InboundResult,
        InjectedEvent,
        LocationContent,
        MediaContent,
        NoProviderError,
        NoRecipientError,
        Observation,
        Participant,
        ParticipantRole,
        ParticipantStatus,
        PendingInput,
        PendingInputEvent,
        PendingInputStatus,
        PersistencePolicy,
        ProviderDeliveryError,
        ProviderResult,
        RateLimit,
        ResponseMetadata,
        RetryPolicy,
        RichContent,
        Room,
        RoomContext,
        RoomEvent,
        RoomKitError,
        RoomStatus,
        RoomTimers,
        SessionStartedEvent,
        SourceStatus,
        SystemContent,
        Task,
        TaskStatus,
        TemplateContent,
        TextContent,
        ThreadSummary,
        ToolCallContent,
        UnsupportedError,
        VideoContent,
        Visibility,
    )
    from salon.models.ai import (
        AIGenerationEvent,
        AIResponseEvent,
        ThinkingEvent,
        ToolCallEvent,
    )
    from salon.providers.agent import FunctionAgent, agent
    from salon.providers.ai import MockAIProvider
    from salon.providers.email import (
        EmailProvider,
        MockEmailProvider,
        SMTPConfig,
        SMTPEmailProvider,
    )
    from salon.providers.house import HouseAgent
    from salon.providers.http import (
        HTTPProvider,
        HTTPProviderConfig,
        MockHTTPProvider,
        WebhookHTTPProvider,
    )
    from salon.providers.loader import load_agent
    from salon.providers.messenger import MessengerProvider, MockMessengerProvider
    from salon.providers.openai import OpenAIProvider
    from salon.providers.rcs import MockRCSProvider, RCSProvider
    from salon.providers.sms import (
        MockSMSProvider,
        SMSProvider,
        TwilioConfig,
        TwilioSMSProvider,
        WebhookMeta,
        extract_sms_meta,
    )
    from salon.providers.teams import MockTeamsProvider, TeamsProvider
    from salon.providers.telegram import MockTelegramProvider, TelegramProvider
    from salon.providers.tools import ToolBox, tool
    from salon.providers.turn import AgentRoom, Turn
    from salon.providers.whatsapp import MockWhatsAppProvider, WhatsAppProvider
    from salon.realtime import (
        EphemeralEvent,
        EphemeralEventType,
        InMemoryRealtime,
        RealtimeBackend,
    )
    from salon.sources import (
        BaseSourceProvider,
        SourceHealth,
        SourceProvider,
        SSESource,
        WebSocketSource,
    )
    from salon.store import PostgresStore
    from salon.store.sqlite_file import SQLiteStore
    from salon.tools import HumanInputHandler, HumanInputToolHandler
    from salon.voice.backends import (
        FastRTCVoiceBackend,
        VoiceBackend,
        WebRTCVoiceBackend,
    )

_NAMES = {
    "salon.base": "MissingExtraError SalonError",
    "salon.channels": (
        "AIChannel Agent EmailChannel HTTPChannel MessengerChannel RCSChannel SMSChannel "
        "TeamsChannel TelegramChannel TransportChannel VoiceChannel WebSocketChannel "
        "WhatsAppChannel"
    ),
    "salon.core.errors": (
        "AgentBusyError RoomDeadlockError "
        "ChannelAlreadyRegisteredError ChannelNotFoundError ChannelNotRegisteredError "
        "HumanInputRejectedError IdentityNotFoundError ParticipantNotAdmittedError "
        "ParticipantNotFoundError RoomClosedError RoomNotFoundError SourceAlreadyAttachedError "
        "SourceNotFoundError"
    ),
    "salon.core.framework": "FrameworkEvent",
    "salon.core.hooks": "HookRegistration",
    "salon.core.kit": "RoomKit",
    "salon.core.memory": "InMemoryLockManager InMemoryStore",
    "salon.core.permissions": "visible_events",
    "salon.core.ports": "AIProvider Channel InboundRoomRouter RoomLockManager",
    "salon.core.ports.store": "AddressLinkedError ConversationStore EventNotFoundError",
    "salon.core.rooms": "TransitionRefusedError",
    "salon.core.routing": "DefaultInboundRoomRouter",
    "salon.identity": (
        "IdentityResolver InMemoryIdentityResolver MockIdentityResolver StoreIdentityResolver"
    ),
    "salon.media": "AudioFrame",
    "salon.memory": "MemoryProvider MemoryResult MockMemoryProvider SlidingWindowMemory",
    "salon.models": (
        "Access AgentResponsePolicy AudioContent ChannelBinding ChannelCapabilities "
        "ChannelCategory ChannelData ChannelDirection ChannelMediaType ChannelOutput "
        "ChannelType CompositeContent DeleteContent DeleteType DeliveryError DeliveryMode "
        "DeliveryResult DeliveryStatus EditContent EventDirection EventFilter EventSource "
        "EventStatus EventType HookExecution HookResult HookTrigger IdentificationStatus "
        "Identity IdentityHookResult IdentityResult InboundMessage InboundResult InjectedEvent "
        "LocationContent MediaContent NoProviderError NoRecipientError Observation Participant "
        "ParticipantRole ParticipantStatus PendingInput PendingInputEvent PendingInputStatus "
        "PersistencePolicy ProviderDeliveryError ProviderResult RateLimit ResponseMetadata "
        "RetryPolicy RichContent Room RoomContext RoomEvent RoomKitError RoomStatus RoomTimers "
        "SessionStartedEvent SourceStatus SystemContent Task TaskStatus TemplateContent "
        "TextContent ThreadSummary ToolCallContent UnsupportedError VideoContent Visibility"
    ),
    "salon.models.ai": "AIGenerationEvent AIResponseEvent ThinkingEvent ToolCallEvent",
    "salon.providers.agent": "FunctionAgent agent",
    "salon.providers.ai": "MockAIProvider",
    "salon.providers.email": "EmailProvider MockEmailProvider SMTPConfig SMTPEmailProvider",
    "salon.providers.house": "HouseAgent",
    "salon.providers.http": "HTTPProvider HTTPProviderConfig MockHTTPProvider WebhookHTTPProvider",
    "salon.providers.loader": "load_agent",
    "salon.providers.messenger": "MessengerProvider MockMessengerProvider",
    "salon.providers.openai": "OpenAIProvider",
    "salon.providers.rcs": "MockRCSProvider RCSProvider",
    "salon.providers.sms": (
        "MockSMSProvider SMSProvider TwilioConfig TwilioSMSProvider WebhookMeta extract_sms_meta"
    ),
    "salon.providers.teams": "MockTeamsProvider TeamsProvider",
    "salon.providers.telegram": "MockTelegramProvider TelegramProvider",
    "salon.providers.tools": "ToolBox tool",
    "salon.providers.turn": "AgentRoom Turn",
    "salon.providers.whatsapp": "MockWhatsAppProvider WhatsAppProvider",
    "salon.realtime": "EphemeralEvent EphemeralEventType InMemoryRealtime RealtimeBackend",
    "salon.sources": "BaseSourceProvider SSESource SourceHealth SourceProvider WebSocketSource",
    "salon.store": "PostgresStore",
    "salon.store.sqlite_file": "SQLiteStore",
    "salon.tools": "HumanInputHandler HumanInputToolHandler",
    "salon.voice.backends": "FastRTCVoiceBackend VoiceBackend WebRTCVoiceBackend",
}
_WHERE = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "AIChannel",
    "AIGenerationEvent",
    "AIProvider",
    "AIResponseEvent",
    "Access",
    "AddressLinkedError",
    "Agent",
    "AgentBusyError",
    "AgentResponsePolicy",
    "AgentRoom",
    "AudioContent",
    "AudioFrame",
    "BaseSourceProvider",
    "Channel",
    "ChannelAlreadyRegisteredError",
    "ChannelBinding",
    "ChannelCapabilities",
    "ChannelCategory",
    "ChannelData",
    "ChannelDirection",
    "ChannelMediaType",
    "ChannelNotFoundError",
    "ChannelNotRegisteredError",
    "ChannelOutput",
    "ChannelType",
    "CompositeContent",
    "ConversationStore",
    "DefaultInboundRoomRouter",
    "DeleteContent",
    "DeleteType",
    "DeliveryError",
    "DeliveryMode",
    "DeliveryResult",
    "DeliveryStatus",
    "EditContent",
    "EmailChannel",
    "EmailProvider",
    "EphemeralEvent",
    "EphemeralEventType",
    "EventDirection",
    "EventFilter",
    "EventNotFoundError",
    "EventSource",
    "EventStatus",
    "EventType",
    "FastRTCVoiceBackend",
    "FrameworkEvent",
    "FunctionAgent",
    "HTTPChannel",
    "HTTPProvider",
    "HTTPProviderConfig",
    "HookExecution",
    "HookRegistration",
    "HookResult",
    "HookTrigger",
    "HouseAgent",
    "HumanInputHandler",
    "HumanInputRejectedError",
    "HumanInputToolHandler",
    "IdentificationStatus",
    "Identity",
    "IdentityHookResult",
    "IdentityNotFoundError",
    "IdentityResolver",
    "IdentityResult",
    "InMemoryIdentityResolver",
    "InMemoryLockManager",
    "InMemoryRealtime",
    "InMemoryStore",
    "InboundMessage",
    "InboundResult",
    "InboundRoomRouter",
    "InjectedEvent",
    "LocationContent",
    "MediaContent",
    "MemoryProvider",
    "MemoryResult",
    "MessengerChannel",
    "MessengerProvider",
    "MissingExtraError",
    "MockAIProvider",
    "MockEmailProvider",
    "MockHTTPProvider",
    "MockIdentityResolver",
    "MockMemoryProvider",
    "MockMessengerProvider",
    "MockRCSProvider",
    "MockSMSProvider",
    "MockTeamsProvider",
    "MockTelegramProvider",
    "MockWhatsAppProvider",
    "NoProviderError",
    "NoRecipientError",
    "Observation",
    "OpenAIProvider",
    "Participant",
    "ParticipantNotAdmittedError",
    "ParticipantNotFoundError",
    "ParticipantRole",
    "ParticipantStatus",
    "PendingInput",
    "PendingInputEvent",
    "PendingInputStatus",
    "PersistencePolicy",
    "PostgresStore",
    "ProviderDeliveryError",
    "ProviderResult",
    "RCSChannel",
    "RCSProvider",
    "RateLimit",
    "RealtimeBackend",
    "ResponseMetadata",
    "RetryPolicy",
    "RichContent",
    "Room",
    "RoomClosedError",
    "RoomContext",
    "RoomDeadlockError",
    "RoomEvent",
    "RoomKit",
    "RoomKitError",
    "RoomLockManager",
    "RoomNotFoundError",
    "RoomStatus",
    "RoomTimers",
    "SMSChannel",
    "SMSProvider",
    "SMTPConfig",
    "SMTPEmailProvider",
    "SQLiteStore",
    "SSESource",
    "SalonError",
    "SessionStartedEvent",
    "SlidingWindowMemory",
    "SourceAlreadyAttachedError",
    "SourceHealth",
    "SourceNotFoundError",
    "SourceProvider",
    "SourceStatus",
    "StoreIdentityResolver",
    "SystemContent",
    "Task",
    "TaskStatus",
    "TeamsChannel",
    "TeamsProvider",
    "TelegramChannel",
    "TelegramProvider",
    "TemplateContent",
    "TextContent",
    "ThinkingEvent",
    "ThreadSummary",
    "ToolBox",
    "ToolCallContent",
    "ToolCallEvent",
    "TransitionRefusedError",
    "TransportChannel",
    "Turn",
    "TwilioConfig",
    "TwilioSMSProvider",
    "UnsupportedError",
    "VideoContent",
    "Visibility",
    "VoiceBackend",
    "VoiceChannel",
    "WebRTCVoiceBackend",
    "WebSocketChannel",
    "WebSocketSource",
    "WebhookHTTPProvider",
    "WebhookMeta",
    "WhatsAppChannel",
    "WhatsAppProvider",
    "agent",
    "extract_sms_meta",
    "load_agent",
    "tool",
    "visible_events",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("salon")
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"module 'salon' has no attribute {name!r}")
    value = getattr(import_module(where), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))
