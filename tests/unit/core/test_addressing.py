"""Which agents are asked (R85-R92)."""

from __future__ import annotations

import pytest

from salon.core import permissions
from salon.core.addressing import RouterStamp, solicited
from salon.models import (
    AgentResponsePolicy,
    ChannelBinding,
    ChannelCategory,
    EventSource,
    Room,
    RoomEvent,
    TextContent,
)


def event(addressed_to: list[str] | None = None) -> RoomEvent:
    return RoomEvent(
        room_id="room",
        source=EventSource(channel_id="web", channel_type="websocket"),
        content=TextContent(body="x"),
        addressed_to=addressed_to,
    )


def asked(
    event: RoomEvent,
    *,
    from_agent: bool = False,
    policy: AgentResponsePolicy = AgentResponsePolicy.AGENT_CHAIN,
    stamp: RouterStamp | None = None,
) -> list[str]:
    room = Room(id="room", agent_response_policy=policy)
    agents = [
        ChannelBinding(
            channel_id=name,
            room_id="room",
            channel_type="ai",
            category=ChannelCategory.INTELLIGENCE,
        )
        for name in ("a", "b", "boss")
    ]
    return [
        agent.channel_id
        for agent in agents
        if solicited(event, room, agent, from_agent=from_agent, stamp=stamp)
    ]


@pytest.mark.parametrize("policy", list(AgentResponsePolicy))
@pytest.mark.parametrize("from_agent", [True, False])
def test_R91_without_an_address_the_policy_decides(
    policy: AgentResponsePolicy, from_agent: bool
) -> None:
    silent = from_agent and policy is AgentResponsePolicy.ADDRESSED_ONLY
    expected = [] if silent else ["a", "b", "boss"]
    assert asked(event(), from_agent=from_agent, policy=policy) == expected


@pytest.mark.parametrize("policy", list(AgentResponsePolicy))
@pytest.mark.parametrize("from_agent", [True, False])
@pytest.mark.parametrize(
    ("address", "expected"),
    [([], []), (["a"], ["a"]), (["ghost"], []), (["b", "ghost", "a"], ["a", "b"])],
)
def test_R86_R87_R91_an_address_is_honoured_under_either_policy(
    address: list[str], expected: list[str], policy: AgentResponsePolicy, from_agent: bool
) -> None:
    assert asked(event(address), from_agent=from_agent, policy=policy) == expected


def test_R90_R227_a_router_decides_for_what_is_not_addressed() -> None:
    assert asked(event(), stamp=RouterStamp("b")) == ["b"]
    assert asked(event(["a"]), stamp=RouterStamp("b")) == ["a"]
    assert asked(event(), stamp=RouterStamp()) == []


@pytest.mark.parametrize("address", [None, [], ["a"]])
def test_R227_a_supervisor_is_always_asked(address: list[str] | None) -> None:
    stamp = RouterStamp("b", supervisor_id="boss")
    expected = ["b", "boss"] if address is None else [*address, "boss"]
    assert asked(event(address), stamp=stamp) == expected
    silent = asked(
        event(address),
        stamp=stamp,
        from_agent=True,
        policy=AgentResponsePolicy.ADDRESSED_ONLY,
    )
    assert silent == [*(address or []), "boss"]


def test_it_is_found_beside_the_other_permissions() -> None:
    assert permissions.solicited is solicited
    assert permissions.RouterStamp is RouterStamp
