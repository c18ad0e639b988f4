"""Timers, revisions, threads, read markers, identities, addresses; keys per channel."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAGE = 500


def _seq() -> sa.Column[int]:
    wide = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("seq", wide, autoincrement=True, nullable=False)


def upgrade() -> None:
    _rooms()
    _events()
    _tasks()
    _members()
    op.create_table(
        "read_markers",
        sa.Column("room_id", sa.String(), nullable=False),
        sa.Column("channel_id", sa.String(), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["room_id"], ["rooms.id"], name=op.f("fk_read_markers_room_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("room_id", "channel_id", name=op.f("pk_read_markers")),
    )
    _identities()


def _rooms() -> None:
    # Not in a batch: SQLite would make the table anew, and dropping the old one deletes all rooms.
    op.add_column("rooms", sa.Column("paused_at", sa.DateTime(timezone=True)))
    op.add_column(
        "rooms", sa.Column("revision", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("rooms", sa.Column("due_at", sa.BigInteger()))
    op.add_column(
        "rooms", sa.Column("pending", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    pending: sa.ColumnClause[bool] = sa.column("pending", sa.Boolean)
    counters = [sa.column(name, sa.BigInteger) for name in ("delivered_index", "latest_index")]
    rooms = sa.table("rooms", pending, *counters)
    behind = rooms.c.delivered_index < rooms.c.latest_index
    op.execute(sa.update(rooms).where(behind).values(pending=sa.true()))
    op.execute("UPDATE rooms SET paused_at = updated_at WHERE status = 'paused'")
    _fill_due()
    op.create_index(
        op.f("ix_rooms_organization_id_created_at"), "rooms", ["organization_id", "created_at"]
    )
    _partial("ix_rooms_due_at", "rooms", ["due_at"], "due_at IS NOT NULL")
    op.create_index(
        op.f("ix_rooms_pending"),
        "rooms",
        ["id"],
        sqlite_where=sa.text("pending = 1"),
        postgresql_where=sa.text("pending"),
    )


def _fill_due() -> None:
    at = sa.DateTime(timezone=True)
    rooms = sa.table(
        "rooms",
        *(sa.column("id", sa.String), sa.column("status", sa.String), sa.column("due_at")),
        *(sa.column(name, at) for name in ("created_at", "last_activity_at", "paused_at")),
        *(sa.column(name) for name in ("inactive_after_seconds", "closed_after_seconds")),
    )
    found = op.get_bind().execute(
        sa.select(rooms).where(
            rooms.c.status.in_(["active", "paused"]),
            sa.or_(
                rooms.c.inactive_after_seconds.is_not(None),
                rooms.c.closed_after_seconds.is_not(None),
            ),
        )
    )
    for row in found.mappings().all():
        if row["status"] == "active":
            since, seconds = (
                row["last_activity_at"] or row["created_at"],
                row["inactive_after_seconds"],
            )
        else:
            since, seconds = row["paused_at"], row["closed_after_seconds"]
        if since is None or seconds is None:
            continue
        since = since.replace(tzinfo=UTC) if since.tzinfo is None else since
        due = (since + timedelta(seconds=seconds) - _EPOCH) // timedelta(microseconds=1)
        op.get_bind().execute(sa.update(rooms).where(rooms.c.id == row["id"]).values(due_at=due))


def _events() -> None:
    op.add_column("events", sa.Column("responds_to", sa.String()))
    op.add_column("events", sa.Column("idempotency_channel_id", sa.String()))
    op.execute(
        "UPDATE events SET idempotency_channel_id = channel_id WHERE idempotency_key IS NOT NULL"
    )
    _fill_responds_to()
    with op.batch_alter_table("events") as batch:
        batch.drop_constraint("uq_events_room_id_idempotency_key", type_="unique")
        batch.create_unique_constraint(
            op.f("uq_events_room_id_idempotency_key_idempotency_channel_id"),
            ["room_id", "idempotency_key", "idempotency_channel_id"],
        )
    op.create_index(op.f("ix_events_id"), "events", ["id"])
    _partial(
        "ix_events_room_id_parent_event_id_index",
        "events",
        ["room_id", "parent_event_id", "index"],
        "parent_event_id IS NOT NULL",
    )


def _fill_responds_to() -> None:
    """Documents are read here, for not every engine reads JSON with NUL characters."""
    document = sa.column("document", sa.Text)
    events = sa.table(
        "events", sa.column("room_id"), sa.column("index"), sa.column("responds_to"), document
    )
    text: Any = sa.cast(document, sa.Text)
    place = sa.tuple_(events.c.room_id, events.c["index"])
    query = (
        sa.select(events.c.room_id, events.c["index"], text.label("text"))
        .where(text.like('%"responds_to":"%'))
        .order_by(events.c.room_id, events.c["index"])
        .limit(_PAGE)
    )
    last: tuple[str, int] | None = None
    while True:
        page = query if last is None else query.where(place > last)
        found = op.get_bind().execute(page).mappings().all()
        for row in found:
            last = row["room_id"], row["index"]
            answered = json.loads(row["text"]).get("responds_to")
            op.get_bind().execute(
                sa.update(events)
                .where(events.c.room_id == last[0], events.c["index"] == last[1])
                .values(responds_to=answered)
            )
        if len(found) < _PAGE:
            return


def _tasks() -> None:
    """One per room and id: the newest."""
    op.execute(
        "DELETE FROM tasks WHERE seq NOT IN (SELECT max(seq) FROM tasks GROUP BY room_id, id)"
    )
    op.drop_index("ix_tasks_room_id", "tasks")
    with op.batch_alter_table("tasks") as batch:
        batch.create_unique_constraint(op.f("uq_tasks_room_id_id"), ["room_id", "id"])
    op.create_index(op.f("ix_tasks_id"), "tasks", ["id"])


def _members() -> None:
    """Who is found by an address. What a binding's metadata names is not known here."""
    op.add_column("bindings", sa.Column("recipient", sa.String()))
    _partial(
        "ix_bindings_channel_id_recipient",
        "bindings",
        ["channel_id", "recipient"],
        "recipient IS NOT NULL",
    )
    op.add_column("participants", sa.Column("external_id", sa.String()))
    _fill_external_id()
    _partial(
        "ix_participants_external_id", "participants", ["external_id"], "external_id IS NOT NULL"
    )


def _fill_external_id() -> None:
    """As `_fill_responds_to`."""
    document = sa.column("document", sa.Text)
    people = sa.table("participants", sa.column("seq"), sa.column("external_id"), document)
    text: Any = sa.cast(document, sa.Text)
    query = (
        sa.select(people.c.seq, text.label("text"))
        .where(text.like('%"external_id":"%'))
        .order_by(people.c.seq)
        .limit(_PAGE)
    )
    last = 0
    while True:
        found = op.get_bind().execute(query.where(people.c.seq > last)).mappings().all()
        for row in found:
            last = row["seq"]
            address = json.loads(row["text"]).get("external_id")
            if address and "\0" not in address:
                op.get_bind().execute(
                    sa.update(people).where(people.c.seq == last).values(external_id=address)
                )
        if len(found) < _PAGE:
            return


def _identities() -> None:
    op.create_table(
        "identities",
        _seq(),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("organization_id", sa.String()),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_identities")),
        sa.UniqueConstraint("id", name=op.f("uq_identities_id")),
    )
    op.create_table(
        "addresses",
        _seq(),
        sa.Column("identity_id", sa.String(), nullable=False),
        sa.Column("organization_id", sa.String()),
        sa.Column("channel_type", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["identity_id"],
            ["identities.id"],
            name=op.f("fk_addresses_identity_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_addresses")),
    )
    op.create_index(op.f("ix_addresses_identity_id"), "addresses", ["identity_id"])
    place = ["address", "channel_type"]
    _partial("uq_addresses_unscoped", "addresses", place, "organization_id IS NULL", unique=True)
    scoped = [*place, "organization_id"]
    _partial("uq_addresses_scoped", "addresses", scoped, "organization_id IS NOT NULL", unique=True)


def _partial(
    name: str, table: str, columns: list[str], where: str, *, unique: bool = False
) -> None:
    only = sa.text(where)
    op.create_index(
        op.f(name), table, columns, unique=unique, sqlite_where=only, postgresql_where=only
    )


def downgrade() -> None:
    op.drop_table("addresses")
    op.drop_table("identities")
    op.drop_table("read_markers")
    op.drop_index("ix_participants_external_id", "participants")
    op.drop_column("participants", "external_id")
    op.drop_index("ix_bindings_channel_id_recipient", "bindings")
    op.drop_column("bindings", "recipient")
    op.drop_index("ix_tasks_id", "tasks")
    with op.batch_alter_table("tasks") as batch:
        batch.drop_constraint("uq_tasks_room_id_id", type_="unique")
    op.create_index(op.f("ix_tasks_room_id"), "tasks", ["room_id"])
    op.drop_index("ix_events_room_id_parent_event_id_index", "events")
    op.drop_index("ix_events_id", "events")
    with op.batch_alter_table("events") as batch:
        batch.drop_constraint(
            "uq_events_room_id_idempotency_key_idempotency_channel_id", type_="unique"
        )
        batch.drop_column("responds_to")
        batch.drop_column("idempotency_channel_id")
        batch.create_unique_constraint(
            op.f("uq_events_room_id_idempotency_key"), ["room_id", "idempotency_key"]
        )
    for name in ("pending", "due_at", "organization_id_created_at"):
        op.drop_index(f"ix_rooms_{name}", "rooms")
    for name in ("pending", "due_at", "revision", "paused_at"):
        op.drop_column("rooms", name)
