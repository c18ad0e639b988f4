"""AI channels: settings, parts, tools, streams (chapter 7; R57-R63)."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
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
    staged,
    stream_of,
)

from salon.channels.ai import AIChannel
from salon.core.ports.ai import (
    AIResponse,
    AIThinkingPart,
    AIToolCall,
    AIToolCallPart,
    AIToolResultPart,
)
from salon.core.ports.channel import StreamOutcome
from salon.models import (
    ChannelBinding,
    ChannelCapabilities,
    ChannelMediaType,
    EventStatus,
    EventType,
    HookTrigger,
    Observation,
    RoomContext,
    RoomEvent,
    Task,
)
from salon.providers.mock import MockAIProvider
from salon.providers.tools import tool


async def asked(stage: Stage, agent: AIChannel, body: str = "hello", **binding: Any) -> None:
    """One message to one agent, whose binding has these fields."""
    await stage.room(RecordingTransport("sms"))
    stage.register(agent)
    await stage.kit.attach_channel(ROOM, agent.channel_id, **binding)
    await stage.inbound("sms", body)
    await stage.settle()


def look(city: str) -> str:
    """What the sky is like.

    city: where
    """
    return f"rain in {city}"


CALL = AIToolCall("1", "look", {"city": "Bonn"})


# -- R57: what an answer leaves -------------------------------------------------------------------


async def test_R57_tasks_and_observations_of_an_answer_are_kept(stage: Stage) -> None:
    reply = AIResponse(
        content="Noted.",
        tasks=[Task(room_id=ROOM, title="call back")],
        observations=[Observation(room_id=ROOM, channel_id="ai", content="is in a hurry")],
    )
    await asked(stage, AIChannel("ai", MockAIProvider(ai_responses=[reply])))
    assert (await stage.tasks(), await stage.observations()) == (["call back"], ["is in a hurry"])


async def test_R57_a_task_of_an_answer_is_announced(stage: Stage) -> None:
    created = stage.hear(HookTrigger.ON_TASK_CREATED)
    reply = AIResponse(content="Noted.", tasks=[Task(room_id=ROOM, title="call back")])
    await asked(stage, AIChannel("ai", MockAIProvider(ai_responses=[reply])))
    assert [event.metadata["task_title"] for event in created] == ["call back"]


async def test_R57_an_answer_names_what_it_answers(stage: Stage) -> None:
    await asked(stage, AIChannel("ai", MockAIProvider(["hi there"])))
    question, answer = await stage.messages()
    assert (answer.responds_to, answer.chain_depth) == (question.id, 1)
    assert (answer.source.channel_id, answer.source.provider) == ("ai", "mock")


# -- R59, R61: what the model is told -------------------------------------------------------------


async def test_R59_media_types_of_the_target_reach_the_model(stage: Stage) -> None:
    provider = MockAIProvider(["**bold**"])
    kinds = [ChannelMediaType.TEXT, ChannelMediaType.RICH]
    rich = ChannelCapabilities(media_types=kinds, supports_buttons=True)
    await stage.room(RecordingTransport("sms", capabilities=rich), AIChannel("ai", provider))
    await stage.inbound("sms", "hello")
    await stage.settle()
    (request,) = provider.contexts
    assert tuple(request.target_media_types) == ("text", "rich")
    assert request.target_capabilities is not None
    assert request.target_capabilities.supports_buttons


async def test_R59_the_answer_is_not_rewritten_for_the_target(stage: Stage) -> None:
    await asked(stage, AIChannel("ai", MockAIProvider(["x" * 300])))
    assert (await stage.messages())[-1].text == "x" * 300


@pytest.mark.parametrize(
    ("setting", "value"),
    [("temperature", 0.9), ("max_tokens", 77), ("thinking_budget", 1024)],
)
async def test_R61_each_setting_may_be_overridden_per_room(
    stage: Stage, setting: str, value: Any
) -> None:
    provider = MockAIProvider(["one", "two"])
    agent = AIChannel("ai", provider, **{setting: 1})  # type: ignore[arg-type]
    await asked(stage, agent, metadata={setting: value})
    await stage.room(RecordingTransport("web"), room_id="plain")
    await stage.kit.attach_channel("plain", "ai")
    await stage.inbound("web", room_id="plain")
    await stage.settle()
    assert [getattr(request, setting) for request in provider.contexts] == [value, 1]


async def test_R61_a_room_may_add_tools(stage: Stage) -> None:
    provider = MockAIProvider(["fine"])
    more = {"name": "book", "description": "Book a seat.", "parameters": {"type": "object"}}
    agent = AIChannel("ai", provider, tools=[tool(look)])
    await asked(stage, agent, metadata={"tools": [more]})
    assert sorted(item.name for item in provider.contexts[0].tools) == ["book", "look"]


def test_R61_the_defaults_are_those_of_the_rule() -> None:
    given = inspect.signature(AIChannel).parameters
    wanted = {
        "system_prompt": None,
        "max_tokens": None,
        "max_context_events": 50,
        "thinking_budget": None,
        "max_tool_rounds": 200,
        "tool_loop_timeout_seconds": 300.0,
        "fallback_provider": None,
        "evict_threshold_tokens": 5000,
        "memory": None,
    }
    assert {name: given[name].default for name in wanted} == wanted


async def test_R61_the_fallback_answers_where_the_provider_fails(stage: Stage) -> None:
    first = MockAIProvider([[OSError("down")]])
    second = MockAIProvider(["from the second"])
    await asked(stage, AIChannel("ai", first, fallback_provider=second))
    assert bodies(await stage.messages()) == ["hello", "from the second"]
    assert len(first.contexts) == len(second.contexts) == 1


async def test_R61_a_long_tool_result_is_cut_and_says_so(stage: Stage) -> None:
    def read() -> str:
        """Read everything."""
        return "word " * 10_000

    provider = MockAIProvider([[AIToolCall("1", "read", {})], "done"])
    await asked(stage, AIChannel("ai", provider, tools=[tool(read)], evict_threshold_tokens=100))
    (result,) = provider.contexts[1].messages[-1].tool_results
    assert len(result.content) < 1000


# -- R62: parts and the loop ----------------------------------------------------------------------


async def test_R62_an_answer_is_an_ordered_list_of_parts(stage: Stage) -> None:
    thinks = AIResponse(content="I look. ", thinking="Bonn it is.", tool_calls=[CALL])
    provider = MockAIProvider([thinks, "It rains."])
    await asked(stage, AIChannel("ai", provider, tools=[tool(look)]), "weather?")
    said, results = provider.contexts[1].messages[-2:]
    assert isinstance(said.content, list)
    assert isinstance(results.content, list)
    assert isinstance(said.content[0], AIThinkingPart)
    assert isinstance(said.content[-1], AIToolCallPart)
    assert (said.text, [part.thinking for part in said.thinking]) == ("I look. ", ["Bonn it is."])
    (result,) = results.content
    assert isinstance(result, AIToolResultPart)
    assert (result.tool_call_id, result.result) == ("1", "rain in Bonn")


async def test_R62_an_unknown_tool_is_an_error_result_and_not_the_end(stage: Stage) -> None:
    provider = MockAIProvider([[AIToolCall("1", "nothing", {})], "I can not."])
    await asked(stage, AIChannel("ai", provider, tools=[tool(look)]))
    (result,) = provider.contexts[1].messages[-1].tool_results
    assert result.is_error
    assert bodies(await stage.messages())[-1] == "I can not."


async def test_R62_a_raising_tool_is_an_error_result(stage: Stage) -> None:
    def fail() -> str:
        """Never works."""
        raise ValueError("broken")

    provider = MockAIProvider([[AIToolCall("1", "fail", {})], "Sorry."])
    await asked(stage, AIChannel("ai", provider, tools=[tool(fail)]))
    (result,) = provider.contexts[1].messages[-1].tool_results
    assert result.is_error
    assert bodies(await stage.messages())[-1] == "Sorry."


async def test_R62_thinking_is_told_and_kept_with_the_answer(stage: Stage) -> None:
    heard = stage.hear(HookTrigger.ON_AI_THINKING)
    reply = AIResponse(content="Four.", thinking="two and two")
    await asked(stage, AIChannel("ai", MockAIProvider(ai_responses=[reply])))
    assert [(item.channel_id, item.room_id) for item in heard] == [("ai", ROOM)]
    answer = (await stage.messages())[-1]
    assert answer.text == "Four."
    assert "two and two" in str(answer.metadata["thinking"])


# -- R63: one streamed answer ---------------------------------------------------------------------


async def test_R63_a_channel_that_got_it_live_is_not_delivered_to(stage: Stage) -> None:
    screen, sms = LiveScreen("screen"), RecordingTransport("sms")
    agent = ScriptedAgent("ai", lambda event, context: stream_of("It ", "rains."))
    await stage.room(sms, screen, agent)
    await stage.inbound("sms", "weather?")
    await stage.settle()
    assert screen.deltas == ["It ", "rains."]
    assert (screen.bodies, sms.bodies) == (["weather?"], ["It rains."])
    ((stored, error),) = screen.finished
    assert stored is not None
    assert (stored.text, error) == ("It rains.", None)


async def test_R63_the_stored_answer_has_a_correlation_id(stage: Stage) -> None:
    agent = ScriptedAgent("ai", lambda event, context: stream_of("It ", "rains."))
    await stage.room(RecordingTransport("sms"), agent)
    await stage.inbound("sms", "one")
    await stage.inbound("sms", "two")
    await stage.settle()
    answers = [event for event in await stage.messages() if event.source.channel_id == "ai"]
    assert len({event.correlation_id for event in answers}) == 2
    assert all(event.correlation_id for event in answers)


async def test_R63_a_failure_stores_and_delivers_what_came_and_fires_on_error(
    stage: Stage,
) -> None:
    errors = stage.hear(HookTrigger.ON_ERROR)
    sms, web = RecordingTransport("sms"), RecordingTransport("web")
    agent = ScriptedAgent("ai", lambda event, context: stream_of("It ra", OSError("gone")))
    await stage.room(sms, web, agent)
    await stage.inbound("sms", "weather?")
    await stage.settle()
    assert "It ra" in sms.bodies
    assert "It ra" in web.bodies
    assert [event.metadata["channel_id"] for event in errors] == ["ai"]
    answer = next(event for event in await stage.messages() if event.text == "It ra")
    assert answer.status is EventStatus.DELIVERED


async def test_R63_a_failure_before_the_first_word_stores_no_answer(stage: Stage) -> None:
    errors = stage.hear(HookTrigger.ON_ERROR)
    screen = LiveScreen("screen")
    agent = ScriptedAgent("ai", lambda event, context: stream_of(OSError("gone")))
    await stage.room(RecordingTransport("sms"), screen, agent)
    await stage.inbound("sms", "weather?")
    await stage.settle()
    assert bodies(await stage.messages()) == ["weather?"]
    assert (screen.deltas, len(errors)) == ([], 1)


class Interrupting(LiveScreen):
    """Hears the first piece and has enough."""

    async def deliver_stream(
        self,
        text_stream: AsyncIterator[str],
        event: RoomEvent,
        binding: ChannelBinding,
        context: RoomContext,
    ) -> StreamOutcome:
        async for delta in text_stream:
            return StreamOutcome(text=delta, interrupted=True)
        return StreamOutcome()


async def test_R63_a_cancelled_answer_is_stored_marked(stage: Stage) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "word "
                await asyncio.sleep(1)
        finally:
            closed.set()

    sms = RecordingTransport("sms")
    agent = ScriptedAgent("ai", lambda event, context: endless())
    await stage.room(sms, Interrupting("phone"), agent)
    await stage.inbound("sms", "go on")
    await stage.settle()
    answer = (await stage.messages())[-1]
    assert (answer.text, answer.metadata["cancelled"]) == ("word ", True)
    assert closed.is_set()
    assert sms.bodies == ["word "]


async def test_R63_only_channels_that_may_see_it_get_the_stream(stage: Stage) -> None:
    seeing, blind = LiveScreen("seeing"), LiveScreen("blind")
    agent = ScriptedAgent("ai", lambda event, context: stream_of("psst"))
    await stage.room(RecordingTransport("sms"), seeing, blind, agent)
    await stage.kit.set_visibility(ROOM, "ai", "seeing")
    await stage.inbound("sms")
    await stage.settle()
    assert (seeing.deltas, blind.deltas) == (["psst"], [])
    assert blind.bodies == ["hi"]


async def test_R63_a_channel_that_fails_at_the_stream_gets_the_stored_event(stage: Stage) -> None:
    class Broken(LiveScreen):
        async def deliver_stream(self, *args: Any, **more: Any) -> StreamOutcome:
            raise OSError("socket gone")

    broken, screen = Broken("broken"), LiveScreen("screen")
    agent = ScriptedAgent("ai", lambda event, context: stream_of("It ", "rains."))
    await stage.room(RecordingTransport("sms"), broken, screen, agent)
    await stage.inbound("sms", "weather?")
    await stage.settle()
    assert broken.bodies == ["weather?", "It rains."]
    assert "".join(screen.deltas) == "It rains."


async def test_R63_an_answer_is_one_message_also_with_tools_between(stage: Stage) -> None:
    provider = MockAIProvider([["Let me look. ", CALL], "It rains."])
    sms = RecordingTransport("sms")
    await stage.room(sms, AIChannel("ai", provider, tools=[tool(look)]))
    await stage.inbound("sms", "weather?")
    await stage.settle()
    answers = [e for e in await stage.timeline() if e.source.channel_id == "ai"]
    spoken = [e for e in answers if e.type is EventType.MESSAGE]
    assert "".join(str(event.text) for event in spoken) == "Let me look. It rains."
    assert len({event.correlation_id for event in spoken}) == 1


async def test_R63_R148_at_the_limit_nothing_is_generated() -> None:
    async with staged(max_chain_depth=3) as stage:
        providers = [MockAIProvider(responses=["and you?"]) for _ in range(2)]
        agents = [AIChannel(f"ai{n}", provider) for n, provider in enumerate(providers)]
        await stage.room(RecordingTransport("sms"), *agents)
        await stage.inbound("sms", "hello", addressed_to=["ai0"])
        await stage.settle()
        said = [(event.chain_depth, event.blocked_by) for event in await stage.messages()]
        assert said == [(0, None), (1, None), (2, None), (3, "event_chain_depth_limit")]
        assert sum(len(provider.contexts) for provider in providers) == 2


async def test_R63_every_live_channel_gets_one_stream(stage: Stage) -> None:
    asked: list[str] = []

    async def answer() -> AsyncIterator[str]:
        asked.append("once")
        yield "It "
        yield "rains."

    one, two = LiveScreen("one"), LiveScreen("two")
    agent = ScriptedAgent("ai", lambda event, context: answer())
    await stage.room(RecordingTransport("sms"), one, two, agent)
    await stage.inbound("sms", "weather?")
    await stage.settle()
    assert (one.deltas, two.deltas, asked) == (["It ", "rains."], ["It ", "rains."], ["once"])
    assert [len(screen.finished) for screen in (one, two)] == [1, 1]


async def test_R61_the_tool_loop_has_its_time(stage: Stage) -> None:
    async def wait() -> str:
        """Take a while."""
        await asyncio.sleep(10)
        return "still waiting"

    call = [AIToolCall("1", "wait", {})]
    provider = MockAIProvider(responses=[call])
    agent = AIChannel(
        "ai", provider, tools=[tool(wait)], tool_loop_timeout_seconds=25, clock=stage.clock
    )
    errors = stage.hear(HookTrigger.ON_ERROR)
    await stage.room(RecordingTransport("sms"), agent)
    await asyncio.wait_for(stage.kit.process_inbound(message("sms"), room_id=ROOM), 300)
    await stage.settle()
    assert len(provider.contexts) <= 4
    assert len(errors) == 1
