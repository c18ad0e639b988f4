"""Hooks (chapter 14; R155-R166, R272)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    silent,
    stream_of,
    text,
)

from salon.models import (
    ChannelDirection,
    ChannelType,
    EventStatus,
    HookExecution,
    HookResult,
    HookTrigger,
    Observation,
    RoomContext,
    RoomEvent,
    Task,
)

Hook = Callable[[Any, RoomContext], Awaitable[Any]]


def tracing(log: list[str], name: str, result: HookResult | None = None) -> Hook:
    async def trace(event: RoomEvent, context: RoomContext) -> HookResult:
        log.append(name)
        return result or HookResult.allow()

    return trace


async def raising(payload: Any, context: RoomContext) -> HookResult:
    raise RuntimeError("broken")


async def hanging(payload: Any, context: RoomContext) -> HookResult:
    await asyncio.sleep(1e6)
    return HookResult.allow()


async def returning_nonsense(payload: Any, context: RoomContext) -> Any:
    return "nonsense"


async def modifying_wrongly(payload: Any, context: RoomContext) -> HookResult:
    return HookResult.modify(42)


BROKEN = {
    "raises": raising,
    "hangs": hanging,
    "wrong return": returning_nonsense,
    "wrong modify": modifying_wrongly,
}
broken = pytest.mark.parametrize("hook", BROKEN.values(), ids=[n.replace(" ", "-") for n in BROKEN])


async def test_R155_hooks_run_by_priority_then_global_first_then_by_age(stage: Stage) -> None:
    log: list[str] = []
    await stage.room(RecordingTransport("sms"))
    trigger = HookTrigger.BEFORE_BROADCAST
    await stage.kit.add_room_hook(ROOM, trigger, HookExecution.SYNC, tracing(log, "room"))
    stage.kit.hook(trigger, name="late", priority=5)(tracing(log, "late"))
    stage.kit.hook(trigger, name="one")(tracing(log, "one"))
    stage.kit.hook(trigger, name="two")(tracing(log, "two"))
    stage.kit.hook(trigger, name="early", priority=-5)(tracing(log, "early"))
    await stage.inbound("sms")
    assert log == ["early", "one", "two", "room", "late"]


async def test_R155_a_hook_gets_the_payload_and_the_room(stage: Stage) -> None:
    seen: list[tuple[str, str, list[str]]] = []

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def look(event: RoomEvent, context: RoomContext) -> HookResult:
        channels = [binding.channel_id for binding in context.bindings]
        seen.append((event.room_id, context.room.id, channels))
        return HookResult.allow()

    await stage.room(RecordingTransport("sms"), RecordingTransport("web"))
    await stage.inbound("sms")
    assert seen == [(ROOM, ROOM, ["sms", "web"])]


async def test_R156_a_block_stops_the_chain_and_names_its_hook(stage: Stage) -> None:
    log: list[str] = []
    await stage.room(RecordingTransport("sms"))
    trigger = HookTrigger.BEFORE_BROADCAST
    stage.kit.hook(trigger, name="first")(tracing(log, "first"))
    stage.kit.hook(trigger, name="second")(tracing(log, "second", HookResult.block("no")))
    stage.kit.hook(trigger, name="third")(tracing(log, "third"))
    result = await stage.inbound("sms")
    assert (log, result.reason) == (["first", "second"], "no")
    assert result.event is not None
    assert result.event.blocked_by == "second"


async def test_R157_a_modification_replaces_also_by_an_empty_text(stage: Stage) -> None:
    web = RecordingTransport("web")

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def empty(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.modify(event.model_copy(update={"content": text("")}))

    await stage.room(RecordingTransport("sms"), web)
    await stage.inbound("sms", "hello")
    assert await stage.said() == [("", "delivered")]
    assert web.bodies == [""]


async def test_R157_a_falsy_payload_is_a_modification_too(stage: Stage) -> None:
    @stage.kit.hook(HookTrigger.BEFORE_TTS)
    async def silence(words: str, context: RoomContext) -> HookResult:
        return HookResult.modify("")

    await stage.room()
    outcome = await stage.kit.run_hooks(HookTrigger.BEFORE_TTS, ROOM, "words")
    assert (outcome.blocked, outcome.payload) == (False, "")


async def test_R158_a_replacement_of_another_type_is_not_substituted(stage: Stage) -> None:
    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def wrong(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.modify(text("only the content"))

    await stage.room(RecordingTransport("sms"))
    await stage.inbound("sms", "hello")
    assert await stage.said() == [("hello", "delivered")]


@broken
async def test_R159_a_broken_hook_allows(stage: Stage, hook: Hook) -> None:
    log: list[str] = []
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    stage.kit.hook(HookTrigger.BEFORE_BROADCAST, name="broken", timeout=1.0)(hook)
    stage.kit.hook(HookTrigger.BEFORE_BROADCAST, name="next")(tracing(log, "next"))
    result = await stage.inbound("sms", "hello")
    assert not result.blocked
    assert (web.bodies, log) == (["hello"], ["next"])


@broken
@pytest.mark.parametrize("trigger", [HookTrigger.BEFORE_TTS, HookTrigger.ON_TRANSCRIPTION])
async def test_R160_at_fail_closed_triggers_a_broken_hook_blocks(
    stage: Stage, trigger: HookTrigger, hook: Hook
) -> None:
    await stage.room()
    stage.kit.hook(trigger, name="broken", timeout=1.0)(hook)
    outcome = await stage.kit.run_hooks(trigger, ROOM, "words")
    assert (outcome.blocked, outcome.blocked_by) == (True, "broken")


@broken
async def test_R272_a_hook_may_choose_to_fail_closed(stage: Stage, hook: Hook) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    stage.kit.hook(HookTrigger.BEFORE_BROADCAST, name="guard", timeout=1.0, fail_closed=True)(hook)
    result = await stage.inbound("sms", "hello")
    assert result.blocked
    assert str(result.reason).endswith(":guard")
    assert await stage.said() == [("hello", "guard")]
    assert web.bodies == []


async def test_R161_side_effects_of_every_hook_that_ran_are_kept(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    seen = Observation(room_id=ROOM, channel_id="sms", content="seen")
    trigger = HookTrigger.BEFORE_BROADCAST
    allowed = HookResult(tasks=(Task(room_id=ROOM, title="first"),), observations=(seen,))
    stage.kit.hook(trigger, name="first")(tracing([], "first", allowed))
    blocked = HookResult.block("no", tasks=(Task(room_id=ROOM, title="second"),))
    stage.kit.hook(trigger, name="second")(tracing([], "second", blocked))
    await stage.inbound("sms")
    await stage.settle()
    assert sorted(await stage.tasks()) == ["first", "second"]
    assert await stage.observations() == ["seen"]


async def test_R162_async_hooks_cannot_block_or_modify_and_may_fail(stage: Stage) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    other = text("other")

    async def blocking(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("too late")

    async def changing(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.modify(event.model_copy(update={"content": other}))

    for hook in (blocking, changing, raising):
        stage.kit.hook(HookTrigger.AFTER_BROADCAST, HookExecution.ASYNC)(hook)
    result = await stage.inbound("sms", "hello")
    await stage.settle()
    assert not result.blocked
    assert web.bodies == ["hello"]
    assert await stage.said() == [("hello", "delivered")]


async def test_R162_a_slow_async_hook_does_not_delay_the_next_message(stage: Stage) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    stage.kit.hook(HookTrigger.AFTER_BROADCAST, HookExecution.ASYNC, timeout=500.0)(hanging)
    began = asyncio.get_running_loop().time()
    await stage.inbound("sms", "one")
    await stage.inbound("sms", "two")
    assert asyncio.get_running_loop().time() - began < 1.0
    assert web.bodies == ["one", "two"]


async def test_R163_each_mode_runs_at_the_others_trigger_as_an_observer(stage: Stage) -> None:
    log: list[str] = []
    refusal = HookResult.block("no")
    await stage.room(RecordingTransport("sms"))
    await stage.settle()
    stage.kit.hook(HookTrigger.AFTER_BROADCAST)(tracing(log, "sync, after", refusal))
    observer = tracing(log, "async, before", refusal)
    stage.kit.hook(HookTrigger.BEFORE_BROADCAST, HookExecution.ASYNC)(observer)
    result = await stage.inbound("sms")
    await stage.settle()
    assert not result.blocked
    assert sorted(log) == ["async, before", "sync, after"]


async def test_R163_observers_of_a_blocked_decision_do_not_run(stage: Stage) -> None:
    log: list[str] = []
    await stage.room(RecordingTransport("sms"))
    await stage.settle()
    stage.block("no")
    stage.kit.hook(HookTrigger.BEFORE_BROADCAST, HookExecution.ASYNC)(tracing(log, "observer"))
    await stage.inbound("sms")
    await stage.settle()
    assert log == []


FILTERS = {
    "channel type": ({"channel_types": {ChannelType.EMAIL}}, ["mail"]),
    "channel id": ({"channel_ids": {"sms"}}, ["sms", "out"]),
    "direction": ({"directions": {ChannelDirection.OUTBOUND}}, ["out"]),
    "all of them": (
        {"channel_types": {ChannelType.SMS}, "directions": {ChannelDirection.INBOUND}},
        ["sms"],
    ),
    "none": ({}, ["sms", "mail", "out"]),
}


@pytest.mark.parametrize(
    ("filters", "expected"), FILTERS.values(), ids=[name.replace(" ", "-") for name in FILTERS]
)
async def test_R164_filters_go_by_the_events_source(
    stage: Stage, filters: dict[str, Any], expected: list[str]
) -> None:
    heard = stage.hear(HookTrigger.BEFORE_BROADCAST, **filters)
    await stage.room(
        RecordingTransport("sms"), RecordingTransport("mail", channel_type=ChannelType.EMAIL)
    )
    await stage.inbound("sms", "sms")
    await stage.inbound("mail", "mail")
    await stage.send("sms", "out")
    assert bodies(heard) == expected


async def test_R164_filters_do_not_apply_where_the_payload_has_no_source(stage: Stage) -> None:
    heard = stage.hear(HookTrigger.ON_TRANSCRIPTION, channel_types={ChannelType.EMAIL})
    await stage.room()
    await stage.kit.run_hooks(HookTrigger.ON_TRANSCRIPTION, ROOM, "spoken")
    assert heard == ["spoken"]


async def test_R165_a_rooms_hook_is_its_own_and_goes_by_name(stage: Stage) -> None:
    log: list[str] = []
    sms = RecordingTransport("sms")
    await stage.room(sms)
    await stage.room(sms, room_id="other")
    trigger = HookTrigger.BEFORE_BROADCAST
    hook = tracing(log, "here", HookResult.block("no"))
    await stage.kit.add_room_hook(ROOM, trigger, HookExecution.SYNC, hook, name="mine")
    assert (await stage.inbound("sms")).blocked
    assert not (await stage.inbound("sms", room_id="other")).blocked
    assert await stage.kit.remove_room_hook(ROOM, "mine") is True
    assert await stage.kit.remove_room_hook(ROOM, "mine") is False
    assert not (await stage.inbound("sms")).blocked


@pytest.mark.parametrize(
    ("hook", "name"), [(raising, "hook_error"), (hanging, "hook_timeout")], ids=["raises", "hangs"]
)
async def test_R166_hook_failures_are_announced(stage: Stage, hook: Hook, name: str) -> None:
    heard = stage.listen("hook_error", "hook_timeout")
    await stage.room(RecordingTransport("sms"))
    stage.kit.hook(HookTrigger.BEFORE_BROADCAST, name="broken", timeout=1.0)(hook)
    await stage.inbound("sms")
    await stage.settle()
    (event,) = heard
    assert event.type == name
    assert event.data["hook_name"] == "broken"
    assert event.data["trigger"] == HookTrigger.BEFORE_BROADCAST.value


async def test_R122_after_broadcast_fires_once_per_event_behind_its_delivery(stage: Stage) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web, ScriptedAgent("ai"))
    await stage.settle()
    delivered: list[tuple[str | None, bool]] = []

    @stage.kit.hook(HookTrigger.AFTER_BROADCAST)
    async def after(event: RoomEvent, context: RoomContext) -> HookResult:
        delivered.append((event.text, event.text in web.bodies))
        return HookResult.allow()

    await stage.inbound("sms", "hello")
    await stage.settle()
    assert delivered == [("hello", True), ("ai: hello", True)]


async def test_R118_task_hooks_hear_of_every_task_stored(stage: Stage) -> None:
    heard = stage.hear(HookTrigger.ON_TASK_CREATED)
    agent = silent("ai")
    agent.tasks = ["one", "two"]
    await stage.room(RecordingTransport("sms"), agent)
    await stage.inbound("sms")
    await stage.settle()
    assert sorted(event.metadata["task_title"] for event in heard) == ["one", "two"]


async def test_R146_before_broadcast_may_block_a_streamed_answer(stage: Stage) -> None:
    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def censor(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.allow() if event.chain_depth == 0 else HookResult.block("no agents")

    plain = RecordingTransport("plain")
    agent = ScriptedAgent("ai", lambda *_: stream_of("a", "b"))
    await stage.room(RecordingTransport("sms"), plain, agent)
    await stage.inbound("sms", "hello")
    await stage.settle()
    assert plain.bodies == ["hello"]
    answer = (await stage.messages())[-1]
    assert (answer.text, answer.status) == ("ab", EventStatus.BLOCKED)
