"""Rooms that are asked for at the same time are read together."""

from __future__ import annotations

import asyncio
from typing import Final

from sqlalchemy import ARRAY, Connection, String, any_, bindparam, select

from salon.models import Room
from salon.store import rows
from salon.store.database import Database
from salon.store.errors import UnfitTextError
from salon.store.schema import rooms

MAX_TOGETHER: Final = 200
_THESE = {
    "sqlite": select(rooms).where(rooms.c.id.in_(bindparam("these", expanding=True))),
    "postgresql": select(rooms).where(rooms.c.id == any_(bindparam("these", type_=ARRAY(String)))),
}
"""An array leaves the text of the statement as it is, however many rooms: it is prepared once."""


class RoomReader:
    """Every event reads its room once. While a read is under way, what else is asked for waits, and
    is read with the next; so many rooms cost few trips to the database, and one alone waits for
    nobody. What is returned is never older than the question."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[str, asyncio.Future[Room | None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def get(self, room_id: str) -> Room | None:
        """The room, a copy of one's own. Raises what `Database.read` does."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Room | None] = loop.create_future()
        self._waiting.append((room_id, future))
        if self._task is None:
            self._task = loop.create_task(self._read_all(), name="room reader")
        return await future

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:MAX_TOGETHER]
                del self._waiting[:MAX_TOGETHER]
                await self._read(batch)
        finally:
            self._task = None
            for _, future in self._waiting:  # only if this was cancelled
                future.cancel()
            self._waiting.clear()

    async def _read(self, batch: list[tuple[str, asyncio.Future[Room | None]]]) -> None:
        these = list({room_id for room_id, _ in batch})

        def work(connection: Connection) -> dict[str, rows.Row]:
            found = connection.execute(_THESE[connection.dialect.name], {"these": these}).mappings()
            return {row["id"]: row for row in found}

        try:
            found = await self._database.read(work)
        except UnfitTextError:  # nothing has such an id
            if len(these) > 1:
                for item in batch:
                    await self._read([item])
                return
            found = {}
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # nobody may be left to look
            return
        for room_id, future in batch:
            if not future.done():
                row = found.get(room_id)
                future.set_result(None if row is None else rows.room_from(row))
