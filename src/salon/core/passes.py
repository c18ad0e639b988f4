"""An event on its way into a timeline, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field

from salon.core.delivery import RootCall
from salon.core.tenancy import ANY_ROOM, Meant
from salon.models import DeliveryResult, EventStatus, RoomContext, RoomEvent


@dataclass(frozen=True, slots=True)
class Committed:
    """What a pass did. `event` is None when it was refused without a trace; an event that is not
    stored (R101) has the index it would have got."""

    event: RoomEvent | None
    reason: str | None = None
    duplicate: bool = False
    delivered: asyncio.Future[Mapping[str, DeliveryResult]] | None = None
    targets: frozenset[str] = frozenset()
    """The channels it goes to."""

    @property
    def blocked(self) -> bool:
        """Whether the event was refused."""
        return self.event is None or self.event.status is EventStatus.BLOCKED


@dataclass(frozen=True, slots=True)
class Admission:
    """What was done for an event under the lock, before its hooks: the event as it goes on, and
    whether the room was changed for it. With a `refusal` nothing of the event is written."""

    event: RoomEvent
    changed: bool = False
    refusal: str | None = None


Admit = Callable[[RoomEvent, RoomContext], Awaitable[Admission]]


@dataclass(slots=True)
class Pass:
    """An event on its way in."""

    event: RoomEvent
    root: RootCall = field(default_factory=RootCall)
    refuse: str | None = None
    """Store it BLOCKED for this reason (chain depth, loop cap) without running hooks."""
    announced: RoomEvent | None = None
    streamed: frozenset[str] = frozenset()
    admit: Admit | None = None
    """Makes the room ready for the event: its channel, its sender."""
    within: AbstractAsyncContextManager[None] = field(default_factory=nullcontext)
    """Entered and left under the lock, around all of it."""
    on_commit: Callable[[], None] = lambda: None
    """Called just before the transaction: from there on nothing may be cancelled (R205)."""
    on_stored: Callable[[], None] = lambda: None
    """Called just after it, unless it failed: what was done for the event stays."""
    meant: Meant = ANY_ROOM
    """Another room under the id is not found."""
