"""Idle rooms are paused, then closed (R28-R32, AMB-4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.core.errors import RoomNotFoundError
from salon.core.memory.store import InMemoryStore
from salon.core.timers import Transition, due, is_timed
from salon.models import HookTrigger, Room, RoomContext, RoomEvent, RoomStatus
from salon.models.base import utc_now
from salon.testing import VirtualClock

from .helpers import PATIENCE, ROOM, Transport
from .services import Services, data, timers

ACTIVE, PAUSED, CLOSED = RoomStatus.ACTIVE, RoomStatus.PAUSED, RoomStatus.CLOSED


@pytest.fixture
async def kit() -> AsyncIterator[Services]:
    services = Services(interval=None)
    yield services
    await services.close()


def after(moment: datetime, seconds: float) -> datetime:
    return moment + timedelta(seconds=seconds)


# -- what is due ----------------------------------------------------------------------------------


def room(status: RoomStatus = ACTIVE, idle: int | None = 60, closed: int | None = 90) -> Room:
    return Room(status=status, timers=timers(idle, closed))


def test_R28_an_idle_room_is_paused_when_that_long_has_passed() -> None:
    idle = room()
    at = after(idle.created_at, 60)
    assert due(idle, after(at, -0.001)) == ()
    assert due(idle, at) == (Transition(PAUSED, at, 60),)


def test_R30_activity_moves_the_clock() -> None:
    idle = room()
    idle.timers.last_activity_at = after(idle.created_at, 1000)
    assert due(idle, after(idle.created_at, 1059)) == ()
    assert due(idle, after(idle.created_at, 1060)) == (
        Transition(PAUSED, after(idle.created_at, 1060), 60),
    )


def test_R29_the_closing_counts_from_the_pause_and_both_may_be_due() -> None:
    idle = room()
    paused, closed = after(idle.created_at, 60), after(idle.created_at, 150)
    assert due(idle, after(closed, -1)) == (Transition(PAUSED, paused, 60),)
    assert due(idle, after(closed, 10_000)) == (
        Transition(PAUSED, paused, 60),
        Transition(CLOSED, closed, 90),
    )


def test_R29_a_paused_room_closes_by_its_pause_whatever_was_said_before() -> None:
    paused = room(PAUSED)
    paused.paused_at = after(paused.created_at, 10)
    paused.timers.last_activity_at = after(paused.created_at, 50)
    assert due(paused, after(paused.created_at, 99)) == ()
    assert due(paused, after(paused.created_at, 100)) == (
        Transition(CLOSED, after(paused.created_at, 100), 90),
    )


def test_AMB4_an_active_room_never_closes_without_a_pause() -> None:
    assert due(room(idle=None), after(utc_now(), 1e6)) == ()


def test_nothing_is_due_without_thresholds_or_at_the_end() -> None:
    late = after(utc_now(), 1e6)
    assert due(room(idle=None, closed=None), late) == ()
    assert due(room(CLOSED), late) == ()
    assert due(room(RoomStatus.ARCHIVED), late) == ()
    assert due(room(PAUSED), late) == ()  # nobody wrote when it was paused
    assert not is_timed(room(idle=None, closed=None))


def test_thresholds_beyond_the_calendar_are_never_due() -> None:
    assert due(room(idle=10**18), after(utc_now(), 1e6)) == ()


@given(
    idle=st.none() | st.integers(0, 300),
    closed=st.none() | st.integers(0, 300),
    steps=st.lists(st.integers(0, 200), min_size=1, max_size=6),
)
def test_R32_how_often_somebody_looks_changes_nothing(
    idle: int | None, closed: int | None, steps: list[int]
) -> None:
    """The instants are the same, looked at in steps or once at the end."""
    looked, once = room(idle=idle, closed=closed), room(idle=idle, closed=closed)
    once.created_at = looked.created_at
    now, found = looked.created_at, list[Transition]()
    for step in steps:
        now = after(now, step)
        for transition in due(looked, now):
            found.append(transition)
            looked.status = transition.status
            looked.paused_at = transition.at if transition.status is PAUSED else None
    assert tuple(found) == due(once, now)


# -- applied --------------------------------------------------------------------------------------


async def test_R28_R31_the_pause_is_recorded_announced_and_hooked(kit: Services) -> None:
    heard = kit.listen(HookTrigger.ON_ROOM_PAUSED, HookTrigger.ON_ROOM_CLOSED)
    made = await kit.room(timers=timers(60))
    kit.clock.advance(59)
    assert (await kit.timers.check(ROOM)).status is ACTIVE
    kit.clock.advance(100)
    paused = await kit.timers.check(ROOM)
    at = after(made.created_at, 60)
    assert (paused.status, paused.paused_at, paused.closed_at) == (PAUSED, at, None)
    assert paused == await kit.now()
    (entry,) = await kit.entries()
    assert await kit.codes() == ["room_paused_by_timer"]
    assert data(entry) == {"threshold": 60, "at": at.isoformat()}
    assert (entry.source.channel_id, entry.visibility) == ("system", "internal")
    assert entry.created_at == kit.clock.now()
    assert heard.names == ["room_created", "room_paused"]
    assert heard.events[-1].data == {"reason": "timer", "at": at.isoformat()}
    await asyncio.sleep(0.01)
    assert heard.hooks == [("on_room_paused", "room_paused_by_timer", False)]
    assert (await kit.timers.check(ROOM)) == paused
    assert len(await kit.entries()) == 1


async def test_R29_R31_R24_both_at_once_each_with_its_instant(kit: Services) -> None:
    heard = kit.listen(HookTrigger.ON_ROOM_PAUSED, HookTrigger.ON_ROOM_CLOSED)
    made = await kit.room(timers=timers(60, 90))
    kit.clock.advance(10_000)
    closed = await kit.timers.check(ROOM)
    assert (closed.status, closed.paused_at) == (CLOSED, None)
    assert closed.closed_at == after(made.created_at, 150)
    assert await kit.codes() == ["room_paused_by_timer", "room_closed_by_timer"]
    assert heard.names == ["room_created", "room_paused", "room_closed"]
    await asyncio.sleep(0.01)
    assert heard.triggers == ["on_room_paused", "on_room_closed"]
    assert kit.timeline.refused == []


async def test_R29_the_entry_of_a_pause_does_not_delay_the_closing(kit: Services) -> None:
    made = await kit.room(timers=timers(60, 90))
    kit.clock.advance(100)
    await kit.timers.check(ROOM)
    kit.clock.advance(50)
    closed = await kit.timers.check(ROOM)
    assert (closed.status, closed.closed_at) == (CLOSED, after(made.created_at, 150))


async def test_R28_thresholds_of_zero_are_due_at_once(kit: Services) -> None:
    made = await kit.room(timers=timers(0, 0))
    closed = await kit.timers.check(ROOM)
    assert (closed.status, closed.closed_at) == (CLOSED, made.created_at)


async def test_R30_every_commit_restarts_the_clock_and_resumes_a_paused_room(
    kit: Services,
) -> None:
    await kit.room(timers=timers(60, 90))
    kit.clock.advance(50)
    await kit.say()
    kit.clock.advance(50)
    assert (await kit.timers.check(ROOM)).status is ACTIVE
    kit.clock.advance(20)
    assert (await kit.timers.check(ROOM)).status is PAUSED
    await kit.say()
    resumed = await kit.now()
    assert (resumed.status, resumed.paused_at) == (ACTIVE, None)
    assert kit.heard.names[-1] == "room_resumed"
    assert kit.heard.events[-1].data == {"reason": "activity"}
    kit.clock.advance(59)
    assert (await kit.timers.check(ROOM)).status is ACTIVE
    kit.clock.advance(1)
    assert (await kit.timers.check(ROOM)).status is PAUSED


async def test_AMB4_only_a_paused_room_is_resumed(kit: Services) -> None:
    await kit.room()
    active = await kit.now()
    assert await kit.timers.resumed(active) is active
    assert kit.heard.names == ["room_created"]


async def test_R32_any_locked_section_applies_what_is_due(kit: Services) -> None:
    await kit.room(timers=timers(60, 90))
    await kit.register(Transport("sms"))
    kit.clock.advance(70)
    await kit.bindings.attach(ROOM, "sms")
    assert await kit.codes() == ["room_paused_by_timer", "channel_attached"]
    assert (await kit.now()).status is PAUSED  # a record is no conversation
    kit.clock.advance(80)
    await kit.people.add(ROOM, "sms", "ann")
    assert (await kit.now()).status is CLOSED
    assert [event.type.value for event in kit.timeline.refused] == ["participant_joined"]


async def test_R30_other_thresholds_leave_the_clock_alone(kit: Services) -> None:
    await kit.room()
    await kit.say()
    begun = kit.clock.now()
    kit.clock.advance(100)
    await kit.rooms.set_timers(ROOM, timers(30).model_copy(update={"last_activity_at": utc_now()}))
    changed = await kit.now()
    assert changed.timers.inactive_after_seconds == 30
    assert changed.timers.last_activity_at == begun
    assert (await kit.timers.check(ROOM)).paused_at == after(begun, 30)


async def test_R30_what_was_due_under_the_old_thresholds_comes_first(kit: Services) -> None:
    made = await kit.room(timers=timers(60))
    kit.clock.advance(100)
    changed = await kit.rooms.set_timers(ROOM, timers(None, 500))
    assert (changed.status, changed.paused_at) == (PAUSED, after(made.created_at, 60))


async def test_a_transition_is_not_left_half_done(kit: Services) -> None:
    """Whoever waits for it may be cancelled; status and entry stay together."""
    writing, go = asyncio.Event(), asyncio.Event()
    written = kit.store.update_room

    async def slow(room: Room) -> Room:
        writing.set()
        await go.wait()
        return await written(room)

    await kit.room(timers=timers(60))
    kit.clock.advance(60)
    kit.store.update_room = slow  # type: ignore[method-assign]
    check = asyncio.create_task(kit.timers.check(ROOM))
    await writing.wait()
    check.cancel()
    asyncio.get_running_loop().call_soon(go.set)
    with pytest.raises(asyncio.CancelledError):
        await check
    assert (await kit.now()).status is PAUSED
    assert await kit.codes() == ["room_paused_by_timer"]


async def test_a_failed_transition_of_a_cancelled_caller_is_logged(
    kit: Services, caplog: pytest.LogCaptureFixture
) -> None:
    writing, go = asyncio.Event(), asyncio.Event()

    async def fail(room: Room) -> Room:
        writing.set()
        await go.wait()
        raise OSError("disk full")

    await kit.room(timers=timers(60))
    kit.clock.advance(60)
    kit.store.update_room = fail  # type: ignore[method-assign]
    check = asyncio.create_task(kit.timers.check(ROOM))
    await writing.wait()
    check.cancel()
    asyncio.get_running_loop().call_soon(go.set)
    with pytest.raises(asyncio.CancelledError):
        await check
    assert "work that had to be ended failed" in caplog.text


async def test_the_unknown_room_raises(kit: Services) -> None:
    with pytest.raises(RoomNotFoundError):
        await kit.timers.check("nowhere")


async def test_hooks_do_not_run_under_the_lock_of_a_transition(kit: Services) -> None:
    """A hook that needs the room gets it: nobody waits for the hook."""
    done = asyncio.Event()

    async def reopen(event: RoomEvent, context: RoomContext) -> None:
        await kit.rooms.resume(ROOM)
        done.set()

    kit.hooks.add(HookTrigger.ON_ROOM_PAUSED, reopen)
    await kit.room(timers=timers(60))
    kit.clock.advance(60)
    await kit.timers.check(ROOM)
    await asyncio.wait_for(done.wait(), PATIENCE)
    assert (await kit.now()).status is ACTIVE


# -- sweeps ---------------------------------------------------------------------------------------


async def test_R32_check_all_finds_every_room_that_is_due() -> None:
    kit = Services(interval=None, batch=3)
    for number in range(10):
        await kit.room(f"r{number}", timers=timers(60 if number else 600))
    kit.clock.advance(60)
    changed = await kit.timers.check_all()
    assert sorted(room.id for room in changed) == [f"r{number}" for number in range(1, 10)]
    assert {room.status for room in changed} == {PAUSED}
    assert await kit.timers.check_all() == []


async def test_R32_R267_only_the_rooms_of_one_organization_are_brought_up_to_date() -> None:
    """However many of others are due before them."""
    kit = Services(interval=None, batch=2)
    for number in range(7):
        await kit.room(f"theirs{number}", timers=timers(60), organization_id="other")
    kit.clock.advance(1)
    for number in range(5):
        await kit.room(f"ours{number}", timers=timers(60), organization_id="acme")
    await kit.room("fresh", timers=timers(600), organization_id="acme")
    kit.clock.advance(60)
    changed = await kit.timers.check_all(organization_id="acme")
    assert sorted(room.id for room in changed) == [f"ours{number}" for number in range(5)]
    assert (await kit.now("theirs0")).status is ACTIVE
    assert await kit.timers.check_all(organization_id="acme") == []
    assert len(await kit.timers.check_all()) == 7


async def test_one_sweep_is_bounded() -> None:
    kit = Services(interval=None, batch=4)
    for number in range(10):
        await kit.room(f"r{number}", timers=timers(60))
    kit.clock.advance(60)
    assert [len(await kit.timers.sweep()) for _ in range(4)] == [4, 4, 2, 0]


class Broken(InMemoryStore):
    """Cannot read one room; loses another between finding and reading it."""

    fails = True

    async def get_room(self, room_id: str) -> Room | None:
        if room_id == "bad" and self.fails:
            raise OSError("disk")
        return await super().get_room(room_id)

    async def find_rooms_due(self, now: datetime, *, limit: int = 100) -> list[str]:
        return ["gone", *await super().find_rooms_due(now, limit=limit)]


async def test_a_room_that_cannot_be_read_keeps_no_other_from_it() -> None:
    clock = VirtualClock()
    kit = Services(store=Broken(clock=clock), clock=clock, interval=None)
    for name in ("good", "bad"):
        await kit.room(name, timers=timers(60))
    kit.clock.advance(60)
    assert [room.id for room in await kit.timers.check_all()] == ["good"]
    assert kit.timers.failures == 1


async def test_a_locked_room_holds_up_a_sweep_for_a_bounded_time(kit: Services) -> None:
    for name in ("busy", "free"):
        await kit.room(name, timers=timers(60))
    await asyncio.sleep(60)
    from contextvars import Context

    async with kit.locks.locked("busy"):
        loop = asyncio.get_running_loop()
        swept = await loop.create_task(kit.timers.sweep(), context=Context())
    assert [room.id for room in swept] == ["free"]
    assert kit.timers.failures == 1
    assert [room.id for room in await kit.timers.sweep()] == ["busy"]


async def test_rooms_that_fail_fill_no_sweep_by_themselves() -> None:
    """As many as a piece has, due before all others."""
    clock = VirtualClock()

    class Bad(InMemoryStore):
        async def get_room(self, room_id: str) -> Room | None:
            if room_id.startswith("bad"):
                raise OSError("disk")
            return await super().get_room(room_id)

    kit = Services(store=Bad(clock=clock), clock=clock, interval=None, batch=2)
    for name in ("bad1", "bad2", "bad3", "good1", "good2", "good3"):
        await kit.room(name, timers=timers(60))
        clock.advance(1)
    clock.advance(60)
    changed = await kit.timers.check_all()
    assert [room.id for room in changed] == ["good1", "good2", "good3"]
    assert kit.timers.failures == 3
    await kit.room("good4", timers=timers(60))
    clock.advance(60)
    assert [room.id for room in await kit.timers.sweep()] == ["good4"]
    assert kit.timers.failures == 4
    for name in ("bad1", "bad2", "bad3"):
        await kit.store.delete_room(name)
    assert await kit.timers.sweep() == []


async def test_only_so_many_failures_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salon.core.timers.MAX_LATE", 0)
    clock = VirtualClock()
    kit = Services(store=Broken(clock=clock), clock=clock, interval=None)
    await kit.room("bad", timers=timers(60))
    clock.advance(60)
    assert await kit.timers.check_all() == []
    assert kit.timers.failures == 1


async def started(**options: Any) -> Services:
    kit = Services(**options)
    await kit.timers.start()
    return kit


async def test_R32_the_sweeper_pauses_and_closes_rooms_that_nobody_touches() -> None:
    kit = await started(interval=10.0)
    made = await kit.room(timers=timers(60, 90))
    await asyncio.sleep(75)
    paused = await kit.now()
    assert (paused.status, paused.paused_at) == (PAUSED, after(made.created_at, 60))
    await asyncio.sleep(90)
    closed = await kit.now()
    assert (closed.status, closed.closed_at) == (CLOSED, after(made.created_at, 150))
    await kit.close()


async def test_R28_a_sweep_goes_on_until_nothing_is_left_that_is_due() -> None:
    kit = await started(interval=10.0, batch=3)
    for number in range(20):
        await kit.room(f"r{number}", timers=timers(60, 60))
    for seconds, status in ((75, PAUSED), (60, CLOSED)):
        await asyncio.sleep(seconds)
        assert {room.status for room in await kit.store.list_rooms()} == {status}
    await kit.close()


async def test_a_sweep_lasts_no_longer_than_the_interval() -> None:
    class Slow(InMemoryStore):
        asked: list[float]

        async def find_rooms_due(self, now: datetime, *, limit: int = 100) -> list[str]:
            self.asked.append(asyncio.get_running_loop().time())
            found = await super().find_rooms_due(now, limit=limit)
            if found:
                await asyncio.sleep(4)
            return found

    clock = VirtualClock()
    store = Slow(clock=clock)
    store.asked = []
    kit = Services(store=store, clock=clock, interval=10.0, batch=1)
    for number in range(5):
        await kit.room(f"r{number}", timers=timers(0))
    begun = asyncio.get_running_loop().time()
    await kit.timers.start()
    await asyncio.sleep(60)
    # 3 pieces, a pause, 2 pieces and nothing left, a pause ...
    asked = [round(at - begun) for at in store.asked]
    assert asked == [0, 4, 8, 22, 26, 30, 40, 50, 60][: len(asked)]
    assert len(asked) >= 8
    assert {room.status for room in await kit.store.list_rooms()} == {PAUSED}
    await kit.close()


async def test_R32_a_timer_set_later_wakes_the_sweeper() -> None:
    kit = await started(interval=10.0)
    await kit.room()
    await asyncio.sleep(30)
    await kit.rooms.set_timers(ROOM, timers(60))
    await asyncio.sleep(50)
    assert (await kit.now()).status is PAUSED
    await kit.close()


async def test_R32_rooms_of_an_earlier_run_are_swept() -> None:
    first = Services(interval=None)
    await first.room(timers=timers(60))
    second = await started(store=first.store, clock=first.clock, interval=10.0)
    await asyncio.sleep(75)
    assert (await second.now()).status is PAUSED
    await second.close()


async def test_a_store_of_others_is_swept_even_while_it_is_empty() -> None:
    class Shared(InMemoryStore):
        is_process_local = False
        asked = 0

        async def find_rooms_due(self, now: datetime, *, limit: int = 100) -> list[str]:
            self.asked += 1
            return await super().find_rooms_due(now, limit=limit)

    clock, store = VirtualClock(), Shared()
    kit = await started(store=store, clock=clock, interval=10.0)
    await asyncio.sleep(35)
    assert store.asked == 4
    await kit.close()


async def test_an_empty_store_of_our_own_is_left_alone() -> None:
    class Counting(InMemoryStore):
        asked = 0

        async def find_rooms_due(self, now: datetime, *, limit: int = 100) -> list[str]:
            self.asked += 1
            return await super().find_rooms_due(now, limit=limit)

    store = Counting()
    kit = await started(store=store, interval=10.0)
    await kit.room()
    await asyncio.sleep(100)
    assert store.asked == 0
    await kit.close()


async def test_a_sweep_that_fails_is_logged_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Flaky(InMemoryStore):
        asked = 0

        async def find_rooms_due(self, now: datetime, *, limit: int = 100) -> list[str]:
            self.asked += 1
            if self.asked < 9:
                raise OSError("no connection")
            return await super().find_rooms_due(now, limit=limit)

    clock = VirtualClock()
    kit = await started(store=Flaky(clock=clock), clock=clock, interval=10.0)
    await kit.room(timers=timers(60))
    await asyncio.sleep(75)
    assert (await kit.now()).status is ACTIVE
    assert "a sweep of idle rooms failed" in caplog.text
    await asyncio.sleep(20)
    assert (await kit.now()).status is PAUSED
    await kit.close()


async def test_start_and_close_are_idempotent_and_stop_everything() -> None:
    kit = await started(interval=10.0)
    await kit.timers.start()
    await kit.room(timers=timers(60))
    await asyncio.sleep(15)
    await kit.timers.close()
    await kit.timers.close()
    await asyncio.sleep(100)
    assert (await kit.now()).status is ACTIVE
    await kit.timers.start()
    await asyncio.sleep(1)
    assert (await kit.now()).status is PAUSED
    await kit.close()


async def test_without_an_interval_nothing_runs_in_the_background() -> None:
    kit = await started(interval=None)
    await kit.room(timers=timers(1))
    await asyncio.sleep(100)
    assert (await kit.now()).status is ACTIVE
    with pytest.raises(ValueError, match="above 0 s"):
        Services(interval=0)
