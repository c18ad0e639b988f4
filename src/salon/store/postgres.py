"""A PostgreSQL server as a database, and the store on it."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import URL, Engine, QueuePool, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError, MissingExtraError, UnavailableError
from salon.store.database import Database, Side, Sides
from salon.store.migrate import bring_up_to_date
from salon.store.schema import as_text
from salon.store.sql import SqlStore

FORM = "postgresql://user:password@host:port/database"

POOL_SIZE = 10
"""Connections of one store at most, unless told otherwise."""

LANES = 3
"""Groups of commits at a time: a room that another process holds does not stop the others."""

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000
IDLE_TRANSACTION_TIMEOUT_MS = 10_000
"""After that the server ends a transaction whose process stands still, and frees its rooms."""
LOCK_TIMEOUT_MS = 15_000
"""Longer than an idle transaction may last: who waits for a process that stands still succeeds."""
MIGRATION_TIMEOUT_MS = 600_000

_MIGRATION_LOCK = 0x73616C6F6E  # one process migrates at a time; any number would do
_PARAMETERS = {
    "application_name",
    "connect_timeout",
    "host",
    "passfile",
    "port",
    "service",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
}
# A cable that was pulled is noticed within about a minute.
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_SESSION = """
SELECT set_config('statement_timeout', %s, false),
       set_config('lock_timeout', %s, false),
       set_config('idle_in_transaction_session_timeout', %s, false),
       CASE WHEN current_setting('synchronous_commit') = 'off'
            THEN set_config('synchronous_commit', 'on', false) END
"""

_WRONG_STATES = ("0A", "28", "3D", "3F", "42")  # unsupported, credentials, names, privileges
_WRONG_WORDS = (
    "authentication failed",
    "does not exist",
    "no password supplied",
    "no pg_hba.conf entry",
    "not permitted to log in",
    "permission denied",
)

_log = logging.getLogger(__name__)


class PostgresDatabase(Database):
    """A database of a PostgreSQL server, over psycopg; the pool holds `pool_size` connections at
    most, of which about a third only read.

    A commit waits for the disk (``synchronous_commit``). The row of a room is locked from the
    numbering of an event to its commit, so several processes may write to one room (R95). After a
    loss of the server, what can safely be done again is done again on a new connection; the rest
    fails with `UnavailableError`, and later calls connect anew.
    """

    def __init__(self, url: str, *, pool_size: int = POOL_SIZE) -> None:
        try:
            import psycopg  # noqa: F401 - also fails where it finds no libpq
        except ImportError as error:
            raise MissingExtraError("postgres", "a PostgreSQL store") from error
        self._url = parse_url(url)
        self.pool_size = pool_size
        super().__init__(self._url.set(drivername="postgresql").render_as_string())

    def _connect(self) -> Sides:
        if self.pool_size < 2:
            size = self.pool_size
            raise ConfigurationError(f"the pool needs 2 connections or more, not {size}")
        readers = max(1, self.pool_size // 3)
        writers = self.pool_size - readers
        self.lanes = min(LANES, writers)
        writer = self._side("writer", writers, "READ COMMITTED")
        return Sides(writer, self._side("reader", readers, "AUTOCOMMIT"))

    def _prepare(self, engine: Engine) -> None:
        try:
            with engine.begin() as connection:
                for name in ("statement_timeout", "lock_timeout"):
                    connection.exec_driver_sql(f"SET LOCAL {name} = {MIGRATION_TIMEOUT_MS}")
                self._check(dict(connection.execute(_SERVER).mappings().one()))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
                bring_up_to_date(connection)
        except DBAPIError as error:
            said = " ".join(str(error.orig).split())
            kind = ConfigurationError if _is_wrong(error, said) else UnavailableError
            raise kind(f"cannot use {self.name}: {said}") from error

    def _check(self, server: dict[str, str]) -> None:
        if server["encoding"] != "UTF8":
            raise ConfigurationError(
                f"{self.name} has encoding {server['encoding']}: create it with ENCODING 'UTF8'"
            )
        if server["fsync"] != "on":
            _log.warning("%s runs with fsync=off: a loss of power may destroy it", self.name)

    def _side(self, name: str, size: int, isolation: str) -> Side:
        defaults: dict[str, Any] = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "salon",
        }
        given = {key: value for key, value in defaults.items() if key not in self._url.query}
        engine = create_engine(
            self._url,
            poolclass=QueuePool,
            pool_size=size,
            max_overflow=0,
            isolation_level=isolation,
            connect_args={"client_encoding": "utf8"} | _KEEPALIVE | given,
            json_serializer=as_text,
            json_deserializer=as_text,
            hide_parameters=True,
        )
        event.listen(engine, "connect", _set_session)
        return Side(engine, ThreadPoolExecutor(size, thread_name_prefix=f"salon-store-{name}"))


_SERVER = text(
    "SELECT current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync"
)


def parse_url(url: str) -> URL:
    """The parts of a store URL. `ConfigurationError`, which never shows the password, if it is
    none or has parameters that are not known here."""
    scheme, separator, _ = url.partition("://")
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"not a PostgreSQL URL: give {FORM}") from None
    if not separator or scheme not in ("postgresql", "postgres"):
        raise ConfigurationError(f"not a PostgreSQL URL: give {FORM}")
    if not parts.database:
        raise ConfigurationError(f"the PostgreSQL URL names no database: give {FORM}")
    unknown = sorted(parts.query.keys() - _PARAMETERS)
    if unknown:
        raise ConfigurationError(
            f"the PostgreSQL URL does not take {', '.join(unknown)}, only "
            + ", ".join(sorted(_PARAMETERS))
        )
    return parts.set(drivername="postgresql+psycopg")


def _is_wrong(error: DBAPIError, said: str) -> bool:
    """The server answered, and will not answer otherwise later. libpq gives no code for what fails
    while connecting."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state)[:2] in _WRONG_STATES
    return any(words in said for words in _WRONG_WORDS)


def _set_session(connection: Any, _record: Any) -> None:
    autocommit, connection.autocommit = connection.autocommit, True
    timeouts = (STATEMENT_TIMEOUT_MS, LOCK_TIMEOUT_MS, IDLE_TRANSACTION_TIMEOUT_MS)
    connection.execute(_SESSION, [str(timeout) for timeout in timeouts])
    connection.autocommit = autocommit


class PostgresStore(SqlStore):
    """A `ConversationStore` on PostgreSQL: ``PostgresStore("postgresql://user:password@host/db")``.

    `open`, or `init` under the name RoomKit gave it, connects and creates or migrates the tables.
    """

    def __init__(
        self, dsn: str, *, pool_size: int = POOL_SIZE, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._postgres = PostgresDatabase(dsn, pool_size=pool_size)
        super().__init__(self._postgres, clock=clock)

    @property
    def database(self) -> PostgresDatabase:
        """To share with other stores, which then need no connections of their own."""
        return self._postgres

    def __repr__(self) -> str:
        return f"PostgresStore({self._postgres.name!r})"

    async def init(self, min_size: int = 1, max_size: int | None = None) -> None:
        """Connect, and create or migrate the tables. `max_size` bounds the pool in place of
        `pool_size`; connections are made when first needed, whatever `min_size` says."""
        if max_size is not None:
            self._postgres.pool_size = max_size
        await self.open()
