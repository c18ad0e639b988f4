"""What hooks set going in their own room, while their event is on its way (R9, R71, R73, R199)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from salon.core.kit import RoomKit
from salon.models import (
    Access,
    DeleteContent,
    EditContent,
    EventType,
    HookResult,
    HookTrigger,
    InboundMessage,
    RoomContext,
    RoomEvent,
)

from .helpers import PATIENCE, ROOM, Transport, message, room_with, text, timeline, words

Change = Callable[[RoomKit], Awaitable[Any]]


def after(kit: RoomKit, change: Change, *, needs_lock: bool = True) -> None:
    """Have a hook do something before ``hi`` is committed."""

    async def hook(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text == "hi":
            await change(kit)
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, hook, needs_lock=needs_lock)


# -- tasks that hooks start -----------------------------------------------------------------------


@pytest.mark.parametrize("needs_lock", [True, False])
async def test_R199_passes_that_a_hook_gathers_come_one_after_the_other(
    kit: RoomKit, needs_lock: bool
) -> None:
    inside = 0
    seen: list[int] = []

    async def hook(event: RoomEvent, context: RoomContext) -> HookResult:
        nonlocal inside
        if event.text == "hi":
            more = (kit.process_inbound(message("sms", str(n)), room_id=ROOM) for n in range(5))
            await asyncio.wait_for(asyncio.gather(*more), PATIENCE)
            return HookResult.allow()
        inside += 1
        assert inside == 1
        seen.append(context.room.event_count)
        await asyncio.sleep(0.1)
        inside -= 1
        return HookResult.allow()

    await room_with(kit, Transport("sms"))
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, hook, needs_lock=needs_lock)
    await asyncio.gather(
        *(kit.process_inbound(message("sms"), room_id=ROOM) for _ in range(2 if needs_lock else 1))
    )
    assert seen == sorted(set(seen))  # each saw those before it
    events = await timeline(kit)
    assert [event.index for event in events] == list(range(len(events)))


async def test_R199_hooks_within_hooks_go_deeper(kit: RoomKit) -> None:
    async def hook(event: RoomEvent, context: RoomContext) -> HookResult:
        body = event.text or ""
        if len(body) < 3:
            await asyncio.gather(*(kit.send_event(ROOM, "sms", body + one) for one in "ab"))
        return HookResult.allow()

    await room_with(kit, Transport("sms"))
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, hook)
    await kit.process_inbound(message("sms", "x"), room_id=ROOM)
    said = [body for body, _ in await words(kit)]
    assert said == ["xaa", "xab", "xa", "xba", "xbb", "xb", "x"]


async def test_R199_a_pass_that_a_hook_left_behind_ends_before_the_next_begins(
    kit: RoomKit,
) -> None:
    left: list[asyncio.Task[Any]] = []
    order: list[str] = []
    await room_with(kit, Transport("sms"))
    first = (await kit.process_inbound(message("sms", "first"), room_id=ROOM)).event
    assert first is not None

    def change(content: Any, kind: EventType) -> Awaitable[Any]:
        return kit.process_inbound(
            InboundMessage(channel_id="sms", sender_id="ann", event_type=kind, content=content),
            room_id=ROOM,
        )

    async def hook(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text == "hi":
            edit = EditContent(target_event_id=first.id, new_content=text("edited"))
            left.append(asyncio.ensure_future(change(edit, EventType.EDIT)))
            await asyncio.sleep(0.1)
        order.append(f"{event.type} in")
        await asyncio.sleep(2 if event.type is EventType.EDIT else 0.1)
        order.append(f"{event.type} out")
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, hook)
    await kit.process_inbound(message("sms"), room_id=ROOM)
    delete = DeleteContent(target_event_id=first.id)
    await change(delete, EventType.DELETE)
    assert not (await left[0]).blocked
    assert order[-4:] == ["message out", "edit out", "delete in", "delete out"]
    changed = await kit.store.get_event(first.id)
    assert changed is not None
    assert changed.metadata == {"edited": True, "deleted": True}
    kinds = [event.type for event in await timeline(kit)]
    assert kinds[-3:] == [EventType.EDIT, EventType.MESSAGE, EventType.DELETE]


async def test_R199_nobody_comes_in_between_the_hooks_and_the_commit(kit: RoomKit) -> None:
    """A task that a hook started and that comes later takes its turn like others."""
    late: list[asyncio.Task[Any]] = []
    reading = asyncio.Event()
    get_room = kit.store.get_room

    async def slow(room_id: str) -> Any:
        if late and not late[0].done():
            reading.set()
            await asyncio.sleep(0.1)
        return await get_room(room_id)

    async def send() -> None:
        await reading.wait()
        await kit.send_event(ROOM, "sms", "late")

    async def hook(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text == "hi":
            late.append(asyncio.create_task(send()))
        return HookResult.allow()

    await room_with(kit, Transport("sms"))
    kit.store.get_room = slow  # type: ignore[method-assign]
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, hook)
    await kit.process_inbound(message("sms"), room_id=ROOM)
    await late[0]
    assert [body for body, _ in await words(kit)] == ["hi", "late"]


async def test_R204_who_stays_inside_keeps_the_event_no_longer_than_its_time() -> None:
    async with RoomKit(process_timeout=2, shutdown_timeout=0) as kit:
        left: list[asyncio.Task[None]] = []
        inside, leave = asyncio.Event(), asyncio.Event()

        async def stay() -> None:
            async with kit.locks.locked(ROOM):
                inside.set()
                await leave.wait()

        async def hook(event: RoomEvent, context: RoomContext) -> HookResult:
            if event.text == "hi":
                left.append(asyncio.create_task(stay()))
                await inside.wait()
            return HookResult.allow()

        await room_with(kit, Transport("sms"))
        kit.add_hook(HookTrigger.BEFORE_BROADCAST, hook)
        result = await kit.process_inbound(message("sms"), room_id=ROOM)
        assert result.reason == "process_timeout"
        leave.set()
        await left[0]
        assert not (await kit.process_inbound(message("sms", "next"), room_id=ROOM)).blocked


# -- bindings that hooks change -------------------------------------------------------------------


async def cast(kit: RoomKit) -> dict[str, Transport]:
    channels = {name: Transport(name) for name in ("sms", "web", "boss")}
    await room_with(kit, *channels.values())
    return channels


@pytest.mark.parametrize("needs_lock", [True, False])
@pytest.mark.parametrize(
    ("change", "reached"),
    [
        (lambda kit: kit.set_visibility(ROOM, "sms", "boss"), {"boss"}),
        (lambda kit: kit.set_access(ROOM, "web", Access.NONE), {"boss"}),
        (lambda kit: kit.detach_channel(ROOM, "web"), {"boss"}),
        (lambda kit: kit.mute_output(ROOM, "web"), {"boss"}),
        (lambda kit: kit.attach_channel(ROOM, "new"), {"boss", "web", "new"}),
    ],
)
async def test_R73_an_event_goes_to_whom_its_hooks_left_there(
    kit: RoomKit, change: Change, reached: set[str], needs_lock: bool
) -> None:
    channels = await cast(kit)
    channels["new"] = Transport("new")
    kit.register_channel(channels["new"])
    after(kit, change, needs_lock=needs_lock)
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert not result.blocked
    assert {name for name, channel in channels.items() if "hi" in channel.bodies} == reached


async def test_R83_the_scope_is_that_of_the_binding_as_hooks_left_it(kit: RoomKit) -> None:
    await cast(kit)
    after(kit, lambda kit: kit.set_visibility(ROOM, "sms", "boss"))
    event = (await kit.process_inbound(message("sms"), room_id=ROOM)).event
    assert event is not None
    assert event.visibility == "boss"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda kit: kit.mute(ROOM, "sms"), "source_muted"),
        (lambda kit: kit.set_access(ROOM, "sms", Access.READ_ONLY), "source_read_only"),
        (lambda kit: kit.detach_channel(ROOM, "sms"), "source_unbound"),
    ],
)
async def test_R71_a_source_that_hooks_silence_is_silent_at_once(
    kit: RoomKit, change: Change, reason: str
) -> None:
    channels = await cast(kit)
    after(kit, change)
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert (result.blocked, result.reason) == (True, reason)
    assert channels["web"].bodies == []


async def test_R71_a_hook_may_give_its_event_leave(kit: RoomKit) -> None:
    await cast(kit)
    await kit.mute(ROOM, "sms")
    after(kit, lambda kit: kit.unmute(ROOM, "sms"))
    assert not (await kit.process_inbound(message("sms"), room_id=ROOM)).blocked


async def test_R9_hooks_that_change_nothing_cost_no_more_reads(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cast(kit)
    await kit.process_inbound(message("sms", "known"), room_id=ROOM)
    reads: list[str] = []

    async def nothing(kit: RoomKit) -> None:
        list_bindings = kit.store.list_bindings

        async def counted(room_id: str) -> Any:
            reads.append(room_id)
            return await list_bindings(room_id)

        monkeypatch.setattr(kit.store, "list_bindings", counted)

    after(kit, nothing)
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert reads == []
