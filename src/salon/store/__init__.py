"""Floor 4: rooms, timelines and calls that survive a restart.

`make_stores` needs nothing for ``memory://``; the SQL classes need the "store" extra, those of
PostgreSQL the "postgres" extra, and are loaded when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salon.base import MissingExtraError
from salon.core.memory.store import InMemoryStore
from salon.core.ports.store import ConversationStore
from salon.store.factory import Stores, make_stores

if TYPE_CHECKING:
    from salon.store.calls import SqlCallLog
    from salon.store.database import Database
    from salon.store.errors import DatabaseUnavailableError, OutcomeUnknownError
    from salon.store.postgres import PostgresDatabase, PostgresStore
    from salon.store.sql import SqlStore
    from salon.store.sqlite import SqliteDatabase
    from salon.store.sqlite_file import SQLiteStore

__all__ = [
    "ConversationStore",
    "Database",
    "DatabaseUnavailableError",
    "InMemoryStore",
    "OutcomeUnknownError",
    "PostgresDatabase",
    "PostgresStore",
    "SQLiteStore",
    "SqlCallLog",
    "SqlStore",
    "SqliteDatabase",
    "Stores",
    "make_stores",
]

_LAZY = {
    "Database": "database",
    "DatabaseUnavailableError": "errors",
    "OutcomeUnknownError": "errors",
    "PostgresDatabase": "postgres",
    "PostgresStore": "postgres",
    "SQLiteStore": "sqlite_file",
    "SqlCallLog": "calls",
    "SqlStore": "sql",
    "SqliteDatabase": "sqlite",
}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        if module == "postgres":
            raise MissingExtraError("postgres", "a PostgreSQL store") from error
        raise MissingExtraError("store", "a database store") from error
