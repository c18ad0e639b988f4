"""The hooks of a voice channel: in order for each caller, and never in the way of sound."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from salon.channels.voice_people import Caller
from salon.core.hooks import HookOutcome
from salon.core.kit import RoomKit
from salon.core.lanes import Lanes
from salon.models import ChannelType, EventSource, HookTrigger

MAX_WAITING = 256
"""What may wait to be told of one caller; beyond, the newest is dropped and counted."""


class VoiceHooks:
    """Tells and asks the hooks of `kit` about what happens on the lines of one channel."""

    def __init__(self, channel_id: str) -> None:
        self._channel_id = channel_id
        self._kit: RoomKit | None = None
        self._lanes = Lanes("voice hooks")
        self.dropped = 0

    def bind(self, kit: RoomKit) -> None:
        """Work for this framework."""
        self._kit = kit

    async def close(self) -> None:
        """Give up what waits."""
        await self._lanes.close(1.0)

    def wants(self, trigger: HookTrigger, room_id: str) -> bool:
        """Whether anybody listens."""
        return self._kit is not None and self._kit.hooks.wants(trigger, room_id)

    def tell(self, trigger: HookTrigger, caller: Caller, payload: object) -> None:
        """Have the hooks observe; in the order of the calls for each caller."""
        kit = self._kit
        if kit is None or not kit.hooks.wants(trigger, caller.room_id):
            return
        lane = (caller.room_id, caller.session.id)
        if self._lanes.waiting(lane) >= MAX_WAITING:
            self.dropped += 1
            return
        source = self._source(caller)
        self._lanes.put(
            lane, partial(kit.run_hooks, trigger, caller.room_id, payload, source=source)
        )

    async def told(self, caller: Caller) -> None:
        """Wait until the hooks have begun with everything they were told of a caller."""
        lane = (caller.room_id, caller.session.id)
        if self._lanes.waiting(lane):
            await self._lanes.put(lane, _nothing)
        await asyncio.sleep(0)  # what was told is on its way now, and begins first (V90)

    async def show(self, trigger: HookTrigger, caller: Caller, payload: object) -> None:
        """Have the hooks observe, and wait until they have."""
        if self._kit is not None:
            await self._kit.run_hooks(
                trigger, caller.room_id, payload, source=self._source(caller), wait=True
            )

    async def ask(
        self, trigger: HookTrigger, room_id: str, payload: Any, caller: Caller | None = None
    ) -> HookOutcome:
        """Have the hooks decide."""
        if self._kit is None:
            return HookOutcome(payload)
        source = self._source(caller)
        return await self._kit.run_hooks(trigger, room_id, payload, source=source)

    def emit(self, name: str, caller: Caller, **data: Any) -> None:
        """A framework event about a caller (V14); its data names the channel, the session and the
        participant."""
        if self._kit is not None:
            self._kit.framework.emit(
                name,
                room_id=caller.room_id,
                channel_id=self._channel_id,
                facts={"channel_id": self._channel_id},
                session_id=caller.session.id,
                participant_id=caller.participant_id,
                **data,
            )

    def _source(self, caller: Caller | None) -> EventSource:
        return EventSource(
            channel_id=self._channel_id,
            channel_type=ChannelType.VOICE,
            participant_id=caller.participant_id if caller is not None else None,
        )


async def _nothing() -> None:
    """Marks a place in a lane."""
