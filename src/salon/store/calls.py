"""The log of calls in a SQL database."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from salon.core.ports.calls import CallLog, CallRecord
from salon.store import rows
from salon.store.database import Database
from salon.store.schema import calls

_LIVE = calls.c.state == "live"


class SqlCallLog(CallLog):
    """A `CallLog` on a `Database`, which somebody else opens and closes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def started(self, record: CallRecord) -> None:
        def work(connection: Connection) -> None:
            connection.execute(delete(calls).where(calls.c.id == record.id, _LIVE))
            connection.execute(insert(calls), rows.call_row(record))

        await self._database.write(work)

    async def ended(self, call_id: str, *, at: datetime, reason: str) -> None:
        statement = (
            update(calls)
            .where(calls.c.id == call_id, _LIVE)
            .values(state="ended", ended_at=at, reason=reason)
        )

        def work(connection: Connection) -> None:
            connection.execute(statement)

        await self._database.write(work)

    async def fail_live(self, *, at: datetime) -> list[CallRecord]:
        statement = (
            update(calls)
            .where(_LIVE)
            .values(state="failed", ended_at=at, reason="failed")
            .returning(*calls.c)
        )

        def work(connection: Connection) -> list[CallRecord]:
            found = connection.execute(statement).mappings().all()
            return [rows.call_from(row) for row in sorted(found, key=lambda row: row["seq"])]

        return await self._database.write(work)

    async def list_calls(self, *, room_id: str | None = None, limit: int = 50) -> list[CallRecord]:
        query = select(calls).order_by(calls.c.started_at.desc(), calls.c.seq.desc()).limit(limit)
        if room_id is not None:
            query = query.where(calls.c.room_id == room_id)

        def work(connection: Connection) -> list[CallRecord]:
            return [rows.call_from(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)
