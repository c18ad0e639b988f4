"""Rooms and their bindings: made, changed, closed (chapters 5 and 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from salon.core.context import Contexts
from salon.core.errors import ChannelNotFoundError, RoomNotFoundError
from salon.core.framework import FrameworkEvents
from salon.core.hooks import HookRegistry
from salon.core.observers import Observers
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.store import ConversationStore
from salon.core.registry import ChannelRegistry
from salon.models import (
    Access,
    ChannelBinding,
    ChannelType,
    EventSource,
    EventType,
    HookTrigger,
    Room,
    RoomEvent,
    RoomStatus,
    SystemContent,
)
from salon.models.base import utc_now

DETACHED_KEY = "roomkit:detached_channels"
"""Room metadata: channels that were detached and must not come back by themselves (R50)."""


class Recorder(Protocol):
    """What rooms need of the timeline."""

    async def record(self, event: RoomEvent, *, closing: bool = False) -> RoomEvent | None: ...


class Rooms:
    """The life of rooms and bindings."""

    def __init__(
        self,
        *,
        store: ConversationStore,
        locks: RoomLockManager,
        channels: ChannelRegistry,
        contexts: Contexts,
        hooks: HookRegistry,
        observers: Observers,
        framework: FrameworkEvents,
        timeline: Callable[[], Recorder],
    ) -> None:
        self._store = store
        self._locks = locks
        self._channels = channels
        self._contexts = contexts
        self._hooks = hooks
        self._observers = observers
        self._framework = framework
        self._timeline = timeline

    async def create(self, room: Room) -> Room:
        """Store a room, fire ON_ROOM_CREATED (R27)."""
        made = await self._store.create_room(room)
        self._framework.emit("room_created", room_id=made.id, organization_id=made.organization_id)
        await self._announce(
            HookTrigger.ON_ROOM_CREATED, system_event(made.id, EventType.SYSTEM, "room_created")
        )
        return made

    async def close(self, room_id: str) -> Room:
        """No more events from now on (R22, R24); closing a closed room changes nothing."""
        async with self._locks.locked(room_id):
            room = await self._get(room_id)
            if room.status in (RoomStatus.CLOSED, RoomStatus.ARCHIVED):
                return room
            room.status, room.closed_at = RoomStatus.CLOSED, utc_now()
            room = await self._store.update_room(room)
        event = system_event(room_id, EventType.SYSTEM, "room_closed")
        await self._timeline().record(event, closing=True)
        self._framework.emit("room_closed", room_id=room_id)
        await self._announce(HookTrigger.ON_ROOM_CLOSED, event)
        return await self._get(room_id)

    async def attach(
        self,
        room_id: str,
        channel_id: str,
        *,
        access: Access = Access.READ_WRITE,
        muted: bool = False,
        visibility: str = "all",
        participant_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> ChannelBinding:
        """Bind a channel to a room; again replaces the binding (R46, R47)."""
        channel = self._channels.get(channel_id)
        binding = ChannelBinding(
            channel_id=channel_id,
            room_id=room_id,
            channel_type=channel.channel_type,
            category=channel.category,
            direction=channel.direction,
            access=access,
            muted=muted,
            visibility=visibility,
            participant_id=participant_id,
            capabilities=channel.capabilities(),
            metadata=dict(metadata or {}),
        )
        async with self._locks.locked(room_id):
            room = await self._get(room_id)
            before = await self._store.get_binding(room_id, channel_id)
            stored = await self._store.add_binding(binding)
            try:
                await channel.on_room_attached(room_id, stored)
            except BaseException:
                if before is None:
                    await self._store.remove_binding(room_id, channel_id)
                else:
                    await self._store.add_binding(before)
                raise
            await self._set_detached(room, channel_id, detached=False)
            event = system_event(
                room_id,
                EventType.CHANNEL_ATTACHED,
                "channel_attached",
                channel_id=channel_id,
                channel_type=str(channel.channel_type),
            )
            await self._timeline().record(event)
        self._framework.emit("room_channel_attached", room_id=room_id, channel_id=channel_id)
        await self._announce(HookTrigger.ON_CHANNEL_ATTACHED, event)
        return stored

    async def detach(self, room_id: str, channel_id: str) -> bool:
        """Unbind; it will not come back by itself (R48, R50). False if it was not attached."""
        async with self._locks.locked(room_id):
            room = await self._get(room_id)
            if await self._store.get_binding(room_id, channel_id) is None:
                return False
            await self._set_detached(room, channel_id, detached=True)
            await self._store.remove_binding(room_id, channel_id)
            event = system_event(
                room_id, EventType.CHANNEL_DETACHED, "channel_detached", channel_id=channel_id
            )
            await self._timeline().record(event)
        channel = self._channels.find(channel_id)
        try:
            if channel is not None:
                await channel.on_room_detached(room_id)
        finally:
            self._framework.emit("room_channel_detached", room_id=room_id, channel_id=channel_id)
            await self._announce(HookTrigger.ON_CHANNEL_DETACHED, event)
        return True

    async def admit(self, room_id: str, channel_id: str) -> bool:
        """Attach a channel that a message came from, unless it was detached on purpose (R50).
        Called under the room lock."""
        room = await self._get(room_id)
        if await self._store.get_binding(room_id, channel_id) is not None:
            return True
        if channel_id in room.metadata.get(DETACHED_KEY, ()) or not room.status.accepts_events:
            return False
        await self.attach(room_id, channel_id)
        return True

    async def change(
        self, room_id: str, channel_id: str, kind: EventType, code: str, **changes: Any
    ) -> ChannelBinding:
        """Change a binding and record it; raises `ChannelNotFoundError`."""
        async with self._locks.locked(room_id):
            binding = await self._store.get_binding(room_id, channel_id)
            if binding is None:
                raise ChannelNotFoundError(room_id, channel_id)
            stored = await self._store.add_binding(binding.model_copy(update=changes))
            event = system_event(room_id, kind, code, channel_id=channel_id)
            await self._timeline().record(event)
        trigger = _CHANGE_TRIGGERS.get(kind)
        if trigger is not None:
            await self._announce(trigger, event)
        return stored

    async def _get(self, room_id: str) -> Room:
        room = await self._store.get_room(room_id)
        if room is None:
            raise RoomNotFoundError(room_id)
        return room

    async def _set_detached(self, room: Room, channel_id: str, *, detached: bool) -> None:
        known: list[str] = list(room.metadata.get(DETACHED_KEY, ()))
        if detached != (channel_id in known):
            known = [*known, channel_id] if detached else [c for c in known if c != channel_id]
            await self._store.patch_room_metadata(room.id, {DETACHED_KEY: known})

    async def _announce(self, trigger: HookTrigger, event: RoomEvent) -> None:
        if self._hooks.wants(trigger, event.room_id):
            context = await self._contexts.build(event.room_id)
            # A room that a message makes is furnished by these hooks, so the message waits for
            # them. Nothing else waits under the lock.
            if self._locks.held(event.room_id) and trigger is not HookTrigger.ON_ROOM_CREATED:
                self._observers.tell(trigger, event, context)
            else:
                await self._hooks.observe(trigger, event, context)


_CHANGE_TRIGGERS = {
    EventType.CHANNEL_MUTED: HookTrigger.ON_CHANNEL_MUTED,
    EventType.CHANNEL_UNMUTED: HookTrigger.ON_CHANNEL_UNMUTED,
}


def system_event(room_id: str, kind: EventType, code: str, **data: Any) -> RoomEvent:
    """A lifecycle entry (R34)."""
    return RoomEvent(
        room_id=room_id,
        type=kind,
        source=EventSource(channel_id="system", channel_type=ChannelType.SYSTEM),
        content=SystemContent(code=code, body=code.replace("_", " "), data=data),
        visibility="internal",
    )
