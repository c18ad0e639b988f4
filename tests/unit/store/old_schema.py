"""A database as version 0001 left it, and what must be in it after the migration."""

from __future__ import annotations

import json
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import JSON, Connection, insert, table
from sqlalchemy import column as col

from salon.core.ports.store import ConversationStore
from salon.models import RoomEvent, RoomStatus
from salon.models.filters import EventFilter
from salon.store import rows
from salon.store.migrate import SCRIPTS
from salon.store.schema import UtcDateTime
from salon.testing.contracts.samples import (
    indices,
    later,
    make_binding,
    make_event,
    make_participant,
)

TIMED = {"inactive_after_seconds": 60, "closed_after_seconds": 10}
_JSON = JSON()
_TYPES: dict[str, Any] = {
    "at": UtcDateTime(),
    "document": _JSON,
    "metadata": _JSON,
    "results": _JSON,
}


def migrate(connection: Connection, revision: str) -> None:
    """Up to a revision, or down."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    (command.upgrade if revision != "base" else command.downgrade)(config, revision)


def fill(connection: Connection) -> None:
    """Rooms of every kind, events with keys, threads, answers and NUL characters, a task twice."""
    migrate(connection, "0001")
    for name, status, more in (
        ("idle", "active", TIMED),
        ("busy", "active", TIMED | {"last_activity_at": later(500)}),
        ("paused", "paused", TIMED),
        ("room", "active", {}),
        ("shut", "closed", TIMED),
    ):
        _add(connection, "rooms", _room(name, status) | more)
    for number in range(1200):
        _add(connection, "events", _event(number))
    for name, row in (
        ("bindings", rows.binding_row(make_binding())),
        ("participants", rows.participant_row(make_participant(external_id="+1"))),
        ("participants", rows.participant_row(make_participant("bob", external_id="nul \0"))),
    ):
        found_by = {"recipient", "external_id"}
        _add(connection, name, {key: row[key] for key in row.keys() - found_by})
    for title in ("old", "new"):
        document = json.dumps({"id": "t", "room_id": "room", "title": title})
        _add(connection, "tasks", {"room_id": "room", "id": "t", "status": "pending"}, document)


def _room(name: str, status: str) -> dict[str, Any]:
    counted = {"event_count": 1200, "latest_index": 1199} if name == "room" else {}
    return {
        "id": name,
        "status": status,
        "created_at": later(0),
        "updated_at": later(100),
        "metadata": "{}",
        "event_count": 0,
        "agent_response_policy": "agent_chain",
        "delivered_index": -1,
    } | counted


def _event(number: int) -> dict[str, Any]:
    event = make_event(
        id=f"e{number}",
        words="nul \0 in words",
        idempotency_key=f"k{number}" if number % 100 == 0 else None,
        responds_to=f"e{number - 1}" if number % 2 else None,
        parent_event_id="e0" if number in (3, 5) else None,
    )
    values = rows.event_row(event)
    for name in ("responds_to", "idempotency_channel_id"):
        del values[name]
    return values | {"index": number}


def _add(connection: Connection, name: str, row: dict[str, Any], document: str = "") -> None:
    if document:
        row = row | {"document": document}
    columns = [col(key, _TYPES.get(key.rpartition("_")[2])) for key in row]
    connection.execute(insert(table(name, *columns)), row)


async def check(store: ConversationStore) -> None:
    """Everything is there, and found in the new ways."""
    assert len(await store.list_rooms()) == 5
    assert await indices(store) == list(range(1200))
    answers = await store.list_events("room", event_filter=EventFilter(responds_to="e1000"))
    assert [event.index for event in answers] == [1001]
    assert (await store.get_event("e1001")) == answers[0]
    assert await store.check_idempotency("room", "k1100", channel_id="phone")
    assert not await store.check_idempotency("room", "k1100", channel_id="mail")
    assert (await store.get_thread_summaries("room", ["e0"]))["e0"].reply_count == 2
    assert [task.title for task in await store.list_tasks("room")] == ["new"]
    assert len(await store.list_bindings("room")) == 1
    assert [person.id for person in await store.list_participants("room")] == ["ann", "bob"]
    for name in ("ann", "+1", "bob"):
        assert (await store.find_latest_room(name)) == await store.get_room("room")
    paused = await store.get_room("paused")
    assert paused is not None
    assert (paused.status, paused.paused_at, paused.revision) == (RoomStatus.PAUSED, later(100), 0)
    assert await store.find_rooms_due(later(59)) == []
    assert await store.find_rooms_due(later(999)) == ["idle", "paused", "busy"]
    assert await store.find_undelivered_rooms() == ["room"]
    stored = await store.commit_event(make_event(), at=later(1))
    assert isinstance(stored, RoomEvent)
    assert stored.index == 1200
