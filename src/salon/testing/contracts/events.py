"""Commits and timelines in a store."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.core.ports.store import ConversationStore
from salon.models import (
    ChannelData,
    CompositeContent,
    EventSource,
    EventStatus,
    EventType,
    MediaContent,
    RichContent,
    RoomEvent,
    SystemContent,
    TextContent,
)
from salon.testing.contracts.samples import EVERYTHING, indices, later, make_event, new_room


class CommitContract:
    """Numbering, counters, keys, ownership."""

    async def test_R208_an_event_is_read_back_whole(self, store: ConversationStore) -> None:
        await new_room(store)
        event = RoomEvent(
            id="e",
            room_id="room",
            type=EventType.EDIT,
            source=EventSource(
                channel_id="c", channel_type="custom:pager", raw_payload={"a": [1, {"b": None}]}
            ),
            content=CompositeContent(
                parts=[
                    TextContent(body="ünï 🎈"),
                    MediaContent(url="https://a.b/c", mime_type="a/b"),
                ]
            ),
            status=EventStatus.BLOCKED,
            blocked_by="hook",
            visibility="x,y",
            addressed_to=["bot"],
            response_visibility="z",
            chain_depth=2,
            parent_event_id="p",
            responds_to="q",
            correlation_id="r",
            idempotency_key="k",
            created_at=later(0.5),
            metadata={"n": 1},
            channel_data=ChannelData(provider="p", extra={"t": "u"}),
            delivery_results={"c": {"status": "sent"}},
        )
        stored = await store.commit_event(event, at=later(1))
        assert stored == event.model_copy(update={"index": 0})
        assert await store.get_event("e", "room") == stored
        assert await store.get_event_by_idempotency_key("room", "k") == stored
        assert await store.list_events("room", event_filter=EVERYTHING) == [stored]

    async def test_R94_numbers_start_at_0_and_blocked_ones_count(
        self, store: ConversationStore
    ) -> None:
        await new_room(store)
        await new_room(store, "other")
        blocked = make_event(status=EventStatus.BLOCKED, index=77)
        committed = [
            await store.commit_event(make_event(), at=later(1)),
            await store.commit_event(blocked, at=later(2)),
            await store.commit_event(make_event(), at=later(3)),
        ]
        assert [event.index for event in committed] == [0, 1, 2]
        assert (await store.commit_event(make_event("other"), at=later(4))).index == 0
        assert blocked.index == 77

    async def test_R99_a_commit_moves_the_counters(self, store: ConversationStore) -> None:
        await new_room(store)
        for number in range(3):
            await store.commit_event(make_event(), at=later(number + 1))
            room = await store.get_room("room")
            assert room is not None
            assert (room.event_count, room.latest_index) == (number + 1, number)
            assert room.updated_at == room.timers.last_activity_at == later(number + 1)

    async def test_R95_fifty_concurrent_commits_are_gapless(self, store: ConversationStore) -> None:
        await new_room(store)
        committed = await asyncio.gather(
            *(store.commit_event(make_event(words=str(n)), at=later(n)) for n in range(50))
        )
        assert sorted(event.index for event in committed) == list(range(50))
        assert await indices(store) == list(range(50))
        for event in committed:
            assert await store.get_event(event.id, "room") == event

    async def test_R99_no_reader_sees_counters_and_timeline_disagree(
        self, store: ConversationStore
    ) -> None:
        await new_room(store)

        async def commit() -> None:
            for number in range(25):
                await store.commit_event(make_event(), at=later(number))
                await asyncio.sleep(0)

        async def poll() -> int:
            seen = 0
            while seen < 50:
                before = await store.get_room("room")
                timeline = await indices(store)
                after = await store.get_room("room")
                assert before is not None
                assert after is not None
                assert timeline == list(range(len(timeline)))
                assert before.event_count <= len(timeline) <= after.event_count
                for room in (before, after):
                    assert room.latest_index == (room.event_count - 1 if room.event_count else None)
                seen = len(timeline)
                await asyncio.sleep(0)
            return seen

        *_, seen = await asyncio.gather(commit(), commit(), poll())
        assert seen == 50

    async def test_R99_a_cancelled_commit_happens_wholly_or_not(
        self, store: ConversationStore
    ) -> None:
        await new_room(store)
        for turns in range(20):
            commit = asyncio.create_task(store.commit_event(make_event(), at=later(turns)))
            for _ in range(turns):
                await asyncio.sleep(0)
            commit.cancel()
            await asyncio.gather(commit, return_exceptions=True)
        last = await store.commit_event(make_event(), at=later(99))
        room = await store.get_room("room")
        assert room is not None
        assert await indices(store) == list(range(last.index + 1))
        assert (room.event_count, room.latest_index) == (last.index + 1, last.index)

    async def test_get_event_finds_refused_ones_in_any_room(self, store: ConversationStore) -> None:
        for name in ("room", "other"):
            await new_room(store, name)
        here = await store.commit_event(make_event(id="e", status=EventStatus.BLOCKED), at=later(1))
        assert await store.get_event("e") == here
        assert await store.get_event("e", "room") == here
        assert await store.get_event("e", "other") is None
        there = await store.commit_event(make_event("other", id="e"), at=later(1))
        assert await store.get_event("e", "other") == there
        assert await store.get_event("e") == there  # made at once: that of the lower room id
        await store.delete_room("other")
        assert await store.get_event("e") == here
        await store.delete_event("room", "e")
        assert await store.get_event("e") is None

    async def test_AMB22_a_key_counts_for_its_channel(self, store: ConversationStore) -> None:
        await new_room(store)
        mail = EventSource(channel_id="mail", channel_type="email")
        event = make_event(idempotency_key="k")
        first = await store.commit_event(event, at=later(1))
        other = make_event(idempotency_key="k").model_copy(update={"source": mail})
        second = await store.commit_event(other, at=later(2))
        get = store.get_event_by_idempotency_key
        assert await get("room", "k") == first
        assert await get("room", "k", channel_id="phone") == first
        assert await get("room", "k", channel_id="mail") == second
        assert await get("room", "k", channel_id="fax") is None
        assert await store.check_idempotency("room", "k")
        assert await store.check_idempotency("room", "k", channel_id="mail")
        assert not await store.check_idempotency("room", "k", channel_id="fax")
        again = make_event(idempotency_key="k").model_copy(update={"source": mail})
        with pytest.raises(ValueError, match="'k'"):
            await store.commit_event(again, at=later(3))
        assert await indices(store) == [0, 1]

    async def test_R197_a_key_is_unique_in_its_room(self, store: ConversationStore) -> None:
        await new_room(store)
        await new_room(store, "other")
        first = await store.commit_event(make_event(idempotency_key="k"), at=later(1))
        with pytest.raises(ValueError, match="'k'"):
            await store.commit_event(make_event(idempotency_key="k"), at=later(2))
        await store.commit_event(make_event("other", idempotency_key="k"), at=later(3))
        await store.commit_event(make_event(), at=later(4))
        await store.commit_event(make_event(), at=later(5))
        assert await store.get_event_by_idempotency_key("room", "k") == first
        assert await store.get_event_by_idempotency_key("room", "j") is None
        assert await indices(store) == [0, 1, 2]

    async def test_R195_concurrent_duplicates_commit_once(self, store: ConversationStore) -> None:
        await new_room(store)
        results = await asyncio.gather(
            *(store.commit_event(make_event(idempotency_key="k"), at=later(n)) for n in range(10)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, RoomEvent) for result in results) == 1
        assert sum(isinstance(result, ValueError) for result in results) == 9
        room = await store.get_room("room")
        assert room is not None
        assert room.event_count == 1

    async def test_R96_an_event_id_is_stored_once(self, store: ConversationStore) -> None:
        await new_room(store)
        event = await store.commit_event(make_event(id="e"), at=later(1))
        with pytest.raises(ValueError, match="'e'"):
            await store.commit_event(make_event(id="e", words="again"), at=later(2))
        assert await store.get_event("e", "room") == event
        room = await store.get_room("room")
        assert room is not None
        assert (room.event_count, room.updated_at) == (1, later(1))

    async def test_R102_the_store_owns_its_event(self, store: ConversationStore) -> None:
        await new_room(store)
        metadata: dict[str, Any] = {"deep": [1]}
        event = make_event(id="e", metadata=metadata)
        writing = asyncio.create_task(store.commit_event(event, at=later(1)))
        await asyncio.sleep(0)
        event.metadata["deep"].append(2)
        await writing
        known = await store.get_event("e", "room")
        assert known is not None
        assert known.metadata == {"deep": [1]}

    async def test_R102_everything_inside_is_owned(self, store: ConversationStore) -> None:
        await new_room(store)
        source = EventSource(channel_id="c", channel_type="sms", raw_payload={"a": [{"b": 1}]})
        parts = [RichContent(body="x", buttons=[{"b": 1}])]
        event = RoomEvent(
            id="e",
            room_id="room",
            source=source,
            content=CompositeContent(parts=[*parts, SystemContent(body="y", data={"d": [1]})]),
            addressed_to=["bot"],
            channel_data=ChannelData(extra={"x": [1]}),
            delivery_results={"c": [1]},
        )
        stored = event.model_copy(deep=True, update={"index": 0})
        await store.commit_event(event, at=later(1))
        for content in event.content.parts if event.content.type == "composite" else ():
            if isinstance(content, RichContent):
                content.buttons.append({"c": 2})
            if isinstance(content, SystemContent):
                content.data["d"].append(2)
        event.source.raw_payload["a"][0]["b"] = 2
        event.channel_data.extra["x"].append(2)
        event.delivery_results["c"].append(2)
        event.metadata["new"] = 1
        assert event.addressed_to is not None
        event.addressed_to.append("all")
        assert await store.get_event("e") == stored

    async def test_R7_only_delivery_results_change(self, store: ConversationStore) -> None:
        await new_room(store)
        event = await store.commit_event(make_event(id="e"), at=later(1))
        results = {"phone": {"status": "sent", "at": [1]}}
        await store.set_delivery_results("room", "e", results)
        results["phone"]["at"] = []
        await store.set_delivery_results("room", "unknown", {"a": 1})
        expected = {"phone": {"status": "sent", "at": [1]}}
        known = await store.get_event("e", "room")
        assert known == event.model_copy(update={"delivery_results": expected})
        assert await store.list_events("room") == [known]
