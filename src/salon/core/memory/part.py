"""What the parts of the store in memory have in common."""

from __future__ import annotations

from collections.abc import Callable

from salon.base import SYSTEM_CLOCK, Clock
from salon.core.errors import RoomNotFoundError
from salon.core.memory.data import RoomData
from salon.core.memory.indexes import Deadlines, RoomIndex
from salon.core.memory.people import People
from salon.core.ports.store import ConversationStore, due_at
from salon.models import ParticipantStatus

ANY = ""
"""The one name under which all rooms are listed."""

Places = dict[str, tuple[RoomData, ...]]
"""The rooms that have something of an id."""


class MemoryPart(ConversationStore):
    """Some of the operations. No method suspends, so each is atomic by nature (R95, R99)."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._rooms: dict[str, RoomData] = {}
        self._made = 0
        self._listed = RoomIndex()
        self._of_channel = RoomIndex()
        self._of_participant = RoomIndex()
        self._with_event: Places = {}
        self._with_task: Places = {}
        self._undelivered: set[str] = set()
        self._deadlines = Deadlines(lambda room_id: due_at(self._rooms[room_id].read()))
        self._people = People()

    def _of(self, room_id: str) -> RoomData:
        data = self._rooms.get(room_id)
        if data is None:
            raise RoomNotFoundError(room_id)
        return data

    def _index(self, data: RoomData, change: Callable[..., None]) -> None:
        """Enter a room where it is to be found, or take it out."""
        place = data.room.status, data.room.organization_id
        change(self._listed, ANY, data.rank, *place)
        for channel_id in data.bindings:
            change(self._of_channel, channel_id, data.entry, *place)
        for person in data.participants.values():
            if person.status is ParticipantStatus.ACTIVE:
                change(self._of_participant, person.id, data.entry, *place)

    def _note_delivery(self, data: RoomData) -> None:
        if data.is_undelivered:
            self._undelivered.add(data.room.id)
        else:
            self._undelivered.discard(data.room.id)


def forget(places: Places, name: str, data: RoomData) -> None:
    """Something of this id is no longer in the room."""
    left = tuple(item for item in places[name] if item is not data)
    if left:
        places[name] = left
    else:
        del places[name]
