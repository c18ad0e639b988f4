"""The default memory of an agent: the last messages (R237)."""

from __future__ import annotations

from salon.core.ports.memory import MemoryProvider, MemoryResult
from salon.models import RoomContext, RoomEvent


class SlidingWindowMemory(MemoryProvider):
    """The newest `max_events` messages before the current one; 0 remembers nothing."""

    def __init__(self, max_events: int = 50) -> None:
        if max_events < 0:
            raise ValueError(f"max_events must be 0 or more, not {max_events}")
        self._max_events = max_events

    @property
    def recent_events_window(self) -> int:
        """As many as it gives."""
        return self._max_events

    async def retrieve(
        self,
        room_id: str,
        current_event: RoomEvent,
        context: RoomContext,
        *,
        channel_id: str | None = None,
    ) -> MemoryResult:
        del room_id, channel_id
        past = [event for event in context.recent_events if event.id != current_event.id]
        return MemoryResult(events=past[max(len(past) - self._max_events, 0) :])
