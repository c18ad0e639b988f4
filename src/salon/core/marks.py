"""How far each room's deliveries got, so that what was pending can be resumed after a crash."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import pairwise

from salon.base import SYSTEM_CLOCK, Begun, Clock, SalonError, TaskScope, is_at_once
from salon.core.lanes import LaneClosedError
from salon.core.ports.store import ConversationStore
from salon.models import Room

_log = logging.getLogger("salon.core.marks")

FLUSH_S = 0.05
"""How long a mark may wait to be written together with others. A crash repeats at most what was
delivered in that time: delivery is at least once."""

FOLLOW_S = 60.0
"""How long after a room's last delivery here its mark is looked up, while it waits for another
process. The pauses grow with that time."""

MAX_ROOMS = 4096
"""Rooms with nothing on its way whose mark is remembered, so that one not yet written is not taken
for a gap."""

MAX_RUNS = 1024
"""Stretches of one room that may wait for a gap to close. What is beyond stays behind the mark: it
is delivered again by the next resuming."""


@dataclass(slots=True, eq=False)
class _Room:
    """What of a room was planned in this process. `mark` is the index up to which everything is
    done, here or by others; `runs` are the stretches beyond it that are done here, ascending, both
    ends inclusive. What is in none of them was planned by another process, or by one that crashed.
    """

    id: str
    born: datetime
    mark: int
    touched: float
    open: set[int] = field(default_factory=set)
    runs: list[tuple[int, int]] = field(default_factory=list)
    over: bool = False
    """The room was deleted: nothing of it is written any more."""
    followed: bool = False

    @property
    def has_gap(self) -> bool:
        """Whether what follows the mark is another's to deliver."""
        return bool(self.open or self.runs) and self.mark + 1 not in self.open

    def knows(self, index: int) -> bool:
        at = bisect_left(self.runs, index + 1, key=lambda run: run[0]) - 1
        done = at >= 0 and index <= self.runs[at][1]
        return done or index <= self.mark or index in self.open

    def reached(self, mark: int) -> bool:
        """Everything up to `mark` is done, and what follows here; whether that is news."""
        moved = mark > self.mark
        self.mark = max(self.mark, mark)
        while self.runs and self.runs[0][0] <= self.mark + 1:
            self.mark = max(self.mark, self.runs.pop(0)[1])
        return moved

    def arrived(self, index: int) -> bool:
        """An index is done; whether the mark moves."""
        self.open.discard(index)
        if index == self.mark + 1:
            return self.reached(index)
        if not self.knows(index):
            self._add(index)
        return False

    def _add(self, index: int) -> None:
        first = last = index
        at = bisect_left(self.runs, index, key=lambda run: run[0])
        if at < len(self.runs) and self.runs[at][0] == index + 1:
            last = self.runs.pop(at)[1]
        if at > 0 and self.runs[at - 1][1] == index - 1:
            at -= 1
            first = self.runs.pop(at)[0]
        self.runs.insert(at, (first, last))
        del self.runs[MAX_RUNS:]


@dataclass(frozen=True, slots=True)
class Planned:
    """An event on its way."""

    room: _Room
    index: int


class DeliveredMarks:
    """Moves `delivered_index` of rooms behind the delivery lane (R139), never past an event that
    nobody delivered.

    A store in this process is told at once; others get many marks in one transaction. Of a room
    that several processes serve, each moves the mark over what it delivered itself, once the others
    have moved it up to there.
    """

    def __init__(
        self, store: ConversationStore, *, clock: Clock = SYSTEM_CLOCK, interval: float = FLUSH_S
    ) -> None:
        self._store = store
        self._clock = clock
        self._interval = interval
        self._rooms: dict[str, _Room] = {}
        self._idle: OrderedDict[str, _Room] = OrderedDict()
        self._dirty: dict[str, _Room] = {}
        self._closed = False
        self._scope: TaskScope | None = None
        self._flushing = False

    def planned(self, room: Room, index: int) -> Planned:
        """An event is on its way in a room just read. What lies between its mark and this one, and
        is not known here, has to be delivered by others before the mark may pass."""
        known = self._find(room)
        if known is None:
            known = _Room(room.id, room.created_at, room.delivered_index, 0.0)
        elif known.reached(room.delivered_index) and known.mark > room.delivered_index:
            self._dirty[room.id] = known
            self._flush_later()
        self._idle.pop(room.id, None)
        self._rooms[room.id] = known
        known.touched = self._clock.monotonic()
        known.open.add(index)
        return Planned(known, index)

    def undone_after(self, room: Room) -> int:
        """The index behind which something may be undone, in a room just read."""
        known = self._find(room)
        return room.delivered_index if known is None else max(known.mark, room.delivered_index)

    def knows(self, room: Room, index: int) -> bool:
        """Whether an event of a room is on its way here, or done."""
        known = self._find(room)
        return known is not None and known.knows(index)

    async def resumed(self, room: Room, latest: int) -> None:
        """All that others left undone up to `latest` is on its way here; an index that is not is
        that of a deleted event."""
        known = self._find(room)
        if known is None:
            known = self._idle[room.id] = _Room(room.id, room.created_at, room.delivered_index, 0.0)
        ends = [*sorted(index for index in known.open if index <= latest), latest + 1]
        known.runs = [(before + 1, end - 1) for before, end in pairwise(ends) if before + 1 < end]
        known.reached(max(room.delivered_index, ends[0] - 1))
        self._dirty[room.id] = known
        await self.flush()

    def forget(self, room_id: str) -> None:
        """The room is deleted: its mark is written no more, whatever still arrives."""
        for rooms in (self._rooms, self._idle, self._dirty):
            known = rooms.pop(room_id, None)
            if known is not None:
                known.over = True

    def abandon(self, planned: Planned) -> None:
        """The room of an event on its way is gone, and its id another's: as `forget`, but what is
        known of the other stays."""
        room = planned.room
        room.over = True
        for rooms in (self._rooms, self._idle, self._dirty):
            if rooms.get(room.id) is room:
                del rooms[room.id]

    def _find(self, room: Room) -> _Room | None:
        """What is known of a room; what was known of an earlier one of that id is forgotten."""
        known = next(
            (
                rooms[room.id]
                for rooms in (self._rooms, self._idle, self._dirty)
                if room.id in rooms
            ),
            None,
        )
        if known is not None and known.born != room.created_at:
            self.forget(room.id)
            return None
        return known

    async def done(self, planned: Planned) -> None:
        """It arrived, or failed for good."""
        room = planned.room
        if room.over:
            return
        room.touched = self._clock.monotonic()
        if room.arrived(planned.index):
            self._dirty[room.id] = room
        if not room.open:
            self._rest(room)
        if self._store.is_process_local or room.has_gap:  # then another process waits for it
            await self.flush()
        elif self._dirty:
            self._flush_later()
        if room.runs and room.has_gap and not room.followed and not self._closed:
            room.followed = True
            self._tasks().spawn(self._follow(room), name="follow")

    def _rest(self, room: _Room) -> None:
        self._rooms.pop(room.id, None)
        self._idle[room.id] = room
        self._idle.move_to_end(room.id)
        while len(self._idle) > MAX_ROOMS:
            self._idle.popitem(last=False)

    def _tasks(self) -> TaskScope:
        if self._scope is None:
            self._scope = TaskScope("delivered marks")
        return self._scope

    def _flush_later(self) -> None:
        if not self._flushing and not self._closed:
            self._flushing = True
            self._tasks().spawn(self._flush_soon(), name="flush")

    async def done_after(self, planned: Planned, work: Iterable[asyncio.Future[object]]) -> None:
        """It is done when all of `work` is; nobody waits for that here."""
        work = list(work)
        if all(item.done() for item in work):
            await self._done_if(planned, work)
        elif not self._closed and len(work) == 1 and self._writes_at_once:
            work[0].add_done_callback(partial(self._answered, planned))
        elif not self._closed:
            self._tasks().spawn(self._done_later(planned, work), name="answered")

    @property
    def _writes_at_once(self) -> bool:
        store = self._store
        return is_at_once(store.advance_delivered_indexes) and is_at_once(
            store.advance_delivered_index
        )

    def _answered(self, planned: Planned, work: asyncio.Future[object]) -> None:
        """To write the mark takes no waiting, so no task."""
        if not self._closed:
            Begun(self._done_if(planned, [work]))

    async def _done_later(self, planned: Planned, work: list[asyncio.Future[object]]) -> None:
        await asyncio.wait(work)
        await self._done_if(planned, work)

    async def _done_if(self, planned: Planned, work: list[asyncio.Future[object]]) -> None:
        if not any(_given_up(item) for item in work):
            await self.done(planned)  # else to be resumed

    async def _flush_soon(self) -> None:
        await self._clock.sleep(self._interval)
        self._flushing = False
        await self.flush()

    async def _follow(self, room: _Room) -> None:
        """See how far the others are, until nothing waits for them."""
        try:
            while room.runs and not room.over:
                passed = self._clock.monotonic() - room.touched
                if passed > FOLLOW_S:
                    return
                await self._clock.sleep(max(self._interval, passed))
                await self._look(room)
        finally:
            room.followed = False

    async def _look(self, room: _Room) -> None:
        try:
            found = await self._store.get_room(room.id)
        except (SalonError, OSError, ValueError):
            _log.exception("the mark of room %s was not read", room.id)
            return
        if found is None or found.created_at != room.born:
            room.over = True
        elif room.reached(found.delivered_index) and room.mark > found.delivered_index:
            self._dirty[room.id] = room
            await self.flush()

    async def flush(self) -> None:
        """Write the marks that wait."""
        rooms, self._dirty = self._dirty, {}
        marks = {room.id: room.mark for room in rooms.values() if not room.over}
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
                for room in rooms.values():
                    if not room.over:
                        self._dirty.setdefault(room.id, room)

    async def close(self) -> None:
        """Write what waits and end."""
        self._closed = True
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.close()
        await self.flush()


def _given_up(work: asyncio.Future[object]) -> bool:
    """Whether it was ended before its end. A failure is an end."""
    return work.cancelled() or isinstance(work.exception(), LaneClosedError)
