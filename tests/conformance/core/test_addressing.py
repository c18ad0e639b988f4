"""Who is asked (chapter 9; R85-R93)."""

from __future__ import annotations

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    silent,
)

from salon.models import AgentResponsePolicy, RoomEvent

ADDRESSES = {
    "null": (None, {"one", "two"}),
    "empty": ([], set()),
    "known": (["one"], {"one"}),
    "several": (["two", "one"], {"one", "two"}),
    "unknown": (["nobody"], set()),
    "known and unknown": (["one", "nobody"], {"one"}),
    "a transport": (["web"], set()),
}


@pytest.mark.parametrize("way", ["inbound", "send_event"])
@pytest.mark.parametrize(
    ("address", "asked"), ADDRESSES.values(), ids=[name.replace(" ", "-") for name in ADDRESSES]
)
async def test_R85_R86_R87_R90_the_address_decides_which_agents_are_asked(
    stage: Stage, way: str, address: list[str] | None, asked: set[str]
) -> None:
    web, agents = RecordingTransport("web"), (silent("one"), silent("two"))
    await stage.room(RecordingTransport("sms"), web, *agents)
    if way == "inbound":
        await stage.inbound("sms", "hello", addressed_to=address)
    else:
        await stage.send("sms", "hello", addressed_to=address)
    await stage.settle()
    assert {agent.channel_id for agent in agents if agent.asked} == asked
    assert web.bodies == ["hello"]
    assert await stage.said() == [("hello", "delivered")]


async def test_R88_the_address_is_part_of_the_stored_event(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), silent("one"))
    for address in (None, [], ["one"]):
        await stage.inbound("sms", addressed_to=address)
    assert [event.addressed_to for event in await stage.messages()] == [None, [], ["one"]]


async def test_R89_an_address_does_not_make_visible(stage: Stage) -> None:
    agent = silent("one")
    await stage.room(RecordingTransport("sms"), agent)
    await stage.inbound("sms", "secret", addressed_to=["one"], visibility="transport")
    await stage.settle()
    assert agent.asked == []
    assert bodies(await stage.kit.history(ROOM, "one")) == []


async def test_R89_an_address_does_not_hide(stage: Stage) -> None:
    other = silent("two")
    await stage.room(RecordingTransport("sms"), silent("one"), other)
    await stage.inbound("sms", "hello", addressed_to=["one"])
    await stage.settle()
    assert other.asked == []
    assert bodies(await stage.kit.history(ROOM, "two")) == ["hello"]


async def test_R91_agents_answer_each_other_in_a_chain_by_default(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), ScriptedAgent("one"), ScriptedAgent("two"))
    await stage.inbound("sms", "hello", addressed_to=["one"])
    await stage.settle()
    depths = [event.chain_depth for event in await stage.messages()]
    assert depths == [0, 1, 2, 3, 4, 5]
    assert [status for _, status in await stage.said()][-1] == "event_chain_depth_limit"


async def test_R91_addressed_only_agents_answer_no_agent_unasked(stage: Stage) -> None:
    await stage.room(
        RecordingTransport("sms"),
        ScriptedAgent("one"),
        ScriptedAgent("two"),
        agent_response_policy=AgentResponsePolicy.ADDRESSED_ONLY,
    )
    await stage.inbound("sms", "hello")
    await stage.settle()
    said = sorted(str(body) for body in bodies(await stage.messages()))
    assert said == ["hello", "one: hello", "two: hello"]


async def test_R91_an_explicit_address_counts_under_either_policy(stage: Stage) -> None:
    one, two, three = ScriptedAgent("one"), silent("two"), silent("three")

    def hand_over(event: RoomEvent, _: object) -> list[RoomEvent]:
        return [one.says(event.room_id, "yours", addressed_to=["two"])]

    one.script = hand_over
    for policy in AgentResponsePolicy:
        room = f"room-{policy.value}"
        await stage.room(
            RecordingTransport("sms"), one, two, three, room_id=room, agent_response_policy=policy
        )
        await stage.inbound("sms", "hello", room_id=room, addressed_to=["one"])
        await stage.settle()
    assert two.heard == ["yours", "yours"]
    assert three.heard == []


async def test_R91_the_policy_may_change_in_the_middle(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), ScriptedAgent("one"), ScriptedAgent("two"))
    await stage.kit.set_agent_response_policy(ROOM, AgentResponsePolicy.ADDRESSED_ONLY)
    await stage.inbound("sms", "first")
    await stage.settle()
    assert max(event.chain_depth for event in await stage.messages()) == 1
    await stage.kit.set_agent_response_policy(ROOM, AgentResponsePolicy.AGENT_CHAIN)
    await stage.inbound("sms", "second")
    await stage.settle()
    assert max(event.chain_depth for event in await stage.messages()) == 5


async def test_R92_who_is_not_asked_is_not_called(stage: Stage) -> None:
    other = ScriptedAgent("two", lambda *_: RuntimeError("must not be called"))
    failed = stage.listen("delivery_failed")
    await stage.room(RecordingTransport("sms"), silent("one"), other)
    result = await stage.inbound("sms", "hello", addressed_to=["one"])
    await stage.settle()
    assert (other.asked, other.contexts, failed) == ([], [], [])
    assert "two" not in result.delivery_results
    assert result.error is None


async def test_R93_an_agent_asked_later_finds_what_it_missed(stage: Stage) -> None:
    agent = silent("two")
    await stage.room(RecordingTransport("sms"), silent("one"), agent)
    await stage.inbound("sms", "missed", addressed_to=["one"])
    await stage.inbound("sms", "hidden", addressed_to=["one"], visibility="transport")
    await stage.inbound("sms", "now", addressed_to=["two"])
    await stage.settle()
    assert agent.heard == ["now"]
    assert bodies(await stage.kit.history(ROOM, "two")) == ["missed", "now"]
