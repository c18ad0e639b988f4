"""What every store holds, seen through the facade (chapter 20; R208-R215)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    indices,
    silent,
    staged,
)

from salon.core.memory import InMemoryStore
from salon.core.ports.store import ConversationStore
from salon.models import ChannelType, EventType
from salon.models.filters import EventFilter
from salon.testing import VirtualClock

MESSAGES = EventFilter(event_types=[EventType.MESSAGE])


def make_store(kind: str, folder: Path) -> ConversationStore:
    if kind == "memory":
        return InMemoryStore()
    pytest.importorskip("sqlalchemy")
    from salon.store.factory import make_stores

    return make_stores(f"sqlite:///{folder / 'rooms.db'}").conversation


@pytest.fixture(params=["memory", "sqlite"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage on each store."""
    async with staged(store=make_store(request.param, tmp_path)) as stage:
        yield stage


async def talk(stage: Stage, count: int) -> None:
    await stage.room(RecordingTransport("sms"), RecordingTransport("web", channel_type="email"))
    for number in range(count):
        await stage.inbound("sms" if number % 2 else "web", str(number), f"p{number % 3}")
        await asyncio.sleep(1)


async def test_R209_concurrent_messages_leave_no_gap_and_no_double(kept: Stage) -> None:
    await kept.room(RecordingTransport("sms"), RecordingTransport("web"))
    await kept.kit.mute(ROOM, "web")
    start = (await kept.read()).event_count
    await asyncio.gather(*(kept.inbound("sms" if n % 3 else "web", str(n)) for n in range(30)))
    events = await kept.timeline()
    room = await kept.read()
    assert indices(events) == list(range(len(events)))
    assert len(events) == start + 30
    assert (room.event_count, room.latest_index) == (len(events), len(events) - 1)


async def test_R209_an_observer_never_sees_counters_and_timeline_apart(kept: Stage) -> None:
    await kept.room(RecordingTransport("sms"))
    differences: list[tuple[int, int]] = []
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            room = await kept.read()
            events = await kept.timeline()
            if room.event_count > len(events):
                differences.append((room.event_count, len(events)))
            await asyncio.sleep(0)

    watcher = kept.start(watch())
    for number in range(20):
        await kept.inbound("sms", str(number))
    done.set()
    await watcher
    assert differences == []


async def test_R208_a_lasting_store_keeps_everything_over_a_restart(tmp_path: Path) -> None:
    async with staged(store=make_store("sqlite", tmp_path)) as stage:
        agent = silent("ai")
        agent.tasks, agent.observations, agent.updates = ["call"], ["seen"], {"topic": "x"}
        await stage.room(RecordingTransport("sms"), RecordingTransport("web"), agent)
        event = (await stage.inbound("sms", "hello", raw_payload={"a": [1]})).event
        await stage.settle()
        assert event is not None
        await stage.kit.mark_read(ROOM, "web", event.id)
        before = await snapshot(stage)
    async with staged(store=make_store("sqlite", tmp_path)) as stage:
        assert await snapshot(stage) == before
        assert before["tasks"] == ["call"]


async def snapshot(stage: Stage) -> dict[str, Any]:
    store = stage.kit.store
    return {
        "room": await stage.read(),
        "events": await stage.timeline(),
        "bindings": await store.list_bindings(ROOM),
        "people": await store.list_participants(ROOM),
        "tasks": await stage.tasks(),
        "observations": await stage.observations(),
        "marks": await store.list_read_markers(ROOM),
    }


async def test_R210_pages_are_ascending_whichever_way_they_are_asked_for(kept: Stage) -> None:
    await talk(kept, 8)
    store = kept.kit.store

    async def page(**options: Any) -> list[str | None]:
        return bodies(await store.list_events(ROOM, event_filter=MESSAGES, **options))

    places = indices(await store.list_events(ROOM, event_filter=MESSAGES))
    assert await page(limit=3) == ["0", "1", "2"]
    assert await page(offset=6, limit=5) == ["6", "7"]
    assert await page(limit=3, newest_first=True) == ["5", "6", "7"]
    assert await page(offset=2, limit=3, newest_first=True) == ["3", "4", "5"]
    assert await page(limit=2, after_index=places[2]) == ["3", "4"]
    assert await page(limit=2, before_index=places[5]) == ["3", "4"]
    assert await page(limit=5, before_index=places[0]) == []
    assert await page(limit=5, after_index=places[-1]) == []
    with pytest.raises(ValueError, match="index"):
        await page(after_index=1, before_index=2)


async def test_R210_every_filter(kept: Stage) -> None:
    await talk(kept, 6)
    kit = kept.kit
    events = await kit.store.list_events(ROOM, event_filter=MESSAGES)
    root = events[0]
    await kept.inbound("sms", "reply", "p0", parent_event_id=root.id)
    await kept.inbound("sms", "quiet", "p1", visibility="none")

    async def found(**fields: Any) -> list[str | None]:
        event_filter = EventFilter(**{"event_types": [EventType.MESSAGE], **fields})
        return bodies(await kit.store.list_events(ROOM, event_filter=event_filter))

    assert await found(source_channel_id="web") == ["0", "2", "4"]
    assert await found(source_channel_type=ChannelType.EMAIL) == ["0", "2", "4"]
    assert await found(participant_id="p2") == ["2", "5"]
    assert await found(visibility="none") == ["quiet"]
    assert await found(parent_event_id=root.id) == ["reply"]
    assert "reply" not in await found(top_level_only=True)
    assert await found(exclude_types=[EventType.MESSAGE]) == []
    assert await found(event_types=[]) == []
    start = events[2].created_at
    assert (await found(after_time=start))[0] == "3", "the instants are exclusive"
    assert await found(before_time=start) == ["0", "1"]
    assert await found(after_time=start, before_time=events[5].created_at) == ["3", "4"]


async def test_R210_a_correlation_is_found(kept: Stage) -> None:
    await kept.room(RecordingTransport("sms"), ScriptedAgent("ai"))
    agent = kept.kit.get_channel("ai")
    assert isinstance(agent, ScriptedAgent)
    agent.script = lambda event, _: [agent.says(ROOM, "one", correlation_id="c1")]
    await kept.inbound("sms", "hi")
    await kept.settle()
    only = EventFilter(correlation_id="c1")
    assert bodies(await kept.kit.store.list_events(ROOM, event_filter=only)) == ["one"]


async def test_R211_a_deleted_room_is_gone_with_all_it_had(kept: Stage) -> None:
    agent = silent("ai")
    agent.tasks, agent.observations = ["task"], ["seen"]
    sms = RecordingTransport("sms")
    await kept.room(sms, agent)
    await kept.room(sms, room_id="other")
    event = (await kept.inbound("sms", "gone", idempotency_key="k")).event
    await kept.inbound("sms", "stays", room_id="other", idempotency_key="k")
    await kept.settle()
    assert event is not None
    await kept.kit.mark_read(ROOM, "sms", event.id)
    await kept.kit.delete_room(ROOM)
    store = kept.kit.store
    assert await store.get_event(event.id) is None
    assert await store.get_room(ROOM) is None
    await kept.kit.create_room(ROOM)
    left = await snapshot(kept)
    left.pop("room")
    assert not any(left.values())
    assert await store.get_event_by_idempotency_key(ROOM, "k") is None
    assert bodies(await kept.messages("other")) == ["stays"]


async def test_R212_key_level_patches_do_not_undo_each_other(kept: Stage) -> None:
    await kept.room(RecordingTransport("sms"), metadata={"kept": 1, "gone": 2})
    stale = await kept.read()
    await asyncio.gather(
        *(kept.kit.update_room_metadata(ROOM, {f"k{n}": n}) for n in range(4)),
        *(kept.inbound("sms", str(n)) for n in range(4)),
        kept.kit.store.patch_room_metadata(ROOM, {}, unset=["gone"]),
    )
    await kept.settle()
    fresh = await kept.read()
    await kept.kit.store.update_room(stale)
    after = await kept.read()
    assert after.metadata == {"kept": 1, **{f"k{n}": n for n in range(4)}}
    for name in ("event_count", "latest_index", "delivered_index"):
        assert getattr(after, name) == getattr(fresh, name), name


async def test_R214_a_mark_does_not_go_back(kept: Stage) -> None:
    await talk(kept, 4)
    kit, events = kept.kit, await kept.timeline()
    assert await kit.get_unread_count(ROOM, "web") == len(events)
    await kit.mark_read(ROOM, "web", events[4].id)
    await kit.mark_read(ROOM, "web", events[1].id)
    assert await kit.list_read_markers(ROOM) == {"web": 4}
    assert await kit.get_unread_count(ROOM, "web") == len(events) - 5
    await kit.mark_all_read(ROOM, "sms")
    assert await kit.list_read_markers(ROOM) == {"sms": len(events) - 1, "web": 4}
    assert await kit.get_unread_count(ROOM, "sms") == 0


async def test_R214_the_bindings_hint_is_not_the_source_of_truth(kept: Stage) -> None:
    await talk(kept, 2)
    binding = await kept.binding("web")
    await kept.kit.store.update_binding(binding.model_copy(update={"last_read_index": 99}))
    assert await kept.kit.get_unread_count(ROOM, "web") == len(await kept.timeline())


async def test_R208_two_kits_on_one_lasting_store_see_the_same(tmp_path: Path) -> None:
    async with (
        staged(store=make_store("sqlite", tmp_path)) as one,
        staged(store=make_store("sqlite", tmp_path)) as two,
    ):
        await one.room(RecordingTransport("sms"))
        two.register(RecordingTransport("sms"))
        await asyncio.gather(*((one if n % 2 else two).inbound("sms", str(n)) for n in range(10)))
        assert await one.timeline() == await two.timeline()
        events = await one.timeline()
        assert indices(events) == list(range(len(events)))
        assert isinstance(one.clock, VirtualClock)


async def test_R210_instants_are_those_of_the_kits_clock(kept: Stage) -> None:
    await kept.room(RecordingTransport("sms"))
    first = (await kept.inbound("sms", "one")).event
    await asyncio.sleep(100)
    second = (await kept.inbound("sms", "two")).event
    assert first is not None
    assert second is not None
    assert (second.created_at - first.created_at).total_seconds() == pytest.approx(100, abs=1)
