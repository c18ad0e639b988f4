"""Side effects: tasks, observations and changes of room metadata, never suppressed (R72)."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from salon.base import SalonError
from salon.core.ports.store import ConversationStore
from salon.models import ChannelOutput, Observation, Task

_log = logging.getLogger("salon.core.effects")


class SideEffects:
    """Persists what hooks and channels leave behind. A failure is logged and undoes nothing."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store

    async def keep(self, tasks: Iterable[Task], observations: Iterable[Observation]) -> None:
        """Store each; one that cannot be stored keeps no other from it."""
        for task in tasks:
            try:
                await self._store.add_task(task)
            except (SalonError, ValueError, OSError):
                _log.exception("task %s was not stored", task.id)
        for observation in observations:
            try:
                await self._store.add_observation(observation)
            except (SalonError, ValueError, OSError):
                _log.exception("observation %s was not stored", observation.id)

    async def keep_output(self, room_id: str, output: ChannelOutput) -> None:
        """Store what a channel gave back besides its answer, metadata as a patch of keys."""
        await self.keep(output.tasks, output.observations)
        if output.metadata_updates:
            try:
                await self._store.patch_room_metadata(room_id, output.metadata_updates)
            except (SalonError, ValueError, OSError):
                _log.exception("metadata of room %s was not stored", room_id)
