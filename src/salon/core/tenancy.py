"""Whose a room is: to anybody else it does not exist (R267)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from salon.core.errors import RoomNotFoundError
from salon.core.lifecycle import Settle, as_it_is
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.store import ConversationStore
from salon.models import Room


@dataclass(frozen=True, slots=True)
class Meant:
    """Which room is meant by an id, for what began before the room was locked: by then it may be
    deleted, and its id another room's (R211, R267). None stands for any."""

    organization_id: str | None = None
    made: datetime | None = None
    """When the room was created."""

    def check(self, room: Room) -> None:
        """Raises `RoomNotFoundError` for another room than the one meant."""
        if self.organization_id is not None and room.organization_id != self.organization_id:
            raise RoomNotFoundError(room.id)
        if self.made is not None and room.created_at != self.made:
            raise RoomNotFoundError(room.id)


ANY_ROOM = Meant()


class Tenancy:
    """How services come by rooms that somebody named. An `organization_id` of None asks for no
    organization in particular."""

    def __init__(self, store: ConversationStore, settle: Settle = as_it_is) -> None:
        self._store = store
        self._settle = settle

    async def room(self, room_id: str, organization_id: str | None = None) -> Room:
        """The room. Raises `RoomNotFoundError`, also if it is not `organization_id`'s: a tenant
        does not learn that it exists."""
        room = await self._store.get_room(room_id)
        if room is None or organization_id not in (None, room.organization_id):
            raise RoomNotFoundError(room_id)
        return room

    async def check(self, room_id: str, organization_id: str | None) -> None:
        """Raises `RoomNotFoundError` for a room that is not the organization's. Without one any id
        will do, also of a room that is not there."""
        if organization_id is not None:
            await self.room(room_id, organization_id)

    @asynccontextmanager
    async def locked(
        self, locks: RoomLockManager, room_id: str, organization_id: str | None
    ) -> AsyncIterator[None]:
        """The locked section of a room, if `check` lets one in."""
        await self.check(room_id, organization_id)  # nobody waits for, or holds, a stranger's lock
        async with locks.locked(room_id):
            await self.check(room_id, organization_id)
            yield

    @asynccontextmanager
    async def entered(
        self, locks: RoomLockManager, room_id: str, organization_id: str | None
    ) -> AsyncIterator[Room]:
        """The locked section of a room that is there, with the room as it is once what was due has
        happened (R32)."""
        await self.check(room_id, organization_id)
        async with locks.locked(room_id):
            yield await self._settle(await self.room(room_id, organization_id))
