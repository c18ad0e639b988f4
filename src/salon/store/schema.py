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
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

HEAD = "0001"
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


rooms = Table(
    "rooms",
    metadata,
    _seq(),
    Column("id", String, nullable=False, unique=True),
    Column("organization_id", String),
    Column("status", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
    Column("inactive_after_seconds", Integer),
    Column("closed_after_seconds", Integer),
    Column("last_activity_at", UtcDateTime),
    Column("metadata", JSON, nullable=False),
    Column("event_count", BigInteger, nullable=False),
    Column("latest_index", BigInteger),
    Column("agent_response_policy", String, nullable=False),
    Column("delivered_index", BigInteger, nullable=False),
    Index(None, "status", "created_at"),
    Index(None, "created_at"),
)

# `document` is the whole event but for what may differ from it: index and delivery_results.
events = Table(
    "events",
    metadata,
    _room_id(),
    Column("index", BigInteger, nullable=False),
    Column("id", String, nullable=False),
    Column("idempotency_key", String),
    Column("type", String, nullable=False),
    Column("status", String, nullable=False),
    Column("visibility", String, nullable=False),
    Column("channel_id", String, nullable=False),
    Column("channel_type", String, nullable=False),
    Column("participant_id", String),
    Column("correlation_id", String),
    Column("parent_event_id", String),
    Column("created_at", UtcDateTime, nullable=False),
    Column("document", JSON, nullable=False),
    Column("delivery_results", JSON, nullable=False),
    PrimaryKeyConstraint("room_id", "index"),
    UniqueConstraint("room_id", "id"),
    UniqueConstraint("room_id", "idempotency_key"),
)

bindings = Table(
    "bindings",
    metadata,
    _seq(),
    _room_id(),
    Column("channel_id", String, nullable=False),
    Column("channel_type", String, nullable=False),
    Column("document", JSON, nullable=False),
    UniqueConstraint("room_id", "channel_id"),
    Index(None, "channel_id"),
)

participants = Table(
    "participants",
    metadata,
    _seq(),
    _room_id(),
    Column("id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("document", JSON, nullable=False),
    UniqueConstraint("room_id", "id"),
    Index(None, "id"),
)

tasks = Table(
    "tasks",
    metadata,
    _seq(),
    _room_id(),
    Column("id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("document", JSON, nullable=False),
    Index(None, "room_id"),
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
