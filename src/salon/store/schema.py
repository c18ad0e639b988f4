"""The tables, the same on SQLite and PostgreSQL. Changes go through `migrations/`.

JSON columns carry text that pydantic wrote and reads (`rows`): the engines leave it alone. `seq`
columns hold the order of insertion, which a replaced row keeps.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

HEAD = "0002"
"""The newest migration this version of Salon knows."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: written as UTC, read back aware. A naive value counts as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class bytewise(FunctionElement[str]):  # noqa: N801 - reads like a function of SQL
    """A text column in the order of its bytes, whatever the language of the database."""

    type = String()
    inherit_cache = True


@compiles(bytewise)
def _bytewise(element: bytewise, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(bytewise, "postgresql")
def _bytewise_on_postgresql(element: bytewise, compiler: Any, **options: Any) -> str:
    return f'({compiler.process(element.clauses, **options)}) COLLATE "C"'


def as_text(value: str | bytes) -> str:
    """JSON as it is: pydantic writes and reads it."""
    return value.decode() if isinstance(value, bytes) else value


def _seq() -> Column[int]:
    wide = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER is the row id there
    return Column("seq", wide, primary_key=True, autoincrement=True)


def _room_id() -> Column[str]:
    return Column("room_id", ForeignKey("rooms.id", ondelete="CASCADE"), nullable=False)


# `due_at` is when the timers fall due, in microseconds since 1970: every engine can add to it.
# `pending` rooms may have events beyond `delivered_index`, others have none. Commits set it, the
# search for such rooms unsets it: as long as no index changes, PostgreSQL moves counters in place.
rooms = Table(
    "rooms",
    metadata,
    _seq(),
    Column("id", String, nullable=False, unique=True),
    Column("organization_id", String),
    Column("status", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("paused_at", UtcDateTime),
    Column("closed_at", UtcDateTime),
    Column("inactive_after_seconds", Integer),
    Column("closed_after_seconds", Integer),
    Column("last_activity_at", UtcDateTime),
    Column("metadata", JSON, nullable=False),
    Column("event_count", BigInteger, nullable=False),
    Column("latest_index", BigInteger),
    Column("agent_response_policy", String, nullable=False),
    Column("delivered_index", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, server_default="0"),
    Column("due_at", BigInteger),
    Column("pending", Boolean, nullable=False, server_default=false()),
    Index(None, "status", "created_at"),
    Index(None, "organization_id", "created_at"),
    Index(None, "created_at"),
)
_due = rooms.c.due_at.is_not(None)
Index(None, rooms.c.due_at, sqlite_where=_due, postgresql_where=_due)
Index(
    "ix_rooms_pending",
    rooms.c.id,
    sqlite_where=text("pending = 1"),  # as queries say it there
    postgresql_where=text("pending"),
)

# `document` is the whole event but for what may differ from it: index and delivery_results. A key
# counts for the channel that the event came through when it was committed.
events = Table(
    "events",
    metadata,
    _room_id(),
    Column("index", BigInteger, nullable=False),
    Column("id", String, nullable=False),
    Column("idempotency_key", String),
    Column("idempotency_channel_id", String),
    Column("type", String, nullable=False),
    Column("status", String, nullable=False),
    Column("visibility", String, nullable=False),
    Column("channel_id", String, nullable=False),
    Column("channel_type", String, nullable=False),
    Column("participant_id", String),
    Column("correlation_id", String),
    Column("parent_event_id", String),
    Column("responds_to", String),
    Column("created_at", UtcDateTime, nullable=False),
    Column("document", JSON, nullable=False),
    Column("delivery_results", JSON, nullable=False),
    PrimaryKeyConstraint("room_id", "index"),
    UniqueConstraint("room_id", "id"),
    UniqueConstraint("room_id", "idempotency_key", "idempotency_channel_id"),
    Index(None, "id"),
)
_reply = events.c.parent_event_id.is_not(None)
Index(
    None,
    *(events.c.room_id, events.c.parent_event_id, events.c["index"]),
    sqlite_where=_reply,
    postgresql_where=_reply,
)

bindings = Table(
    "bindings",
    metadata,
    _seq(),
    _room_id(),
    Column("channel_id", String, nullable=False),
    Column("channel_type", String, nullable=False),
    Column("recipient", String),
    Column("document", JSON, nullable=False),
    UniqueConstraint("room_id", "channel_id"),
    Index(None, "channel_id"),
)
_named = bindings.c.recipient.is_not(None)
Index(
    None,
    *(bindings.c.channel_id, bindings.c.recipient),
    sqlite_where=_named,
    postgresql_where=_named,
)

participants = Table(
    "participants",
    metadata,
    _seq(),
    _room_id(),
    Column("id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("external_id", String),
    Column("document", JSON, nullable=False),
    UniqueConstraint("room_id", "id"),
    Index(None, "id"),
)
_known = participants.c.external_id.is_not(None)
Index(None, participants.c.external_id, sqlite_where=_known, postgresql_where=_known)

tasks = Table(
    "tasks",
    metadata,
    _seq(),
    _room_id(),
    Column("id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("document", JSON, nullable=False),
    UniqueConstraint("room_id", "id"),
    Index(None, "id"),
)

observations = Table(
    "observations",
    metadata,
    _seq(),
    _room_id(),
    Column("id", String, nullable=False),
    Column("document", JSON, nullable=False),
    Index(None, "room_id"),
)

read_markers = Table(
    "read_markers",
    metadata,
    _room_id(),
    Column("channel_id", String, nullable=False),
    Column("index", BigInteger, nullable=False),
    PrimaryKeyConstraint("room_id", "channel_id"),
)

identities = Table(
    "identities",
    metadata,
    _seq(),
    Column("id", String, nullable=False, unique=True),
    Column("organization_id", String),
    Column("document", JSON, nullable=False),
)

addresses = Table(
    "addresses",
    metadata,
    _seq(),
    Column("identity_id", ForeignKey("identities.id", ondelete="CASCADE"), nullable=False),
    Column("organization_id", String),
    Column("channel_type", String, nullable=False),
    Column("address", String, nullable=False),
    Index(None, "identity_id"),
)
# NULLs differ from each other, so those without organization need an index of their own.
_unscoped = addresses.c.organization_id.is_(None)
_scoped = addresses.c.organization_id.is_not(None)
Index(
    "uq_addresses_unscoped",
    *(addresses.c.address, addresses.c.channel_type),
    unique=True,
    sqlite_where=_unscoped,
    postgresql_where=_unscoped,
)
Index(
    "uq_addresses_scoped",
    *(addresses.c.address, addresses.c.channel_type, addresses.c.organization_id),
    unique=True,
    sqlite_where=_scoped,
    postgresql_where=_scoped,
)

# No foreign key: a call is remembered longer than its room.
calls = Table(
    "calls",
    metadata,
    _seq(),
    Column("id", String, nullable=False),
    Column("handler", String, nullable=False),
    Column("room_id", String),
    Column("participant_id", String),
    Column("state", String, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("reason", String),
    Index(None, "id", "state"),
    Index(None, "state"),
    Index(None, "room_id", "started_at"),
    Index(None, "started_at"),
)
