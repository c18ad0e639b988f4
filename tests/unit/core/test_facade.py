"""`RoomKit` from outside: names, signatures, docstrings, and whose rooms a call may touch."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from salon.core.errors import (
    ChannelNotRegisteredError,
    RoomClosedError,
    RoomKitError,
    RoomNotFoundError,
)
from salon.core.kit import RoomKit
from salon.core.ports.realtime import EphemeralEvent, EphemeralEventType
from salon.core.rooms import TransitionRefusedError
from salon.models import (
    Access,
    AgentResponsePolicy,
    DeliveryStatus,
    EventFilter,
    EventType,
    HookExecution,
    HookTrigger,
    InboundMessage,
    Room,
    RoomContext,
    RoomEvent,
    RoomStatus,
    RoomTimers,
)
from salon.models.identity import Identity

from .helpers import ROOM, Transport, message, text

METHODS = {
    name: member
    for name, member in vars(RoomKit).items()
    if inspect.isfunction(member) and not name.startswith("_")
}


def parameters(name: str) -> list[str]:
    """Names without `self`; ``*`` before those that are keyword-only."""
    names: list[str] = []
    for parameter in list(inspect.signature(METHODS[name]).parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in names:
            names.append("*")
        names.append("**" * (parameter.kind is parameter.VAR_KEYWORD) + parameter.name)
    return names


ROOMED = "room_id * organization_id"
CHANNELLED = "room_id channel_id * organization_id"
SIGNATURES = {
    "open": "",
    "close": "",
    "register_channel": "channel",
    "unregister_channel": "channel_id",
    "get_channel": "channel_id",
    "list_channels": "",
    "attach_source": "channel_id source * auto_restart restart_delay max_restart_delay"
    " max_restart_attempts max_concurrent_emits",
    "detach_source": "channel_id",
    "list_sources": "",
    "source_health": "channel_id",
    "create_room": "room_id metadata * organization_id timers agent_response_policy",
    "get_room": ROOMED,
    "list_rooms": "* organization_id status metadata_filter limit offset",
    "close_room": ROOMED,
    "reopen_room": ROOMED,
    "pause_room": ROOMED,
    "resume_room": ROOMED,
    "archive_room": ROOMED,
    "delete_room": ROOMED,
    "update_room_metadata": "room_id metadata * organization_id",
    "set_agent_response_policy": "room_id policy * organization_id",
    "set_room_timers": "room_id timers * organization_id",
    "check_room_timers": ROOMED,
    "check_all_timers": "* organization_id",
    "attach_channel": "room_id channel_id category access visibility organization_id *"
    " direction muted output_muted participant_id group capabilities rate_limit retry_policy"
    " metadata",
    "share_channel": "from_room to_room channel_id * access visibility muted metadata"
    " organization_id",
    "detach_channel": CHANNELLED,
    "get_binding": CHANNELLED,
    "list_bindings": ROOMED,
    "mute": CHANNELLED,
    "unmute": CHANNELLED,
    "mute_output": CHANNELLED,
    "unmute_output": CHANNELLED,
    "set_access": "room_id channel_id access * organization_id",
    "set_visibility": "room_id channel_id visibility * organization_id",
    "update_binding_metadata": "room_id channel_id metadata * organization_id",
    "add_member": "room_id channel_id participant_id * identity_id display_name role"
    " organization_id",
    "remove_member": "room_id participant_id * status organization_id",
    "rename_member": "room_id participant_id display_name * organization_id",
    "list_members": "room_id * include_left organization_id",
    "is_member": "room_id identity_id * organization_id",
    "ensure_participant": "room_id channel_id participant_id display_name * organization_id",
    "resolve_participant": "room_id participant_id identity_id resolved_by * organization_id",
    "identity_enabled_for": "channel_type",
    "process_inbound": "message * room_id detached defer_delivery organization_id",
    "process_webhook": "meta channel_id organization_id",
    "process_delivery_status": "status * organization_id",
    "send_event": "room_id channel_id content event_type chain_depth participant_id metadata"
    " visibility provider response_visibility created_at parent_event_id idempotency_key"
    " addressed_to organization_id * detached",
    "record": "event",
    "idle": "room_id",
    "resume_deliveries": "",
    "update_event": "room_id event_id * content source metadata organization_id",
    "delete_event": "room_id event_id * cascade_replies organization_id",
    "regenerate_response": "room_id * trigger_id organization_id",
    "regenerate_target": ROOMED,
    "on_commit": "listener",
    "get_timeline": "room_id offset limit visibility_filter * after_index before_index"
    " newest_first include_blocked organization_id",
    "context": ROOMED,
    "history": CHANNELLED,
    "list_tasks": "room_id status * organization_id",
    "list_observations": ROOMED,
    "submit_feedback": "room_id rating * event_id channel_id comment dimension metadata"
    " organization_id",
    "mark_read": "room_id channel_id event_id * organization_id",
    "mark_all_read": CHANNELLED,
    "get_unread_count": CHANNELLED,
    "list_read_markers": ROOMED,
    "publish_typing": "room_id user_id is_typing data * channel_id organization_id",
    "publish_presence": "room_id user_id status data * channel_id organization_id",
    "publish_reaction": "room_id user_id target_event_id emoji action * channel_id organization_id",
    "publish_read_receipt": "room_id user_id event_id * channel_id organization_id",
    "publish_tool_call": "room_id channel_id tool_calls event_type * duration_ms organization_id",
    "subscribe_room": "room_id callback * organization_id",
    "unsubscribe_room": "subscription_id",
    "add_hook": "trigger fn * name execution priority timeout fail_closed room_id channel_types"
    " channel_ids directions event_types needs_lock",
    "hook": "trigger execution priority name timeout channel_types channel_ids directions"
    " event_types fail_closed needs_lock * room_id",
    "add_room_hook": "room_id trigger execution fn priority name * fail_closed needs_lock timeout"
    " channel_types channel_ids directions event_types organization_id",
    "remove_room_hook": "room_id name * organization_id",
    "room_hook": "name trigger execution priority timeout * fail_closed",
    "enable_room_hook": "room_id name * organization_id",
    "disable_room_hook": "room_id name * organization_id",
    "hooks_for": "trigger",
    "identity_hook": "trigger channel_types channel_ids directions **options",
    "run_hooks": "trigger room_id payload * source wait",
    "on": "event_type",
    "on_delivery_status": "fn",
    "keep_effects": "tasks observations",
    "join": (
        "room_id channel_id * session participant_id metadata backend connection organization_id"
    ),
    "leave": "session",
    "connect_voice": "room_id participant_id channel_id * metadata organization_id",
    "disconnect_voice": "session",
    "bind_voice_session": "session room_id channel_id * organization_id",
    "connect_websocket": "channel_id connection_id send_fn * room_id stream_send_fn"
    " organization_id",
    "disconnect_websocket": "channel_id connection_id * organization_id",
    "subscribe_websocket": "channel_id connection_id room_id * organization_id",
    "unsubscribe_websocket": "channel_id connection_id room_id * organization_id",
}


def test_the_facade_has_these_methods_and_no_others() -> None:
    assert sorted(METHODS) == sorted(SIGNATURES)


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_method_has_its_parameters_in_order(name: str) -> None:
    assert " ".join(parameters(name)) == SIGNATURES[name]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_documented_and_typed(name: str) -> None:
    method = METHODS[name]
    assert method.__doc__
    assert method.__doc__[0].isupper() or method.__doc__.startswith("``")
    assert method.__qualname__ == f"RoomKit.{name}"
    signature = inspect.signature(method)
    assert signature.return_annotation is not signature.empty
    for parameter in list(signature.parameters.values())[1:]:
        assert parameter.annotation is not parameter.empty, parameter.name


def test_what_a_framework_is_made_of_comes_in_order() -> None:
    positional = [
        parameter.name
        for parameter in inspect.signature(RoomKit).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    assert " ".join(positional) == (
        "store identity_resolver identity_channel_types inbound_router lock_manager realtime"
        " max_chain_depth agent_response_policy identity_timeout process_timeout"
    )


def test_no_method_is_inherited() -> None:
    assert RoomKit.__mro__ == (RoomKit, object)


# -- R267 -----------------------------------------------------------------------------------------

OURS, THEIRS = "ours", "theirs"
Call = Callable[..., Awaitable[Any]]
NAMED_ROOMS = ("room_id", "from_room")
SCOPED = [
    name
    for name, method in METHODS.items()
    if "organization_id" in inspect.signature(method).parameters
    and any(item in inspect.signature(method).parameters for item in NAMED_ROOMS)
    and name != "create_room"  # it names a room that is not there yet
    and not name.endswith("subscribe_websocket")  # about a connection: see test_connections
]
UNSCOPED = {
    "create_room",
    "idle",
    "run_hooks",
    "add_hook",
    "hook",
    "subscribe_websocket",
    "unsubscribe_websocket",
}
"""Methods that name a room and ask for no organization: for the host's own code."""


async def never(*args: Any) -> None:
    raise AssertionError("nobody is to hear of it")


ARGUMENTS: dict[str, Any] = {
    "room_id": ROOM,
    "from_room": ROOM,
    "to_room": "other",
    "channel_id": "sms",
    "connection_id": "screen",
    "send_fn": None,
    "session": None,
    "participant_id": "ann",
    "user_id": "ann",
    "identity_id": "ann",
    "display_name": "Another Ann",
    "access": Access.NONE,
    "visibility": "none",
    "metadata": {"touched": True},
    "policy": AgentResponsePolicy.ADDRESSED_ONLY,
    "timers": RoomTimers(inactive_after_seconds=1),
    "content": text("foreign"),
    "message": message("sms", "foreign"),
    "status": "away",
    "target_event_id": "known",
    "event_id": "known",
    "emoji": "+1",
    "rating": 1,
    "tool_calls": [],
    "callback": never,
    "trigger": HookTrigger.AFTER_BROADCAST,
    "execution": HookExecution.ASYNC,
    "fn": never,
    "name": "ours",
}


def required(name: str) -> dict[str, Any]:
    """An argument for each parameter without a default, and the room."""
    found: dict[str, Any] = {}
    for parameter in list(inspect.signature(METHODS[name]).parameters.values())[1:]:
        needed = parameter.default is parameter.empty
        if parameter.kind is not parameter.VAR_KEYWORD and (
            needed or parameter.name in NAMED_ROOMS
        ):
            found[parameter.name] = ARGUMENTS[parameter.name]
    return found


def call(kit: RoomKit, name: str, organization_id: str | None) -> Awaitable[Any]:
    made: Awaitable[Any] = getattr(kit, name)(**required(name), organization_id=organization_id)
    return made


@dataclass(frozen=True)
class House:
    """A room of ours with everything in it that somebody might touch."""

    kit: RoomKit
    heard: list[EphemeralEvent]

    async def state(self) -> dict[str, Any]:
        kit, store = self.kit, self.kit.store
        room = await store.get_room(ROOM)
        events = await store.list_events(
            ROOM, limit=1000, event_filter=EventFilter(include_blocked=True)
        )
        return {
            "room": room and room.model_dump(),
            "rooms": len(await store.list_rooms()),
            "events": [event.model_dump() for event in events],
            "bindings": [item.model_dump() for item in await store.list_bindings(ROOM)],
            "others": [item.model_dump() for item in await store.list_bindings("other")],
            "people": [item.model_dump() for item in await store.list_participants(ROOM)],
            "read": await store.list_read_markers(ROOM),
            "hooks": [
                hook.name
                for trigger in HookTrigger
                for hook in kit.hooks.select(trigger, None, ROOM, HookExecution.ASYNC)
            ],
            "heard": [asdict(event) for event in self.heard],
        }


@pytest.fixture
async def house(kit: RoomKit) -> House:
    heard: list[EphemeralEvent] = []

    async def hear(event: EphemeralEvent) -> None:
        heard.append(event)

    async def allow(event: RoomEvent, context: RoomContext) -> None:
        return None

    await kit.create_room(ROOM, organization_id=OURS)
    await kit.create_room("other", organization_id=OURS)
    kit.register_channel(Transport("sms"))
    await kit.attach_channel(ROOM, "sms")
    await kit.store.create_identity(Identity(id="ann", display_name="Ann"))
    await kit.add_member(ROOM, "sms", "ann", display_name="Ann")
    event = RoomEvent(
        id="known",
        room_id=ROOM,
        source={"channel_id": "sms", "channel_type": "sms"},
        content=text("hi"),
    )
    await kit.store.commit_event(event, at=event.created_at)
    await kit.add_room_hook(
        ROOM, HookTrigger.AFTER_BROADCAST, HookExecution.ASYNC, allow, name="ours"
    )
    await kit.subscribe_room(ROOM, hear)
    return House(kit, heard)


def test_R267_whoever_names_a_room_may_say_whose_it_is() -> None:
    naming = {
        name
        for name, method in METHODS.items()
        if set(NAMED_ROOMS) & set(inspect.signature(method).parameters)
    }
    assert naming - UNSCOPED == set(SCOPED)
    assert len(SCOPED) > 45


@pytest.mark.parametrize("name", SCOPED)
async def test_R267_another_organizations_room_does_not_exist(house: House, name: str) -> None:
    """Not even its lock: whoever asks is told at once, though the room is busy."""
    kit = house.kit
    before = await house.state()
    entered, done = asyncio.Event(), asyncio.Event()

    async def busy() -> None:
        async with kit.locks.locked(ROOM):
            entered.set()
            await done.wait()

    holder = asyncio.create_task(busy())
    await entered.wait()
    with pytest.raises(RoomNotFoundError):
        await call(kit, name, THEIRS)
    done.set()
    await holder
    assert await house.state() == before


CONNECTING = {"connect_websocket", "join", "connect_voice", "bind_voice_session"}
"""Those need a channel that has connections: see test_connections, test_voice_joining."""


@pytest.mark.parametrize("name", [name for name in SCOPED if name not in CONNECTING])
async def test_R267_to_its_own_organization_it_does(house: House, name: str) -> None:
    if name == "reopen_room":
        await house.kit.close_room(ROOM)
    if name == "resume_room":
        await house.kit.pause_room(ROOM)
    if name == "enable_room_hook":
        await house.kit.remove_room_hook(ROOM, "ours")
    await call(house.kit, name, OURS)


@pytest.mark.parametrize(
    "name", ["mute", "close_room", "rename_member", "check_room_timers", "update_event"]
)
async def test_R267_a_room_that_changes_hands_meanwhile_is_out_of_reach(
    house: House, name: str
) -> None:
    kit = house.kit
    entered, asked = asyncio.Event(), asyncio.Event()

    async def change_hands() -> None:
        async with kit.locks.locked(ROOM):
            entered.set()
            await asked.wait()
            await kit.delete_room(ROOM)
            await kit.store.create_room(Room(id=ROOM, organization_id=THEIRS))

    async def ask() -> None:
        await call(kit, name, OURS)

    change = asyncio.create_task(change_hands())
    await entered.wait()
    asking = asyncio.create_task(ask())
    for _ in range(20):  # until it waits for the lock
        await asyncio.sleep(0)
    asked.set()
    await change
    with pytest.raises(RoomNotFoundError):
        await asking
    assert await kit.get_timeline(ROOM) == []


async def test_R267_a_channel_is_not_shared_across_organizations(house: House) -> None:
    kit = house.kit
    await kit.create_room("foreign", organization_id=THEIRS)
    for organization_id in (None, OURS, THEIRS):
        with pytest.raises(RoomNotFoundError):
            await kit.share_channel(ROOM, "foreign", "sms", organization_id=organization_id)
    assert await kit.list_bindings("foreign") == []


async def test_R267_a_delivery_report_reaches_rooms_of_its_organization_only(house: House) -> None:
    kit = house.kit
    told: list[str] = []

    @kit.hook(HookTrigger.ON_DELIVERY_STATUS, HookExecution.ASYNC)
    async def note(status: DeliveryStatus, context: RoomContext) -> None:
        told.append(context.room.id)

    report = DeliveryStatus(provider="x", message_id="1", status="sent", channel_id="sms")
    await kit.process_delivery_status(report, organization_id=THEIRS)
    named = report.model_copy(update={"room_id": ROOM})
    with pytest.raises(RoomNotFoundError):
        await kit.process_delivery_status(named, organization_id=THEIRS)
    assert told == []
    await kit.process_delivery_status(report, organization_id=OURS)
    await kit.process_delivery_status(named, organization_id=OURS)
    await kit._parts.observers.close(1)
    assert told == [ROOM, ROOM]


async def test_R213_a_delivery_report_without_a_room_is_told_to_nobody(house: House) -> None:
    kit = house.kit
    kit.add_hook(HookTrigger.ON_DELIVERY_STATUS, never, execution=HookExecution.ASYNC)
    report = DeliveryStatus(provider="x", message_id="1", status="sent")
    await kit.process_delivery_status(report)
    await kit.process_delivery_status(report.model_copy(update={"channel_id": "nowhere"}))
    await kit.process_delivery_status(report.model_copy(update={"room_id": "nowhere"}))


async def test_R213_a_delivery_report_nobody_waits_for_is_no_work(house: House) -> None:
    report = DeliveryStatus(provider="x", message_id="1", status="sent", room_id="nowhere")
    await house.kit.process_delivery_status(report)


@dataclass
class Report:
    """A webhook in common words."""

    kind: str

    @property
    def is_inbound(self) -> bool:
        return self.kind == "inbound"

    @property
    def is_status(self) -> bool:
        return self.kind == "status"

    def to_inbound(self, channel_id: str) -> InboundMessage:
        return message(channel_id)

    def to_status(
        self, *, channel_id: str | None = None, room_id: str | None = None
    ) -> DeliveryStatus:
        return DeliveryStatus(provider="x", message_id="1", status="sent", channel_id=channel_id)


async def test_R267_a_webhook_stays_within_its_organization(house: House) -> None:
    kit = house.kit
    told: list[str] = []

    @kit.on_delivery_status
    async def note(status: DeliveryStatus) -> None:
        told.append(status.message_id)

    before = await house.state()
    assert await kit.process_webhook(Report("status"), "sms", THEIRS) is None
    assert await kit.process_webhook(Report("neither"), "sms", OURS) is None
    assert await house.state() == before
    result = await kit.process_webhook(Report("inbound"), "sms", THEIRS)
    assert result is not None
    assert result.event is not None
    made = await kit.get_room(result.event.room_id)
    assert made.organization_id == THEIRS
    assert await kit.process_webhook(Report("status"), "sms", OURS) is None
    await kit._parts.observers.close(1)
    assert told == ["1"]


# -- what moved to services of its own ------------------------------------------------------------


async def test_sending_refuses_what_cannot_be_sent(house: House) -> None:
    kit = house.kit
    with pytest.raises(ChannelNotRegisteredError):
        await kit.send_event(ROOM, "nowhere", "hi")
    await kit.close_room(ROOM)
    with pytest.raises(RoomClosedError):
        await kit.send_event(ROOM, "sms", "hi")
    await kit.reopen_room(ROOM)
    with pytest.raises(RoomKitError, match="refused the event: target_event_not_found"):
        await kit.send_event(ROOM, "sms", "hi", EventType.EDIT)


async def test_R36_somebody_is_introduced_through_the_channel_that_is_named(house: House) -> None:
    made = await house.kit.ensure_participant(ROOM, "sms", "bob", "Bob")
    assert (made.id, made.channel_id, made.display_name) == ("bob", "sms", "Bob")


async def test_R27_a_room_has_the_policy_it_names_or_the_frameworks() -> None:
    addressed, chain = AgentResponsePolicy.ADDRESSED_ONLY, AgentResponsePolicy.AGENT_CHAIN
    async with RoomKit(agent_response_policy=addressed) as kit:
        assert (await kit.create_room()).agent_response_policy is addressed
        named = await kit.create_room("named", {"a": 1}, agent_response_policy=chain)
        assert (named.agent_response_policy, named.metadata) == (chain, {"a": 1})


async def test_R33_an_archived_room_stays_archived_through_the_facade(house: House) -> None:
    archived = await house.kit.archive_room(ROOM, organization_id=OURS)
    assert archived.status is RoomStatus.ARCHIVED
    with pytest.raises(TransitionRefusedError):
        await house.kit.reopen_room(ROOM, organization_id=OURS)


async def test_the_channels_of_a_framework(house: House) -> None:
    kit = house.kit
    sms = kit.get_channel("sms")
    assert kit.list_channels() == [sms]
    assert kit.unregister_channel("sms") is sms
    assert (kit.get_channel("sms"), kit.list_channels()) == (None, [])
    assert kit.lock_manager is kit.locks


async def test_whoever_heard_of_commits_may_stop(house: House) -> None:
    kit = house.kit
    heard: list[RoomEvent] = []
    stop = kit.on_commit(heard.append)
    first = await kit.send_event(ROOM, "sms", "hi")
    stop()
    stop()
    await kit.send_event(ROOM, "sms", "again")
    await kit.idle(ROOM)
    assert heard == [first]


async def test_R221_tools_at_work_carry_their_agent(house: House) -> None:
    kit = house.kit
    done = EphemeralEventType.TOOL_CALL_END
    await kit.publish_tool_call(ROOM, "ai", [{"name": "clock"}])
    await kit.publish_tool_call(ROOM, "ai", [], done, duration_ms=5, organization_id=OURS)
    while len(house.heard) < 2:
        await asyncio.sleep(0)
    start, end = house.heard
    assert (start.user_id, start.channel_id, start.data) == (
        "ai",
        "ai",
        {"tool_calls": [{"name": "clock"}]},
    )
    assert (end.type, end.data) == (done, {"tool_calls": [], "duration_ms": 5})
