"""The marks behind the delivery lane: never past what nobody delivered (R139)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta

import pytest

from salon.base import UnavailableError
from salon.core import marks as module
from salon.core.lanes import LaneClosedError
from salon.core.marks import FOLLOW_S, DeliveredMarks
from salon.core.memory.store import InMemoryStore
from salon.models import ChannelType, EventSource, Room, RoomEvent, TextContent
from salon.testing import VirtualClock

SOON = 0.2


class Shared(InMemoryStore):
    """Behaves like a database that processes share."""

    is_process_local = False

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.reads = 0

    async def advance_delivered_indexes(self, marks: Mapping[str, int]) -> None:
        if self.down:
            raise UnavailableError("gone")
        await super().advance_delivered_indexes(marks)

    async def get_room(self, room_id: str) -> Room | None:
        self.reads += 1
        if self.down:
            raise UnavailableError("gone")
        return await super().get_room(room_id)


class World:
    """One room in a store, and processes that deliver its events."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = Shared()
        self.processes: list[DeliveredMarks] = []

    def process(self) -> DeliveredMarks:
        self.processes.append(DeliveredMarks(self.store, clock=self.clock))
        return self.processes[-1]

    async def make(self, events: int, room_id: str = "r") -> None:
        await self.store.create_room(Room(id=room_id, created_at=self.clock.now()))
        for _ in range(events):
            source = EventSource(channel_id="x", channel_type=ChannelType.SMS)
            event = RoomEvent(room_id=room_id, source=source, content=TextContent(body="hi"))
            await self.store.commit_event(event, at=self.clock.now())

    async def room(self, room_id: str = "r") -> Room:
        room = await InMemoryStore.get_room(self.store, room_id)
        assert room is not None
        return room

    async def mark(self, room_id: str = "r") -> int:
        return await self.store.get_delivered_index(room_id)

    async def deliver(self, marks: DeliveredMarks, *indexes: int) -> None:
        for index in indexes:
            await marks.done(marks.planned(await self.room(), index))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.make(10)
    yield world
    for marks in world.processes:
        await marks.close()


async def test_R139_the_mark_moves_over_what_is_done_without_a_gap(world: World) -> None:
    marks = world.process()
    room = await world.room()
    ways = [marks.planned(room, index) for index in range(5)]
    for index, reached in ((1, -1), (3, -1), (2, -1), (0, 3), (4, 4)):
        await marks.done(ways[index])
        await asyncio.sleep(SOON)
        assert await world.mark() == reached


async def test_R139_two_processes_take_turns(world: World) -> None:
    one, two = world.process(), world.process()
    for index in range(10):
        await world.deliver((one, two)[index % 2], index)
    await asyncio.sleep(SOON * 5)
    assert await world.mark() == 9


async def test_R139_the_mark_waits_for_the_other_process(world: World) -> None:
    one, two = world.process(), world.process()
    late = one.planned(await world.room(), 0)
    await world.deliver(two, 1, 2)
    await asyncio.sleep(1)
    assert await world.mark() == -1
    other = one.planned(await world.room(), 3)
    await two.done(two.planned(await world.room(), 4))
    await one.done(late)
    await asyncio.sleep(5)
    assert await world.mark() == 2  # 3 is still on its way
    await one.done(other)
    await asyncio.sleep(10)
    assert await world.mark() == 4


async def test_R139_the_next_event_tells_that_the_gap_is_closed(world: World) -> None:
    marks = world.process()
    await world.deliver(marks, 1)
    await asyncio.sleep(FOLLOW_S * 3)
    await world.store.advance_delivered_index("r", 0)
    await asyncio.sleep(FOLLOW_S)
    assert await world.mark() == 0
    marks.planned(await world.room(), 2)
    await asyncio.sleep(SOON)
    assert await world.mark() == 1


async def test_a_gap_that_nobody_closes_is_not_looked_at_for_ever(world: World) -> None:
    marks = world.process()
    await world.deliver(marks, 1)
    await asyncio.sleep(FOLLOW_S * 3)
    assert 0 < (before := world.store.reads) < 20
    await asyncio.sleep(FOLLOW_S * 10)
    assert world.store.reads == before
    assert await world.mark() == -1


async def test_stretches_that_wait_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_RUNS", 2)
    marks = world.process()
    await world.deliver(marks, 1, 3, 5)
    room = await world.room()
    assert [marks.knows(room, index) for index in (1, 2, 3, 4, 5)] == [True, False] * 2 + [False]


async def test_rooms_with_nothing_on_its_way_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROOMS", 1)
    marks = world.process()
    await world.make(3, "other")
    await world.deliver(marks, 0)
    await marks.done(marks.planned(await world.room("other"), 0))
    await world.deliver(marks, 1)  # the mark not yet written is known all the same
    await asyncio.sleep(SOON)
    assert (await world.mark(), await world.mark("other")) == (1, 0)


async def test_a_room_made_anew_takes_no_mark_of_the_old_one(world: World) -> None:
    marks = world.process()
    room = await world.room()
    old = [marks.planned(room, index) for index in range(5)]
    await marks.done(old[0])
    await world.store.delete_room("r")
    world.clock.advance(1)
    await world.make(2)
    new = marks.planned(await world.room(), 0)
    for planned in old:
        await marks.done(planned)
    await asyncio.sleep(SOON)
    assert await world.mark() == -1
    await marks.done(new)
    await asyncio.sleep(SOON)
    assert await world.mark() == 0


async def test_nothing_is_written_of_a_room_that_is_forgotten(world: World) -> None:
    marks = world.process()
    room = await world.room()
    late = marks.planned(room, 1)
    await world.deliver(marks, 0)
    marks.forget("r")
    marks.forget("nowhere")
    await marks.done(late)
    await asyncio.sleep(SOON)
    assert await world.mark() == -1
    assert not marks.knows(room, 0)


async def test_a_room_made_anew_elsewhere_is_not_followed(world: World) -> None:
    marks = world.process()
    await world.deliver(marks, 1)
    await world.store.delete_room("r")
    world.clock.advance(1)
    await world.make(1)
    await world.store.advance_delivered_index("r", 0)
    await asyncio.sleep(FOLLOW_S * 3)
    assert await world.mark() == 0


async def test_a_store_that_is_down_loses_no_mark(world: World) -> None:
    one, two = world.process(), world.process()
    await world.deliver(two, 1)
    world.store.down = True
    await world.deliver(one, 0)
    await asyncio.sleep(1)
    assert await world.mark() == -1
    world.store.down = False
    await one.flush()
    await asyncio.sleep(5)
    assert await world.mark() == 1


async def test_a_mark_that_was_not_written_is_dropped_with_its_room(world: World) -> None:
    class Deleting(Shared):
        async def advance_delivered_indexes(self, marks: Mapping[str, int]) -> None:
            process.forget("r")
            raise UnavailableError("gone")

    world.store = Deleting()
    await world.make(1)
    process = world.process()
    await world.deliver(process, 0)
    await process.flush()
    assert process._dirty == {}


async def test_R139_an_answer_given_up_stays_behind_the_mark(world: World) -> None:
    marks = world.process()
    loop = asyncio.get_running_loop()
    room = await world.room()
    for index, failure in enumerate((RuntimeError("no"), LaneClosedError("closed"))):
        for at_once in (True, False):
            work: asyncio.Future[object] = loop.create_future()
            if at_once:
                work.set_exception(failure)
            await marks.done_after(marks.planned(room, index * 2 + (not at_once)), [work])
            if not at_once:
                work.set_exception(failure)
            await asyncio.sleep(SOON)
    assert await world.mark() == 1  # failed for good; those given up are resumed


async def test_nothing_is_waited_for_after_the_end(world: World) -> None:
    marks = world.process()
    await marks.close()
    work: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    await marks.done_after(marks.planned(await world.room(), 0), [work])
    await world.deliver(marks, 2)
    assert marks._scope is None
    assert await world.mark() == -1


async def test_R207_what_is_missing_after_a_resuming_was_deleted(world: World) -> None:
    marks = world.process()
    room = await world.room()
    assert marks.undone_after(room) == -1
    first, last = marks.planned(room, 2), marks.planned(room, 5)
    await world.deliver(marks, 7)
    assert [index for index in range(10) if not marks.knows(room, index)] == [0, 1, 3, 4, 6, 8, 9]
    await marks.resumed(room, 9)
    assert await world.mark() == 1
    assert marks.undone_after(room) == 1
    await marks.done(first)
    await asyncio.sleep(SOON)
    assert await world.mark() == 4
    await marks.done(last)
    await asyncio.sleep(SOON)
    assert await world.mark() == 9


async def test_R207_a_room_of_which_only_deleted_events_were_left_is_done(world: World) -> None:
    marks = world.process()
    await marks.resumed(await world.room(), 9)
    assert await world.mark() == 9


async def test_made_in_the_past_or_not_a_room_is_told_by_its_date(world: World) -> None:
    marks = world.process()
    room = await world.room()
    await world.deliver(marks, 0)
    older = room.model_copy(update={"created_at": room.created_at - timedelta(seconds=1)})
    assert not marks.knows(older, 0)


async def test_what_is_done_before_an_earlier_one_of_the_same_process_waits_for_no_other(
    world: World,
) -> None:
    one = world.process()
    room = await world.room()
    first, second = one.planned(room, 0), one.planned(room, 1)
    await one.done(second)
    reads = world.store.reads
    await asyncio.sleep(FOLLOW_S)
    assert world.store.reads == reads
    await one.done(first)
    await asyncio.sleep(SOON)
    assert await world.mark() == 1


@pytest.mark.parametrize(("closed", "mark"), [(False, 0), (True, -1)])
async def test_a_store_in_this_process_learns_at_once_that_an_answer_came(
    closed: bool, mark: int
) -> None:
    store = InMemoryStore()
    room = await store.create_room(Room(id="r"))
    marks = DeliveredMarks(store)
    answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    await marks.done_after(marks.planned(room, 0), [answer])
    if closed:
        await marks.close()
    answer.set_result(None)
    await asyncio.sleep(0)
    assert await store.get_delivered_index("r") == mark
    await marks.close()
