"""A store in a SQLite file, by the name RoomKit gave it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from salon.base import SYSTEM_CLOCK, Clock
from salon.models import RoomEvent
from salon.store.sql import SqlStore
from salon.store.sqlite import SqliteDatabase

T = TypeVar("T")


class _OpenedByUse(SqliteDatabase):
    """Opens itself when first used; what was closed stays closed until `open`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._closed = False

    async def open(self) -> None:
        self._closed = False
        await super().open()

    async def close(self) -> None:
        self._closed = True
        await super().close()

    async def begin(self) -> None:
        """Open, unless that was done or undone."""
        if self._sides is None and not self._closed:
            await self.open()

    async def write(self, work: Callable[[Connection], T]) -> T:
        await self.begin()
        return await super().write(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        await self.begin()
        return await super().read(work)


class SQLiteStore(SqlStore):
    """A `ConversationStore` in one file, made when it is first used: ``SQLiteStore("rooms.db")``.

    Needs no `open`; what `open` raises comes out of the first operation then.
    """

    def __init__(self, path: str | Path = "salon.db", *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._file = _OpenedByUse(Path(path))
        super().__init__(self._file, clock=clock)

    @property
    def database(self) -> SqliteDatabase:
        """To share with other stores."""
        return self._file

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self._file.path)!r})"

    async def commit_event(
        self, event: RoomEvent, *, at: datetime, target: RoomEvent | None = None
    ) -> RoomEvent:
        await self._file.begin()
        return await super().commit_event(event, at=at, target=target)

    async def commit_events(self, batch: Sequence[RoomEvent], *, at: datetime) -> list[RoomEvent]:
        await self._file.begin()
        return await super().commit_events(batch, at=at)
