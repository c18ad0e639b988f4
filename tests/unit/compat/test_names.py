"""RoomKit's names, by RoomKit's paths."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import salon
from salon.core.ports.realtime import RealtimeBackend
from salon.core.ports.store import ConversationStore

from . import page

FIRM = {
    "roomkit": """
        AIChannel AIGenerationEvent AIResponseEvent Access Agent AgentResponsePolicy Channel
        ChannelAlreadyRegisteredError ChannelBinding ChannelCapabilities ChannelCategory
        ChannelNotFoundError ChannelNotRegisteredError ChannelOutput ChannelType ConversationStore
        DefaultInboundRoomRouter DeliveryError DeliveryResult DeliveryStatus EmailChannel
        EventFilter EventSource EventStatus EventType FrameworkEvent HTTPChannel HookExecution
        HookRegistration HookResult HookTrigger IdentityNotFoundError InMemoryLockManager
        InMemoryStore InboundMessage InboundResult InboundRoomRouter InjectedEvent MemoryProvider
        MemoryResult MessengerChannel NoRecipientError Participant ParticipantNotAdmittedError
        ParticipantNotFoundError ProviderDeliveryError ProviderResult RCSChannel ResponseMetadata
        RoomClosedError RoomContext RoomEvent RoomKit RoomKitError RoomLockManager
        RoomNotFoundError RoomStatus RoomTimers SMSChannel SQLiteStore SessionStartedEvent
        SourceAlreadyAttachedError SourceNotFoundError TeamsChannel TelegramChannel TextContent
        ThinkingEvent ToolCallContent ToolCallEvent TransportChannel Visibility WebSocketChannel
        WhatsAppChannel""",
    "roomkit.models.context": "RoomContext",
    "roomkit.models.participant": "Participant",
    "roomkit.models.task": "Observation Task",
    "roomkit.models.room": "Room RoomTimers",
    "roomkit.models.hook": "HookResult InjectedEvent",
    "roomkit.models.identity": "Identity IdentityHookResult IdentityResult",
    "roomkit.models.tool_call": "AIGenerationEvent AIResponseEvent ToolCallEvent",
    "roomkit.models.framework_event": "FrameworkEvent",
    "roomkit.core.locks": "InMemoryLockManager RoomLockManager",
    "roomkit.core.inbound_router": "DefaultInboundRoomRouter InboundRoomRouter",
    "roomkit.core.exceptions": "RoomNotFoundError RoomClosedError RoomKitError",
    "roomkit.store.memory": "InMemoryStore",
    "roomkit.store.base": "ConversationStore",
    "roomkit.identity": "IdentityResolver MockIdentityResolver",
    "roomkit.realtime": "EphemeralEvent EphemeralEventType InMemoryRealtime RealtimeBackend",
    "roomkit.sources.base": "BaseSourceProvider SourceHealth SourceProvider SourceStatus",
    "roomkit.memory.sliding_window": "SlidingWindowMemory",
    "roomkit.channels.base": "Channel",
    "roomkit.channels.websocket": "WebSocketChannel StreamStart StreamChunk StreamEnd StreamError",
    "roomkit.providers.ai.base": "AIProvider AIContext AIResponse AITool AIMessage",
    "roomkit.providers.ai.mock": "MockAIProvider",
    "roomkit.providers.sms.mock": "MockSMSProvider",
    "roomkit.providers.twilio.sms": "TwilioSMSProvider",
    "roomkit.providers.http.provider": "WebhookHTTPProvider",
}
"""Names that must not go missing, whatever the page says."""


@pytest.mark.parametrize("module", FIRM)
def test_what_is_built_is_where_RoomKit_has_it(module: str) -> None:
    ours = import_module(page.our(module))
    names = FIRM[module].split()
    assert set(names) <= set(page.roomkit_names()[module]), "not a name of RoomKit"
    assert [name for name in names if not hasattr(ours, name)] == []


def test_every_other_name_is_in_the_list_of_what_is_not_there() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.rendered(), (
        "run: python -m tests.unit.compat.page"
    )


def test_what_a_method_of_the_kit_takes_by_position_is_where_RoomKit_has_it() -> None:
    wrong, compared = [], 0
    absent = set(page.absent_methods())
    for name, theirs in page.roomkit_methods().items():
        if theirs is None or name in absent:
            continue
        ours = list(inspect.signature(getattr(salon.RoomKit, name)).parameters)[1:]
        given = theirs.partition("*")[0].split()
        compared += len(given)
        for position, parameter in enumerate(given):
            if parameter not in ours:
                break  # those after it are passed by name
            if ours.index(parameter) != position:
                wrong.append((name, parameter))
    assert wrong == []
    assert compared > 150


def test_every_public_name_is_there() -> None:
    assert [name for name in salon.__all__ if not hasattr(salon, name)] == []
    assert set(salon.__all__) <= set(dir(salon))
    assert isinstance(salon.__version__, str)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        salon.nothing_like_it  # noqa: B018 - the access is the test


def test_the_names_of_section_0_1_are_the_published_ones() -> None:
    for name in [
        "add_binding",
        "remove_binding",
        "add_participant",
        "create_identity",
        "resolve_identity",
        "add_task",
        "add_observation",
    ]:
        assert hasattr(ConversationStore, name)
    for name in ("publish", "publish_to_room", "subscribe_to_room"):
        assert hasattr(RealtimeBackend, name)


@pytest.mark.parametrize("module", ["salon.models", "salon.models.framework_event"])
def test_a_module_that_loads_late_refuses_other_names(module: str) -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        import_module(module).nothing_like_it  # noqa: B018 - the access is the test


def test_importing_salon_loads_next_to_nothing() -> None:
    program = (
        "import sys, time; began = time.process_time(); import salon; "
        "used = time.process_time() - began; "
        "heavy = {'numpy', 'sqlalchemy', 'pydantic', 'httpx'} & set(sys.modules); "
        "assert not heavy, heavy; assert used < 0.2, used; "
        "salon.RoomKit, salon.WebSocketChannel, salon.Agent; "
        "heavy = {'numpy', 'sqlalchemy'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
