"""Hooks that only look on."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from salon.base import SYSTEM_CLOCK, Clock
from salon.core.hooks import HookRegistration, HookRegistry
from salon.core.lanes import Lanes
from salon.core.telemetry import carried
from salon.models import EventSource, HookTrigger, RoomContext

_log = logging.getLogger("salon.core.observers")

MAX_WAITING: Final = 1024
"""What may wait for one hook in one room; beyond, it misses the newest."""
WARN_EVERY_S: Final = 60.0
"""Between two warnings about hooks that miss something."""


class Observers:
    """Tells each observing hook what happened in a room, in that order. Nobody waits for them: no
    answer is delayed and no lock is held while they run (R162), and a slow one delays no other."""

    def __init__(self, hooks: HookRegistry, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._hooks = hooks
        self._clock = clock
        self._lanes = Lanes("observers")
        self._warned_at: float | None = None
        self.dropped = 0
        """What slow hooks were not told."""

    def wants(self, trigger: HookTrigger, room_id: str) -> bool:
        """Whether anybody observes this trigger in a room."""
        return self._hooks.wants(trigger, room_id)

    def tell(
        self,
        trigger: HookTrigger,
        payload: object,
        context: RoomContext,
        source: EventSource | None = None,
    ) -> None:
        """Have the observers of `trigger` run."""
        room_id = context.room.id
        if not self._hooks.wants(trigger, room_id):
            return
        for hook in self._hooks.onlookers(trigger, payload, room_id, source):
            lane = (room_id, hook.order)
            if self._lanes.waiting(lane) >= MAX_WAITING:
                self._drop(hook, room_id)
                continue
            self._lanes.put(lane, carried(partial(self._hooks.show, hook, payload, context)))

    async def drained(self, room_id: str) -> None:
        """Wait until the hooks of a room are done with what they were told so far."""
        await self._lanes.drained_room(room_id)

    async def close(self, timeout: float) -> None:
        """Let them finish for a bounded time, then abort."""
        await self._lanes.close(timeout)

    def _drop(self, hook: HookRegistration, room_id: str) -> None:
        self.dropped += 1
        now = self._clock.monotonic()
        if self._warned_at is None or now - self._warned_at >= WARN_EVERY_S:
            self._warned_at = now
            _log.warning(
                "hook %s is too slow and misses what happens; %d dropped so far",
                hook.name,
                self.dropped,
                extra={"room_id": room_id},
            )
