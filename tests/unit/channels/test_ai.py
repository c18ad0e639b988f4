"""An agent in a room: what it is asked, what becomes of its answer (R57-R63)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from salon.channels.ai import AIChannel
from salon.core.kit import RoomKit
from salon.core.ports.ai import (
    AIContext,
    AIProvider,
    AIStreamPart,
    ResponseMetadata,
    TextDelta,
)
from salon.models import (
    NO_OUTPUT,
    AudioContent,
    ChannelCategory,
    ChannelType,
    CompositeContent,
    EventStatus,
    EventType,
    HookResult,
    HookTrigger,
    LocationContent,
    MediaContent,
    RichContent,
    RoomContext,
    RoomEvent,
    SystemContent,
    TextContent,
)
from salon.providers.mock import MockAIProvider

from .rooms import ROOM, Phone, furnish, say, stored, words

SPOKEN = {"spoken": True}


def turns(context: AIContext) -> list[tuple[str, str, str | None]]:
    return [(message.role, message.text, message.name) for message in context.messages]


class Gated(AIProvider):
    """Answers ``re: <question>``, when `go` is set."""

    name = "gated"

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.contexts: list[AIContext] = []

    async def generate_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
        self.contexts.append(context)
        await self.go.wait()
        yield TextDelta(f"re: {context.messages[-1].text}")


# -- what it is ------------------------------------------------------------------------------------


async def test_an_agent_is_an_intelligence_that_keeps_its_providers_name(kit: RoomKit) -> None:
    agent = AIChannel("bot", provider=MockAIProvider(), name="Robin")
    assert (agent.channel_type, agent.category) == (ChannelType.AI, ChannelCategory.INTELLIGENCE)
    assert (agent.provider_name, agent.info) == ("mock", {"name": "Robin", "model": "mock"})
    assert AIChannel("bot", provider=MockAIProvider()).name == "bot"
    assert not agent.supports_streaming_delivery


async def test_R13_R147_the_stored_answer(kit: RoomKit) -> None:
    sms = Phone()
    await furnish(kit, sms, AIChannel("bot", provider=MockAIProvider(["Hello."]), name="Robin"))
    result = await say(kit)
    answer = (await stored(kit))[1]
    assert (answer.text, answer.status) == ("Hello.", EventStatus.DELIVERED)
    assert (answer.source.channel_id, answer.source.provider) == ("bot", "mock")
    assert (answer.chain_depth, answer.responds_to) == (1, result.event and result.event.id)
    assert answer.metadata == {"sender_name": "Robin"}
    assert sms.got == [answer]


async def test_R60_an_agent_has_no_outside(kit: RoomKit) -> None:
    provider = MockAIProvider()
    agent = AIChannel(provider=provider)
    await furnish(kit, Phone(), agent)
    context = await kit.context(ROOM)
    event = (await say(kit, detached=True)).event
    assert event is not None
    assert await agent.deliver(event, context.bindings[0], context) is NO_OUTPUT
    await kit.idle(ROOM)


# -- when it answers -------------------------------------------------------------------------------


async def test_R58_an_agent_does_not_answer_itself(kit: RoomKit) -> None:
    provider = MockAIProvider(["one", "two"])
    agent = AIChannel(provider=provider)
    await furnish(kit, Phone(), agent)
    await say(kit)
    assert len(provider.contexts) == 1
    own = (await stored(kit))[1]
    context = await kit.context(ROOM)
    binding = context.binding("agent")
    assert binding is not None
    assert await agent.on_event(own, binding, context) is NO_OUTPUT


async def test_R58_only_messages_with_words_are_answered(kit: RoomKit) -> None:
    provider = MockAIProvider(["x"], repeat=True)
    await furnish(kit, Phone(), AIChannel(provider=provider))
    for body in ("", "  \n"):
        await say(kit, body)
    await say(kit, "typing", event_type=EventType.TYPING)
    await say(kit, SystemContent(body="left", code="x"), event_type=EventType.SYSTEM)
    assert provider.contexts == []


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        (RichContent(body="*hi*", plain_text="hi"), "hi"),
        (RichContent(body="*hi*"), "*hi*"),
        (AudioContent(url="https://a/b", transcript="spoken words"), "spoken words"),
        (AudioContent(url="https://a/b"), "[Voice message]"),
    ],
)
async def test_R57_what_carries_words_is_read_as_words(
    kit: RoomKit, content: Any, asked: str
) -> None:
    provider = MockAIProvider()
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit, content)
    assert words(provider.contexts[0]) == [asked]


@pytest.mark.parametrize(
    ("content", "salient"),
    [
        (CompositeContent(parts=[TextContent(body="see this"), TextContent(body="now")]), "see"),
        (MediaContent(url="https://a/b", mime_type="image/png", caption="a cat"), "a cat"),
        (LocationContent(latitude=1, longitude=2, label="the pier"), "the pier"),
        (RichContent(body="<b>bold</b>", format="html"), "bold"),
    ],
    ids=["composite", "media", "location", "html"],
)
async def test_R183_an_agent_gets_the_fallback_of_what_it_cannot_carry(
    kit: RoomKit, content: Any, salient: str
) -> None:
    provider = MockAIProvider()
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit, content)
    assert len(provider.contexts) == 1
    asked = words(provider.contexts[0])[0]
    assert salient in asked
    assert "<b>" not in asked


# -- what it is told -------------------------------------------------------------------------------


async def test_R57_the_history_is_the_conversation_so_far_with_names(kit: RoomKit) -> None:
    provider = MockAIProvider(["one", "two"])
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await kit.add_member(ROOM, "sms", "ann", display_name="Ann")
    await say(kit, "first")
    await say(kit, "second", sender="bob", metadata={"sender_name": "Bob"})
    assert turns(provider.contexts[1]) == [
        ("user", "first", "Ann"),
        ("assistant", "one", None),
        ("user", "second", "Bob"),
    ]
    asked = provider.contexts[1]
    assert (asked.room_id, asked.participant_id, asked.participant_name) == (ROOM, "bob", "Bob")


async def test_R41_people_are_called_as_the_room_knows_them_now(kit: RoomKit) -> None:
    provider = MockAIProvider(["one", "two"])
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await kit.add_member(ROOM, "sms", "ann", display_name="Ann")
    await say(kit, "first", metadata={"sender_name": "Old"})
    await kit.rename_member(ROOM, "ann", "Anna")
    await say(kit, "second", metadata={"sender_name": "Old"})
    assert [name for role, _, name in turns(provider.contexts[1]) if role == "user"] == [
        "Anna",
        "Anna",
    ]


async def test_the_metadata_of_the_events_come_with_their_messages(kit: RoomKit) -> None:
    provider = MockAIProvider([["yes", ResponseMetadata({"slot": 1})], "two"])
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit, "first")
    await say(kit, "second", metadata={"mood": "calm"})
    messages = provider.contexts[1].messages
    assert messages[1].metadata["slot"] == 1
    assert messages[2].metadata == {"mood": "calm"}


async def test_messages_without_words_leave_no_gap_in_the_history(kit: RoomKit) -> None:
    provider = MockAIProvider()
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit, LocationContent(latitude=1, longitude=2), addressed_to=[])
    await say(kit, "where is that?")
    assert all(words(provider.contexts[0]))
    assert words(provider.contexts[0])[-1] == "where is that?"


async def test_R61_the_history_is_bounded(kit: RoomKit) -> None:
    provider = MockAIProvider(["a", "b", "c"])
    await furnish(kit, Phone(), AIChannel(provider=provider, max_context_events=2))
    for body in ("one", "two", "three"):
        await say(kit, body)
    assert words(provider.contexts[2]) == ["two", "b", "three"]


async def test_R61_an_agent_without_history_is_told_the_question_only(kit: RoomKit) -> None:
    provider = MockAIProvider(["a", "b"])
    await furnish(kit, Phone(), AIChannel(provider=provider, max_context_events=0))
    for body in ("one", "two"):
        await say(kit, body)
    assert words(provider.contexts[1]) == ["two"]


async def test_R20_the_window_is_the_largest_that_a_channel_asks_for(kit: RoomKit) -> None:
    provider = MockAIProvider()
    await furnish(kit, Phone(), AIChannel(provider=provider, max_context_events=80))
    for number in range(70):
        await say(kit, f"line {number}", addressed_to=[])
    await say(kit, "last")
    assert len(provider.contexts[0].messages) == 71


async def test_R61_a_room_may_override_the_settings_of_its_agent(kit: RoomKit) -> None:
    provider = MockAIProvider(["a", "b"])
    agent = AIChannel(provider=provider, system_prompt="be kind", temperature=0.5, max_tokens=10)
    await furnish(kit, Phone(), agent)
    await say(kit)
    await kit.attach_channel(
        ROOM,
        "agent",
        metadata={"system_prompt": "be brief", "temperature": 0.0, "max_tokens": None},
    )
    await say(kit)
    asked = [(c.system_prompt, c.temperature, c.max_tokens) for c in provider.contexts]
    assert asked == [("be kind", 0.5, 10), ("be brief", 0.0, None)]


async def test_the_provider_knows_the_room_and_whether_it_speaks(kit: RoomKit) -> None:
    provider = MockAIProvider(["a", "b"])
    await kit.create_room(ROOM, metadata={"topic": "rain"})
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit)
    await say(kit, metadata=SPOKEN)
    assert [context.spoken for context in provider.contexts] == [False, True]
    assert provider.contexts[0].metadata["topic"] == "rain"


async def test_R80_AMB26_the_history_holds_neither_whispers_nor_refused_events(
    kit: RoomKit,
) -> None:
    provider = MockAIProvider()
    await furnish(kit, Phone(), AIChannel(provider=provider))

    async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("no") if event.text == "rude" else HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, guard)
    await say(kit, "between us", visibility="transport")
    await say(kit, "to nobody", visibility="none")
    await say(kit, "rude")
    await say(kit, "hello")
    assert words(provider.contexts[0]) == ["hello"]


async def test_an_answer_given_meanwhile_is_in_the_history_of_the_next_question(
    kit: RoomKit,
) -> None:
    provider = Gated()
    await furnish(kit, Phone(), AIChannel(provider=provider))
    for body in ("one", "two", "three"):
        await say(kit, body, detached=True)
    provider.go.set()
    await kit.idle(ROOM)
    assert words(provider.contexts[1]) == ["one", "re: one", "two"]
    last = words(provider.contexts[2])
    assert last[-1] == "three"
    assert {"re: one", "re: two"} <= set(last)


# -- spoken turns that were continued --------------------------------------------------------------


async def interrupted_by(kit: RoomKit, **second: Any) -> Gated:
    """The agent is busy; ann says a turn, then something else happens; the agent is free."""
    provider = Gated()
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit, "before", sender="eve", detached=True)
    await say(kit, "first half", metadata=SPOKEN, detached=True)
    given: dict[str, Any] = {"body": "second half", "metadata": SPOKEN, "detached": True} | second
    await say(kit, **given)
    provider.go.set()
    await kit.idle(ROOM)
    return provider


async def test_a_turn_that_went_on_before_its_answer_began_is_answered_once(kit: RoomKit) -> None:
    provider = await interrupted_by(kit)
    assert [words(context)[-1] for context in provider.contexts] == ["before", "second half"]
    assert "first half" in words(provider.contexts[1])


@pytest.mark.parametrize(
    "second",
    [{"sender": "bob"}, {"metadata": {}}],
    ids=["another voice", "typed"],
)
async def test_another_message_supersedes_no_turn(kit: RoomKit, second: dict[str, Any]) -> None:
    provider = await interrupted_by(kit, **second)
    asked = [words(context)[-1] for context in provider.contexts]
    assert asked == ["before", "first half", "second half"]


async def test_a_refused_turn_supersedes_nothing(kit: RoomKit) -> None:
    async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("no") if event.text == "rude" else HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, guard)
    provider = await interrupted_by(kit, body="rude")
    assert [words(context)[-1] for context in provider.contexts] == ["before", "first half"]


@pytest.mark.parametrize(
    "second",
    [{"visibility": "transport"}, {"addressed_to": []}, {"addressed_to": ["other"]}],
    ids=["a whisper", "to nobody", "to another agent"],
)
async def test_a_turn_that_is_not_for_the_agent_supersedes_nothing(
    kit: RoomKit, second: dict[str, Any]
) -> None:
    provider = await interrupted_by(kit, **second)
    assert [words(context)[-1] for context in provider.contexts] == ["before", "first half"]
