"""A message from outside becomes an event (stages 0 to 18 of chapter 11)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from salon.core.context import Contexts
from salon.core.delivery import Delivery, RootCall, agent_lane
from salon.core.framework import FrameworkEvents
from salon.core.participants import Participants
from salon.core.ports.channel import Channel
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.router import InboundRouter
from salon.core.ports.store import ConversationStore
from salon.core.registry import ChannelRegistry
from salon.core.rooms import Rooms
from salon.core.timeline import Committed, Pass, Timeline
from salon.models import InboundMessage, InboundResult, Room, RoomEvent


class Inbound:
    """Routes, parses, commits, and waits for what follows."""

    def __init__(
        self,
        *,
        store: ConversationStore,
        locks: RoomLockManager,
        channels: ChannelRegistry,
        router: InboundRouter,
        rooms: Rooms,
        participants: Participants,
        contexts: Contexts,
        timeline: Timeline,
        delivery: Delivery,
        framework: FrameworkEvents,
        process_timeout: float = 30.0,
    ) -> None:
        self._store = store
        self._locks = locks
        self._channels = channels
        self._router = router
        self._rooms = rooms
        self._participants = participants
        self._contexts = contexts
        self._timeline = timeline
        self._delivery = delivery
        self._framework = framework
        self._timeout = process_timeout

    async def process(
        self, message: InboundMessage, room_id: str | None, *, detached: bool
    ) -> InboundResult:
        """The whole pipeline; `detached` returns at the commit (R127)."""
        channel = self._channels.get(message.channel_id)
        room_id = await self._route(channel, message, room_id)
        root = RootCall()
        try:
            async with asyncio.timeout(self._timeout) as budget:
                committed = await self._before_commit(channel, message, room_id, root, budget)
        except TimeoutError:
            if not budget.expired():
                raise  # somebody else's
            self._framework.emit("process_timeout", room_id=room_id)
            return InboundResult(None, True, "process_timeout")
        return await self.finish(committed, root, room_id, detached=detached)

    async def finish(
        self, committed: Committed, root: RootCall, room_id: str, *, detached: bool
    ) -> InboundResult:
        """Wait for the delivery set and every answer (stage 18), unless told or bound not to."""
        results: Mapping[str, Any] = {}
        inside = (
            self._locks.held(room_id)
            or self._delivery.rooms.inside(room_id)
            or any(
                self._delivery.agents.inside(agent_lane(room_id, channel.channel_id))
                for channel in self._channels
            )
        )
        if committed.delivered is not None and not detached and not inside:
            results = await asyncio.shield(committed.delivered)
            await root.settle()
        return InboundResult(
            committed.event,
            committed.blocked,
            committed.reason,
            committed.duplicate,
            dict(results),
            root.error,
        )

    async def _route(self, channel: Channel, message: InboundMessage, room_id: str | None) -> str:
        if room_id is None:
            room_id = await self._router.route(
                channel.channel_id, str(channel.channel_type), message.sender_id, message.metadata
            )
        if room_id is None:
            return (await self._rooms.create(Room())).id
        if await self._store.get_room(room_id) is None:
            async with self._locks.locked(room_id):  # of two messages one makes the room (R182)
                if await self._store.get_room(room_id) is None:
                    await self._rooms.create(Room(id=room_id))
        return room_id

    async def _before_commit(
        self,
        channel: Channel,
        message: InboundMessage,
        room_id: str,
        root: RootCall,
        budget: asyncio.Timeout,
    ) -> Committed:
        context = await self._contexts.build(room_id)
        event = await channel.handle_inbound(message, context)
        event = _with_message_fields(event, message, room_id)
        async with self._locks.locked(room_id):
            room = await self._store.get_room(room_id)
            if room is not None and room.status.accepts_events:
                await self._rooms.admit(room_id, channel.channel_id)
                if event.source.participant_id is not None:
                    await self._participants.ensure(
                        room_id, event.source.participant_id, channel.channel_id
                    )
            return await self._timeline.run(
                Pass(event, root, on_commit=lambda: _point_of_no_return(budget))
            )


def _point_of_no_return(budget: asyncio.Timeout) -> None:
    """From here on no timeout interferes (R205); one that already struck does win."""
    if budget.expired():
        raise TimeoutError
    budget.reschedule(None)


def _with_message_fields(event: RoomEvent, message: InboundMessage, room_id: str) -> RoomEvent:
    """Message-level fields, where the channel left the event's own at their defaults (R18)."""
    update: dict[str, Any] = {"room_id": room_id, "chain_depth": 0}
    if event.visibility == "all":
        update["visibility"] = message.visibility
    for name in ("parent_event_id", "addressed_to", "response_visibility", "idempotency_key"):
        if getattr(event, name) is None:
            update[name] = getattr(message, name)
    return event.model_copy(update=update)
