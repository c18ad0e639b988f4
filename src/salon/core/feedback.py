"""What people think of a conversation, or of one answer in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock
from salon.core.context import Contexts
from salon.core.errors import RoomNotFoundError
from salon.core.framework import FrameworkEvents
from salon.core.observers import Observers
from salon.core.ports.store import ConversationStore
from salon.core.tenancy import Tenancy
from salon.models import HookTrigger, Observation


class Feedback:
    """Keeps ratings as observations, and tells of them. The timeline does not grow by it: a closed
    room can be rated."""

    def __init__(
        self,
        store: ConversationStore,
        *,
        contexts: Contexts,
        observers: Observers,
        framework: FrameworkEvents,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._store = store
        self._contexts = contexts
        self._observers = observers
        self._framework = framework
        self._clock = clock
        self._tenancy = Tenancy(store)

    async def submit(
        self,
        room_id: str,
        rating: float,
        *,
        event_id: str | None = None,
        channel_id: str | None = None,
        comment: str = "",
        dimension: str = "overall",
        metadata: Mapping[str, Any] | None = None,
        organization_id: str | None = None,
    ) -> Observation:
        """Store a rating from 0 to 1, taken to the nearer end if it is outside, of an event, a
        channel or the whole room; ON_FEEDBACK hooks get the observation and are not waited for.
        Raises `RoomNotFoundError`, and `ValueError` for a rating that is no number."""
        rating = float(rating)
        if math.isnan(rating):
            raise ValueError("a rating is a number from 0 to 1, not nan")
        await self._tenancy.room(room_id, organization_id)
        rating = min(max(rating, 0.0), 1.0)
        words = f"[{dimension}] {rating:.2f}"
        observation = await self._store.add_observation(
            Observation(
                room_id=room_id,
                channel_id=channel_id or "",
                content=f"{words}: {comment}" if comment else words,
                category=f"feedback:{dimension}",
                confidence=rating,
                created_at=self._clock.now(),
                metadata={
                    **(metadata or {}),
                    "type": "feedback",
                    "dimension": dimension,
                    "rating": rating,
                    "comment": comment,
                    "event_id": event_id,
                },
            )
        )
        await self._tell(observation)
        self._framework.emit(
            "feedback",
            room_id=room_id,
            channel_id=channel_id,
            event_id=event_id,
            dimension=dimension,
            rating=rating,
        )
        return observation

    async def _tell(self, observation: Observation) -> None:
        if self._observers.wants(HookTrigger.ON_FEEDBACK, observation.room_id):
            try:
                context = await self._contexts.build(observation.room_id)
            except RoomNotFoundError:  # deleted meanwhile
                return
            self._observers.tell(HookTrigger.ON_FEEDBACK, observation, context)
