"""Reentry and chain depth (chapter 13; R146-R154), streamed answers (R63)."""

from __future__ import annotations

import asyncio

import pytest
from tests.conformance.core.stage import (
    ROOM,
    LiveScreen,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    silent,
    staged,
    stream_of,
)

from salon.core import RoomKit
from salon.models import (
    EventStatus,
    HookResult,
    HookTrigger,
    RoomContext,
    RoomEvent,
)
from salon.testing import VirtualClock


async def test_R146_an_answer_takes_a_pass_of_its_own(stage: Stage) -> None:
    sms = RecordingTransport("sms")
    await stage.room(sms, ScriptedAgent("ai"))
    await stage.settle()
    before = stage.hear(HookTrigger.BEFORE_BROADCAST)
    after = stage.hear(HookTrigger.AFTER_BROADCAST)
    await stage.inbound("sms", "hello")
    await stage.settle()
    question, answer = await stage.messages()
    assert answer.index > question.index
    assert answer.status is EventStatus.DELIVERED
    assert bodies(before) == bodies(after) == ["hello", "ai: hello"]
    assert sms.bodies == ["ai: hello"]


async def test_R146_a_hook_may_block_an_answer(stage: Stage) -> None:
    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def censor(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.allow() if event.chain_depth == 0 else HookResult.block("no agents")

    sms = RecordingTransport("sms")
    await stage.room(sms, ScriptedAgent("ai"))
    await stage.inbound("sms", "hello")
    await stage.settle()
    assert await stage.said() == [("hello", "delivered"), ("ai: hello", "censor")]
    assert sms.bodies == []


async def test_R146_answers_are_delivered_behind_their_trigger(stage: Stage) -> None:
    web = RecordingTransport("web")

    async def slow(event: RoomEvent) -> None:
        await asyncio.sleep(0.5 if event.chain_depth == 0 else 0)

    web.on_delivery = slow
    await stage.room(RecordingTransport("sms"), web, ScriptedAgent("ai"))
    await stage.inbound("sms", "hello")
    await stage.settle()
    assert web.bodies == ["hello", "ai: hello"]


@pytest.mark.parametrize("claimed", [0, 3, 99])
async def test_R147_depth_is_computed_whatever_the_channel_claims(
    stage: Stage, claimed: int
) -> None:
    agent = ScriptedAgent("ai")
    agent.claimed_depth = claimed
    await stage.room(RecordingTransport("sms"), agent)
    await stage.inbound("sms", "hello")
    await stage.settle()
    assert [event.chain_depth for event in await stage.messages()] == [0, 1]


async def test_R147_external_events_have_depth_zero(stage: Stage) -> None:
    sms = RecordingTransport("sms")
    sms.make = lambda _, event: event.model_copy(update={"chain_depth": 4})
    await stage.room(sms)
    event = (await stage.inbound("sms")).event
    assert event is not None
    assert event.chain_depth == 0


async def test_R147_a_hook_cannot_change_the_depth(stage: Stage) -> None:
    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def reset(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.modify(event.model_copy(update={"chain_depth": 0}))

    await stage.room(RecordingTransport("sms"), ScriptedAgent("one"), ScriptedAgent("two"))
    await stage.inbound("sms", "go", addressed_to=["one"])
    await stage.settle()
    assert [event.chain_depth for event in await stage.messages()] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("streamed", [False, True])
async def test_R148_with_limit_five_depth_four_is_delivered_and_five_blocked(
    stage: Stage, streamed: bool
) -> None:
    agents = [ScriptedAgent("one"), ScriptedAgent("two")]
    if streamed:
        for agent in agents:
            agent.script = lambda event, _: stream_of("and ", "so on")
    exceeded = stage.listen("chain_depth_exceeded")
    sms = RecordingTransport("sms")
    await stage.room(sms, *agents)
    await stage.inbound("sms", "go", addressed_to=["one"])
    await stage.settle()
    events = await stage.messages()
    assert [event.chain_depth for event in events] == [0, 1, 2, 3, 4, 5]
    assert {event.status for event in events[:5]} == {EventStatus.DELIVERED}
    assert events[5].blocked_by == "event_chain_depth_limit"
    assert len(sms.bodies) == 4
    assert [(item.room_id, item.data["depth"]) for item in exceeded] == [(ROOM, 5)]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_R148_the_limit_is_configurable(limit: int) -> None:
    async with staged(max_chain_depth=limit) as stage:
        await stage.room(RecordingTransport("sms"), ScriptedAgent("one"), ScriptedAgent("two"))
        await stage.inbound("sms", "go", addressed_to=["one"])
        await stage.settle()
        events = await stage.messages()
        assert [event.chain_depth for event in events] == list(range(limit + 1))
        assert events[-1].status is EventStatus.BLOCKED


@pytest.mark.parametrize("limit", [0, -1])
async def test_R148_R269_the_limit_cannot_be_switched_off(limit: int) -> None:
    try:
        kit = RoomKit(max_chain_depth=limit, shutdown_timeout=0)
    except ValueError:
        return
    async with kit:
        stage = Stage(kit, VirtualClock())
        await stage.room(RecordingTransport("sms"), ScriptedAgent("one"), ScriptedAgent("two"))
        await stage.inbound("sms", "go")
        await stage.settle()
        assert max(event.chain_depth for event in await stage.messages()) <= 1


async def test_R149_side_effects_of_a_depth_block_are_kept(stage: Stage) -> None:
    agents = [ScriptedAgent("one"), ScriptedAgent("two")]
    for agent in agents:
        agent.tasks = [f"task of {agent.channel_id}"]
    await stage.room(RecordingTransport("sms"), *agents)
    await stage.inbound("sms", "go", addressed_to=["one"])
    await stage.settle()
    answers = len(await stage.messages()) - 1
    assert len(await stage.tasks()) == answers == 5
    observed = await stage.kit.store.list_observations(ROOM)
    assert [item.category for item in observed] == ["event_chain_depth_exceeded"]


async def test_R151_one_call_spawns_a_bounded_number_of_reentries() -> None:
    async with staged(max_chain_depth=2) as stage:
        chatty = ScriptedAgent("ai", lambda event, _: [str(n) for n in range(30)])
        await stage.room(RecordingTransport("sms"), chatty)
        await stage.inbound("sms", "go")
        await stage.settle()
        statuses = [status for _, status in await stage.said()]
        assert statuses.count("delivered") == 1 + 20
        assert statuses.count("reentry_loop_cap") == 10


@pytest.mark.parametrize("streamed", [False, True])
async def test_R152_the_triggers_response_visibility_rules_every_answer(
    stage: Stage, streamed: bool
) -> None:
    customer, advisor = LiveScreen("customer"), LiveScreen("advisor")
    agent = ScriptedAgent("ai")
    if streamed:
        agent.script = lambda event, _: stream_of("a", "b")
    await stage.room(customer, advisor, agent)
    await stage.inbound("customer", "hello", response_visibility="advisor")
    await stage.settle()
    answer = (await stage.messages())[-1]
    assert answer.visibility == "advisor"
    assert (customer.got, customer.deltas) == ([], [])
    assert advisor.got or advisor.deltas


async def test_R153_an_answer_of_a_channel_no_longer_bound_is_not_broadcast(stage: Stage) -> None:
    sms, agent = RecordingTransport("sms"), ScriptedAgent("ai")
    agent.wait = asyncio.Event()
    await stage.room(sms, agent)
    call = stage.start(stage.inbound("sms", "hello"))
    await stage.settle()
    await stage.kit.detach_channel(ROOM, "ai")
    agent.wait.set()
    await call
    await stage.settle()
    assert sms.bodies == []
    assert bodies(await stage.messages())[:1] == ["hello"]


async def test_R154_a_streamed_answer_counts_for_depth_and_permissions(stage: Stage) -> None:
    web = LiveScreen("web")
    agent = ScriptedAgent("ai", lambda *_: stream_of("one ", "two"))
    await stage.room(web, agent)
    await stage.inbound("web", "hello")
    await stage.settle()
    question, answer = await stage.messages()
    assert (answer.text, answer.chain_depth, answer.responds_to) == ("one two", 1, question.id)
    assert web.deltas == ["one ", "two"]
    await stage.kit.set_visibility(ROOM, "ai", "none")
    web.deltas.clear()
    await stage.inbound("web", "again")
    await stage.settle()
    assert web.deltas == []


async def test_R154_agents_answer_a_streamed_answer_too(stage: Stage) -> None:
    one = ScriptedAgent("one", lambda *_: stream_of("streamed"))
    two = silent("two")
    await stage.room(RecordingTransport("sms"), one, two)
    await stage.inbound("sms", "hello")
    await stage.settle()
    assert two.heard == ["hello", "streamed"]


async def test_R63_a_stream_is_shown_stored_and_delivered_once(stage: Stage) -> None:
    live, plain = LiveScreen("live"), RecordingTransport("plain")
    await stage.room(live, plain, ScriptedAgent("ai", lambda *_: stream_of("one ", "two")))
    await stage.inbound("live", "hello")
    await stage.settle()
    assert live.deltas == ["one ", "two"]
    assert live.bodies == []
    (finished,) = live.finished
    assert finished[0] is not None
    assert (finished[0].text, finished[1]) == ("one two", None)
    assert plain.bodies == ["hello", "one two"]
    assert (await stage.messages())[-1].correlation_id is not None


async def test_R63_a_broken_stream_is_stored_as_far_as_it_came(stage: Stage) -> None:
    errors = stage.hear(HookTrigger.ON_ERROR)
    plain = RecordingTransport("plain")
    failing = ScriptedAgent("ai", lambda *_: stream_of("half ", RuntimeError("cut")))
    await stage.room(LiveScreen("live"), plain, failing)
    await stage.inbound("live", "hello")
    await stage.settle()
    assert bodies(await stage.messages()) == ["hello", "half "]
    assert "half " in plain.bodies
    assert len(errors) == 1


async def test_R63_a_streamed_answer_passes_before_broadcast(stage: Stage) -> None:
    before = stage.hear(HookTrigger.BEFORE_BROADCAST)
    await stage.room(LiveScreen("live"), ScriptedAgent("ai", lambda *_: stream_of("a", "b")))
    await stage.inbound("live", "hello")
    await stage.settle()
    assert bodies(before) == ["hello", "ab"]
