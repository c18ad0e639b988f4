"""Rooms in a SQL database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    Subquery,
    and_,
    delete,
    false,
    insert,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.exc import IntegrityError

from salon.core.errors import RoomNotFoundError
from salon.core.ports.store import due_at
from salon.models import ParticipantStatus, Room, RoomStatus
from salon.store import rows
from salon.store.numbering import advance
from salon.store.queries import SqlPart
from salon.store.schema import bindings, bytewise, participants, rooms

_PAGE = 32
_METADATA_PAGE = 200

# A room that is being written is pending; whoever locks several rooms does it in the same order.
_DELIVERED = (
    update(rooms)
    .where(
        rooms.c.id.in_(
            select(rooms.c.id)
            .where(rooms.c.pending, rooms.c.delivered_index >= rooms.c.latest_index)
            .order_by(rooms.c.id)
            .with_for_update(skip_locked=True, key_share=True)
        )
    )
    .values(pending=false())
)


class SqlRooms(SqlPart):
    """Creation, change, search, deletion; how far a room is delivered."""

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
        return await self._reader.get(room_id)

    async def room_exists(self, room_id: str) -> bool:
        query = select(rooms.c.seq).where(rooms.c.id == room_id)
        return bool(await self._all(query, lambda _: True))

    async def update_room(self, room: Room) -> Room:
        room_id, timers = room.id, room.timers
        values = {
            "organization_id": room.organization_id,
            "status": str(room.status),
            "paused_at": room.paused_at,
            "closed_at": room.closed_at,
            "agent_response_policy": str(room.agent_response_policy),
            "inactive_after_seconds": timers.inactive_after_seconds,
            "closed_after_seconds": timers.closed_after_seconds,
            "updated_at": self._clock.now(),
        }
        this = rooms.c.id == room_id

        def work(connection: Connection) -> Room:
            row = connection.execute(select(rooms).where(this).with_for_update()).mappings().first()
            if row is None:
                raise RoomNotFoundError(room_id)
            known = rows.room_from({**row, **values})
            due = rows.microseconds(due_at(known))
            connection.execute(update(rooms).where(this).values(due_at=due, **values))
            return known

        return await self._database.write(work)

    async def patch_room_metadata(
        self, room_id: str, patch: Mapping[str, Any], *, unset: Collection[str] = ()
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

    # -- search -----------------------------------------------------------------------------------

    async def list_rooms(
        self,
        offset: int = 0,
        limit: int = 50,
        *,
        status: RoomStatus | None = None,
        organization_id: str | None = None,
    ) -> list[Room]:
        return await self.find_rooms(organization_id, status, limit=limit, offset=offset)

    async def find_rooms(
        self,
        organization_id: str | None = None,
        status: RoomStatus | None = None,
        metadata_filter: Mapping[str, Any] | None = None,
        *,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Room]:
        query = select(rooms).order_by(rooms.c.created_at.desc(), rooms.c.seq.desc())
        query = _within(query, None if status is None else (status,), organization_id)
        limit, offset = max(limit, 0), max(offset, 0)
        if not metadata_filter:
            return await self._all(query.limit(limit).offset(offset), rows.room_from)
        wanted = dict(metadata_filter)

        def work(connection: Connection) -> list[Room]:
            return _having(connection, query, wanted, offset + limit)[offset:]

        return await self._read(work, [])

    async def find_room_ids_by_channel(
        self,
        channel_id: str,
        *,
        statuses: Collection[RoomStatus] | None = None,
        organization_id: str | None = None,
        limit: int = 2,
    ) -> list[str]:
        query = (
            select(rooms.c.id)
            .join(bindings, bindings.c.room_id == rooms.c.id)
            .where(bindings.c.channel_id == channel_id)
            .order_by(rooms.c.created_at, bytewise(rooms.c.id))
            .limit(max(limit, 0))
        )
        return await self._all(_within(query, statuses, organization_id), _id)

    async def find_room_ids_by_recipient(
        self,
        channel_id: str,
        address: str,
        *,
        statuses: Collection[RoomStatus] | None = None,
        organization_id: str | None = None,
        limit: int = 2,
    ) -> list[str]:
        query = (
            select(rooms.c.id)
            .join(bindings, bindings.c.room_id == rooms.c.id)
            .where(bindings.c.channel_id == channel_id, bindings.c.recipient == address)
            .order_by(rooms.c.created_at.desc(), bytewise(rooms.c.id).desc())
            .limit(max(limit, 0))
        )
        return await self._all(_within(query, statuses, organization_id), _id)

    async def find_latest_room(
        self,
        participant_id: str,
        channel_type: str | None = None,
        status: RoomStatus | None = None,
        *,
        channel_id: str | None = None,
        statuses: Collection[RoomStatus] | None = None,
        organization_id: str | None = None,
    ) -> Room | None:
        if status is not None:
            statuses = (status, *(statuses or ()))
        known = _known_as(participant_id)
        query = (
            select(rooms, bindings.c.channel_id, known.c.document)
            .join(known, known.c.room_id == rooms.c.id)
            .join(bindings, bindings.c.room_id == rooms.c.id)
            .order_by(rooms.c.created_at.desc(), bytewise(rooms.c.id).desc(), bindings.c.seq)
        )
        if channel_type is not None:
            query = query.where(bindings.c.channel_type == str(channel_type))
        if channel_id is not None:
            query = query.where(bindings.c.channel_id == channel_id)
        query = _within(query, statuses, organization_id)
        return await self._read(lambda connection: _connected(connection, query), None)

    async def find_rooms_due(self, now: datetime, *, limit: int = 100) -> list[str]:
        query = (
            select(rooms.c.id)
            .where(rooms.c.due_at <= rows.microseconds(now))
            .order_by(rooms.c.due_at, bytewise(rooms.c.id))
            .limit(max(limit, 0))
        )
        return await self._all(query, _id)

    # -- delivery marks ---------------------------------------------------------------------------

    async def get_delivered_index(self, room_id: str) -> int:
        query = select(rooms.c.delivered_index).where(rooms.c.id == room_id)
        found = await self._first(query, lambda row: int(row["delivered_index"]))
        return -1 if found is None else found

    async def advance_delivered_index(self, room_id: str, index: int) -> bool:
        statement = (
            update(rooms)
            .where(rooms.c.id == room_id, rooms.c.delivered_index < index)
            .values(delivered_index=index)
        )

        def work(connection: Connection) -> bool:
            return connection.execute(statement).rowcount > 0

        return await self._database.write(work)

    async def advance_delivered_indexes(self, indexes: Mapping[str, int]) -> None:
        if indexes:
            reached = dict(indexes)
            await self._database.write(lambda connection: advance(connection, reached))

    async def find_undelivered_rooms(
        self, *, limit: int = 100, after: str | None = None
    ) -> list[str]:
        number = bytewise(rooms.c.id)
        behind = rooms.c.delivered_index < rooms.c.latest_index
        query = select(rooms.c.id).where(rooms.c.pending, behind)
        if after is None:
            await self._database.write(_forget_delivered)
        else:
            query = query.where(number > after)
        return await self._all(query.order_by(number).limit(max(limit, 0)), _id)


def _forget_delivered(connection: Connection) -> None:
    connection.execute(_DELIVERED)


def _id(row: rows.Row) -> str:
    return str(row["id"])


def _known_as(name: str) -> Subquery:
    """Those ACTIVE of this id or address, some twice: each half by an index, which OR might keep
    from use."""
    columns = (participants.c.room_id, participants.c.document)
    active = select(*columns).where(participants.c.status == str(ParticipantStatus.ACTIVE))
    by_id = active.where(participants.c.id == name)
    by_address = active.where(participants.c.external_id == name)
    return union_all(by_id, by_address).subquery("known")


def _within(
    query: Select[Any], statuses: Collection[RoomStatus] | None, organization_id: str | None
) -> Select[Any]:
    if statuses is not None:
        query = query.where(rooms.c.status.in_([str(status) for status in statuses]))
    if organization_id is not None:
        query = query.where(rooms.c.organization_id == organization_id)
    return query


def _connected(connection: Connection, query: Select[Any]) -> Room | None:
    """The first room whose participant is connected through the binding beside it: nearly always
    that of the first row."""
    offset = 0
    while True:
        found = connection.execute(query.limit(_PAGE).offset(offset)).mappings().all()
        for row in found:
            if row["channel_id"] in rows.participant_from(row).connected_via:
                return rows.room_from(row)
        if len(found) < _PAGE:
            return None
        offset += _PAGE


def _having(
    connection: Connection, query: Select[Any], wanted: Mapping[str, Any], count: int
) -> list[Room]:
    """The first rooms with these metadata. They are compared here: engines differ in what of JSON
    they can compare."""
    found: list[Room] = []
    place = None
    while len(found) < count:
        page = query.limit(_METADATA_PAGE)
        if place is not None:
            at, seq = place
            older = and_(rooms.c.created_at == at, rooms.c.seq < seq)
            page = page.where(or_(rooms.c.created_at < at, older))
        rows_found = connection.execute(page).mappings().all()
        for row in rows_found:
            known = rows.from_json(row["metadata"])
            if all(key in known and known[key] == value for key, value in wanted.items()):
                found.append(rows.room_from(row))
        if len(rows_found) < _METADATA_PAGE:
            break
        place = rows_found[-1]["created_at"], rows_found[-1]["seq"]
    return found[:count]
