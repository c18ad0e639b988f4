"""The contract of inbound routing (R178)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from salon.models import AnyChannelType
from salon.models.identity import Identity


class InboundRoomRouter(ABC):
    """Finds the room of a message that names none."""

    @abstractmethod
    async def route(
        self,
        channel_id: str,
        channel_type: AnyChannelType,
        participant_id: str | None = None,
        channel_data: dict[str, Any] | None = None,
        *,
        organization_id: str | None = None,
        identity: Identity | None = None,
    ) -> str | None:
        """A room id, or None: then a room is made. Same inputs and state, same room (R181).

        `participant_id` is the sender as the channel names it, `channel_data` the metadata of the
        message, `identity` the person behind the sender, where one is known. `organization_id`
        None: the caller acts for no organization in particular.
        """
