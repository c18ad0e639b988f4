"""The tool loop, with a scripted model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from salon.base import Clock
from salon.core.ports.ai import (
    AIContext,
    AIMessage,
    AIProvider,
    AIStreamPart,
    AITool,
    AIToolCall,
    AIToolResult,
    ResponseMetadata,
    TextDelta,
)
from salon.providers.errors import AIProviderError
from salon.providers.mock import MockAIProvider
from salon.providers.toolloop import run_with_tools
from salon.providers.tools import ToolBox

ASK = AIContext("room", (AIMessage("user", "Two plus two?"),))


async def add(a: int, b: int) -> int:
    """Add."""
    return a + b


CALL = AIToolCall("c1", "add", {"a": 2, "b": 2})
BOX = ToolBox([add])


def usage(count: int) -> ResponseMetadata:
    return ResponseMetadata({"usage": {"total_tokens": count, "tier": "x"}, "model": f"m{count}"})


async def test_R62_calls_are_run_and_their_results_fed_back() -> None:
    bad = AIToolCall("c2", "gone", {})
    model = MockAIProvider([["Let me see. ", CALL, bad, usage(5)], ["It is ", "four.", usage(7)]])
    seen: list[tuple[AIToolCall, AIToolResult]] = []
    stream = run_with_tools(model, ASK, BOX, on_result=lambda *pair: seen.append(pair))
    parts = [part async for part in stream]
    texts = [part.text for part in parts if isinstance(part, TextDelta)]
    assert texts == ["Let me see. ", "It is ", "four."]
    assert parts[-1] == ResponseMetadata(
        {"usage": {"total_tokens": 12, "tier": "x"}, "model": "m7"}
    )
    good = AIToolResult("c1", "4")
    wrong = AIToolResult("c2", "there is no tool 'gone'; there are: add", is_error=True)
    assert seen == [(CALL, good), (bad, wrong)]
    assert model.contexts[0].tools == [*BOX.specs]
    assert model.contexts[1].messages == [
        *ASK.messages,
        AIMessage("assistant", "Let me see. ", tool_calls=(CALL, bad)),
        AIMessage("tool", tool_results=(good, wrong)),
    ]


async def test_after_max_rounds_the_model_must_answer_without_tools() -> None:
    model = MockAIProvider([[CALL], [CALL], ["Enough.", CALL]])
    parts = [part async for part in run_with_tools(model, ASK, BOX, max_rounds=2)]
    assert parts == [TextDelta("Enough.")]
    assert [len(context.tools) for context in model.contexts] == [1, 1, 0]
    model = MockAIProvider([[CALL]], repeat=True)
    with pytest.raises(AIProviderError, match="no answer after 2 rounds"):
        [part async for part in run_with_tools(model, ASK, BOX, max_rounds=2)]


async def test_tools_of_the_context_stay_and_the_box_wins() -> None:
    other, same = AITool("other", "", {}), AITool("add", "old", {})
    context = AIContext("room", ASK.messages, tools=(other, same))
    model = MockAIProvider(["ok"])
    [part async for part in run_with_tools(model, context, BOX)]
    assert model.contexts[0].tools == [other, *BOX.specs]


class Leaps(Clock):
    now_ = 0.0

    def time(self) -> float:
        return self.now_

    def monotonic(self) -> float:
        self.now_ += 200.0
        return self.now_

    async def sleep(self, seconds: float) -> None: ...


async def test_the_loop_has_bounded_time() -> None:
    model = MockAIProvider([[CALL]], repeat=True)
    with pytest.raises(AIProviderError, match="still calling tools after 300 s"):
        [part async for part in run_with_tools(model, ASK, BOX, max_rounds=9, clock=Leaps())]
    assert len(model.contexts) == 2


async def test_closing_the_loop_stops_the_generation() -> None:
    model = MockAIProvider([["a", "b"]])
    stream = run_with_tools(model, ASK, BOX)
    assert await anext(stream) == TextDelta("a")
    await stream.aclose()
    assert model.closed == 1


async def test_cancelling_the_loop_stops_the_tools() -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    model = MockAIProvider([[AIToolCall("c", "waits", {})]])

    async def drive() -> None:
        async for _ in run_with_tools(model, ASK, ToolBox([waits])):
            pass

    task = asyncio.create_task(drive())
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert stopped.is_set()


async def test_a_provider_may_be_silent_for_a_while_only() -> None:
    class Mute(AIProvider):
        name = "mute"

        async def generate_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
            yield TextDelta("a")
            await asyncio.Event().wait()

    answer = run_with_tools(Mute(), ASK, BOX, silence=0.01)
    assert await anext(answer) == TextDelta("a")
    with pytest.raises(AIProviderError, match="silent for"):
        await anext(answer)


class Plain:
    """An async iterator that is no generator."""

    def __init__(self) -> None:
        self.left: list[AIStreamPart] = [TextDelta("plain")]

    def __aiter__(self) -> Plain:
        return self

    async def __anext__(self) -> AIStreamPart:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()


class PlainProvider(AIProvider):
    name = "plain"

    def generate_stream(self, context: AIContext) -> Plain:
        return Plain()


async def test_providers_need_not_be_generators() -> None:
    assert [p async for p in run_with_tools(PlainProvider(), ASK, BOX)] == [TextDelta("plain")]


class Virtual(Clock):
    now_ = 0.0

    def time(self) -> float:
        return self.now_

    def monotonic(self) -> float:
        return self.now_

    async def sleep(self, seconds: float) -> None:
        self.now_ += seconds


async def test_the_mock_plays_its_script_with_virtual_delays() -> None:
    clock = Virtual()
    model = MockAIProvider([["a", ValueError("now"), "b"], "c"], delay=0.5, clock=clock)
    await model.start()
    started = [model.started]
    with pytest.raises(ValueError, match="now"):
        [part async for part in model.generate_stream(ASK)]
    assert clock.now_ == 1.0
    assert [part async for part in model.generate_stream(ASK)] == [TextDelta("c")]
    with pytest.raises(AIProviderError, match="mock: the script has no reply 3"):
        [part async for part in model.generate_stream(ASK)]
    await model.close()
    assert [*started, model.started] == [True, False]
    assert [p async for p in MockAIProvider("one").generate_stream(ASK)] == [TextDelta("one")]
