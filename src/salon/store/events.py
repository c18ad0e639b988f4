"""Timelines in a SQL database."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from salon.core.errors import DuplicateIndexError
from salon.core.ports.store import EventNotFoundError, may_change
from salon.models import EventStatus, RoomEvent
from salon.models.filters import EventFilter, ThreadSummary, effective_filter
from salon.store import rows
from salon.store.commits import change_event
from salon.store.queries import LAST_INDEX, SqlPart, lock, turn
from salon.store.schema import bytewise, events

_WHOLE = (events.c["index"], events.c.document, events.c.delivery_results)
_RECEIVED = events.c.status != str(EventStatus.BLOCKED)


class SqlEvents(SqlPart):
    """Commits, pages, changes of what is stored."""

    async def commit_event(
        self, event: RoomEvent, *, at: datetime, target: RoomEvent | None = None
    ) -> RoomEvent:
        if target is not None and not may_change(event, target):
            raise EventNotFoundError(event.room_id, target.id)
        return (await self._commit([event], at, target))[0]

    async def commit_events(self, batch: Sequence[RoomEvent], *, at: datetime) -> list[RoomEvent]:
        if not batch:
            return []
        if any(event.room_id != batch[0].room_id for event in batch):
            raise ValueError("a batch of events belongs to one room")
        return await self._commit(batch, at, None)

    async def _commit(
        self, batch: Sequence[RoomEvent], at: datetime, target: RoomEvent | None
    ) -> list[RoomEvent]:
        values = [rows.event_row(event) for event in batch]
        if target is not None:
            target = target.model_copy(deep=True)
        try:
            first = await self._committer.commit(batch[0].room_id, values, at, target)
        except IntegrityError as error:
            raise await self._refusal(batch) from error
        return [
            event.model_copy(update={"index": index}) for index, event in enumerate(batch, first)
        ]

    async def _refusal(self, batch: Sequence[RoomEvent]) -> Exception:
        """Why the database did not take these events."""
        ids, keys = set[str](), set[tuple[str, str]]()
        for event in batch:
            name, room_id, key = event.id, event.room_id, event.idempotency_key
            if name in ids or await self.get_event(name, room_id) is not None:
                return ValueError(f"event {name!r} exists")
            ids.add(name)
            if key is None:
                continue
            channel_id = event.source.channel_id
            if (key, channel_id) in keys or await self.check_idempotency(
                room_id, key, channel_id=channel_id
            ):
                return ValueError(f"idempotency key {key!r} exists")
            keys.add((key, channel_id))
        room_id = batch[0].room_id
        return DuplicateIndexError(f"room {room_id!r} has an event at the next index")

    async def get_event(self, event_id: str, room_id: str | None = None) -> RoomEvent | None:
        query = select(*_WHOLE).where(events.c.id == event_id)
        if room_id is None:
            query = query.order_by(events.c.created_at, bytewise(events.c.room_id)).limit(1)
        else:
            query = query.where(events.c.room_id == room_id)
        return await self._first(query, rows.event_from)

    async def get_event_by_idempotency_key(
        self, room_id: str, key: str, *, channel_id: str | None = None
    ) -> RoomEvent | None:
        query = select(*_WHOLE).where(events.c.room_id == room_id, events.c.idempotency_key == key)
        if channel_id is None:
            query = query.order_by(events.c["index"]).limit(1)
        else:
            query = query.where(events.c.idempotency_channel_id == channel_id)
        return await self._first(query, rows.event_from)

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
        if limit <= 0:
            return []
        number = events.c["index"]
        wanted = effective_filter(event_filter, visibility_filter)
        query = select(*_WHOLE).where(events.c.room_id == room_id, *_conditions(wanted))
        if after_index is not None:
            query = query.where(number > min(after_index, LAST_INDEX))
        elif before_index is not None:
            query = query.where(number < min(before_index, LAST_INDEX))
        else:
            query = query.offset(max(offset, 0))
        backwards = before_index is not None or (newest_first and after_index is None)
        query = query.order_by(number.desc() if backwards else number).limit(limit)
        found = await self._all(query, rows.event_from)
        return found[::-1] if backwards else found

    async def get_event_count(self, room_id: str, event_filter: EventFilter | None = None) -> int:
        query = select(func.count().label("count")).where(events.c.room_id == room_id)
        if event_filter is not None:
            query = query.where(*_conditions(event_filter))
        return sum(await self._all(query, lambda row: int(row["count"])))

    async def update_event(self, event: RoomEvent) -> RoomEvent | None:
        changed = event.model_copy(deep=True)

        def work(connection: Connection) -> RoomEvent | None:
            if not lock(connection, changed.room_id):
                return None
            stored = change_event(connection, changed)
            if stored is not None:
                turn(connection, stored.room_id)
            return stored

        return await self._database.write(work)

    async def delete_event(
        self, room_id: str, event_id: str, *, cascade_replies: bool = True
    ) -> list[RoomEvent]:
        here = events.c.room_id == room_id
        fits = events.c.id == event_id
        if cascade_replies:
            fits = or_(fits, events.c.parent_event_id == event_id)

        def work(connection: Connection) -> list[RoomEvent]:
            if not lock(connection, room_id):
                return []
            query = select(*_WHOLE).where(here, fits)
            found = [rows.event_from(row) for row in connection.execute(query).mappings()]
            if all(event.id != event_id for event in found):
                return []
            connection.execute(delete(events).where(here, fits))
            turn(connection, room_id)
            return sorted(found, key=lambda event: (event.id != event_id, event.index))

        return await self._database.write(work)

    async def get_thread_summaries(
        self, room_id: str, root_ids: Collection[str]
    ) -> dict[str, ThreadSummary]:
        root = events.c.parent_event_id
        query = (
            select(
                root.label("root_event_id"),
                func.count().label("reply_count"),
                func.max(events.c.created_at).label("last_reply_at"),
            )
            .where(events.c.room_id == room_id, root.in_(list(root_ids)), _RECEIVED)
            .group_by(root)
        )
        found = await self._all(query, lambda row: ThreadSummary(**row))
        return {summary.root_event_id: summary for summary in found}

    async def set_delivery_results(
        self, room_id: str, event_id: str, results: Mapping[str, Any]
    ) -> None:
        statement = (
            update(events)
            .where(events.c.room_id == room_id, events.c.id == event_id)
            .values(delivery_results=rows.to_json(results))
        )

        def work(connection: Connection) -> None:
            connection.execute(statement)

        await self._database.write(work)


def _conditions(wanted: EventFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.event_types is not None:
        yield events.c.type.in_([str(item) for item in wanted.event_types])
    if wanted.exclude_types:
        yield events.c.type.not_in([str(item) for item in wanted.exclude_types])
    if not wanted.include_blocked:
        yield _RECEIVED
    equal = {
        events.c.visibility: wanted.visibility,
        events.c.channel_id: wanted.source_channel_id,
        events.c.channel_type: wanted.source_channel_type,
        events.c.correlation_id: wanted.correlation_id,
        events.c.participant_id: wanted.participant_id,
        events.c.responds_to: wanted.responds_to,
        events.c.parent_event_id: wanted.parent_event_id,
    }
    for column, value in equal.items():
        if value is not None:
            yield column == str(value)
    if wanted.top_level_only:
        yield events.c.parent_event_id.is_(None)
    if wanted.after_time is not None:
        yield events.c.created_at > wanted.after_time
    if wanted.before_time is not None:
        yield events.c.created_at < wanted.before_time
