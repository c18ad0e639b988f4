"""Stores from a URL."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError, MissingExtraError
from salon.core.memory.calls import MemoryCallLog
from salon.core.memory.store import MemoryStore
from salon.core.ports.calls import CallLog
from salon.core.ports.store import ConversationStore

_SQLITE = "sqlite:"
_FORMS = "memory:// or sqlite:///path/to/salon.db"


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
    """The stores that `url` names: ``memory://`` or ``sqlite:///path`` (three slashes and a
    relative path, four and an absolute one). Opens nothing yet.

    Raises `ConfigurationError` for other URLs, `MissingExtraError` without the "store" extra.
    """
    if url in ("memory://", "memory:"):
        return Stores(MemoryStore(clock=clock), MemoryCallLog())
    path = _sqlite_path(url)
    for module in ("sqlalchemy", "alembic"):
        if find_spec(module) is None:
            raise MissingExtraError("store", "a database store")
    from salon.store.calls import SqlCallLog
    from salon.store.database import Database
    from salon.store.sql import SqlStore

    database = Database(path)
    return Stores(SqlStore(database, clock=clock), SqlCallLog(database))


def _sqlite_path(url: str) -> Path:
    scheme, separator, rest = url.partition("//")
    if scheme != _SQLITE or not separator:
        shown = scheme or "nothing"
        raise ConfigurationError(f"not a store URL ({shown!r}): give {_FORMS}")
    name = rest.removeprefix("/")
    if not rest.startswith("/") or name in ("", "/") or name.endswith("/"):
        raise ConfigurationError(f"{url!r} names no database file: give {_FORMS}")
    if name == ":memory:" or name.startswith("file:"):
        raise ConfigurationError(f"{url!r} is no file; for a store in memory give memory://")
    if "?" in name or "\0" in name:
        raise ConfigurationError(f"{url!r}: the store URL takes no parameters")
    return Path(name)
