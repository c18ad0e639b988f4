"""How an agent's turn asks the hooks of its room."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from salon.core.errors import RoomNotFoundError
from salon.core.hooks import HookOutcome
from salon.core.kit import RoomKit
from salon.core.observers import Observers
from salon.models import HookTrigger, Observation, Task

_log = logging.getLogger("salon.channels.ai")

ROOM_ENDED = "the room was {}"
DETACHED = "the agent was detached from the room"

_CLOSING_S = 5.0


class TurnHooks:
    """The hooks of the framework a channel was registered with; without one nobody is asked."""

    def __init__(self) -> None:
        self.kit: RoomKit | None = None
        self._observers: Observers | None = None

    def bind(self, kit: RoomKit) -> None:
        """The channel was registered."""
        self.kit = kit
        self._observers = Observers(kit.hooks)

    async def run(self, trigger: HookTrigger, room_id: str, payload: Any) -> HookOutcome:
        """Let the hooks of a SYNC trigger decide, or those of an ASYNC one know. Those of a room
        that is gone refuse everything."""
        if self.kit is None:
            return HookOutcome(payload)
        try:
            return await self.kit.run_hooks(trigger, room_id, payload)
        except RoomNotFoundError:
            return HookOutcome(payload, blocked=True, reason=ROOM_ENDED.format("deleted"))

    def wants(self, trigger: HookTrigger, room_id: str) -> bool:
        """Whether `run` would ask or tell anybody."""
        return self.kit is not None and self.kit.hooks.wants(trigger, room_id)

    async def tell(self, trigger: HookTrigger, room_id: str, payload: Any) -> None:
        """Tell the ASYNC hooks of a SYNC trigger how it ended; nobody waits for them."""
        kit, observers = self.kit, self._observers
        if kit is not None and observers is not None and kit.hooks.wants(trigger, room_id):
            with suppress(RoomNotFoundError):
                observers.tell(trigger, payload, await kit.context(room_id))

    async def over(self, room_id: str, channel_id: str) -> str | None:
        """Why an agent can say nothing in a room any more, or None."""
        if self.kit is None:
            return None
        try:
            context = await self.kit.context(room_id)
        except RoomNotFoundError:
            return ROOM_ENDED.format("deleted")
        if not context.room.status.accepts_events:
            return ROOM_ENDED.format(context.room.status.value)
        return DETACHED if context.binding(channel_id) is None else None

    def emit(self, name: str, *, room_id: str, channel_id: str, **data: Any) -> None:
        """Tell the listeners of the framework (R169)."""
        if self.kit is not None:
            self.kit.framework.emit(name, room_id=room_id, channel_id=channel_id, **data)

    async def keep(self, tasks: Iterable[Task], observations: Iterable[Observation]) -> None:
        """Store what an answer leaves besides its words. A failure is logged: the words stand."""
        if self.kit is None:
            return
        await self.kit.keep_effects(tasks, observations)

    async def close(self) -> None:
        """Let the observers finish for a bounded time."""
        if self._observers is not None:
            await self._observers.close(_CLOSING_S)
