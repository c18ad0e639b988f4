"""Side effects: tasks, observations and changes of room metadata, never suppressed (R72)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Final, TypeVar

from salon.base import SalonError
from salon.core.context import Contexts
from salon.core.observers import Observers
from salon.core.ports.store import ConversationStore
from salon.models import (
    ChannelOutput,
    ChannelType,
    EventSource,
    EventType,
    HookTrigger,
    Observation,
    RoomEvent,
    SystemContent,
    Task,
)

E = TypeVar("E", Task, Observation)

DETACHED_KEY: Final = "roomkit:detached_channels"
"""Room metadata: channels that were detached and must not come back by themselves (R50)."""

_log = logging.getLogger("salon.core.effects")


class SideEffects:
    """Persists what hooks and channels leave behind. A failure is logged and undoes nothing."""

    def __init__(
        self, store: ConversationStore, *, contexts: Contexts, observers: Observers
    ) -> None:
        self._store = store
        self._contexts = contexts
        self._observers = observers

    async def keep(self, tasks: Iterable[Task], observations: Iterable[Observation]) -> None:
        """Store each; one that cannot be stored keeps no other from it. ON_TASK_CREATED is told of
        every task stored."""
        for task in tasks:
            try:
                await self._store.add_task(task)
                await self._tell(task)
            except (SalonError, ValueError, OSError):
                _log.exception("task %s was not stored", task.id)
        for observation in observations:
            try:
                await self._store.add_observation(observation)
            except (SalonError, ValueError, OSError):
                _log.exception("observation %s was not stored", observation.id)

    async def keep_output(
        self, room_id: str, output: ChannelOutput, *, made: datetime | None = None
    ) -> None:
        """Store what a channel gave back besides its answer, metadata as a patch of keys. Nothing
        is kept if the room that was `made` then is gone (R211)."""
        if not (output.tasks or output.observations or output.metadata_updates):
            return
        if made is not None:
            room = await self._store.get_room(room_id)
            if room is None or room.created_at != made:
                return
        if output.tasks or output.observations:
            await self.keep(
                [_here(task, room_id) for task in output.tasks],
                [_here(observation, room_id) for observation in output.observations],
            )
        updates = dict(output.metadata_updates)
        if updates.pop(DETACHED_KEY, None) is not None:
            _log.warning("a channel may not decide what was detached from room %s", room_id)
        if updates:
            try:
                await self._store.patch_room_metadata(room_id, updates)
            except (SalonError, ValueError, OSError):
                _log.exception("metadata of room %s was not stored", room_id)

    async def _tell(self, task: Task) -> None:
        if not self._observers.wants(HookTrigger.ON_TASK_CREATED, task.room_id):
            return
        event = RoomEvent(
            room_id=task.room_id,
            type=EventType.TASK_CREATED,
            source=EventSource(channel_id="system", channel_type=ChannelType.SYSTEM),
            content=SystemContent(code="task_created", body=task.title),
            metadata={"task_id": task.id, "task_title": task.title},
        )
        context = await self._contexts.build(task.room_id)
        self._observers.tell(HookTrigger.ON_TASK_CREATED, event, context)


def _here(effect: E, room_id: str) -> E:
    """A side effect in the room that it came from, whatever room it names (R267)."""
    if effect.room_id == room_id:
        return effect
    _log.warning("a side effect for room %s came from room %s", effect.room_id, room_id)
    return effect.model_copy(update={"room_id": room_id})
