"""Numbering and storing events, several commits in one transaction where they meet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Connection,
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
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from salon.base import SalonError, UnavailableError
from salon.core.errors import RoomNotFoundError
from salon.core.ports.store import EventNotFoundError
from salon.models import RoomEvent, RoomStatus
from salon.store import rows as models
from salon.store.database import Database, Transact
from salon.store.schema import UtcDateTime, events, rooms

GROUP = 64
"""Commits in one transaction at most."""

SCAN = 256
"""Commits looked at for one transaction at most: those of rooms being written must wait."""

# PostgreSQL counts for many rooms in one statement, after locking them in order.
_IDS = bindparam("ids", type_=ARRAY(String))
_LOCK_ALL = (
    select(rooms.c.id)
    .where(rooms.c.id == any_(_IDS))
    .order_by(rooms.c.id)
    .with_for_update(key_share=True)
)
_GIVEN = (
    func.unnest(
        _IDS,
        bindparam("more", type_=ARRAY(BigInteger)),
        bindparam("turns", type_=ARRAY(BigInteger)),
        bindparam("at", type_=ARRAY(UtcDateTime)),
        bindparam("since", type_=ARRAY(BigInteger)),
    )
    .table_valued(
        Column("id", String),
        Column("more", BigInteger),
        Column("turns", BigInteger),
        Column("at", UtcDateTime),
        Column("since", BigInteger),
    )
    .render_derived(name="given")
)


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
_COUNT_ALL = (
    update(rooms)
    .where(rooms.c.id == _GIVEN.c.id)
    .values(_counters(_GIVEN.c.more, _GIVEN.c.turns, _GIVEN.c.at, _GIVEN.c.since))
    .returning(rooms.c.id, rooms.c.latest_index)
)
_ADD_ONE = insert(events)
_ADD_MANY = insert(events).returning(events.c.room_id)  # makes it one statement for all rows


@dataclass(frozen=True, slots=True, eq=False)
class _Commit:
    """Rows of one room that are stored, and an earlier event that is changed, together or not at
    all; `first` gets the first index of the rows."""

    room_id: str
    at: datetime
    rows: Sequence[dict[str, Any]]
    target: RoomEvent | None
    first: asyncio.Future[int]


Outcome = int | Exception


class Committer:
    """Commits of concurrent callers go to the disk together: those that wait while others are
    written make the next transaction. Each still succeeds or fails by itself.

    The commits of one room happen in the order they were asked for: a room is in one transaction
    at a time, so no two connections of this process ever wait for each other.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Commit] = deque()
        self._going: list[_Commit] = []
        self._lanes = 0
        self._scheduled = False

    async def commit(
        self,
        room_id: str,
        rows: Sequence[dict[str, Any]],
        at: datetime,
        target: RoomEvent | None = None,
    ) -> int:
        """The index of the first of `rows`, which get consecutive ones. `target` must not change
        any more.

        Raises `RoomNotFoundError`, `EventNotFoundError`, `IntegrityError`, and what
        `Database.write` does. Cancelling cancels it if it has not begun.
        """
        self._database.check_open()
        loop = asyncio.get_running_loop()
        commit = _Commit(room_id, at, rows, target, loop.create_future())
        self._waiting.append(commit)
        self._schedule(loop)
        return await commit.first

    async def drain(self) -> None:
        """Until all that was asked for so far is done."""
        pending = [commit.first for commit in (*self._waiting, *self._going)]
        if pending:
            await asyncio.wait(pending)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin when all have run that can run now: they may have something to commit as well."""
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._scheduled = False
        while self._lanes < self._database.lanes and (group := self._take()):
            try:
                running = self._database.start(partial(_commit, group))
            except UnavailableError as error:  # closed meanwhile
                _tell(group, [error] * len(group))
                continue
            self._lanes += 1
            self._going += group
            running.add_done_callback(partial(self._finish, group))

    def _take(self) -> list[_Commit]:
        """What waits for rooms that no other transaction has."""
        busy = {commit.room_id for commit in self._going}
        group: list[_Commit] = []
        later: list[_Commit] = []
        while self._waiting and len(group) < GROUP and len(later) < SCAN:
            commit = self._waiting.popleft()
            if commit.room_id in busy:
                later.append(commit)
            elif not commit.first.done():
                group.append(commit)
        self._waiting.extendleft(reversed(later))
        return group

    def _finish(self, group: Sequence[_Commit], done: asyncio.Future[list[Outcome]]) -> None:
        self._lanes -= 1
        self._going = [commit for commit in self._going if commit not in group]
        error = done.exception()
        _tell(group, done.result() if error is None else [error] * len(group))
        if self._waiting:
            self._schedule(done.get_loop())


def _tell(group: Sequence[_Commit], outcomes: Sequence[int | BaseException]) -> None:
    for commit, outcome in zip(group, outcomes, strict=True):
        if commit.first.done():
            continue  # cancelled
        if isinstance(outcome, int):
            commit.first.set_result(outcome)
        else:
            commit.first.set_exception(outcome)


def _commit(group: Sequence[_Commit], transact: Transact) -> list[Outcome]:
    """In a thread that writes: what became of each."""
    try:
        firsts = transact(lambda connection: _store(connection, group))
    except (SQLAlchemyError, SalonError, ValueError) as error:
        if len(group) == 1 or not isinstance(error, IntegrityError | ValueError):
            return [error] * len(group)
        # The one at fault must not fail the others.
        return [outcome for commit in group for outcome in _commit([commit], transact)]
    return [
        RoomNotFoundError(commit.room_id) if first is None else first
        for commit, first in zip(group, firsts, strict=True)
    ]


def _store(connection: Connection, group: Sequence[_Commit]) -> list[int | None]:
    """The first index of each commit; None where there is no such room."""
    by_room: dict[str, list[_Commit]] = {}
    for commit in group:
        by_room.setdefault(commit.room_id, []).append(commit)
    # Counting first takes the rows' locks: whoever commits next sees these indices.
    counted = _count(connection, by_room)
    firsts: dict[int, int] = {}
    numbered: list[dict[str, Any]] = []
    for room_id, last in counted.items():
        index = last + 1 - _rows_of(by_room[room_id])
        for commit in by_room[room_id]:
            firsts[id(commit)] = index
            numbered += _numbered(commit.rows, index)
            index += len(commit.rows)
    if len(numbered) == 1:
        connection.execute(_ADD_ONE, numbered[0])
    elif numbered:
        connection.execute(_ADD_MANY, numbered)
    for commit in group:
        if commit.target is not None and commit.room_id in counted:
            _change_target(connection, commit.target)
    return [firsts.get(id(commit)) for commit in group]


def _change_target(connection: Connection, target: RoomEvent) -> None:
    if change_event(connection, target) is None:
        raise EventNotFoundError(target.room_id, target.id)


def change_event(connection: Connection, event: RoomEvent) -> RoomEvent | None:
    """Replace what may change of a stored event; what is stored then, None if it is unknown."""
    this = (events.c.room_id == event.room_id) & (events.c.id == event.id)
    kept = select(events.c["index"], events.c.idempotency_key, events.c.delivery_results)
    row = connection.execute(kept.where(this)).first()
    if row is None:
        return None
    index, key, results = row
    changes = {
        "index": index,
        "idempotency_key": key,
        "delivery_results": models.from_json(results),
    }
    changed = event.model_copy(update=changes)
    connection.execute(update(events).where(this).values(models.changed_event_row(changed)))
    return changed


def lock_rooms(connection: Connection, room_ids: Sequence[str]) -> None:
    """Lock several rooms, in the same order whoever does it; SQLite has one writer anyhow."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK_ALL, {"ids": list(room_ids)})


def _count(connection: Connection, by_room: Mapping[str, Sequence[_Commit]]) -> dict[str, int]:
    """Move the counters of the rooms that exist; their new last index."""
    moves = [_move(room_id, commits) for room_id, commits in by_room.items()]
    if len(moves) > 1 and connection.dialect.name == "postgresql":
        lock_rooms(connection, list(by_room))
        given = {name: [move[name] for move in moves] for name in moves[0]}
        given["ids"] = given.pop("this")
        found = connection.execute(_COUNT_ALL, given)
        return {row.id: row.latest_index for row in found}
    counted: dict[str, int] = {}
    for move in moves:
        last: int | None = connection.execute(_COUNT, move).scalar()
        if last is not None:
            counted[move["this"]] = last
    return counted


def _move(room_id: str, commits: Sequence[_Commit]) -> dict[str, Any]:
    at = commits[-1].at
    return {
        "this": room_id,
        "more": _rows_of(commits),
        "turns": sum(commit.target is not None for commit in commits),
        "at": at,
        "since": models.microseconds(at),
    }


def _rows_of(commits: Iterable[_Commit]) -> int:
    return sum(len(commit.rows) for commit in commits)


def _numbered(rows: Sequence[dict[str, Any]], first: int) -> Iterable[dict[str, Any]]:
    return ({**row, "index": first + number} for number, row in enumerate(rows))
