"""Another answer to what was said last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Container, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from salon.core.addressing import solicited
from salon.core.context import Contexts
from salon.core.delivery import Ask, Delivery, RootCall, agent_lane
from salon.core.errors import RoomClosedError
from salon.core.framework import FrameworkEvents
from salon.core.inbound import Inbound
from salon.core.lanes import LaneClosedError
from salon.core.lifecycle import Settle
from salon.core.passes import Committed
from salon.core.permissions import INJECTED_FOR, targets, write_refusal
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.store import ConversationStore
from salon.core.telemetry import carried
from salon.core.tenancy import Tenancy
from salon.core.timeline import MAX_WAITING
from salon.models import (
    ChannelCategory,
    DeliveryResult,
    EventFilter,
    EventStatus,
    EventType,
    InboundResult,
    RoomContext,
    RoomEvent,
)

MAX_BACK = 1000
"""How many messages back something to answer is looked for."""
_PAGE = 100
_MESSAGES = EventFilter(event_types=[EventType.MESSAGE])


@dataclass(slots=True)
class _Turn:
    """One regeneration on its way."""

    target: RoomEvent
    root: RootCall
    made: datetime
    """When its room was created: another of its id is not asked (R211)."""
    asked: asyncio.Future[Mapping[str, DeliveryResult]] | None = None
    closed: bool = False
    """The room was closed before its turn came."""


class Regeneration:
    """Puts the last message of a person to the agents once more.

    The message keeps its place, is delivered to nobody again, and none of its hooks run again. The
    new answers come in like first ones, with gates, hooks and limits; the old ones stay unless the
    host deletes them before.
    """

    def __init__(
        self,
        *,
        store: ConversationStore,
        locks: RoomLockManager,
        contexts: Contexts,
        delivery: Delivery,
        inbound: Inbound,
        framework: FrameworkEvents,
        ask: Ask,
        settle: Settle,
        timeout: float = 30.0,
    ) -> None:
        """`timeout` bounds the wait for the room, in seconds."""
        self._store = store
        self._locks = locks
        self._contexts = contexts
        self._delivery = delivery
        self._inbound = inbound
        self._framework = framework
        self._ask = ask
        self._timeout = timeout
        self._tenancy = Tenancy(store, settle)

    async def target(self, room_id: str, *, organization_id: str | None = None) -> RoomEvent | None:
        """The message that `regenerate_response` would have answered now: the newest that a
        transport brought in and nobody refused or withdrew; None if there is none among the last
        `MAX_BACK` messages, or its channel may not write any more. Raises `RoomNotFoundError` and
        `RoomClosedError`."""
        room = await self._tenancy.room(room_id, organization_id)
        if not room.status.accepts_events:
            raise RoomClosedError(room_id)
        return await self._target(await self._contexts.of(room))

    async def run(
        self,
        room_id: str,
        *,
        trigger_id: str | None = None,
        organization_id: str | None = None,
    ) -> InboundResult | None:
        """Have the agents answer the `target` anew; returns when they did, or at once if called
        from inside the room's own work (R128). The answers are in `response_events`.

        None if there is nothing to answer. Refused as `trigger_moved` if `trigger_id` is not the
        target any more, `room_closed` before any agent is asked (R21), `process_timeout` if the
        room was locked for too long. Raises `RoomNotFoundError`, and `LaneClosedError` once the
        framework is closed."""
        root = RootCall()
        try:
            async with asyncio.timeout(self._timeout) as budget:
                planned = await self._plan(room_id, trigger_id, organization_id, root, budget)
        except TimeoutError:
            if not budget.expired():
                raise
            self._framework.emit("process_timeout", room_id=room_id)
            return _refused("process_timeout")
        if not isinstance(planned, _Turn):
            return planned
        committed = Committed(planned.target, delivered=planned.asked)
        result = await self._inbound.finish(committed, root, detached=False)
        return _refused("room_closed") if planned.closed else result

    async def _plan(
        self,
        room_id: str,
        trigger_id: str | None,
        organization_id: str | None,
        root: RootCall,
        budget: asyncio.Timeout,
    ) -> _Turn | InboundResult | None:
        """Choose the target under the lock, and put the question behind what is being delivered."""
        async with self._tenancy.entered(self._locks, room_id, organization_id) as room:
            context = await self._contexts.of(room)
            target = await self._target(context)
            if not room.status.accepts_events:
                self._framework.emit("room_refused_event", room_id=room_id)
                return _refused("room_closed")
            if trigger_id is not None and (target is None or target.id != trigger_id):
                return _refused("trigger_moved")
            if target is None:
                return None
            if self._delivery.rooms.closed:
                raise LaneClosedError("the framework is closed")
            if self._delivery.waiting(context) >= MAX_WAITING:
                return _refused("room_busy")
            if budget.expired():
                raise TimeoutError
            budget.reschedule(None)  # from here on it is going to happen (R205)
            turn = _Turn(target, root, room.created_at)
            turn.asked = self._delivery.rooms.put(room_id, carried(lambda: self._put(turn)))
            return turn

    async def _target(self, context: RoomContext) -> RoomEvent | None:
        """What the agents would be asked about: see `target`."""
        transports = {
            binding.channel_id: binding
            for binding in context.bindings
            if binding.category is ChannelCategory.TRANSPORT
        }
        async with aclosing(self._back(context)) as messages:
            async for event in messages:
                if _is_question(event, transports):
                    refusal = write_refusal(transports[event.source.channel_id])
                    return event if refusal is None else None
        return None

    async def _back(self, context: RoomContext) -> AsyncGenerator[RoomEvent]:
        """The messages of a room, the newest first: those at hand, then pages of the store."""
        page: Sequence[RoomEvent] = context.recent_events
        seen = 0
        while page:
            for event in reversed(page):
                yield event
            seen += len(page)
            page = (
                await self._store.list_events(
                    context.room.id,
                    limit=min(_PAGE, MAX_BACK - seen),
                    newest_first=True,
                    before_index=page[0].index,
                    event_filter=_MESSAGES,
                )
                if seen < MAX_BACK
                else ()
            )

    async def _put(self, turn: _Turn) -> Mapping[str, DeliveryResult]:
        """In the room's lane: ask each agent that may see the target, in its own lane."""
        target, room_id = turn.target, turn.target.room_id
        context = await self._contexts.again(room_id, turn.made)
        if context is None:
            return {}
        if not context.room.status.accepts_events:
            turn.closed = True
            self._framework.emit("room_refused_event", room_id=room_id, event_id=target.id)
            return {}
        for binding in targets(target, context.bindings):
            if binding.category is not ChannelCategory.INTELLIGENCE:
                continue
            if solicited(target, context.room, binding, from_agent=False):
                job = carried(partial(self._ask, target, binding, turn.root, turn.made))
                lane = agent_lane(room_id, binding.channel_id)
                turn.root.pending.append(self._delivery.agents.put(lane, job))
        return {}


def _is_question(event: RoomEvent, transports: Container[str]) -> bool:
    """Whether agents could be asked about it."""
    return (
        event.source.channel_id in transports
        and event.status is not EventStatus.BLOCKED
        and event.metadata.get("deleted") is not True
        and INJECTED_FOR not in event.metadata  # never answered (R145)
    )


def _refused(reason: str) -> InboundResult:
    return InboundResult(None, True, reason)
