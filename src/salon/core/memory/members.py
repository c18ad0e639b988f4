"""Who and what is in a room, in memory."""

from __future__ import annotations

from collections.abc import Set
from typing import TypeVar

from pydantic import BaseModel

from salon.core.errors import ChannelNotFoundError, ParticipantNotFoundError
from salon.core.memory.copies import owned
from salon.core.memory.data import RoomData, names_of
from salon.core.memory.indexes import Name, RoomIndex
from salon.core.memory.part import MemoryPart
from salon.core.ports.store import TaskNotFoundError
from salon.models import (
    ChannelBinding,
    Observation,
    Participant,
    Task,
    TaskStatus,
)

M = TypeVar("M", bound=BaseModel)


class MemoryMembers(MemoryPart):
    """Bindings, participants, tasks, observations, read markers."""

    # -- bindings ---------------------------------------------------------------------------------

    async def add_binding(self, binding: ChannelBinding) -> ChannelBinding:
        data = self._of(binding.room_id)
        stored = owned(binding)
        self._rebind(data, data.bindings.get(binding.channel_id), stored)
        data.bindings[binding.channel_id] = stored
        data.revision += 1
        return owned(stored)

    async def update_binding(self, binding: ChannelBinding) -> ChannelBinding:
        if await self.get_binding(binding.room_id, binding.channel_id) is None:
            raise ChannelNotFoundError(binding.room_id, binding.channel_id)
        return await self.add_binding(binding)

    async def get_binding(self, room_id: str, channel_id: str) -> ChannelBinding | None:
        data = self._rooms.get(room_id)
        return None if data is None else _own(data.bindings.get(channel_id))

    async def remove_binding(self, room_id: str, channel_id: str) -> bool:
        data = self._rooms.get(room_id)
        known = None if data is None else data.bindings.pop(channel_id, None)
        if data is None or known is None:
            return False
        self._rebind(data, known, None)
        data.revision += 1
        return True

    async def list_bindings(self, room_id: str) -> list[ChannelBinding]:
        data = self._rooms.get(room_id)
        return [] if data is None else [owned(item) for item in data.bindings.values()]

    def _rebind(
        self, data: RoomData, old: ChannelBinding | None, new: ChannelBinding | None
    ) -> None:
        was, will = (frozenset() if item is None else _places(item) for item in (old, new))
        _move(self._of_channel, data, was, will)

    # -- participants -----------------------------------------------------------------------------

    async def add_participant(self, participant: Participant) -> Participant:
        data = self._of(participant.room_id)
        stored = owned(participant)
        self._reindex(data, data.participants.get(stored.id), stored)
        data.participants[stored.id] = stored
        data.revision += 1
        return stored

    async def update_participant(self, participant: Participant) -> Participant:
        if await self.get_participant(participant.room_id, participant.id) is None:
            raise ParticipantNotFoundError(participant.room_id, participant.id)
        return await self.add_participant(participant)

    async def get_participant(self, room_id: str, participant_id: str) -> Participant | None:
        data = self._rooms.get(room_id)
        return None if data is None else _own(data.participants.get(participant_id))

    async def remove_participant(self, room_id: str, participant_id: str) -> bool:
        data = self._rooms.get(room_id)
        known = None if data is None else data.participants.pop(participant_id, None)
        if data is None or known is None:
            return False
        self._reindex(data, known, None)
        data.revision += 1
        return True

    async def list_participants(self, room_id: str) -> list[Participant]:
        data = self._rooms.get(room_id)
        return [] if data is None else [owned(item) for item in data.participants.values()]

    def _reindex(self, data: RoomData, old: Participant | None, new: Participant | None) -> None:
        was, will = (frozenset() if item is None else names_of(item) for item in (old, new))
        _move(self._of_participant, data, was, will)

    # -- side effects -----------------------------------------------------------------------------

    async def add_task(self, task: Task) -> Task:
        data = self._of(task.room_id)
        if task.id not in data.tasks:
            self._with_task[task.id] = (*self._with_task.get(task.id, ()), data)
        stored = data.tasks[task.id] = owned(task)
        return stored

    async def get_task(self, task_id: str) -> Task | None:
        places = self._with_task.get(task_id)
        return None if places is None else places[0].tasks[task_id]

    async def update_task(self, task: Task) -> Task:
        data = self._rooms.get(task.room_id)
        if data is None or task.id not in data.tasks:
            raise TaskNotFoundError(task.room_id, task.id)
        return await self.add_task(task)

    async def list_tasks(self, room_id: str, status: TaskStatus | None = None) -> list[Task]:
        data = self._rooms.get(room_id)
        tasks = [] if data is None else list(data.tasks.values())
        return [task for task in tasks if status is None or task.status == status]

    async def add_observation(self, observation: Observation) -> Observation:
        stored = owned(observation)
        self._of(observation.room_id).observations.append(stored)
        return stored

    async def list_observations(self, room_id: str) -> list[Observation]:
        data = self._rooms.get(room_id)
        return [] if data is None else list(data.observations)

    # -- read markers -----------------------------------------------------------------------------

    async def mark_read(self, room_id: str, channel_id: str, event_id: str) -> None:
        data = self._rooms.get(room_id)
        event = None if data is None else data.timeline.get(event_id)
        if data is not None and event is not None:
            _mark(data, channel_id, event.index)

    async def mark_all_read(self, room_id: str, channel_id: str) -> None:
        data = self._rooms.get(room_id)
        if data is not None and data.latest_index is not None:
            _mark(data, channel_id, data.latest_index)

    async def get_unread_count(self, room_id: str, channel_id: str) -> int:
        data = self._rooms.get(room_id)
        return 0 if data is None else data.timeline.after(data.markers.get(channel_id, -1))

    async def list_read_markers(self, room_id: str) -> dict[str, int]:
        data = self._rooms.get(room_id)
        return {} if data is None else dict(data.markers)


def _places(binding: ChannelBinding) -> frozenset[Name]:
    """What a room is found by that has this binding."""
    channel_id, recipient = binding.channel_id, binding.recipient
    return frozenset({channel_id} if recipient is None else {channel_id, (channel_id, recipient)})


def _move(index: RoomIndex, data: RoomData, was: Set[Name], will: Set[Name]) -> None:
    place = data.entry, data.room.status, data.room.organization_id
    for name in was - will:
        index.remove(name, *place)
    for name in will - was:
        index.add(name, *place)


def _mark(data: RoomData, channel_id: str, index: int) -> None:
    data.markers[channel_id] = max(index, data.markers.get(channel_id, -1))


def _own(model: M | None) -> M | None:
    """What a reader may keep (R102)."""
    return None if model is None else owned(model)
