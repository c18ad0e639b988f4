"""What the services of rooms, bindings, participants and timers have in common: their entries in
the timeline and how these are announced (R34)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol

from salon.base import Clock
from salon.core.context import Contexts
from salon.core.errors import RoomNotFoundError
from salon.core.hooks import HookRegistry
from salon.core.observers import Observers
from salon.core.ports.locks import RoomLockManager
from salon.models import (
    ChannelType,
    EventSource,
    EventType,
    HookTrigger,
    Room,
    RoomContext,
    RoomEvent,
    SystemContent,
)

Settle = Callable[[Room], Awaitable[Room]]
"""What is due in a room just read under its lock happens first (R32): `Timers.apply`."""


class Recorder(Protocol):
    """What the services need of the timeline."""

    async def record(self, event: RoomEvent, *, closing: bool = False) -> RoomEvent | None:
        """`closing`: the record of a transition of the room itself, which alone passes the status
        gate (R24). No record resumes a room or sets off its timers."""


async def as_it_is(room: Room) -> Room:
    """A `Settle` without timers."""
    return room


class Announcer:
    """Tells hooks what happened to a room."""

    def __init__(
        self,
        *,
        locks: RoomLockManager,
        contexts: Contexts,
        hooks: HookRegistry,
        observers: Observers,
    ) -> None:
        self._locks = locks
        self._contexts = contexts
        self._hooks = hooks
        self._observers = observers

    async def announce(self, trigger: HookTrigger, event: RoomEvent) -> None:
        """Returns when the hooks have run; under the lock of the room at once, except that a room
        which a message makes is furnished by the hooks of its creation, so that the message waits
        for them (AMB-3). A room that is gone by now has nobody to tell."""
        if not self._hooks.wants(trigger, event.room_id):
            return
        if self._locks.held(event.room_id) and trigger is not HookTrigger.ON_ROOM_CREATED:
            await self.tell(trigger, event)
        elif (context := await self._context(event)) is not None:
            await self._hooks.observe(trigger, event, context)

    async def tell(self, trigger: HookTrigger, event: RoomEvent) -> None:
        """The same without waiting for the hooks."""
        if (
            self._hooks.wants(trigger, event.room_id)
            and (context := await self._context(event)) is not None
        ):
            self._observers.tell(trigger, event, context)

    async def _context(self, event: RoomEvent) -> RoomContext | None:
        try:
            return await self._contexts.build(event.room_id)
        except RoomNotFoundError:
            return None


def system_event(
    room_id: str,
    kind: EventType,
    code: str,
    *,
    created_at: datetime | None = None,
    **data: Any,
) -> RoomEvent:
    """A lifecycle entry (R34)."""
    event = RoomEvent(
        room_id=room_id,
        type=kind,
        source=EventSource(channel_id="system", channel_type=ChannelType.SYSTEM),
        content=SystemContent(code=code, body=code.replace("_", " "), data=data),
        visibility="internal",
    )
    return event if created_at is None else event.model_copy(update={"created_at": created_at})


class Records:
    """Writes lifecycle entries."""

    def __init__(self, timeline: Callable[[], Recorder], clock: Clock) -> None:
        self._timeline = timeline
        self._clock = clock

    async def write(
        self, room_id: str, kind: EventType, code: str, *, closing: bool = False, **data: Any
    ) -> RoomEvent:
        """The entry as stored; as it would have been if the room is closed (R21)."""
        event = system_event(room_id, kind, code, created_at=self._clock.now(), **data)
        return await self._timeline().record(event, closing=closing) or event
