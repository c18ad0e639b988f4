"""Hooks that need no lock run before it, and keep the order of arrival (AMB-24)."""

from __future__ import annotations

import asyncio
from contextvars import Context

from salon.core.kit import RoomKit
from salon.core.tickets import Tickets
from salon.models import HookResult, HookTrigger, Observation, RoomContext, RoomEvent

from .helpers import ROOM, Transport, message, messages, room_with, text, words

DELAYS = {"slow": 5.0, "quick": 1.0}


async def test_AMB24_slow_checks_of_several_messages_run_together(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    held: list[bool] = []

    async def check(event: RoomEvent, context: RoomContext) -> HookResult:
        held.append(kit.locks.held(ROOM))
        await asyncio.sleep(DELAYS[event.text or ""])
        if event.text == "slow":
            return HookResult.modify(event.model_copy(update={"content": text("checked")}))
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, check, needs_lock=False)
    begun = asyncio.get_running_loop().time()
    await asyncio.gather(
        *(kit.process_inbound(message("sms", body), room_id=ROOM) for body in DELAYS)
    )
    assert asyncio.get_running_loop().time() - begun < 6
    assert await words(kit) == [("checked", "delivered"), ("quick", "delivered")]
    assert held == [False, False]


async def test_AMB24_both_kinds_make_one_chain(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    seen: list[tuple[str, str | None]] = []

    async def early(event: RoomEvent, context: RoomContext) -> HookResult:
        seen.append(("early", event.text))
        note = Observation(room_id=ROOM, channel_id="sms", content="early")
        if event.text == "bad":
            return HookResult.block("early says no", observations=(note,))
        changed = event.model_copy(update={"content": text("changed"), "id": "x", "chain_depth": 3})
        result = HookResult.modify(changed)
        return HookResult(
            "modify", result.event, observations=(note,), metadata={"from": "early", "a": 1}
        )

    async def late(event: RoomEvent, context: RoomContext) -> HookResult:
        seen.append(("late", event.text))
        note = Observation(room_id=ROOM, channel_id="sms", content="late")
        return HookResult(observations=(note,), metadata={"from": "late"})

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, late)
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, early, needs_lock=False, priority=5)
    first = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert first.event is not None
    assert (first.event.text, first.event.chain_depth) == ("changed", 0)
    assert first.event.id != "x"
    second = await kit.process_inbound(message("sms", "bad"), room_id=ROOM)
    assert second.event is not None
    assert (second.event.blocked_by, second.reason) == ("early", "early says no")
    assert seen == [("early", "hi"), ("late", "changed"), ("early", "bad")]
    notes = [item.content for item in await kit.store.list_observations(ROOM)]
    assert notes == ["early", "late", "early"]


async def test_AMB24_one_that_gives_up_lets_the_next_pass_in_order(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))

    async def check(event: RoomEvent, context: RoomContext) -> HookResult:
        await asyncio.sleep({"a": 4.0, "b": 3.0, "c": 1.0}[event.text or ""])
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, check, needs_lock=False)
    tasks = [
        asyncio.create_task(kit.process_inbound(message("sms", body), room_id=ROOM))
        for body in "abc"
    ]
    await asyncio.sleep(2)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [event.text for event in await messages(kit)] == ["a", "c"]


async def test_tickets_leave_nothing_behind() -> None:
    tickets = Tickets()
    turns: list[asyncio.Future[None] | None] = []

    async def next_one() -> None:
        async with tickets.ticket("a") as turn:
            turns.append(turn)

    async with tickets.ticket("a") as first:
        assert first is None
        await asyncio.create_task(next_one(), context=Context())
        assert turns[0] is not None
        assert not turns[0].done()
    await asyncio.sleep(0)
    assert tickets._last == {}


async def test_R128_a_ticket_is_held_while_it_lasts() -> None:
    tickets = Tickets()
    go = asyncio.Event()

    async def holding() -> tuple[bool, bool, bool]:
        return tickets.held("a"), tickets.held("b"), tickets.holds_any()

    async def later() -> tuple[bool, bool, bool]:
        await go.wait()
        return await holding()

    assert await holding() == (False, False, False)
    async with tickets.ticket("a"):
        left = asyncio.create_task(later())
        assert await asyncio.create_task(holding()) == (True, False, True)
    go.set()
    assert await left == (False, False, False)
