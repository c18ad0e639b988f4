"""Stored events that are changed or deleted."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.core.errors import RoomNotFoundError
from salon.core.ports.store import ConversationStore, EventNotFoundError
from salon.models import EventSource, EventStatus, EventType, TextContent
from salon.models.filters import EventFilter
from salon.testing.contracts.samples import indices, known_room, later, make_event, new_room


class ChangeContract:
    """Edits, deletions, batches; what they move and what they leave."""

    # -- a commit that changes an earlier event ---------------------------------------------------

    async def test_R111_a_commit_changes_its_target(self, store: ConversationStore) -> None:
        await new_room(store)
        target = await store.commit_event(
            make_event(id="t", idempotency_key="k", metadata={"a": [1]}), at=later(1)
        )
        await store.set_delivery_results("room", "t", {"phone": {"status": "sent"}})
        metadata: dict[str, Any] = {"edited": True, "deep": [1]}
        content = TextContent(body="new")
        changed = target.model_copy(update={"content": content, "metadata": metadata, "index": 9})
        edit = make_event(id="x", type=EventType.EDIT)
        writing = asyncio.create_task(store.commit_event(edit, at=later(2), target=changed))
        await asyncio.sleep(0)
        metadata["deep"].append(2)
        stored = await writing
        assert stored.index == 1
        known = await store.get_event("t", "room")
        assert known is not None
        assert (known.index, known.text, known.idempotency_key) == (0, "new", "k")
        assert known.metadata == {"edited": True, "deep": [1]}
        assert known.delivery_results == {"phone": {"status": "sent"}}
        assert [event.text for event in await store.list_events("room")] == ["new", "hello"]
        room = await known_room(store)
        assert (room.event_count, room.latest_index, room.revision) == (2, 1, 1)

    async def test_R99_an_unknown_target_stores_nothing(self, store: ConversationStore) -> None:
        await new_room(store)
        await new_room(store, "other")
        there = await store.commit_event(make_event("other", id="t"), at=later(1))
        here = there.model_copy(update={"room_id": "room"})
        for target in (make_event(id="none"), there, here):
            with pytest.raises(EventNotFoundError):
                await store.commit_event(make_event(), at=later(2), target=target)
        itself = make_event()
        with pytest.raises(EventNotFoundError):
            await store.commit_event(itself, at=later(2), target=itself)
        with pytest.raises(RoomNotFoundError):
            await store.commit_event(
                make_event("none"), at=later(2), target=make_event("none", id="t")
            )
        assert await indices(store) == []
        room = await known_room(store)
        assert (room.event_count, room.latest_index, room.revision) == (0, None, 0)
        assert await store.get_event("t", "other") == there

    async def test_R99_a_refused_commit_leaves_its_target(self, store: ConversationStore) -> None:
        await new_room(store)
        target = await store.commit_event(make_event(id="t", idempotency_key="k"), at=later(1))
        changed = target.model_copy(update={"content": TextContent(body="new")})
        with pytest.raises(ValueError, match="'k'"):
            await store.commit_event(make_event(idempotency_key="k"), at=later(2), target=changed)
        assert await store.get_event("t", "room") == target
        assert (await known_room(store)).revision == 0

    async def test_R111_concurrent_commits_and_changes(self, store: ConversationStore) -> None:
        await new_room(store)
        target = await store.commit_event(make_event(id="t"), at=later(0))

        async def edit(number: int) -> None:
            changed = target.model_copy(update={"content": TextContent(body=str(number))})
            await store.commit_event(make_event(), at=later(number), target=changed)

        lost = store.commit_event(make_event(), at=later(1), target=make_event(id="none"))
        calls = [store.commit_event(make_event(), at=later(n)) for n in range(10)]
        outcomes = await asyncio.gather(
            *(edit(number) for number in range(10)), lost, *calls, return_exceptions=True
        )
        assert [str(type(item)) for item in outcomes if isinstance(item, Exception)] == [
            str(EventNotFoundError)
        ]
        assert await indices(store) == list(range(21))
        room = await known_room(store)
        assert (room.event_count, room.revision) == (21, 10)

    # -- batches ----------------------------------------------------------------------------------

    async def test_R94_a_batch_is_stored_wholly_or_not(self, store: ConversationStore) -> None:
        await new_room(store)
        batch = [make_event(words=str(number), metadata={"n": [number]}) for number in range(60)]
        stored = await store.commit_events(batch, at=later(1))
        assert [event.index for event in stored] == list(range(60))
        assert await store.list_events("room", limit=60) == stored
        twice = EventSource(channel_id="mail", channel_type="email")
        for bad, said in (
            ([make_event(id="x"), make_event(id="x")], "'x'"),
            ([make_event(idempotency_key="y"), make_event(idempotency_key="y")], "'y'"),
            ([make_event(), batch[7]], batch[7].id),
            ([make_event(), make_event("other")], "one room"),
        ):
            with pytest.raises(ValueError, match=said):
                await store.commit_events(bad, at=later(2))
        with pytest.raises(RoomNotFoundError):
            await store.commit_events([make_event("none")] * 2, at=later(2))
        assert await store.commit_events([], at=later(3)) == []
        room = await known_room(store)
        assert (room.event_count, room.latest_index, room.updated_at) == (60, 59, later(1))
        other = make_event(idempotency_key="y").model_copy(update={"source": twice})
        await store.commit_events([make_event(idempotency_key="y"), other], at=later(4))
        assert await indices(store) == list(range(62))

    async def test_R102_the_store_owns_its_batch(self, store: ConversationStore) -> None:
        await new_room(store)
        event = make_event(id="e", metadata={"deep": [1]})
        await store.commit_events([event], at=later(1))
        event.metadata["deep"].append(2)
        known = await store.get_event("e")
        assert known is not None
        assert known.metadata == {"deep": [1]}

    # -- direct changes ---------------------------------------------------------------------------

    async def test_R114_an_event_is_replaced_where_it_is(self, store: ConversationStore) -> None:
        await new_room(store)
        for name in "abc":
            await store.commit_event(make_event(id=name, idempotency_key=name), at=later(1))
        await store.set_delivery_results("room", "b", {"x": {"status": "sent"}})
        known = await store.get_event("b", "room")
        assert known is not None
        source = EventSource(channel_id="mail", channel_type="email", participant_id="bob")
        metadata = {"deep": [1]}
        changed = known.model_copy(
            update={
                "content": TextContent(body="new"),
                "source": source,
                "metadata": metadata,
                "idempotency_key": None,
                "delivery_results": {},
                "index": 7,
                "parent_event_id": "a",
                "type": EventType.SYSTEM,
            }
        )
        stored = await store.update_event(changed)
        metadata["deep"].append(2)
        expected = changed.model_copy(
            update={
                "index": 1,
                "metadata": {"deep": [1]},
                "idempotency_key": "b",
                "delivery_results": {"x": {"status": "sent"}},
            }
        )
        assert await store.get_event("b", "room") == expected
        assert stored is not None
        assert stored.index == 1
        assert await indices(store) == [0, 1, 2]
        # It is found by what it is now, its key by where it came from then (AMB-22).
        for wanted in (
            EventFilter(source_channel_id="mail"),
            EventFilter(participant_id="bob"),
            EventFilter(parent_event_id="a"),
            EventFilter(event_types=[EventType.SYSTEM]),
        ):
            assert await store.list_events("room", event_filter=wanted) == [expected]
        messages = await store.get_conversation("room")
        assert [event.index for event in messages] == [0, 2]
        assert await store.check_idempotency("room", "b", channel_id="phone")
        assert not await store.check_idempotency("room", "b", channel_id="mail")
        back = await store.update_event(known)
        assert back is not None
        assert [event.index for event in await store.get_conversation("room")] == [0, 1, 2]
        assert await store.get_thread_summaries("room", ["a"]) == {}
        room = await known_room(store)
        assert (room.event_count, room.latest_index, room.revision) == (3, 2, 2)

    async def test_R116_changing_what_is_not_there_does_nothing(
        self, store: ConversationStore
    ) -> None:
        await new_room(store)
        assert await store.update_event(make_event(id="x")) is None
        assert await store.update_event(make_event("none", id="x")) is None
        assert await store.delete_event("room", "x") == []
        assert await store.delete_event("none", "x") == []
        assert (await known_room(store)).revision == 0

    # -- deletion ---------------------------------------------------------------------------------

    async def test_R115_a_deletion_takes_the_replies(self, store: ConversationStore) -> None:
        await new_room(store)
        parents = {2: "e1", 4: "e1", 3: "e0"}
        for number in range(6):
            event = make_event(id=f"e{number}", parent_event_id=parents.get(number))
            await store.commit_event(event, at=later(number))
        gone = await store.delete_event("room", "e1")
        assert [event.id for event in gone] == ["e1", "e2", "e4"]
        assert await indices(store) == [0, 3, 5]
        for name in ("e1", "e2", "e4"):
            assert await store.get_event(name) is None
            assert await store.get_event(name, "room") is None
        assert (await store.get_thread_summaries("room", ["e0", "e1"])).keys() == {"e0"}
        alone = await store.delete_event("room", "e0", cascade_replies=False)
        assert [event.id for event in alone] == ["e0"]
        assert await indices(store) == [3, 5]
        assert (await known_room(store)).revision == 2

    async def test_R115_the_root_comes_first_whatever_its_index(
        self, store: ConversationStore
    ) -> None:
        await new_room(store)
        for name, parent in (("early", "root"), ("root", None), ("late", "root")):
            await store.commit_event(make_event(id=name, parent_event_id=parent), at=later(1))
        gone = await store.delete_event("room", "root")
        assert [event.id for event in gone] == ["root", "early", "late"]

    async def test_R98_an_index_is_never_used_again(self, store: ConversationStore) -> None:
        await new_room(store)
        for number in range(4):
            await store.commit_event(make_event(id=f"e{number}"), at=later(number))
        await store.delete_event("room", "e3")
        await store.delete_event("room", "e1")
        room = await known_room(store)
        assert (room.event_count, room.latest_index) == (4, 3)  # R117
        assert await store.get_event_count("room") == 2
        assert (await store.commit_event(make_event(), at=later(9))).index == 4
        assert await indices(store) == [0, 2, 4]
        assert [e.index for e in await store.list_events("room", after_index=0, limit=1)] == [2]
        assert [e.index for e in await store.list_events("room", before_index=4, limit=1)] == [2]
        assert [e.index for e in await store.list_events("room", before_index=2, limit=5)] == [0]
        changed = (await store.list_events("room", after_index=0, limit=1))[0].model_copy(
            update={"content": TextContent(body="new")}
        )
        await store.update_event(changed)
        assert [event.text for event in await store.list_events("room")] == [
            "hello",
            "new",
            "hello",
        ]

    async def test_a_deleted_event_frees_its_id_and_key(self, store: ConversationStore) -> None:
        await new_room(store)
        first = make_event(id="e", idempotency_key="k")
        mail = EventSource(channel_id="mail", channel_type="email")
        other = make_event(id="f", idempotency_key="k").model_copy(update={"source": mail})
        await store.commit_events([first, other], at=later(1))
        await store.delete_event("room", "e")
        left = await store.get_event_by_idempotency_key("room", "k")
        assert left is not None
        assert left.id == "f"
        assert not await store.check_idempotency("room", "k", channel_id="phone")
        assert (await store.commit_event(first, at=later(2))).index == 2

    async def test_concurrent_changes_deletions_and_commits(self, store: ConversationStore) -> None:
        await new_room(store)
        made = [
            await store.commit_event(
                make_event(id=f"e{number}", status=EventStatus.DELIVERED), at=later(number)
            )
            for number in range(20)
        ]
        await asyncio.gather(
            *(store.update_event(event) for event in made),
            *(store.delete_event("room", event.id) for event in made[::2]),
            *(store.commit_event(make_event(), at=later(30 + n)) for n in range(10)),
            *(store.set_delivery_results("room", event.id, {"a": 1}) for event in made),
        )
        assert await indices(store) == [*range(1, 20, 2), *range(20, 30)]
        room = await known_room(store)
        assert (room.event_count, room.latest_index) == (30, 29)
        assert 20 <= room.revision <= 30
