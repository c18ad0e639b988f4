"""Regenerated answers pass the gates of first ones (R21, R71, R128, R146, R147, R267)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    soon,
)

from salon.core import RoomNotFoundError
from salon.models import HookTrigger, InboundResult, RoomEvent


async def answered(stage: Stage) -> tuple[RecordingTransport, ScriptedAgent, RoomEvent]:
    """A room in which "hi" was answered; the agent numbers its answers."""
    sms = RecordingTransport("sms")
    count = iter(range(1, 100))
    agent = ScriptedAgent("ai", lambda event, context: [f"answer {next(count)}"])
    await stage.room(sms, RecordingTransport("web"), agent)
    said = (await stage.inbound("sms", "hi")).event
    assert said is not None
    return sms, agent, said


async def test_R21_no_answer_is_regenerated_in_a_shut_room(stage: Stage) -> None:
    sms, _, _ = await answered(stage)
    refused = stage.listen("room_refused_event")
    await stage.kit.close_room(ROOM)
    before = await stage.timeline()
    result = await stage.kit.regenerate_response(ROOM)
    assert result == InboundResult(None, True, "room_closed")
    await stage.settle()
    assert await stage.timeline() == before
    assert sms.bodies == ["answer 1"]
    assert len(refused) == 1


async def test_R21_a_regeneration_under_way_at_the_closing_is_not_stored(stage: Stage) -> None:
    sms, agent, _ = await answered(stage)
    gate = asyncio.Event()

    async def words() -> AsyncIterator[str]:
        yield "half "
        await gate.wait()
        yield "done"

    agent.script = lambda event, context: words()
    call = stage.start(stage.kit.regenerate_response(ROOM))
    await stage.settle()
    await stage.kit.close_room(ROOM)
    before = await stage.timeline()
    gate.set()
    result = await call
    await stage.settle()
    assert result is not None
    assert result.response_events == []
    assert await stage.timeline() == before
    assert sms.bodies == ["answer 1"]


async def test_R146_R147_a_regenerated_answer_comes_in_like_a_first_one(stage: Stage) -> None:
    sms, _, said = await answered(stage)
    decided = stage.hear(HookTrigger.BEFORE_BROADCAST)
    result = await stage.kit.regenerate_response(ROOM, trigger_id=said.id)
    assert result is not None
    (answer,) = result.response_events
    assert (answer.responds_to, answer.chain_depth, answer.index) == (said.id, 1, said.index + 2)
    assert bodies(await stage.messages()) == ["hi", "answer 1", "answer 2"]
    assert bodies(decided) == ["answer 2"]  # the message itself is decided once
    assert sms.bodies == ["answer 1", "answer 2"]


async def test_R71_who_may_not_write_any_more_gives_no_new_answer(stage: Stage) -> None:
    await answered(stage)
    await stage.kit.mute(ROOM, "ai")
    result = await stage.kit.regenerate_response(ROOM)
    assert result is not None
    assert result.response_events == []
    assert (await stage.said())[-1] == ("answer 2", "source_muted")


async def test_R128_called_from_inside_the_room_it_does_not_wait_for_itself(stage: Stage) -> None:
    sms, _, said = await answered(stage)
    results: list[InboundResult | None] = []

    async def again(event: RoomEvent) -> None:
        if event.text == "again":
            results.append(await stage.kit.regenerate_response(ROOM, trigger_id=said.id))

    sms.on_delivery = again
    await soon(stage.send("ai", "again"))
    await stage.kit.idle(ROOM)
    assert [result and result.blocked for result in results] == [False]
    assert (await stage.messages())[-1].text == "answer 2"


async def test_R267_nothing_is_regenerated_for_another_organization(stage: Stage) -> None:
    sms, agent, _ = await answered(stage)
    asked = len(agent.asked)
    with pytest.raises(RoomNotFoundError):
        await stage.kit.regenerate_response(ROOM, organization_id="other")
    with pytest.raises(RoomNotFoundError):
        await stage.kit.regenerate_target(ROOM, organization_id="other")
    assert (len(agent.asked), sms.bodies) == (asked, ["answer 1"])
