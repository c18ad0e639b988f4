"""Hooks that only observe stay out of the way (R162); hooks that are cancelled (R159); what
callers of the framework see of rooms that do not exist."""

from __future__ import annotations

import asyncio

import pytest

from salon.core.delivery import RootCall
from salon.core.errors import DuplicateIndexError, RoomKitError, RoomNotFoundError
from salon.core.hooks import HookRegistry
from salon.core.kit import RoomKit
from salon.core.memory import InMemoryLockManager
from salon.core.observers import Observers
from salon.core.passes import Pass
from salon.core.permissions import visible
from salon.core.ports.channel import Channel
from salon.core.ports.locks import RoomLockManager
from salon.core.rooms import DETACHED_KEY, system_event
from salon.models import (
    NO_OUTPUT,
    ChannelCapabilities,
    ChannelOutput,
    ChannelType,
    EventFilter,
    EventType,
    HookExecution,
    HookResult,
    HookTrigger,
    Room,
    RoomContext,
    RoomEvent,
)
from salon.testing import VirtualClock

from .helpers import PATIENCE, ROOM, Agent, Screen, Stream, Transport, listen, message, room_with
from .helpers import text as words_of


async def cancelling(payload: object, context: RoomContext) -> HookResult:
    """A hook that awaits something which was cancelled."""
    waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waited.cancel()
    await waited
    return HookResult.allow()


async def test_R159_a_hook_that_cancels_itself_lets_a_message_pass(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, cancelling)
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert not result.blocked


async def test_R160_a_hook_that_cancels_itself_blocks_where_failing_closed() -> None:
    hooks = HookRegistry()
    hooks.add(HookTrigger.BEFORE_TTS, cancelling)
    outcome = await hooks.decide(HookTrigger.BEFORE_TTS, "words", RoomContext(Room(id=ROOM)))
    assert outcome.blocked


async def test_R204_a_caller_that_is_cancelled_in_a_hook_is_cancelled(kit: RoomKit) -> None:
    """The other side of it: a cancellation from outside is never swallowed."""
    await room_with(kit, Transport("sms"))
    inside = asyncio.Event()

    async def wait(event: RoomEvent, context: RoomContext) -> HookResult:
        inside.set()
        await asyncio.Event().wait()
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, wait)
    task = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
    await asyncio.wait_for(inside.wait(), PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (
        await kit.store.list_events(
            ROOM, event_filter=EventFilter(event_types=[EventType.MESSAGE], include_blocked=True)
        )
        == []
    )


async def test_R162_observers_of_an_automatic_attachment_hold_no_lock(kit: RoomKit) -> None:
    await kit.create_room(ROOM)
    kit.register_channel(Transport("sms"))
    held: list[bool] = []

    async def note(event: RoomEvent, context: RoomContext) -> None:
        held.append(kit.locks.held(ROOM))

    kit.add_hook(HookTrigger.ON_CHANNEL_ATTACHED, note)
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert held == [False]


async def test_R162_observers_of_a_deliberate_attachment_hold_no_lock(kit: RoomKit) -> None:
    held: list[bool] = []

    async def note(event: RoomEvent, context: RoomContext) -> None:
        held.append(kit.locks.held(ROOM))

    for trigger in (HookTrigger.ON_CHANNEL_ATTACHED, HookTrigger.ON_CHANNEL_DETACHED):
        kit.add_hook(trigger, note)
    await room_with(kit, Transport("sms"))
    await kit.detach_channel(ROOM, "sms")
    assert held == [False, False]


async def test_a_change_without_a_trigger_of_its_own_is_recorded_only(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    await kit.set_visibility(ROOM, "sms", "none")
    kinds = [event.type for event in await kit.store.list_events(ROOM)]
    assert kinds[-1] is EventType.CHANNEL_UPDATED


async def test_a_room_that_is_gone_refuses(kit: RoomKit) -> None:
    kit.register_channel(Transport("sms"))
    with pytest.raises(RoomNotFoundError, match="no room 'nowhere'"):
        await kit.send_event("nowhere", "sms", words_of("hi"))
    with pytest.raises(RoomNotFoundError):
        await kit.context("nowhere")
    event = system_event("nowhere", EventType.SYSTEM, "note")
    assert await kit.record(event) is None
    with pytest.raises(RoomNotFoundError):
        await kit._parts.timeline.run(Pass(event, RootCall()))


async def test_a_room_deleted_while_its_message_was_parsed_raises(kit: RoomKit) -> None:
    sms = Transport("sms")

    async def vanish(_message: object, _context: RoomContext) -> None:
        await kit.store.delete_room(ROOM)

    sms.parse = vanish
    await room_with(kit, sms)
    with pytest.raises(RoomNotFoundError):
        await kit.process_inbound(message("sms"), room_id=ROOM)
    assert await kit.store.get_room(ROOM) is None


async def test_locks_nobody_uses_take_no_memory() -> None:
    locks = InMemoryLockManager()
    async with locks.locked("a"), locks.locked("b"):
        assert (len(locks), locks.held("a"), locks.held("b")) == (2, True, True)
    assert (len(locks), locks.held("a")) == (0, False)
    await locks.close()


async def test_a_foreign_lock_manager_says_it_holds_nothing() -> None:
    class Bare(RoomLockManager):
        def locked(self, room_id: str) -> asyncio.Lock:
            return asyncio.Lock()

    assert not Bare().held(ROOM)
    assert not Bare().holds_any()
    assert not Bare.is_process_local


def test_every_error_of_the_core_has_a_stable_code() -> None:
    codes = {error.code for error in RoomKitError.__subclasses__()} | {DuplicateIndexError.code}
    assert len(codes) == len(RoomKitError.__subclasses__())
    assert {"room_not_found", "room_closed", "channel_not_registered"} <= codes


async def test_an_answer_outlives_one_listener_that_hangs_up(kit: RoomKit) -> None:
    """A sink that leaves in the middle takes nothing from the next room or the next answer."""
    screen = Screen("screen")

    async def leave(text_stream: object) -> object:
        raise ConnectionError("gone")

    screen.behave = leave  # type: ignore[assignment]
    bot = Agent("bot", lambda event, context: Stream("a", "b")())
    await room_with(kit, Transport("sms"), screen, bot)
    failed = listen(kit, "delivery_failed")
    for _ in range(2):
        await kit.process_inbound(message("sms", addressed_to=["bot"]), room_id=ROOM)
    assert screen.bodies.count("ab") == 2
    assert failed == []


async def test_R81_a_channel_sees_its_own_events_whatever_their_scope(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    await kit.send_event(ROOM, "sms", words_of("note to self"), visibility="none")
    (event,) = await kit.history(ROOM, "sms")
    binding = await kit.store.get_binding(ROOM, "sms")
    assert binding is not None
    assert visible(event, binding, binding)


async def test_the_least_a_channel_has_to_say() -> None:
    class Plain(Channel):
        channel_type = ChannelType.CLI

        async def deliver(self, *_: object) -> ChannelOutput:
            return NO_OUTPUT

    plain = Plain("cli")
    assert (plain.provider_name, plain.info, plain.sender_is_participant) == (None, {}, False)
    assert plain.capabilities() == ChannelCapabilities()
    assert not plain.supports_streaming_delivery
    await plain.close()


async def test_R202_a_task_that_outlives_the_lock_it_was_born_under_waits_for_the_next() -> None:
    locks = InMemoryLockManager()
    order: list[str] = []
    go = asyncio.Event()

    async def child() -> None:
        async with locks.locked("a"):  # reentrant while the parent holds it (R202)
            order.append("child inside its parent")
        await go.wait()
        async with locks.locked("a"):
            order.append("child alone")

    async with locks.locked("a"):
        task = asyncio.create_task(child())
        await asyncio.sleep(1)
        order.append("parent")
    async with locks.locked("a"):
        go.set()
        await asyncio.sleep(1)
        order.append("another holder")
    await task
    assert order == ["child inside its parent", "parent", "another holder", "child alone"]
    assert len(locks) == 0


async def test_R50_an_explicit_attachment_forgets_the_detachment(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"), Transport("web"))
    await kit.detach_channel(ROOM, "sms")
    await kit.detach_channel(ROOM, "web")
    await kit.attach_channel(ROOM, "sms")
    room = await kit.get_room(ROOM)
    assert room is not None
    assert room.metadata[DETACHED_KEY] == ["web"]
    await kit.store.remove_binding(ROOM, "sms")  # as if the binding had been lost
    assert not (await kit.process_inbound(message("sms"), room_id=ROOM)).blocked
    refused = await kit.process_inbound(message("web"), room_id=ROOM)
    assert refused.reason == "source_unbound"


# -- slow observers -------------------------------------------------------------------------------

AFTER = HookTrigger.AFTER_BROADCAST
CONTEXT = RoomContext(Room(id=ROOM))


async def test_R162_a_slow_hook_delays_no_other_and_each_keeps_its_order() -> None:
    hooks = HookRegistry()
    observers = Observers(hooks)
    slow_saw: list[object] = []
    quick_saw: list[object] = []

    async def slow(payload: object, context: RoomContext) -> None:
        await asyncio.sleep(1)
        slow_saw.append(payload)

    async def quick(payload: object, context: RoomContext) -> None:
        quick_saw.append(payload)

    hooks.add(AFTER, slow)
    hooks.add(AFTER, quick, execution=HookExecution.ASYNC)
    for number in range(3):
        observers.tell(AFTER, number, CONTEXT)
    await asyncio.sleep(0.5)
    assert (slow_saw, quick_saw) == ([], [0, 1, 2])
    await observers.drained(ROOM)
    assert slow_saw == [0, 1, 2]
    assert observers.dropped == 0
    await observers.close(1)


async def test_R162_what_waits_for_a_hook_is_bounded_counted_and_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("salon.core.observers.MAX_WAITING", 3)
    clock, hooks = VirtualClock(), HookRegistry()
    observers = Observers(hooks, clock=clock)
    saw: list[object] = []
    go = asyncio.Event()

    async def slow(payload: object, context: RoomContext) -> None:
        await go.wait()
        saw.append(payload)

    hooks.add(AFTER, slow)
    hooks.add(AFTER, slow, room_id="elsewhere")
    for number in range(10):
        observers.tell(AFTER, number, CONTEXT)
    observers.tell(AFTER, "elsewhere", RoomContext(Room(id="elsewhere")))
    assert observers.dropped == 7
    assert caplog.text.count("is too slow") == 1
    clock.advance(60)
    observers.tell(AFTER, 10, CONTEXT)
    assert caplog.text.count("is too slow") == 2
    go.set()
    await observers.close(1)
    assert [seen for seen in saw if seen != "elsewhere"] == [0, 1, 2]
    assert saw.count("elsewhere") == 2
    assert observers.dropped == 8
