"""The one way into a timeline: lock, gates, hooks, commit, plan (stages 6 to 13 of chapter 11)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, Protocol

from salon.base import SYSTEM_CLOCK, Clock, IdFactory, SalonError, is_at_once, new_id, unbroken
from salon.core.context import Contexts
from salon.core.copying import altered
from salon.core.delivery import Delivery, DeliverySet, RootCall
from salon.core.effects import SideEffects
from salon.core.errors import RoomNotFoundError
from salon.core.fitness import check_event
from salon.core.framework import FrameworkEvents
from salon.core.hooks import HookOutcome, HookRegistry
from salon.core.lanes import LaneClosedError
from salon.core.mutations import TARGET_NOT_FOUND, Mutation, Mutations
from salon.core.passes import Committed, Pass
from salon.core.payloads import Trim
from salon.core.permissions import INJECTED_FOR, effective_scope, targets, write_refusal
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.store import ConversationStore, EventNotFoundError
from salon.core.ports.telemetry import SpanKind
from salon.core.telemetry import NO_TRACER, Tracer
from salon.core.tenancy import ANY_ROOM, Meant
from salon.core.tickets import Tickets
from salon.models import (
    DeliveryResult,
    EventStatus,
    HookTrigger,
    InjectedEvent,
    PersistencePolicy,
    Room,
    RoomContext,
    RoomEvent,
    RoomStatus,
)

_log = logging.getLogger("salon.core.timeline")

MAX_WAITING = 1024
"""Delivery sets that may wait in one room; beyond, new events are refused as `room_busy`."""


class RoomTimes(Protocol):
    """What the timeline needs of the timers of rooms."""

    async def apply(self, room: Room) -> Room: ...

    async def resumed(self, room: Room) -> Room: ...


class Timeline:
    """Serialises the passes of each room. `listeners` hear every committed event, under the lock,
    synchronously. `policy` says which events are stored (R101), `trim` makes of an event what is
    kept and delivered of it (R268)."""

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
        mutations: Mutations,
        timers: Callable[[], RoomTimes],
        policy: PersistencePolicy | None = None,
        trim: Trim | None = None,
        clock: Clock = SYSTEM_CLOCK,
        tracer: Tracer = NO_TRACER,
        ids: IdFactory = new_id,
    ) -> None:
        self._ids = ids
        self._store = store
        self._locks = locks
        self._hooks = hooks
        self._framework = framework
        self._contexts = contexts
        self._delivery = delivery
        self._effects = effects
        self._mutations = mutations
        self._timers = timers
        self._policy = policy
        self._trim = trim
        self._clock = clock
        self._tracer = tracer
        self._tickets = Tickets()
        self.listeners: list[Callable[[RoomEvent], None]] = []

    async def run(self, item: Pass) -> Committed:
        """One pass. Raises `RoomNotFoundError`, `InvalidEventError` and, when the framework closes,
        `LaneClosedError`; every other refusal is in the result."""
        with self._tracer.root(SpanKind.CUSTOM, "process_event", room_id=item.event.room_id):
            return await self._run(item)

    def waits_for_caller(self) -> bool:
        """Whether some room takes no event before the caller is done: it has its lock or turn."""
        return self._locks.holds_any() or self._tickets.holds_any()

    async def _run(self, item: Pass) -> Committed:
        event = item.event
        check_event(event)
        room_id = event.room_id
        if item.refuse is not None or not self._hooks.runs_unlocked(room_id):
            return await self._locked(item, None)
        if self._tickets.held(room_id) or self._locks.held(room_id):
            return await self._locked(item, None)  # a hook's own event (R128)
        async with self._tickets.ticket(room_id) as turn:
            context = await self._contexts.build(room_id)
            item.meant.check(context.room)
            if not context.room.status.accepts_events or await self._first(event) is not None:
                return await self._locked(item, None)  # refused there, before any hook
            early = await self._hooks.decide(
                HookTrigger.BEFORE_BROADCAST, event, context, locked=False
            )
            if turn is not None:
                await asyncio.shield(turn)
            return await self._locked(item, early)

    async def _locked(self, item: Pass, early: HookOutcome | None) -> Committed:
        """Stages 6 to 12. `early` is what hooks said that do not need the lock."""
        room_id = item.event.room_id
        async with self._locks.locked(room_id), item.within:
            room = await self._ready(room_id, item.meant)
            if not room.status.accepts_events:
                return self._refused(item.event)
            first = await self._first(item.event)
            if first is not None:
                return Committed(first, _refusal(first), duplicate=True)
            if self._delivery.rooms.closed:
                raise LaneClosedError("the framework is closed")
            context = await self._contexts.of(room)
            if self._delivery.rooms.waiting(room_id) >= MAX_WAITING:
                return Committed(None, "room_busy")
            event = item.event if early is None else _kept(item.event, early.payload)
            event, target, refusal = await self._mutations.prepare(event, context)
            if refusal is not None:
                return Committed(None, refusal)
            if item.admit is not None:
                admission = await item.admit(event, context)
                if admission.refusal is not None:
                    return Committed(None, admission.refusal)
                event = admission.event
                if admission.changed:
                    context = await self._contexts.build(room_id)
            event = altered(event, {"index": context.room.event_count})
            hooked = self._hooks.wants(HookTrigger.BEFORE_BROADCAST, room_id)
            outcome = await self._decide(item, event, context, early)
            async with self._locks.alone(room_id) if hooked else nullcontext():
                return await self._conclude(item, event, outcome, context, target, hooked=hooked)

    async def _conclude(
        self,
        item: Pass,
        event: RoomEvent,
        outcome: HookOutcome,
        context: RoomContext,
        target: RoomEvent | None,
        *,
        hooked: bool,
    ) -> Committed:
        """Stages 8 to 12, in the room as hooks left it."""
        if hooked:
            made = context.room.created_at
            room = await self._ready(event.room_id, Meant(made=made))
            if not room.status.accepts_events:  # a hook may have closed it
                return self._refused(event)
            if room.revision != context.room.revision:
                context = await self._contexts.of(room)
        if not outcome.blocked:
            refusal = write_refusal(context.binding(event.source.channel_id))
            if refusal is not None:
                outcome.blocked, outcome.blocked_by, outcome.reason = True, refusal, refusal
        if hooked and target is not None and not outcome.blocked:
            target = await self._mutations.found(target)
            if target is None:
                return Committed(None, TARGET_NOT_FOUND)
        item.on_commit()
        try:
            work = self._commit(item, event, outcome, context, target)
            return await (work if self._is_at_once(event, outcome, context) else unbroken(work))
        except EventNotFoundError:
            return Committed(None, TARGET_NOT_FOUND)  # another process deleted it
        except ValueError:
            first = await self._first(event)  # another process was faster
            if first is None:
                raise
            return Committed(first, _refusal(first), duplicate=True)

    def _is_at_once(self, event: RoomEvent, outcome: HookOutcome, context: RoomContext) -> bool:
        """Whether nothing of the commit waits, so that nothing can break it."""
        return (
            is_at_once(self._store.commit_event)
            and (self._policy is None or self._policy.should_persist(event.type))
            and context.room.status is not RoomStatus.PAUSED
            and not (outcome.injected or outcome.tasks or outcome.observations)
        )

    async def record(
        self, event: RoomEvent, *, closing: bool = False, meant: Meant = ANY_ROOM
    ) -> RoomEvent | None:
        """A lifecycle entry: committed and delivered without hooks (R34). Only that of the closing
        itself passes the status gate (R24); None if it was refused, or the room is gone."""
        async with self._locks.locked(event.room_id):
            room = await self._store.get_room(event.room_id)
            if room is None:
                return None
            try:
                meant.check(room)
            except RoomNotFoundError:
                return None
            if not (closing or room.status.accepts_events):
                self._refused(event)
                return None
            context = await self._contexts.of(room)
            ready = event.model_copy(update={"status": EventStatus.DELIVERED})
            return await unbroken(self._record(ready, context))

    async def inject(
        self,
        injected: Iterable[InjectedEvent],
        room_id: str,
        root: RootCall,
        meant: Meant = ANY_ROOM,
    ) -> bool:
        """Events that identity hooks send to somebody whose message is held back; False if the
        room takes none (R176)."""
        async with self._locks.locked(room_id):
            room = await self._ready(room_id, meant)
            if not room.status.accepts_events:
                return False
            context = await self._contexts.of(room)
            await unbroken(self._inject(injected, context, root))
            return True

    async def _record(self, event: RoomEvent, context: RoomContext) -> RoomEvent:
        if self._trim is not None:
            event = self._trim(event)
        with self._tracer.root(SpanKind.CUSTOM, "process_event", room_id=event.room_id):
            keep = self._policy is None or self._policy.should_persist(event.type)
            if keep:
                event = await self._append(event)
            else:
                event = event.model_copy(update={"index": context.room.event_count})
            self._plan(event, context, RootCall(), keep=keep)
        return event

    async def _ready(self, room_id: str, meant: Meant) -> Room:
        """The room as it is now that the time is what it is (AMB-4)."""
        room = await self._store.get_room(room_id)
        if room is None:
            raise RoomNotFoundError(room_id)
        meant.check(room)
        if room.timers.inactive_after_seconds is None and room.timers.closed_after_seconds is None:
            return room
        return await self._timers().apply(room)

    def _refused(self, event: RoomEvent) -> Committed:
        self._framework.emit("room_refused_event", room_id=event.room_id, event_id=event.id)
        return Committed(None, "room_closed")

    async def _first(self, event: RoomEvent) -> RoomEvent | None:
        """The event that already has this idempotency key (R195, R196)."""
        if event.idempotency_key is None:
            return None
        return await self._store.get_event_by_idempotency_key(
            event.room_id, event.idempotency_key, channel_id=event.source.channel_id
        )

    async def _decide(
        self, item: Pass, event: RoomEvent, context: RoomContext, early: HookOutcome | None
    ) -> HookOutcome:
        if item.refuse is not None:
            return HookOutcome(event, blocked=True, blocked_by=item.refuse)
        if early is not None and early.blocked:
            early.payload = event
            return early
        outcome = await self._hooks.decide(
            HookTrigger.BEFORE_BROADCAST, event, context, locked=None if early is None else True
        )
        return outcome if early is None else early.before(outcome)

    async def _commit(
        self,
        item: Pass,
        event: RoomEvent,
        outcome: HookOutcome,
        context: RoomContext,
        target: RoomEvent | None,
    ) -> Committed:
        left = _kept(event, outcome.payload)
        source = context.binding(left.source.channel_id)
        scope = left.visibility
        if source is not None:  # what it may show then, it may show ever after (R83)
            scope = effective_scope(scope, source.visibility, context.bindings)
        if target is not None:  # nor does a hook show a change to more than saw what is changed
            scope = effective_scope(scope, target.visibility, context.bindings)
        event = altered(
            left,
            {
                "visibility": scope,
                "status": EventStatus.BLOCKED if outcome.blocked else EventStatus.DELIVERED,
                "blocked_by": outcome.blocked_by if outcome.blocked else None,
            },
        )
        if self._trim is not None:
            event = self._trim(event)
        mutation = None if outcome.blocked else self._mutations.applied(event, target)
        changed = None if mutation is None else mutation.target
        keep = self._policy is None or outcome.blocked or self._policy.should_persist(event.type)
        stored = await (self._append if keep else self._pass_on)(event, changed)
        item.on_stored()
        reason = outcome.reason or outcome.blocked_by
        delivered, reached = self._plan(
            stored, context, item.root, item=item, mutation=mutation, keep=keep
        )
        if outcome.injected:
            await self._inject(outcome.injected, context, item.root)
        if outcome.tasks or outcome.observations:
            await self._effects.keep(outcome.tasks, outcome.observations)
        if outcome.blocked:
            self._framework.emit(
                "event_blocked",
                room_id=stored.room_id,
                event_id=stored.id,
                hook_name=outcome.blocked_by,
                blocked_by=outcome.blocked_by,
                reason=reason,
            )
            return Committed(stored, reason, delivered=delivered)
        if keep and context.room.status is RoomStatus.PAUSED:
            await self._timers().resumed(context.room)
        self._framework.emit("event_processed", room_id=stored.room_id, event_id=stored.id)
        return Committed(stored, delivered=delivered, targets=reached)

    async def _append(self, event: RoomEvent, target: RoomEvent | None = None) -> RoomEvent:
        """The transaction, and whoever listens to commits."""
        told = _log.isEnabledFor(logging.INFO)
        began = self._clock.monotonic() if told else 0.0
        try:
            with self._tracer.span(SpanKind.STORE_QUERY, "store_event", room_id=event.room_id):
                stored = await self._store.commit_event(event, at=self._clock.now(), target=target)
        except BaseException as error:
            if await self._is_refusal(error, event):
                _log.debug("event %s was refused: %s", event.id, error, extra=_facts(event))
            else:
                _log.error("event %s was not stored", event.id, exc_info=True, extra=_facts(event))
            raise
        if told:
            took = round((self._clock.monotonic() - began) * 1000, 3)
            _log.info("event stored", extra={**_facts(stored), "latency_ms": took})
        self._contexts.committed(stored)
        for listener in list(self.listeners):
            try:
                listener(stored)
            except Exception:  # noqa: BLE001 - a listener must not undo a commit
                _log.exception("a commit listener failed")
        return stored

    async def _is_refusal(self, error: BaseException, event: RoomEvent) -> bool:
        """Whether another process was faster: it stored the same, or deleted what was to change."""
        if isinstance(error, EventNotFoundError):
            return True
        return isinstance(error, ValueError) and await self._first(event) is not None

    async def _pass_on(self, event: RoomEvent, target: RoomEvent | None = None) -> RoomEvent:
        """An event that is delivered and not stored (R101): of an edit or a delete stays what it
        makes of its target."""
        if target is not None and await self._store.update_event(target) is None:
            raise EventNotFoundError(event.room_id, target.id)
        _log.debug("event passed on, not stored", extra=_facts(event))
        return event

    def _plan(
        self,
        event: RoomEvent,
        context: RoomContext,
        root: RootCall,
        *,
        item: Pass | None = None,
        mutation: Mutation | None = None,
        keep: bool = True,
    ) -> tuple[asyncio.Future[Mapping[str, DeliveryResult]], frozenset[str]]:
        """Every index goes through the lane, also one without targets (R138). What is not kept
        joins it behind the last committed event."""
        recent = (*context.recent_events, event)
        context = RoomContext(context.room, context.bindings, context.participants, recent)
        blocked = event.status is EventStatus.BLOCKED
        delivery_set = DeliverySet(
            event,
            context,
            () if blocked else targets(event, context.bindings),
            announced=item.announced if item else None,
            streamed=item.streamed if item else frozenset(),
            mutation=mutation,
            stored=keep,
        )
        reached = frozenset(binding.channel_id for binding in delivery_set.targets)
        return self._delivery.plan(delivery_set, root), reached

    async def _inject(
        self, injected: Iterable[InjectedEvent], context: RoomContext, root: RootCall
    ) -> None:
        """Events that hooks add, above the one that caused them (R143-R145)."""
        for addition in injected:
            named = addition.target_channel_ids or ()
            update: dict[str, Any] = {
                "room_id": context.room.id,
                "status": EventStatus.DELIVERED,
            }
            update["metadata"] = {**addition.event.metadata, INJECTED_FOR: list(named)}
            update["visibility"] = ",".join(named) or "none"  # also when the past is looked at
            if await self._store.get_event(addition.event.id, context.room.id) is not None:
                update |= {"id": self._ids(), "idempotency_key": None}  # a copy of another event
            event = addition.event.model_copy(update=update)
            if self._trim is not None:
                event = self._trim(event)
            try:
                # not told as a commit: who gets it is for the hook to say (R143)
                stored = await self._store.commit_event(event, at=self._clock.now())
            except (SalonError, ValueError):
                _log.exception("an injected event was not stored")
                continue
            self._contexts.committed(stored)
            bindings = tuple(item for item in context.bindings if item.channel_id in named)
            self._delivery.plan(DeliverySet(stored, context, bindings, bare=True), root)


def _facts(event: RoomEvent) -> dict[str, Any]:
    """The event in a log (R260)."""
    return {
        "room_id": event.room_id,
        "event_id": event.id,
        "channel_id": event.source.channel_id,
        "provider": event.source.provider,
        "chain_depth": event.chain_depth,
        "status": event.status.value,
    }


def _kept(event: RoomEvent, left: RoomEvent) -> RoomEvent:
    """An event as hooks left it, but for what is not theirs to change."""
    if left is event:
        return event
    return left.model_copy(
        update={
            "id": event.id,
            "room_id": event.room_id,
            "chain_depth": event.chain_depth,
            "index": event.index,
        }
    )


def _refusal(event: RoomEvent) -> str | None:
    return event.blocked_by if event.status is EventStatus.BLOCKED else None
