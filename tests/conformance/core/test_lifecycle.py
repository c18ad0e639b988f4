"""The life of a room (chapter 5; R21-R34)."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    soon,
    text,
)

from salon.core import RoomClosedError
from salon.models import (
    Access,
    ChannelType,
    EventSource,
    EventStatus,
    EventType,
    HookResult,
    HookTrigger,
    InjectedEvent,
    RoomContext,
    RoomEvent,
    RoomStatus,
    RoomTimers,
)


async def shut(stage: Stage, how: str) -> None:
    await (stage.kit.close_room(ROOM) if how == "closed" else stage.kit.archive_room(ROOM))
    await stage.settle()


@pytest.mark.parametrize("how", ["closed", "archived"])
async def test_R21_R23_a_shut_room_refuses_a_message_that_names_it(stage: Stage, how: str) -> None:
    other = RecordingTransport("web")
    refused = stage.listen("room_refused_event")
    await stage.room(RecordingTransport("sms"), other)
    await shut(stage, how)
    before = await stage.timeline()
    result = await stage.inbound("sms", "late")
    await stage.settle()
    assert (result.blocked, result.reason, result.event) == (True, "room_closed", None)
    assert await stage.timeline() == before
    assert other.got == []
    assert [event.room_id for event in refused] == [ROOM]


@pytest.mark.parametrize("how", ["closed", "archived"])
async def test_R21_R23_a_shut_room_refuses_direct_injection(stage: Stage, how: str) -> None:
    await stage.room(RecordingTransport("sms"))
    await shut(stage, how)
    before = await stage.timeline()
    with pytest.raises(RoomClosedError):
        await stage.send("sms", "late")
    assert await stage.timeline() == before


async def test_R21_R150_an_answer_that_lands_after_the_closing_is_refused(stage: Stage) -> None:
    sms, agent = RecordingTransport("sms"), ScriptedAgent("ai")
    agent.wait = asyncio.Event()
    await stage.room(sms, agent)
    call = stage.start(stage.inbound("sms", "hello"))
    await stage.settle()
    await stage.kit.close_room(ROOM)
    before = await stage.timeline()
    agent.wait.set()
    await call
    await stage.settle()
    assert await stage.timeline() == before
    assert sms.got == []


async def test_R21_a_hook_cannot_inject_into_a_room_it_closed(stage: Stage) -> None:
    sms = RecordingTransport("sms")
    await stage.room(sms)

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def shutting(event: RoomEvent, context: RoomContext) -> HookResult:
        await stage.kit.close_room(ROOM)
        note = RoomEvent(
            room_id=ROOM,
            source=EventSource(channel_id="system", channel_type=ChannelType.SYSTEM),
            content=text("bye"),
        )
        return HookResult.allow((InjectedEvent(note, ("sms",)),))

    result = await stage.inbound("sms", "hello")
    await stage.settle()
    assert (result.blocked, result.reason) == (True, "room_closed")
    assert await stage.messages() == []
    assert sms.got == []


async def test_R21_lifecycle_records_of_a_shut_room_are_not_written(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.kit.add_member(ROOM, "sms", "ann", display_name="Ann")
    await shut(stage, "closed")
    before = await stage.timeline()
    await stage.kit.rename_member(ROOM, "ann", "Anna")
    await stage.kit.mute(ROOM, "sms")
    await stage.kit.set_access(ROOM, "sms", Access.READ_ONLY)
    await stage.kit.detach_channel(ROOM, "sms")
    await stage.settle()
    assert await stage.timeline() == before


async def test_R22_closing_while_a_message_waits_for_the_lock_refuses_it(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    async with stage.kit.locks.locked(ROOM):
        call = asyncio.get_running_loop().create_task(
            stage.inbound("sms", "late"), context=contextvars.Context()
        )
        await stage.settle()
        room = await stage.read()
        room.status = RoomStatus.CLOSED
        await stage.kit.store.update_room(room)
    result = await soon(call)
    assert (result.blocked, result.reason) == (True, "room_closed")
    assert await stage.messages() == []


async def test_R22_close_takes_the_room_lock(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    async with stage.kit.locks.locked(ROOM):
        call = asyncio.get_running_loop().create_task(
            stage.kit.close_room(ROOM), context=contextvars.Context()
        )
        await stage.settle()
        assert (await stage.read()).status is RoomStatus.ACTIVE
    await soon(call)
    assert (await stage.read()).status is RoomStatus.CLOSED


async def test_R24_the_closing_itself_is_on_record(stage: Stage) -> None:
    heard, hooked = stage.listen("room_closed"), stage.hear(HookTrigger.ON_ROOM_CLOSED)
    await stage.room(RecordingTransport("sms"))
    await stage.kit.close_room(ROOM)
    await stage.settle()
    assert [event.room_id for event in heard] == [ROOM]
    assert [event.content.code for event in hooked] == ["room_closed"]
    assert (await stage.codes())[-1] == "room_closed"


async def test_R24_closing_twice_is_recorded_once(stage: Stage) -> None:
    heard = stage.listen("room_closed")
    await stage.room(RecordingTransport("sms"))
    await stage.kit.close_room(ROOM)
    await stage.kit.close_room(ROOM)
    await stage.settle()
    assert (await stage.codes()).count("room_closed") == 1
    assert len(heard) == 1


@pytest.mark.parametrize("how", ["closed", "archived"])
async def test_R25_a_shut_room_stays_readable(stage: Stage, how: str) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.inbound("sms", "hello")
    await shut(stage, how)
    store = stage.kit.store
    assert (await stage.kit.get_room(ROOM)).id == ROOM
    assert [e.text for e in await stage.kit.get_timeline(ROOM) if e.text] == ["hello"]
    assert [item.channel_id for item in await store.list_bindings(ROOM)] == ["sms"]
    assert [item.id for item in await store.list_participants(ROOM)] == ["ann"]


async def test_R26_a_channel_still_attached_has_no_way_to_append(stage: Stage) -> None:
    agent = ScriptedAgent("ai")
    await stage.room(RecordingTransport("sms"), agent)
    await shut(stage, "closed")
    before = await stage.timeline()
    await stage.inbound("sms", "one")
    await stage.inbound("sms", "two", sender="bob")
    with pytest.raises(RoomClosedError):
        await stage.send("ai", "three")
    assert await stage.timeline() == before
    assert agent.asked == []


async def test_R27_creating_a_room_is_announced_but_not_in_its_timeline(stage: Stage) -> None:
    heard, hooked = stage.listen("room_created"), stage.hear(HookTrigger.ON_ROOM_CREATED)
    room = await stage.kit.create_room("fresh", organization_id="acme")
    await stage.settle()
    assert room.status is RoomStatus.ACTIVE
    assert [(event.room_id, event.data["organization_id"]) for event in heard] == [
        ("fresh", "acme")
    ]
    assert [event.room_id for event in hooked] == ["fresh"]
    assert await stage.timeline("fresh") == []


async def test_R27_the_hook_runs_before_the_triggering_channel_is_attached(stage: Stage) -> None:
    stage.register(RecordingTransport("sms"))
    bound: list[list[str]] = []

    @stage.kit.hook(HookTrigger.ON_ROOM_CREATED)
    async def look(event: RoomEvent, context: RoomContext) -> HookResult:
        bindings = await stage.kit.store.list_bindings(event.room_id)
        bound.append([item.channel_id for item in bindings])
        return HookResult.allow()

    await stage.inbound("sms", room_id=None)
    assert bound == [[]]


async def timed(stage: Stage, pause: int | None = 60, close: int | None = 300) -> None:
    timers = RoomTimers(inactive_after_seconds=pause, closed_after_seconds=close)
    await stage.room(RecordingTransport("sms"), timers=timers)


async def test_R28_R31_an_idle_room_is_paused(stage: Stage) -> None:
    heard, hooked = stage.listen("room_paused"), stage.hear(HookTrigger.ON_ROOM_PAUSED)
    await timed(stage)
    await stage.inbound("sms")
    await asyncio.sleep(50)
    await stage.kit.check_all_timers()
    assert (await stage.read()).status is RoomStatus.ACTIVE
    await asyncio.sleep(15)
    await stage.kit.check_all_timers()
    await stage.settle()
    assert (await stage.read()).status is RoomStatus.PAUSED
    assert [event.room_id for event in heard] == [ROOM]
    assert len(hooked) == 1
    assert "room_paused_by_timer" in await stage.codes()


async def test_R29_R31_a_room_left_paused_is_closed(stage: Stage) -> None:
    heard, hooked = stage.listen("room_closed"), stage.hear(HookTrigger.ON_ROOM_CLOSED)
    await timed(stage)
    await stage.inbound("sms")
    await asyncio.sleep(61)
    await stage.kit.check_all_timers()
    await asyncio.sleep(290)
    await stage.kit.check_all_timers()
    assert (await stage.read()).status is RoomStatus.PAUSED
    await asyncio.sleep(15)
    await stage.kit.check_all_timers()
    await stage.settle()
    assert (await stage.read()).status is RoomStatus.CLOSED
    assert [event.room_id for event in heard] == [ROOM]
    assert len(hooked) == 1
    assert "room_closed_by_timer" in await stage.codes()


async def test_R29_each_transition_takes_the_instant_it_fell_due(stage: Stage) -> None:
    await timed(stage)
    start = stage.clock.now()
    await stage.inbound("sms")
    await asyncio.sleep(1000)
    await stage.kit.check_all_timers()
    room = await stage.read()
    assert room.status is RoomStatus.CLOSED
    assert room.closed_at is not None
    assert room.closed_at - start < timedelta(seconds=400)


async def test_R29_without_a_pause_there_is_no_close(stage: Stage) -> None:
    await timed(stage, pause=None, close=60)
    await stage.inbound("sms")
    await asyncio.sleep(1000)
    await stage.kit.check_all_timers()
    assert (await stage.read()).status is RoomStatus.ACTIVE


async def test_R28_activity_starts_the_idle_time_again(stage: Stage) -> None:
    await timed(stage)
    await stage.inbound("sms")
    await asyncio.sleep(50)
    await stage.inbound("sms")
    await asyncio.sleep(50)
    await stage.kit.check_all_timers()
    assert (await stage.read()).status is RoomStatus.ACTIVE


async def test_R29_a_message_resumes_a_paused_room(stage: Stage) -> None:
    await timed(stage)
    await stage.inbound("sms")
    await asyncio.sleep(61)
    await stage.kit.check_all_timers()
    result = await stage.inbound("sms", "back")
    assert not result.blocked
    await asyncio.sleep(50)
    await stage.kit.check_all_timers()
    room = await stage.read()
    assert (room.status, room.paused_at) == (RoomStatus.ACTIVE, None)


async def test_R30_a_room_without_activity_counts_from_its_creation(stage: Stage) -> None:
    timers = RoomTimers(inactive_after_seconds=60)
    await stage.kit.create_room(ROOM, timers=timers)
    await asyncio.sleep(61)
    await stage.kit.check_all_timers()
    assert (await stage.read()).status is RoomStatus.PAUSED


async def test_R30_new_thresholds_do_not_reset_the_idle_clock(stage: Stage) -> None:
    await timed(stage, pause=600)
    await stage.inbound("sms")
    last = (await stage.read()).timers.last_activity_at
    assert last is not None
    await asyncio.sleep(100)
    await stage.kit.set_room_timers(ROOM, RoomTimers(inactive_after_seconds=90))
    assert (await stage.read()).timers.last_activity_at == last
    await stage.kit.check_all_timers()
    assert (await stage.read()).status is RoomStatus.PAUSED


async def test_R32_timers_are_enforced_without_anybody_calling(stage: Stage) -> None:
    await timed(stage)
    await stage.inbound("sms")
    await asyncio.sleep(3600)
    assert (await stage.read()).status in (RoomStatus.PAUSED, RoomStatus.CLOSED)


async def test_R32_a_message_to_a_room_whose_close_is_overdue_is_refused(stage: Stage) -> None:
    await timed(stage, pause=1, close=1)
    await stage.inbound("sms")
    stage.clock.advance(10)
    result = await stage.inbound("sms", "late")
    assert (result.blocked, result.reason) == (True, "room_closed")


async def test_R33_archiving_is_announced_once_and_final(stage: Stage) -> None:
    heard = stage.listen("room_archived")
    await stage.room(RecordingTransport("sms"))
    await stage.kit.archive_room(ROOM)
    await stage.kit.archive_room(ROOM)
    await stage.settle()
    room = await stage.read()
    assert (room.status, len(heard)) == (RoomStatus.ARCHIVED, 1)
    assert room.closed_at is not None
    with pytest.raises(Exception, match=r"(?i)archived|closed"):
        await stage.kit.reopen_room(ROOM)
    assert (await stage.read()).status is RoomStatus.ARCHIVED


async def test_R21_R33_a_reopened_room_accepts_again(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.kit.close_room(ROOM)
    await stage.kit.reopen_room(ROOM)
    result = await stage.inbound("sms", "again")
    assert not result.blocked
    assert (await stage.read()).status is RoomStatus.ACTIVE


async def test_R21_a_paused_room_accepts(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.kit.pause_room(ROOM)
    assert (await stage.read()).status is RoomStatus.PAUSED
    assert not (await stage.inbound("sms")).blocked


async def test_R34_lifecycle_entries_are_the_frameworks_and_take_indices(stage: Stage) -> None:
    transport = RecordingTransport("sms")
    await stage.room(transport)
    await stage.inbound("sms", "hello")
    await stage.settle()
    record, words = await stage.timeline()
    assert (record.source.channel_id, record.source.channel_type) == (
        "system",
        ChannelType.SYSTEM,
    )
    assert (record.status, record.visibility) == (EventStatus.DELIVERED, "internal")
    assert (record.type, record.content.type) == (EventType.CHANNEL_ATTACHED, "system")
    assert (record.index, words.index) == (0, 1)
    assert transport.got == transport.told == []


OPERATIONS = [
    ("mute", EventType.CHANNEL_MUTED, "channel_muted", HookTrigger.ON_CHANNEL_MUTED),
    ("unmute", EventType.CHANNEL_UNMUTED, "channel_unmuted", HookTrigger.ON_CHANNEL_UNMUTED),
]


@pytest.mark.parametrize(("operation", "kind", "code", "trigger"), OPERATIONS)
async def test_R34_muting_is_recorded_and_hooked(
    stage: Stage, operation: str, kind: EventType, code: str, trigger: HookTrigger
) -> None:
    hooked = stage.hear(trigger)
    await stage.room(RecordingTransport("sms"))
    if operation == "unmute":
        await stage.kit.mute(ROOM, "sms")
    await getattr(stage.kit, operation)(ROOM, "sms")
    await stage.settle()
    last = (await stage.timeline())[-1]
    assert (last.type, (await stage.codes())[-1]) == (kind, code)
    assert [event.content.code for event in hooked] == [code]


async def test_R34_attach_and_detach_are_recorded_hooked_and_announced(stage: Stage) -> None:
    heard = stage.listen("room_channel_attached", "room_channel_detached")
    attached = stage.hear(HookTrigger.ON_CHANNEL_ATTACHED)
    detached = stage.hear(HookTrigger.ON_CHANNEL_DETACHED)
    await stage.room(RecordingTransport("sms"))
    await stage.kit.detach_channel(ROOM, "sms")
    await stage.settle()
    assert await stage.codes() == ["channel_attached", "channel_detached"]
    assert [event.type for event in heard] == ["room_channel_attached", "room_channel_detached"]
    assert (len(attached), len(detached)) == (1, 1)


async def test_R34_binding_changes_are_recorded(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.kit.set_access(ROOM, "sms", Access.READ_ONLY)
    await stage.kit.set_visibility(ROOM, "sms", "transport")
    await stage.kit.update_binding_metadata(ROOM, "sms", {"phone_number": "+15550100"})
    assert (await stage.codes())[1:] == [
        "channel_access_changed",
        "channel_visibility_changed",
        "channel_metadata_updated",
    ]
    kinds = {event.type for event in (await stage.timeline())[1:]}
    assert kinds == {EventType.CHANNEL_UPDATED}
    assert (await stage.binding("sms")).metadata == {"phone_number": "+15550100"}


async def test_R34_output_mute_and_room_metadata_leave_no_entry(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    before = await stage.timeline()
    await stage.kit.mute_output(ROOM, "sms")
    await stage.kit.unmute_output(ROOM, "sms")
    await stage.kit.update_room_metadata(ROOM, {"a": 1})
    await stage.kit.update_room_metadata(ROOM, {"b": 2})
    assert await stage.timeline() == before
    metadata = (await stage.read()).metadata
    assert (metadata["a"], metadata["b"]) == (1, 2)


async def test_R34_members_coming_and_going_are_recorded_and_hooked(stage: Stage) -> None:
    triggers = (
        HookTrigger.ON_PARTICIPANT_JOINED,
        HookTrigger.ON_PARTICIPANT_UPDATED,
        HookTrigger.ON_PARTICIPANT_LEFT,
    )
    hooked = [stage.hear(trigger) for trigger in triggers]
    await stage.room(RecordingTransport("sms"))
    await stage.kit.add_member(ROOM, "sms", "ann", display_name="Ann")
    await stage.kit.rename_member(ROOM, "ann", "Anna")
    await stage.kit.remove_member(ROOM, "ann")
    await stage.settle()
    assert (await stage.codes())[1:] == [
        "participant_joined",
        "participant_updated",
        "participant_left",
    ]
    assert [len(heard) for heard in hooked] == [1, 1, 1]


async def test_R21_a_stream_under_way_at_the_closing_is_not_stored(stage: Stage) -> None:
    gate = asyncio.Event()

    async def words() -> AsyncIterator[str]:
        yield "half "
        await gate.wait()
        yield "done"

    await stage.room(RecordingTransport("sms"), ScriptedAgent("ai", lambda *_: words()))
    call = stage.start(stage.inbound("sms", "hello"))
    await stage.settle()
    await stage.kit.close_room(ROOM)
    before = await stage.timeline()
    gate.set()
    await call
    await stage.settle()
    assert await stage.timeline() == before
    assert bodies(await stage.messages()) == ["hello"]
