"""What providers report about messages that were sent (R213, R217)."""

from __future__ import annotations

import logging
from typing import Protocol

from salon.core.context import Contexts
from salon.core.errors import RoomNotFoundError
from salon.core.observers import Observers
from salon.core.ports.store import ConversationStore
from salon.core.tenancy import Tenancy
from salon.models import DeliveryStatus, HookTrigger, InboundMessage, RoomStatus

_log = logging.getLogger("salon.core.statuses")


class WebhookReport(Protocol):
    """A verified webhook in common words: a message, a report, or neither."""

    @property
    def is_inbound(self) -> bool: ...

    @property
    def is_status(self) -> bool: ...

    def to_inbound(self, channel_id: str) -> InboundMessage: ...

    def to_status(
        self, *, channel_id: str | None = None, room_id: str | None = None
    ) -> DeliveryStatus: ...


class DeliveryStatuses:
    """Tells ON_DELIVERY_STATUS hooks; no event changes."""

    def __init__(
        self, store: ConversationStore, *, contexts: Contexts, observers: Observers
    ) -> None:
        self._store = store
        self._contexts = contexts
        self._observers = observers
        self._tenancy = Tenancy(store)

    async def process(self, status: DeliveryStatus, *, organization_id: str | None = None) -> None:
        """A provider reports about a message it took (R213): hooks are told in the room the status
        names, else in the ACTIVE room its channel is bound to; without one it is logged and nobody
        is told. Raises `RoomNotFoundError` for a named room of another organization."""
        if status.room_id is not None:
            await self._tenancy.check(status.room_id, organization_id)
        room_id = status.room_id or await self._room_of(status.channel_id, organization_id)
        if room_id is None:
            _log.warning(
                "a delivery status of %s for channel %s belongs to no room",
                status.provider,
                status.channel_id,
            )
            return
        if self._observers.wants(HookTrigger.ON_DELIVERY_STATUS, room_id):
            try:
                context = await self._contexts.build(room_id)
            except RoomNotFoundError:
                _log.warning("a delivery status names room %s, which is gone", room_id)
                return
            self._observers.tell(HookTrigger.ON_DELIVERY_STATUS, status, context)

    async def _room_of(self, channel_id: str | None, organization_id: str | None) -> str | None:
        if channel_id is None:
            return None
        rooms = await self._store.find_room_ids_by_channel(
            channel_id,
            statuses=(RoomStatus.ACTIVE,),
            organization_id=organization_id,
            limit=1,
        )
        return rooms[0] if rooms else None
