"""Hooks around the model and its tools (chapter 14; R156, R157, R163, R168)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.conformance.core.stage import RecordingTransport, Stage, bodies

from salon.channels.ai import AIChannel
from salon.core.ports.ai import AIToolCall
from salon.models import HookExecution, HookResult, HookTrigger, RoomContext
from salon.providers.mock import MockAIProvider
from salon.providers.tools import tool

T = HookTrigger


def look(city: str) -> str:
    """What the sky is like.

    city: where
    """
    return "rain"


@pytest.mark.parametrize("trigger", [T.BEFORE_AI_CONTEXT_BUILD, T.BEFORE_AI_GENERATION])
async def test_R156_a_block_before_the_model_means_no_generation(
    stage: Stage, trigger: HookTrigger
) -> None:
    provider = MockAIProvider(["never"])

    @stage.kit.hook(trigger)
    async def refuse(payload: Any, context: RoomContext) -> HookResult:
        return HookResult.block("no")

    await stage.room(RecordingTransport("sms"), AIChannel("ai", provider))
    await stage.inbound("sms", "hello")
    await stage.settle()
    assert (provider.contexts, bodies(await stage.messages())) == ([], ["hello"])


async def test_R157_before_tool_use_may_rewrite_the_arguments(stage: Stage) -> None:
    asked: list[str] = []

    def note(city: str) -> str:
        """Note.

        city: where
        """
        asked.append(city)
        return "noted"

    @stage.kit.hook(T.BEFORE_TOOL_USE)
    async def elsewhere(call: Any, context: RoomContext) -> HookResult:
        return HookResult.modify(replace(call, arguments={"city": "Köln"}))

    provider = MockAIProvider([[AIToolCall("1", "note", {"city": "Bonn"})], "done"])
    await stage.room(RecordingTransport("sms"), AIChannel("ai", provider, tools=[tool(note)]))
    await stage.inbound("sms")
    await stage.settle()
    assert asked == ["Köln"]


async def test_R168_arguments_that_are_no_object_deny_the_call(stage: Stage) -> None:
    asked: list[str] = []

    def note(city: str) -> str:
        """Note.

        city: where
        """
        asked.append(city)
        return "noted"

    @stage.kit.hook(T.BEFORE_TOOL_USE)
    async def nonsense(call: Any, context: RoomContext) -> HookResult:
        return HookResult.modify(replace(call, arguments=["Bonn"]))

    provider = MockAIProvider([[AIToolCall("1", "note", {"city": "Bonn"})], "done"])
    await stage.room(RecordingTransport("sms"), AIChannel("ai", provider, tools=[tool(note)]))
    await stage.inbound("sms")
    await stage.settle()
    (result,) = provider.contexts[1].messages[-1].tool_results
    assert (asked, result.is_error) == ([], True)


@pytest.mark.parametrize("how", ["override", "block"])
async def test_R157_on_tool_call_may_replace_the_result(stage: Stage, how: str) -> None:
    @stage.kit.hook(T.ON_TOOL_CALL)
    async def settle(call: Any, context: RoomContext) -> HookResult:
        if how == "block":
            return HookResult.block("secret")
        return HookResult.modify(replace(call, result="sun"))

    provider = MockAIProvider([[AIToolCall("1", "look", {"city": "Bonn"})], "done"])
    await stage.room(RecordingTransport("sms"), AIChannel("ai", provider, tools=[tool(look)]))
    await stage.inbound("sms")
    await stage.settle()
    (result,) = provider.contexts[1].messages[-1].tool_results
    if how == "block":
        assert result.is_error
        assert "rain" not in result.content
    else:
        assert (result.content, result.is_error) == ("sun", False)


async def test_R163_async_observers_of_a_tool_call_see_how_it_ended(stage: Stage) -> None:
    seen: list[tuple[str, bool]] = []

    async def note(call: Any, context: RoomContext) -> None:
        seen.append((call.name, call.refused))

    async def deny(call: Any, context: RoomContext) -> HookResult:
        return HookResult.block("no")

    stage.kit.hook(T.BEFORE_TOOL_USE)(deny)
    stage.kit.hook(T.ON_TOOL_CALL, HookExecution.ASYNC)(note)
    provider = MockAIProvider([[AIToolCall("1", "look", {"city": "Bonn"})], "done"])
    await stage.room(RecordingTransport("sms"), AIChannel("ai", provider, tools=[tool(look)]))
    await stage.inbound("sms")
    await stage.settle()
    assert seen == [("look", True)]
