"""Numbering and storing events, several commits in one transaction where they meet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from salon.base import SalonError, UnavailableError
from salon.core.errors import RoomNotFoundError
from salon.core.ports.store import EventNotFoundError
from salon.models import RoomEvent
from salon.store import rows as models
from salon.store.database import Database, Transact
from salon.store.numbering import Growth, grow
from salon.store.schema import events

GROUP = 64
"""Commits in one transaction at most."""

GROUP_SIZE = 4_000_000
"""Characters of documents in one transaction, beyond which no further commit joins it: small ones
don't wait for large ones."""

SCAN = 256
"""Commits looked at for one transaction at most: those of rooms being written must wait."""


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
        commit = _Commit(room_id, models.utc(at), rows, target, loop.create_future())
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
        size = 0
        group: list[_Commit] = []
        later: list[_Commit] = []
        while self._waiting and len(group) < GROUP and len(later) < SCAN and size < GROUP_SIZE:
            commit = self._waiting.popleft()
            if commit.room_id in busy:
                later.append(commit)
            elif not commit.first.done():
                group.append(commit)
                size += sum(len(row["document"]) for row in commit.rows)
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
    growths = [_growth(room_id, commits) for room_id, commits in by_room.items()]
    next_index = grow(connection, growths)
    firsts: list[int | None] = []
    for commit in group:
        first = next_index.get(commit.room_id)
        firsts.append(first)
        if first is not None:
            next_index[commit.room_id] = first + len(commit.rows)
            if commit.target is not None:
                _change_target(connection, commit.target)
    return firsts


def _growth(room_id: str, commits: Sequence[_Commit]) -> Growth:
    rows = [row for commit in commits for row in commit.rows]
    turns = sum(commit.target is not None for commit in commits)
    return Growth(room_id, rows, commits[-1].at, turns)


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
