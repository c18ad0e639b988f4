"""An agent's questions to people, and the time they take (R167)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.base import ConfigurationError
from salon.channels.ai import AIChannel
from salon.channels.ai_hooks import TurnHooks
from salon.channels.ai_human import HumanInput, TurnClock
from salon.core.ports.ai import AITool, AIToolCall
from salon.providers import MockAIProvider
from salon.testing import VirtualClock
from salon.tools import HumanInputHandler, HumanInputToolHandler

CALL = AIToolCall("1", "ask", {"q": 1})


async def test_R167_an_agent_of_no_kit_asks_all_the_same() -> None:
    tools = HumanInputToolHandler({"ask"}, tool_definitions=[AITool("ask", "Ask.", {})])
    human = HumanInput(tools, TurnHooks(), "ai")
    assert human.specs == tools.tools
    clock = TurnClock(VirtualClock())
    task = asyncio.create_task(human.serve(CALL, "r", None, clock))
    await asyncio.sleep(1)
    (pending_id,) = tools.handler.pending
    tools.handler.resolve(pending_id, "yes")
    result = await task
    assert result is not None
    assert (result.call_id, result.content, result.is_error) == ("1", "yes", False)
    await human.close()


async def test_a_channel_without_such_tools_asks_nobody() -> None:
    human = HumanInput(None, TurnHooks(), "ai")
    assert human.specs == []
    assert not human.serves("ask")
    assert await human.serve(CALL, "r", None, TurnClock(VirtualClock())) is None
    await human.close()


async def test_a_turn_that_ends_takes_its_question_along() -> None:
    tools = HumanInputToolHandler({"ask"})
    human = HumanInput(tools, TurnHooks(), "ai")
    task = asyncio.create_task(human.serve(CALL, "r", None, TurnClock(VirtualClock())))
    await asyncio.sleep(1)
    assert tools.handler.pending
    task.cancel()
    await asyncio.sleep(1)
    assert tools.handler.pending == {}
    await human.close()


async def test_the_time_of_a_turn_stands_still_while_somebody_is_asked() -> None:
    real = VirtualClock()
    clock = TurnClock(real)
    began = clock.monotonic()
    await clock.sleep(1)
    with clock.stopped():
        await clock.sleep(10)
        with clock.stopped():
            await clock.sleep(10)
        await clock.sleep(10)
        assert clock.monotonic() - began == 1
    assert clock.monotonic() - began == 1
    await clock.sleep(1)
    with clock.stopped():
        await clock.sleep(5)
    assert clock.monotonic() - began == 2
    assert clock.time() == real.time()


@pytest.mark.parametrize("wrong", [HumanInputHandler(), {"ask"}, HumanInputToolHandler])
def test_R167_what_is_no_handler_of_tools_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"human_input_handler=.*HumanInputToolHandler"):
        AIChannel("ai", provider=MockAIProvider(), human_input_handler=wrong)
