"""The log of calls, in memory."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import datetime

from salon.core.ports.calls import CallLog, CallRecord

KEPT = 10_000


class MemoryCallLog(CallLog):
    """Keeps the newest 10,000 calls."""

    def __init__(self) -> None:
        self._live: dict[str, CallRecord] = {}
        self._over: deque[CallRecord] = deque(maxlen=KEPT)

    async def started(self, record: CallRecord) -> None:
        self._live[record.id] = record

    async def ended(self, call_id: str, *, at: datetime, reason: str) -> None:
        record = self._live.pop(call_id, None)
        if record is not None:
            self._over.append(replace(record, state="ended", ended_at=at, reason=reason))

    async def fail_live(self, *, at: datetime) -> list[CallRecord]:
        failed = [
            replace(record, state="failed", ended_at=at, reason="failed")
            for record in self._live.values()
        ]
        self._live.clear()
        self._over.extend(failed)
        return failed

    async def list_calls(self, *, room_id: str | None = None, limit: int = 50) -> list[CallRecord]:
        records = sorted(
            (*self._over, *self._live.values()), key=lambda item: item.started_at, reverse=True
        )
        return [item for item in records if room_id is None or item.room_id == room_id][:limit]
