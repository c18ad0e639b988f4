"""What the parts of the SQL store have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Insert, Select, String, Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from salon.base import SYSTEM_CLOCK, Clock
from salon.core.errors import RoomNotFoundError
from salon.core.ports.store import ConversationStore
from salon.store import rows
from salon.store.commits import Committer
from salon.store.database import Database
from salon.store.errors import UnfitTextError
from salon.store.reading import RoomReader
from salon.store.schema import rooms

T = TypeVar("T")

Statement = Callable[[str], Insert]
"""A statement by the name of the dialect."""

LAST_INDEX = 2**63 - 1

_THIS = bindparam("this", type_=String)
_TURN = update(rooms).where(rooms.c.id == _THIS).values(revision=rooms.c.revision + 1)
_LOCK = select(rooms.c.id).where(rooms.c.id == _THIS).with_for_update(key_share=True)


class SqlPart(ConversationStore):
    """Some of the operations, on a `Database`."""

    def __init__(self, database: Database, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._committer = Committer(database)
        self._reader = RoomReader(database)
        self._clock = clock

    async def _all(self, query: Select[Any], make: Callable[[rows.Row], T]) -> list[T]:
        def work(connection: Connection) -> list[T]:
            found = connection.execute(query).mappings().all()  # nothing is left open if one fails
            return [make(row) for row in found]

        return await self._read(work, [])

    async def _first(self, query: Select[Any], make: Callable[[rows.Row], T]) -> T | None:
        found = await self._all(query, make)
        return found[0] if found else None

    async def _read(self, work: Callable[[Connection], T], nothing: T) -> T:
        try:
            return await self._database.read(work)
        except UnfitTextError:
            return nothing  # nothing has such an id


def turn(connection: Connection, room_id: str) -> None:
    """Move the revision of a room, and lock the room; raises `RoomNotFoundError`."""
    if not connection.execute(_TURN, {"this": room_id}).rowcount:
        raise RoomNotFoundError(room_id)


def lock(connection: Connection, room_id: str) -> bool:
    """Keep others from writing to a room; False if there is none."""
    return connection.execute(_LOCK, {"this": room_id}).first() is not None


def documents(table: Table, room_id: str) -> Select[Any]:
    """The models of a room, in the order of insertion."""
    return select(table.c.document).where(table.c.room_id == room_id).order_by(table.c.seq)


def upsert(table: Table, name: str, *facets: str) -> Statement:
    """Insert, or replace what this room has under `name`, which keeps its place."""

    def for_dialect(dialect: str) -> Insert:
        statement = dialect_insert(dialect, table)
        replaced: Insert = statement.on_conflict_do_update(
            index_elements=["room_id", name],
            set_={facet: statement.excluded[facet] for facet in (*facets, "document")},
        )
        return replaced

    return for_dialect


def dialect_insert(dialect: str, table: Table) -> Any:
    """An insert that knows conflicts."""
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return make(table)
