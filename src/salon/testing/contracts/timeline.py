"""Pages of a timeline in a store."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

from typing import Any

import pytest

from salon.core.ports.store import ConversationStore
from salon.models import ChannelType, EventSource, EventStatus, EventType
from salon.models.filters import EventFilter
from salon.testing.contracts.samples import ALL, EVERYTHING, later, make_event, new_room


async def _timeline(store: ConversationStore) -> None:
    """0-9; 3 and 7 blocked, 4 and 8 typing, 5 an edit; 1, 3 and 6 reply to 0, 9 answers 2.

    2 and 5 came through "mail", by bob; 6 has its own visibility, 4 and 5 one correlation id.
    """
    await new_room(store)
    kinds = {4: EventType.TYPING, 8: EventType.TYPING, 5: EventType.EDIT}
    mail = EventSource(channel_id="mail", channel_type=ChannelType.EMAIL, participant_id="bob")
    phone = make_event().source
    for number in range(10):
        event = make_event(
            id=f"e{number}",
            type=kinds.get(number, EventType.MESSAGE),
            status=EventStatus.BLOCKED if number in (3, 7) else EventStatus.DELIVERED,
            visibility="mail" if number == 6 else "all",
            parent_event_id="e0" if number in (1, 3, 6) else None,
            responds_to="e2" if number == 9 else None,
            correlation_id="c" if number in (4, 5) else None,
        )
        changes = {"source": mail if number in (2, 5) else phone, "created_at": later(number)}
        await store.commit_event(event.model_copy(update=changes), at=later(number))


class TimelineContract:
    """R210: every way to page, always ascending."""

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({}, [0, 1, 2, 4, 5, 6, 8, 9]),
            ({"event_filter": EVERYTHING}, list(range(10))),
            ({"limit": 3}, [0, 1, 2]),
            ({"limit": 3, "offset": 2}, [2, 4, 5]),
            ({"limit": 3, "offset": 7}, [9]),
            ({"offset": 8}, []),
            ({"limit": 3, "newest_first": True}, [6, 8, 9]),
            ({"limit": 3, "offset": 2, "newest_first": True}, [4, 5, 6]),
            ({"limit": 3, "offset": 7, "newest_first": True}, [0]),
            ({"offset": 8, "newest_first": True}, []),
            ({"event_filter": EVERYTHING, "limit": 3, "offset": 2}, [2, 3, 4]),
            ({"event_filter": EVERYTHING, "limit": 3, "offset": 9}, [9]),
            ({"event_filter": EVERYTHING, "limit": 3, "offset": 12}, []),
            ({"event_filter": EVERYTHING, "limit": 3, "newest_first": True}, [7, 8, 9]),
            (
                {"event_filter": EVERYTHING, "limit": 3, "newest_first": True, "offset": 8},
                [0, 1],
            ),
            ({"limit": 2, "after_index": 2}, [4, 5]),
            ({"limit": 2, "after_index": 2, "event_filter": EVERYTHING}, [3, 4]),
            ({"limit": 2, "before_index": 5, "event_filter": EVERYTHING}, [3, 4]),
            ({"after_index": -1, "limit": 1}, [0]),
            ({"after_index": 9}, []),
            ({"limit": 2, "after_index": 2, "newest_first": True}, [4, 5]),
            ({"limit": 2, "after_index": 2, "offset": 1}, [4, 5]),
            ({"limit": 2, "before_index": 6}, [4, 5]),
            ({"limit": 2, "before_index": 6, "newest_first": True}, [4, 5]),
            ({"limit": 2, "before_index": 6, "offset": 1}, [4, 5]),
            ({"before_index": 0}, []),
            ({"before_index": 10**30, "limit": 2}, [8, 9]),
            ({"after_index": 10**30}, []),
            ({"limit": 0}, []),
            ({"limit": 0, "before_index": 6}, []),
            ({"visibility_filter": "mail"}, [6]),
            ({"visibility_filter": "mail", "event_filter": EventFilter(visibility="none")}, []),
            ({"visibility_filter": "mail", "event_filter": EVERYTHING}, [6]),
        ],
    )
    async def test_R210_pages(
        self, store: ConversationStore, query: dict[str, Any], expected: list[int]
    ) -> None:
        await _timeline(store)
        found = await store.list_events("room", **query)
        assert [event.index for event in found] == expected

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ({}, [0, 1, 2, 4, 5, 6, 8, 9]),
            ({"event_types": ["message"]}, [0, 1, 2, 6, 9]),
            ({"event_types": ["message"], "include_blocked": True}, [0, 1, 2, 3, 6, 7, 9]),
            ({"event_types": ["typing", "edit"]}, [4, 5, 8]),
            ({"event_types": []}, []),
            ({"exclude_types": ["message"]}, [4, 5, 8]),
            ({"exclude_types": []}, [0, 1, 2, 4, 5, 6, 8, 9]),
            ({"event_types": ["typing", "edit"], "exclude_types": ["typing"]}, [5]),
            ({"event_types": ["message"], "exclude_types": ["message"]}, []),
            ({"visibility": "mail"}, [6]),
            ({"source_channel_id": "mail"}, [2, 5]),
            ({"source_channel_type": "email"}, [2, 5]),
            ({"source_channel_type": "custom:pager"}, []),
            ({"participant_id": "bob"}, [2, 5]),
            ({"participant_id": "bob", "event_types": ["message"]}, [2]),
            ({"correlation_id": "c"}, [4, 5]),
            ({"responds_to": "e2"}, [9]),
            ({"parent_event_id": "e0"}, [1, 6]),
            ({"parent_event_id": "e0", "include_blocked": True}, [1, 3, 6]),
            ({"parent_event_id": "e9"}, []),
            ({"top_level_only": True}, [0, 2, 4, 5, 8, 9]),
            ({"parent_event_id": "e0", "top_level_only": True}, []),
            ({"after_time": later(5)}, [6, 8, 9]),
            ({"before_time": later(5)}, [0, 1, 2, 4]),
            ({"after_time": later(1), "before_time": later(2)}, []),
            ({"after_time": later(4).replace(tzinfo=None)}, [5, 6, 8, 9]),
        ],
    )
    async def test_R210_filters(
        self, store: ConversationStore, wanted: dict[str, Any], expected: list[int]
    ) -> None:
        await _timeline(store)
        event_filter = EventFilter(**wanted)
        for query in ({}, {"newest_first": True}, {"after_index": -1}, {"before_index": ALL}):
            found = await store.list_events("room", event_filter=event_filter, **query)
            assert [event.index for event in found] == expected
        newest = await store.list_events(
            "room", event_filter=event_filter, limit=2, newest_first=True
        )
        assert [event.index for event in newest] == expected[-2:]
        assert await store.get_event_count("room", event_filter) == len(expected)

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

    async def test_R20_the_conversation_is_the_newest_messages(
        self, store: ConversationStore
    ) -> None:
        await _timeline(store)
        newest = await store.get_conversation("room", limit=3)
        assert [event.index for event in newest] == [6, 7, 9]
        further = await store.get_conversation("room", limit=3, after_index=1)
        assert [event.index for event in further] == [2, 3, 6]

    async def test_R210_the_timeline_has_every_kind(self, store: ConversationStore) -> None:
        await _timeline(store)
        oldest = await store.get_timeline("room", limit=4)
        assert [event.index for event in oldest] == [0, 1, 2, 4]
        newest = await store.get_timeline("room", limit=3, newest_first=True)
        assert [event.index for event in newest] == [6, 8, 9]
        after = await store.get_timeline("room", event_filter=EVERYTHING, after_index=6)
        assert [event.index for event in after] == [7, 8, 9]

    async def test_the_count_is_of_what_is_stored(self, store: ConversationStore) -> None:
        await _timeline(store)
        assert await store.get_event_count("room") == 10
        assert await store.get_event_count("room", EventFilter()) == 8
        assert await store.get_event_count("none") == 0
        assert await store.get_event_count("none", EventFilter()) == 0

    async def test_R103_threads_are_summed_up(self, store: ConversationStore) -> None:
        await _timeline(store)
        summaries = await store.get_thread_summaries("room", ["e0", "e2", "none"])
        assert summaries.keys() == {"e0"}
        assert summaries["e0"].root_event_id == "e0"
        assert summaries["e0"].reply_count == 2
        assert summaries["e0"].last_reply_at == later(6)
        refused = make_event(parent_event_id="e2", status=EventStatus.BLOCKED)
        await store.commit_event(refused, at=later(20))
        assert await store.get_thread_summaries("room", {"e2"}) == {}
        assert await store.get_thread_summaries("room", []) == {}
        assert await store.get_thread_summaries("none", ["e0"]) == {}

    async def test_R210_a_long_history(self, store: ConversationStore) -> None:
        await new_room(store)
        for start in range(0, 1000, 250):
            batch = [make_event(words=str(start + number)) for number in range(250)]
            await store.commit_events(batch, at=later(start))
        newest = await store.list_events("room", newest_first=True)
        assert [event.index for event in newest] == list(range(950, 1000))
        middle = await store.list_events("room", before_index=500)
        assert [event.text for event in middle] == [str(number) for number in range(450, 500)]
