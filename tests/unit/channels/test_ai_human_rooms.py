"""A question to a person ends with the agent's part in the room (R167)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from salon.channels.ai import AIChannel
from salon.core.kit import RoomKit
from salon.core.ports.ai import AITool, AIToolCall
from salon.models import (
    HookExecution,
    HookResult,
    HookTrigger,
    InboundResult,
    RoomContext,
    RoomTimers,
)
from salon.providers.mock import MockAIProvider
from salon.testing import VirtualClock
from salon.tools import HumanInputToolHandler

from .rooms import ROOM, Phone, bodies, furnish, say

ASK = AIToolCall("1", "ask", {"q": 1})
PATIENCE = 5.0

End = Callable[[RoomKit], Awaitable[Any]]


class Asking:
    """An agent that asks a person, in a room with somebody who waits for it."""

    def __init__(self, *answers: Any) -> None:
        self.people = HumanInputToolHandler({"ask"}, tool_definitions=[AITool("ask", "Ask.", {})])
        self.provider = MockAIProvider(list(answers) or [["Let me ask. ", ASK], "Done."])
        self.agent = AIChannel(provider=self.provider, human_input_handler=self.people)

    async def begin(self, kit: RoomKit) -> asyncio.Task[InboundResult]:
        """Returns when the question is there."""
        await furnish(kit, Phone(), self.agent)
        call = asyncio.create_task(say(kit))
        while not self.pending:
            await asyncio.sleep(0.01)
        return call

    @property
    def pending(self) -> list[str]:
        return list(self.people.handler.pending)

    def reason(self, pending_id: str) -> str | None:
        """Why a request that was read was rejected."""
        return self.people.handler._kept[pending_id].reject_reason


ENDS: dict[str, tuple[End, str]] = {
    "closed": (lambda kit: kit.close_room(ROOM), "the room was closed"),
    "archived": (lambda kit: kit.archive_room(ROOM), "the room was archived"),
    "deleted": (lambda kit: kit.delete_room(ROOM), "the room was deleted"),
    "detached": (
        lambda kit: kit.detach_channel(ROOM, "agent"),
        "the agent was detached from the room",
    ),
}


@pytest.mark.parametrize("how", ENDS)
async def test_R167_a_question_ends_when_its_answer_could_go_nowhere(
    kit: RoomKit, how: str
) -> None:
    end, reason = ENDS[how]
    asking = Asking()
    call = await asking.begin(kit)
    (pending_id,) = asking.pending
    await end(kit)
    assert asking.pending == []
    async with asyncio.timeout(PATIENCE):
        result = await call
    assert result.response_events == []
    assert asking.reason(pending_id) == reason
    assert len(asking.provider.contexts) == 1


@pytest.mark.parametrize("how", ENDS)
async def test_the_hooks_of_a_room_that_ended_fail_nothing(kit: RoomKit, how: str) -> None:
    heard: list[Any] = []

    async def note(payload: Any, context: RoomContext) -> HookResult:
        heard.append(payload)
        return HookResult.allow()

    asking = Asking([ASK], "Done.")
    call = await asking.begin(kit)
    for trigger in (HookTrigger.ON_TOOL_CALL, HookTrigger.ON_AI_RESPONSE):
        kit.add_hook(trigger, note, name=trigger.value)
    kit.add_hook(HookTrigger.ON_TOOL_CALL, note, name="seen", execution=HookExecution.ASYNC)
    await ENDS[how][0](kit)
    async with asyncio.timeout(PATIENCE):
        result = await call
    assert (result.error, result.response_events) == (None, [])
    if how != "deleted":
        await kit.idle(ROOM)
        assert heard[0].result == f"ask was rejected: {ENDS[how][1]}"
        assert heard[-1].loop_end_reason == "room_ended"


async def test_R167_a_room_that_its_timer_closes_takes_its_questions_along() -> None:
    clock = VirtualClock()
    async with RoomKit(shutdown_timeout=0, clock=clock, timer_interval=None) as kit:
        timers = RoomTimers(inactive_after_seconds=10, closed_after_seconds=10)
        await kit.create_room(ROOM, timers=timers)
        asking = Asking()
        call = await asking.begin(kit)
        await asyncio.sleep(30)
        await kit.check_all_timers()
        assert asking.pending == []
        await call
        assert len(asking.provider.contexts) == 1


async def test_questions_of_other_rooms_stay(kit: RoomKit) -> None:
    asking = Asking()
    call = await asking.begin(kit)
    await kit.create_room("other")
    await kit.attach_channel("other", "agent")
    await kit.detach_channel("other", "agent")
    await kit.delete_room("other")
    (pending_id,) = asking.pending
    asking.people.handler.resolve(pending_id, "yes")
    await call
    assert await bodies(kit) == ["hi", "Let me ask. Done."]


async def test_a_room_that_is_open_again_is_asked_for_again(kit: RoomKit) -> None:
    asking = Asking([ASK], [ASK], "Done.")
    call = await asking.begin(kit)
    await kit.close_room(ROOM)
    await call
    await kit.reopen_room(ROOM)
    call = asyncio.create_task(say(kit))
    while not asking.pending:
        await asyncio.sleep(0.01)
    asking.people.handler.resolve(asking.pending[0], "yes")
    await call
    assert await bodies(kit) == ["hi", "hi", "Done."]


@pytest.mark.parametrize("how", ENDS)
async def test_R167_nobody_is_asked_for_a_room_that_ended_before(kit: RoomKit, how: str) -> None:
    end, reason = ENDS[how]
    asking = Asking([ASK], "Done.")
    asked: list[Any] = []
    results: list[str] = []

    async def end_it(call: Any, context: RoomContext) -> HookResult:
        await end(kit)
        return HookResult.allow()

    async def ask(request: Any, context: RoomContext) -> HookResult:
        asked.append(request)
        return HookResult.allow()

    async def read(call: Any, context: RoomContext) -> HookResult:
        results.append(call.result)
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_TOOL_USE, end_it)
    kit.add_hook(HookTrigger.ON_USER_INPUT_REQUIRED, ask)
    kit.add_hook(HookTrigger.ON_TOOL_CALL, read)
    await furnish(kit, Phone(), asking.agent)
    async with asyncio.timeout(PATIENCE):
        await say(kit)
    assert (asked, asking.pending, len(asking.provider.contexts)) == ([], [], 1)
    assert results == ([] if how == "deleted" else [f"ask was rejected: {reason}"])


async def test_an_answer_that_came_first_stays_though_its_turn_is_over(kit: RoomKit) -> None:
    asking = Asking()
    call = await asking.begin(kit)
    (pending_id,) = asking.pending
    assert asking.people.handler.resolve(pending_id, "yes")
    asking.agent.on_room_ended(ROOM, "closed")
    await call
    assert len(asking.provider.contexts) == 1
