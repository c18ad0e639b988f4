"""The ports in memory hold the contracts."""

from __future__ import annotations

import gc
import time
from datetime import UTC, datetime

import pytest

from salon.core.memory import calls as module
from salon.core.memory.calls import MemoryCallLog
from salon.core.memory.copies import owned
from salon.core.memory.indexes import Deadlines
from salon.core.memory.locks import InMemoryLockManager
from salon.core.memory.store import InMemoryStore
from salon.core.ports.calls import CallRecord
from salon.core.ports.store import ConversationStore, due_at
from salon.core.routing import DefaultInboundRoomRouter
from salon.identity.directory import StoreIdentityResolver
from salon.models import EventSource, Room, RoomStatus, RoomTimers, TextContent
from salon.testing.contracts import (
    CallLogContract,
    IdentityResolverContract,
    LockManagerContract,
    RouterContract,
    StoreContract,
)
from salon.testing.contracts.identity import PEOPLE
from salon.testing.contracts.samples import (
    known_room,
    later,
    make_event,
    new_room,
)


@pytest.fixture
async def store() -> InMemoryStore:
    store = InMemoryStore()
    await store.open()
    return store


class TestMemoryStore(StoreContract):
    async def test_R201_nothing_else_writes_to_it(self, store: InMemoryStore) -> None:
        assert store.is_process_local
        await store.close()
        await store.close()


class TestRouter(RouterContract):
    @pytest.fixture
    def router(self, store: InMemoryStore) -> DefaultInboundRoomRouter:
        return DefaultInboundRoomRouter(store)


class TestIdentities(IdentityResolverContract):
    @pytest.fixture
    async def resolver(self, store: InMemoryStore) -> StoreIdentityResolver:
        for identity in PEOPLE:
            await store.create_identity(identity)
        return StoreIdentityResolver(store)


class TestLocks(LockManagerContract):
    @pytest.fixture
    def locks(self) -> InMemoryLockManager:
        return InMemoryLockManager()


class TestMemoryCallLog(CallLogContract):
    @pytest.fixture
    def calls(self) -> MemoryCallLog:
        return MemoryCallLog()

    async def test_only_the_newest_are_kept(
        self, calls: MemoryCallLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "KEPT", 3)
        calls = MemoryCallLog()
        for number in range(5):
            await calls.started(CallRecord(str(number), "room", later(number)))
            await calls.ended(str(number), at=later(9), reason="hangup")
        assert [item.id for item in await calls.list_calls()] == ["4", "3", "2"]


async def test_reads_share_what_is_frozen(store: InMemoryStore) -> None:
    await new_room(store)
    stored = await store.commit_event(make_event(id="e"), at=later(1))
    assert await store.get_event("e") is stored
    assert (await store.list_events("room"))[0] is stored
    content = TextContent(body="x")
    assert owned(content) is content


async def test_R102_values_that_are_not_json_are_owned_as_well(store: InMemoryStore) -> None:
    await new_room(store)
    room, members = Room(id="inner"), {1, 2}
    metadata = {"room": room, "members": members, "pair": ([1], EventSource)}
    await store.commit_event(make_event(id="e", metadata=metadata), at=later(1))
    room.metadata["a"] = 1
    members.add(3)
    known = await store.get_event("e")
    assert known is not None
    assert known.metadata["room"].metadata == {}
    assert known.metadata["members"] == {1, 2}
    assert known.metadata["pair"] == ([1], EventSource)


async def test_rooms_made_at_naive_instants_are_in_order(store: InMemoryStore) -> None:
    await store.create_room(Room(id="aware", created_at=datetime(2025, 1, 2, tzinfo=UTC)))
    await store.create_room(Room(id="naive", created_at=datetime(2025, 1, 1)))
    assert [room.id for room in await store.list_rooms()] == ["aware", "naive"]
    timers = RoomTimers(inactive_after_seconds=1)
    await store.create_room(Room(id="timed", created_at=datetime(2025, 1, 1), timers=timers))
    await new_room(store, "other", timers=timers)
    for at in (later(5), later(2).replace(tzinfo=None)):
        await store.commit_event(make_event("timed"), at=at)
    assert await store.find_rooms_due(later(9).replace(tzinfo=None)) == ["other", "timed"]


async def test_a_room_that_begins_with_counters(store: InMemoryStore) -> None:
    room = Room(id="room", event_count=5, latest_index=9, delivered_index=3, revision=4)
    await store.create_room(room)
    assert await store.find_undelivered_rooms() == ["room"]
    assert (await store.commit_event(make_event(), at=later(1))).index == 10
    room = await known_room(store)
    assert (room.event_count, room.revision, room.delivered_index) == (6, 4, 3)


async def test_what_a_store_need_not_implement(store: InMemoryStore) -> None:
    """Derived from what it must."""
    base = ConversationStore
    assert not await base.room_exists(store, "room")
    assert await base.get_delivered_index(store, "room") == -1
    await new_room(store)
    await store.advance_delivered_index("room", 3)
    assert await base.room_exists(store, "room")
    assert await base.get_delivered_index(store, "room") == 3


def test_a_room_paused_at_an_unknown_instant_is_never_due() -> None:
    timers = RoomTimers(closed_after_seconds=1)
    assert due_at(Room(status=RoomStatus.PAUSED, timers=timers)) is None


def test_deadlines_that_come_nearer_again_and_again_take_no_room() -> None:
    times = {"a": later(0), "b": later(5000)}
    deadlines = Deadlines(lambda name: times[name])
    deadlines.note("b", times["b"])
    for number in range(1000, 0, -1):
        times["a"] = later(number)
        deadlines.note("a", times["a"])
    assert len(deadlines._heap) < 100
    assert deadlines.passed(later(1), 9) == ["a"]
    times["a"] = later(7000)
    assert deadlines.passed(later(6000), 9) == ["b"]
    deadlines.note("a", None)
    deadlines.note("a", None)
    assert deadlines.passed(later(9000), 9) == ["b"]


@pytest.mark.slow
async def test_a_page_costs_the_same_however_long_the_history(store: InMemoryStore) -> None:
    """Ten times the events, and certainly less than three times the time."""

    async def spent(room_id: str) -> float:
        best = 1.0
        for _ in range(20):
            begin = time.process_time()
            for _ in range(20):
                await store.list_events(room_id, newest_first=True)
                await store.list_events(room_id, before_index=500)
                await store.list_events(room_id, after_index=500)
                await store.get_conversation(room_id)
            best = min(best, time.process_time() - begin)
        return best

    for name, count in (("short", 1_000), ("long", 10_000)):
        await new_room(store, name)
        await store.commit_events([make_event(name) for _ in range(count)], at=later(1))
    gc.collect()
    assert await spent("long") < 3 * await spent("short")
