"""Rooms, bindings and the framework: made, changed, closed (chapters 5 and 7)."""

from __future__ import annotations

import asyncio

import pytest

from salon.base import LocalProtocolError
from salon.core.errors import (
    ChannelAlreadyRegisteredError,
    ChannelNotFoundError,
    ChannelNotRegisteredError,
    RoomClosedError,
    RoomNotFoundError,
)
from salon.core.kit import RoomKit
from salon.core.lanes import LaneClosedError
from salon.models import (
    Access,
    ChannelCategory,
    EventSource,
    EventStatus,
    EventType,
    HookResult,
    HookTrigger,
    RoomContext,
    RoomEvent,
    RoomStatus,
    SystemContent,
)

from .helpers import (
    PATIENCE,
    ROOM,
    Agent,
    Transport,
    listen,
    message,
    room_with,
    text,
    timeline,
    words,
)


def codes(events: list[RoomEvent]) -> list[str | None]:
    return [e.content.code for e in events if isinstance(e.content, SystemContent)]


async def test_R21_R23_R25_a_closed_room_takes_nothing_and_stays_readable(kit: RoomKit) -> None:
    sms = Transport("sms")
    await room_with(kit, sms)
    await kit.add_member(ROOM, "sms", "ann")
    await kit.process_inbound(message("sms"), room_id=ROOM)
    refused = listen(kit, "room_refused_event")
    closed = await kit.close_room(ROOM)
    before = await timeline(kit)

    result = await kit.process_inbound(message("sms", "late"), room_id=ROOM)
    with pytest.raises(RoomClosedError):
        await kit.send_event(ROOM, "sms", text("late"))
    await kit.rename_member(ROOM, "ann", "Ann")
    await kit.mute(ROOM, "sms")

    assert (closed.status, closed.closed_at is not None) == (RoomStatus.CLOSED, True)
    assert (result.blocked, result.reason, result.event) == (True, "room_closed", None)
    assert await timeline(kit) == before
    assert len(refused) == 4
    assert len(await kit.history(ROOM, "sms")) == 1
    assert await kit.store.list_bindings(ROOM)


async def test_R24_the_closing_itself_is_observable(kit: RoomKit) -> None:
    seen: list[RoomEvent] = []

    async def on_closed(event: RoomEvent, context: RoomContext) -> None:
        seen.append(event)

    kit.add_hook(HookTrigger.ON_ROOM_CLOSED, on_closed)
    heard = listen(kit, "room_closed")
    await kit.create_room(ROOM)
    await kit.close_room(ROOM)
    await kit.close_room(ROOM)
    assert codes(await timeline(kit)) == ["room_closed"]
    assert len(seen) == len(heard) == 1


async def test_R22_close_while_a_message_waits_for_the_lock_refuses_it(kit: RoomKit) -> None:
    sms = Transport("sms")
    await room_with(kit, sms)
    async with kit.locks.locked(ROOM):
        parsed = asyncio.Event()

        async def parse(*_: object) -> None:
            parsed.set()

        sms.parse = parse
        # a context of its own, or the task would inherit the lock (R202)
        from contextvars import Context

        waiting = asyncio.get_running_loop().create_task(
            kit.process_inbound(message("sms"), room_id=ROOM), context=Context()
        )
        await parsed.wait()
        await kit.close_room(ROOM)
    assert (await waiting).reason == "room_closed"
    assert await words(kit) == []


async def test_R22_a_hook_that_closes_the_room_refuses_its_own_event(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))

    async def slam(event: RoomEvent, context: RoomContext) -> HookResult:
        await kit.close_room(ROOM)
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, slam)
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert result.reason == "room_closed"
    assert await words(kit) == []


async def test_R150_an_answer_after_the_close_is_refused(kit: RoomKit) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    class Slow(Agent):
        async def on_event(self, *args, **named):  # type: ignore[no-untyped-def]
            asked.set()
            await go.wait()
            return await super().on_event(*args, **named)

    await room_with(kit, Transport("sms"), Slow("bot"))
    call = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
    await asked.wait()
    await kit.close_room(ROOM)
    go.set()
    await asyncio.wait_for(call, PATIENCE)
    assert await words(kit) == [("hi", "delivered")]


async def test_R150_an_agent_is_not_asked_in_a_room_that_closed(kit: RoomKit) -> None:
    sms, bot = Transport("sms"), Agent("bot")
    other = Transport("other")
    other.hold = asyncio.Event()
    await room_with(kit, sms, other, bot)
    call = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
    while not (await words(kit)):
        await asyncio.sleep(0)
    await kit.close_room(ROOM)
    other.hold.set()
    await asyncio.wait_for(call, PATIENCE)
    assert bot.asked == []


async def test_R21_a_paused_room_accepts(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    room = await kit.get_room(ROOM)
    assert room is not None
    room.status = RoomStatus.PAUSED
    await kit.store.update_room(room)
    assert not (await kit.process_inbound(message("sms"), room_id=ROOM)).blocked


async def test_R27_a_room_announces_itself_once(kit: RoomKit) -> None:
    seen: list[str] = []

    @kit.hook(HookTrigger.ON_ROOM_CREATED)
    async def on_created(event: RoomEvent, context: RoomContext) -> None:
        seen.append(context.room.id)

    heard = listen(kit, "room_created")
    room = await kit.create_room(ROOM, organization_id="acme", metadata={"a": 1})
    with pytest.raises(ValueError, match="exists"):
        await kit.create_room(ROOM)
    assert seen == [ROOM]
    assert [e.data for e in heard] == [{"organization_id": "acme"}]
    assert (room.metadata, await timeline(kit)) == ({"a": 1}, [])


async def test_R34_lifecycle_entries_take_an_index_and_are_internal(kit: RoomKit) -> None:
    sms = Transport("sms")
    await room_with(kit, sms, Transport("other"))
    await kit.mute(ROOM, "sms")
    await kit.unmute(ROOM, "sms")
    await kit.set_access(ROOM, "sms", Access.READ_ONLY)
    await kit.set_visibility(ROOM, "sms", "other")
    await kit.detach_channel(ROOM, "other")
    stored = await timeline(kit)
    assert codes(stored) == [
        "channel_attached",
        "channel_attached",
        "channel_muted",
        "channel_unmuted",
        "channel_access_changed",
        "channel_visibility_changed",
        "channel_detached",
    ]
    assert [e.index for e in stored] == list(range(7))
    assert {(e.source.channel_id, e.status, e.visibility) for e in stored} == {
        ("system", EventStatus.DELIVERED, "internal")
    }
    await kit.idle(ROOM)
    assert sms.got == []


async def test_R34_hooks_and_framework_events_of_bindings(kit: RoomKit) -> None:
    seen: list[EventType] = []

    async def note(event: RoomEvent, context: RoomContext) -> None:
        seen.append(event.type)

    for trigger in (
        HookTrigger.ON_CHANNEL_ATTACHED,
        HookTrigger.ON_CHANNEL_DETACHED,
        HookTrigger.ON_CHANNEL_MUTED,
        HookTrigger.ON_CHANNEL_UNMUTED,
    ):
        kit.add_hook(trigger, note)
    heard = listen(kit)
    await room_with(kit, Transport("sms"))
    await kit.mute(ROOM, "sms")
    await kit.unmute(ROOM, "sms")
    await kit.detach_channel(ROOM, "sms")
    assert seen == [
        EventType.CHANNEL_ATTACHED,
        EventType.CHANNEL_MUTED,
        EventType.CHANNEL_UNMUTED,
        EventType.CHANNEL_DETACHED,
    ]
    names = [e.type for e in heard]
    assert "room_channel_attached" in names
    assert "room_channel_detached" in names


async def test_R45_registry(kit: RoomKit) -> None:
    heard = listen(kit)
    sms = Transport("sms")
    kit.register_channel(sms)
    with pytest.raises(ChannelAlreadyRegisteredError):
        kit.register_channel(Transport("sms"))
    await room_with(kit, sms)
    assert kit.unregister_channel("sms") is sms
    assert kit.unregister_channel("sms") is None
    assert sms.closed == 0
    assert await kit.store.get_binding(ROOM, "sms") is not None
    assert [e.type for e in heard if e.type.startswith("channel_")] == [
        "channel_registered",
        "channel_unregistered",
    ]


async def test_R46_attach_needs_a_channel_and_a_room_and_replaces(kit: RoomKit) -> None:
    await kit.create_room(ROOM)
    with pytest.raises(ChannelNotRegisteredError):
        await kit.attach_channel(ROOM, "sms")
    kit.register_channel(Agent("bot"))
    with pytest.raises(RoomNotFoundError):
        await kit.attach_channel("nowhere", "bot")
    await kit.attach_channel(ROOM, "bot")
    again = await kit.attach_channel(
        ROOM, "bot", muted=True, visibility="none", participant_id="p", metadata={"a": 1}
    )
    stored = await kit.store.list_bindings(ROOM)
    assert stored == [again]
    assert (again.category, again.muted, again.visibility, again.metadata) == (
        ChannelCategory.INTELLIGENCE,
        True,
        "none",
        {"a": 1},
    )


@pytest.mark.parametrize("bound_before", [False, True])
async def test_R47_a_channel_that_refuses_is_not_attached(kit: RoomKit, bound_before: bool) -> None:
    sms = Transport("sms")
    kit.register_channel(sms)
    await kit.create_room(ROOM)
    if bound_before:
        await kit.attach_channel(ROOM, "sms", visibility="none")
    before = (await timeline(kit), await kit.store.list_bindings(ROOM))
    sms.attach_failure = OSError("no")
    heard = listen(kit, "room_channel_attached")
    with pytest.raises(OSError, match="no"):
        await kit.attach_channel(ROOM, "sms")
    assert (await timeline(kit), await kit.store.list_bindings(ROOM)) == before
    assert heard == []


async def test_R48_detach_announces_before_it_raises(kit: RoomKit) -> None:
    sms = Transport("sms")
    await room_with(kit, sms)
    sms.detach_failure = OSError("no")
    heard = listen(kit, "room_channel_detached")
    with pytest.raises(OSError, match="no"):
        await kit.detach_channel(ROOM, "sms")
    assert len(heard) == 1
    assert await kit.store.list_bindings(ROOM) == []
    assert await kit.detach_channel(ROOM, "sms") is False
    with pytest.raises(RoomNotFoundError):
        await kit.detach_channel("nowhere", "sms")


async def test_R50_a_detached_channel_does_not_come_back_by_itself(kit: RoomKit) -> None:
    sms, other = Transport("sms"), Transport("other")
    await room_with(kit, sms, other)
    await kit.detach_channel(ROOM, "sms")
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert (result.blocked, result.reason) == (True, "source_unbound")
    assert result.event is not None
    assert result.event.blocked_by == "source_unbound"
    assert other.got == []

    # another framework on the same store knows it too
    async with RoomKit(store=kit.store, shutdown_timeout=0) as second:
        second.register_channel(Transport("sms"))
        second.register_channel(Transport("other"))
        again = await second.process_inbound(message("sms"), room_id=ROOM)
        assert again.reason == "source_unbound"

    await kit.attach_channel(ROOM, "sms")
    assert not (await kit.process_inbound(message("sms"), room_id=ROOM)).blocked


async def test_R50_a_channel_never_bound_is_attached(kit: RoomKit) -> None:
    await kit.create_room(ROOM)
    kit.register_channel(Transport("sms"))
    assert not (await kit.process_inbound(message("sms"), room_id=ROOM)).blocked
    assert await kit.store.get_binding(ROOM, "sms") is not None


async def test_R49_R50_a_message_widens_no_existing_binding(kit: RoomKit) -> None:
    await kit.create_room(ROOM)
    kit.register_channel(Transport("sms"))
    await kit.attach_channel(ROOM, "sms", access=Access.READ_ONLY, visibility="none")
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    binding = await kit.store.get_binding(ROOM, "sms")
    assert result.reason == "source_read_only"
    assert binding is not None
    assert (binding.access, binding.visibility) == (Access.READ_ONLY, "none")


async def test_changes_of_what_is_not_there_raise(kit: RoomKit) -> None:
    await kit.create_room(ROOM)
    kit.register_channel(Transport("sms"))
    with pytest.raises(ChannelNotFoundError):
        await kit.mute(ROOM, "sms")
    with pytest.raises(ChannelNotFoundError):
        await kit.send_event(ROOM, "sms", text("hi"))
    with pytest.raises(RoomNotFoundError):
        await kit.send_event("nowhere", "sms", text("hi"))
    with pytest.raises(RoomNotFoundError):
        await kit.close_room("nowhere")
    with pytest.raises(RoomNotFoundError):
        await kit.context("nowhere")
    with pytest.raises(ChannelNotRegisteredError):
        await kit.process_inbound(message("fax"))


async def test_R53_close_closes_everything_once_and_reports_all_failures() -> None:
    kit = RoomKit(shutdown_timeout=0)
    await kit.open()
    await kit.open()
    bad, good = Transport("bad"), Transport("good")
    bad.close_failure = OSError("stuck")
    kit.register_channel(bad)
    kit.register_channel(good)
    with pytest.raises(ExceptionGroup) as failed:
        await kit.close()
    await kit.close()
    assert failed.value.exceptions == (bad.close_failure,)
    assert (bad.closed, good.closed) == (1, 1)


async def test_R140_close_drains_the_lanes() -> None:
    kit = RoomKit(shutdown_timeout=PATIENCE)
    await kit.open()
    sms, other = Transport("sms"), Transport("other")
    other.hold = asyncio.Event()
    await room_with(kit, sms, other)
    await kit.process_inbound(message("sms"), room_id=ROOM, detached=True)
    closing = asyncio.create_task(kit.close())
    asyncio.get_running_loop().call_soon(other.hold.set)
    await asyncio.wait_for(closing, PATIENCE)
    assert other.bodies == ["hi"]


async def test_R140_close_aborts_what_hangs_and_releases_every_waiter() -> None:
    kit = RoomKit(shutdown_timeout=0)
    await kit.open()
    other = Transport("other")
    other.hold = asyncio.Event()
    await room_with(kit, Transport("sms"), other)
    first = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
    second = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
    while len(await words(kit)) < 2:
        await asyncio.sleep(0)
    await kit.close()
    for call in (first, second):
        result = await asyncio.wait_for(call, PATIENCE)
        assert result.event is not None  # it is committed; its delivery is to be resumed


async def test_R140_after_close_nothing_is_queued() -> None:
    kit = RoomKit(shutdown_timeout=0)
    await kit.open()
    await room_with(kit, Transport("sms"))
    await kit.close()
    with pytest.raises(LaneClosedError):
        await kit.process_inbound(message("sms"), room_id=ROOM)


async def test_R140_a_closed_framework_is_not_opened_again() -> None:
    kit = RoomKit(shutdown_timeout=0)
    await kit.open()
    await kit.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        await kit.open()
    with pytest.raises(LocalProtocolError):
        async with kit:
            raise AssertionError("never")


async def test_R34_records_of_the_host(kit: RoomKit) -> None:
    web = Transport("web")
    await room_with(kit, web)
    note = RoomEvent(
        room_id=ROOM,
        type=EventType.SYSTEM,
        source=EventSource(channel_id="system", channel_type="system"),
        content=SystemContent(body="cut off", code="cut"),
        visibility="transport",
    )
    stored = await kit.record(note)
    await kit.idle(ROOM)
    assert stored is not None
    assert [e.id for e in web.got] == [stored.id]
    assert await kit.record(note.model_copy(update={"room_id": "nowhere"})) is None
