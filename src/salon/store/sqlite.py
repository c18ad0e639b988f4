"""A SQLite file as a database."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError

from salon.base import ConfigurationError
from salon.base.files import private_folder
from salon.store.database import Database, Side, Sides
from salon.store.migrate import bring_up_to_date
from salon.store.schema import as_text

BUSY_TIMEOUT_MS = 5000
"""How long a statement waits while another process writes."""

READERS = 3


class SqliteDatabase(Database):
    """One connection writes, a few read.

    The file is in WAL mode, so that readers never wait for the writer. A write is one
    ``BEGIN IMMEDIATE`` transaction: what it reads stays true until it commits, also with several
    processes on the file (R95). ``synchronous=FULL``: what was committed survives a loss of power.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def _connect(self) -> Sides:
        writer = self._side("writer", 1)
        event.listen(writer.engine, "begin", _begin_immediate)
        return Sides(writer, self._side("reader", READERS))

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

    def _side(self, name: str, size: int) -> Side:
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
            json_serializer=as_text,
            json_deserializer=as_text,
            hide_parameters=True,
        )
        event.listen(engine, "connect", _set_pragmas)
        return Side(engine, ThreadPoolExecutor(size, thread_name_prefix=f"salon-store-{name}"))


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def __getattr__(name: str) -> Any:
    if name == "SQLiteStore":  # RoomKit has it here
        from salon.store.sqlite_file import SQLiteStore

        return SQLiteStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
