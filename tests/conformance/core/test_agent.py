"""Agents with an identity of their own (chapter 23; R223)."""

from __future__ import annotations

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, bodies

from salon.channels.agent import Agent
from salon.channels.ai import AIChannel
from salon.models import ChannelCategory, ChannelType
from salon.providers.mock import MockAIProvider


def test_R223_an_agent_is_an_ai_channel_with_a_self() -> None:
    agent = Agent(
        "triage",
        provider=MockAIProvider(),
        name="Tina",
        role="triage nurse",
        description="asks what hurts",
        scope="no diagnoses",
        voice="calm",
        greeting="Good morning.",
        language="de",
    )
    assert isinstance(agent, AIChannel)
    assert (agent.channel_type, agent.category) == (ChannelType.AI, ChannelCategory.INTELLIGENCE)
    known = (agent.role, agent.description, agent.scope, agent.voice, agent.greeting)
    assert known == ("triage nurse", "asks what hurts", "no diagnoses", "calm", "Good morning.")
    assert (agent.language, agent.is_config_only) == ("de", False)


def test_R223_everything_but_the_id_is_optional() -> None:
    agent = Agent("plain")
    known = (agent.role, agent.description, agent.scope, agent.voice, agent.greeting)
    assert (*known, agent.language) == (None,) * 6
    assert agent.auto_greet is True
    assert agent.build_identity_block() is None


async def test_R223_who_it_is_reaches_the_model(stage: Stage) -> None:
    provider = MockAIProvider(["hello"])
    agent = Agent(
        "triage", provider=provider, role="triage nurse", scope="no diagnoses", language="de",
        system_prompt="Be brief.",
    )  # fmt: skip
    await stage.room(RecordingTransport("sms"), agent)
    await stage.inbound("sms")
    await stage.settle()
    prompt = str(provider.contexts[0].system_prompt)
    for words in ("Be brief.", "triage nurse", "no diagnoses", "de"):
        assert words in prompt


def test_R223_the_identity_block_is_made_for_a_language() -> None:
    agent = Agent("triage", role="triage nurse", language="de")
    own, other = agent.build_identity_block(), agent.build_identity_block("fr")
    assert own is not None
    assert other is not None
    assert "triage nurse" in own
    assert ("de" in own, "fr" in other) == (True, True)
    assert own != other


async def test_R223_without_a_provider_it_is_accepted_and_silent(stage: Stage) -> None:
    errors = stage.listen("delivery_failed", "hook_error")
    agent = Agent("config", role="a description only")
    assert agent.is_config_only
    await stage.room(RecordingTransport("sms"), agent)
    result = await stage.inbound("sms", "anybody?", addressed_to=["config"])
    await stage.settle()
    assert (result.error, errors) == (None, [])
    assert bodies(await stage.messages()) == ["anybody?"]
    assert "agent_failed" not in await stage.codes()


@pytest.mark.parametrize("addressed", ["triage", "billing"])
async def test_R223_several_share_a_room(stage: Stage, addressed: str) -> None:
    agents = [
        Agent(name, provider=MockAIProvider([f"I am {name}"]), role=name)
        for name in ("triage", "billing")
    ]
    await stage.room(RecordingTransport("sms"), *agents, room_id=ROOM)
    await stage.inbound("sms", "hello", addressed_to=[addressed])
    await stage.settle()
    assert f"I am {addressed}" in bodies(await stage.messages())
    first = (await stage.messages())[1]
    assert first.source.channel_id == addressed
