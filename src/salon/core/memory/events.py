"""Timelines in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from salon.base import at_once
from salon.core.memory.copies import owned, owned_event, owned_map
from salon.core.memory.data import RoomData, aware
from salon.core.memory.part import MemoryPart, forget
from salon.core.ports.store import EventNotFoundError, due_at, may_change
from salon.models import RoomEvent
from salon.models.filters import EventFilter, ThreadSummary, effective_filter


class MemoryEvents(MemoryPart):
    """Commits, pages, changes of what is stored."""

    @at_once
    async def commit_event(
        self, event: RoomEvent, *, at: datetime, target: RoomEvent | None = None
    ) -> RoomEvent:
        if target is not None and not may_change(event, target):
            raise EventNotFoundError(event.room_id, target.id)
        data = self._of(event.room_id)
        data.timeline.check((event,))
        if target is not None and data.timeline.get(target.id) is None:
            raise EventNotFoundError(event.room_id, target.id)
        (stored,) = self._append(data, (event,), at)
        if target is not None:
            self._replace(data, target)
        return stored

    async def commit_events(self, batch: Sequence[RoomEvent], *, at: datetime) -> list[RoomEvent]:
        if not batch:
            return []
        room_id = batch[0].room_id
        if any(event.room_id != room_id for event in batch):
            raise ValueError("a batch of events belongs to one room")
        data = self._of(room_id)
        data.timeline.check(batch)
        return self._append(data, batch, at)

    def _append(self, data: RoomData, batch: Sequence[RoomEvent], at: datetime) -> list[RoomEvent]:
        index = -1 if data.latest_index is None else data.latest_index
        stored = []
        for event in batch:
            index += 1
            kept = owned_event(event, index)
            data.timeline.add(kept)
            places = self._with_event
            places[kept.id] = (*places[kept.id], data) if kept.id in places else (data,)
            stored.append(kept)
        data.event_count += len(stored)
        data.latest_index = index
        before = data.last_activity_at
        data.updated_at = data.last_activity_at = at
        self._note_delivery(data)
        if before is not None and aware(at) < aware(before):  # the deadline came nearer
            self._deadlines.note(data.room.id, due_at(data.read()))
        return stored

    def _replace(self, data: RoomData, event: RoomEvent) -> RoomEvent | None:
        known = data.timeline.get(event.id)
        if known is None:
            return None
        stored = owned(
            event,
            index=known.index,
            idempotency_key=known.idempotency_key,
            delivery_results=known.delivery_results,
        )
        data.timeline.replace(stored)
        data.revision += 1
        return stored

    async def get_event(self, event_id: str, room_id: str | None = None) -> RoomEvent | None:
        if room_id is not None:
            data = self._rooms.get(room_id)
            return None if data is None else data.timeline.get(event_id)
        places = self._with_event.get(event_id, ())
        found = [event for data in places if (event := data.timeline.get(event_id)) is not None]
        return min(found, key=lambda event: (event.created_at, event.room_id), default=None)

    async def get_event_by_idempotency_key(
        self, room_id: str, key: str, *, channel_id: str | None = None
    ) -> RoomEvent | None:
        data = self._rooms.get(room_id)
        return None if data is None else data.timeline.under_key(key, channel_id)

    async def list_events(
        self,
        room_id: str,
        offset: int = 0,
        limit: int = 50,
        visibility_filter: str | None = None,
        *,
        newest_first: bool = False,
        after_index: int | None = None,
        before_index: int | None = None,
        event_filter: EventFilter | None = None,
    ) -> list[RoomEvent]:
        if after_index is not None and before_index is not None:
            raise ValueError("after_index and before_index exclude each other")
        data = self._rooms.get(room_id)
        if data is None:
            return []
        return data.timeline.page(
            effective_filter(event_filter, visibility_filter),
            offset=offset,
            limit=limit,
            after_index=after_index,
            before_index=before_index,
            newest_first=newest_first,
        )

    async def get_event_count(self, room_id: str, event_filter: EventFilter | None = None) -> int:
        data = self._rooms.get(room_id)
        if data is None:
            return 0
        return len(data.timeline) if event_filter is None else data.timeline.count(event_filter)

    async def update_event(self, event: RoomEvent) -> RoomEvent | None:
        data = self._rooms.get(event.room_id)
        return None if data is None else self._replace(data, event)

    async def delete_event(
        self, room_id: str, event_id: str, *, cascade_replies: bool = True
    ) -> list[RoomEvent]:
        data = self._rooms.get(room_id)
        gone = [] if data is None else data.timeline.remove(event_id, replies=cascade_replies)
        if data is not None and gone:
            data.revision += 1
            for event in gone:
                forget(self._with_event, event.id, data)
        return gone

    async def get_thread_summaries(
        self, room_id: str, root_ids: Collection[str]
    ) -> dict[str, ThreadSummary]:
        data = self._rooms.get(room_id)
        if data is None:
            return {}
        found = ((root_id, data.timeline.summary(root_id)) for root_id in root_ids)
        return {root_id: summary for root_id, summary in found if summary is not None}

    async def set_delivery_results(
        self, room_id: str, event_id: str, results: Mapping[str, Any]
    ) -> None:
        data = self._rooms.get(room_id)
        event = None if data is None else data.timeline.get(event_id)
        if data is not None and event is not None:
            changes = {"delivery_results": owned_map(results)}
            data.timeline.replace(event.model_copy(update=changes))
