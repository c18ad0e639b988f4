"""Counting and storing events: the statements of a commit, for either engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Column,
    Connection,
    Executable,
    Integer,
    String,
    any_,
    bindparam,
    case,
    cast,
    func,
    insert,
    select,
    true,
    update,
)

from salon.models import RoomStatus
from salon.store import rows as models
from salon.store.schema import UtcDateTime, events, rooms


@dataclass(frozen=True, slots=True)
class Growth:
    """What a room grows by in one transaction: rows of events that have no index yet, and `turns`,
    the number of earlier events that change."""

    room_id: str
    rows: Sequence[dict[str, Any]]
    at: datetime
    turns: int = 0


def grow(connection: Connection, growths: Sequence[Growth]) -> dict[str, int]:
    """Number and store the rows, and move the counters of their rooms (R99): the first index that
    each room gave. Rooms that don't exist are not in it; no room may occur twice.

    Counting locks the rooms: whoever commits next sees these indices.
    """
    if connection.dialect.name == "postgresql":
        return _grow_at_once(connection, growths)
    firsts: dict[str, int] = {}
    numbered: list[dict[str, Any]] = []
    for growth in growths:
        last: int | None = connection.execute(_COUNT, _move(growth)).scalar()
        if last is None:
            continue
        first = firsts[growth.room_id] = last + 1 - len(growth.rows)
        numbered += ({**row, "index": first + nth} for nth, row in enumerate(growth.rows))
    if numbered:
        connection.execute(_ADD, numbered)
    return firsts


def advance(connection: Connection, indexes: Mapping[str, int]) -> None:
    """Note how far these rooms are delivered, unless they are further."""
    ids = sorted(indexes)
    if connection.dialect.name == "postgresql":
        connection.execute(_ADVANCE_ALL, {"ids": ids, "reached": [indexes[name] for name in ids]})
    else:
        connection.execute(_ADVANCE, [{"this": name, "reached": indexes[name]} for name in ids])


def _move(growth: Growth) -> dict[str, Any]:
    return {
        "this": growth.room_id,
        "more": len(growth.rows),
        "turns": growth.turns,
        "at": growth.at,
        "since": models.microseconds(growth.at),
    }


def _counters(more: Any, turns: Any, at: Any, since: Any) -> dict[str, Any]:
    """What a commit of `more` events and `turns` changes of earlier ones moves (R99)."""
    idle = cast(rooms.c.inactive_after_seconds, BigInteger) * 1_000_000
    pausing = (rooms.c.status == str(RoomStatus.ACTIVE)) & idle.is_not(None)
    return {
        "event_count": rooms.c.event_count + more,
        "latest_index": func.coalesce(rooms.c.latest_index, -1) + more,
        "revision": rooms.c.revision + turns,
        "updated_at": at,
        "last_activity_at": at,
        "due_at": case((pausing, since + idle), else_=rooms.c.due_at),
        "pending": true(),
    }


_COUNT = (
    update(rooms)
    .where(rooms.c.id == bindparam("this"))
    .values(
        _counters(
            bindparam("more", type_=BigInteger),
            bindparam("turns", type_=BigInteger),
            bindparam("at", type_=UtcDateTime),
            bindparam("since", type_=BigInteger),
        )
    )
    .returning(rooms.c.latest_index)
)
_ADD = insert(events)
_ADVANCE = (
    update(rooms)
    .where(rooms.c.id == bindparam("this"), rooms.c.delivered_index < bindparam("reached"))
    .values(delivered_index=bindparam("reached"))
)


# -- PostgreSQL: all of it is one statement, whose text is always the same ------------------------

_IDS = bindparam("ids", type_=ARRAY(String))
_LOCKED = (
    select(rooms.c.id)
    .where(rooms.c.id == any_(_IDS))
    .order_by(rooms.c.id)
    .with_for_update(key_share=True)
    .cte("locked")
)
"""Takes the locks of several rooms, in the same order whoever does it."""


def _given(**kinds: Any) -> Any:
    """A table made of arrays of equal length, one per column, beside that of the ids."""
    arrays = (bindparam(name, type_=ARRAY(kind)) for name, kind in kinds.items())
    columns = (Column(name, kind) for name, kind in kinds.items())
    made = func.unnest(_IDS, *arrays).table_valued(Column("id", String), *columns)
    return made.render_derived(name="given")


def _is_json(column: Column[Any]) -> bool:
    return isinstance(column.type, JSON)


def _growing() -> Executable:
    """Lock, count, number, store; the first index of each room."""
    given = _given(more=BigInteger, turns=BigInteger, at=UtcDateTime, since=BigInteger)
    counted = (
        update(rooms)
        .where(rooms.c.id == given.c.id, rooms.c.id == _LOCKED.c.id)
        .values(_counters(given.c.more, given.c.turns, given.c.at, given.c.since))
        .returning(rooms.c.id, (rooms.c.latest_index - given.c.more).label("before"))
        .cte("counted")
    )
    columns = [column for column in events.c if column.name != "index"]
    new = (
        func.json_to_recordset(cast(bindparam("rows", type_=String), JSON))
        .table_valued(
            Column("nth", Integer),
            *(Column(each.name, String if _is_json(each) else each.type) for each in columns),
        )
        .render_derived(name="new", with_types=True)
    )
    values = (
        cast(new.c[each.name], JSON) if _is_json(each) else new.c[each.name] for each in columns
    )
    numbered = select(counted.c.before + new.c.nth, *values).where(counted.c.id == new.c.room_id)
    added = (
        insert(events)
        .from_select([events.c["index"], *columns], numbered)
        .returning(events.c["index"])
        .cte("added")
    )
    return select(counted.c.id, (counted.c.before + 1).label("first")).add_cte(added)


def _advancing() -> Executable:
    given = _given(reached=BigInteger)
    ahead = rooms.c.delivered_index < given.c.reached
    return (
        update(rooms)
        .where(rooms.c.id == given.c.id, rooms.c.id == _LOCKED.c.id, ahead)
        .values(delivered_index=given.c.reached)
    )


_GROW = _growing()
_ADVANCE_ALL = _advancing()


def _grow_at_once(connection: Connection, growths: Sequence[Growth]) -> dict[str, int]:
    moves = [_move(growth) for growth in growths]
    given = {name: [move[name] for move in moves] for name in moves[0]}
    given["ids"] = given.pop("this")
    new = [_new_row(row, nth) for growth in growths for nth, row in enumerate(growth.rows, start=1)]
    found = connection.execute(_GROW, given | {"rows": json.dumps(new, ensure_ascii=False)})
    return {row.id: row.first for row in found}


def _new_row(row: Mapping[str, Any], nth: int) -> dict[str, Any]:
    """What JSON can hold. JSON itself goes as text: within JSON the server would unpack it, and
    refuse some of what it takes as a document."""
    return {**row, "nth": nth, "created_at": row["created_at"].isoformat()}
