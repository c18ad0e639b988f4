"""The contract of inbound routing (R178)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any


class InboundRouter(ABC):
    """Finds the room of a message that names none."""

    @abstractmethod
    async def route(
        self, channel_id: str, channel_type: str, sender_id: str, metadata: Mapping[str, Any]
    ) -> str | None:
        """A room id, or None: then a room is made. Same inputs and state, same room (R181)."""
