"""One database: its connections, its schema, its transactions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from salon.base import ConfigurationError, UnavailableError
from salon.base.files import private_folder
from salon.store.migrate import bring_up_to_date

T = TypeVar("T")

BUSY_TIMEOUT_MS = 5000
"""How long a statement waits while another process writes."""

READERS = 3


@dataclass(frozen=True, slots=True)
class _Side:
    """Connections and as many threads: no thread ever waits for a connection."""

    engine: Engine
    threads: ThreadPoolExecutor

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    def close(self) -> None:
        self.threads.shutdown(wait=True)
        self.engine.dispose()


class Database:
    """One SQLite file, shared by the stores on it.

    One connection writes, a few read; each works in a thread of its own, one switch of threads per
    transaction. The file is in WAL mode, so that readers never wait for the writer. A write is one
    ``BEGIN IMMEDIATE`` transaction: what it reads stays true until it commits, also with several
    processes on the file (R95). ``synchronous=NORMAL``: a crash of the process loses nothing; a
    loss of power may lose the last commits, but never corrupts.

    Cancelling a caller cancels a transaction that has not begun; a begun one is finished, and
    `close` waits for it. Transactions waiting are as many as callers, first come first served.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sides: tuple[_Side, _Side] | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Connect, and create or migrate the schema; `ConfigurationError` if that cannot be."""
        async with self._opening:
            if self._sides is not None:
                return
            writer = self._side("writer", 1)
            event.listen(writer.engine, "begin", _begin_immediate)
            try:
                await writer.run(lambda: self._prepare(writer.engine))
            except BaseException:
                await asyncio.to_thread(writer.close)
                raise
            self._sides = (writer, self._side("reader", READERS))

    async def close(self) -> None:
        """Finish what was asked for, then disconnect."""
        async with self._opening:
            sides, self._sides = self._sides, None
            for side in sides or ():
                await asyncio.to_thread(side.close)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, in another thread, in a transaction of its own; an exception rolls it back
        and is raised. `UnavailableError` if the database is closed, stays locked or cannot be
        written."""
        engine = self._opened()[0].engine

        def transact() -> T:
            try:
                with engine.begin() as connection:
                    return work(connection)
            except OperationalError as error:
                raise UnavailableError(f"cannot write to {self.path}: {error.orig}") from error

        return await self._opened()[0].run(transact)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, in another thread; each of its statements sees one consistent state.
        `UnavailableError` if the database is closed or cannot be read."""
        engine = self._opened()[1].engine

        def query() -> T:
            try:
                with engine.connect() as connection:
                    return work(connection)
            except OperationalError as error:
                raise UnavailableError(f"cannot read from {self.path}: {error.orig}") from error

        return await self._opened()[1].run(query)

    def _opened(self) -> tuple[_Side, _Side]:
        if self._sides is None:
            raise UnavailableError(f"the store {self.path} is not open")
        return self._sides

    def _prepare(self, engine: Engine) -> None:
        """What is said in a room is private: folder and file are the owner's only."""
        try:
            private_folder(self.path.parent)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise ConfigurationError(f"cannot create {self.path}: {error.strerror}") from error
        try:
            with engine.begin() as connection:
                bring_up_to_date(connection)
        except DBAPIError as error:
            raise ConfigurationError(f"cannot use {self.path}: {error.orig}") from error

    def _side(self, name: str, size: int) -> _Side:
        engine = create_engine(
            URL.create("sqlite", database=str(self.path)),
            poolclass=QueuePool,
            pool_size=size,
            max_overflow=0,
            connect_args={
                "isolation_level": None,  # transactions begin where we say
                "timeout": BUSY_TIMEOUT_MS / 1000,
                "check_same_thread": False,
            },
            json_serializer=_as_it_is,
            json_deserializer=_as_it_is,
        )
        event.listen(engine, "connect", _set_pragmas)
        return _Side(engine, ThreadPoolExecutor(size, thread_name_prefix=f"salon-store-{name}"))


def _as_it_is(text: str) -> str:
    return text


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


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
