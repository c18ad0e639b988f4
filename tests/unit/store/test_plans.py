"""What is asked often is found by an index, without sorting what else there is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from salon.models import RoomStatus
from salon.models.filters import EventFilter
from salon.models.identity import Identity
from salon.store import SqliteDatabase, SqlStore
from salon.testing.contracts.samples import later, make_binding, make_event, new_room

CONSTRAINT = "sqlite_autoindex"
"""SQLite does not name the indexes of keys and unique constraints."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    store = SqlStore(SqliteDatabase(tmp_path / "salon.db"))
    await store.open()
    await new_room(store)
    await store.add_binding(make_binding())
    await store.commit_event(make_event(id="e"), at=later(1))
    await store.create_identity(Identity(id="ann", channel_addresses={"sms": ["1"]}))
    yield store
    await store.close()


async def plan(store: SqlStore, call: Callable[[SqlStore], Awaitable[Any]]) -> list[str]:
    """How SQLite finds what the statements of a call ask for."""
    sides = store._database._sides
    assert sides is not None
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            asked.append((statement, parameters))

    engines = (sides.reader.engine, sides.writer.engine)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    await call(store)
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)
    assert asked

    def explain(connection: Connection) -> list[str]:
        found = []
        for statement, parameters in list(asked):
            many = parameters if isinstance(parameters, list) else [parameters]
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", many[0])
            found += [str(row[3]) for row in rows]
        return found

    return await store._database.read(explain)


@pytest.mark.parametrize(
    ("call", "index"),
    [
        (lambda s: s.get_room("room"), CONSTRAINT),
        (lambda s: s.list_rooms(), "ix_rooms_created_at"),
        (lambda s: s.list_rooms(status=RoomStatus.ACTIVE), "ix_rooms_status_created_at"),
        (lambda s: s.list_rooms(organization_id="x"), "ix_rooms_organization_id_created_at"),
        (lambda s: s.find_rooms_due(later(1)), "ix_rooms_due_at"),
        (lambda s: s.find_undelivered_rooms(), "ix_rooms_pending"),
        (lambda s: s.find_undelivered_rooms(after="a"), "ix_rooms_pending"),
        (lambda s: s.find_room_ids_by_channel("phone"), "ix_bindings_channel_id"),
        (
            lambda s: s.find_room_ids_by_recipient("phone", "+1"),
            "ix_bindings_channel_id_recipient",
        ),
        (lambda s: s.find_latest_room("ann", channel_id="phone"), "ix_participants_id"),
        (lambda s: s.find_latest_room("ann", channel_id="phone"), "ix_participants_external_id"),
        (
            lambda s: s.find_latest_room(
                "ann", channel_id="phone", statuses=[RoomStatus.ACTIVE], organization_id="x"
            ),
            "ix_participants_external_id",
        ),
        (
            lambda s: s.find_room_ids_by_recipient(
                "phone", "+1", statuses=[RoomStatus.ACTIVE], organization_id="x"
            ),
            "ix_bindings_channel_id_recipient",
        ),
        (lambda s: s.get_event("e"), "ix_events_id"),
        (lambda s: s.get_event("e", "room"), CONSTRAINT),
        (
            lambda s: s.get_event_by_idempotency_key("room", "k"),
            CONSTRAINT,
        ),
        (lambda s: s.list_events("room", newest_first=True), CONSTRAINT),
        (lambda s: s.get_conversation("room"), CONSTRAINT),
        (lambda s: s.list_events("room", before_index=50), CONSTRAINT),
        (lambda s: s.list_events("room", after_index=50), CONSTRAINT),
        (
            lambda s: s.list_events("room", event_filter=EventFilter(parent_event_id="e")),
            "ix_events_room_id_parent_event_id_index",
        ),
        (
            lambda s: s.get_thread_summaries("room", ["e", "f"]),
            "ix_events_room_id_parent_event_id_index",
        ),
        (lambda s: s.get_unread_count("room", "phone"), CONSTRAINT),
        (lambda s: s.get_task("t"), "ix_tasks_id"),
        (lambda s: s.list_tasks("room"), CONSTRAINT),
        (lambda s: s.resolve_identity("sms", "1"), "uq_addresses_unscoped"),
        (lambda s: s.resolve_identity("sms", "1", "x"), "uq_addresses_scoped"),
        (lambda s: s.advance_delivered_indexes({"room": 0}), CONSTRAINT),
        (lambda s: s.update_event(make_event(id="e")), CONSTRAINT),
        (lambda s: s.delete_event("room", "e"), "room_id"),
    ],
)
async def test_searches_use_an_index(
    store: SqlStore, call: Callable[[SqlStore], Awaitable[Any]], index: str
) -> None:
    steps = await plan(store, call)
    assert any(index in step for step in steps)
    scans = [step for step in steps if step.startswith("SCAN") and "USING" not in step]
    assert {*scans} <= {"SCAN known"}  # the few that an index found before
