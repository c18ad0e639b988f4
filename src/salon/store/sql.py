"""Conversations in a SQL database."""

from __future__ import annotations

from salon.store.events import SqlEvents
from salon.store.members import SqlMembers
from salon.store.people import SqlPeople
from salon.store.rooms import SqlRooms


class SqlStore(SqlRooms, SqlEvents, SqlMembers, SqlPeople):
    """A `ConversationStore` on a `Database`, which it opens and closes.

    What models hold as free values must be what JSON can hold (else `ValueError`), and is read
    back as JSON knows it: a tuple as a list, a datetime as its ISO text.
    """

    async def open(self) -> None:
        await self._database.open()

    async def close(self) -> None:
        await self._committer.drain()
        await self._database.close()
