"""A memory that remembers what a test told it to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from salon.core.ports.ai_messages import AIMessage
from salon.core.ports.memory import MemoryProvider, MemoryResult
from salon.models import RoomContext, RoomEvent


@dataclass(frozen=True, slots=True)
class MemoryCall:
    """One `retrieve`."""

    room_id: str
    current_event: RoomEvent
    context: RoomContext
    channel_id: str | None


class MockMemoryProvider(MemoryProvider):
    """Always gives the same. `calls` holds what was asked, `ingested` and `cleared` what it was
    told, `closed` whether it is."""

    def __init__(
        self,
        messages: Iterable[AIMessage] | None = None,
        events: Iterable[RoomEvent] | None = None,
        notes: Iterable[str] | None = None,
    ) -> None:
        self._messages = list(messages or ())
        self._events = list(events or ())
        self._notes = list(notes or ())
        self.calls: list[MemoryCall] = []
        self.ingested: list[tuple[str, RoomEvent]] = []
        self.cleared: list[str] = []
        self.closed = False

    async def retrieve(
        self,
        room_id: str,
        current_event: RoomEvent,
        context: RoomContext,
        *,
        channel_id: str | None = None,
    ) -> MemoryResult:
        self.calls.append(MemoryCall(room_id, current_event, context, channel_id))
        return MemoryResult(list(self._messages), list(self._events), list(self._notes))

    async def ingest(
        self, room_id: str, event: RoomEvent, *, channel_id: str | None = None
    ) -> None:
        del channel_id
        self.ingested.append((room_id, event))

    async def clear(self, room_id: str) -> None:
        self.cleared.append(room_id)

    async def close(self) -> None:
        self.closed = True
