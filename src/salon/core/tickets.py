"""The order of arrival, kept while work is done before the room is locked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from salon.core.holds import HELD, Gate, Hold, holds_any, innermost, waiting


class _Turn(Gate):
    """The end of a ticket and of all before it."""

    __slots__ = ("over",)

    def __init__(self, hold: Hold) -> None:
        self.holder = hold
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Tickets:
    """Whoever arrives in a room takes a ticket; turns come in the order of the tickets."""

    def __init__(self) -> None:
        self._last: dict[str, _Turn] = {}

    def held(self, room_id: str) -> bool:
        """Whether the caller works under a ticket of the room; then it must not take another, and
        wait for itself (R128)."""
        return innermost(self, room_id) is not None

    def holds_any(self) -> bool:
        """Whether the caller works under a ticket of any room."""
        return holds_any(self)

    @asynccontextmanager
    async def ticket(self, room_id: str) -> AsyncIterator[asyncio.Future[None] | None]:
        """Inside, work may overtake that of others; await what this yields, if anything, before
        entering the room. Leaving gives the turn to the next, also after a failure. Raises
        `RoomDeadlockError` if that turn would never come."""
        before = self._last.get(room_id)
        async with waiting(before, room_id):
            hold = Hold(self, room_id)
            mine = self._last[room_id] = _Turn(hold)
            if before is not None:
                hold.waits.append((before, hold.task))
            mark = HELD.set((*HELD.get(), hold))
            try:
                yield None if before is None else before.over
            finally:
                hold.open = False
                HELD.reset(mark)
                if before is None or before.over.done():
                    self._done(room_id, mine)
                else:  # given up before its turn
                    before.over.add_done_callback(lambda _: self._done(room_id, mine))

    def _done(self, room_id: str, turn: _Turn) -> None:
        turn.holder = None
        if not turn.over.done():
            turn.over.set_result(None)
        if self._last.get(room_id) is turn:
            del self._last[room_id]
