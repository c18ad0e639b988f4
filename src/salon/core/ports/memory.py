"""What an agent remembers of a room: the contract of its memory (R235)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from salon.core.ports.ai_messages import AIMessage
from salon.models import RoomContext, RoomEvent


@dataclass(frozen=True, slots=True)
class MemoryResult:
    """What goes into the prompt: `messages` first, then `events`, which the channel converts.
    `notes` join the system prompt."""

    messages: list[AIMessage] = field(default_factory=list)
    events: list[RoomEvent] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class MemoryProvider(ABC):
    """Chooses what of a conversation an agent is told at its next turn."""

    @property
    def name(self) -> str:
        """What it is called in logs."""
        return type(self).__name__

    @property
    def recent_events_window(self) -> int | None:
        """Messages it wants to find in the context; None leaves it to the framework."""
        return None

    @abstractmethod
    async def retrieve(
        self,
        room_id: str,
        current_event: RoomEvent,
        context: RoomContext,
        *,
        channel_id: str | None = None,
    ) -> MemoryResult:
        """What the channel is told besides `current_event`, which is not to be among it.

        `context` already is the room as this channel may know it (R236): refused events and what
        it was not meant to see are left out of `recent_events`.
        """

    async def ingest(  # noqa: B027 - optional to override
        self, room_id: str, event: RoomEvent, *, channel_id: str | None = None
    ) -> None:
        """An event to remember beyond the context."""

    async def clear(self, room_id: str) -> None:  # noqa: B027 - optional to override
        """Forget a room."""

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Free everything; idempotent."""
