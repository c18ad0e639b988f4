"""Bindings, participants and side effects in a store."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

from salon.core.ports.store import ConversationStore
from salon.models import (
    ChannelCapabilities,
    IdentificationStatus,
    Observation,
    ParticipantRole,
    RateLimit,
    RetryPolicy,
    Task,
)
from salon.testing.contracts.samples import later, make_binding, make_participant, new_room


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

    async def test_R102_bindings_are_owned_on_both_sides(self, store: ConversationStore) -> None:
        await new_room(store)
        binding = make_binding(metadata={"a": [1]})
        returned = await store.add_binding(binding)
        binding.metadata["a"].append(2)
        returned.metadata["a"].append(3)
        read = await store.get_binding("room", "phone")
        assert read is not None
        read.metadata["a"].append(4)
        (listed,) = await store.list_bindings("room")
        listed.metadata["a"].append(5)
        listed.muted = True
        known = await store.get_binding("room", "phone")
        assert known == make_binding(metadata={"a": [1]})

    async def test_R35_one_record_per_participant(self, store: ConversationStore) -> None:
        await new_room(store)
        await new_room(store, "other")
        for name in ("cid", "ann", "bob"):
            await store.put_participant(make_participant(name))
        await store.put_participant(make_participant("ann", "other"))
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
        assert await store.put_participant(changed) == changed
        assert await store.get_participant("room", "cid") == changed
        listed = await store.list_participants("room")
        assert [item.id for item in listed] == ["cid", "ann", "bob"]
        assert listed[0] == changed
        assert await store.get_participant("room", "dan") is None

    async def test_R102_participants_are_owned_on_both_sides(
        self, store: ConversationStore
    ) -> None:
        await new_room(store)
        person = make_participant(metadata={"a": [1]})
        returned = await store.put_participant(person)
        person.connected_via.append("chat")
        person.metadata["a"].append(2)
        returned.metadata["a"].append(3)
        read = await store.get_participant("room", "ann")
        assert read is not None
        read.metadata["a"].append(4)
        (listed,) = await store.list_participants("room")
        listed.connected_via.append("mail")
        known = await store.get_participant("room", "ann")
        assert known == make_participant(metadata={"a": [1]})

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
