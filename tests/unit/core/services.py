"""The services of rooms without a pipeline: a timeline that only keeps records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from salon.core.bindings import Bindings
from salon.core.context import Contexts
from salon.core.framework import FrameworkEvent, FrameworkEvents
from salon.core.hooks import HookRegistry
from salon.core.memory.locks import InMemoryLockManager
from salon.core.memory.store import InMemoryStore
from salon.core.observers import Observers
from salon.core.participants import Participants
from salon.core.ports.channel import Channel
from salon.core.ports.store import ConversationStore
from salon.core.registry import ChannelRegistry
from salon.core.rooms import Rooms
from salon.core.timers import Timers
from salon.models import (
    EventFilter,
    EventStatus,
    HookTrigger,
    Room,
    RoomContext,
    RoomEvent,
    RoomTimers,
    SystemContent,
)
from salon.testing import VirtualClock

from .helpers import ROOM, text


class KeptRecords:
    """What services need of a timeline."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.refused: list[RoomEvent] = []

    async def record(self, event: RoomEvent, *, closing: bool = False) -> RoomEvent | None:
        store, clock = self._services.store, self._services.clock
        assert self._services.locks.held(event.room_id)
        room = await store.get_room(event.room_id)
        if room is None or not (closing or room.status.accepts_events):
            self.refused.append(event)
            return None
        ready = event.model_copy(update={"status": EventStatus.DELIVERED})
        return await store.commit_event(ready, at=clock.now())


@dataclass
class Heard:
    """Hooks and framework events, as they came."""

    hooks: list[tuple[str, str | None, bool]] = field(default_factory=list)
    """Trigger, code of the record, whether the lock was held."""
    events: list[FrameworkEvent] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [event.type for event in self.events]

    @property
    def triggers(self) -> list[str]:
        return [trigger for trigger, _, _ in self.hooks]


class Services:
    """Rooms, bindings, participants and timers on one store, in virtual time."""

    def __init__(
        self,
        *,
        store: ConversationStore | None = None,
        clock: VirtualClock | None = None,
        timed: bool = True,
        **timers: Any,
    ) -> None:
        self.clock = clock or VirtualClock()
        self.store = store or InMemoryStore(clock=self.clock)
        self.locks = InMemoryLockManager()
        self.hooks = HookRegistry()
        self.observers = Observers(self.hooks)
        self.framework = FrameworkEvents()
        self.channels = ChannelRegistry(self.framework)
        self.contexts = Contexts(self.store)
        self.timeline = KeptRecords(self)
        parts: dict[str, Any] = {
            "store": self.store,
            "locks": self.locks,
            "contexts": self.contexts,
            "hooks": self.hooks,
            "observers": self.observers,
            "framework": self.framework,
            "timeline": lambda: self.timeline,
            "clock": self.clock,
        }
        self.timers = Timers(**parts, **timers)
        watch: dict[str, Any] = {}
        if timed:
            parts["settle"], watch["watch"] = self.timers.apply, self.timers.watch
        self.rooms = Rooms(channels=self.channels, **watch, **parts)
        self.bindings = Bindings(channels=self.channels, **parts)
        self.people = Participants(**parts)
        self.heard = Heard()
        self.framework.on("*", self.heard.events.append)

    async def close(self) -> None:
        await self.timers.close()
        await self.bindings.close(0)
        await self.observers.close(0)

    def listen(self, *triggers: HookTrigger) -> Heard:
        """Have hooks at these triggers noted."""
        for trigger in triggers:

            async def note(
                event: RoomEvent, context: RoomContext, trigger: HookTrigger = trigger
            ) -> None:
                held = self.locks.held(context.room.id)
                self.heard.hooks.append((trigger.value, code(event), held))

            self.hooks.add(trigger, note)
        return self.heard

    async def room(self, room_id: str = ROOM, **fields: Any) -> Room:
        return await self.rooms.create(Room(id=room_id, **fields))

    async def now(self, room_id: str = ROOM) -> Room:
        return await self.rooms.get(room_id)

    async def register(self, *channels: Channel) -> None:
        for channel in channels:
            self.channels.add(channel)

    async def entries(self, room_id: str = ROOM) -> list[RoomEvent]:
        return await self.store.list_events(
            room_id, limit=1000, event_filter=EventFilter(include_blocked=True)
        )

    async def codes(self, room_id: str = ROOM) -> list[str | None]:
        return [code(event) for event in await self.entries(room_id)]

    async def say(self, room_id: str = ROOM, body: str = "hi") -> None:
        """A message as the pipeline treats a room: what is due first, what resumes it last."""
        async with self.locks.locked(room_id):
            room = await self.timers.apply(await self.rooms.get(room_id))
            assert room.status.accepts_events
            await self.store.commit_event(
                RoomEvent(
                    room_id=room_id,
                    source={"channel_id": "sms", "channel_type": "sms"},
                    content=text(body),
                    status=EventStatus.DELIVERED,
                ),
                at=self.clock.now(),
            )
            await self.timers.resumed(room)


def timers(idle: int | None, closed: int | None = None) -> RoomTimers:
    return RoomTimers(inactive_after_seconds=idle, closed_after_seconds=closed)


def code(event: RoomEvent) -> str | None:
    return event.content.code if isinstance(event.content, SystemContent) else None


def data(event: RoomEvent) -> dict[str, Any]:
    assert isinstance(event.content, SystemContent)
    return event.content.data
