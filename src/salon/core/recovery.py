"""Deliveries that a crash or an ended process left undone (R207)."""

from __future__ import annotations

import logging

from salon.core.context import Contexts
from salon.core.delivery import Delivery, DeliverySet, RootCall
from salon.core.marks import DeliveredMarks
from salon.core.permissions import INJECTED_FOR, targets
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.store import ConversationStore
from salon.models import (
    ChannelBinding,
    ChannelCategory,
    EventFilter,
    EventStatus,
    RoomContext,
    RoomEvent,
)

_log = logging.getLogger("salon.core.recovery")

ROOMS = 100
EVENTS = 200


class Recovery:
    """Plans anew what committed events still have to reach, in index order per room.

    Delivery is at least once: what was delivered in the last moments before a crash is delivered
    again. Targets are those bound now. An agent whose answer is in the timeline is not asked again.
    """

    def __init__(
        self,
        *,
        store: ConversationStore,
        locks: RoomLockManager,
        contexts: Contexts,
        delivery: Delivery,
        marks: DeliveredMarks,
    ) -> None:
        self._store = store
        self._locks = locks
        self._contexts = contexts
        self._delivery = delivery
        self._marks = marks

    async def resume(self) -> int:
        """Plan what is pending in every room; the number of events planned. Returns before they
        are delivered. One process only may do this for a shared store, while no other serves it."""
        planned, after = 0, None
        while found := await self._store.find_undelivered_rooms(limit=ROOMS, after=after):
            for room_id in found:
                planned += await self._resume_room(room_id)
            after = found[-1]
        if planned:
            _log.info("%d pending deliveries are resumed", planned)
        return planned

    async def _resume_room(self, room_id: str) -> int:
        async with self._locks.locked(room_id):
            await self._marks.flush()
            room = await self._store.get_room(room_id)
            if room is None:
                return 0
            context = await self._contexts.of(room)
            after = self._marks.undone_after(room)
            answered = await self._answered(context, after)
            planned, latest = 0, -1 if room.latest_index is None else room.latest_index
            while events := await self._store.list_events(
                room_id,
                limit=EVENTS,
                after_index=after,
                event_filter=EventFilter(include_blocked=True),
            ):
                for event in events:
                    if not self._marks.knows(room, event.index):
                        self._delivery.plan(_planned(event, context, answered), RootCall())
                        planned += 1
                after = events[-1].index
            await self._marks.resumed(room, max(latest, after))
            return planned

    async def _answered(self, context: RoomContext, after: int) -> set[tuple[str, str]]:
        """The questions put after an index that were answered, and by whom. One pass over what
        each agent wrote: answers may be pages away from their questions."""
        answered: set[tuple[str, str]] = set()
        for binding in context.bindings:
            if binding.category is not ChannelCategory.INTELLIGENCE:
                continue
            wanted = EventFilter(source_channel_id=binding.channel_id, include_blocked=True)
            at = after
            while events := await self._store.list_events(
                context.room.id, limit=EVENTS, after_index=at, event_filter=wanted
            ):
                answered.update(
                    (event.responds_to, binding.channel_id)
                    for event in events
                    if event.responds_to is not None
                )
                at = events[-1].index
        return answered


def _planned(event: RoomEvent, context: RoomContext, answered: set[tuple[str, str]]) -> DeliverySet:
    if event.status is EventStatus.BLOCKED:
        return DeliverySet(event, context)
    named = event.metadata.get(INJECTED_FOR)
    if isinstance(named, list):
        bindings = tuple(item for item in context.bindings if item.channel_id in named)
        return DeliverySet(event, context, bindings, bare=True)

    def is_pending(binding: ChannelBinding) -> bool:
        return (
            binding.category is not ChannelCategory.INTELLIGENCE
            or (event.id, binding.channel_id) not in answered
        )

    found = tuple(item for item in targets(event, context.bindings) if is_pending(item))
    return DeliverySet(event, context, found)
