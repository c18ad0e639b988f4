"""The log of calls, in memory."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import datetime

from salon.core.ports.calls import CallLog, CallRecord

KEPT = 10_000


class MemoryCallLog(CallLog):
    """Keeps the calls that are live and the last 10,000 that ended."""

    def __init__(self) -> None:
        self._live: dict[str, tuple[int, CallRecord]] = {}
        self._over: deque[tuple[int, CallRecord]] = deque(maxlen=KEPT)
        self._made = 0

    async def started(self, record: CallRecord) -> None:
        self._made += 1
        self._live.pop(record.id, None)
        self._live[record.id] = (self._made, record)

    async def ended(self, call_id: str, *, at: datetime, reason: str) -> None:
        found = self._live.pop(call_id, None)
        if found is not None:
            order, record = found
            self._over.append((order, replace(record, state="ended", ended_at=at, reason=reason)))

    async def fail_live(self, *, at: datetime) -> list[CallRecord]:
        failed = [
            (order, replace(record, state="failed", ended_at=at, reason="failed"))
            for order, record in self._live.values()
        ]
        self._live.clear()
        self._over.extend(failed)
        return [record for _, record in failed]

    async def list_calls(self, *, room_id: str | None = None, limit: int = 50) -> list[CallRecord]:
        found = [
            (record.started_at, order, record)
            for order, record in (*self._over, *self._live.values())
            if room_id is None or record.room_id == room_id
        ]
        found.sort(key=lambda item: item[:2], reverse=True)
        return [record for _, _, record in found[:limit]]
