"""Hooks that only look on."""

from __future__ import annotations

from functools import partial

from salon.core.hooks import HookRegistry
from salon.core.lanes import Lanes
from salon.core.telemetry import carried
from salon.models import HookTrigger, RoomContext


class Observers:
    """Tells observing hooks what happened in a room, in that order. Nobody waits for them: no
    answer is delayed and no lock is held while they run (R162)."""

    def __init__(self, hooks: HookRegistry) -> None:
        self._hooks = hooks
        self._lanes = Lanes("observers")

    def wants(self, trigger: HookTrigger, room_id: str) -> bool:
        """Whether anybody observes this trigger in a room."""
        return self._hooks.wants(trigger, room_id)

    def tell(self, trigger: HookTrigger, payload: object, context: RoomContext) -> None:
        """Have the observers of `trigger` run."""
        room_id = context.room.id
        if self._hooks.wants(trigger, room_id):
            self._lanes.put(
                room_id, carried(partial(self._hooks.observe, trigger, payload, context))
            )

    async def close(self, timeout: float) -> None:
        """Let them finish for a bounded time, then abort."""
        await self._lanes.close(timeout)
