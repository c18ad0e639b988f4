"""Conversations in a SQL database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Insert,
    Select,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from salon.base import SYSTEM_CLOCK, Clock
from salon.core.errors import DuplicateIndexError, RoomNotFoundError
from salon.core.ports.store import ConversationStore
from salon.models import (
    ChannelBinding,
    EventStatus,
    EventType,
    Observation,
    Participant,
    ParticipantStatus,
    Room,
    RoomEvent,
    RoomStatus,
    Task,
)
from salon.store import rows
from salon.store.commits import Committer
from salon.store.database import Database
from salon.store.errors import UnfitTextError
from salon.store.schema import (
    bindings,
    bytewise,
    events,
    observations,
    participants,
    rooms,
    tasks,
)

T = TypeVar("T")

Statement = Callable[[str], Insert]
"""A statement by the name of the dialect."""

_PAGE = 32
_LAST_INDEX = 2**63 - 1


class SqlStore(ConversationStore):
    """A `ConversationStore` on a `Database`, which it opens and closes.

    What models hold as free values must be what JSON can hold (else `ValueError`), and is read
    back as JSON knows it: a tuple as a list, a datetime as its ISO text.
    """

    def __init__(self, database: Database, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._committer = Committer(database)
        self._clock = clock

    async def open(self) -> None:
        await self._database.open()

    async def close(self) -> None:
        await self._committer.drain()
        await self._database.close()

    async def _all(self, query: Select[Any], make: Callable[[rows.Row], T]) -> list[T]:
        def work(connection: Connection) -> list[T]:
            return [make(row) for row in connection.execute(query).mappings()]

        try:
            return await self._database.read(work)
        except UnfitTextError:
            return []  # nothing has such an id

    async def _first(self, query: Select[Any], make: Callable[[rows.Row], T]) -> T | None:
        found = await self._all(query, make)
        return found[0] if found else None

    async def _insert(self, statement: Statement, values: dict[str, Any]) -> None:
        """Into a room, which must exist."""

        def work(connection: Connection) -> None:
            connection.execute(statement(connection.dialect.name), values)

        try:
            await self._database.write(work)
        except IntegrityError as error:
            raise RoomNotFoundError(values["room_id"]) from error

    # -- rooms ------------------------------------------------------------------------------------

    async def create_room(self, room: Room) -> Room:
        values, copy = rows.room_row(room), room.model_copy(deep=True)

        def work(connection: Connection) -> None:
            connection.execute(insert(rooms), values)

        try:
            await self._database.write(work)
        except IntegrityError as error:
            raise ValueError(f"room {copy.id!r} exists") from error
        return copy

    async def get_room(self, room_id: str) -> Room | None:
        return await self._first(select(rooms).where(rooms.c.id == room_id), rows.room_from)

    async def update_room(self, room: Room) -> Room:
        values = {
            "organization_id": room.organization_id,
            "status": str(room.status),
            "closed_at": room.closed_at,
            "agent_response_policy": str(room.agent_response_policy),
            "inactive_after_seconds": room.timers.inactive_after_seconds,
            "closed_after_seconds": room.timers.closed_after_seconds,
            "updated_at": self._clock.now(),
        }
        room_id = room.id
        statement = update(rooms).where(rooms.c.id == room_id).values(values).returning(*rooms.c)

        def work(connection: Connection) -> Room:
            row = connection.execute(statement).mappings().first()
            if row is None:
                raise RoomNotFoundError(room_id)
            return rows.room_from(row)

        return await self._database.write(work)

    async def patch_room_metadata(
        self, room_id: str, patch: Mapping[str, Any], unset: Collection[str] = ()
    ) -> Room | None:
        added, removed = rows.from_json(rows.to_json(patch)), frozenset(unset)
        this = rooms.c.id == room_id

        def work(connection: Connection) -> Room | None:
            query = select(rooms).where(this).with_for_update()
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            room = rows.room_from(row)
            kept = {key: value for key, value in room.metadata.items() if key not in removed}
            room.metadata = kept | added
            values = {"metadata": rows.to_json(room.metadata)}
            connection.execute(update(rooms).where(this).values(values))
            return room

        return await self._database.write(work)

    async def delete_room(self, room_id: str) -> bool:
        def work(connection: Connection) -> bool:
            result = connection.execute(delete(rooms).where(rooms.c.id == room_id))
            return result.rowcount > 0

        return await self._database.write(work)

    async def list_rooms(
        self, *, status: RoomStatus | None = None, limit: int = 50, offset: int = 0
    ) -> list[Room]:
        query = select(rooms).order_by(rooms.c.created_at.desc(), rooms.c.seq.desc())
        if status is not None:
            query = query.where(rooms.c.status == str(status))
        return await self._all(query.limit(limit).offset(offset), rows.room_from)

    async def find_room_ids_by_channel(
        self, channel_id: str, *, status: RoomStatus | None = None, limit: int = 2
    ) -> list[str]:
        query = (
            select(rooms.c.id)
            .join(bindings, bindings.c.room_id == rooms.c.id)
            .where(bindings.c.channel_id == channel_id)
            .order_by(rooms.c.created_at, bytewise(rooms.c.id))
            .limit(limit)
        )
        if status is not None:
            query = query.where(rooms.c.status == str(status))
        return await self._all(query, lambda row: str(row["id"]))

    async def find_latest_room(
        self, participant_id: str, channel_type: str, *, status: RoomStatus | None = None
    ) -> Room | None:
        query = (
            select(rooms, bindings.c.channel_id, participants.c.document)
            .join(participants, participants.c.room_id == rooms.c.id)
            .join(bindings, bindings.c.room_id == rooms.c.id)
            .where(
                participants.c.id == participant_id,
                participants.c.status == str(ParticipantStatus.ACTIVE),
                bindings.c.channel_type == channel_type,
            )
            .order_by(rooms.c.created_at.desc(), bytewise(rooms.c.id).desc(), bindings.c.seq)
        )
        if status is not None:
            query = query.where(rooms.c.status == str(status))

        def work(connection: Connection) -> Room | None:
            # Nearly always the first row fits: the person is connected through what is bound.
            offset = 0
            while True:
                page = connection.execute(query.limit(_PAGE).offset(offset)).mappings()
                found = page.all()
                for row in found:
                    if row["channel_id"] in rows.participant_from(row).connected_via:
                        return rows.room_from(row)
                if len(found) < _PAGE:
                    return None
                offset += _PAGE

        return await self._database.read(work)

    # -- events -----------------------------------------------------------------------------------

    async def commit_event(self, event: RoomEvent, *, at: datetime) -> RoomEvent:
        return (await self.commit_events([event], at=at))[0]

    async def commit_events(self, batch: Sequence[RoomEvent], *, at: datetime) -> list[RoomEvent]:
        """Number and store events of one room, all or none, with consecutive indices: one
        transaction. Raises what `commit_event` does; `ValueError` if the rooms differ."""
        if not batch:
            return []
        room_id, values = batch[0].room_id, [rows.event_row(event) for event in batch]
        if any(event.room_id != room_id for event in batch):
            raise ValueError("a batch of events belongs to one room")
        try:
            first = await self._committer.commit(room_id, values, at)
        except IntegrityError as error:
            raise await self._refusal(batch) from error
        return [
            event.model_copy(update={"index": index}) for index, event in enumerate(batch, first)
        ]

    async def _refusal(self, batch: Sequence[RoomEvent]) -> Exception:
        """Why the database did not take these events."""
        ids, keys = set[str](), set[str]()
        for event in batch:
            name, key = event.id, event.idempotency_key
            if name in ids or await self.get_event(event.room_id, name) is not None:
                return ValueError(f"event {name!r} exists")
            if key is not None and (
                key in keys or await self.get_event_by_idempotency_key(event.room_id, key)
            ):
                return ValueError(f"idempotency key {key!r} exists")
            ids.add(name)
            if key is not None:
                keys.add(key)
        room_id = batch[0].room_id
        return DuplicateIndexError(f"room {room_id!r} has an event at the next index")

    async def get_event(self, room_id: str, event_id: str) -> RoomEvent | None:
        query = select(events).where(events.c.room_id == room_id, events.c.id == event_id)
        return await self._first(query, rows.event_from)

    async def get_event_by_idempotency_key(self, room_id: str, key: str) -> RoomEvent | None:
        query = select(events).where(events.c.room_id == room_id, events.c.idempotency_key == key)
        return await self._first(query, rows.event_from)

    async def list_events(
        self,
        room_id: str,
        *,
        limit: int = 50,
        offset: int = 0,
        newest_first: bool = False,
        after_index: int | None = None,
        before_index: int | None = None,
        types: Collection[EventType] | None = None,
        exclude_types: Collection[EventType] = (),
        include_blocked: bool = False,
    ) -> list[RoomEvent]:
        if after_index is not None and before_index is not None:
            raise ValueError("after_index and before_index exclude each other")
        if limit <= 0:
            return []
        number = events.c["index"]
        query = select(events.c["index"], events.c.document, events.c.delivery_results)
        query = query.where(events.c.room_id == room_id)
        if types is not None:
            query = query.where(events.c.type.in_([str(item) for item in types]))
        if exclude_types:
            query = query.where(events.c.type.not_in([str(item) for item in exclude_types]))
        if not include_blocked:
            query = query.where(events.c.status != str(EventStatus.BLOCKED))
        if after_index is not None:
            query = query.where(number > min(after_index, _LAST_INDEX))
        elif before_index is not None:
            query = query.where(number < min(before_index, _LAST_INDEX))
        else:
            query = query.offset(offset)
        backwards = before_index is not None or (newest_first and after_index is None)
        query = query.order_by(number.desc() if backwards else number).limit(limit)
        found = await self._all(query, rows.event_from)
        return found[::-1] if backwards else found

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

    async def advance_delivered_index(self, room_id: str, index: int) -> bool:
        statement = (
            update(rooms)
            .where(rooms.c.id == room_id, rooms.c.delivered_index < index)
            .values(delivered_index=index)
        )

        def work(connection: Connection) -> bool:
            return connection.execute(statement).rowcount > 0

        return await self._database.write(work)

    # -- bindings ---------------------------------------------------------------------------------

    async def add_binding(self, binding: ChannelBinding) -> ChannelBinding:
        values, copy = rows.binding_row(binding), binding.model_copy(deep=True)
        await self._insert(_PUT_BINDING, values)
        return copy

    async def get_binding(self, room_id: str, channel_id: str) -> ChannelBinding | None:
        query = select(bindings.c.document).where(
            bindings.c.room_id == room_id, bindings.c.channel_id == channel_id
        )
        return await self._first(query, rows.binding_from)

    async def remove_binding(self, room_id: str, channel_id: str) -> bool:
        statement = delete(bindings).where(
            bindings.c.room_id == room_id, bindings.c.channel_id == channel_id
        )

        def work(connection: Connection) -> bool:
            return connection.execute(statement).rowcount > 0

        return await self._database.write(work)

    async def list_bindings(self, room_id: str) -> list[ChannelBinding]:
        return await self._all(_documents(bindings, room_id), rows.binding_from)

    # -- participants -----------------------------------------------------------------------------

    async def put_participant(self, participant: Participant) -> Participant:
        values, copy = rows.participant_row(participant), participant.model_copy(deep=True)
        await self._insert(_PUT_PARTICIPANT, values)
        return copy

    async def get_participant(self, room_id: str, participant_id: str) -> Participant | None:
        query = select(participants.c.document).where(
            participants.c.room_id == room_id, participants.c.id == participant_id
        )
        return await self._first(query, rows.participant_from)

    async def list_participants(self, room_id: str) -> list[Participant]:
        return await self._all(_documents(participants, room_id), rows.participant_from)

    # -- side effects -----------------------------------------------------------------------------

    async def add_task(self, task: Task) -> Task:
        await self._insert(lambda _: insert(tasks), rows.task_row(task))
        return task

    async def list_tasks(self, room_id: str) -> list[Task]:
        return await self._all(_documents(tasks, room_id), rows.task_from)

    async def add_observation(self, observation: Observation) -> Observation:
        await self._insert(lambda _: insert(observations), rows.observation_row(observation))
        return observation

    async def list_observations(self, room_id: str) -> list[Observation]:
        return await self._all(_documents(observations, room_id), rows.observation_from)


def _documents(table: Table, room_id: str) -> Select[Any]:
    return select(table.c.document).where(table.c.room_id == room_id).order_by(table.c.seq)


def _upsert(table: Table, name: str, facet: str) -> Statement:
    """Insert, or replace what this room has under `name`, which keeps its place."""

    def for_dialect(dialect: str) -> Insert:
        make = postgresql.insert if dialect == "postgresql" else sqlite.insert
        statement = make(table)
        return statement.on_conflict_do_update(
            index_elements=["room_id", name],
            set_={facet: statement.excluded[facet], "document": statement.excluded["document"]},
        )

    return for_dialect


_PUT_BINDING = _upsert(bindings, "channel_id", "channel_type")
_PUT_PARTICIPANT = _upsert(participants, "id", "status")
