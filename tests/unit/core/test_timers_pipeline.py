"""Timers, pauses and bans as messages meet them (R21-R32, AMB-4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from salon.core.errors import RoomClosedError
from salon.core.kit import RoomKit
from salon.models import HookResult, HookTrigger, RoomContext, RoomEvent, RoomStatus
from salon.models.enums import ParticipantStatus
from salon.testing import VirtualClock

from .helpers import ROOM, Agent, Transport, listen, message, room_with, text, timeline, words
from .services import code, timers

ACTIVE, PAUSED, CLOSED = RoomStatus.ACTIVE, RoomStatus.PAUSED, RoomStatus.CLOSED


@pytest.fixture
async def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def kit(clock: VirtualClock) -> AsyncIterator[RoomKit]:
    """Swept only by what happens in its rooms."""
    async with RoomKit(shutdown_timeout=0, clock=clock, timer_interval=None) as kit:
        yield kit


async def status(kit: RoomKit) -> RoomStatus:
    return (await kit.store.get_room(ROOM) or pytest.fail("no room")).status


async def codes(kit: RoomKit) -> list[str | None]:
    return [code(event) for event in await timeline(kit)]


async def test_R28_AMB4_a_message_meets_the_pause_and_ends_it(
    kit: RoomKit, clock: VirtualClock
) -> None:
    heard = listen(kit)
    await kit.create_room(ROOM, timers=timers(60, 600))
    await room_with(kit, Transport("sms"))
    clock.advance(100)
    assert not (await kit.process_inbound(message("sms"), room_id=ROOM)).blocked
    assert await status(kit) is ACTIVE
    assert await codes(kit) == ["channel_attached", "room_paused_by_timer", None]
    names = [event.type for event in heard]
    assert names.index("room_paused") < names.index("room_resumed")
    clock.advance(59)
    assert (await kit.check_room_timers(ROOM)).status is ACTIVE
    clock.advance(1)
    assert (await kit.check_room_timers(ROOM)).status is PAUSED


async def test_R21_R29_a_message_that_comes_after_the_closing_fell_due_is_refused(
    kit: RoomKit, clock: VirtualClock
) -> None:
    sms = Transport("sms")
    await kit.create_room(ROOM, timers=timers(60, 90))
    await room_with(kit, sms)
    clock.advance(150)
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert (result.blocked, result.reason) == (True, "room_closed")
    with pytest.raises(RoomClosedError):
        await kit.send_event(ROOM, "sms", text("late"))
    assert await words(kit) == []
    assert (await codes(kit))[1:] == ["room_paused_by_timer", "room_closed_by_timer"]
    await kit.idle(ROOM)
    assert sms.got == []


async def test_AMB4_a_refused_message_resumes_nothing(kit: RoomKit, clock: VirtualClock) -> None:
    await kit.create_room(ROOM, timers=timers(60))
    await room_with(kit, Transport("sms"))
    await kit.mute(ROOM, "sms")
    clock.advance(100)
    assert (await kit.process_inbound(message("sms"), room_id=ROOM)).reason == "source_muted"
    assert await status(kit) is PAUSED


async def test_AMB4_a_lifecycle_record_resumes_nothing(kit: RoomKit, clock: VirtualClock) -> None:
    await kit.create_room(ROOM, timers=timers(60))
    await room_with(kit, Transport("sms"))
    clock.advance(100)
    await kit.add_member(ROOM, "sms", "ann")
    await kit.mute(ROOM, "sms")
    assert await status(kit) is PAUSED


async def test_AMB4_an_agents_answer_keeps_a_room_awake(kit: RoomKit, clock: VirtualClock) -> None:
    class Slow(Agent):
        async def on_event(self, *args, **named):  # type: ignore[no-untyped-def]
            clock.advance(100)
            return await super().on_event(*args, **named)

    await kit.create_room(ROOM, timers=timers(60, 600))
    await room_with(kit, Transport("sms"), Slow("bot"))
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert (await codes(kit))[2:] == [None, "room_paused_by_timer", None]
    assert await status(kit) is ACTIVE


async def test_R22_what_falls_due_while_hooks_run_counts(kit: RoomKit, clock: VirtualClock) -> None:
    await kit.create_room(ROOM, timers=timers(60, 90))
    await room_with(kit, Transport("sms"))

    async def slow(event: RoomEvent, context: RoomContext) -> HookResult:
        clock.advance(1000)
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, slow)
    assert (await kit.process_inbound(message("sms"), room_id=ROOM)).reason == "room_closed"
    assert await status(kit) is CLOSED


async def test_an_explicit_pause_ends_with_the_next_message(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    await kit.pause_room(ROOM)
    assert await status(kit) is PAUSED
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert await status(kit) is ACTIVE


async def test_a_reopened_room_takes_messages_again(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    await kit.close_room(ROOM)
    assert (await kit.process_inbound(message("sms"), room_id=ROOM)).reason == "room_closed"
    await kit.reopen_room(ROOM)
    assert not (await kit.process_inbound(message("sms"), room_id=ROOM)).blocked


async def test_R32_rooms_are_closed_without_anybody_asking(clock: VirtualClock) -> None:
    async with RoomKit(shutdown_timeout=0, clock=clock, timer_interval=5.0) as kit:
        closed = listen(kit, "room_closed")
        await kit.create_room(ROOM, timers=timers(60, 90))
        await asyncio.sleep(160)
        assert await status(kit) is CLOSED
        assert len(closed) == 1


async def test_a_banned_sender_is_refused_and_leaves_nothing(kit: RoomKit) -> None:
    sms, web = Transport("sms"), Transport("web")
    await room_with(kit, sms, web)
    await kit.process_inbound(message("sms"), room_id=ROOM)
    banned = await kit.remove_member(ROOM, "ann", status=ParticipantStatus.BANNED)
    before = await timeline(kit)
    for channel in ("sms", "web"):
        result = await kit.process_inbound(message(channel, "let me in"), room_id=ROOM)
        assert result.blocked
        assert result.event is None
    assert await timeline(kit) == before
    assert await kit.store.get_participant(ROOM, "ann") == banned
    await kit.add_member(ROOM, "sms", "ann")
    assert not (await kit.process_inbound(message("sms"), room_id=ROOM)).blocked
