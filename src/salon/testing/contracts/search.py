"""Rooms that a store finds."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

import pytest

from salon.core.ports.store import ConversationStore
from salon.models import ParticipantStatus, RoomStatus, RoomTimers
from salon.testing.contracts.samples import (
    known_room,
    later,
    make_binding,
    make_event,
    make_participant,
    new_room,
)

ACTIVE, PAUSED, CLOSED = RoomStatus.ACTIVE, RoomStatus.PAUSED, RoomStatus.CLOSED


class SearchContract:
    """By age, organization, metadata, channel, participant, timer and delivery."""

    async def test_rooms_are_listed_newest_first(self, store: ConversationStore) -> None:
        for name, at in (("b", 2), ("a", 1), ("d", 4), ("c", 3), ("c2", 3)):
            await new_room(store, name, at=at)
        await new_room(store, "shut", at=9, status=CLOSED)
        listed = await store.list_rooms()
        assert [room.id for room in listed] == ["shut", "d", "c2", "c", "b", "a"]
        page = await store.list_rooms(1, 2, status=ACTIVE)
        assert [room.id for room in page] == ["c2", "c"]
        assert await store.list_rooms(limit=0) == []
        assert await store.list_rooms(offset=6) == []

    async def test_R267_rooms_of_an_organization(self, store: ConversationStore) -> None:
        for number, organization in enumerate(("x", "y", None, "x")):
            await new_room(store, f"r{number}", at=number, organization_id=organization)
        assert [room.id for room in await store.list_rooms(organization_id="x")] == ["r3", "r0"]
        assert [room.id for room in await store.find_rooms("y")] == ["r1"]
        assert await store.find_rooms("none") == []
        moved = await known_room(store, "r0")
        moved.organization_id, moved.status = "y", CLOSED
        await store.update_room(moved)
        assert [room.id for room in await store.list_rooms(organization_id="x")] == ["r3"]
        assert [room.id for room in await store.find_rooms("y")] == ["r1", "r0"]
        assert [room.id for room in await store.find_rooms("y", CLOSED)] == ["r0"]
        assert [room.id for room in await store.find_rooms(status=ACTIVE)] == ["r3", "r2", "r1"]

    async def test_rooms_by_metadata(self, store: ConversationStore) -> None:
        for number in range(6):
            metadata = {"even": number % 2 == 0, "deep": {"n": number % 3, "nul": "\0"}}
            await new_room(store, f"r{number}", at=number, metadata=metadata)
        await new_room(store, "plain", at=9)
        found = await store.find_rooms(metadata_filter={"even": True})
        assert [room.id for room in found] == ["r4", "r2", "r0"]
        page = await store.find_rooms(metadata_filter={"even": True}, limit=1, offset=1)
        assert [room.id for room in page] == ["r2"]
        both = {"even": False, "deep": {"n": 2, "nul": "\0"}}
        assert [room.id for room in await store.find_rooms(metadata_filter=both)] == ["r5"]
        assert await store.find_rooms(metadata_filter={"deep": {"n": 2}}) == []
        assert await store.find_rooms(metadata_filter={"none": None}) == []
        assert len(await store.find_rooms(metadata_filter={})) == 7
        assert await store.find_rooms(metadata_filter={"even": True}, limit=0) == []
        await store.patch_room_metadata("r4", {"even": False})
        found = await store.find_rooms(metadata_filter={"even": True})
        assert [room.id for room in found] == ["r2", "r0"]

    async def test_rooms_by_metadata_go_on_past_those_that_do_not_fit(
        self, store: ConversationStore
    ) -> None:
        for number in range(450):
            metadata = {"k": number} if number % 200 == 0 else {}
            await new_room(store, f"r{number}", at=number // 7, metadata=metadata)
        for number in (0, 200, 400):
            found = await store.find_rooms(metadata_filter={"k": number}, limit=2)
            assert [room.id for room in found] == [f"r{number}"]

    async def test_R181_rooms_of_a_channel_oldest_first(self, store: ConversationStore) -> None:
        for name, at in (("z", 1), ("y", 3), ("x", 3), ("w", 2)):
            await new_room(store, name, at=at)
            await store.add_binding(make_binding("phone", name))
        await new_room(store, "unbound", at=0)
        await new_room(store, "shut", at=0, status=CLOSED, organization_id="org")
        await store.add_binding(make_binding("phone", "shut"))
        find = store.find_room_ids_by_channel
        assert await find("phone") == ["shut", "z"]
        assert await find("phone", statuses=[ACTIVE], limit=9) == ["z", "w", "x", "y"]
        assert await find("phone", statuses={ACTIVE, CLOSED}, limit=3) == ["shut", "z", "w"]
        assert await find("phone", statuses=[]) == []
        assert await find("phone", organization_id="org") == ["shut"]
        assert await find("phone", organization_id="org", statuses=[ACTIVE]) == []
        await store.remove_binding("z", "phone")
        assert await find("phone", statuses=[ACTIVE], limit=1) == ["w"]
        assert await find("phone", limit=0) == []
        assert await find("none") == []
        room = await known_room(store, "w")
        room.status = PAUSED
        await store.update_room(room)
        assert await find("phone", statuses=[ACTIVE], limit=9) == ["x", "y"]
        assert await find("phone", statuses=[PAUSED]) == ["w"]
        await store.delete_room("x")
        assert await find("phone", statuses=[ACTIVE], limit=9) == ["y"]

    async def test_R179_the_latest_room_of_a_participant(self, store: ConversationStore) -> None:
        for name, at in (("new", 3), ("old", 1), ("left", 5), ("unbound", 6), ("shut", 4)):
            await new_room(store, name, at=at, status=CLOSED if name == "shut" else ACTIVE)
            if name != "unbound":
                await store.add_binding(make_binding("phone", name))
            await store.add_binding(make_binding("chat", name, channel_type="websocket"))
            status = ParticipantStatus.LEFT if name == "left" else ParticipantStatus.ACTIVE
            await store.add_participant(make_participant(room_id=name, status=status))
        latest = await store.find_latest_room("ann", "voice")
        assert latest == await store.get_room("shut")
        latest = await store.find_latest_room("ann", "voice", ACTIVE)
        assert latest == await store.get_room("new")
        latest = await store.find_latest_room("ann", "voice", statuses=[ACTIVE, CLOSED])
        assert latest == await store.get_room("shut")
        assert await store.find_latest_room("ann", statuses=[PAUSED]) is None
        assert await store.find_latest_room("ann", "websocket") is None
        assert await store.find_latest_room("bob", "voice") is None
        both = make_participant(room_id="old", connected_via=["phone", "chat"])
        await store.add_participant(both)
        latest = await store.find_latest_room("ann", "websocket")
        assert latest is not None
        assert latest.id == "old"

    async def test_AMB1_the_latest_room_on_one_channel(self, store: ConversationStore) -> None:
        for name, at in (("one", 1), ("two", 2), ("three", 3)):
            await new_room(store, name, at=at, organization_id=name)
            for channel_id in ("phone", "mobile"):
                await store.add_binding(make_binding(channel_id, name))
            through = "phone" if name == "one" else "mobile"
            await store.add_participant(make_participant(room_id=name, channel_id=through))

        async def latest(channel_id: str | None = None, organization: str | None = None) -> str:
            room = await store.find_latest_room(
                "ann", channel_id=channel_id, organization_id=organization
            )
            return "" if room is None else room.id

        assert await latest() == "three"
        assert await latest("mobile") == "three"
        assert await latest("phone") == "one"
        assert await latest("mobile", "two") == "two"
        assert await latest("phone", "two") == ""
        room = await known_room(store, "three")
        room.status = CLOSED
        await store.update_room(room)
        found = await store.find_latest_room("ann", channel_id="mobile", statuses=[ACTIVE, PAUSED])
        assert found is not None
        assert found.id == "two"
        await store.remove_binding("two", "mobile")
        assert await store.find_latest_room("ann", status=ACTIVE, channel_id="mobile") is None
        await store.remove_participant("three", "ann")
        assert await latest("mobile") == ""

    async def test_R181_of_rooms_made_at_once_the_highest_id_is_the_latest(
        self, store: ConversationStore
    ) -> None:
        for name in ("b", "c", "a"):
            await new_room(store, name)
            await store.add_binding(make_binding("phone", name))
            await store.add_participant(make_participant(room_id=name))
        latest = await store.find_latest_room("ann", "voice")
        assert latest is not None
        assert latest.id == "c"

    # -- timers -----------------------------------------------------------------------------------

    async def test_R28_an_idle_room_falls_due(self, store: ConversationStore) -> None:
        timers = RoomTimers(inactive_after_seconds=60, closed_after_seconds=10)
        await new_room(store, "new", timers=timers)
        await new_room(store, "busy", timers=timers)
        await new_room(store, "untimed")
        await new_room(store, "closing", timers=RoomTimers(closed_after_seconds=1))
        await store.commit_event(make_event("busy"), at=later(50))
        assert await store.find_rooms_due(later(59.999999)) == []
        assert await store.find_rooms_due(later(60)) == ["new"]
        assert await store.find_rooms_due(later(60)) == ["new"]
        assert await store.find_rooms_due(later(109)) == ["new"]
        assert await store.find_rooms_due(later(110)) == ["new", "busy"]
        assert await store.find_rooms_due(later(110), limit=1) == ["new"]
        await store.commit_events([make_event("new"), make_event("new")], at=later(100))
        assert await store.find_rooms_due(later(159)) == ["busy"]
        assert await store.find_rooms_due(later(160)) == ["busy", "new"]
        await store.delete_room("busy")
        assert await store.find_rooms_due(later(999)) == ["new"]

    async def test_R29_a_paused_room_falls_due(self, store: ConversationStore) -> None:
        timers = RoomTimers(inactive_after_seconds=60, closed_after_seconds=10)
        room = await new_room(store, timers=timers)
        room.status, room.paused_at = PAUSED, later(60)
        await store.update_room(room)
        assert (await known_room(store)).paused_at == later(60)
        assert await store.find_rooms_due(later(69)) == []
        assert await store.find_rooms_due(later(70)) == ["room"]
        await store.commit_event(make_event(), at=later(65))
        assert await store.find_rooms_due(later(70)) == ["room"]
        room.status, room.paused_at = ACTIVE, None
        await store.update_room(room)
        assert await store.find_rooms_due(later(124)) == []
        assert await store.find_rooms_due(later(125)) == ["room"]
        room.status = CLOSED
        await store.update_room(room)
        assert await store.find_rooms_due(later(999)) == []

    async def test_R30_new_thresholds_count_from_the_last_activity(
        self, store: ConversationStore
    ) -> None:
        room = await new_room(store)
        await store.commit_event(make_event(), at=later(100))
        room.timers = RoomTimers(inactive_after_seconds=1000)
        await store.update_room(room)
        assert await store.find_rooms_due(later(1099)) == []
        room.timers = RoomTimers(inactive_after_seconds=5)
        await store.update_room(room)
        assert await store.find_rooms_due(later(104)) == []
        assert await store.find_rooms_due(later(105)) == ["room"]
        room.timers = RoomTimers(inactive_after_seconds=3_000_000)
        await store.update_room(room)
        assert await store.find_rooms_due(later(105)) == []
        assert await store.find_rooms_due(later(3_000_100)) == ["room"]
        await store.commit_event(make_event(), at=later(50))  # a clock that went back
        assert await store.find_rooms_due(later(3_000_050)) == ["room"]
        room.timers = RoomTimers()
        await store.update_room(room)
        assert await store.find_rooms_due(later(9_000_000)) == []

    async def test_many_rooms_fall_due_in_order(self, store: ConversationStore) -> None:
        for number in range(20):
            timers = RoomTimers(inactive_after_seconds=(number * 7) % 20)
            await new_room(store, f"r{number:02}", timers=timers)
        for number in range(0, 20, 2):
            await store.commit_event(make_event(f"r{number:02}"), at=later(100))
        due = await store.find_rooms_due(later(1000))
        order = {
            (number * 7) % 20 + (100 if number % 2 == 0 else 0): number for number in range(20)
        }
        assert due == [f"r{order[at]:02}" for at in sorted(order)]
        assert await store.find_rooms_due(later(1000), limit=3) == due[:3]
        assert await store.find_rooms_due(later(99)) == due[:10]

    # -- delivery ---------------------------------------------------------------------------------

    async def test_delivered_index_only_rises(self, store: ConversationStore) -> None:
        await new_room(store)
        assert await store.get_delivered_index("room") == -1
        assert await store.advance_delivered_index("room", 0) is True
        assert await store.advance_delivered_index("room", 0) is False
        assert await store.advance_delivered_index("room", 5) is True
        assert await store.advance_delivered_index("room", 4) is False
        await store.advance_delivered_indexes({"room": 3})
        assert await store.get_delivered_index("room") == 5
        assert (await known_room(store)).delivered_index == 5
        assert await store.get_delivered_index("none") == -1

    async def test_many_delivered_indexes_at_once(self, store: ConversationStore) -> None:
        for name in "cab":
            await new_room(store, name)
        await store.advance_delivered_index("a", 7)
        await store.advance_delivered_indexes({"b": 3, "none": 1, "a": 5, "c": 9})
        found = [await store.get_delivered_index(name) for name in "abc"]
        assert found == [7, 3, 9]
        await store.advance_delivered_indexes({})

    async def test_R207_rooms_with_something_to_deliver(self, store: ConversationStore) -> None:
        for name in ("d", "B", "a", "c", "empty"):
            await new_room(store, name)
            if name != "empty":
                await store.commit_events([make_event(name), make_event(name)], at=later(1))
        find = store.find_undelivered_rooms
        assert await find() == ["B", "a", "c", "d"]
        assert await find(limit=2) == ["B", "a"]
        assert await find(after="a") == ["c", "d"]
        assert await find(after="b", limit=1) == ["c"]
        assert await find(after="d") == []
        await store.advance_delivered_index("a", 0)
        await store.advance_delivered_indexes({"c": 1, "d": 0})
        assert await find() == ["B", "a", "d"]
        await store.advance_delivered_index("a", 1)
        await store.delete_room("B")
        assert await find() == ["d"]
        await store.commit_event(make_event("c"), at=later(2))
        assert await find() == ["c", "d"]

    @pytest.mark.parametrize("name", ["room", "ünï 🎈"])
    async def test_room_exists(self, store: ConversationStore, name: str) -> None:
        assert await store.room_exists(name) is False
        await new_room(store, name)
        assert await store.room_exists(name) is True
        await store.delete_room(name)
        assert await store.room_exists(name) is False
