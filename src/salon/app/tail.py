"""The live end of a timeline: every event once, in order, from a place the reader names."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from salon.app.crowd import Crowd
from salon.app.observer import REBINDING, Observer, bars
from salon.base import LOCAL, SYSTEM_CLOCK, Clock, Principal, SalonError
from salon.core.framework import FrameworkEvent
from salon.core.kit import RoomKit
from salon.models import EventFilter, Room, RoomEvent

BOUND: Final = 256
"""Events that may wait for a reader; one more and it is sent away."""
HEARTBEAT_S: Final = 15.0
MAX_TAILS: Final = 1000
_PAGE: Final = 200
_EVERYTHING: Final = EventFilter(include_blocked=True)


class TooManyTailsError(SalonError):
    """As many readers as are allowed are listening already."""

    code = "too_many_listeners"


@dataclass(frozen=True, slots=True)
class Shown:
    """An event for the reader, as JSON."""

    index: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Beat:
    """Nothing to tell, and still there."""


@dataclass(frozen=True, slots=True)
class End:
    """The last item. `reason`: ``too_slow``, ``expired``, ``not_admitted``, ``room_deleted`` or
    ``shutting_down``. What comes after `after_index` was not sent."""

    reason: str
    after_index: int


Item = Shown | Beat | End


class Tail:
    """One reader of one room; made by `Tails.listen`.

    It hears commits from its making on, so that the store may be read in peace: what was heard
    meanwhile and was read is left out, and where an index is missing the store is read again.
    """

    def __init__(
        self,
        kit: RoomKit,
        room: Room,
        observer: Observer,
        *,
        participant_id: str | None,
        until: float | None,
        heartbeat: float,
        clock: Clock,
    ) -> None:
        self.room_id = room.id
        self._kit = kit
        self._observer = observer
        self._participant_id = participant_id
        self._until = until
        self._heartbeat = heartbeat
        self._clock = clock
        self._heard: deque[RoomEvent] = deque()
        self._wake = asyncio.Event()
        self._ended: str | None = None
        self._reading = False
        self._missed = False
        self._at = -1

    @property
    def waiting(self) -> int:
        """Events that the reader has not taken."""
        return len(self._heard)

    def hear(self, event: RoomEvent) -> bool:
        """A commit in the room; never waits. False if that is too much for the reader."""
        if self._ended is not None:
            return True
        if len(self._heard) >= BOUND:
            if not self._reading:
                self.end("too_slow")
                return False
            self._heard.clear()  # all of it is in the store, which is being read
            self._missed = True
        self._heard.append(event)
        self._wake.set()
        return True

    def end(self, reason: str) -> None:
        """No more events; the first reason counts."""
        self._ended = self._ended or reason
        self._heard.clear()
        self._wake.set()

    async def items(self, after_index: int | None) -> AsyncGenerator[Item, None]:
        """From the event after `after_index` on (-1: from the first); None: what comes from now
        on. Ends with an `End`."""
        if after_index is None:
            room = await self._kit.get_room(self.room_id)
            after_index = -1 if room.latest_index is None else room.latest_index
        self._at = after_index
        yield Beat()
        async for shown in self._stored():
            yield shown
        while self._ended is None:
            event = await self._next()
            if event is None:
                # what other processes committed, and what hooks injected, is not heard
                async for shown in self._stored():
                    yield shown
                if self._ended is None:
                    yield Beat()
                continue
            if event.index > self._at + 1:
                async for shown in self._stored():
                    yield shown
            if event.index > self._at and (now := await self._take(event)) is not None:
                yield now
        yield End(self._ended, self._at)

    async def _stored(self) -> AsyncIterator[Shown]:
        """Everything in the store past the place reached."""
        more, self._reading = True, True
        while (more or self._missed) and self._ended is None:
            self._missed = False
            page = await self._kit.store.list_events(
                self.room_id, limit=_PAGE, after_index=self._at, event_filter=_EVERYTHING
            )
            more = len(page) == _PAGE
            for event in page:
                if self._ended is None and (shown := await self._take(event)) is not None:
                    yield shown
        self._reading = False

    async def _take(self, event: RoomEvent) -> Shown | None:
        self._at = event.index
        if event.type in REBINDING:
            bindings = await self._kit.store.list_bindings(self.room_id)
            self._observer = self._observer.with_bindings(bindings)
        if self._participant_id is not None and bars(event, self._participant_id):
            self.end("not_admitted")
        if not self._observer.sees(event):
            return None
        return Shown(event.index, self._observer.shows(event))

    async def _next(self) -> RoomEvent | None:
        """The next event heard; None after a heartbeat without one, or at the end."""
        patience = self._heartbeat
        if self._until is not None:
            left = self._until - self._clock.time()
            if left <= 0:
                self.end("expired")
            patience = min(patience, max(left, 0.0))
        if not self._heard and self._ended is None:
            self._wake.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._wake.wait()
            except TimeoutError:
                return None
        return self._heard.popleft() if self._heard else None


class Tails:
    """Every reader of this process, behind one listener of commits."""

    def __init__(
        self,
        kit: RoomKit,
        *,
        heartbeat: float = HEARTBEAT_S,
        limit: int = MAX_TAILS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._kit = kit
        self._heartbeat = heartbeat
        self._limit = limit
        self._clock = clock
        self._rooms: dict[str, set[Tail]] = {}
        self._closed = False
        self._crowd = Crowd()
        self.evicted = 0
        """Readers that were sent away because they were too slow."""
        kit.on_commit(self._committed)
        kit.on("room_deleted")(self._deleted)

    @property
    def readers(self) -> int:
        """How many listen now."""
        return sum(len(readers) for readers in self._rooms.values())

    @contextmanager
    def listen(
        self,
        room: Room,
        observer: Observer,
        *,
        participant_id: str | None = None,
        until: float | None = None,
        principal: Principal = LOCAL,
    ) -> Iterator[Tail]:
        """A reader, from now on until the block ends. `until` (Unix seconds) ends it, and so does
        the barring of `participant_id`. Raises `TooManyTailsError`, `CrowdedError`."""
        if self._closed or self.readers >= self._limit:
            raise TooManyTailsError("too many readers listen to rooms; try again later")
        tail = Tail(
            self._kit,
            room,
            observer,
            participant_id=participant_id,
            until=until,
            heartbeat=self._heartbeat,
            clock=self._clock,
        )
        with self._crowd.place(room.id, principal):
            readers = self._rooms.setdefault(room.id, set())
            readers.add(tail)
            try:
                yield tail
            finally:
                readers.discard(tail)
                if not readers and self._rooms.get(room.id) is readers:
                    del self._rooms[room.id]

    def close(self) -> None:
        """End every reader; idempotent."""
        self._closed = True
        for readers in self._rooms.values():
            for tail in readers:
                tail.end("shutting_down")

    def _committed(self, event: RoomEvent) -> None:
        for tail in self._rooms.get(event.room_id, ()):
            if not tail.hear(event):
                self.evicted += 1

    def _deleted(self, event: FrameworkEvent) -> None:
        for tail in self._rooms.get(event.room_id or "", ()):
            tail.end("room_deleted")
