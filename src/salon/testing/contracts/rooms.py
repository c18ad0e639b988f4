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
    ParticipantStatus,
    Room,
    RoomStatus,
    RoomTimers,
    Task,
)
from salon.testing.contracts.samples import (
    indices,
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
        assert await store.get_event("none", "e") is None
        assert await store.get_event_by_idempotency_key("none", "k") is None
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
            await store.put_participant(make_participant(room_id="none"))
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
        stale.status = RoomStatus.CLOSED
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
        await store.add_binding(make_binding())
        await store.put_participant(make_participant())
        await store.add_task(Task(room_id="room", title="t"))
        await store.add_observation(Observation(room_id="room", channel_id="c", content="o"))
        assert await store.delete_room("room") is True
        assert await store.delete_room("room") is False
        await new_room(store)
        assert await indices(store) == []
        assert await store.get_event("room", "e") is None
        assert await store.get_event_by_idempotency_key("room", "k") is None
        assert await store.list_bindings("room") == []
        assert await store.list_participants("room") == []
        assert await store.list_tasks("room") == []
        assert await store.list_observations("room") == []
        assert await store.find_room_ids_by_channel("phone") == []
        event = make_event(id="e", idempotency_key="k")
        assert (await store.commit_event(event, at=later(2))).index == 0
        assert await indices(store, "other") == [0]

    async def test_rooms_are_listed_newest_first(self, store: ConversationStore) -> None:
        for name, at in (("b", 2), ("a", 1), ("d", 4), ("c", 3), ("c2", 3)):
            await new_room(store, name, at=at)
        await new_room(store, "shut", at=9, status=RoomStatus.CLOSED)
        listed = await store.list_rooms()
        assert [room.id for room in listed] == ["shut", "d", "c2", "c", "b", "a"]
        page = await store.list_rooms(status=RoomStatus.ACTIVE, limit=2, offset=1)
        assert [room.id for room in page] == ["c2", "c"]

    async def test_R181_rooms_of_a_channel_oldest_first(self, store: ConversationStore) -> None:
        for name, at in (("z", 1), ("y", 3), ("x", 3), ("w", 2)):
            await new_room(store, name, at=at)
            await store.add_binding(make_binding("phone", name))
        await new_room(store, "unbound", at=0)
        await new_room(store, "shut", at=0, status=RoomStatus.CLOSED)
        await store.add_binding(make_binding("phone", "shut"))
        assert await store.find_room_ids_by_channel("phone") == ["shut", "z"]
        active = RoomStatus.ACTIVE
        found = await store.find_room_ids_by_channel("phone", status=active, limit=9)
        assert found == ["z", "w", "x", "y"]
        await store.remove_binding("z", "phone")
        assert await store.find_room_ids_by_channel("phone", status=active, limit=1) == ["w"]
        assert await store.find_room_ids_by_channel("none") == []

    async def test_R179_the_latest_room_of_a_participant(self, store: ConversationStore) -> None:
        for name, at in (("new", 3), ("old", 1), ("left", 5), ("unbound", 6), ("shut", 4)):
            status = RoomStatus.CLOSED if name == "shut" else RoomStatus.ACTIVE
            await new_room(store, name, at=at, status=status)
            if name != "unbound":
                await store.add_binding(make_binding("phone", name))
            await store.add_binding(make_binding("chat", name, channel_type="websocket"))
            who = make_participant(
                room_id=name,
                status=ParticipantStatus.LEFT if name == "left" else ParticipantStatus.ACTIVE,
            )
            await store.put_participant(who)
        latest = await store.find_latest_room("ann", "voice")
        assert latest == await store.get_room("shut")
        latest = await store.find_latest_room("ann", "voice", status=RoomStatus.ACTIVE)
        assert latest == await store.get_room("new")
        assert await store.find_latest_room("ann", "websocket") is None
        assert await store.find_latest_room("bob", "voice") is None
        both = make_participant(room_id="old", connected_via=["phone", "chat"])
        await store.put_participant(both)
        latest = await store.find_latest_room("ann", "websocket")
        assert latest is not None
        assert latest.id == "old"
