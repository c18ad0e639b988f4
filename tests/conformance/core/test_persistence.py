"""What is stored of what happens: types of events and raw payloads (R101, R268)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conformance.core.stage import (
    ROOM,
    LiveScreen,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    message,
    silent,
    staged,
    stream_of,
    text,
)

from salon.base import UnavailableError
from salon.core.memory import InMemoryStore
from salon.models import (
    Access,
    DeleteContent,
    EditContent,
    EventStatus,
    EventType,
    HookResult,
    HookTrigger,
    InjectedEvent,
    PersistencePolicy,
    RoomContext,
    RoomEvent,
    RoomStatus,
    RoomTimers,
)

NOTE = EventType.OBSERVATION
"""A type that the policy of most tests excludes."""
NO_NOTES = PersistencePolicy(exclude_types={NOTE})


async def note(stage: Stage, body: str = "psst", **more: Any) -> Any:
    """A message from outside of a type that is not stored."""
    return await stage.inbound("sms", body, event_type=NOTE, **more)


async def counters(stage: Stage) -> tuple[Any, ...]:
    """All that a commit moves."""
    room = await stage.read()
    delivered = await stage.kit.store.get_delivered_index(ROOM)
    return room.latest_index, room.event_count, room.timers.last_activity_at, delivered


# -- R101: types that are not stored --------------------------------------------------------------


async def test_R101_by_default_every_type_is_stored(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    for kind in (EventType.MESSAGE, NOTE, EventType.PRESENCE):
        await stage.inbound("sms", event_type=kind)
    stored = {event.type for event in await stage.timeline()}
    assert {EventType.MESSAGE, NOTE, EventType.PRESENCE} <= stored


async def test_R101_an_excluded_type_is_delivered_and_moves_nothing() -> None:
    web = RecordingTransport("web")
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"), web)
        await stage.inbound("sms", "kept")
        before, timeline = await counters(stage), await stage.timeline()
        await stage.settle(5)
        await note(stage)
        await stage.settle()
        assert await counters(stage) == before
        assert await stage.timeline() == timeline
        await stage.inbound("sms", "kept too")
        assert web.bodies == ["kept", "psst", "kept too"]
        latest = (await stage.timeline())[-1]
        assert latest.index == before[0] + 1
        assert await stage.kit.store.get_delivered_index(ROOM) == latest.index


async def test_R101_the_result_holds_the_event_at_the_place_it_would_have_had() -> None:
    web = RecordingTransport("web")
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"), web)
        expected = (await stage.read()).event_count
        result = await note(stage)
        assert (result.blocked, result.duplicate, result.reason) == (False, False, None)
        assert result.event.status is EventStatus.DELIVERED
        assert result.event.index == expected
        assert result.delivery_results["web"].status == "sent"
        assert await stage.kit.store.get_event(result.event.id) is None
        sent = await stage.send("sms", "me too", event_type=NOTE)
        assert await stage.kit.store.get_event(sent.id) is None
        assert web.bodies == ["psst", "me too"]


async def test_R101_only_the_types_named_are_stored_and_exclusion_wins() -> None:
    policy = PersistencePolicy(
        persist_types={EventType.MESSAGE, NOTE}, exclude_types={NOTE, EventType.TASK_CREATED}
    )
    async with staged(persistence_policy=policy) as stage:
        await stage.room(RecordingTransport("sms"))
        for kind in (EventType.MESSAGE, NOTE, EventType.PRESENCE):
            await stage.inbound("sms", kind.value, event_type=kind)
        assert [event.type for event in await stage.timeline()] == [EventType.MESSAGE]


async def test_R101_it_keeps_its_place_in_the_order_of_delivery() -> None:
    web = RecordingTransport("web")
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"), web)
        web.hold = asyncio.Event()
        sent = [
            stage.start(stage.inbound("sms", "1")),
            stage.start(note(stage, "2")),
            stage.start(stage.inbound("sms", "3")),
            stage.start(note(stage, "4")),
        ]
        await stage.settle()
        web.hold.set()
        await asyncio.gather(*sent)
        assert web.bodies == ["1", "2", "3", "4"]
        assert bodies(await stage.messages()) == ["1", "3"]


async def test_R101_what_is_pending_before_it_stays_unmarked() -> None:
    web = RecordingTransport("web")
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"), web)
        before = await stage.kit.store.get_delivered_index(ROOM)
        web.hold = asyncio.Event()
        sent = [stage.start(stage.inbound("sms", "1")), stage.start(note(stage, "2"))]
        await stage.settle()
        assert await stage.kit.store.get_delivered_index(ROOM) == before
        web.hold.set()
        await asyncio.gather(*sent)
        assert await stage.kit.store.get_delivered_index(ROOM) == before + 1


async def test_R101_it_passes_through_hooks_and_their_side_effects() -> None:
    async with staged(persistence_policy=NO_NOTES) as stage:
        web = RecordingTransport("web")
        await stage.room(RecordingTransport("sms"), web)
        before = stage.hear(HookTrigger.BEFORE_BROADCAST)
        after = stage.hear(HookTrigger.AFTER_BROADCAST)
        processed = stage.listen("event_processed")

        @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def change(event: RoomEvent, context: RoomContext) -> HookResult:
            return HookResult.modify(event.model_copy(update={"content": text("changed")}))

        result = await note(stage)
        await stage.settle()
        assert web.bodies == ["changed"]
        assert [event.id for event in before] == [result.event.id]
        assert bodies(after) == ["changed"]
        assert [event.event_id for event in processed] == [result.event.id]


async def test_R101_a_hook_decides_by_the_type_it_leaves() -> None:
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"))

        @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def forget(event: RoomEvent, context: RoomContext) -> HookResult:
            return HookResult.modify(event.model_copy(update={"type": NOTE}))

        await stage.inbound("sms", "forget me")
        assert NOTE not in {event.type for event in await stage.timeline()}
        assert await stage.messages() == []


async def test_R101_a_blocked_event_is_stored_whatever_its_type() -> None:
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"))
        stage.block()
        result = await note(stage)
        (stored,) = [event for event in await stage.timeline() if event.type is NOTE]
        assert stored == result.event
        assert stored.status is EventStatus.BLOCKED
        assert await stage.kit.store.get_delivered_index(ROOM) == stored.index


async def test_R101_what_its_source_may_not_write_is_stored_blocked() -> None:
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"))
        await stage.kit.set_access(ROOM, "sms", Access.READ_ONLY)
        assert (await note(stage)).reason == "source_read_only"
        (stored,) = [event for event in await stage.timeline() if event.type is NOTE]
        assert stored.blocked_by == "source_read_only"


async def test_R101_injected_events_are_stored_whatever_their_type() -> None:
    web = RecordingTransport("web")
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"), web)

        @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def add(event: RoomEvent, context: RoomContext) -> HookResult:
            own = RoomEvent(
                room_id=ROOM, type=NOTE, source=event.source, content=text("from the hook")
            )
            return HookResult.allow(injected=[InjectedEvent(event=own, target_channel_ids=["web"])])

        await note(stage)
        await stage.settle()
        assert web.bodies == ["psst", "from the hook"]
        stored = [event for event in await stage.timeline() if event.type is NOTE]
        assert bodies(stored) == ["from the hook"]


async def test_R101_agents_are_asked_and_their_answers_follow_the_policy() -> None:
    web = RecordingTransport("web")
    agent = ScriptedAgent("ai")
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"), web, agent)
        agent.script = lambda event, context: [agent.says(ROOM, "kept"), _noted(agent)]
        result = await note(stage)
        assert agent.heard == ["psst"]
        assert agent.contexts[0].recent_events == ()
        assert web.bodies == ["psst", "kept", "not kept"]
        (answer,) = await stage.messages()
        assert (answer.text, answer.responds_to) == ("kept", result.event.id)
        assert answer.chain_depth == 1


def _noted(agent: ScriptedAgent) -> RoomEvent:
    return agent.says(ROOM, "not kept", type=NOTE)


async def test_R101_a_streamed_answer_that_is_not_stored_ends_as_any() -> None:
    screen = LiveScreen("web")
    agent = ScriptedAgent("ai", lambda event, context: stream_of("one ", "two"))
    policy = PersistencePolicy(exclude_types={EventType.MESSAGE})
    async with staged(persistence_policy=policy) as stage:
        await stage.room(RecordingTransport("sms"), screen, agent)
        result = await stage.inbound("sms", "count")
        assert result.error is None
        assert "".join(screen.deltas) == "one two"
        ((finished, error),) = screen.finished
        assert finished is not None
        assert (finished.text, error) == ("one two", None)
        assert await stage.messages() == []


async def test_R101_the_chain_of_answers_has_its_limit_all_the_same() -> None:
    policy = PersistencePolicy(exclude_types={EventType.MESSAGE})
    async with staged(persistence_policy=policy, max_chain_depth=3) as stage:
        await stage.room(RecordingTransport("sms"), ScriptedAgent("a"), ScriptedAgent("b"))
        await stage.inbound("sms")
        await stage.settle()
        refused = await stage.messages()  # one by each agent: what is blocked is stored
        assert [event.blocked_by for event in refused] == ["event_chain_depth_limit"] * 2
        assert [event.chain_depth for event in refused] == [3, 3]


async def test_R101_nobody_finds_it_in_the_recent_events_afterwards() -> None:
    policy = PersistencePolicy(exclude_types={EventType.MESSAGE})
    seen: list[tuple[RoomEvent, ...]] = []
    async with staged(persistence_policy=policy) as stage:
        await stage.room(RecordingTransport("sms"))

        @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def look(event: RoomEvent, context: RoomContext) -> HookResult:
            seen.append(tuple(context.recent_events))
            return HookResult.allow()

        for body in ("1", "2"):
            await stage.inbound("sms", body)
        assert seen == [(), ()]
        assert (await stage.kit.context(ROOM)).recent_events == ()


async def test_R101_its_key_is_not_remembered() -> None:
    """Nothing is stored that could tell: the same message again is delivered again."""
    web = RecordingTransport("web")
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"), web)
        for _ in range(2):
            assert not (await note(stage, idempotency_key="k")).duplicate
        assert web.bodies == ["psst", "psst"]
        stored = await stage.inbound("sms", "kept", idempotency_key="k")
        again = await note(stage, idempotency_key="k")
        assert (again.duplicate, again.event) == (True, stored.event)


async def test_R101_it_can_neither_be_edited_nor_deleted() -> None:
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"))
        gone = (await note(stage)).event.id
        for content in (
            EditContent(target_event_id=gone, new_content=text("new")),
            DeleteContent(target_event_id=gone),
        ):
            result = await stage.inbound("sms", content=content)
            assert (result.event, result.reason) == (None, "target_event_not_found")


async def test_R101_answers_to_it_are_top_level() -> None:
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"))
        gone = (await note(stage)).event.id
        reply = (await stage.inbound("sms", parent_event_id=gone)).event
        assert reply is not None
        assert reply.parent_event_id is None


async def test_R101_edits_and_deletes_that_are_not_stored_still_change_their_target() -> None:
    policy = PersistencePolicy(exclude_types={EventType.EDIT, EventType.DELETE})
    web = RecordingTransport("web")
    async with staged(persistence_policy=policy) as stage:
        await stage.room(RecordingTransport("sms"), web)
        updated = stage.hear(HookTrigger.ON_EVENT_UPDATED)
        deleted = stage.hear(HookTrigger.ON_EVENT_DELETED)
        target = (await stage.inbound("sms", "old")).event
        assert target is not None
        before = await counters(stage)
        edit = EditContent(target_event_id=target.id, new_content=text("new"))
        await stage.inbound("sms", content=edit)
        await stage.settle()
        (stored,) = await stage.messages()
        assert (stored.text, stored.metadata["edited"]) == ("new", True)
        assert (await stage.kit.context(ROOM)).recent_events == (stored,)
        await stage.inbound("sms", content=DeleteContent(target_event_id=target.id))
        await stage.settle()
        (stored,) = await stage.messages()
        assert stored.metadata["deleted"] is True
        assert await counters(stage) == before
        assert [event.id for event in (*updated, *deleted)] == [target.id, target.id]
        assert len(web.got) == 3


async def test_R101_R109_an_edit_whose_target_was_just_deleted_elsewhere_is_refused() -> None:
    class Racing(InMemoryStore):
        async def update_event(self, event: RoomEvent) -> RoomEvent | None:
            await self.delete_event(event.room_id, event.id)
            return await super().update_event(event)

    policy = PersistencePolicy(exclude_types={EventType.EDIT})
    async with staged(persistence_policy=policy, store=Racing()) as stage:
        await stage.room(RecordingTransport("sms"))
        target = (await stage.inbound("sms", "old")).event
        assert target is not None
        result = await stage.inbound(
            "sms", content=EditContent(target_event_id=target.id, new_content=text("new"))
        )
        assert (result.event, result.reason) == (None, "target_event_not_found")


async def test_R101_results_of_its_delivery_are_told_and_not_stored() -> None:
    class Strict(InMemoryStore):
        async def set_delivery_results(
            self, room_id: str, event_id: str, results: Any
        ) -> None:  # pragma: no cover - the point is that it is not called
            raise AssertionError("there is no event to note them at")

    web = RecordingTransport("web")
    async with staged(persistence_policy=NO_NOTES, store=Strict()) as stage:
        await stage.room(RecordingTransport("sms"), web)
        told = stage.listen("delivery_failed", "broadcast_partial_failure")
        web.failures.append(UnavailableError("down"))
        result = await note(stage)
        assert result.delivery_results["web"].status == "failed"
        assert [event.type for event in told] == ["delivery_failed", "broadcast_partial_failure"]


async def test_R101_there_is_nothing_of_it_to_resume() -> None:
    store = InMemoryStore()
    web = RecordingTransport("web")
    async with staged(persistence_policy=NO_NOTES, store=store) as stage:
        await stage.room(RecordingTransport("sms"), web)
        web.hold = asyncio.Event()
        lost = stage.start(note(stage))
        await stage.settle()
        assert web.attempts == 1
        assert await store.find_undelivered_rooms() == []
        assert await stage.kit.resume_deliveries() == 0
        lost.cancel()


async def test_R101_it_is_no_commit_to_whoever_listens_for_commits() -> None:
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"))
        heard: list[RoomEvent] = []
        stage.kit.on_commit(heard.append)
        await note(stage)
        await stage.inbound("sms", "kept")
        assert bodies(heard) == ["kept"]


async def test_R101_it_is_no_activity_of_the_room() -> None:
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"), timers=RoomTimers(inactive_after_seconds=60))
        await stage.settle(61)
        await stage.kit.check_room_timers(ROOM)
        await note(stage)
        assert (await stage.read()).status is RoomStatus.PAUSED
        await stage.inbound("sms")
        assert (await stage.read()).status is RoomStatus.ACTIVE


async def test_R101_records_of_the_framework_follow_the_policy_by_type() -> None:
    policy = PersistencePolicy(exclude_types={EventType.CHANNEL_ATTACHED})
    async with staged(persistence_policy=policy) as stage:
        attached = stage.hear(HookTrigger.ON_CHANNEL_ATTACHED)
        await stage.room(RecordingTransport("sms"), RecordingTransport("web"))
        await stage.kit.detach_channel(ROOM, "web")
        await stage.settle()
        assert len(attached) == 2
        kinds = [event.type for event in await stage.timeline()]
        assert EventType.CHANNEL_ATTACHED not in kinds
        assert EventType.CHANNEL_DETACHED in kinds


async def test_R101_a_closed_room_refuses_it() -> None:
    async with staged(persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"))
        await stage.kit.close_room(ROOM)
        result = await note(stage)
        assert (result.event, result.reason) == (None, "room_closed")


async def test_R101_the_room_made_for_it_stays() -> None:
    async with staged(persistence_policy=NO_NOTES) as stage:
        stage.register(RecordingTransport("sms"), silent("ai"))
        result = await stage.kit.process_inbound(message("sms", event_type=NOTE))
        assert result.event is not None
        assert await stage.kit.store.room_exists(result.event.room_id)


# -- R268: raw payloads ---------------------------------------------------------------------------

RAW = {"card": "4111", "auth_token": "abcdef", "deep": [{"password": "hunter2"}]}


async def raw_of(stage: Stage) -> tuple[list[RoomEvent], RecordingTransport]:
    """A message with a payload, seen by a hook and delivered."""
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    seen = stage.hear(HookTrigger.BEFORE_BROADCAST)
    await stage.inbound("sms", raw_payload=RAW)
    assert [event.source.raw_payload for event in seen] == [RAW]
    (stored,) = [event for event in await stage.timeline() if event.text]
    return [stored, *web.got], web


@pytest.mark.parametrize(
    ("setting", "kept"),
    [
        ("keep", RAW),
        ("redact", {"card": "4111", "auth_token": "***", "deep": [{"password": "***"}]}),
        ("drop", {}),
        (lambda payload: {"card": payload["card"][-2:]}, {"card": "11"}),
    ],
    ids=["keep", "redact", "drop", "function"],
)
async def test_R268_a_setting_says_what_is_kept_of_raw_payloads(
    setting: Any, kept: dict[str, Any]
) -> None:
    async with staged(raw_payload=setting) as stage:
        stored, delivered = (await raw_of(stage))[0]
        assert stored.source.raw_payload == kept
        assert delivered.source.raw_payload == kept


async def test_R268_a_refused_event_is_redacted_too() -> None:
    async with staged(raw_payload="drop") as stage:
        await stage.room(RecordingTransport("sms"))
        stage.block()
        result = await stage.inbound("sms", raw_payload=RAW)
        (stored,) = await stage.messages()
        assert result.event == stored
        assert stored.source.raw_payload == {}


async def test_R268_what_hooks_inject_is_redacted_too() -> None:
    async with staged(raw_payload="drop") as stage:
        await stage.room(RecordingTransport("sms"), RecordingTransport("web"))

        @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def copy(event: RoomEvent, context: RoomContext) -> HookResult:
            injected = InjectedEvent(event=event, target_channel_ids=["web"])
            return HookResult.allow(injected=[injected])

        await stage.inbound("sms", raw_payload=RAW)
        assert [event.source.raw_payload for event in await stage.messages()] == [{}, {}]


async def test_R268_an_event_that_is_not_stored_is_delivered_redacted() -> None:
    web = RecordingTransport("web")
    async with staged(raw_payload="drop", persistence_policy=NO_NOTES) as stage:
        await stage.room(RecordingTransport("sms"), web)
        await note(stage, raw_payload=RAW)
        (delivered,) = web.got
        assert delivered.source.raw_payload == {}


async def test_R268_a_function_that_fails_leaves_nothing_of_the_payload(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(payload: dict[str, Any]) -> dict[str, Any]:
        payload.clear()
        raise KeyError("card")

    given = dict(RAW)
    async with staged(raw_payload=broken) as stage:
        await stage.room(RecordingTransport("sms"))
        result = await stage.inbound("sms", raw_payload=given)
        assert not result.blocked
        (stored,) = await stage.messages()
        assert stored.source.raw_payload == {}
        assert given == RAW
    assert "could not be redacted" in caplog.text


async def test_R268_a_function_that_makes_something_else_leaves_nothing() -> None:
    async with staged(raw_payload=lambda payload: "text") as stage:
        await stage.room(RecordingTransport("sms"))
        await stage.inbound("sms", raw_payload=RAW)
        (stored,) = await stage.messages()
        assert stored.source.raw_payload == {}


@pytest.mark.parametrize("setting", ["redacted", None, 1])
def test_R268_a_setting_that_is_none_is_refused(setting: Any) -> None:
    from salon.core import RoomKit

    with pytest.raises(ValueError, match="raw_payload"):
        RoomKit(raw_payload=setting)
