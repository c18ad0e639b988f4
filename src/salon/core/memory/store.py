"""Everything in memory: the library's default and the reference for other stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock
from salon.core.errors import RoomNotFoundError
from salon.core.ports.store import ConversationStore
from salon.models import (
    ChannelBinding,
    EventStatus,
    EventType,
    Observation,
    Participant,
    ParticipantStatus,
    Room,
    RoomEvent,
    RoomStatus,
    Task,
)


@dataclass(slots=True)
class _RoomData:
    room: Room
    order: int
    events: list[RoomEvent] = field(default_factory=list)
    by_id: dict[str, int] = field(default_factory=dict)
    by_key: dict[str, int] = field(default_factory=dict)
    bindings: dict[str, ChannelBinding] = field(default_factory=dict)
    participants: dict[str, Participant] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)


class MemoryStore(ConversationStore):
    """No method suspends, so each is atomic by nature (R95, R99)."""

    is_process_local = True

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._rooms: dict[str, _RoomData] = {}
        self._made = 0

    def _of(self, room_id: str) -> _RoomData:
        data = self._rooms.get(room_id)
        if data is None:
            raise RoomNotFoundError(room_id)
        return data

    async def create_room(self, room: Room) -> Room:
        if room.id in self._rooms:
            raise ValueError(f"room {room.id!r} exists")
        self._made += 1
        self._rooms[room.id] = _RoomData(room.model_copy(deep=True), self._made)
        return room.model_copy(deep=True)

    async def get_room(self, room_id: str) -> Room | None:
        data = self._rooms.get(room_id)
        return None if data is None else data.room.model_copy(deep=True)

    async def update_room(self, room: Room) -> Room:
        known = self._of(room.id).room
        known.organization_id = room.organization_id
        known.status = room.status
        known.closed_at = room.closed_at
        known.agent_response_policy = room.agent_response_policy
        known.timers.inactive_after_seconds = room.timers.inactive_after_seconds
        known.timers.closed_after_seconds = room.timers.closed_after_seconds
        known.updated_at = self._clock.now()
        return known.model_copy(deep=True)

    async def patch_room_metadata(
        self, room_id: str, patch: Mapping[str, Any], unset: Collection[str] = ()
    ) -> Room | None:
        data = self._rooms.get(room_id)
        if data is None:
            return None
        kept = {key: value for key, value in data.room.metadata.items() if key not in unset}
        data.room.metadata = kept | deepcopy(dict(patch))
        return data.room.model_copy(deep=True)

    async def delete_room(self, room_id: str) -> bool:
        return self._rooms.pop(room_id, None) is not None

    async def list_rooms(
        self, *, status: RoomStatus | None = None, limit: int = 50, offset: int = 0
    ) -> list[Room]:
        found = [
            data for data in self._rooms.values() if status is None or data.room.status is status
        ]
        found.sort(key=lambda data: (data.room.created_at, data.order), reverse=True)
        return [data.room.model_copy(deep=True) for data in found[offset : offset + limit]]

    async def find_room_ids_by_channel(
        self, channel_id: str, *, status: RoomStatus | None = None, limit: int = 2
    ) -> list[str]:
        found = [
            data.room
            for data in self._rooms.values()
            if channel_id in data.bindings and (status is None or data.room.status is status)
        ]
        found.sort(key=lambda room: (room.created_at, room.id))
        return [room.id for room in found[:limit]]

    async def find_latest_room(
        self, participant_id: str, channel_type: str, *, status: RoomStatus | None = None
    ) -> Room | None:
        found = [
            data.room
            for data in self._rooms.values()
            if (status is None or data.room.status is status)
            and self._connected(data, participant_id, channel_type)
        ]
        if not found:
            return None
        latest = max(found, key=lambda room: (room.created_at, room.id))
        return latest.model_copy(deep=True)

    @staticmethod
    def _connected(data: _RoomData, participant_id: str, channel_type: str) -> bool:
        person = data.participants.get(participant_id)
        return (
            person is not None
            and person.status is ParticipantStatus.ACTIVE
            and any(
                (binding := data.bindings.get(channel_id)) is not None
                and str(binding.channel_type) == channel_type
                for channel_id in person.connected_via
            )
        )

    async def commit_event(self, event: RoomEvent, *, at: datetime) -> RoomEvent:
        data = self._of(event.room_id)
        key = event.idempotency_key
        if event.id in data.by_id:
            raise ValueError(f"event {event.id!r} exists")
        if key is not None and key in data.by_key:
            raise ValueError(f"idempotency key {key!r} exists")
        index = len(data.events)
        stored = event.model_copy(update={"index": index}, deep=True)
        data.events.append(stored)
        data.by_id[stored.id] = index
        if key is not None:
            data.by_key[key] = index
        room = data.room
        room.event_count, room.latest_index = room.event_count + 1, index
        room.updated_at = room.timers.last_activity_at = at
        return stored.model_copy(deep=True)

    async def get_event(self, room_id: str, event_id: str) -> RoomEvent | None:
        data = self._rooms.get(room_id)
        index = None if data is None else data.by_id.get(event_id)
        return None if data is None or index is None else data.events[index]

    async def get_event_by_idempotency_key(self, room_id: str, key: str) -> RoomEvent | None:
        data = self._rooms.get(room_id)
        index = None if data is None else data.by_key.get(key)
        return None if data is None or index is None else data.events[index]

    async def list_events(
        self,
        room_id: str,
        *,
        limit: int = 50,
        offset: int = 0,
        newest_first: bool = False,
        after_index: int | None = None,
        before_index: int | None = None,
        types: Collection[EventType] | None = None,
        exclude_types: Collection[EventType] = (),
        include_blocked: bool = False,
    ) -> list[RoomEvent]:
        if after_index is not None and before_index is not None:
            raise ValueError("after_index and before_index exclude each other")
        data = self._rooms.get(room_id)
        if data is None or limit <= 0:
            return []
        found = [
            event
            for event in data.events
            if (types is None or event.type in types)
            and event.type not in exclude_types
            and (include_blocked or event.status is not EventStatus.BLOCKED)
            and (after_index is None or event.index > after_index)
            and (before_index is None or event.index < before_index)
        ]
        if before_index is not None:
            return found[-limit:]
        if after_index is not None:
            return found[:limit]
        if newest_first:
            return found[max(len(found) - offset - limit, 0) : max(len(found) - offset, 0)]
        return found[offset : offset + limit]

    async def set_delivery_results(
        self, room_id: str, event_id: str, results: Mapping[str, Any]
    ) -> None:
        data = self._rooms.get(room_id)
        index = None if data is None else data.by_id.get(event_id)
        if data is not None and index is not None:
            data.events[index] = data.events[index].model_copy(
                update={"delivery_results": deepcopy(dict(results))}
            )

    async def advance_delivered_index(self, room_id: str, index: int) -> bool:
        data = self._rooms.get(room_id)
        if data is None or data.room.delivered_index >= index:
            return False
        data.room.delivered_index = index
        return True

    async def add_binding(self, binding: ChannelBinding) -> ChannelBinding:
        self._of(binding.room_id).bindings[binding.channel_id] = binding.model_copy(deep=True)
        return binding.model_copy(deep=True)

    async def get_binding(self, room_id: str, channel_id: str) -> ChannelBinding | None:
        data = self._rooms.get(room_id)
        binding = None if data is None else data.bindings.get(channel_id)
        return None if binding is None else binding.model_copy(deep=True)

    async def remove_binding(self, room_id: str, channel_id: str) -> bool:
        data = self._rooms.get(room_id)
        return data is not None and data.bindings.pop(channel_id, None) is not None

    async def list_bindings(self, room_id: str) -> list[ChannelBinding]:
        data = self._rooms.get(room_id)
        return [] if data is None else [b.model_copy(deep=True) for b in data.bindings.values()]

    async def put_participant(self, participant: Participant) -> Participant:
        copy = participant.model_copy(deep=True)
        self._of(participant.room_id).participants[participant.id] = copy
        return participant.model_copy(deep=True)

    async def get_participant(self, room_id: str, participant_id: str) -> Participant | None:
        data = self._rooms.get(room_id)
        person = None if data is None else data.participants.get(participant_id)
        return None if person is None else person.model_copy(deep=True)

    async def list_participants(self, room_id: str) -> list[Participant]:
        data = self._rooms.get(room_id)
        people = [] if data is None else data.participants.values()
        return [person.model_copy(deep=True) for person in people]

    async def add_task(self, task: Task) -> Task:
        self._of(task.room_id).tasks.append(task.model_copy(deep=True))
        return task

    async def list_tasks(self, room_id: str) -> list[Task]:
        data = self._rooms.get(room_id)
        return [] if data is None else list(data.tasks)

    async def add_observation(self, observation: Observation) -> Observation:
        copy = observation.model_copy(deep=True)
        self._of(observation.room_id).observations.append(copy)
        return observation

    async def list_observations(self, room_id: str) -> list[Observation]:
        data = self._rooms.get(room_id)
        return [] if data is None else list(data.observations)
