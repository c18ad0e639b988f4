"""What callers have of rooms, and who of them waits for whom (R128)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from salon.core.errors import RoomDeadlockError

PATIENCE = 5.0
"""Seconds for which a circle may last that somebody may get out of."""


class Gate:
    """What one has at a time, and others wait for."""

    __slots__ = ("holder",)

    def __init__(self) -> None:
        self.holder: Hold | None = None


class Hold:
    """What one caller has of a room. The tasks it started have it too, while it is `open`. `outer`:
    the hold within which this one was come by; it does not end before."""

    __slots__ = ("open", "outer", "owner", "room_id", "task", "waits")

    def __init__(self, owner: object, room_id: str, outer: Hold | None = None) -> None:
        self.owner = owner
        self.room_id = room_id
        self.outer = outer
        self.open = True
        self.task = asyncio.current_task()
        self.waits: list[tuple[Gate, asyncio.Task[Any] | None]] = []
        """What is waited for under this hold, and by whom."""


HELD: ContextVar[tuple[Hold, ...]] = ContextVar("salon_held", default=())
"""The caller's holds and those of whoever started it, outermost first; some may be over."""


def innermost(owner: object, room_id: str) -> Hold | None:
    """The caller's own hold of a room."""
    for hold in reversed(HELD.get()):
        if hold.open and hold.owner is owner and hold.room_id == room_id:
            return hold
    return None


def holds_any(owner: object) -> bool:
    """Whether the caller has something of this owner's, of whatever room."""
    return any(hold.open and hold.owner is owner for hold in HELD.get())


@asynccontextmanager
async def waiting(gate: Gate | None, room_id: str) -> AsyncIterator[None]:
    """Around a wait for a gate of a room, if there is one. Raises `RoomDeadlockError` if who has it
    waits, whoever is in between, for something that the caller has: at once if these are the very
    tasks that have it, after `PATIENCE` if a task they started has part in it."""
    mine = [] if gate is None else _mine()
    if gate is None or not mine:
        yield
        return
    task = asyncio.current_task()
    own = [hold for hold in mine if hold.task is task]
    if _leads_to(gate, own, surely=True):
        raise _deadlock(room_id, mine)
    wait = (gate, task)
    for hold in mine:
        hold.waits.append(wait)
    try:
        if _leads_to(gate, mine):
            async with _bounded(gate, room_id, mine):
                yield
        else:
            yield
    finally:
        for hold in mine:
            hold.waits.remove(wait)


@asynccontextmanager
async def _bounded(gate: Gate, room_id: str, mine: list[Hold]) -> AsyncIterator[None]:
    """Around a wait that may be for the caller itself."""
    loop = asyncio.get_running_loop()

    def look() -> None:
        if _leads_to(gate, mine):
            budget.reschedule(loop.time())

    try:
        async with asyncio.timeout(None) as budget:
            doubt = loop.call_later(PATIENCE, look)
            try:
                yield
            finally:
                doubt.cancel()
    except TimeoutError:
        if not budget.expired():
            raise
        raise _deadlock(room_id, mine) from None


def _deadlock(room_id: str, mine: list[Hold]) -> RoomDeadlockError:
    return RoomDeadlockError(room_id, [hold.room_id for hold in mine])


def _mine() -> list[Hold]:
    """What does not end before the caller does."""
    found: list[Hold] = []
    for hold in HELD.get():
        at: Hold | None = hold if hold.open else None
        while at is not None and at not in found:
            found.append(at)
            at = at.outer
    return found


def _leads_to(gate: Gate, mine: list[Hold], *, surely: bool = False) -> bool:
    """Whether whoever waits for the gate waits for one of these; `surely`: counting no waits of
    tasks that those who have something started, and perhaps do not wait for."""
    seen: set[Gate] = set()
    ahead = [gate]
    while ahead:
        gate = ahead.pop()
        holder = gate.holder
        if gate in seen or holder is None:
            continue
        if holder in mine:
            return True
        seen.add(gate)
        ahead += (
            next_gate for next_gate, task in holder.waits if task is holder.task or not surely
        )
    return False
