"""Another answer to what was said last."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from salon.core.errors import RoomClosedError, RoomNotFoundError
from salon.core.kit import RoomKit
from salon.core.lanes import LaneClosedError
from salon.core.timeline import MAX_WAITING
from salon.models import (
    Access,
    AgentResponsePolicy,
    EventSource,
    HookExecution,
    HookResult,
    HookTrigger,
    InboundResult,
    InjectedEvent,
    Room,
    RoomContext,
    RoomEvent,
)

from .helpers import PATIENCE, ROOM, Agent, Transport, listen, message, messages, room_with, text


def counting() -> Agent:
    """An agent that says how often it was asked."""
    agent = Agent("ai")
    agent.script = lambda event, context: [f"{event.text} {len(agent.asked)}"]
    return agent


async def asked_once(kit: RoomKit) -> tuple[Transport, Transport, Agent, RoomEvent]:
    """A room in which somebody said "hi" and was answered."""
    ann, bob, agent = Transport("ann"), Transport("bob"), counting()
    await room_with(kit, ann, bob, agent)
    result = await kit.process_inbound(message("ann"), room_id=ROOM)
    assert result.event is not None
    return ann, bob, agent, result.event


async def test_the_last_message_is_answered_again(kit: RoomKit) -> None:
    ann, bob, agent, said = await asked_once(kit)
    result = await kit.regenerate_response(ROOM)
    assert result is not None
    assert (result.event, result.blocked, result.error) == (said, False, None)
    assert [event.text for event in result.response_events] == ["hi 2"]
    assert [event.text for event in await messages(kit)] == ["hi", "hi 1", "hi 2"]
    (answer,) = result.response_events
    assert (answer.responds_to, answer.chain_depth) == (said.id, 1)
    assert ann.bodies == ["hi 1", "hi 2"]
    assert bob.bodies == ["hi", "hi 1", "hi 2"]  # the message itself is delivered once
    assert agent.asked == [said, said]


async def test_answers_of_every_call_are_in_its_result(kit: RoomKit) -> None:
    await room_with(kit, Transport("ann"), counting())
    result = await kit.process_inbound(message("ann"), room_id=ROOM)
    assert [event.text for event in result.response_events] == ["hi 1"]

    @kit.hook(HookTrigger.BEFORE_BROADCAST, channel_ids={"ai"})
    async def refuse(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("no")

    again = await kit.regenerate_response(ROOM)
    assert again is not None
    assert (again.blocked, again.response_events) == (False, [])
    assert (await messages(kit))[-1].blocked_by == "refuse"


async def test_the_old_answer_may_be_deleted_before(kit: RoomKit) -> None:
    _, _, agent, said = await asked_once(kit)
    target = await kit.regenerate_target(ROOM)
    assert target is not None
    assert target.id == said.id
    old = (await messages(kit))[-1]
    await kit.delete_event(ROOM, old.id)
    await kit.regenerate_response(ROOM, trigger_id=target.id)
    assert [event.text for event in await messages(kit)] == ["hi", "hi 2"]
    seen = agent.contexts[-1].recent_events
    assert [event.text for event in seen] == ["hi"]


async def test_hooks_of_the_message_do_not_run_again_those_of_the_answer_do(kit: RoomKit) -> None:
    await asked_once(kit)
    seen: list[str | None] = []
    events = listen(kit, "event_processed")

    @kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def before(event: RoomEvent, context: RoomContext) -> HookResult:
        seen.append(f"before {event.text}")
        return HookResult.allow()

    @kit.hook(HookTrigger.AFTER_BROADCAST, HookExecution.ASYNC)
    async def after(event: RoomEvent, context: RoomContext) -> None:
        seen.append(f"after {event.text}")

    await kit.regenerate_response(ROOM)
    await kit._parts.observers.drained(ROOM)
    assert seen == ["before hi 2", "after hi 2"]
    assert len(events) == 1


async def test_only_agents_that_may_see_it_and_are_addressed_are_asked(kit: RoomKit) -> None:
    blind, other, quiet = Agent("blind"), Agent("other"), Agent("quiet")
    await room_with(kit, Transport("ann"), counting(), blind, other, quiet)
    await kit.set_access(ROOM, "blind", Access.WRITE_ONLY)
    await kit.set_agent_response_policy(ROOM, AgentResponsePolicy.ADDRESSED_ONLY)
    await kit.process_inbound(message("ann", addressed_to=["ai", "other", "blind"]), room_id=ROOM)
    before = len(other.asked)
    result = await kit.regenerate_response(ROOM)
    assert result is not None
    assert {event.source.channel_id for event in result.response_events} == {"ai", "other"}
    assert (len(other.asked), blind.asked, quiet.asked) == (before + 1, [], [])


# -- what is chosen -------------------------------------------------------------------------------


async def test_an_empty_room_has_nothing_to_answer(kit: RoomKit) -> None:
    await room_with(kit, Transport("ann"), counting())
    assert await kit.regenerate_target(ROOM) is None
    assert await kit.regenerate_response(ROOM) is None
    moved = await kit.regenerate_response(ROOM, trigger_id="gone")
    assert moved == InboundResult(None, True, "trigger_moved")


async def test_refused_withdrawn_and_injected_messages_are_passed_over(kit: RoomKit) -> None:
    _, _, _, said = await asked_once(kit)

    @kit.hook(HookTrigger.BEFORE_BROADCAST, channel_ids={"bob"})
    async def refuse(event: RoomEvent, context: RoomContext) -> HookResult:
        notice = RoomEvent(
            room_id=ROOM,
            source=EventSource(channel_id="ann", channel_type="sms"),
            content=text("injected"),
        )
        return HookResult.block("no", injected=[InjectedEvent(notice, target_channel_ids=["ann"])])

    await kit.process_inbound(message("bob", "refused", sender="bob"), room_id=ROOM)
    withdrawn = await kit.process_inbound(message("ann", "withdrawn"), room_id=ROOM)
    assert withdrawn.event is not None
    await kit.update_event(ROOM, withdrawn.event.id, metadata={"deleted": True})
    target = await kit.regenerate_target(ROOM)
    assert target is not None
    assert target.id == said.id


async def test_who_may_not_write_any_more_is_not_answered(kit: RoomKit) -> None:
    await asked_once(kit)
    await kit.mute(ROOM, "ann")
    assert await kit.regenerate_target(ROOM) is None
    assert await kit.regenerate_response(ROOM) is None


async def test_a_trigger_that_moved_is_refused(kit: RoomKit) -> None:
    _, _, agent, said = await asked_once(kit)
    await kit.process_inbound(message("bob", "me too", sender="bob"), room_id=ROOM)
    asked = len(agent.asked)
    result = await kit.regenerate_response(ROOM, trigger_id=said.id)
    assert result == InboundResult(None, True, "trigger_moved")
    assert len(agent.asked) == asked


# -- what refuses it ------------------------------------------------------------------------------


async def test_R21_a_closed_room_is_refused_before_an_agent_is_asked(kit: RoomKit) -> None:
    _, _, agent, _ = await asked_once(kit)
    heard = listen(kit, "room_refused_event")
    await kit.close_room(ROOM)
    before = await messages(kit)
    result = await kit.regenerate_response(ROOM, trigger_id="another")
    assert result == InboundResult(None, True, "room_closed")
    with pytest.raises(RoomClosedError):
        await kit.regenerate_target(ROOM)
    assert (len(agent.asked), await messages(kit), len(heard)) == (1, before, 1)


async def test_R21_a_room_closed_while_it_waits_is_refused_too(kit: RoomKit) -> None:
    _, bob, agent, _ = await asked_once(kit)
    heard = listen(kit, "room_refused_event")
    bob.hold = asyncio.Event()
    agent.script = lambda event, context: None
    slow = asyncio.create_task(kit.process_inbound(message("ann", "slow"), room_id=ROOM))
    await asyncio.sleep(0.1)
    regenerating = asyncio.create_task(kit.regenerate_response(ROOM))
    await asyncio.sleep(0.1)
    await kit.close_room(ROOM)
    bob.hold.set()
    async with asyncio.timeout(PATIENCE):
        await slow
        result = await regenerating
    assert result == InboundResult(None, True, "room_closed")
    assert (await messages(kit))[-1].text == "slow"
    assert [event.event_id for event in heard[-1:]] == [(await messages(kit))[-1].id]


async def test_a_room_deleted_while_it_waits_is_left_alone(kit: RoomKit) -> None:
    _, bob, agent, _ = await asked_once(kit)
    bob.hold = asyncio.Event()
    slow = asyncio.create_task(kit.process_inbound(message("ann", "slow"), room_id=ROOM))
    await asyncio.sleep(0.1)
    regenerating = asyncio.create_task(kit.regenerate_response(ROOM))
    await asyncio.sleep(0.1)
    asked = len(agent.asked)
    await kit.store.delete_room(ROOM)
    bob.hold.set()
    async with asyncio.timeout(PATIENCE):
        await slow
        result = await regenerating
    assert result is not None
    assert (result.response_events, len(agent.asked)) == ([], asked)


async def test_R204_a_room_that_stays_locked_ends_in_process_timeout() -> None:
    async with RoomKit(process_timeout=1, shutdown_timeout=0) as kit:
        _, _, agent, _ = await asked_once(kit)
        heard = listen(kit, "process_timeout")
        async with kit.locks.locked(ROOM):
            call = asyncio.create_task(kit.regenerate_response(ROOM), context=contextvars.Context())
            assert await call == InboundResult(None, True, "process_timeout")
        assert (len(agent.asked), len(heard)) == (1, 1)


async def test_R205_what_is_asked_is_not_said_to_have_timed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with RoomKit(process_timeout=1, shutdown_timeout=0) as kit:
        await asked_once(kit)
        entered = kit._parts.regeneration._tenancy.entered

        @asynccontextmanager
        async def released_slowly(*args: Any) -> AsyncIterator[Room]:
            async with entered(*args) as room:
                yield room
            await asyncio.sleep(5)

        monkeypatch.setattr(kit._parts.regeneration._tenancy, "entered", released_slowly)
        result = await kit.regenerate_response(ROOM)
        assert result is not None
        assert [event.text for event in result.response_events] == ["hi 2"]


async def test_R205_a_timeout_that_struck_wins(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, agent, _ = await asked_once(kit)
    monkeypatch.setattr(asyncio.Timeout, "expired", lambda self: True)
    assert await kit.regenerate_response(ROOM) == InboundResult(None, True, "process_timeout")
    assert len(agent.asked) == 1


async def test_somebody_elses_timeout_is_not_taken_for_its_own(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asked_once(kit)

    async def late(room_id: str) -> None:
        raise TimeoutError("the database")

    monkeypatch.setattr(kit.store, "get_room", late)
    with pytest.raises(TimeoutError, match="the database"):
        await kit.regenerate_response(ROOM)


async def test_a_room_that_is_far_behind_takes_no_more(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, agent, _ = await asked_once(kit)
    monkeypatch.setattr(kit._parts.delivery, "waiting", lambda context: MAX_WAITING)
    assert await kit.regenerate_response(ROOM) == InboundResult(None, True, "room_busy")
    assert len(agent.asked) == 1


async def test_R128_from_inside_the_room_it_returns_at_once(kit: RoomKit) -> None:
    ann, _, agent, said = await asked_once(kit)
    results: list[InboundResult | None] = []

    async def again(event: RoomEvent) -> None:
        if event.text == "once more":
            results.append(await kit.regenerate_response(ROOM, trigger_id=said.id))

    ann.on_delivery = again
    agent.script = lambda event, context: ["done"]
    async with asyncio.timeout(PATIENCE):
        await kit.send_event(ROOM, "ai", text("once more"))
        await kit.idle(ROOM)
    (result,) = results
    assert result is not None
    assert (result.blocked, result.response_events) == (False, [])
    assert (await messages(kit))[-1].text == "done"


async def test_an_agent_that_fails_is_in_the_result(kit: RoomKit) -> None:
    _, _, agent, _ = await asked_once(kit)

    def fail(event: RoomEvent, context: RoomContext) -> list[str]:
        raise ValueError("no model")

    agent.script = fail
    result = await kit.regenerate_response(ROOM)
    assert result is not None
    assert isinstance(result.error, ValueError)


async def test_R267_a_room_of_others_is_not_found(kit: RoomKit) -> None:
    await kit.create_room(ROOM, organization_id="acme")
    _, _, agent, _ = await asked_once(kit)
    with pytest.raises(RoomNotFoundError):
        await kit.regenerate_response(ROOM, organization_id="other")
    with pytest.raises(RoomNotFoundError):
        await kit.regenerate_target(ROOM, organization_id="other")
    with pytest.raises(RoomNotFoundError):
        await kit.regenerate_response("nowhere")
    assert len(agent.asked) == 1
    assert await kit.regenerate_response(ROOM, organization_id="acme") is not None


async def test_R140_a_closed_framework_says_so() -> None:
    kit = RoomKit(shutdown_timeout=0)
    await kit.open()
    await asked_once(kit)
    await kit.close()
    with pytest.raises(LaneClosedError):
        await kit.regenerate_response(ROOM)


# -- how far back ---------------------------------------------------------------------------------


async def notes(kit: RoomKit, count: int) -> None:
    """The agent says so much without being asked."""
    for number in range(count):
        await kit.send_event(ROOM, "ai", text(f"note {number}"), detached=True)
    await kit.idle(ROOM)


async def test_what_is_older_than_the_recent_messages_is_found(kit: RoomKit) -> None:
    _, _, agent, said = await asked_once(kit)
    await notes(kit, 160)
    target = await kit.regenerate_target(ROOM)
    assert target is not None
    assert target.id == said.id
    result = await kit.regenerate_response(ROOM, trigger_id=said.id)
    assert result is not None
    assert [event.text for event in result.response_events] == ["hi 2"]
    assert agent.asked[-1].id == said.id


async def test_it_is_looked_for_among_so_many_messages_only(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salon.core.regeneration.MAX_BACK", 60)
    _, _, _, said = await asked_once(kit)
    await notes(kit, 58)  # the message, its answer, and these
    target = await kit.regenerate_target(ROOM)
    assert target is not None
    assert target.id == said.id
    await notes(kit, 1)
    assert await kit.regenerate_target(ROOM) is None
    assert await kit.regenerate_response(ROOM) is None
