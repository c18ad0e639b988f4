"""A tool of an agent that waits for a person (R167)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, bodies, message, staged

from salon import (
    AIChannel,
    HookExecution,
    HookResult,
    HookTrigger,
    HumanInputHandler,
    HumanInputToolHandler,
    MockAIProvider,
    PendingInput,
    PendingInputEvent,
    PendingInputStatus,
    RoomContext,
    RoomEvent,
    TextContent,
)
from salon.providers.ai import AITool, AIToolCall

T = HookTrigger.ON_USER_INPUT_REQUIRED
ASK = AITool("approve", "Ask somebody to approve a refund.", {"type": "object"})


class Desk:
    """An agent that asks a person about every message, and what the model is told of it."""

    def __init__(
        self,
        stage: Stage,
        *,
        timeout: float = 300.0,
        calls: int = 1,
        rounds: int = 1,
        **more: Any,
    ) -> None:
        self.stage = stage
        self.handler = more.pop("handler", None) or HumanInputHandler(clock=stage.clock)
        self.tools = HumanInputToolHandler({"approve"}, timeout, self.handler, [ASK])
        asked = [AIToolCall(f"c{n}", "approve", {"sum": n}) for n in range(calls)]
        self.model = MockAIProvider([*[asked] * rounds, "done", asked, "done again"])
        self.agent = AIChannel(
            more.pop("channel_id", "ai"),
            self.model,
            human_input_handler=self.tools,
            clock=stage.clock,
            **more,
        )
        self.turn: asyncio.Task[Any] | None = None

    async def asks(self) -> PendingInput:
        """Somebody writes, and the agent asks back."""
        await self.stage.room(RecordingTransport("sms"), self.agent)
        given = message("sms", "refund me", "ann")
        self.turn = self.stage.start(self.stage.kit.process_inbound(given, room_id=ROOM))
        await self.stage.settle(0.01)
        return self.only

    @property
    def only(self) -> PendingInput:
        (pending,) = self.handler.pending.values()
        return pending

    @property
    def results(self) -> list[tuple[str, bool]]:
        """Text, and whether it is an error, of the results that the model was given."""
        if len(self.model.contexts) < 2:
            return []
        results = self.model.contexts[1].messages[-1].tool_results
        return [(result.content, result.is_error) for result in results]


async def test_R167_the_model_is_given_what_a_person_answers(stage: Stage) -> None:
    desk = Desk(stage)
    pending = await desk.asks()
    assert (pending.tool_name, pending.arguments, pending.tool_call_id) == (
        "approve",
        {"sum": 0},
        "c0",
    )
    assert (pending.room_id, pending.channel_id, pending.status) == (ROOM, "ai", "pending")
    assert pending.created_at <= stage.clock.now()
    assert [tool.name for tool in desk.model.contexts[0].tools] == ["approve"]
    assert desk.handler.resolve(pending.pending_id, "yes, up to 50")
    await stage.settle()
    assert desk.results == [("yes, up to 50", False)]
    assert bodies(await stage.messages()) == ["refund me", "done"]


async def test_R167_hooks_and_listeners_are_told_of_the_request(stage: Stage) -> None:
    desk = Desk(stage)
    heard = stage.hear(T)
    watched: list[Any] = []

    async def watch(payload: Any, context: RoomContext) -> None:
        watched.append((payload, context.room.id))

    stage.kit.hook(T, HookExecution.ASYNC)(watch)
    told = stage.listen("user_input_required")
    pending = await desk.asks()
    (event,) = heard
    assert isinstance(event, PendingInputEvent)
    assert (event.pending_id, event.channel_type, event.room_id) == (
        pending.pending_id,
        "ai",
        ROOM,
    )
    assert event.actor_id == pending.actor_id == (await stage.messages())[0].source.participant_id
    assert event.actor_id is not None
    assert watched == [(event, ROOM)]
    (framework,) = told
    assert (framework.room_id, framework.channel_id) == (ROOM, "ai")
    assert framework.data == {
        "pending_id": pending.pending_id,
        "tool_name": "approve",
        "tool_call_id": "c0",
        "allowed": True,
        "reason": None,
    }
    desk.handler.resolve(pending.pending_id, "yes")
    await stage.settle()


async def test_R167_the_request_can_be_answered_when_the_hooks_hear_of_it(stage: Stage) -> None:
    desk = Desk(stage)
    recorded: list[bool] = []

    async def answer(event: PendingInputEvent, context: RoomContext) -> HookResult:
        recorded.append(desk.handler.resolve(event.pending_id, "from within"))
        return HookResult.allow()

    stage.kit.hook(T)(answer)
    await stage.room(RecordingTransport("sms"), desk.agent)
    await stage.inbound("sms")
    await stage.settle()
    assert recorded == [True]
    assert desk.results == [("from within", False)]


async def test_R167_slow_hooks_do_not_keep_an_answer_waiting(stage: Stage) -> None:
    desk = Desk(stage)
    ended: list[float] = []

    async def slow(event: PendingInputEvent, context: RoomContext) -> HookResult:
        await asyncio.sleep(20)
        ended.append(stage.clock.monotonic())
        return HookResult.allow()

    stage.kit.hook(T)(slow)
    pending = await desk.asks()
    desk.handler.resolve(pending.pending_id, "quick")
    await stage.settle(0.1)
    assert desk.results == [("quick", False)]
    assert not ended
    await stage.settle(30)
    assert ended


async def test_R167_a_block_rejects_the_request(stage: Stage) -> None:
    desk = Desk(stage)
    told = stage.listen("user_input_required")

    async def refuse(event: PendingInputEvent, context: RoomContext) -> HookResult:
        return HookResult.block("nobody is in")

    stage.kit.hook(T)(refuse)
    await stage.room(RecordingTransport("sms"), desk.agent)
    await stage.inbound("sms")
    await stage.settle()
    assert desk.results == [("approve was rejected: nobody is in", True)]
    assert not desk.handler.pending
    assert (told[0].data["allowed"], told[0].data["reason"]) == (False, "nobody is in")
    assert bodies(await stage.messages()) == ["hi", "done"]


async def test_R167_a_block_takes_no_recorded_answer_back(stage: Stage) -> None:
    desk = Desk(stage)

    async def late(event: PendingInputEvent, context: RoomContext) -> HookResult:
        desk.handler.resolve(event.pending_id, "yes")
        return HookResult.block("too late")

    stage.kit.hook(T)(late)
    await stage.room(RecordingTransport("sms"), desk.agent)
    await stage.inbound("sms")
    await stage.settle()
    assert desk.results == [("yes", False)]


@pytest.mark.parametrize("reason", ["ask your boss", ""])
async def test_R167_a_person_may_refuse(stage: Stage, reason: str) -> None:
    desk = Desk(stage)
    pending = await desk.asks()
    assert desk.handler.reject(pending.pending_id, reason)
    await stage.settle()
    ((text, failed),) = desk.results
    assert text == f"approve was rejected: {reason or 'the request was rejected'}"
    assert failed


async def test_R167_nobody_answers_in_time(stage: Stage) -> None:
    desk = Desk(stage, timeout=60)
    pending = await desk.asks()
    await stage.settle(58)
    assert desk.results == []
    await stage.settle(3)
    assert desk.results == [("approve was not answered within 60 s", True)]
    assert pending.status is PendingInputStatus.TIMED_OUT
    assert not desk.handler.resolve(pending.pending_id, "late")


async def test_R167_an_answer_in_the_moment_of_the_timeout_counts(stage: Stage) -> None:
    """Both fall due in one pass of the loop, before the waiting task sees either."""
    desk = Desk(stage, timeout=60)
    loop = asyncio.get_running_loop()
    taken: list[tuple[bool, float]] = []

    def answer(pending_id: str) -> None:
        taken.append((desk.handler.resolve(pending_id, "just so"), loop.time()))

    async def arm(event: PendingInputEvent, context: RoomContext) -> HookResult:
        loop.call_at(loop.time() + 60, answer, event.pending_id)
        taken.append((False, loop.time() + 60))
        return HookResult.allow()

    stage.kit.hook(T)(arm)
    await desk.asks()
    await stage.settle(70)
    assert taken == [(False, taken[0][1]), (True, taken[0][1])]
    assert desk.results == [("just so", False)]


async def test_R167_no_other_limit_of_time_cuts_the_wait(stage: Stage) -> None:
    limits = {"tool_timeout_seconds": 5, "silence_timeout": 20, "tool_loop_timeout_seconds": 30}
    desk = Desk(stage, timeout=900, rounds=2, **limits)
    first = await desk.asks()
    await stage.settle(700)
    desk.handler.resolve(first.pending_id, "yes")
    await stage.settle()
    await stage.settle(700)
    desk.handler.resolve(desk.only.pending_id, "again")
    await stage.settle()
    assert bodies(await stage.messages()) == ["refund me", "done"]


async def test_R167_the_room_goes_on_while_a_person_is_asked(stage: Stage) -> None:
    desk = Desk(stage)
    other = RecordingTransport("web")
    await stage.room(other)
    pending = await desk.asks()
    await asyncio.wait_for(stage.kit.mute(ROOM, "web"), 1)
    await asyncio.wait_for(stage.kit.unmute(ROOM, "web"), 1)
    event = await asyncio.wait_for(
        stage.kit.send_event(ROOM, "web", TextContent(body="meanwhile"), addressed_to=[]), 1
    )
    assert event.index > 0
    assert desk.handler.pending
    desk.handler.resolve(pending.pending_id, "yes")
    await stage.settle()
    assert bodies(await stage.messages()) == ["refund me", "meanwhile", "done"]


async def test_R167_a_hook_may_put_the_question_into_the_room(stage: Stage) -> None:
    desk = Desk(stage)

    async def post(event: PendingInputEvent, context: RoomContext) -> HookResult:
        await stage.kit.send_event(
            event.room_id, "sms", TextContent(body="May I?"), addressed_to=[]
        )
        return HookResult.allow()

    stage.kit.hook(T)(post)
    pending = await desk.asks()
    await stage.settle(0.1)
    assert bodies(await stage.messages()) == ["refund me", "May I?"]
    desk.handler.resolve(pending.pending_id, "yes")
    await stage.settle()
    assert desk.results == [("yes", False)]


async def test_R167_questions_of_one_turn_are_asked_side_by_side(stage: Stage) -> None:
    desk = Desk(stage, calls=3)
    await stage.room(RecordingTransport("sms"), desk.agent)
    turn = stage.start(stage.inbound("sms"))
    await stage.settle(0.01)
    first, second, third = desk.handler.pending
    desk.handler.resolve(third, "three")
    desk.handler.reject(second, "no")
    desk.handler.resolve(first, "one")
    await turn
    await stage.settle()
    assert desk.results == [("one", False), ("approve was rejected: no", True), ("three", False)]


async def test_R167_the_outcome_stays_readable_for_a_while(stage: Stage) -> None:
    desk = Desk(stage)
    pending = await desk.asks()
    desk.handler.resolve(pending.pending_id, "yes")
    await stage.settle()
    assert await desk.handler.wait(pending.pending_id) == "yes"
    assert await desk.handler.wait(pending.pending_id) == "yes"


async def test_R167_other_hooks_of_tools_run_around_the_question(stage: Stage) -> None:
    desk = Desk(stage)
    before = stage.hear(HookTrigger.BEFORE_TOOL_USE)
    after = stage.hear(HookTrigger.ON_TOOL_CALL)
    pending = await desk.asks()
    assert (len(before), len(after)) == (1, 0)
    desk.handler.resolve(pending.pending_id, "yes")
    await stage.settle()
    assert [(call.result, call.is_error) for call in after] == [("yes", False)]


async def test_R167_a_denied_call_asks_nobody(stage: Stage) -> None:
    desk = Desk(stage)

    async def deny(call: Any, context: RoomContext) -> HookResult:
        return HookResult.block("not now")

    stage.kit.hook(HookTrigger.BEFORE_TOOL_USE)(deny)
    heard = stage.hear(T)
    await stage.room(RecordingTransport("sms"), desk.agent)
    await stage.inbound("sms")
    await stage.settle()
    assert (heard, desk.handler.pending) == ([], {})


async def test_R167_closing_the_channel_rejects_its_own_questions_only(stage: Stage) -> None:
    desk = Desk(stage)
    ended: list[str] = []

    async def slow(event: PendingInputEvent, context: RoomContext) -> HookResult:
        await asyncio.sleep(20)
        ended.append(event.pending_id)
        return HookResult.allow()

    stage.kit.hook(T)(slow)
    pending = await desk.asks()
    foreign = await desk.handler.create("approve", {}, channel_id="ai")
    await desk.agent.close()
    await stage.settle()
    assert pending.status is PendingInputStatus.REJECTED
    assert desk.results == [("approve was rejected: the agent was closed", True)]
    assert desk.handler.pending == {foreign.pending_id: foreign}
    await stage.inbound("sms", "again")
    await stage.settle(30)
    assert desk.handler.pending == {foreign.pending_id: foreign}
    assert not ended


async def test_R167_closing_the_kit_rejects_what_waits() -> None:
    async with staged() as stage:
        desk = Desk(stage)
        pending = await desk.asks()
    assert pending.status is PendingInputStatus.REJECTED
    assert not desk.handler.pending


async def test_R167_a_hook_that_fails_leaves_the_question_open(stage: Stage) -> None:
    desk = Desk(stage)

    async def broken(event: PendingInputEvent, context: RoomContext) -> HookResult:
        raise RuntimeError("no")

    stage.kit.hook(T)(broken)
    pending = await desk.asks()
    assert desk.handler.resolve(pending.pending_id, "yes")
    await stage.settle()
    assert desk.results == [("yes", False)]


async def test_R167_two_kits_share_a_handler_and_each_tells_its_own_hooks(stage: Stage) -> None:
    desk = Desk(stage)
    here = stage.hear(T)
    async with staged() as elsewhere:
        there = elsewhere.hear(T)
        second = Desk(elsewhere, handler=desk.handler)
        await second.asks()
        assert (len(here), len(there)) == (0, 1)
        desk.handler.resolve(desk.only.pending_id, "yes")
        await elsewhere.settle()
        await desk.asks()
        assert (len(here), len(there)) == (1, 1)
        desk.handler.resolve(desk.only.pending_id, "yes")
        await stage.settle()


async def test_R167_a_message_into_the_room_may_be_the_answer(stage: Stage) -> None:
    desk = Desk(stage)

    async def read(event: RoomEvent, context: RoomContext) -> HookResult:
        for pending in desk.handler.pending.values():
            if pending.room_id == event.room_id and event.source.channel_id == "boss":
                desk.handler.resolve(pending.pending_id, event.text or "")
        return HookResult.allow()

    stage.kit.hook(HookTrigger.BEFORE_BROADCAST)(read)
    await stage.room(RecordingTransport("boss"))
    await desk.asks()
    await stage.inbound("boss", "yes, do it", "bob", addressed_to=[])
    await stage.settle()
    assert desk.results == [("yes, do it", False)]
    assert bodies(await stage.messages()) == ["refund me", "yes, do it", "done"]


async def test_R167_the_agent_answers_the_next_message_after_the_question(stage: Stage) -> None:
    desk = Desk(stage)
    first = await desk.asks()
    second = stage.start(stage.kit.process_inbound(message("sms", "hurry"), room_id=ROOM))
    await stage.settle()
    assert bodies(await stage.messages()) == ["refund me", "hurry"]
    assert list(desk.handler.pending) == [first.pending_id]
    desk.handler.resolve(first.pending_id, "yes")
    await stage.settle()
    desk.handler.resolve(desk.only.pending_id, "yes")
    await second
    assert bodies(await stage.messages()) == ["refund me", "hurry", "done", "done again"]
