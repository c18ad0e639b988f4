"""Index, commit, ownership (chapter 10.1; R94-R102)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.core.stage import (
    PATIENCE,
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    indices,
    message,
    text,
)

from salon.core import DuplicateIndexError, RoomKit
from salon.core.memory import InMemoryStore
from salon.models import (
    ChannelType,
    EventSource,
    EventStatus,
    HookResult,
    HookTrigger,
    Room,
    RoomContext,
    RoomEvent,
)
from salon.models.base import utc_now


def an_event(body: str = "hi", room_id: str = ROOM, **more: Any) -> RoomEvent:
    source = EventSource(channel_id="sms", channel_type=ChannelType.SMS, participant_id="ann")
    return RoomEvent(room_id=room_id, source=source, content=text(body), **more)


async def test_R94_first_event_has_index_zero_then_no_gap(stage: Stage) -> None:
    await stage.kit.create_room(ROOM)
    stage.register(RecordingTransport("sms"), ScriptedAgent("ai"))
    await stage.kit.attach_channel(ROOM, "sms")
    await stage.kit.attach_channel(ROOM, "ai")
    for _ in range(3):
        await stage.inbound("sms")
    await stage.settle()
    assert indices(await stage.timeline()) == list(range(8))


async def test_R94_a_blocked_event_consumes_an_index(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def censor(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("rude") if event.text == "rude" else HookResult.allow()

    for body in ("a", "rude", "b"):
        await stage.inbound("sms", body)
    events = await stage.timeline()
    assert indices(events) == [0, 1, 2, 3]
    assert [event.status for event in events[1:]] == [
        EventStatus.DELIVERED,
        EventStatus.BLOCKED,
        EventStatus.DELIVERED,
    ]
    room = await stage.read()
    assert (room.event_count, room.latest_index) == (4, 3)


async def test_R94_R95_concurrent_messages_get_an_index_each(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), RecordingTransport("web"))

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def censor(event: RoomEvent, context: RoomContext) -> HookResult:
        await asyncio.sleep(0.01)
        return HookResult.block("odd") if int(event.text or 0) % 3 == 0 else HookResult.allow()

    numbers = range(30)
    await asyncio.gather(
        *(stage.inbound("sms" if n % 2 else "web", str(n), sender=f"p{n % 4}") for n in numbers)
    )
    events = await stage.timeline()
    assert indices(events) == list(range(len(events)))
    assert sorted(int(event.text or -1) for event in await stage.messages()) == list(numbers)


async def test_R95_R96_R209_two_writers_on_one_store_never_share_an_index(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    from salon.store.factory import make_stores

    url = f"sqlite:///{tmp_path / 'rooms.db'}"
    one, two = make_stores(url).conversation, make_stores(url).conversation
    await one.open()
    await two.open()
    try:
        await one.create_room(Room(id=ROOM))
        made = await asyncio.gather(
            *(
                store.commit_event(an_event(str(n)), at=utc_now())
                for n in range(10)
                for store in (one, two)
            )
        )
        assert sorted(event.index for event in made) == list(range(20))
    finally:
        await one.close()
        await two.close()


async def test_R96_a_duplicate_event_is_surfaced_and_not_stored(stage: Stage) -> None:
    await stage.kit.create_room(ROOM)
    store = stage.kit.store
    first = await store.commit_event(an_event("one"), at=utc_now())
    with pytest.raises((DuplicateIndexError, ValueError)):
        await store.commit_event(first.model_copy(update={"content": text("two")}), at=utc_now())
    assert [event.text for event in await stage.timeline()] == ["one"]
    assert (await stage.read()).event_count == 1


async def test_R97_the_index_a_hook_sees_is_the_rooms_event_count(stage: Stage) -> None:
    seen: list[tuple[int, int]] = []

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def look(event: RoomEvent, context: RoomContext) -> HookResult:
        seen.append((event.index, context.room.event_count))
        return HookResult.modify(event.model_copy(update={"index": 999}))

    await stage.room(RecordingTransport("sms"))
    await stage.inbound("sms")
    event = (await stage.inbound("sms")).event
    assert event is not None
    assert seen == [(1, 1), (2, 2)]
    assert event.index == 2


async def test_R98_R117_hard_deletion_leaves_a_hole(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    events = [(await stage.inbound("sms", str(n))).event for n in range(3)]
    assert events[2] is not None
    count = (await stage.read()).event_count
    await stage.kit.delete_event(ROOM, events[2].id)
    after = (await stage.inbound("sms", "next")).event
    assert after is not None
    assert after.index == events[2].index + 1
    assert (await stage.read()).event_count == count + 1
    assert await stage.kit.store.get_event_count(ROOM) == count


async def test_R99_event_and_counters_are_never_seen_apart(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), ScriptedAgent("ai"))
    seen = 0
    running = True

    async def watch() -> None:
        nonlocal seen
        while running:
            await asyncio.sleep(0)
            room = await stage.read()
            events = await stage.timeline()
            if room.event_count == len(events):
                assert room.latest_index == (events[-1].index if events else None)
                seen += 1
            else:  # the two reads were apart, never the commit
                assert room.event_count < len(events)

    watcher = stage.start(watch())
    for _ in range(5):
        await asyncio.gather(*(stage.inbound("sms", str(n)) for n in range(4)))
    running = False
    await watcher
    assert seen > 10


async def test_R99_a_commit_moves_all_counters_of_the_room(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    before = await stage.read()
    await asyncio.sleep(30)
    event = (await stage.inbound("sms")).event
    after = await stage.read()
    assert event is not None
    assert after.event_count == before.event_count + 1
    assert after.latest_index == event.index
    assert after.timers.last_activity_at is not None
    assert after.timers.last_activity_at >= stage.clock.now().replace(year=2026, month=1, day=5)


@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_R100_delivery_trouble_leaves_the_event_delivered(stage: Stage, how: str) -> None:
    web = RecordingTransport("web")
    if how == "raises":
        web.failures = [OSError("gone")]
    else:
        web.hold = asyncio.Event()
    await stage.room(RecordingTransport("sms"), web)
    async with asyncio.timeout(PATIENCE * 10):
        result = await stage.kit.process_inbound(message("sms"), room_id=ROOM)
    assert not result.blocked
    assert result.delivery_results["web"].status == "failed"
    (stored,) = await stage.messages()
    assert (stored.status, stored.blocked_by) == (EventStatus.DELIVERED, None)


async def test_R102_the_store_owns_its_copy_of_what_is_written() -> None:
    store = InMemoryStore()
    await store.open()
    room = Room(id=ROOM, metadata={"deep": {"a": 1}})
    await store.create_room(room)
    room.metadata["deep"]["a"] = 2
    event = an_event(metadata={"deep": {"a": 1}})
    stored = await store.commit_event(event, at=utc_now())
    event.metadata["deep"]["a"] = 2
    event.source.raw_payload["x"] = 1
    (read,) = await store.list_events(ROOM)
    assert read.metadata == {"deep": {"a": 1}}
    assert read.source.raw_payload == {}
    assert stored.id == read.id
    found = await store.get_room(ROOM)
    assert found is not None
    assert found.metadata == {"deep": {"a": 1}}


async def test_R102_what_a_read_returns_is_the_callers_own(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.inbound("sms")
    room = await stage.read()
    room.metadata["mine"] = True
    room.event_count = 77
    binding = await stage.binding("sms")
    binding.metadata["mine"] = True
    (person,) = await stage.kit.store.list_participants(ROOM)
    person.metadata["mine"] = True
    fresh = await stage.read()
    assert (fresh.metadata, fresh.event_count) == ({}, 2)
    assert (await stage.binding("sms")).metadata == {}
    assert (await stage.kit.store.list_participants(ROOM))[0].metadata == {}


async def test_R94_the_first_event_of_a_bare_room_has_index_zero() -> None:
    store = InMemoryStore()
    async with RoomKit(store=store) as kit:
        room = await kit.create_room()
        assert (room.event_count, room.latest_index) == (0, None)
        first = await store.commit_event(an_event(room_id=room.id), at=utc_now())
        second = await store.commit_event(an_event(room_id=room.id), at=utc_now())
        assert (first.index, second.index) == (0, 1)
