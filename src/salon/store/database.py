"""One database: its connections, its schema, its transactions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, event
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from salon.base import ConfigurationError, UnavailableError
from salon.store.migrate import bring_up_to_date

T = TypeVar("T")

BUSY_TIMEOUT_MS = 5000
"""How long a statement waits while another process writes."""

READERS = 3


def _identity(value: str) -> str:
    return value


class Database:
    """One SQLite file, shared by the stores on it.

    One connection writes, a few read. The file is in WAL mode, so that readers never wait for the
    writer. A write is one ``BEGIN IMMEDIATE`` transaction: what it reads stays true until it
    commits, also with several processes on the file (R95). ``synchronous=NORMAL``: a crash of the
    process loses nothing; a loss of power may lose the last commits, but never corrupts.

    Once begun, a transaction is finished even if its caller is cancelled; `close` waits for it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: AsyncEngine | None = None
        self._reader: AsyncEngine | None = None
        self._turn = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Connect, and create or migrate the schema; `ConfigurationError` if that cannot be."""
        async with self._opening:
            if self._writer is not None:
                return
            try:
                self._prepare_file()
            except OSError as error:
                raise ConfigurationError(f"cannot create {self.path}: {error.strerror}") from error
            writer = self._engine(1, writes=True)
            try:
                async with writer.begin() as connection:
                    await connection.run_sync(bring_up_to_date)
            except DBAPIError as error:
                await writer.dispose()
                raise ConfigurationError(f"cannot use {self.path}: {error.orig}") from error
            except BaseException:
                await writer.dispose()
                raise
            self._reader = self._engine(READERS, writes=False)
            self._writer = writer

    async def close(self) -> None:
        """Finish what runs, then disconnect."""
        async with self._opening:
            writer, reader = self._writer, self._reader
            self._writer = self._reader = None
            if self._running:
                await asyncio.wait(self._running)
            for engine in (reader, writer):
                if engine is not None:
                    await engine.dispose()

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `work` in a transaction of its own; an exception rolls it back and is raised.

        `UnavailableError` if the database is closed, stays locked or cannot be written.
        """
        async with self._turn:
            return await self._finish(self._transact(self._opened(self._writer), work))

    async def read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `work`, whose statements each see one consistent state of the database."""
        return await self._finish(self._query(self._opened(self._reader), work))

    async def _transact(
        self, engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[T]]
    ) -> T:
        try:
            async with engine.begin() as connection:
                return await work(connection)
        except IntegrityError:
            raise
        except OperationalError as error:
            raise UnavailableError(f"cannot write to {self.path}: {error.orig}") from error

    async def _query(
        self, engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[T]]
    ) -> T:
        try:
            async with engine.connect() as connection:
                return await work(connection)
        except OperationalError as error:
            raise UnavailableError(f"cannot read from {self.path}: {error.orig}") from error

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Let `work` end even if the caller does not wait for it."""
        task = asyncio.get_running_loop().create_task(work, name="store")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    def _opened(self, engine: AsyncEngine | None) -> AsyncEngine:
        if engine is None:
            raise UnavailableError(f"the store {self.path} is not open")
        return engine

    def _prepare_file(self) -> None:
        """What is said in a room is private: folder and file are the owner's only."""
        missing = [folder for folder in self.path.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _engine(self, size: int, *, writes: bool) -> AsyncEngine:
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(self.path)),
            pool_size=size,
            max_overflow=0,
            pool_timeout=30,
            pool_reset_on_return=None,  # every transaction is ended where it was begun
            connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_MS / 1000},
            json_serializer=_identity,
            json_deserializer=_identity,
        )
        event.listen(engine.sync_engine, "connect", _set_pragmas)
        if writes:
            event.listen(engine.sync_engine, "begin", _begin_immediate)
        return engine


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
