"""Rooms in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from heapq import nsmallest
from itertools import islice
from typing import Any

from salon.base import at_once
from salon.core.copying import altered
from salon.core.memory.copies import owned_map
from salon.core.memory.data import RoomData, aware, names_of
from salon.core.memory.indexes import RoomIndex
from salon.core.memory.part import ANY, MemoryPart, forget
from salon.core.ports.store import due_at
from salon.models import Room, RoomStatus


class MemoryRooms(MemoryPart):
    """Creation, change, search, deletion; how far a room is delivered."""

    async def create_room(self, room: Room) -> Room:
        if room.id in self._rooms:
            raise ValueError(f"room {room.id!r} exists")
        self._made += 1
        data = self._rooms[room.id] = RoomData.of(room, self._made)
        self._index(data, RoomIndex.add)
        self._note_delivery(data)
        self._deadlines.note(room.id, due_at(room))
        return data.read()

    async def get_room(self, room_id: str) -> Room | None:
        data = self._rooms.get(room_id)
        return None if data is None else data.read()

    async def room_exists(self, room_id: str) -> bool:
        return room_id in self._rooms

    async def update_room(self, room: Room) -> Room:
        data = self._of(room.id)
        timers = altered(room.timers, {})
        changes = {
            "organization_id": room.organization_id,
            "status": room.status,
            "paused_at": room.paused_at,
            "closed_at": room.closed_at,
            "agent_response_policy": room.agent_response_policy,
            "timers": timers,
        }
        known = data.room
        moved = (known.status, known.organization_id) != (room.status, room.organization_id)
        if moved:
            self._index(data, RoomIndex.remove)
        data.room = altered(known, changes)
        if moved:
            self._index(data, RoomIndex.add)
        data.updated_at = self._clock.now()
        current = data.read()
        self._deadlines.note(room.id, due_at(current))
        return current

    async def patch_room_metadata(
        self, room_id: str, patch: Mapping[str, Any], *, unset: Collection[str] = ()
    ) -> Room | None:
        data = self._rooms.get(room_id)
        if data is None:
            return None
        kept = {key: value for key, value in data.room.metadata.items() if key not in unset}
        data.room = altered(data.room, {"metadata": kept | owned_map(patch)})
        return data.read()

    async def delete_room(self, room_id: str) -> bool:
        data = self._rooms.get(room_id)
        if data is None:
            return False
        self._index(data, RoomIndex.remove)
        for event in data.timeline:
            forget(self._with_event, event.id, data)
        for task_id in data.tasks:
            forget(self._with_task, task_id, data)
        self._undelivered.discard(room_id)
        self._deadlines.note(room_id, None)
        del self._rooms[room_id]
        return True

    async def list_rooms(
        self,
        offset: int = 0,
        limit: int = 50,
        *,
        status: RoomStatus | None = None,
        organization_id: str | None = None,
    ) -> list[Room]:
        return await self.find_rooms(organization_id, status, limit=limit, offset=offset)

    async def find_rooms(
        self,
        organization_id: str | None = None,
        status: RoomStatus | None = None,
        metadata_filter: Mapping[str, Any] | None = None,
        *,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Room]:
        statuses = None if status is None else (status,)
        ids = self._listed.find(ANY, statuses, organization_id, newest_first=True)
        found: Iterator[RoomData] = (self._rooms[room_id] for room_id in ids)
        if metadata_filter:
            wanted = metadata_filter.items()
            found = (
                data
                for data in found
                if all(key in data.room.metadata for key in metadata_filter)
                and all(data.room.metadata[key] == value for key, value in wanted)
            )
        first = max(offset, 0)
        return [data.read() for data in islice(found, first, first + max(limit, 0))]

    async def find_room_ids_by_channel(
        self,
        channel_id: str,
        *,
        statuses: Collection[RoomStatus] | None = None,
        organization_id: str | None = None,
        limit: int = 2,
    ) -> list[str]:
        found = self._of_channel.find(channel_id, statuses, organization_id)
        return list(islice(found, max(limit, 0)))

    async def find_room_ids_by_recipient(
        self,
        channel_id: str,
        address: str,
        *,
        statuses: Collection[RoomStatus] | None = None,
        organization_id: str | None = None,
        limit: int = 2,
    ) -> list[str]:
        name = channel_id, address
        found = self._of_channel.find(name, statuses, organization_id, newest_first=True)
        return list(islice(found, max(limit, 0)))

    async def find_latest_room(
        self,
        participant_id: str,
        channel_type: str | None = None,
        status: RoomStatus | None = None,
        *,
        channel_id: str | None = None,
        statuses: Collection[RoomStatus] | None = None,
        organization_id: str | None = None,
    ) -> Room | None:
        wanted = _wanted(status, statuses)
        found = self._of_participant.find(
            participant_id, wanted, organization_id, newest_first=True
        )
        for room_id in found:
            data = self._rooms[room_id]
            if _connected(data, participant_id, channel_type, channel_id):
                return data.read()
        return None

    async def find_rooms_due(self, now: datetime, *, limit: int = 100) -> list[str]:
        return self._deadlines.passed(aware(now), limit)

    def _index(self, data: RoomData, change: Callable[..., None]) -> None:
        super()._index(data, change)
        place = data.entry, data.room.status, data.room.organization_id
        for binding in data.bindings.values():
            if binding.recipient is not None:
                change(self._of_channel, (binding.channel_id, binding.recipient), *place)
        for person in data.participants.values():
            for name in names_of(person) - {person.id}:
                change(self._of_participant, name, *place)

    # -- delivery marks ---------------------------------------------------------------------------

    async def get_delivered_index(self, room_id: str) -> int:
        data = self._rooms.get(room_id)
        return -1 if data is None else data.delivered_index

    @at_once
    async def advance_delivered_index(self, room_id: str, index: int) -> bool:
        data = self._rooms.get(room_id)
        if data is None or data.delivered_index >= index:
            return False
        data.delivered_index = index
        self._note_delivery(data)
        return True

    @at_once
    async def advance_delivered_indexes(self, indexes: Mapping[str, int]) -> None:
        for room_id, index in indexes.items():
            await self.advance_delivered_index(room_id, index)

    async def find_undelivered_rooms(
        self, *, limit: int = 100, after: str | None = None
    ) -> list[str]:
        found = (item for item in self._undelivered if after is None or item > after)
        return nsmallest(max(limit, 0), found)


def _wanted(
    status: RoomStatus | None, statuses: Collection[RoomStatus] | None
) -> Collection[RoomStatus] | None:
    """The one and the others; None: any."""
    if status is None:
        return statuses
    return (status,) if statuses is None else {status, *statuses}


def _connected(data: RoomData, name: str, channel_type: str | None, channel_id: str | None) -> bool:
    """Whether somebody of this name is there through such a channel."""
    people = (person for person in data.participants.values() if name in names_of(person))
    through = {channel for person in people for channel in person.connected_via}
    bound = (binding for key, binding in data.bindings.items() if key in through)
    return any(
        channel_id in (None, binding.channel_id)
        and channel_type in (None, str(binding.channel_type))
        for binding in bound
    )
