"""Idle rooms are paused, then closed (R28-R32, AMB-4)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from salon.base import SYSTEM_CLOCK, Clock, SalonError, TaskScope, unbroken
from salon.core.context import Contexts
from salon.core.errors import RoomNotFoundError
from salon.core.framework import FrameworkEvents
from salon.core.hooks import HookRegistry
from salon.core.lifecycle import Announcer, Recorder, Records
from salon.core.observers import Observers
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.store import ConversationStore
from salon.core.tenancy import Tenancy
from salon.models import EventType, HookTrigger, Room, RoomStatus

_log = logging.getLogger("salon.core.timers")

INTERVAL_S: Final = 30.0
"""Between two sweeps, and the longest that one goes on for. What a sweep finds takes the instant it
fell due, however late it comes."""
BATCH: Final = 100
"""Rooms looked at in one piece of a sweep."""
AT_ONCE: Final = 8
"""Rooms worked on at a time."""
PATIENCE_S: Final = 10.0
"""How long a sweep waits for the lock of one room, before it leaves it to the next."""
MAX_LATE: Final = 1024
"""Rooms remembered as those that could not be brought up to date, and that others go before."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of status that time brought about."""

    status: RoomStatus
    at: datetime
    """When it fell due, which may be long past."""
    threshold: int
    """The seconds that had to pass."""


def due(room: Room, now: datetime) -> tuple[Transition, ...]:
    """What has fallen due in a room by `now`, in order. An ACTIVE room is paused first: the time
    to its closing counts from that pause (R29)."""
    found: list[Transition] = []
    status, paused_at = room.status, room.paused_at
    idle = room.timers.inactive_after_seconds
    if status is RoomStatus.ACTIVE and idle is not None:
        begun = room.timers.last_activity_at or room.created_at
        if (now - begun).total_seconds() >= idle:
            status, paused_at = RoomStatus.PAUSED, begun + timedelta(seconds=idle)
            found.append(Transition(status, paused_at, idle))
    left = room.timers.closed_after_seconds
    if (
        status is RoomStatus.PAUSED
        and left is not None
        and paused_at is not None
        and (now - paused_at).total_seconds() >= left
    ):
        found.append(Transition(RoomStatus.CLOSED, paused_at + timedelta(seconds=left), left))
    return tuple(found)


def is_timed(room: Room) -> bool:
    """Whether a room has timers."""
    timers = room.timers
    return timers.inactive_after_seconds is not None or timers.closed_after_seconds is not None


class Timers:
    """Applies what is due: in every locked section (`apply`), when the host asks (`check`,
    `check_all`), and in the background from `start` to `close`.

    A store that is this process's own and empty is not swept before somebody sets a timer.
    """

    def __init__(
        self,
        *,
        store: ConversationStore,
        locks: RoomLockManager,
        contexts: Contexts,
        hooks: HookRegistry,
        observers: Observers,
        framework: FrameworkEvents,
        timeline: Callable[[], Recorder],
        clock: Clock = SYSTEM_CLOCK,
        interval: float | None = INTERVAL_S,
        batch: int = BATCH,
    ) -> None:
        """`interval` in seconds; None: no sweeps in the background."""
        if interval is not None and interval <= 0:
            raise ValueError(f"the interval of sweeps must be above 0 s, not {interval}")
        self._store = store
        self._locks = locks
        self._framework = framework
        self._records = Records(timeline, clock)
        self._announcer = Announcer(
            locks=locks, contexts=contexts, hooks=hooks, observers=observers
        )
        self._clock = clock
        self._tenancy = Tenancy(store, self.apply)
        self._interval = interval
        self._batch = batch
        self._scope: TaskScope | None = None
        self._needed = asyncio.Event()
        self._late: set[str] = set()
        self.failures = 0
        """Rooms that a sweep could not bring up to date."""

    async def apply(self, room: Room) -> Room:
        """Bring a room just read up to date. Call it under the room's lock; hooks are told and not
        waited for. Cancellation does not interrupt it."""
        if not is_timed(room):
            return room
        self.watch(room)
        transitions = due(room, self._clock.now())
        if not transitions:
            return room
        return await unbroken(self._turn(room, transitions))

    async def resumed(self, room: Room) -> Room:
        """Something was said in a PAUSED room: it is ACTIVE again. Call it under the room's lock,
        after the commit; a room that is not PAUSED stays as it is."""
        if room.status is not RoomStatus.PAUSED:
            return room
        room.status, room.paused_at = RoomStatus.ACTIVE, None
        room = await self._store.update_room(room)
        self._framework.emit("room_resumed", room_id=room.id, reason="activity")
        return room

    async def check(self, room_id: str, *, organization_id: str | None = None) -> Room:
        """Bring one room up to date: what has fallen due in it happens (R28, R29). Raises
        `RoomNotFoundError`."""
        async with self._tenancy.entered(self._locks, room_id, organization_id) as room:
            return room

    async def check_all(self, *, organization_id: str | None = None) -> list[Room]:
        """Bring every room up to date (R32), or those of one organization only; the ones that were
        due, as they are now. A room that cannot be brought up to date is logged and keeps no other
        from it."""
        async with aclosing(self._pieces(organization_id)) as pieces:
            return [room async for piece in pieces for room in piece]

    async def sweep(self) -> list[Room]:
        """One bounded piece of `check_all`."""
        return await self._check_each(await self._next(()))

    async def _pieces(self, organization_id: str | None = None) -> AsyncGenerator[list[Room]]:
        """Each due room once, as many as a piece has at a time."""
        tried: set[str] = set()
        while room_ids := await self._next(tried, past=organization_id is not None):
            tried.update(room_ids)
            yield await self._check_each(room_ids, organization_id)

    async def _next(self, tried: Collection[str], *, past: bool = False) -> list[str]:
        """What to look at next: the longest due, those that failed the last time after the others,
        so that they never fill the pieces by themselves. `past`: nor do those that were tried,
        which stay due if they are not one's own."""
        limit = self._batch + len(self._late) + (len(tried) if past else 0)
        found = await self._store.find_rooms_due(self._clock.now(), limit=limit)
        if len(found) < limit:  # these are all
            self._late.intersection_update(found)
        fresh = [room_id for room_id in found if room_id not in tried]
        fresh.sort(key=self._late.__contains__)
        return fresh[: self._batch]

    # -- in the background ------------------------------------------------------------------------

    async def start(self) -> None:
        """Sweep from now on. The store is open; idempotent."""
        if self._interval is None or self._scope is not None:
            return
        self._scope = TaskScope("timers")
        if not self._store.is_process_local or await self._store.list_rooms(limit=1):
            self._needed.set()
        self._scope.spawn(self._sweep_on(self._interval), name="sweep")

    async def close(self) -> None:
        """Stop sweeping; a transition under way is finished. Idempotent."""
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.close()

    def watch(self, room: Room) -> None:
        """A room has come up; if it has timers, there is something to sweep for."""
        if is_timed(room):
            self._needed.set()

    async def _sweep_on(self, interval: float) -> None:
        await self._needed.wait()
        while True:
            try:
                await self._sweep_for(interval)
            except Exception:  # noqa: BLE001 - the store may be back for the next sweep
                _log.exception("a sweep of idle rooms failed")
            await self._clock.sleep(interval)

    async def _sweep_for(self, seconds: float) -> None:
        """Sweep until nothing is left that is due, or that long."""
        end = self._clock.monotonic() + seconds
        async with aclosing(self._pieces()) as pieces:
            async for _ in pieces:
                if self._clock.monotonic() >= end:
                    return

    # -- a transition -----------------------------------------------------------------------------

    async def _check_each(
        self, room_ids: list[str], organization_id: str | None = None
    ) -> list[Room]:
        """The rooms that could be brought up to date, in the order given."""
        free = asyncio.Semaphore(AT_ONCE)

        async def one(room_id: str) -> Room | None:
            async with free:
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        room = await self.check(room_id, organization_id=organization_id)
                    self._late.discard(room_id)
                    return room
                except RoomNotFoundError:
                    return None
                except (SalonError, ValueError, OSError):  # TimeoutError is an OSError
                    self.failures += 1
                    _log.exception("the timers of room %s were not checked", room_id)
                    if len(self._late) < MAX_LATE:
                        self._late.add(room_id)
                    return None

        checked = await asyncio.gather(*(one(room_id) for room_id in room_ids))
        return [room for room in checked if room is not None]

    async def _turn(self, room: Room, transitions: tuple[Transition, ...]) -> Room:
        for transition in transitions:
            await self._pass_to(room, transition)
        return await self._store.get_room(room.id) or room

    async def _pass_to(self, room: Room, transition: Transition) -> None:
        """The status first, then its entry: an entry alone would be taken for activity."""
        closed = transition.status is RoomStatus.CLOSED
        room.status = transition.status
        room.paused_at = None if closed else transition.at
        room.closed_at = transition.at if closed else room.closed_at
        await self._store.update_room(room)
        name = "room_closed" if closed else "room_paused"
        at = transition.at.isoformat()
        event = await self._records.write(
            room.id,
            EventType.SYSTEM,
            f"{name}_by_timer",
            closing=True,
            threshold=transition.threshold,
            at=at,
        )
        self._framework.emit(name, room_id=room.id, reason="timer", at=at)
        trigger = HookTrigger.ON_ROOM_CLOSED if closed else HookTrigger.ON_ROOM_PAUSED
        await self._announcer.tell(trigger, event)
