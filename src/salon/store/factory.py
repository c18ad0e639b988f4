"""Stores from a URL."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError, MissingExtraError
from salon.core.memory.calls import MemoryCallLog
from salon.core.memory.store import InMemoryStore
from salon.core.ports.calls import CallLog
from salon.core.ports.store import ConversationStore

_SQLITE = "sqlite:"
_POSTGRES = ("postgresql:", "postgres:")
_FORMS = "memory://, sqlite:///path/to/salon.db or postgresql://user:password@host/database"


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that persists, in one place. `open` before use, `close` at the end."""

    conversation: ConversationStore
    calls: CallLog

    async def open(self) -> None:
        """Connect and bring the schema up to date; idempotent."""
        await self.conversation.open()

    async def close(self) -> None:
        """Free everything; idempotent."""
        await self.conversation.close()


def make_stores(url: str, *, clock: Clock = SYSTEM_CLOCK) -> Stores:
    """The stores that `url` names: ``memory://``, ``sqlite:///path`` (three slashes and a relative
    path, four and an absolute one) or ``postgresql://user:password@host/database``. Opens nothing
    yet.

    Raises `ConfigurationError` for other URLs, `MissingExtraError` without the "store" or the
    "postgres" extra.
    """
    if url in ("memory://", "memory:"):
        return Stores(InMemoryStore(clock=clock), MemoryCallLog())
    if url.partition("//")[0] in _POSTGRES:
        return _postgres(url, clock)
    path = _sqlite_path(url)
    _need("store", "a database store", "sqlalchemy", "alembic")
    from salon.store.calls import SqlCallLog
    from salon.store.sql import SqlStore
    from salon.store.sqlite import SqliteDatabase

    database = SqliteDatabase(path)
    return Stores(SqlStore(database, clock=clock), SqlCallLog(database))


def _postgres(url: str, clock: Clock) -> Stores:
    _need("postgres", "a PostgreSQL store", "sqlalchemy", "alembic", "psycopg")
    from salon.store.calls import SqlCallLog
    from salon.store.postgres import PostgresStore

    store = PostgresStore(url, clock=clock)
    return Stores(store, SqlCallLog(store.database))


def _need(extra: str, what: str, *modules: str) -> None:
    if any(find_spec(module) is None for module in modules):
        raise MissingExtraError(extra, what)


def _sqlite_path(url: str) -> Path:
    scheme, separator, rest = url.partition("//")
    if scheme != _SQLITE or not separator:
        shown = scheme.partition(":")[0] or "nothing"  # the rest may hold a password
        raise ConfigurationError(f"not a store URL ({shown!r}): give {_FORMS}")
    name = rest.removeprefix("/")
    if not rest.startswith("/") or name in ("", "/") or name.endswith("/"):
        raise ConfigurationError(f"{url!r} names no database file: give {_FORMS}")
    if name == ":memory:" or name.startswith("file:"):
        raise ConfigurationError(f"{url!r} is no file; for a store in memory give memory://")
    if "?" in name or "\0" in name:
        raise ConfigurationError(f"{url!r}: the store URL takes no parameters")
    return Path(name)
