"""Providers written for RoomKit answer in a room, and one stands in for another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from salon.channels.ai import AIChannel
from salon.core.kit import RoomKit
from salon.core.ports.ai import (
    AIContext,
    AIMessage,
    AIProvider,
    AIResponse,
    AIStreamPart,
    AITextPart,
    AIThinkingPart,
    AITool,
    AIToolCall,
    AIToolCallPart,
    AIToolResultPart,
    StreamDone,
    StreamTextDelta,
    StreamThinkingDelta,
    StreamToolCall,
)
from salon.memory import SlidingWindowMemory
from salon.models import Observation, Task
from salon.providers import ai as roomkit
from salon.providers.errors import AIProviderError
from salon.providers.mock import MockAIProvider

from .rooms import ROOM, Phone, bodies, furnish, say, stored

TOOL = AITool(name="add", description="Adds.", parameters={"type": "object", "properties": {}})


async def handler(name: str, arguments: dict[str, Any]) -> str:
    return f"{name}:{arguments['a'] + arguments['b']}"


class Whole(AIProvider):
    """Gives whole answers; reads messages by their `content`."""

    def __init__(self, *responses: AIResponse) -> None:
        self.responses = list(responses)
        self.seen: list[list[Any]] = []

    @property
    def model_name(self) -> str:  # type: ignore[override]
        return "whole-1"

    async def generate(self, context: AIContext) -> AIResponse:
        self.seen.append([message.content for message in context.messages])
        return self.responses.pop(0)


async def test_a_provider_that_only_generates_answers_with_tools(kit: RoomKit) -> None:
    call = AIToolCall(id="c1", name="add", arguments={"a": 1, "b": 2})
    provider = Whole(
        AIResponse(content="", tool_calls=[call], usage={"input_tokens": 3}, thinking="Hm."),
        AIResponse(content="It is 3.", usage={"input_tokens": 4}, finish_reason="stop"),
    )
    agent = AIChannel(
        "ai",
        provider=provider,
        system_prompt="Be kind.",
        temperature=0.7,
        max_tokens=1024,
        max_context_events=50,
        tools=[TOOL],
        tool_handler=handler,
        max_tool_rounds=200,
        tool_loop_timeout_seconds=300,
        fallback_provider=None,
        memory=SlidingWindowMemory(max_events=20),
        thinking_budget=1000,
    )
    assert (agent.provider_name, agent.info["model"]) == ("Whole", "whole-1")
    await furnish(kit, Phone(), agent)
    await say(kit, "1 + 2?")
    assert await bodies(kit) == ["1 + 2?", "It is 3."]
    assert provider.seen[1] == [
        "1 + 2?",
        [AIThinkingPart("Hm."), AIToolCallPart("c1", "add", {"a": 1, "b": 2})],
        [AIToolResultPart("c1", "add", "add:3")],
    ]
    metadata = (await stored(kit))[1].metadata
    assert metadata["usage"] == {"input_tokens": 7}
    assert metadata["finish_reason"] == "stop"


async def test_R57_what_a_whole_answer_leaves_besides_words_is_kept(kit: RoomKit) -> None:
    task = Task(room_id=ROOM, title="call back")
    seen = Observation(room_id=ROOM, channel_id="agent", content="angry")
    provider = Whole(AIResponse(content="ok", tasks=[task], observations=[seen]))
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit)
    assert [item.title for item in await kit.store.list_tasks(ROOM)] == ["call back"]
    assert [item.content for item in await kit.store.list_observations(ROOM)] == ["angry"]


async def test_what_can_not_be_kept_does_not_undo_the_words(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(task: Task) -> Task:
        raise OSError("disk full")

    monkeypatch.setattr(kit.store, "add_task", full)
    provider = Whole(AIResponse(content="ok", tasks=[Task(room_id=ROOM, title="x")]))
    await furnish(kit, Phone(), AIChannel(provider=provider))
    assert (await say(kit)).error is None
    assert await bodies(kit) == ["hi", "ok"]


class Both(Whole):
    """Streams plain texts, and generates whole answers for tools."""

    supports_streaming = True

    async def generate_stream(  # type: ignore[override]
        self, context: AIContext
    ) -> AsyncIterator[str]:
        self.seen.append(["streamed"])
        yield "one "
        yield "two"


async def test_a_provider_that_streams_texts_streams_where_it_needs_no_tools(kit: RoomKit) -> None:
    provider = Both(AIResponse(content="whole"))
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit)
    assert (await bodies(kit))[1] == "one two"


async def test_a_provider_that_streams_texts_generates_where_tools_are_offered(
    kit: RoomKit,
) -> None:
    provider = Both(AIResponse(content="whole"))
    await furnish(kit, Phone(), AIChannel(provider=provider, tools=[TOOL], tool_handler=handler))
    await say(kit)
    assert (await bodies(kit))[1] == "whole"


class Texts(AIProvider):
    """Streams plain texts, from a coroutine."""

    name = "texts"

    async def generate_stream(self, context: AIContext) -> Any:  # type: ignore[override]
        async def texts() -> AsyncIterator[str]:
            yield "plain"

        return texts()


async def test_a_stream_may_be_promised(kit: RoomKit) -> None:
    await furnish(kit, Phone(), AIChannel(provider=Texts()))
    await say(kit)
    assert (await bodies(kit))[1] == "plain"


class Structured(AIProvider):
    """Streams RoomKit's stream events."""

    name = "structured"

    async def generate_structured_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
        if len(context.messages) == 1:
            yield StreamThinkingDelta(thinking="Hm.", signature="s", block=0)
            yield StreamToolCall(id="c", name="add", arguments={"a": 2, "b": 2})
            yield StreamDone(finish_reason="tool_calls", usage={"n": 1})
        else:
            yield StreamTextDelta(text=str(context.messages[-1].tool_results[0].content))
            yield StreamDone(usage={"n": 2}, metadata={"m": 1})
            yield StreamDone()


async def test_a_provider_of_stream_events_answers_with_tools(kit: RoomKit) -> None:
    await furnish(
        kit, Phone(), AIChannel(provider=Structured(), tools=[TOOL], tool_handler=handler)
    )
    await say(kit)
    answer = (await stored(kit))[1]
    assert answer.text == "add:4"
    assert (answer.metadata["usage"], answer.metadata["m"]) == ({"n": 3}, 1)
    assert answer.metadata["thinking"] == [{"thinking": "Hm.", "signature": "s"}]


async def test_every_provider_can_be_asked_each_way() -> None:
    context = AIContext(messages=[AIMessage(role="user", content="hi")])
    whole = Whole(AIResponse(content="a"), AIResponse(content="b"))
    assert [part async for part in whole.generate_stream(context)] == [StreamTextDelta("a")]
    assert [part async for part in whole.generate_structured_stream(context)] == [
        StreamTextDelta("b")
    ]
    answer = await Structured().generate(context)
    assert (answer.content, answer.thinking, answer.finish_reason) == ("", "Hm.", "tool_calls")
    assert [call.name for call in answer.tool_calls] == ["add"]
    assert answer.usage == {"n": 1}


def test_a_provider_without_a_way_to_answer_can_not_be_made() -> None:
    class Nothing(AIProvider): ...

    with pytest.raises(TypeError, match="Nothing must implement generate_stream or generate"):
        Nothing()


async def test_R57_models_that_see_only_texts_are_told_who_speaks(kit: RoomKit) -> None:
    provider = Whole(AIResponse(content="a"), AIResponse(content="b"))
    await furnish(kit, Phone(), AIChannel(provider=provider))
    await say(kit, "hi", metadata={"sender_name": "Ann"})
    await say(kit, "ho", sender="bob", metadata={"sender_name": "Bob\nsays"})
    assert provider.seen == [["hi"], ["Ann: hi", "a", "Bob says: ho"]]


async def test_the_mock_repeats_its_responses(kit: RoomKit) -> None:
    provider = MockAIProvider(responses=["a", "b"])
    context = AIContext(messages=[AIMessage(role="user", content="hi")])
    assert [(await provider.generate(context)).content for _ in range(3)] == ["a", "b", "a"]
    assert provider.calls == [context] * 3
    whole = MockAIProvider(ai_responses=[AIResponse(content="x", usage={"n": 1})])
    assert (await whole.generate(context)).usage == {"n": 1}


def test_R62_a_message_is_made_of_parts() -> None:
    message = AIMessage(
        "assistant",
        content=[
            AIThinkingPart("Hm.", "s"),
            AITextPart("one "),
            AITextPart("two"),
            AIToolCallPart("c", "add", {"a": 1}),
            AIToolResultPart("c", "add", "1", is_error=True),
        ],
    )
    assert (message.text, message.tool_calls[0].name) == ("one two", "add")
    assert message.tool_results[0].is_error
    assert isinstance(message.content, list)
    assert [part.type for part in message.content] == [
        "thinking",
        "text",
        "tool_call",
        "tool_result",
    ]
    assert AIMessage("user", content="hi") == AIMessage("user", "hi")
    assert AIMessage("user", "hi").content == "hi"


# -- fallback --------------------------------------------------------------------------------------


async def test_R61_the_fallback_answers_where_the_first_fails_before_a_word(kit: RoomKit) -> None:
    first = MockAIProvider([[AIProviderError("busy", retryable=True, status=503)]])
    second = MockAIProvider(["Here I am."])
    await furnish(kit, Phone(), AIChannel(provider=first, fallback_provider=second))
    assert (await say(kit)).error is None
    assert (await bodies(kit))[1] == "Here I am."
    assert second.contexts[0].messages == first.contexts[0].messages


async def test_R61_after_the_first_word_there_is_no_fallback(kit: RoomKit) -> None:
    error = AIProviderError("cut")
    second = MockAIProvider(["Here I am."])
    first = MockAIProvider([["Well, ", error]])
    await furnish(kit, Phone(), AIChannel(provider=first, fallback_provider=second))
    assert (await say(kit)).error is error
    assert second.contexts == []


async def test_R61_the_failure_of_the_fallback_is_the_failure_of_the_turn(kit: RoomKit) -> None:
    error = AIProviderError("down too", status=500)
    second = MockAIProvider([[error]])
    first = MockAIProvider([[KeyError("x")]])
    await furnish(kit, Phone(), AIChannel(provider=first, fallback_provider=second))
    result = await say(kit)
    assert result.error is error
    assert (error.retryable, error.status) == (False, 500)


# -- by RoomKit's names ----------------------------------------------------------------------------


async def test_the_mock_of_roomkit_repeats_itself() -> None:
    context = roomkit.AIContext(messages=[roomkit.AIMessage(role="user", content="hi")])
    provider = roomkit.MockAIProvider(["a", "b"], vision=True)
    assert [(await provider.generate(context)).content for _ in range(3)] == ["a", "b", "a"]
    assert provider.supports_vision
    assert (await roomkit.MockAIProvider().generate(context)).content == "Hello from AI"
    whole = roomkit.MockAIProvider(ai_responses=[roomkit.AIResponse(content="x")])
    assert (await whole.generate(context)).content == "x"


async def test_R142_an_error_of_a_provider_says_whether_to_try_again(kit: RoomKit) -> None:
    error = roomkit.ProviderError("busy", provider="p", retryable=True, status_code=503)
    assert (str(error), error.retryable, error.status, error.status_code) == (
        "p: busy",
        True,
        503,
        503,
    )

    class Failing(roomkit.AIProvider):
        async def generate(self, context: roomkit.AIContext) -> roomkit.AIResponse:
            raise error

    await furnish(kit, Phone(), AIChannel("ai", provider=Failing()))
    assert (await say(kit)).error is error
