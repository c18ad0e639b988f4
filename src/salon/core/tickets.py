"""The order of arrival, kept while work is done before the room is locked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Hold:
    """One ticket. A task that inherited it is under it only while it lasts."""

    room_id: str
    active: bool = True


class Tickets:
    """Whoever arrives in a room takes a ticket; turns come in the order of the tickets."""

    def __init__(self) -> None:
        self._held: ContextVar[tuple[_Hold, ...]] = ContextVar("salon_tickets", default=())
        self._last: dict[str, asyncio.Future[None]] = {}

    def held(self, room_id: str) -> bool:
        """Whether the caller works under a ticket of the room; then it must not take another, and
        wait for itself (R128)."""
        return any(hold.active and hold.room_id == room_id for hold in self._held.get())

    def holds_any(self) -> bool:
        """Whether the caller works under a ticket of any room."""
        return any(hold.active for hold in self._held.get())

    @asynccontextmanager
    async def ticket(self, room_id: str) -> AsyncIterator[asyncio.Future[None] | None]:
        """Inside, work may overtake that of others; await what this yields, if anything, before
        entering the room. Leaving gives the turn to the next, also after a failure."""
        before = self._last.get(room_id)
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last[room_id] = mine
        hold = _Hold(room_id)
        mark = self._held.set((*self._held.get(), hold))
        try:
            yield before
        finally:
            hold.active = False
            self._held.reset(mark)
            if before is None or before.done():
                self._done(room_id, mine)
            else:  # given up before its turn
                before.add_done_callback(lambda _: self._done(room_id, mine))

    def _done(self, room_id: str, ticket: asyncio.Future[None]) -> None:
        if not ticket.done():
            ticket.set_result(None)
        if self._last.get(room_id) is ticket:
            del self._last[room_id]
