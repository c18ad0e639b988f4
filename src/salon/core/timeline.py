"""The one way into a timeline: lock, gates, hooks, commit, plan (stages 6 to 13 of chapter 11)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from salon.base import SYSTEM_CLOCK, Clock, SalonError
from salon.core.context import Contexts
from salon.core.delivery import Delivery, DeliverySet, RootCall
from salon.core.effects import SideEffects
from salon.core.errors import RoomNotFoundError
from salon.core.framework import FrameworkEvents
from salon.core.hooks import HookOutcome, HookRegistry
from salon.core.permissions import targets, write_refusal
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.store import ConversationStore
from salon.models import (
    DeliveryResult,
    EventStatus,
    HookTrigger,
    InjectedEvent,
    Room,
    RoomContext,
    RoomEvent,
)
from salon.models.base import utc_now

_log = logging.getLogger("salon.core.timeline")

T = TypeVar("T")

MAX_WAITING = 1024
"""Delivery sets that may wait in one room; beyond, new events are refused as `room_busy`."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a pass did. `event` is None when nothing was stored."""

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


@dataclass(slots=True)
class Pass:
    """An event on its way in."""

    event: RoomEvent
    root: RootCall = field(default_factory=RootCall)
    refuse: str | None = None
    """Store it BLOCKED for this reason (chain depth, loop cap) without running hooks."""
    announced: RoomEvent | None = None
    streamed: frozenset[str] = frozenset()
    on_commit: Callable[[], None] = lambda: None
    """Called just before the transaction: from there on nothing may be cancelled (R205)."""


class Timeline:
    """Serialises the passes of each room. `listeners` hear every committed event, under the lock,
    synchronously."""

    def __init__(
        self,
        *,
        store: ConversationStore,
        locks: RoomLockManager,
        hooks: HookRegistry,
        framework: FrameworkEvents,
        contexts: Contexts,
        delivery: Delivery,
        effects: SideEffects,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._store = store
        self._locks = locks
        self._hooks = hooks
        self._framework = framework
        self._contexts = contexts
        self._delivery = delivery
        self._effects = effects
        self._clock = clock
        self.listeners: list[Callable[[RoomEvent], None]] = []

    async def run(self, item: Pass) -> Committed:
        """One pass. Raises `RoomNotFoundError`; every other refusal is in the result."""
        event = item.event
        async with self._locks.locked(event.room_id):
            room = await self._store.get_room(event.room_id)
            if room is None:
                raise RoomNotFoundError(event.room_id)
            if not room.status.accepts_events:
                self._refused(room.id, event)
                return Committed(None, "room_closed")
            first = await self._first(event)
            if first is not None:
                return Committed(first, _refusal(first), duplicate=True)
            context = await self._contexts.of(room)
            if self._delivery.waiting(context) >= MAX_WAITING:
                return Committed(None, "room_busy")
            event = event.model_copy(update={"index": room.event_count})
            if item.refuse is not None:
                outcome = HookOutcome(event, blocked=True, blocked_by=item.refuse)
            else:
                outcome = await self._decide(event, context)
                if not await self._open(room.id):  # a hook may have closed it
                    return Committed(None, "room_closed")
            item.on_commit()
            return await _unbroken(self._commit(item, outcome, context))

    async def record(self, event: RoomEvent, *, closing: bool = False) -> RoomEvent | None:
        """A lifecycle entry: committed and delivered without hooks (R34). Only that of the closing
        itself passes the status gate (R24); None if it was refused."""
        async with self._locks.locked(event.room_id):
            room = await self._store.get_room(event.room_id)
            if room is None:
                return None
            if not (closing or room.status.accepts_events):
                self._refused(room.id, event)
                return None
            context = await self._contexts.of(room)
            ready = event.model_copy(update={"status": EventStatus.DELIVERED})
            return await _unbroken(self._record(ready, context))

    async def _record(self, event: RoomEvent, context: RoomContext) -> RoomEvent:
        stored = await self._append(event)
        self._plan(stored, context, RootCall())
        return stored

    def _refused(self, room_id: str, event: RoomEvent) -> None:
        self._framework.emit("room_refused_event", room_id=room_id, event_id=event.id)

    async def _open(self, room_id: str) -> bool:
        room = await self._store.get_room(room_id)
        return room is not None and room.status.accepts_events

    async def _first(self, event: RoomEvent) -> RoomEvent | None:
        """The event that already has this idempotency key (R195, R196)."""
        if event.idempotency_key is None:
            return None
        return await self._store.get_event_by_idempotency_key(event.room_id, event.idempotency_key)

    async def _decide(self, event: RoomEvent, context: RoomContext) -> HookOutcome:
        outcome = await self._hooks.decide(HookTrigger.BEFORE_BROADCAST, event, context)
        if not outcome.blocked:
            refusal = write_refusal(context.binding(event.source.channel_id))
            if refusal is not None:
                outcome.blocked, outcome.blocked_by, outcome.reason = True, refusal, refusal
        return outcome

    async def _commit(self, item: Pass, outcome: HookOutcome, context: RoomContext) -> Committed:
        event: RoomEvent = outcome.payload
        status = EventStatus.BLOCKED if outcome.blocked else EventStatus.DELIVERED
        event = event.model_copy(
            update={
                "id": item.event.id,
                "room_id": item.event.room_id,
                "chain_depth": item.event.chain_depth,
                "status": status,
                "blocked_by": outcome.blocked_by if outcome.blocked else None,
            }
        )
        stored = await self._append(event)
        reason = outcome.reason or outcome.blocked_by
        delivered, reached = self._plan(stored, context, item.root, item=item)
        await self._inject(outcome.injected, context, item.root)
        await self._effects.keep(outcome.tasks, outcome.observations)
        if outcome.blocked:
            self._framework.emit(
                "event_blocked",
                room_id=stored.room_id,
                event_id=stored.id,
                blocked_by=outcome.blocked_by,
                reason=reason,
            )
            return Committed(stored, reason, delivered=delivered)
        self._framework.emit("event_processed", room_id=stored.room_id, event_id=stored.id)
        return Committed(stored, delivered=delivered, targets=reached)

    async def _append(self, event: RoomEvent) -> RoomEvent:
        """The transaction, and whoever listens to commits."""
        stored = await self._store.commit_event(event, at=utc_now())
        for listener in list(self.listeners):
            try:
                listener(stored)
            except Exception:  # noqa: BLE001 - a listener must not undo a commit
                _log.exception("a commit listener failed")
        return stored

    def _plan(
        self, event: RoomEvent, context: RoomContext, root: RootCall, *, item: Pass | None = None
    ) -> tuple[asyncio.Future[Mapping[str, DeliveryResult]], frozenset[str]]:
        """Every index goes through the lane, also one without targets (R138)."""
        recent = (*context.recent_events, event)
        context = RoomContext(context.room, context.bindings, context.participants, recent)
        blocked = event.status is EventStatus.BLOCKED
        delivery_set = DeliverySet(
            event,
            context,
            () if blocked else targets(event, context.bindings),
            announced=item.announced if item else None,
            streamed=item.streamed if item else frozenset(),
        )
        reached = frozenset(binding.channel_id for binding in delivery_set.targets)
        return self._delivery.plan(delivery_set, root), reached

    async def _inject(
        self, injected: list[InjectedEvent], context: RoomContext, root: RootCall
    ) -> None:
        """Events that hooks add, above the one that caused them (R143-R145)."""
        for addition in injected:
            event = addition.event.model_copy(
                update={"room_id": context.room.id, "status": EventStatus.DELIVERED}
            )
            try:
                # not told as a commit: who gets it is for the hook to say (R143)
                stored = await self._store.commit_event(event, at=utc_now())
            except (SalonError, ValueError):
                _log.exception("an injected event was not stored")
                continue
            named = addition.target_channel_ids or ()
            bindings = tuple(item for item in context.bindings if item.channel_id in named)
            self._delivery.plan(DeliverySet(stored, context, bindings, bare=True), root)


async def _unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end even if the caller is cancelled meanwhile; the cancellation rises
    after it. What was begun under the lock ends under the lock (R205)."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if task.exception() is not None:
            _log.error("a commit failed", exc_info=task.exception())
        raise cancelled
    return task.result()


def _refusal(event: RoomEvent) -> str | None:
    return event.blocked_by if event.status is EventStatus.BLOCKED else None


__all__ = ["MAX_WAITING", "Committed", "Pass", "Room", "Timeline"]
