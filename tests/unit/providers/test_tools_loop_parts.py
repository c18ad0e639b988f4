"""The tool loop: thoughts, a second provider, what it reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from salon.core.ports.ai import (
    AIContext,
    AIMessage,
    AIProvider,
    AIStreamPart,
    AIThinkingPart,
    AIToolCall,
    ResponseMetadata,
    TextDelta,
    ThinkingDelta,
)
from salon.providers.errors import AIProviderError
from salon.providers.mock import MockAIProvider
from salon.providers.toolloop import LoopReport, run_with_tools
from salon.providers.tools import ToolBox

ASK = AIContext("room", (AIMessage("user", "Two plus two?"),))


async def add(a: int, b: int) -> int:
    """Add."""
    return a + b


CALL = AIToolCall("c1", "add", {"a": 2, "b": 2})
BOX = ToolBox([add])
T = ThinkingDelta


@pytest.mark.parametrize(
    ("given", "thoughts"),
    [
        ([T("a"), T("b")], [AIThinkingPart("ab")]),
        ([T("a"), T("", "s"), T("b")], [AIThinkingPart("a", "s"), AIThinkingPart("b")]),
        (
            [T("a", block=0), T("", "s", block=0), T("b", block=1)],
            [AIThinkingPart("a", "s"), AIThinkingPart("b")],
        ),
        (
            [T("a"), T("", redacted="r"), T("b")],
            [AIThinkingPart("a"), AIThinkingPart("", None, "r"), AIThinkingPart("b")],
        ),
    ],
)
async def test_R62_pieces_of_a_thought_are_joined(
    given: list[ThinkingDelta], thoughts: list[AIThinkingPart]
) -> None:
    report = LoopReport()
    model = MockAIProvider([[*given, CALL], "4"])
    parts = [part async for part in run_with_tools(model, ASK, BOX, report=report)]
    assert parts == [*given, TextDelta("4")]
    assert report.thinking == thoughts
    assert list(model.contexts[1].messages[1].thinking) == thoughts


async def test_the_report_counts() -> None:
    report = LoopReport()
    model = MockAIProvider([[CALL, CALL], [CALL, ResponseMetadata({"x": 1})], "4"])
    assert [part async for part in run_with_tools(model, ASK, BOX, report=report)]
    assert (report.rounds, report.calls, report.end) == (3, 3, "completed")
    assert (report.facts, report.provider) == ({"x": 1}, "mock")
    report = LoopReport()
    model = MockAIProvider([[CALL], ["4", CALL]])
    assert [part async for part in run_with_tools(model, ASK, BOX, max_rounds=1, report=report)]
    assert report.end == "max_rounds"


async def test_R61_the_fallback_goes_on_where_the_first_stopped() -> None:
    first = MockAIProvider([[CALL], [T("Hm."), CALL, AIProviderError("busy")]])
    second = MockAIProvider(["4"])
    second.name = "second"
    report = LoopReport()
    stream = run_with_tools(first, ASK, BOX, fallback=second, report=report)
    assert [part async for part in stream] == [T("Hm."), TextDelta("4")]
    assert [message.role for message in second.contexts[0].messages] == [
        "user",
        "assistant",
        "tool",
    ]
    assert (report.provider, report.calls, report.thinking) == ("second", 1, [])


async def test_R61_a_silent_provider_is_replaced_too() -> None:
    class Mute(AIProvider):
        name = "mute"

        async def generate_stream(self, context: AIContext) -> AsyncIterator[AIStreamPart]:
            await asyncio.Event().wait()
            yield TextDelta("never")

    stream = run_with_tools(Mute(), ASK, BOX, silence=0.01, fallback=MockAIProvider(["4"]))
    assert [part async for part in stream] == [TextDelta("4")]


async def test_a_timeout_of_the_provider_itself_is_its_own() -> None:
    model = MockAIProvider([[TimeoutError("socket")]])
    with pytest.raises(TimeoutError, match="socket"):
        [part async for part in run_with_tools(model, ASK, BOX)]


async def test_the_loop_may_have_no_limit_of_time() -> None:
    model = MockAIProvider([[CALL], "4"])
    stream = run_with_tools(model, ASK, BOX, timeout=None)
    assert [part async for part in stream] == [TextDelta("4")]
