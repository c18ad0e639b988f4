"""Whatever is done to a store in memory and to one in SQL, both say the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from salon.base import SalonError
from salon.core.memory.store import InMemoryStore
from salon.core.ports.store import ConversationStore
from salon.models import (
    EventSource,
    EventStatus,
    EventType,
    ParticipantStatus,
    Room,
    RoomEvent,
    RoomStatus,
    RoomTimers,
)
from salon.models.filters import EventFilter
from salon.models.identity import Identity
from salon.store import SqliteDatabase, SqlStore
from salon.testing import VirtualClock
from salon.testing.contracts.samples import later, make_binding, make_event, make_participant

ROOMS, CHANNELS, PEOPLE = ["a", "b", "c"], ["phone", "mail"], ["ann", "bob"]
STEPS = 250

Call = Callable[[ConversationStore], Awaitable[Any]]


class StillClock(VirtualClock):
    """Always the same instant."""

    def time(self) -> float:
        return later(0).timestamp()


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[ConversationStore, ConversationStore]]:
    clock = StillClock()
    sql = SqlStore(SqliteDatabase(tmp_path / "salon.db"), clock=clock)
    await sql.open()
    yield InMemoryStore(clock=clock), sql
    await sql.close()


class Chance:
    """Makes calls up; ids repeat often, so that calls meet what others left."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.at = 0.0
        self.made = 0

    def one(self, items: list[Any]) -> Any:
        return self.random.choice(items)

    def maybe(self, value: Any) -> Any:
        return self.one([None, value])

    def event(self) -> RoomEvent:
        self.made += 1
        source = EventSource(
            channel_id=self.one(CHANNELS), channel_type="sms", participant_id=self.one(PEOPLE)
        )
        event = make_event(
            self.one(ROOMS),
            id=self.known() if self.random.random() < 0.05 else f"e{self.made}",
            idempotency_key=self.maybe(f"k{self.random.randrange(30)}"),
            status=self.one([EventStatus.DELIVERED, EventStatus.DELIVERED, EventStatus.BLOCKED]),
            type=self.one([EventType.MESSAGE, EventType.MESSAGE, EventType.SYSTEM]),
            parent_event_id=self.maybe(self.known()),
        )
        return event.model_copy(update={"source": source, "created_at": later(self.at)})

    def known(self) -> str:
        return f"e{self.random.randrange(self.made + 1)}"

    def filter(self) -> EventFilter:
        return EventFilter(
            event_types=self.maybe([self.one([EventType.MESSAGE, EventType.SYSTEM])]),
            source_channel_id=self.one([None, None, *CHANNELS]),
            parent_event_id=self.one([None, None, None, self.known()]),
            top_level_only=self.one([False, False, True]),
            include_blocked=self.one([False, True]),
        )

    def write(self) -> Call:
        self.at += self.random.random() * 9 - 1
        at, room, channel, person = (
            later(self.at),
            self.one(ROOMS),
            self.one(CHANNELS),
            self.one(PEOPLE),
        )
        event, target, name = self.event(), self.event(), self.known()
        batch = [event, *(self.event().model_copy(update={"room_id": event.room_id}) for _ in "ab")]
        target = target.model_copy(update={"room_id": event.room_id, "id": name})
        new = Room(
            id=room,
            created_at=later(0),
            updated_at=later(0),
            status=self.one(list(RoomStatus)),
            organization_id=self.maybe("org"),
            paused_at=self.maybe(at),
            timers=RoomTimers(
                inactive_after_seconds=self.maybe(5), closed_after_seconds=self.maybe(3)
            ),
        )
        people = make_participant(
            person,
            room,
            channel_id=channel,
            status=self.one(list(ParticipantStatus)),
            external_id=self.one([None, "ann", "+1", "+2"]),
        )
        binding = make_binding(channel, room, recipient=self.one([None, "+1", "+2"]))
        identity = Identity(id=person, channel_addresses={"sms": [self.one(["1", "2", "3"])]})
        common: list[Call] = [
            lambda store: store.commit_event(event, at=at),
            lambda store: store.commit_event(event, at=at, target=target),
            lambda store: store.commit_events(batch, at=at),
            lambda store: store.create_room(new),
            lambda store: store.update_room(new),
            lambda store: store.add_binding(binding),
            lambda store: store.add_participant(people),
        ]
        rare: list[Call] = [
            lambda store: store.delete_room(room),
            lambda store: store.update_event(target),
            lambda store: store.delete_event(room, name, cascade_replies=self.made % 2 == 0),
            lambda store: store.remove_binding(room, channel),
            lambda store: store.update_participant(people),
            lambda store: store.remove_participant(room, person),
            lambda store: store.set_delivery_results(room, name, {"x": 1}),
            lambda store: store.advance_delivered_index(room, 2),
            lambda store: store.advance_delivered_indexes({"a": 3, "b": 4}),
            lambda store: store.mark_read(room, channel, name),
            lambda store: store.mark_all_read(room, channel),
            lambda store: store.patch_room_metadata(room, {channel: 1}, unset=[person]),
            lambda store: store.create_identity(identity),
            lambda store: store.update_identity(identity),
            lambda store: store.link_address(person, "sms", "3"),
            lambda store: store.unlink_address(person, "sms", "3"),
        ]
        made: Call = self.one(common if self.random.random() < 0.7 else rare)
        return made

    def reads(self) -> list[Call]:
        room, channel, person = self.one(ROOMS), self.one(CHANNELS), self.one(PEOPLE)
        name, wanted, place = self.known(), self.filter(), self.random.randrange(20)
        cursor: dict[str, Any] = self.one(
            [{}, {"newest_first": True}, {"after_index": place}, {"before_index": place}]
        )
        address = self.one(["+1", "+2"])
        key, now = f"k{self.random.randrange(30)}", later(self.at + 4)
        statuses, organization = self.maybe([RoomStatus.ACTIVE]), self.maybe("org")
        offset = self.random.randrange(3)
        return [
            lambda store: store.list_rooms(organization_id=organization),
            lambda store: store.list_events(room, offset, 4, event_filter=wanted, **cursor),
            lambda store: store.get_event_count(room, wanted),
            lambda store: store.get_event(name),
            lambda store: store.get_event(name, room),
            lambda store: store.get_event_by_idempotency_key(room, key),
            lambda store: store.get_event_by_idempotency_key(room, key, channel_id=channel),
            lambda store: store.get_thread_summaries(room, [name, "e1", "e2"]),
            lambda store: store.find_room_ids_by_channel(
                channel, statuses=statuses, organization_id=organization
            ),
            lambda store: store.find_latest_room(person, channel_id=channel, statuses=statuses),
            lambda store: store.find_latest_room(address, channel_id=channel, statuses=statuses),
            lambda store: store.find_room_ids_by_recipient(
                channel, address, statuses=statuses, organization_id=organization
            ),
            lambda store: store.find_rooms_due(now),
            lambda store: store.find_undelivered_rooms(),
            lambda store: store.list_bindings(room),
            lambda store: store.list_participants(room),
            lambda store: store.get_unread_count(room, channel),
            lambda store: store.list_read_markers(room),
            lambda store: store.resolve_identity("sms", str(place % 4)),
        ]


async def outcome(call: Call, store: ConversationStore) -> Any:
    try:
        return await call(store)
    except (SalonError, ValueError) as error:
        return type(error)


async def compare(memory: ConversationStore, other: ConversationStore, seed: int) -> None:
    """Do the same to both."""
    chance = Chance(seed)
    for _ in range(STEPS):
        write = chance.write()
        assert await outcome(write, memory) == await outcome(write, other)
        for read in chance.random.sample(chance.reads(), 3):
            assert await outcome(read, memory) == await outcome(read, other)
    for read in chance.reads():
        assert await outcome(read, memory) == await outcome(read, other)


@pytest.mark.parametrize("seed", range(3))
async def test_R208_two_stores_one_behaviour(
    pair: tuple[ConversationStore, ConversationStore], seed: int
) -> None:
    await compare(*pair, seed)
