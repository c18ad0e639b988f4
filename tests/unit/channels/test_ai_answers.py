"""What becomes of an agent's answer: tools, failures, ends, observers (R61-R66, R142)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from salon.base import Clock
from salon.channels.ai import AIChannel
from salon.core.kit import RoomKit
from salon.core.ports.ai import (
    AIContext,
    AIProvider,
    AIStreamPart,
    AIToolCall,
    ResponseMetadata,
    TextDelta,
)
from salon.models import (
    EventType,
    HookTrigger,
    RoomContext,
    SystemContent,
    TextContent,
)
from salon.models.ai import AIResponseEvent
from salon.providers.errors import AIProviderError
from salon.providers.mock import MockAIProvider
from salon.providers.tools import ToolBox

from .rooms import ROOM, Phone, bodies, furnish, say, stored, words

# -- tools -----------------------------------------------------------------------------------------


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_R62_tools_run_and_their_results_go_back_to_the_model(kit: RoomKit) -> None:
    call = AIToolCall("1", "add", {"a": 2, "b": 3})
    provider = MockAIProvider([["Let me see. ", call], "It is 5."])
    await furnish(kit, Phone(), AIChannel(provider=provider, tools=ToolBox([add])))
    await say(kit, "what is 2 + 3?")
    assert [tool.name for tool in provider.contexts[0].tools] == ["add"]
    asked, told = provider.contexts[1].messages[-2:]
    assert (asked.role, asked.tool_calls) == ("assistant", (call,))
    assert [(r.call_id, r.content, r.is_error) for r in told.tool_results] == [("1", "5", False)]
    assert await bodies(kit) == ["what is 2 + 3?", "Let me see. It is 5."]


async def test_R62_the_tool_loop_is_bounded(kit: RoomKit) -> None:
    call = AIToolCall("1", "add", {"a": 1, "b": 1})
    provider = MockAIProvider([[call]], repeat=True)
    await furnish(
        kit, Phone(), AIChannel(provider=provider, tools=ToolBox([add]), max_tool_rounds=2)
    )
    result = await say(kit)
    assert isinstance(result.error, AIProviderError)
    assert len(provider.contexts) == 3
    assert provider.contexts[2].tools == []


async def test_R61_the_tool_loop_ends_in_time(kit: RoomKit) -> None:
    call = AIToolCall("1", "add", {"a": 1, "b": 1})
    provider = MockAIProvider([[call]], repeat=True)
    agent = AIChannel(provider=provider, tools=ToolBox([add]), tool_loop_timeout_seconds=0.0)
    await furnish(kit, Phone(), agent)
    result = await say(kit)
    assert isinstance(result.error, AIProviderError)
    assert "still calling tools" in str(result.error)


# -- what becomes of the answer --------------------------------------------------------------------


async def test_R63_what_the_provider_tells_is_stored_with_the_answer(kit: RoomKit) -> None:
    parts: list[str | ResponseMetadata] = [
        ResponseMetadata({"usage": {"out": 1}}),
        "yes",
        ResponseMetadata({"state": "done"}),
    ]
    await furnish(kit, Phone(), AIChannel(provider=MockAIProvider([parts]), name="Robin"))
    await say(kit)
    assert (await stored(kit))[1].metadata == {
        "sender_name": "Robin",
        "usage": {"out": 1},
        "state": "done",
    }


async def test_two_answers_share_no_metadata(kit: RoomKit) -> None:
    provider = MockAIProvider([["a", ResponseMetadata({"x": 1})], "b"])
    await furnish(kit, Phone(), AIChannel(provider=provider, name="Robin"))
    await say(kit)
    await say(kit)
    assert (await stored(kit))[3].metadata == {"sender_name": "Robin"}


@pytest.mark.parametrize("reply", ["", "   ", [ResponseMetadata({"x": 1})]], ids=repr)
async def test_an_answer_without_words_leaves_no_trace(kit: RoomKit, reply: Any) -> None:
    sms = Phone()
    await furnish(kit, sms, AIChannel(provider=MockAIProvider([reply])))
    result = await say(kit)
    assert (await bodies(kit), sms.got, result.error) == (["hi"], [], None)


async def test_R142_a_provider_that_fails_is_reported_where_people_see_it(kit: RoomKit) -> None:
    sms = Phone()
    error = AIProviderError("out of credit", provider="mock")
    await furnish(kit, sms, AIChannel(provider=MockAIProvider([[error], "well again"])))
    result = await say(kit)
    await kit.idle(ROOM)
    assert result.error is error
    assert not result.blocked
    note = (await stored(kit, EventType.SYSTEM))[-1]
    assert isinstance(note.content, SystemContent)
    assert (note.content.code, note.visibility) == ("agent_failed", "transport")
    assert "out of credit" in note.content.body
    assert (note.metadata["channel_id"], note.responds_to) == (
        "agent",
        result.event and result.event.id,
    )
    assert sms.got == [note]
    assert (await say(kit)).error is None
    assert sms.words[-1] == "well again"


async def test_R142_the_words_of_a_foreign_error_stay_in_the_log(kit: RoomKit) -> None:
    await furnish(kit, Phone(), AIChannel(provider=MockAIProvider([[KeyError("sk-secret")]])))
    await say(kit)
    note = (await stored(kit, EventType.SYSTEM))[-1]
    assert "sk-secret" not in note.model_dump_json()
    assert note.metadata["error_type"] == "KeyError"


async def test_R63_what_was_said_before_the_failure_is_kept(kit: RoomKit) -> None:
    sms = Phone()
    error = AIProviderError("cut")
    await furnish(kit, sms, AIChannel(provider=MockAIProvider([["Well, ", error]])))
    result = await say(kit)
    await kit.idle(ROOM)
    assert result.error is error
    assert await bodies(kit) == ["hi", "Well, "]
    assert [event.type for event in sms.got] == [EventType.MESSAGE, EventType.SYSTEM]


# -- ON_AI_RESPONSE --------------------------------------------------------------------------------


def hear(kit: RoomKit) -> list[Any]:
    heard: list[Any] = []

    async def note(payload: Any, context: RoomContext) -> None:
        heard.append(payload)

    kit.add_hook(HookTrigger.ON_AI_RESPONSE, note)
    return heard


async def test_R66_a_completed_turn_is_told_once_with_its_text(kit: RoomKit) -> None:
    heard = hear(kit)
    await furnish(kit, Phone(), AIChannel(provider=MockAIProvider([["Hel", "lo."]])))
    await say(kit)
    (told,) = heard
    assert isinstance(told, AIResponseEvent)
    assert (told.channel_id, told.room_id, told.response_content) == ("agent", ROOM, "Hello.")
    assert (told.round_count, told.tool_calls_count, told.loop_end_reason) == (1, 0, "completed")


async def test_R66_a_turn_is_told_with_its_calls_counts_and_time(kit: RoomKit) -> None:
    heard = hear(kit)
    clock = VirtualTime()
    call = AIToolCall("1", "add", {"a": 1, "b": 1})
    counts = ResponseMetadata({"usage": {"output_token_count": 2}})
    provider = MockAIProvider([[call, counts], ["2", counts]], delay=0.25, clock=clock)
    await furnish(kit, Phone(), AIChannel(provider=provider, tools=[add], clock=clock))
    await say(kit)
    (told,) = heard
    assert (told.round_count, told.tool_calls_count, told.latency_ms) == (2, 1, 1000)
    assert told.usage == {"output_token_count": 4}
    assert told.timestamp == clock.now()


async def test_R66_a_turn_that_failed_is_not_told(kit: RoomKit) -> None:
    heard = hear(kit)
    await furnish(kit, Phone(), AIChannel(provider=MockAIProvider([["Hel", AIProviderError("x")]])))
    await say(kit)
    assert heard == []


async def test_R66_a_turn_that_was_closed_early_is_not_told_and_stops_the_provider(
    kit: RoomKit,
) -> None:
    heard = hear(kit)
    provider = MockAIProvider([["one ", "two ", "three"]])
    agent = AIChannel(provider=provider)
    await furnish(kit, Phone(), agent)
    await kit.mute(ROOM, "agent")  # so that the framework itself reads nothing
    event = (await say(kit)).event
    context = await kit.context(ROOM)
    binding = context.binding("agent")
    assert event is not None
    assert binding is not None
    stream = (await agent.on_event(event, binding, context)).response_stream
    assert stream is not None
    assert await anext(stream) == "one "
    await stream.aclose()  # type: ignore[attr-defined]
    assert (provider.closed, heard) == (1, [])


async def test_R75_a_muted_agent_generates_nothing(kit: RoomKit) -> None:
    provider = MockAIProvider()
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await kit.mute(ROOM, "agent")
    await say(kit)
    assert (provider.contexts, await bodies(kit)) == ([], ["hi"])


async def test_R162_an_observer_does_not_delay_the_answer(kit: RoomKit) -> None:
    async def slow(payload: Any, context: RoomContext) -> None:
        await asyncio.sleep(20)

    kit.add_hook(HookTrigger.ON_AI_RESPONSE, slow)
    await furnish(kit, Phone(), AIChannel(provider=MockAIProvider(["Hello."])))
    loop = asyncio.get_running_loop()
    began = loop.time()
    await say(kit)
    assert loop.time() - began < 1


async def test_one_agent_serves_many_rooms_and_mixes_nothing(kit: RoomKit) -> None:
    provider = MockAIProvider(["a", "b"])
    agent = AIChannel(provider=provider)
    sms = Phone()
    await furnish(kit, sms, agent)
    await furnish(kit, sms, agent, room_id="other")
    await say(kit, "here")
    await kit.send_event("other", "sms", TextContent(body="there"))
    assert [(c.room_id, words(c)) for c in provider.contexts] == [
        (ROOM, ["here"]),
        ("other", ["there"]),
    ]


async def test_an_agent_outside_a_framework_answers_without_hooks(kit: RoomKit) -> None:
    inside = AIChannel(provider=MockAIProvider())
    await furnish(kit, Phone(), inside)
    await kit.mute(ROOM, "agent")
    event = (await say(kit)).event
    context = await kit.context(ROOM)
    binding = context.binding("agent")
    assert event is not None
    assert binding is not None
    alone = AIChannel(provider=MockAIProvider(["Hello."]))
    stream = (await alone.on_event(event, binding, context)).response_stream
    assert stream is not None
    assert [text async for text in stream] == ["Hello."]


class VirtualTime(Clock):
    """Moves only when somebody sleeps."""

    passed = 0.0

    def time(self) -> float:
        return self.passed

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


class Hanging(AIProvider):
    name = "hanging"

    async def generate_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
        await asyncio.Event().wait()
        yield TextDelta("never")


async def test_R61_a_provider_that_never_answers_is_given_up_and_reported(kit: RoomKit) -> None:
    await furnish(kit, Phone(), AIChannel(provider=Hanging()))
    before = asyncio.get_running_loop().time()
    result = await asyncio.wait_for(say(kit), 3600)
    assert 60 <= asyncio.get_running_loop().time() - before < 61
    assert isinstance(result.error, AIProviderError)
    assert (await stored(kit, EventType.SYSTEM))[-1].metadata["channel_id"] == "agent"


async def test_R61_how_long_a_provider_may_be_silent_is_a_setting_of_its_own(
    kit: RoomKit,
) -> None:
    await furnish(kit, Phone(), AIChannel(provider=Hanging(), silence_timeout=5))
    before = asyncio.get_running_loop().time()
    result = await asyncio.wait_for(say(kit), 3600)
    assert 5 <= asyncio.get_running_loop().time() - before < 6
    assert "silent for 5 s" in str(result.error)


async def test_what_a_provider_needs_not_say_has_defaults() -> None:
    provider = Hanging()
    await provider.start()
    assert (provider.model_name, provider.suggestions()) == ("", ())
    assert provider.speech_hints().phrases == ()
    await provider.close()


async def test_R80_the_history_of_an_agent_is_what_the_host_may_look_at_too(kit: RoomKit) -> None:
    provider = MockAIProvider(["answer", "again"])
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit, "between us", visibility="transport")
    await say(kit, "hello")
    shown = [event.text for event in await kit.history(ROOM, "agent")]
    await say(kit, "more")
    assert shown == ["hello", "answer"]
    assert words(provider.contexts[1]) == [*shown, "more"]


async def test_R93_an_agent_that_was_not_asked_knows_what_was_said_when_it_is(
    kit: RoomKit,
) -> None:
    provider = MockAIProvider()
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit, "one", addressed_to=[])
    await say(kit, "two", addressed_to=["other"])
    assert provider.contexts == []
    await say(kit, "three", addressed_to=["agent"])
    assert words(provider.contexts[0]) == ["one", "two", "three"]


async def test_R148_two_agents_that_answer_each_other_come_to_an_end(kit: RoomKit) -> None:
    providers = [MockAIProvider(["ping"], repeat=True), MockAIProvider(["pong"], repeat=True)]
    await furnish(
        kit,
        Phone(),
        AIChannel("a", provider=providers[0]),
        AIChannel("b", provider=providers[1]),
    )
    await say(kit, "go", addressed_to=["a"])
    events = await stored(kit)
    assert [event.text for event in events[:5]] == ["go", "ping", "pong", "ping", "pong"]
    assert [event.chain_depth for event in events] == [0, 1, 2, 3, 4, 5]
    assert events[5].blocked_by == "event_chain_depth_limit"
    assert len(providers[0].contexts) + len(providers[1].contexts) == 4
