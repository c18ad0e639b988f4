"""Rooms in a store."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

import asyncio

import pytest

from salon.core.errors import RoomNotFoundError
from salon.core.ports.store import ConversationStore
from salon.models import (
    AgentResponsePolicy,
    Observation,
    Room,
    RoomStatus,
    RoomTimers,
    Task,
)
from salon.models.identity import Identity
from salon.testing.contracts.samples import (
    indices,
    known_room,
    later,
    make_binding,
    make_event,
    make_participant,
    new_room,
)


class RoomContract:
    """Creation, change, search and deletion."""

    async def test_R208_a_room_is_read_back_whole(self, store: ConversationStore) -> None:
        room = Room(
            id="room",
            organization_id="org",
            status=RoomStatus.PAUSED,
            created_at=later(0.000001),
            updated_at=later(1),
            paused_at=later(1.5),
            closed_at=later(2),
            timers=RoomTimers(
                inactive_after_seconds=60, closed_after_seconds=0, last_activity_at=later(3)
            ),
            metadata={"a": {"b": [1, 2.5, None, True, "ü \u0000 '\""]}},
            agent_response_policy=AgentResponsePolicy.ADDRESSED_ONLY,
        )
        assert await store.create_room(room) == room
        assert await store.get_room("room") == room
        assert await store.list_rooms() == [room]

    async def test_an_unknown_room_reads_as_none_or_empty(self, store: ConversationStore) -> None:
        assert await store.get_room("none") is None
        assert await store.patch_room_metadata("none", {"a": 1}) is None
        assert await store.delete_room("none") is False
        assert await store.advance_delivered_index("none", 3) is False
        assert await store.get_event("e", "none") is None
        assert await store.get_event("e") is None
        assert await store.get_event_by_idempotency_key("none", "k") is None
        assert await store.check_idempotency("none", "k") is False
        assert await store.binding_exists("none", "phone") is False
        assert await store.remove_participant("none", "ann") is False
        assert await store.get_task("t") is None
        assert await store.get_unread_count("none", "phone") == 0
        assert await store.list_read_markers("none") == {}
        assert await store.get_conversation("none") == []
        assert await store.get_timeline("none") == []
        await store.mark_read("none", "phone", "e")
        await store.mark_all_read("none", "phone")
        assert await store.get_binding("none", "phone") is None
        assert await store.remove_binding("none", "phone") is False
        assert await store.get_participant("none", "ann") is None
        await store.set_delivery_results("none", "e", {})
        assert await store.list_events("none") == []
        assert await store.list_bindings("none") == []
        assert await store.list_participants("none") == []
        assert await store.list_tasks("none") == []
        assert await store.list_observations("none") == []

    async def test_writing_into_an_unknown_room_is_refused(self, store: ConversationStore) -> None:
        with pytest.raises(RoomNotFoundError):
            await store.update_room(Room(id="none"))
        with pytest.raises(RoomNotFoundError):
            await store.commit_event(make_event("none"), at=later(1))
        with pytest.raises(RoomNotFoundError):
            await store.add_binding(make_binding(room_id="none"))
        with pytest.raises(RoomNotFoundError):
            await store.add_participant(make_participant(room_id="none"))
        with pytest.raises(RoomNotFoundError):
            await store.add_task(Task(room_id="none", title="t"))
        with pytest.raises(RoomNotFoundError):
            await store.add_observation(Observation(room_id="none", channel_id="c", content="o"))

    async def test_a_room_id_is_given_once(self, store: ConversationStore) -> None:
        await new_room(store)
        with pytest.raises(ValueError, match="room"):
            await new_room(store)

    async def test_R102_rooms_are_owned_on_both_sides(self, store: ConversationStore) -> None:
        room = Room(id="room", metadata={"deep": {"list": [1]}})
        returned = await store.create_room(room)
        room.metadata["deep"]["list"].append(2)
        returned.metadata["deep"]["list"].append(3)
        read = await store.get_room("room")
        assert read is not None
        read.metadata["deep"]["list"].append(4)
        read.status = RoomStatus.CLOSED
        (listed,) = await store.list_rooms()
        listed.metadata["more"] = True
        known = await store.get_room("room")
        assert known is not None
        assert known.metadata == {"deep": {"list": [1]}}
        assert known.status is RoomStatus.ACTIVE
        patch = {"p": {"q": [1]}}
        patched = await store.patch_room_metadata("room", patch)
        patch["p"]["q"].append(2)
        assert patched is not None
        patched.metadata["p"]["q"].append(3)
        known = await store.get_room("room")
        assert known is not None
        assert known.metadata["p"] == {"q": [1]}

    async def test_R212_a_stale_update_rewinds_nothing(self, store: ConversationStore) -> None:
        stale = await new_room(store)
        await store.commit_event(make_event(), at=later(5))
        await store.commit_event(make_event(), at=later(6))
        assert await store.advance_delivered_index("room", 1)
        await store.patch_room_metadata("room", {"name": "new"})
        await store.add_binding(make_binding())
        stale.revision = stale.event_count = 77
        stale.status = RoomStatus.CLOSED
        stale.paused_at = later(6)
        stale.closed_at = later(7)
        stale.organization_id = "org"
        stale.agent_response_policy = AgentResponsePolicy.ADDRESSED_ONLY
        stale.timers = RoomTimers(inactive_after_seconds=5, closed_after_seconds=9)
        stale.metadata = {"name": "old"}
        returned = await store.update_room(stale)
        known = await store.get_room("room")
        assert known is not None
        assert returned == known
        assert (known.event_count, known.latest_index, known.delivered_index) == (2, 1, 1)
        assert known.metadata == {"name": "new"}
        assert known.timers == RoomTimers(
            inactive_after_seconds=5, closed_after_seconds=9, last_activity_at=later(6)
        )
        assert (known.status, known.closed_at) == (RoomStatus.CLOSED, later(7))
        assert (known.paused_at, known.revision) == (later(6), 1)
        assert known.organization_id == "org"
        assert known.agent_response_policy is AgentResponsePolicy.ADDRESSED_ONLY

    async def test_R212_concurrent_patches_all_count(self, store: ConversationStore) -> None:
        await store.create_room(Room(id="room", metadata={"old": 1, "keep": 2}))
        await asyncio.gather(
            store.patch_room_metadata("room", {}, unset=["old", "never"]),
            *(store.patch_room_metadata("room", {f"k{n}": {"n": n}}) for n in range(20)),
            *(store.commit_event(make_event(), at=later(n)) for n in range(20)),
        )
        known = await store.get_room("room")
        assert known is not None
        assert known.metadata == {"keep": 2} | {f"k{n}": {"n": n} for n in range(20)}
        assert known.event_count == 20

    async def test_a_key_both_unset_and_patched_is_set(self, store: ConversationStore) -> None:
        await store.create_room(Room(id="room", metadata={"a": 1}))
        known = await store.patch_room_metadata("room", {"a": 2}, unset=["a"])
        assert known is not None
        assert known.metadata == {"a": 2}

    async def test_R211_deletion_takes_everything(self, store: ConversationStore) -> None:
        await new_room(store, "other")
        await store.commit_event(make_event("other"), at=later(1))
        await new_room(store)
        await store.commit_event(make_event(id="e", idempotency_key="k"), at=later(1))
        await store.add_binding(make_binding(recipient="+1"))
        await store.add_participant(make_participant(external_id="+1"))
        await store.add_task(Task(id="t", room_id="room", title="t"))
        await store.add_observation(Observation(room_id="room", channel_id="c", content="o"))
        await store.mark_all_read("room", "phone")
        await store.create_identity(Identity(id="ann"))
        assert await store.delete_room("room") is True
        assert await store.delete_room("room") is False
        await new_room(store)
        assert await indices(store) == []
        assert await store.get_event("e", "room") is None
        assert await store.get_event_by_idempotency_key("room", "k") is None
        assert await store.list_bindings("room") == []
        assert await store.list_participants("room") == []
        assert await store.list_tasks("room") == []
        assert await store.list_observations("room") == []
        assert await store.list_read_markers("room") == {}
        assert await store.get_task("t") is None
        assert await store.get_event("e") is None
        assert await store.find_room_ids_by_channel("phone") == []
        assert await store.find_room_ids_by_recipient("phone", "+1") == []
        assert await store.find_latest_room("ann") is None
        assert await store.find_latest_room("+1") is None
        assert await store.find_undelivered_rooms() == ["other"]
        assert await store.get_identity("ann") == Identity(id="ann")
        event = make_event(id="e", idempotency_key="k")
        assert (await store.commit_event(event, at=later(2))).index == 0
        assert await indices(store, "other") == [0]

    async def test_the_revision_counts_changes_of_what_is_in_the_room(
        self, store: ConversationStore
    ) -> None:
        await new_room(store)
        expected = 0

        async def moved(by: int) -> None:
            nonlocal expected
            expected += by
            assert (await known_room(store)).revision == expected

        await moved(0)
        await store.add_binding(make_binding())
        await moved(1)
        await store.add_binding(make_binding(muted=True))
        await moved(1)
        await store.update_binding(make_binding())
        await moved(1)
        await store.remove_binding("room", "phone")
        await moved(1)
        await store.remove_binding("room", "phone")
        await moved(0)
        await store.add_participant(make_participant())
        await moved(1)
        await store.update_participant(make_participant(display_name="Ann"))
        await moved(1)
        await store.remove_participant("room", "ann")
        await moved(1)
        await store.remove_participant("room", "ann")
        await moved(0)
        event = await store.commit_event(make_event(id="e"), at=later(1))
        await store.commit_events([make_event(), make_event()], at=later(1))
        await store.set_delivery_results("room", "e", {"a": 1})
        await store.patch_room_metadata("room", {"a": 1})
        await store.update_room(await known_room(store))
        await store.advance_delivered_index("room", 1)
        await store.mark_all_read("room", "phone")
        await store.add_task(Task(room_id="room", title="t"))
        await moved(0)
        await store.update_event(event)
        await moved(1)
        await store.commit_event(make_event(), at=later(2), target=event)
        await moved(1)
        await store.delete_event("room", "e")
        await moved(1)

    async def test_concurrent_changes_all_count(self, store: ConversationStore) -> None:
        await new_room(store)
        await asyncio.gather(
            *(store.add_binding(make_binding(f"c{n}")) for n in range(8)),
            *(store.add_participant(make_participant(f"p{n}")) for n in range(8)),
            *(store.commit_event(make_event(), at=later(n)) for n in range(8)),
        )
        room = await known_room(store)
        assert (room.revision, room.event_count) == (16, 8)
        await asyncio.gather(
            *(store.remove_binding("room", f"c{n}") for n in range(8)),
            *(store.update_participant(make_participant(f"p{n}")) for n in range(8)),
        )
        assert (await known_room(store)).revision == 32
