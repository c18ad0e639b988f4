"""The contract of the log of calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

CallState = Literal["live", "ended", "failed"]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call. `reason` is set once it is over."""

    id: str
    handler: str
    started_at: datetime
    room_id: str | None = None
    participant_id: str | None = None
    state: CallState = "live"
    ended_at: datetime | None = None
    reason: str | None = None


class CallLog(ABC):
    """Remembers which calls began and how they ended, also over a crash."""

    @abstractmethod
    async def started(self, record: CallRecord) -> None:
        """A call is live. An id may come again later: the older record is kept as it ended."""

    @abstractmethod
    async def ended(self, call_id: str, *, at: datetime, reason: str) -> None:
        """The live call with this id is over; without one nothing happens."""

    @abstractmethod
    async def fail_live(self, *, at: datetime) -> list[CallRecord]:
        """Mark calls still recorded as live as ended `failed` and return them: at start these are
        the calls that a crash cut."""

    @abstractmethod
    async def list_calls(self, *, room_id: str | None = None, limit: int = 50) -> list[CallRecord]:
        """Newest first."""
