"""How far each room's deliveries got, so that what was pending can be resumed after a crash."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from salon.base import SYSTEM_CLOCK, Clock, SalonError, TaskScope
from salon.core.ports.store import ConversationStore

_log = logging.getLogger("salon.core.marks")

FLUSH_S = 0.05
"""How long a mark may wait to be written together with others. A crash repeats at most what was
delivered in that time: delivery is at least once."""


MAX_ROOMS = 4096
"""Rooms whose last mark is remembered, so that one not yet written is not taken for a gap."""


@dataclass(slots=True)
class _Room:
    """What of a room is planned here and not done yet. `first` is the first index planned in this
    process, `base` the mark it found; between them may be what another one left undone."""

    first: int
    base: int
    open: set[int] = field(default_factory=set)
    highest: int = -1

    @property
    def has_gap(self) -> bool:
        return self.base + 1 < self.first

    @property
    def mark(self) -> int:
        """The index up to which everything is done."""
        if self.has_gap:
            return self.base
        return min(self.open) - 1 if self.open else self.highest


class DeliveredMarks:
    """Moves `delivered_index` of rooms behind the delivery lane (R139).

    A store in this process is told at once; others get many marks in one transaction.
    """

    def __init__(
        self, store: ConversationStore, *, clock: Clock = SYSTEM_CLOCK, interval: float = FLUSH_S
    ) -> None:
        self._store = store
        self._clock = clock
        self._interval = interval
        self._rooms: dict[str, _Room] = {}
        self._dirty: dict[str, int] = {}
        self._last: OrderedDict[str, int] = OrderedDict()
        self._closed = False
        self._scope: TaskScope | None = None
        self._flushing = False

    def planned(self, room_id: str, index: int, delivered: int) -> None:
        """An event is on its way. `delivered` is the mark that stands in the store: what lies
        between the two, and is not known here, has to be resumed before the mark may pass."""
        room = self._rooms.get(room_id)
        if room is None:
            base = max(delivered, self._last.get(room_id, -1))
            room = self._rooms[room_id] = _Room(index, base)
        room.open.add(index)
        room.highest = max(room.highest, index)

    def undone(self, room_id: str, delivered: int) -> tuple[int, int | None]:
        """Between which indices, both exclusive, lies what this process has not planned;
        `delivered` is the mark in the store. None: there is no end."""
        room = self._rooms.get(room_id)
        if room is not None:
            return room.base, room.first
        return max(delivered, self._last.get(room_id, -1)), None

    def resumed(self, room_id: str) -> None:
        """Everything that another process left undone is on its way now."""
        room = self._rooms.get(room_id)
        if room is not None:
            room.first = room.base + 1

    async def done(self, room_id: str, index: int) -> None:
        """It arrived, or failed for good."""
        room = self._rooms.get(room_id)
        if room is None:
            return
        room.open.discard(index)
        mark = room.mark
        if not room.open and not room.has_gap:
            del self._rooms[room_id]
        self._last[room_id] = max(mark, self._last.get(room_id, -1))
        self._last.move_to_end(room_id)
        while len(self._last) > MAX_ROOMS:
            self._last.popitem(last=False)
        if self._store.is_process_local:
            await self._store.advance_delivered_index(room_id, mark)
            return
        self._dirty[room_id] = max(mark, self._dirty.get(room_id, -1))
        self._flush_later()

    def _flush_later(self) -> None:
        if not self._flushing and not self._closed:
            self._flushing = True
            if self._scope is None:
                self._scope = TaskScope("delivered marks")
            self._scope.spawn(self._flush_soon(), name="flush")

    async def done_after(
        self, room_id: str, index: int, work: Iterable[asyncio.Future[object]]
    ) -> None:
        """It is done when all of `work` is; nobody waits for that here."""
        left = [item for item in work if not item.done()]
        if not left:
            await self.done(room_id, index)
            return
        if self._scope is None:
            self._scope = TaskScope("delivered marks")
        self._scope.spawn(self._done_later(room_id, index, left), name="answered")

    async def _done_later(
        self, room_id: str, index: int, work: list[asyncio.Future[object]]
    ) -> None:
        await asyncio.wait(work)
        if all(not item.cancelled() and item.exception() is None for item in work):
            await self.done(room_id, index)  # else given up, to be resumed

    async def _flush_soon(self) -> None:
        await self._clock.sleep(self._interval)
        self._flushing = False
        await self.flush()

    async def flush(self) -> None:
        """Write the marks that wait."""
        marks, self._dirty = self._dirty, {}
        if not marks:
            return
        written = False
        try:
            await self._store.advance_delivered_indexes(marks)
            written = True
        except (SalonError, OSError, ValueError):
            _log.exception("%d delivery marks were not written", len(marks))
        finally:
            if not written:  # with the next ones; marks only ever move up
                for room_id, mark in marks.items():
                    self._dirty[room_id] = max(mark, self._dirty.get(room_id, -1))

    async def close(self) -> None:
        """Write what waits and end."""
        self._closed = True
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.close()
        await self.flush()
