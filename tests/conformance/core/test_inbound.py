"""The inbound pipeline (chapter 11; R118-R130)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conformance.core.stage import (
    PATIENCE,
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    message,
    silent,
    staged,
    text,
)

from salon.core import (
    ChannelNotFoundError,
    ChannelNotRegisteredError,
    RoomClosedError,
    RoomNotFoundError,
)
from salon.models import (
    Access,
    EventStatus,
    EventType,
    HookResult,
    HookTrigger,
    InboundMessage,
    RoomContext,
    RoomEvent,
    Task,
)


async def test_R118_the_stages_run_in_order(stage: Stage) -> None:
    log: list[str] = []
    sms, web = RecordingTransport("sms"), RecordingTransport("web")

    async def parsed(given: InboundMessage, context: RoomContext) -> None:
        log.append("parse")

    async def delivered(event: RoomEvent) -> None:
        log.append(f"deliver {event.index}")

    sms.parse, web.on_delivery = parsed, delivered
    await stage.room(sms, web)

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def before(event: RoomEvent, context: RoomContext) -> HookResult:
        log.append(f"hook, {len(await stage.messages())} stored")
        return HookResult.allow()

    @stage.kit.hook(HookTrigger.AFTER_BROADCAST)
    async def after(event: RoomEvent, context: RoomContext) -> HookResult:
        log.append("after")
        return HookResult.allow()

    stage.kit.on("event_processed")(lambda event: log.append("processed"))
    await stage.inbound("sms")
    await stage.settle()
    assert log[:2] == ["parse", "hook, 0 stored"]
    assert log.index("deliver 2") < log.index("after")
    assert sorted(log[2:]) == ["after", "deliver 2", "processed"]


async def test_R118_an_unknown_channel_is_an_error(stage: Stage) -> None:
    with pytest.raises(ChannelNotRegisteredError):
        await stage.inbound("nowhere", room_id=None)
    assert await stage.kit.store.list_rooms() == []


async def test_R118_what_the_channel_raises_rises(stage: Stage) -> None:
    sms = RecordingTransport("sms")

    async def broken(given: InboundMessage, context: RoomContext) -> None:
        raise ValueError("cannot parse")

    sms.parse = broken
    await stage.room(sms)
    with pytest.raises(ValueError, match="cannot parse"):
        await stage.inbound("sms")
    assert await stage.messages() == []


async def test_R119_delivery_and_answers_do_not_hold_the_room_lock(stage: Stage) -> None:
    web, agent = RecordingTransport("web"), silent("ai")
    web.hold = agent.wait = asyncio.Event()
    await stage.room(RecordingTransport("sms"), web, agent)
    call = stage.start(stage.inbound("sms"))
    await stage.settle()
    assert web.attempts == 1
    assert len(await stage.messages()) == 1
    async with asyncio.timeout(PATIENCE), stage.kit.locks.locked(ROOM):
        pass
    agent.wait.set()
    await call


async def test_R119_after_broadcast_hooks_do_not_hold_the_room_lock(stage: Stage) -> None:
    free: list[bool] = []
    await stage.room(RecordingTransport("sms"))
    await stage.settle()

    @stage.kit.hook(HookTrigger.AFTER_BROADCAST)
    async def after(event: RoomEvent, context: RoomContext) -> HookResult:
        async with stage.kit.locks.locked(ROOM):
            free.append(True)
        return HookResult.allow()

    await stage.inbound("sms")
    await stage.settle()
    assert free == [True]


async def test_R120_before_the_commit_nothing_is_durable(stage: Stage) -> None:
    seen: list[tuple[int, list[str]]] = []

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def look(event: RoomEvent, context: RoomContext) -> HookResult:
        seen.append(((await stage.read()).event_count, await stage.tasks()))
        return HookResult(tasks=(Task(room_id=ROOM, title="later"),))

    await stage.room(RecordingTransport("sms"))
    await stage.inbound("sms")
    await stage.settle()
    assert seen == [(1, [])]
    assert await stage.tasks() == ["later"]


async def test_R120_what_comes_after_the_commit_cannot_undo_it(stage: Stage) -> None:
    web = RecordingTransport("web")
    web.failures = [RuntimeError("gone")]

    @stage.kit.hook(HookTrigger.AFTER_BROADCAST)
    async def broken(event: RoomEvent, context: RoomContext) -> HookResult:
        raise RuntimeError("too late")

    agent = ScriptedAgent("ai", lambda *_: RuntimeError("no idea"))
    await stage.room(RecordingTransport("sms"), web, agent)
    result = await stage.inbound("sms")
    await stage.settle()
    assert not result.blocked
    assert await stage.said() == [("hi", "delivered")]


async def test_R121_R122_a_hook_block_is_stored_and_nobody_sees_it(stage: Stage) -> None:
    web, agent = RecordingTransport("web"), silent("ai")
    blocked = stage.listen("event_blocked")
    await stage.room(RecordingTransport("sms"), web, agent)
    await stage.settle()
    after = stage.hear(HookTrigger.AFTER_BROADCAST)
    task = Task(room_id=ROOM, title="review")
    stage.block("rude", name="censor", tasks=(task,))
    result = await stage.inbound("sms", "!!!")
    await stage.settle()
    assert (result.blocked, result.reason) == (True, "rude")
    assert result.event is not None
    assert (result.event.status, result.event.blocked_by) == (EventStatus.BLOCKED, "censor")
    assert await stage.said() == [("!!!", "censor")]
    assert (web.told, agent.asked, after) == ([], [], [])
    assert await stage.tasks() == ["review"]
    assert [(event.room_id, event.event_id) for event in blocked] == [(ROOM, result.event.id)]


async def test_R121_a_write_gate_block_is_stored(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.kit.set_access(ROOM, "sms", Access.READ_ONLY)
    await stage.settle()
    before = stage.hear(HookTrigger.BEFORE_BROADCAST)
    after = stage.hear(HookTrigger.AFTER_BROADCAST)
    result = await stage.inbound("sms")
    await stage.settle()
    assert (result.blocked, result.reason) == (True, "source_read_only")
    assert await stage.said() == [("hi", "source_read_only")]
    assert (len(before), after) == (1, [])


async def test_R123_later_hooks_and_the_commit_see_what_was_modified(stage: Stage) -> None:
    seen: list[str | None] = []

    def appending(letter: str, priority: int) -> None:
        @stage.kit.hook(HookTrigger.BEFORE_BROADCAST, priority=priority)
        async def append(event: RoomEvent, context: RoomContext) -> HookResult:
            seen.append(event.text)
            return HookResult.modify(
                event.model_copy(update={"content": text(f"{event.text}{letter}")})
            )

    appending("b", 1)
    appending("a", 0)
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    result = await stage.inbound("sms", "-")
    assert result.event is not None
    assert (seen, result.event.text, web.bodies) == (["-", "-a"], "-ab", ["-ab"])


async def test_R124_a_channel_attached_after_the_commit_does_not_get_it(stage: Stage) -> None:
    web, late = RecordingTransport("web"), RecordingTransport("late")
    web.hold = asyncio.Event()
    await stage.room(RecordingTransport("sms"), web)
    call = stage.start(stage.inbound("sms", "early"))
    await stage.settle()
    await stage.room(late)
    web.hold.set()
    await call
    await stage.inbound("sms", "later")
    await stage.settle()
    assert late.bodies == ["later"]


async def test_R124_a_channel_detached_after_the_commit_still_gets_it(stage: Stage) -> None:
    slow, leaving = RecordingTransport("slow"), RecordingTransport("leaving")
    slow.hold = asyncio.Event()
    await stage.room(RecordingTransport("sms"), slow, leaving)
    first = stage.start(stage.inbound("sms", "first"))
    second = stage.start(stage.inbound("sms", "second"))
    await stage.settle()
    await stage.kit.detach_channel(ROOM, "leaving")
    slow.hold.set()
    await asyncio.gather(first, second)
    assert leaving.bodies == ["first", "second"]


async def test_R125_an_events_own_delivery_set_does_not_wait_for_answers(stage: Stage) -> None:
    agent = ScriptedAgent("ai")
    agent.wait = asyncio.Event()
    await stage.room(RecordingTransport("sms"), agent)
    await stage.settle()
    after = stage.hear(HookTrigger.AFTER_BROADCAST)
    call = stage.start(stage.inbound("sms", "hello"))
    await stage.settle()
    agent.wait.set()
    await call
    await stage.settle()
    assert bodies(after) == ["hello", "ai: hello"]


async def test_R126_the_result_has_the_event_and_an_outcome_per_target(stage: Stage) -> None:
    good, bad = RecordingTransport("good"), RecordingTransport("bad")
    bad.failures = [OSError("gone")]
    await stage.room(RecordingTransport("sms"), good, bad)
    result = await stage.inbound("sms")
    (stored,) = await stage.messages()
    assert result.event is not None
    assert (result.event.id, result.event.index) == (stored.id, stored.index)
    outcomes = {name: item.status for name, item in result.delivery_results.items()}
    assert outcomes == {"good": "sent", "bad": "failed"}
    error = result.delivery_results["bad"].error
    assert error is not None
    assert (error.code, error.retryable) == ("OSError", True)


async def test_R127_a_detached_call_returns_at_the_commit(stage: Stage) -> None:
    web = RecordingTransport("web")
    web.hold = asyncio.Event()
    await stage.room(RecordingTransport("sms"), web)
    async with asyncio.timeout(PATIENCE):
        result = await stage.kit.process_inbound(message("sms"), room_id=ROOM, detached=True)
    assert result.event is not None
    assert web.got == []
    web.hold.set()
    await stage.settle()
    assert web.bodies == ["hi"]
    stage.block("no")
    async with asyncio.timeout(PATIENCE):
        refused = await stage.kit.process_inbound(message("sms"), room_id=ROOM, detached=True)
    assert (refused.blocked, refused.reason) == (True, "no")


@pytest.mark.parametrize("place", ["hook", "delivery", "agent"])
async def test_R128_a_call_from_inside_the_room_does_not_deadlock(stage: Stage, place: str) -> None:
    inner: list[Any] = []

    async def call() -> None:
        if not inner:
            inner.append(None)
            inner[0] = await stage.kit.send_event(ROOM, "other", text("inner"))

    web, agent = RecordingTransport("web"), ScriptedAgent("ai", lambda *_: None)
    await stage.room(RecordingTransport("sms"), RecordingTransport("other"), web, agent)
    if place == "hook":

        @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def hook(event: RoomEvent, context: RoomContext) -> HookResult:
            await call()
            return HookResult.allow()
    elif place == "delivery":

        async def delivering(event: RoomEvent) -> None:
            await call()

        web.on_delivery = delivering
    else:

        async def stream() -> AsyncIterator[str]:
            await call()
            yield "answer"

        agent.script = lambda event, _: stream() if event.text == "outer" else None
    await stage.inbound("sms", "outer")
    await stage.settle()
    assert {"outer", "inner"} <= set(bodies(await stage.messages()))
    assert inner[0].status is EventStatus.DELIVERED
    assert "inner" in web.bodies


async def test_R129_direct_injection_takes_the_same_stages(stage: Stage) -> None:
    web = RecordingTransport("web")
    before = stage.hear(HookTrigger.BEFORE_BROADCAST)
    await stage.room(RecordingTransport("sms"), web)
    root = await stage.send("sms", "root")
    fields: dict[str, Any] = {
        "participant_id": "ann",
        "metadata": {"a": 1},
        "visibility": "transport",
        "response_visibility": "none",
        "parent_event_id": root.id,
        "addressed_to": ["ai"],
        "chain_depth": 2,
    }
    event = await stage.send("sms", "out", event_type=EventType.SYSTEM, **fields)
    await stage.settle()
    assert bodies(before) == web.bodies == ["root", "out"]
    assert event.source.participant_id == "ann"
    assert event.type is EventType.SYSTEM
    given = {name: getattr(event, name) for name in fields if name != "participant_id"}
    assert given == {name: fields[name] for name in given}


async def test_R129_direct_injection_needs_a_room_and_a_binding(stage: Stage) -> None:
    await stage.room()
    stage.register(RecordingTransport("sms"))
    with pytest.raises(ChannelNotFoundError):
        await stage.send("sms")
    with pytest.raises(RoomNotFoundError):
        await stage.send("sms", room_id="nowhere")
    with pytest.raises(ChannelNotRegisteredError):
        await stage.send("nothing")
    await stage.kit.attach_channel(ROOM, "sms")
    await stage.kit.close_room(ROOM)
    with pytest.raises(RoomClosedError):
        await stage.send("sms")


async def test_R129_a_blocking_hook_yields_a_blocked_event(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    stage.block("no", name="censor")
    event = await stage.send("sms")
    assert (event.status, event.blocked_by) == (EventStatus.BLOCKED, "censor")


async def test_R130_a_message_may_come_between_question_and_answer(stage: Stage) -> None:
    agent = ScriptedAgent("ai", lambda event, _: ["answer"] if event.text == "question" else None)
    agent.wait = asyncio.Event()
    await stage.room(RecordingTransport("sms"), agent)
    call = stage.start(stage.inbound("sms", "question"))
    await stage.settle()
    between = stage.start(stage.inbound("sms", "between"))
    await stage.settle()
    assert bodies(await stage.messages()) == ["question", "between"]
    agent.wait.set()
    await asyncio.gather(call, between)
    question, _, answer = await stage.messages()
    assert answer.text == "answer"
    assert answer.index > question.index
    assert answer.responds_to == question.id


async def test_R121_R204_a_timeout_before_the_commit_stores_nothing() -> None:
    async with staged(process_timeout=1.0) as stage:
        sms = RecordingTransport("sms")
        await stage.room(sms)
        before = await stage.timeline()

        async def hang(given: InboundMessage, context: RoomContext) -> None:
            await asyncio.sleep(1000)

        sms.parse = hang
        timed_out = stage.listen("process_timeout")
        result = await stage.inbound("sms")
        assert (result.blocked, result.reason, result.event) == (True, "process_timeout", None)
        assert await stage.timeline() == before
        assert len(timed_out) == 1
