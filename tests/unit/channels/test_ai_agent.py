"""Agents with an identity (R223)."""

from __future__ import annotations

import pytest

from salon.base import ConfigurationError
from salon.channels.agent import Agent
from salon.channels.ai import AIChannel
from salon.core.kit import RoomKit
from salon.providers.mock import MockAIProvider

from .rooms import ROOM, Phone, bodies, furnish, say


def test_R223_what_an_agent_is_made_of() -> None:
    agent = Agent(
        "triage",
        provider=MockAIProvider(),
        name="Robin",
        role="Reception",
        description="Greets people.",
        scope="Appointments only.",
        voice="alto",
        greeting="Good morning!",
        language="French",
        auto_greet=False,
        system_prompt="Be kind.",
    )
    assert isinstance(agent, AIChannel)
    assert not agent.is_config_only
    assert (agent.greeting, agent.auto_greet, agent.voice) == ("Good morning!", False, "alto")
    assert Agent("x").auto_greet
    assert agent.info == {
        "name": "Robin",
        "model": "mock",
        "role": "Reception",
        "description": "Greets people.",
        "scope": "Appointments only.",
        "voice": "alto",
        "language": "French",
    }


def test_R223_the_identity_block_says_who_it_is() -> None:
    agent = Agent("a", name="Robin", role="Reception", scope="Appointments.", language="French")
    assert agent.build_identity_block() == (
        "Who you are:\nName: Robin\nRole: Reception\nScope: Appointments.\n"
        "Language: always answer in French"
    )
    assert "always answer in German" in (agent.build_identity_block("German") or "")
    assert Agent("a").build_identity_block() is None


async def test_R223_the_identity_joins_the_prompt(kit: RoomKit) -> None:
    provider = MockAIProvider(["a", "b"])
    agent = Agent("a", provider=provider, role="Reception", system_prompt="Be kind.")
    silent = Agent("b", provider=provider, role="Judge", identity_in_prompt=False)
    await furnish(kit, Phone(), agent, silent)
    await say(kit, addressed_to=["a"])
    await kit.attach_channel(ROOM, "a", metadata={"language": "Dutch"})
    assert provider.contexts[0].system_prompt == "Be kind.\n\nWho you are:\nRole: Reception"
    assert (agent._prompt({"language": "Dutch"}) or "").endswith("Language: always answer in Dutch")
    assert silent._prompt({}) is None


async def test_R223_a_description_without_a_provider_answers_nothing(kit: RoomKit) -> None:
    agent = Agent("a", provider=None, role="Reception")
    assert agent.is_config_only
    assert (agent.provider_name, agent.info["model"]) == (None, "")
    with pytest.raises(ConfigurationError, match="no provider"):
        _ = agent.provider
    await furnish(kit, Phone(), agent)
    result = await say(kit)
    assert (result.error, await bodies(kit)) == (None, ["hi"])
    await agent.close()


async def test_R223_several_agents_share_a_room(kit: RoomKit) -> None:
    first, second = MockAIProvider(["one"]), MockAIProvider(["two"])
    await furnish(
        kit,
        Phone(),
        Agent("a", provider=first, respond="addressed"),
        Agent("b", provider=second, respond="addressed"),
    )
    await say(kit, "@a and @b, hello")
    assert await bodies(kit) == ["@a and @b, hello", "one", "two"]
