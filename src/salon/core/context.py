"""What channels and hooks are shown of a room."""

from __future__ import annotations

from salon.core.errors import RoomNotFoundError
from salon.core.ports.store import ConversationStore
from salon.models import EventType, Room, RoomContext

RECENT_EVENTS = 50
MAX_RECENT_EVENTS = 1000


class Contexts:
    """Reads `RoomContext`s from the store: the newest MESSAGE events, refused ones included for
    hooks; readers of history filter them (R20, R82)."""

    def __init__(self, store: ConversationStore, *, recent: int = RECENT_EVENTS) -> None:
        self._store = store
        self._recent = recent

    def widen(self, events: int) -> None:
        """A channel wants to see this many messages; all see as many as the most demanding one."""
        self._recent = max(self._recent, min(events, MAX_RECENT_EVENTS))

    async def of(self, room: Room) -> RoomContext:
        """The context of a room just read."""
        return RoomContext(
            room,
            tuple(await self._store.list_bindings(room.id)),
            tuple(await self._store.list_participants(room.id)),
            tuple(
                await self._store.list_events(
                    room.id,
                    limit=self._recent,
                    newest_first=True,
                    types=(EventType.MESSAGE,),
                    include_blocked=True,
                )
            ),
        )

    async def build(self, room_id: str) -> RoomContext:
        """The context of a room; raises `RoomNotFoundError`."""
        room = await self._store.get_room(room_id)
        if room is None:
            raise RoomNotFoundError(room_id)
        return await self.of(room)
