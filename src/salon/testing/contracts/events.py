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
    RoomEvent,
    TextContent,
)
from salon.testing.contracts.samples import ALL, indices, later, make_event, new_room


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
        assert await store.get_event("room", "e") == stored
        assert await store.get_event_by_idempotency_key("room", "k") == stored
        assert await store.list_events("room", include_blocked=True) == [stored]

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
            assert await store.get_event("room", event.id) == event

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
        assert await store.get_event("room", "e") == event
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
        returned = await writing
        returned.metadata["deep"].append(3)
        known = await store.get_event("room", "e")
        assert known is not None
        assert known.metadata == {"deep": [1]}

    async def test_R7_only_delivery_results_change(self, store: ConversationStore) -> None:
        await new_room(store)
        event = await store.commit_event(make_event(id="e"), at=later(1))
        results = {"phone": {"status": "sent", "at": [1]}}
        await store.set_delivery_results("room", "e", results)
        results["phone"]["at"] = []
        await store.set_delivery_results("room", "unknown", {"a": 1})
        expected = {"phone": {"status": "sent", "at": [1]}}
        known = await store.get_event("room", "e")
        assert known == event.model_copy(update={"delivery_results": expected})
        assert await store.list_events("room") == [known]

    async def test_delivered_index_only_rises(self, store: ConversationStore) -> None:
        await new_room(store)
        assert await store.advance_delivered_index("room", 0) is True
        assert await store.advance_delivered_index("room", 0) is False
        results = await asyncio.gather(*(store.advance_delivered_index("room", 5) for _ in "abcd"))
        assert sorted(results) == [False, False, False, True]
        assert await store.advance_delivered_index("room", 4) is False
        room = await store.get_room("room")
        assert room is not None
        assert room.delivered_index == 5


async def _timeline(store: ConversationStore) -> None:
    """0-9; 3 and 7 blocked, 4 and 8 typing, 5 an edit."""
    await new_room(store)
    kinds = {4: EventType.TYPING, 8: EventType.TYPING, 5: EventType.EDIT}
    for number in range(10):
        await store.commit_event(
            make_event(
                type=kinds.get(number, EventType.MESSAGE),
                status=EventStatus.BLOCKED if number in (3, 7) else EventStatus.DELIVERED,
            ),
            at=later(number),
        )


class TimelineContract:
    """R210: every way to page, always ascending."""

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({}, [0, 1, 2, 4, 5, 6, 8, 9]),
            ({"include_blocked": True}, list(range(10))),
            ({"limit": 3}, [0, 1, 2]),
            ({"limit": 3, "offset": 2}, [2, 4, 5]),
            ({"limit": 3, "offset": 7}, [9]),
            ({"offset": 8}, []),
            ({"limit": 3, "newest_first": True}, [6, 8, 9]),
            ({"limit": 3, "offset": 2, "newest_first": True}, [4, 5, 6]),
            ({"limit": 3, "offset": 7, "newest_first": True}, [0]),
            ({"offset": 8, "newest_first": True}, []),
            ({"limit": 2, "after_index": 2}, [4, 5]),
            ({"limit": 2, "after_index": 2, "include_blocked": True}, [3, 4]),
            ({"after_index": -1, "limit": 1}, [0]),
            ({"after_index": 9}, []),
            ({"limit": 2, "after_index": 2, "newest_first": True}, [4, 5]),
            ({"limit": 2, "before_index": 6}, [4, 5]),
            ({"limit": 2, "before_index": 6, "newest_first": True}, [4, 5]),
            ({"before_index": 0}, []),
            ({"before_index": 10**30, "limit": 2}, [8, 9]),
            ({"after_index": 10**30}, []),
            ({"limit": 0}, []),
            ({"limit": 0, "before_index": 6}, []),
            ({"types": [EventType.TYPING, EventType.EDIT]}, [4, 5, 8]),
            ({"types": [EventType.TYPING], "newest_first": True, "limit": 1}, [8]),
            ({"types": []}, []),
            ({"exclude_types": [EventType.MESSAGE]}, [4, 5, 8]),
            (
                {
                    "types": [EventType.TYPING, EventType.EDIT],
                    "exclude_types": {EventType.TYPING},
                },
                [5],
            ),
        ],
    )
    async def test_R210_pages(
        self, store: ConversationStore, query: dict[str, Any], expected: list[int]
    ) -> None:
        await _timeline(store)
        found = await store.list_events("room", **query)
        assert [event.index for event in found] == expected

    async def test_R210_the_cursors_exclude_each_other(self, store: ConversationStore) -> None:
        await new_room(store)
        with pytest.raises(ValueError, match="exclude"):
            await store.list_events("room", after_index=1, before_index=5)

    async def test_R210_paging_meets_every_event_once(self, store: ConversationStore) -> None:
        await _timeline(store)
        forwards: list[int] = []
        while page := await store.list_events(
            "room", limit=3, after_index=forwards[-1] if forwards else -1
        ):
            forwards += [event.index for event in page]
        backwards: list[int] = []
        while page := await store.list_events(
            "room", limit=3, before_index=backwards[0] if backwards else ALL
        ):
            backwards = [event.index for event in page] + backwards
        assert forwards == backwards == [0, 1, 2, 4, 5, 6, 8, 9]
