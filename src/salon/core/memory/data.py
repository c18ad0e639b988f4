"""One room in memory with everything in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from salon.core.copying import altered
from salon.core.memory.copies import owned_map, owned_room
from salon.core.memory.indexes import Entry
from salon.core.memory.timeline import Timeline
from salon.models import ChannelBinding, Observation, Participant, ParticipantStatus, Room, Task


@dataclass(slots=True, eq=False)
class RoomData:
    """What a commit moves is held beside `room`, whose own values of it are out of date."""

    room: Room
    order: int
    event_count: int
    latest_index: int | None
    delivered_index: int
    revision: int
    updated_at: datetime
    last_activity_at: datetime | None
    timeline: Timeline = field(default_factory=Timeline)
    bindings: dict[str, ChannelBinding] = field(default_factory=dict)
    participants: dict[str, Participant] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    observations: list[Observation] = field(default_factory=list)
    markers: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, room: Room, order: int) -> RoomData:
        """A new room, the `order`-th made."""
        return cls(
            owned_room(room),
            order,
            room.event_count,
            room.latest_index,
            room.delivered_index,
            room.revision,
            room.updated_at,
            room.timers.last_activity_at,
        )

    @property
    def entry(self) -> Entry:
        """Its place among the rooms of a channel or participant."""
        return self._created, 0, self.room.id

    @property
    def rank(self) -> Entry:
        """Its place among all rooms."""
        return self._created, self.order, self.room.id

    @property
    def _created(self) -> datetime:
        return aware(self.room.created_at)

    @property
    def is_undelivered(self) -> bool:
        return self.latest_index is not None and self.delivered_index < self.latest_index

    def read(self) -> Room:
        """As it is now; the reader's own."""
        room = self.room
        timers = altered(room.timers, {"last_activity_at": self.last_activity_at})
        return altered(
            room,
            {
                "timers": timers,
                "metadata": owned_map(room.metadata) if room.metadata else {},
                "updated_at": self.updated_at,
                "event_count": self.event_count,
                "latest_index": self.latest_index,
                "delivered_index": self.delivered_index,
                "revision": self.revision,
            },
        )


def names_of(person: Participant) -> frozenset[str]:
    """What somebody ACTIVE is found by: the id and the address; nothing finds anybody else."""
    if person.status is not ParticipantStatus.ACTIVE:
        return frozenset()
    return frozenset(name for name in (person.id, person.external_id) if name is not None)


def aware(at: datetime) -> datetime:
    """A naive instant counts as UTC."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
