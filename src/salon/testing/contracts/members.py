"""Bindings, participants and side effects in a store."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

from typing import Any

import pytest

from salon.core.errors import ChannelNotFoundError, ParticipantNotFoundError
from salon.core.ports.store import ConversationStore, TaskNotFoundError
from salon.models import (
    ChannelCapabilities,
    EventStatus,
    EventType,
    IdentificationStatus,
    Observation,
    ParticipantRole,
    ParticipantStatus,
    RateLimit,
    RetryPolicy,
    RoomStatus,
    Task,
    TaskStatus,
)
from salon.testing.contracts.samples import (
    known_room,
    later,
    make_binding,
    make_event,
    make_participant,
    new_room,
)


class MemberContract:
    """Who and what is in a room."""

    async def test_R208_a_binding_is_read_back_whole(self, store: ConversationStore) -> None:
        await new_room(store)
        binding = make_binding(
            visibility="a,b",
            muted=True,
            participant_id="ann",
            last_read_index=3,
            capabilities=ChannelCapabilities(max_length=10, custom={"a": [1]}),
            rate_limit=RateLimit(max_per_second=0.5),
            retry_policy=RetryPolicy(max_retries=1),
            metadata={"deep": {"n": 1}},
        )
        assert await store.add_binding(binding) == binding
        assert await store.get_binding("room", "phone") == binding
        assert await store.list_bindings("room") == [binding]

    async def test_bindings_keep_the_order_of_attachment(self, store: ConversationStore) -> None:
        await new_room(store)
        await new_room(store, "other")
        for name in ("c", "a", "b"):
            await store.add_binding(make_binding(name))
        await store.add_binding(make_binding("a", "other"))
        muted = make_binding("c", muted=True, channel_type="sms")
        await store.add_binding(muted)
        listed = await store.list_bindings("room")
        assert [item.channel_id for item in listed] == ["c", "a", "b"]
        assert listed[0] == await store.get_binding("room", "c") == muted
        assert await store.remove_binding("room", "c") is True
        assert await store.remove_binding("room", "c") is False
        assert await store.get_binding("room", "c") is None
        await store.add_binding(muted)
        assert [item.channel_id for item in await store.list_bindings("room")] == ["a", "b", "c"]
        assert len(await store.list_bindings("other")) == 1

    async def test_a_binding_is_changed_where_it_is(self, store: ConversationStore) -> None:
        await new_room(store)
        for name in ("a", "b"):
            await store.add_binding(make_binding(name))
        changed = make_binding("a", muted=True, channel_type="sms", metadata={"n": 1})
        assert await store.update_binding(changed) == changed
        assert await store.list_bindings("room") == [changed, make_binding("b")]
        assert await store.binding_exists("room", "a") is True
        assert await store.binding_exists("room", "c") is False
        for unknown in (make_binding("c"), make_binding("a", "none")):
            with pytest.raises(ChannelNotFoundError):
                await store.update_binding(unknown)
        assert (await known_room(store)).revision == 3

    async def test_R102_the_store_owns_its_bindings(self, store: ConversationStore) -> None:
        await new_room(store)
        binding = make_binding(metadata={"a": [1]})
        await store.add_binding(binding)
        binding.metadata["a"].append(2)
        binding.metadata["b"] = 1
        binding.capabilities.custom["c"] = 1
        binding.capabilities.media_types.clear()
        known = await store.get_binding("room", "phone")
        assert known == make_binding(metadata={"a": [1]})

    async def test_R35_one_record_per_participant(self, store: ConversationStore) -> None:
        await new_room(store)
        await new_room(store, "other")
        for name in ("cid", "ann", "bob"):
            await store.add_participant(make_participant(name))
        await store.add_participant(make_participant("ann", "other"))
        changed = make_participant(
            "cid",
            display_name="Cid",
            role=ParticipantRole.OWNER,
            identification=IdentificationStatus.AMBIGUOUS,
            candidates=["x", "y"],
            connected_via=["phone", "chat"],
            resolved_at=later(3),
            metadata={"a": 1},
        )
        assert await store.add_participant(changed) == changed
        assert await store.get_participant("room", "cid") == changed
        listed = await store.list_participants("room")
        assert [item.id for item in listed] == ["cid", "ann", "bob"]
        assert listed[0] == changed
        assert await store.get_participant("room", "dan") is None

    async def test_R102_the_store_owns_its_participants(self, store: ConversationStore) -> None:
        await new_room(store)
        person = make_participant(metadata={"a": [1]})
        await store.add_participant(person)
        person.connected_via.append("chat")
        person.metadata["a"].append(2)
        known = await store.get_participant("room", "ann")
        assert known == make_participant(metadata={"a": [1]})

    async def test_a_participant_is_changed_and_removed(self, store: ConversationStore) -> None:
        await new_room(store)
        for name in ("ann", "bob"):
            await store.add_participant(make_participant(name))
        changed = make_participant("ann", display_name="Ann", status=ParticipantStatus.LEFT)
        assert await store.update_participant(changed) == changed
        assert await store.list_participants("room") == [changed, make_participant("bob")]
        for unknown in (make_participant("cid"), make_participant("ann", "none")):
            with pytest.raises(ParticipantNotFoundError):
                await store.update_participant(unknown)
        assert await store.remove_participant("room", "ann") is True
        assert await store.remove_participant("room", "ann") is False
        assert await store.get_participant("room", "ann") is None
        await store.add_participant(changed)
        listed = await store.list_participants("room")
        assert [item.id for item in listed] == ["bob", "ann"]

    async def test_R179_somebody_is_found_by_id_and_by_address(
        self, store: ConversationStore
    ) -> None:
        for name, at in (("old", 1), ("new", 2)):
            await new_room(store, name, at=at)
            await store.add_binding(make_binding("phone", name))
            await store.add_binding(make_binding("chat", name, channel_type="websocket"))

        async def found(name: str, **more: Any) -> str | None:
            room = await store.find_latest_room(name, **more)
            return None if room is None else room.id

        async def put(room_id: str, name: str = "ann", **more: Any) -> None:
            await store.add_participant(make_participant(name, room_id, **more))

        await put("old", external_id="+1")
        assert (await found("ann"), await found("+1"), await found("+2")) == ("old", "old", None)
        assert await found("+1", channel_id="phone") == "old"
        assert await found("+1", channel_id="chat") is None
        assert await found("+1", channel_type="websocket") is None
        await put("new", external_id="+1")
        assert await found("+1") == "new"
        await put("new", external_id="+2")
        assert (await found("ann"), await found("+1"), await found("+2")) == ("new", "old", "new")
        await put("new", "+2", status=ParticipantStatus.LEFT, channel_id="chat")
        assert await found("+2", channel_id="chat") is None
        await put("new", "+2", channel_id="chat")
        assert await found("+2", channel_id="chat") == "new"
        await put("new", external_id="+2", status=ParticipantStatus.BANNED)
        assert (await found("ann"), await found("+2")) == ("old", "new")
        assert await found("+2", channel_id="phone") is None
        await store.remove_participant("new", "+2")
        assert await found("+2") is None
        await put("old")
        assert (await found("ann"), await found("+1")) == ("old", None)

    async def test_R180_the_rooms_whose_binding_names_an_address(
        self, store: ConversationStore
    ) -> None:
        for name, at in (("z", 1), ("y", 3), ("x", 3), ("w", 2)):
            await new_room(store, name, at=at, organization_id=name)
            await store.add_binding(make_binding("phone", name, recipient="+1"))
        await store.add_binding(make_binding("chat", "z", recipient="+2"))
        await store.add_binding(make_binding("mail", "z"))
        find = store.find_room_ids_by_recipient
        assert await find("phone", "+1") == ["y", "x"]
        assert await find("phone", "+1", limit=9) == ["y", "x", "w", "z"]
        assert await find("phone", "+1", organization_id="w") == ["w"]
        assert await find("phone", "+1", organization_id="none") == []
        assert await find("phone", "+2") == await find("mail", "") == []
        assert await find("chat", "+2", limit=0) == []
        assert await find("chat", "+2") == ["z"]
        room = await known_room(store, "y")
        room.status = RoomStatus.CLOSED
        await store.update_room(room)
        assert await find("phone", "+1", statuses=[RoomStatus.ACTIVE]) == ["x", "w"]
        assert await find("phone", "+1", statuses={RoomStatus.CLOSED}) == ["y"]
        await store.update_binding(make_binding("phone", "x", recipient="+3"))
        await store.add_binding(make_binding("phone", "w"))
        assert await find("phone", "+1", limit=9) == ["y", "z"]
        assert await find("phone", "+3") == ["x"]
        await store.remove_binding("x", "phone")
        await store.delete_room("y")
        assert await find("phone", "+3") == []
        assert await find("phone", "+1", limit=9) == ["z"]

    async def test_a_task_is_changed_where_it_is(self, store: ConversationStore) -> None:
        await new_room(store)
        await new_room(store, "other")
        made = [Task(id=name, room_id="room", title=name) for name in "ab"]
        for task in made:
            await store.add_task(task)
        elsewhere = await store.add_task(Task(id="a", room_id="other", title="there"))
        assert await store.get_task("a") == made[0]
        assert await store.get_task("c") is None
        done = made[0].model_copy(update={"status": TaskStatus.COMPLETED, "metadata": {"n": [1]}})
        assert await store.update_task(done) == done
        assert await store.get_task("a") == done
        assert await store.list_tasks("room") == [done, made[1]]
        assert await store.list_tasks("room", TaskStatus.COMPLETED) == [done]
        assert await store.list_tasks("room", TaskStatus.PENDING) == [made[1]]
        assert await store.list_tasks("none", TaskStatus.PENDING) == []
        await store.add_task(made[0])
        assert await store.list_tasks("room") == made
        for unknown in (Task(id="c", room_id="room", title="c"), Task(room_id="none", title="c")):
            with pytest.raises(TaskNotFoundError):
                await store.update_task(unknown)
        await store.delete_room("room")
        assert await store.get_task("a") == elsewhere
        assert await store.get_task("b") is None

    async def test_tasks_and_observations_in_order(self, store: ConversationStore) -> None:
        await new_room(store)
        await new_room(store, "other")
        made = [Task(room_id="room", title=str(n), metadata={"n": [n]}) for n in range(3)]
        seen = [
            Observation(room_id="room", channel_id="c", content=str(n), confidence=0.25)
            for n in range(3)
        ]
        for task, observation in zip(made, seen, strict=True):
            assert await store.add_task(task) == task
            assert await store.add_observation(observation) == observation
        assert await store.list_tasks("room") == made
        assert await store.list_observations("room") == seen
        assert await store.list_tasks("other") == []
        assert await store.list_observations("other") == []

    async def test_R102_tasks_and_observations_are_the_stores_own(
        self, store: ConversationStore
    ) -> None:
        await new_room(store)
        task = Task(room_id="room", title="t", metadata={"a": [1]})
        note = Observation(room_id="room", channel_id="c", content="o", metadata={"a": [1]})
        await store.add_task(task)
        await store.add_observation(note)
        task.metadata["a"].append(2)
        note.metadata["a"].append(2)
        assert (await store.list_tasks("room"))[0].metadata == {"a": [1]}
        assert (await store.list_observations("room"))[0].metadata == {"a": [1]}


class MarkerContract:
    """R214: how far each channel has read."""

    async def test_R214_a_mark_only_rises(self, store: ConversationStore) -> None:
        await new_room(store)
        for number in range(4):
            await store.commit_event(make_event(id=f"e{number}"), at=later(number))
        assert await store.list_read_markers("room") == {}
        assert await store.get_unread_count("room", "phone") == 4
        await store.mark_read("room", "phone", "e2")
        await store.mark_read("room", "phone", "e1")
        await store.mark_read("room", "chat", "e0")
        assert await store.list_read_markers("room") == {"phone": 2, "chat": 0}
        assert await store.get_unread_count("room", "phone") == 1
        assert await store.get_unread_count("room", "chat") == 3
        await store.mark_all_read("room", "chat")
        assert await store.list_read_markers("room") == {"phone": 2, "chat": 3}
        assert await store.get_unread_count("room", "chat") == 0
        blocked = make_event(status=EventStatus.BLOCKED, type=EventType.SYSTEM)
        await store.commit_event(blocked, at=later(9))
        assert await store.get_unread_count("room", "chat") == 1

    async def test_R214_what_is_not_there_marks_nothing(self, store: ConversationStore) -> None:
        await new_room(store)
        await new_room(store, "other")
        await store.commit_event(make_event("other", id="e"), at=later(1))
        await store.mark_read("room", "phone", "e")
        await store.mark_read("room", "phone", "none")
        await store.mark_all_read("room", "phone")
        assert await store.list_read_markers("room") == {}
        await store.commit_event(make_event(), at=later(2))
        assert await store.get_unread_count("room", "phone") == 1

    async def test_R214_marks_outlive_deletions(self, store: ConversationStore) -> None:
        await new_room(store)
        for number in range(4):
            await store.commit_event(make_event(id=f"e{number}"), at=later(number))
        await store.mark_read("room", "phone", "e1")
        await store.delete_event("room", "e1")
        await store.delete_event("room", "e3")
        assert await store.get_unread_count("room", "phone") == 1
        await store.mark_all_read("room", "phone")
        assert await store.list_read_markers("room") == {"phone": 3}
        assert await store.get_unread_count("room", "phone") == 0
