"""The room of a message that names none (R178-R181)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from salon.core.ports.router import InboundRouter
from salon.core.ports.store import ConversationStore
from salon.models import RoomStatus


class DefaultRouter(InboundRouter):
    """The sender's latest ACTIVE room on this channel type, else the only ACTIVE room that the
    channel is bound to, else none."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store

    async def route(
        self, channel_id: str, channel_type: str, sender_id: str, metadata: Mapping[str, Any]
    ) -> str | None:
        del metadata
        latest = await self._store.find_latest_room(
            sender_id, channel_type, status=RoomStatus.ACTIVE
        )
        if latest is not None:
            return latest.id
        rooms = await self._store.find_room_ids_by_channel(
            channel_id, status=RoomStatus.ACTIVE, limit=2
        )
        return rooms[0] if len(rooms) == 1 else None
