"""The contract of whoever knows the senders."""

from __future__ import annotations

from abc import ABC, abstractmethod

from salon.models import InboundMessage, RoomContext
from salon.models.identity import IdentityResult


class IdentityResolver(ABC):
    """Says who sent a message.

    Runs before the room lock, bounded by the framework's timeout, cancelled when it takes longer;
    it may be asked again for the same message. Lookups are scoped to
    ``context.room.organization_id`` (R174). An exception counts as UNKNOWN.
    """

    @abstractmethod
    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        """Who ``message.sender_id`` is. `context` holds a binding for ``message.channel_id``, from
        which the channel type is read, also where the channel is yet to be attached."""

    async def close(self) -> None:  # noqa: B027 - optional to override
        """Free everything; idempotent."""
