"""Observers may use the room; hooks of a room go with it (chapter 14; R162-R165, R161)."""

from __future__ import annotations

import asyncio

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    silent,
    text,
)

from salon.core.errors import RoomNotFoundError
from salon.models import (
    ChannelDirection,
    ChannelType,
    EventSource,
    EventType,
    HookExecution,
    HookResult,
    HookTrigger,
    InjectedEvent,
    RoomContext,
    RoomEvent,
)

T = HookTrigger
ASYNC, SYNC = HookExecution.ASYNC, HookExecution.SYNC


async def test_R162_an_observer_holds_no_lock_and_may_write_into_the_room(stage: Stage) -> None:
    held: list[bool] = []
    sms = RecordingTransport("sms")
    await stage.room(sms, RecordingTransport("web"))

    async def answer(event: RoomEvent, context: RoomContext) -> None:
        held.append(stage.kit.locks.held(ROOM))
        if event.text == "question":
            await stage.kit.send_event(ROOM, "web", "answer")

    stage.kit.hook(T.AFTER_BROADCAST, ASYNC, event_types={EventType.MESSAGE})(answer)
    await stage.inbound("sms", "question")
    await stage.settle()
    assert held == [False, False]
    assert sms.bodies == ["answer"]


async def test_R162_observers_run_side_by_side(stage: Stage) -> None:
    began: list[float] = []
    loop = asyncio.get_running_loop()

    async def slow(event: RoomEvent, context: RoomContext) -> None:
        began.append(loop.time())
        await asyncio.sleep(5)

    await stage.room(RecordingTransport("sms"))
    await stage.settle()
    for _ in range(3):
        stage.kit.hook(T.AFTER_BROADCAST, ASYNC)(slow)
    await stage.inbound("sms")
    await stage.settle()
    assert len(began) == 3
    assert max(began) - min(began) < 1


async def test_R162_an_observers_timeout_ends_it_and_nothing_else(stage: Stage) -> None:
    ended: list[str] = []
    heard = stage.listen("hook_timeout")

    async def slow(event: RoomEvent, context: RoomContext) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    await stage.room(RecordingTransport("sms"))
    await stage.settle()
    stage.kit.hook(T.AFTER_BROADCAST, ASYNC, timeout=2, name="slow")(slow)
    await stage.inbound("sms")
    await stage.settle(10)
    assert ended == ["cancelled"]
    assert [event.data["hook_name"] for event in heard] == ["slow"]
    assert not (await stage.inbound("sms", "again")).blocked


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"channel_ids": {"ai"}}, ["ai: hello"]),
        ({"channel_types": {ChannelType.SMS}}, ["hello"]),
        ({"directions": {ChannelDirection.INBOUND}}, ["hello"]),
        ({"channel_ids": {"ai", "sms"}}, ["hello", "ai: hello"]),
        ({"channel_ids": {"ai"}, "channel_types": {ChannelType.SMS}}, []),
        ({"channel_ids": set()}, []),
    ],
    ids=["id", "type", "direction", "two-ids", "contradiction", "nothing"],
)
async def test_R164_filters_hold_for_observers_and_answers_too(
    stage: Stage, filters: dict[str, set[str]], expected: list[str]
) -> None:
    await stage.room(RecordingTransport("sms"), ScriptedAgent("ai"))
    await stage.settle()
    heard = stage.hear(T.AFTER_BROADCAST, **filters)
    await stage.inbound("sms", "hello")
    await stage.settle()
    assert bodies(heard) == expected


async def test_R165_hooks_of_a_deleted_room_do_not_haunt_its_successor(stage: Stage) -> None:
    sms = RecordingTransport("sms")
    await stage.room(sms)

    async def refuse(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("no")

    await stage.kit.add_room_hook(ROOM, T.BEFORE_BROADCAST, SYNC, refuse, name="mine")
    await stage.kit.delete_room(ROOM)
    await stage.settle()
    await stage.room(sms)
    assert not (await stage.inbound("sms")).blocked


async def test_R165_a_room_hook_needs_its_room(stage: Stage) -> None:
    async def fn(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.allow()

    with pytest.raises(RoomNotFoundError):
        await stage.kit.add_room_hook("nowhere", T.BEFORE_BROADCAST, SYNC, fn)


async def test_R165_removing_a_rooms_hook_leaves_the_global_one_of_its_name(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    stage.block("no", name="bouncer")
    assert await stage.kit.remove_room_hook(ROOM, "bouncer") is False
    assert (await stage.inbound("sms")).blocked


async def test_R161_what_an_observer_returns_is_not_kept_as_a_decision(stage: Stage) -> None:
    sms, agent = RecordingTransport("sms"), silent("ai")
    await stage.room(sms, agent)
    source = EventSource(channel_id="system", channel_type=ChannelType.SYSTEM)

    async def late(event: RoomEvent, context: RoomContext) -> HookResult:
        note = RoomEvent(room_id=ROOM, source=source, content=text("late"))
        return HookResult.block("too late", (InjectedEvent(note, ("sms",)),))

    stage.kit.hook(T.AFTER_BROADCAST, ASYNC)(late)
    result = await stage.inbound("sms", "hello")
    await stage.settle()
    assert (result.blocked, sms.bodies, agent.heard) == (False, [], ["hello"])
    assert await stage.said() == [("hello", "delivered")]


async def test_R155_a_hook_sees_the_room_as_it_is_before_its_event(stage: Stage) -> None:
    seen: list[list[str | None]] = []

    @stage.kit.hook(T.BEFORE_BROADCAST)
    async def look(event: RoomEvent, context: RoomContext) -> HookResult:
        seen.append(bodies(context.recent_events))
        return HookResult.allow()

    await stage.room(RecordingTransport("sms"))
    for word in ("one", "two", "three"):
        await stage.inbound("sms", word)
    assert seen == [[], ["one"], ["one", "two"]]
