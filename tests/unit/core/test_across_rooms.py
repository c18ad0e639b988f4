"""Rooms that feed each other: who is being waited for waits for no delivery, in no room (R128)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from salon.core.errors import RoomDeadlockError
from salon.core.kit import RoomKit
from salon.models import HookResult, HookTrigger, RoomContext, RoomEvent

from .helpers import Agent, Transport, message, room_with, text, words

Send = Callable[[RoomKit, str, str, str], Awaitable[Any]]


async def by_process_inbound(kit: RoomKit, room_id: str, channel_id: str, body: str) -> Any:
    return await kit.process_inbound(message(channel_id, body), room_id=room_id)


async def by_send_event(kit: RoomKit, room_id: str, channel_id: str, body: str) -> Any:
    return await kit.send_event(room_id, channel_id, text(body))


async def two_rooms(kit: RoomKit) -> tuple[Transport, Transport]:
    """Rooms ``A`` and ``B``, in each a user and a bridge."""
    users = Transport("user A"), Transport("user B")
    for user, room_id in zip(users, "AB", strict=True):
        await room_with(kit, user, Transport(f"bridge {room_id}"), room_id=room_id)
    return users


async def both_speak(kit: RoomKit) -> list[Any]:
    """At once in both rooms; what comes of it must not have taken the patience of anybody."""
    begun = asyncio.get_running_loop().time()
    results = await asyncio.gather(
        *(kit.process_inbound(message(f"user {room}"), room_id=room) for room in "AB")
    )
    assert asyncio.get_running_loop().time() - begun < 1
    for room in "AB":
        await kit.idle(room)
    return results


@pytest.mark.parametrize("send", [by_process_inbound, by_send_event])
@pytest.mark.parametrize("place", ["deliver", "on_event"])
async def test_R128_bridges_in_both_directions_do_not_wait_for_each_other(
    kit: RoomKit, send: Send, place: str
) -> None:
    class Bridge(Transport):
        there = ""
        inner: Any = None

        async def pass_on(self, event: RoomEvent, here: str) -> None:
            if here == place and event.text == "hi":
                said = f"from {event.room_id}"
                self.inner = await send(kit, self.there, f"bridge {self.there}", said)

        async def on_event(self, event: RoomEvent, *rest: Any) -> Any:
            await self.pass_on(event, "on_event")
            return await super().on_event(event, *rest)

        async def deliver(self, event: RoomEvent, *rest: Any) -> Any:
            await self.pass_on(event, "deliver")
            return await super().deliver(event, *rest)

    bridges = Bridge("bridge A"), Bridge("bridge B")
    for bridge in bridges:
        kit.register_channel(bridge)
    bridges[0].there, bridges[1].there = "B", "A"
    users = await two_rooms(kit)
    results = await both_speak(kit)
    for result, room in zip(results, "AB", strict=True):
        assert result.delivery_results[f"bridge {room}"].status == "sent"
    assert [user.bodies for user in users] == [["from B"], ["from A"]]
    for bridge in bridges:  # committed, and nothing said of a delivery that is still to come
        inner = bridge.inner
        event = inner if isinstance(inner, RoomEvent) else inner.event
        assert event.status.value == "delivered"
        assert getattr(inner, "delivery_results", {}) == {}


@pytest.mark.parametrize("send", [by_process_inbound, by_send_event])
async def test_R128_agents_that_ask_each_other_across_rooms(kit: RoomKit, send: Send) -> None:
    class Asking(Agent):
        async def on_event(self, event: RoomEvent, *rest: Any) -> Any:
            if event.text == "hi":
                there = "B" if event.room_id == "A" else "A"
                await send(kit, there, f"bridge {there}", f"from {event.room_id}")
            return await super().on_event(event, *rest)

    await two_rooms(kit)
    for room in "AB":
        await room_with(kit, Asking(f"bot {room}"), room_id=room)
    await both_speak(kit)
    assert {body for body, _ in await words(kit, "A")} == {
        "hi",
        "from B",
        "bot A: hi",
        "bot A: from B",
    }


@pytest.mark.parametrize("needs_lock", [True, False])
async def test_R128_a_hook_that_others_wait_for_does_not_wait_for_another_room(
    kit: RoomKit, needs_lock: bool
) -> None:
    async def also(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text == "hi" and event.room_id == "A":
            await kit.send_event("B", "bridge B", text("checked"))
        return HookResult.allow()

    class Echo(Transport):
        async def deliver(self, event: RoomEvent, *rest: Any) -> Any:
            if event.text == "checked":
                await kit.send_event("A", "bridge A", text("echo"))
            return await super().deliver(event, *rest)

    await two_rooms(kit)
    await room_with(kit, Echo("echo"), room_id="B")
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, also, needs_lock=needs_lock)
    await both_speak(kit)
    assert [body for body, _ in await words(kit, "A")] == ["hi", "echo"]


@pytest.mark.parametrize("needs_lock", [True, False])
async def test_R128_a_hook_does_not_wait_for_its_own_room(kit: RoomKit, needs_lock: bool) -> None:
    async def also(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text == "hi":
            await kit.send_event(event.room_id, f"bridge {event.room_id}", text("also"))
        return HookResult.allow()

    class Echo(Transport):
        async def deliver(self, event: RoomEvent, *rest: Any) -> Any:
            if event.text == "also":
                await kit.send_event(event.room_id, self.channel_id, text("echo"))
            return await super().deliver(event, *rest)

    await two_rooms(kit)
    await room_with(kit, Echo("echo"), room_id="A")
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, also, needs_lock=needs_lock)
    await both_speak(kit)
    assert sorted(str(body) for body, _ in await words(kit, "A")) == ["also", "echo", "hi"]


async def test_R128_who_only_looks_on_waits_as_ever(kit: RoomKit) -> None:
    """Nobody waits for observers, so they may wait for deliveries, and learn what came of them."""
    seen: list[Any] = []

    async def after(event: RoomEvent, context: RoomContext) -> None:
        if event.text == "hi" and event.room_id == "A":
            seen.append(await kit.process_inbound(message("bridge B", "seen"), room_id="B"))

    await two_rooms(kit)
    kit.add_hook(HookTrigger.AFTER_BROADCAST, after)
    await both_speak(kit)
    await kit._parts.observers.drained("A")
    assert seen[0].delivery_results["user B"].status == "sent"


@pytest.mark.parametrize("needs_lock", [True, False])
@pytest.mark.parametrize("rooms", ["AB", "ABC"])
@pytest.mark.parametrize("apart", [False, True])
async def test_R128_hooks_that_copy_in_a_circle_are_told_and_lose_only_one_copy(
    kit: RoomKit, needs_lock: bool, rooms: str, apart: bool
) -> None:
    """At once; if in a task of its own, which need not be waited for, soon."""
    meeting = asyncio.Barrier(len(rooms))
    failed: list[tuple[str, str, RoomDeadlockError]] = []

    async def copy(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text != "hi":
            return HookResult.allow()
        await meeting.wait()
        there = rooms[(rooms.index(event.room_id) + 1) % len(rooms)]
        try:
            copied = message(f"user {there}", f"from {event.room_id}")
            copying = kit.process_inbound(copied, room_id=there)
            await (asyncio.gather(copying) if apart else copying)
        except RoomDeadlockError as error:
            failed.append((event.room_id, there, error))
            raise
        return HookResult.allow()

    for room in rooms:
        await room_with(kit, Transport(f"user {room}"), room_id=room)
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, copy, needs_lock=needs_lock)
    begun = asyncio.get_running_loop().time()
    results = await asyncio.gather(
        *(kit.process_inbound(message(f"user {room}"), room_id=room) for room in rooms)
    )
    assert asyncio.get_running_loop().time() - begun < (6 if apart else 1)
    assert [result.blocked for result in results] == [False] * len(rooms)
    ((here, there, error),) = failed
    assert error.code == "room_deadlock"
    assert str(error).startswith(f"room {there!r} waits for the caller, who has {here!r}")
    for room in rooms:
        expected = {"hi"} if room == there else {"hi", f"from {rooms[rooms.index(room) - 1]}"}
        assert {body for body, _ in await words(kit, room)} == expected


async def test_R128_a_locked_and_an_unlocked_hook_that_wait_for_each_other(kit: RoomKit) -> None:
    meeting = asyncio.Barrier(2)
    failed: list[str] = []

    async def copy(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text == "hi":
            await meeting.wait()
            there = "B" if event.room_id == "A" else "A"
            try:
                await kit.send_event(there, f"bridge {there}", f"from {event.room_id}")
            except RoomDeadlockError:
                failed.append(event.room_id)
        return HookResult.allow()

    await two_rooms(kit)
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, copy, room_id="A")
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, copy, room_id="B", needs_lock=False)
    await both_speak(kit)
    assert len(failed) == 1
    assert len(await words(kit, "A") + await words(kit, "B")) == 3


async def test_R128_hooks_that_copy_one_way_wait_for_their_turn(kit: RoomKit) -> None:
    """Two that want the same third room are no circle."""

    async def copy(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text == "hi":
            await kit.send_event("C", "user C", f"from {event.room_id}")
        await asyncio.sleep(0.1)
        return HookResult.allow()

    await two_rooms(kit)
    await room_with(kit, Transport("user C"), room_id="C")
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, copy)
    await both_speak(kit)
    assert sorted(str(body) for body, _ in await words(kit, "C")) == ["from A", "from B"]
