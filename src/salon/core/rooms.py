"""Rooms: made, paused, closed, reopened, archived, deleted (chapter 5)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from salon.base import SYSTEM_CLOCK, Clock, unbroken
from salon.core.context import Contexts
from salon.core.effects import DETACHED_KEY
from salon.core.errors import RoomKitError, RoomNotFoundError
from salon.core.framework import FrameworkEvents
from salon.core.hooks import HookRegistry
from salon.core.lifecycle import (
    Announcer,
    Recorder,
    Records,
    Settle,
    as_it_is,
    system_event,
)
from salon.core.observers import Observers
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.store import ConversationStore
from salon.core.registry import ChannelRegistry
from salon.core.tenancy import Tenancy
from salon.core.timers import is_timed
from salon.models import (
    AgentResponsePolicy,
    EventFilter,
    EventType,
    HookTrigger,
    Room,
    RoomEvent,
    RoomStatus,
    RoomTimers,
)

__all__ = ["DETACHED_KEY", "Recorder", "Rooms", "TransitionRefusedError", "system_event"]


class TransitionRefusedError(RoomKitError):
    """A room does not get from its status to the one asked for; ARCHIVED is the end."""

    code = "transition_refused"

    def __init__(self, room_id: str, status: RoomStatus, transition: str) -> None:
        self.room_id, self.status, self.transition = room_id, status, transition
        super().__init__(f"cannot {transition} room {room_id!r}: it is {status.value}")


_FROM: Final[Mapping[RoomStatus, Collection[RoomStatus]]] = {
    RoomStatus.ACTIVE: (RoomStatus.PAUSED,),
    RoomStatus.PAUSED: (RoomStatus.ACTIVE,),
    RoomStatus.CLOSED: (RoomStatus.ACTIVE, RoomStatus.PAUSED),
    RoomStatus.ARCHIVED: (RoomStatus.ACTIVE, RoomStatus.PAUSED, RoomStatus.CLOSED),
}
"""Where each status is reached from; `reopen` alone leaves CLOSED again."""

_NOT_OF_CHANNELS: Final = EventFilter(
    exclude_types=[EventType.CHANNEL_ATTACHED, EventType.CHANNEL_DETACHED], include_blocked=True
)


class Rooms:
    """The life of rooms; `Bindings` has what is bound to them."""

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
        clock: Clock = SYSTEM_CLOCK,
        settle: Settle = as_it_is,
        watch: Callable[[Room], None] = lambda _: None,
        drop: Callable[[str], None] = lambda _: None,
        policy: AgentResponsePolicy = AgentResponsePolicy.AGENT_CHAIN,
    ) -> None:
        """`settle` and `watch` are `Timers.apply` and `Timers.watch`; `drop` ends what a deleted
        room still owed, under its lock; `policy` is for rooms that name none."""
        self._store = store
        self._locks = locks
        self._channels = channels
        self._contexts = contexts
        self._framework = framework
        self._records = Records(timeline, clock)
        self._announcer = Announcer(
            locks=locks, contexts=contexts, hooks=hooks, observers=observers
        )
        self._clock = clock
        self._tenancy = Tenancy(store, settle)
        self._watch = watch
        self._drop = drop
        self._policy = policy

    async def get(self, room_id: str, *, organization_id: str | None = None) -> Room:
        """The room. Raises `RoomNotFoundError`, also if it is not `organization_id`'s: a tenant
        does not learn that it exists (R267). None asks for no organization."""
        return await self._tenancy.room(room_id, organization_id)

    async def find(
        self,
        *,
        organization_id: str | None = None,
        status: RoomStatus | None = None,
        metadata_filter: Mapping[str, Any] | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Room]:
        """A page of the rooms that match, newest first."""
        return await self._store.find_rooms(
            organization_id, status, metadata_filter, limit=limit, offset=offset
        )

    async def make(
        self,
        room_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        organization_id: str | None = None,
        timers: RoomTimers | None = None,
        agent_response_policy: AgentResponsePolicy | None = None,
    ) -> Room:
        """Make a room (R27), under an id of its own if none is given. Raises `ValueError` if the
        id is taken."""
        room = Room(
            organization_id=organization_id,
            metadata=dict(metadata or {}),
            timers=timers or RoomTimers(),
            agent_response_policy=agent_response_policy or self._policy,
        )
        if room_id is not None:
            room.id = room_id
        return await self.create(room)

    async def create(self, room: Room) -> Room:
        """Store a room as given, fire ON_ROOM_CREATED (R27). Raises `ValueError` if the id is
        taken."""
        now = self._clock.now()
        stamps = {"created_at", "updated_at"} - room.model_fields_set
        room = room.model_copy(update=dict.fromkeys(stamps, now))
        made = await self._store.create_room(room)
        self._watch(made)
        self._framework.emit("room_created", room_id=made.id, organization_id=made.organization_id)
        event = system_event(made.id, EventType.SYSTEM, "room_created", created_at=now)
        await self._announcer.announce(HookTrigger.ON_ROOM_CREATED, event)
        return made

    # -- status -----------------------------------------------------------------------------------

    async def close(self, room_id: str, *, organization_id: str | None = None) -> Room:
        """End a conversation: no more events from now on, but it stays readable (R22, R24, R25).
        Closing a closed room changes nothing. This and the other changes of status raise
        `RoomNotFoundError` and `TransitionRefusedError`."""
        name, trigger = "room_closed", HookTrigger.ON_ROOM_CLOSED
        return await self._pass_to(
            room_id, organization_id, RoomStatus.CLOSED, "close", name, trigger
        )

    async def pause(self, room_id: str, *, organization_id: str | None = None) -> Room:
        """Mark a room as idle; it still takes events, and what is said in it resumes it. The time
        to its closing counts from now (R29)."""
        name, trigger = "room_paused", HookTrigger.ON_ROOM_PAUSED
        return await self._pass_to(
            room_id, organization_id, RoomStatus.PAUSED, "pause", name, trigger
        )

    async def resume(self, room_id: str, *, organization_id: str | None = None) -> Room:
        """PAUSED to ACTIVE. That is activity: the time to the next pause counts from now."""
        status = RoomStatus.ACTIVE
        return await self._pass_to(room_id, organization_id, status, "resume", "room_resumed")

    async def reopen(self, room_id: str, *, organization_id: str | None = None) -> Room:
        """CLOSED to ACTIVE, which is activity; a room that is open stays as it is."""
        status = RoomStatus.ACTIVE
        return await self._pass_to(room_id, organization_id, status, "reopen", "room_reopened")

    async def archive(self, room_id: str, *, organization_id: str | None = None) -> Room:
        """The end: nothing leaves ARCHIVED (R33). Archiving an archived room changes nothing."""
        async with self._tenancy.entered(self._locks, room_id, organization_id) as room:
            if room.status is RoomStatus.ARCHIVED:
                return room
            room.closed_at = room.closed_at or self._clock.now()
            room.status, room.paused_at = RoomStatus.ARCHIVED, None
            room = await self._store.update_room(room)
        self._framework.emit("room_archived", room_id=room_id)
        return room

    async def delete(self, room_id: str, *, organization_id: str | None = None) -> None:
        """Delete a room with everything in it (R211), whatever its status; what was still to be
        delivered or answered in it is given up. Its channels are told;
        what they raise comes as an `ExceptionGroup` once all of them know. Raises
        `RoomNotFoundError`."""
        async with self._tenancy.locked(self._locks, room_id, organization_id):
            await self.get(room_id)
            bound = await self._store.list_bindings(room_id)
            await self._store.delete_room(room_id)
            self._contexts.forget(room_id)
            self._drop(room_id)
        self._framework.emit("room_deleted", room_id=room_id)
        failures: list[Exception] = []
        for binding in bound:
            channel = self._channels.find(binding.channel_id)
            try:
                if channel is not None:
                    await channel.on_room_detached(room_id)
            except Exception as error:  # noqa: BLE001 - every channel is told first
                failures.append(error)
        if failures:
            raise ExceptionGroup(f"room {room_id!r} is deleted, channels failed", failures)

    async def discard(self, room_id: str) -> bool:
        """Delete a room that a refused message made, if nothing has come of it: no event but of
        channels that came and went, no metadata, no binding, no participant (AMB-21). False if it
        stays."""
        async with self._locks.locked(room_id):
            room = await self._store.get_room(room_id)
            if (
                room is None
                or room.metadata
                or await self._store.get_event_count(room_id, _NOT_OF_CHANNELS)
                or await self._store.list_bindings(room_id)
                or await self._store.list_participants(room_id)
            ):
                return False
            await self.delete(room_id)
        return True

    # -- settings ---------------------------------------------------------------------------------

    async def set_timers(
        self, room_id: str, timers: RoomTimers, *, organization_id: str | None = None
    ) -> Room:
        """Replace the thresholds. The clock goes on: `last_activity_at` is not taken from `timers`
        (R30)."""
        async with self._tenancy.entered(self._locks, room_id, organization_id) as room:
            room.timers.inactive_after_seconds = timers.inactive_after_seconds
            room.timers.closed_after_seconds = timers.closed_after_seconds
            room = await self._store.update_room(room)
        if is_timed(room):
            self._watch(room)
        return room

    async def set_policy(
        self, room_id: str, policy: AgentResponsePolicy, *, organization_id: str | None = None
    ) -> Room:
        """Whether agents answer agents that did not address them, from the next event on (R91)."""
        async with self._tenancy.entered(self._locks, room_id, organization_id) as room:
            room.agent_response_policy = policy
            return await self._store.update_room(room)

    async def update_metadata(
        self, room_id: str, metadata: Mapping[str, Any], *, organization_id: str | None = None
    ) -> Room:
        """Set keys of a room's metadata, one transaction; the others stay (R212). Raises
        `ValueError` for the framework's own key."""
        await self._tenancy.check(room_id, organization_id)
        if DETACHED_KEY in metadata:
            raise ValueError(f"room metadata {DETACHED_KEY!r} follows attach and detach")
        room = await self._store.patch_room_metadata(room_id, metadata)
        if room is None:
            raise RoomNotFoundError(room_id)
        return room

    # -- the parts --------------------------------------------------------------------------------

    async def _pass_to(
        self,
        room_id: str,
        organization_id: str | None,
        status: RoomStatus,
        transition: str,
        name: str,
        trigger: HookTrigger | None = None,
    ) -> Room:
        async with self._tenancy.entered(self._locks, room_id, organization_id) as room:
            if room.status is status or (transition == "reopen" and room.status.accepts_events):
                return room
            allowed = (RoomStatus.CLOSED,) if transition == "reopen" else _FROM[status]
            if room.status not in allowed:
                raise TransitionRefusedError(room_id, room.status, transition)
            room, event = await unbroken(self._write(room, status, name))
        self._framework.emit(name, room_id=room_id, reason="call")
        if trigger is not None:
            await self._announcer.announce(trigger, event)
        return room

    async def _write(self, room: Room, status: RoomStatus, name: str) -> tuple[Room, RoomEvent]:
        """The status, then its entry (R24), which moves the idle clock (R30)."""
        now = self._clock.now()
        room.status = status
        room.paused_at = now if status is RoomStatus.PAUSED else None
        room.closed_at = now if status is RoomStatus.CLOSED else None
        await self._store.update_room(room)
        event = await self._records.write(room.id, EventType.SYSTEM, name, closing=True)
        return await self.get(room.id), event
