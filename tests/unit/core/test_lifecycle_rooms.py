"""The status of rooms, and what else may be changed about them (chapter 5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from salon.core.errors import RoomNotFoundError
from salon.core.rooms import DETACHED_KEY, TransitionRefusedError
from salon.models import (
    AgentResponsePolicy,
    HookTrigger,
    Participant,
    Room,
    RoomContext,
    RoomEvent,
    RoomStatus,
)
from salon.models.base import utc_now

from .helpers import PATIENCE, ROOM, Transport
from .services import Services, timers

ACTIVE, PAUSED = RoomStatus.ACTIVE, RoomStatus.PAUSED
CLOSED, ARCHIVED = RoomStatus.CLOSED, RoomStatus.ARCHIVED


@pytest.fixture
async def kit() -> AsyncIterator[Services]:
    services = Services(interval=None)
    yield services
    await services.close()


# -- create and get -------------------------------------------------------------------------------


async def test_R27_a_room_is_stored_as_given_by_the_clock(kit: Services) -> None:
    heard = kit.listen(HookTrigger.ON_ROOM_CREATED)
    made = await kit.room(
        organization_id="acme",
        timers=timers(60, 90),
        agent_response_policy=AgentResponsePolicy.ADDRESSED_ONLY,
        metadata={"a": 1},
    )
    assert made == await kit.now()
    assert (made.created_at, made.updated_at) == (kit.clock.now(), kit.clock.now())
    assert (made.timers, made.metadata) == (timers(60, 90), {"a": 1})
    assert made.agent_response_policy is AgentResponsePolicy.ADDRESSED_ONLY
    assert (made.event_count, made.latest_index) == (0, None)  # AMB-10
    assert heard.hooks == [("on_room_created", "room_created", False)]
    assert await kit.entries() == []
    with pytest.raises(ValueError, match="room"):
        await kit.room()


async def test_a_given_creation_time_is_kept(kit: Services) -> None:
    born = utc_now() - timedelta(days=400)
    assert (await kit.room(created_at=born)).created_at == born


async def test_AMB3_a_room_is_furnished_before_creation_returns_even_under_the_lock(
    kit: Services,
) -> None:
    await kit.register(Transport("web"))

    async def furnish(event: RoomEvent, context: RoomContext) -> None:
        await kit.bindings.attach(context.room.id, "web")

    kit.hooks.add(HookTrigger.ON_ROOM_CREATED, furnish)
    async with kit.locks.locked(ROOM):
        await kit.room()
        assert await kit.store.binding_exists(ROOM, "web")


async def test_a_room_deleted_by_its_own_hook_is_no_failure(kit: Services) -> None:
    async def away(event: RoomEvent, context: RoomContext) -> None:
        await kit.rooms.delete(ROOM)

    kit.hooks.add(HookTrigger.ON_ROOM_CREATED, away)
    await kit.room()
    with pytest.raises(RoomNotFoundError):
        await kit.now()


async def test_R267_another_tenants_room_is_not_there(kit: Services) -> None:
    made = await kit.room(organization_id="acme")
    await kit.room("free")
    assert await kit.rooms.get(ROOM) == made
    assert await kit.rooms.get(ROOM, organization_id="acme") == made
    for room_id, tenant in ((ROOM, "other"), ("free", "acme"), ("nowhere", None), (ROOM, "")):
        with pytest.raises(RoomNotFoundError):
            await kit.rooms.get(room_id, organization_id=tenant)


# -- status ---------------------------------------------------------------------------------------


async def test_R24_closing_is_recorded_in_the_closed_room(kit: Services) -> None:
    heard = kit.listen(HookTrigger.ON_ROOM_CLOSED)
    await kit.room()
    kit.clock.advance(10)
    closed = await kit.rooms.close(ROOM)
    assert (closed.status, closed.closed_at) == (CLOSED, kit.clock.now())
    assert closed == await kit.now()
    assert await kit.rooms.close(ROOM) == closed
    assert await kit.codes() == ["room_closed"]
    assert heard.hooks == [("on_room_closed", "room_closed", False)]
    assert heard.names == ["room_created", "room_closed"]


async def test_R29_a_pause_is_a_transition_and_the_closing_counts_from_it(kit: Services) -> None:
    heard = kit.listen(HookTrigger.ON_ROOM_PAUSED)
    await kit.room(timers=timers(None, 90))
    kit.clock.advance(500)
    paused = await kit.rooms.pause(ROOM)
    assert (paused.status, paused.paused_at) == (PAUSED, kit.clock.now())
    assert await kit.rooms.pause(ROOM) == paused
    assert await kit.codes() == ["room_paused"]
    assert heard.hooks == [("on_room_paused", "room_paused", False)]
    kit.clock.advance(89)
    assert (await kit.timers.check(ROOM)).status is PAUSED
    kit.clock.advance(1)
    assert (await kit.timers.check(ROOM)).status is CLOSED


async def test_R30_a_resumed_room_has_its_whole_time_again(kit: Services) -> None:
    await kit.room(timers=timers(60))
    kit.clock.advance(500)
    resumed = await kit.rooms.resume(ROOM)
    assert (resumed.status, resumed.paused_at) == (ACTIVE, None)
    assert resumed.timers.last_activity_at == kit.clock.now()
    assert await kit.codes() == ["room_paused_by_timer", "room_resumed"]
    assert kit.heard.names[-1] == "room_resumed"
    assert await kit.rooms.resume(ROOM) == resumed
    kit.clock.advance(59)
    assert (await kit.timers.check(ROOM)).status is ACTIVE


async def test_a_closed_room_is_reopened_with_its_whole_time(kit: Services) -> None:
    await kit.room(timers=timers(60, 90))
    kit.clock.advance(10_000)
    reopened = await kit.rooms.reopen(ROOM)
    assert (reopened.status, reopened.closed_at, reopened.paused_at) == (ACTIVE, None, None)
    assert await kit.codes() == ["room_paused_by_timer", "room_closed_by_timer", "room_reopened"]
    assert kit.heard.names[-1] == "room_reopened"
    kit.clock.advance(59)
    assert (await kit.timers.check(ROOM)).status is ACTIVE
    assert kit.timeline.refused == []


async def test_an_open_room_is_not_reopened(kit: Services) -> None:
    await kit.room()
    assert (await kit.rooms.reopen(ROOM)).status is ACTIVE
    await kit.rooms.pause(ROOM)
    assert (await kit.rooms.reopen(ROOM)).status is PAUSED
    assert await kit.codes() == ["room_paused"]


async def test_R33_archiving_ends_it(kit: Services) -> None:
    await kit.room()
    kit.clock.advance(10)
    archived = await kit.rooms.archive(ROOM)
    assert (archived.status, archived.closed_at) == (ARCHIVED, kit.clock.now())
    kit.clock.advance(10)
    assert await kit.rooms.archive(ROOM) == archived
    assert kit.heard.names == ["room_created", "room_archived"]
    assert await kit.entries() == []


async def test_R33_the_time_of_the_close_stays(kit: Services) -> None:
    await kit.room()
    closed = await kit.rooms.close(ROOM)
    kit.clock.advance(10)
    assert (await kit.rooms.archive(ROOM)).closed_at == closed.closed_at


async def test_R33_a_paused_room_is_archived_without_its_pause(kit: Services) -> None:
    await kit.room()
    await kit.rooms.pause(ROOM)
    assert (await kit.rooms.archive(ROOM)).paused_at is None


@pytest.mark.parametrize(
    ("begin", "transition"),
    [
        ("archive", "close"),
        ("archive", "pause"),
        ("archive", "resume"),
        ("archive", "reopen"),
        ("close", "pause"),
        ("close", "resume"),
    ],
)
async def test_what_the_table_does_not_have_is_refused(
    kit: Services, begin: str, transition: str
) -> None:
    await kit.room()
    before = await getattr(kit.rooms, begin)(ROOM)
    with pytest.raises(TransitionRefusedError, match=f"cannot {transition} room 'room'") as refused:
        await getattr(kit.rooms, transition)(ROOM)
    assert (refused.value.status, refused.value.code) == (before.status, "transition_refused")
    assert await kit.now() == before


async def test_the_unknown_room_raises(kit: Services) -> None:
    for change in ("close", "pause", "resume", "reopen", "archive", "delete"):
        with pytest.raises(RoomNotFoundError):
            await getattr(kit.rooms, change)("nowhere")
    with pytest.raises(RoomNotFoundError):
        await kit.rooms.set_timers("nowhere", timers(1))
    with pytest.raises(RoomNotFoundError):
        await kit.rooms.set_policy("nowhere", AgentResponsePolicy.ADDRESSED_ONLY)
    with pytest.raises(RoomNotFoundError):
        await kit.rooms.update_metadata("nowhere", {})


async def test_a_close_given_up_is_not_left_half_done(kit: Services) -> None:
    writing, go = asyncio.Event(), asyncio.Event()
    written = kit.store.update_room

    async def slow(room: Room) -> Room:
        writing.set()
        await go.wait()
        return await written(room)

    await kit.room()
    kit.store.update_room = slow  # type: ignore[method-assign]
    closing = asyncio.create_task(kit.rooms.close(ROOM))
    await writing.wait()
    closing.cancel()
    await asyncio.sleep(1)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(closing, PATIENCE)
    assert ((await kit.now()).status, await kit.codes()) == (CLOSED, ["room_closed"])


# -- delete ---------------------------------------------------------------------------------------


async def test_R211_a_deleted_room_is_gone_and_its_channels_know(kit: Services) -> None:
    told: list[str] = []

    class Told(Transport):
        async def on_room_detached(self, room_id: str) -> None:
            told.append(self.channel_id)
            await super().on_room_detached(room_id)

    bad, gone, good = Told("bad"), Told("gone"), Told("good")
    await kit.room()
    for channel in (bad, gone, good):
        await kit.register(channel)
        await kit.bindings.attach(ROOM, channel.channel_id)
    kit.channels.remove("gone")
    bad.detach_failure = OSError("no")
    await kit.contexts.build(ROOM)
    with pytest.raises(ExceptionGroup) as failed:
        await kit.rooms.delete(ROOM)
    assert failed.value.exceptions == (bad.detach_failure,)
    assert told == ["bad", "good"]
    assert kit.heard.names[-1] == "room_deleted"
    with pytest.raises(RoomNotFoundError):
        await kit.rooms.delete(ROOM)
    again = await kit.room()
    assert again.event_count == 0
    assert (await kit.contexts.build(ROOM)).bindings == ()


async def test_R211_a_room_of_the_same_id_remembers_nothing(kit: Services) -> None:
    await kit.room()
    await kit.say()
    assert len((await kit.contexts.build(ROOM)).recent_events) == 1
    await kit.rooms.delete(ROOM)
    await kit.room()
    assert (await kit.contexts.build(ROOM)).recent_events == ()


async def test_AMB21_a_room_that_came_to_nothing_is_discarded(kit: Services) -> None:
    await kit.room()
    assert await kit.rooms.discard(ROOM)
    assert not await kit.rooms.discard(ROOM)
    await kit.room()
    await kit.register(Transport("web"))
    await kit.bindings.attach(ROOM, "web")
    assert not await kit.rooms.discard(ROOM)
    await kit.room("said")
    await kit.say("said")
    await kit.room("met")
    await kit.store.add_participant(Participant(id="ann", room_id="met", channel_id="web"))
    await kit.room("noted")
    await kit.rooms.update_metadata("noted", {"a": 1})
    for room_id in ("said", "met", "noted"):
        assert not await kit.rooms.discard(room_id)
    assert kit.heard.names.count("room_deleted") == 1


# -- settings -------------------------------------------------------------------------------------


async def test_R34_metadata_is_merged_silently(kit: Services) -> None:
    heard = kit.listen(*HookTrigger)
    await kit.room(metadata={"a": 1, "b": 1})
    before = (len(heard.hooks), len(heard.events))
    changed = await kit.rooms.update_metadata(ROOM, {"b": 2, "c": None})
    assert changed.metadata == {"a": 1, "b": 2, "c": None}
    assert await kit.now() == changed
    assert (len(heard.hooks), len(heard.events)) == before
    assert await kit.entries() == []


async def test_R50_metadata_does_not_undo_a_detach(kit: Services) -> None:
    await kit.room()
    with pytest.raises(ValueError, match="follows attach and detach"):
        await kit.rooms.update_metadata(ROOM, {DETACHED_KEY: []})


async def test_R91_the_policy_of_a_room_may_change(kit: Services) -> None:
    await kit.room()
    await kit.say()
    changed = await kit.rooms.set_policy(ROOM, AgentResponsePolicy.ADDRESSED_ONLY)
    assert changed.agent_response_policy is AgentResponsePolicy.ADDRESSED_ONLY
    assert (await kit.now(), changed.event_count) == (changed, 1)


async def test_timers_may_be_taken_away(kit: Services) -> None:
    await kit.room(timers=timers(60, 90))
    assert (await kit.rooms.set_timers(ROOM, timers(None))).timers == timers(None)
    kit.clock.advance(1000)
    assert (await kit.timers.check(ROOM)).status is ACTIVE


async def test_rooms_do_without_timers() -> None:
    kit = Services(timed=False)
    await kit.room(timers=timers(0, 0))
    kit.clock.advance(10)
    assert (await kit.rooms.set_timers(ROOM, timers(1))).status is ACTIVE
    await kit.close()
