"""`RoomKit`: a small facade over the services of the core. No web framework in sight (R3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from salon.base import SYSTEM_CLOCK, Clock
from salon.core.answers import Answers
from salon.core.context import Contexts
from salon.core.delivery import Delivery, RootCall, agent_lane
from salon.core.effects import SideEffects
from salon.core.errors import (
    ChannelNotFoundError,
    RoomClosedError,
    RoomKitError,
    RoomNotFoundError,
)
from salon.core.framework import FrameworkEvent, FrameworkEvents
from salon.core.hooks import HookFn, HookOutcome, HookRegistration, HookRegistry
from salon.core.inbound import Inbound
from salon.core.memory.locks import MemoryLocks
from salon.core.memory.store import MemoryStore
from salon.core.observers import Observers
from salon.core.participants import Participants
from salon.core.permissions import history_for
from salon.core.ports.channel import Channel
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.router import InboundRouter
from salon.core.ports.store import ConversationStore
from salon.core.registry import ChannelRegistry
from salon.core.rooms import Rooms
from salon.core.routing import DefaultRouter
from salon.core.timeline import Pass, Timeline
from salon.models import (
    Access,
    ChannelBinding,
    ChannelDirection,
    EventContent,
    EventSource,
    EventType,
    HookTrigger,
    InboundMessage,
    InboundResult,
    Participant,
    ParticipantRole,
    Room,
    RoomContext,
    RoomEvent,
)

F = TypeVar("F", bound=HookFn)


class RoomKit:
    """Rooms, channels, hooks and the pipeline between them.

    Use as ``async with RoomKit() as kit``. Defaults keep everything in memory. `max_chain_depth`
    bounds how long agents may answer each other (R148); `process_timeout` the work before a commit
    (R204).
    """

    def __init__(
        self,
        *,
        store: ConversationStore | None = None,
        lock_manager: RoomLockManager | None = None,
        inbound_router: InboundRouter | None = None,
        max_chain_depth: int = 5,
        process_timeout: float = 30.0,
        delivery_timeout: float = 30.0,
        shutdown_timeout: float = 5.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.store = store or MemoryStore()
        self.locks = lock_manager or MemoryLocks()
        self.framework = FrameworkEvents()
        self.hooks = HookRegistry(self._hook_failed)
        self.channels = ChannelRegistry(self.framework)
        self._contexts = Contexts(self.store)
        self._shutdown_timeout = shutdown_timeout
        self._opened = False
        self._effects = SideEffects(self.store)
        self._observers = Observers(self.hooks)
        answers = Answers(
            channels=self.channels,
            contexts=self._contexts,
            hooks=self.hooks,
            framework=self.framework,
            effects=self._effects,
            timeline=lambda: self._timeline,
            max_chain_depth=max_chain_depth,
        )
        self._delivery = Delivery(
            store=self.store,
            channels=self.channels,
            observers=self._observers,
            framework=self.framework,
            effects=self._effects,
            ask=answers.ask,
            timeout=delivery_timeout,
        )
        self._timeline = Timeline(
            store=self.store,
            locks=self.locks,
            hooks=self.hooks,
            framework=self.framework,
            contexts=self._contexts,
            delivery=self._delivery,
            effects=self._effects,
            clock=clock,
        )
        self._rooms = Rooms(
            store=self.store,
            locks=self.locks,
            channels=self.channels,
            contexts=self._contexts,
            hooks=self.hooks,
            observers=self._observers,
            framework=self.framework,
            timeline=lambda: self._timeline,
        )
        self._participants = Participants(
            store=self.store,
            locks=self.locks,
            contexts=self._contexts,
            hooks=self.hooks,
            timeline=lambda: self._timeline,
        )
        self._inbound = Inbound(
            store=self.store,
            locks=self.locks,
            channels=self.channels,
            router=inbound_router or DefaultRouter(self.store),
            rooms=self._rooms,
            participants=self._participants,
            contexts=self._contexts,
            timeline=self._timeline,
            delivery=self._delivery,
            framework=self.framework,
            process_timeout=process_timeout,
        )

    # -- life -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the store; idempotent."""
        if not self._opened:
            await self.store.open()
            self._opened = True

    async def close(self) -> None:
        """Run the lanes dry for a bounded time, then close every channel, the locks and the store,
        even if one fails (R53, R140); failures rise as a group afterwards. Idempotent."""
        if not self._opened:
            return
        self._opened = False
        errors: list[Exception] = []
        await self._delivery.close(self._shutdown_timeout)
        await self._observers.close(self._shutdown_timeout)
        for part in (*self.channels, self.locks, self.store):
            try:
                await part.close()
            except Exception as error:  # noqa: BLE001 - everything is closed first
                errors.append(error)
        if errors:
            raise ExceptionGroup("closing failed", errors)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # -- channels ---------------------------------------------------------------------------------

    def register_channel(self, channel: Channel) -> None:
        """Make a channel known (R45)."""
        self.channels.add(channel)
        self._contexts.widen(channel.context_events)
        channel.bind(self)

    def unregister_channel(self, channel_id: str) -> Channel | None:
        """Forget a channel; it is returned unclosed, its bindings stay."""
        return self.channels.remove(channel_id)

    async def attach_channel(
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
        """Bind a registered channel to a room (R46). Raises `ChannelNotRegisteredError`,
        `RoomNotFoundError`, and what the channel raises (R47)."""
        return await self._rooms.attach(
            room_id,
            channel_id,
            access=access,
            muted=muted,
            visibility=visibility,
            participant_id=participant_id,
            metadata=metadata,
        )

    async def detach_channel(self, room_id: str, channel_id: str) -> bool:
        """Unbind a channel (R48)."""
        return await self._rooms.detach(room_id, channel_id)

    async def mute(self, room_id: str, channel_id: str) -> ChannelBinding:
        """Silence a channel's own words; it still reads (R75)."""
        return await self._rooms.change(
            room_id, channel_id, EventType.CHANNEL_MUTED, "channel_muted", muted=True
        )

    async def unmute(self, room_id: str, channel_id: str) -> ChannelBinding:
        """Let a muted channel speak again."""
        return await self._rooms.change(
            room_id, channel_id, EventType.CHANNEL_UNMUTED, "channel_unmuted", muted=False
        )

    async def set_access(self, room_id: str, channel_id: str, access: Access) -> ChannelBinding:
        """Change what a binding may do (R70, R71)."""
        return await self._rooms.change(
            room_id, channel_id, EventType.CHANNEL_UPDATED, "channel_access_changed", access=access
        )

    async def set_visibility(
        self, room_id: str, channel_id: str, visibility: str
    ) -> ChannelBinding:
        """Change who sees what a channel writes (R73)."""
        return await self._rooms.change(
            room_id,
            channel_id,
            EventType.CHANNEL_UPDATED,
            "channel_visibility_changed",
            visibility=visibility,
        )

    # -- rooms ------------------------------------------------------------------------------------

    async def create_room(
        self,
        room_id: str | None = None,
        *,
        organization_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Room:
        """Make a room (R27). Raises `ValueError` if the id is taken."""
        room = Room(organization_id=organization_id, metadata=dict(metadata or {}))
        if room_id is not None:
            room.id = room_id
        return await self._rooms.create(room)

    async def get_room(self, room_id: str) -> Room | None:
        """The room, or None."""
        return await self.store.get_room(room_id)

    async def close_room(self, room_id: str) -> Room:
        """End a conversation; it stays readable (R25)."""
        return await self._rooms.close(room_id)

    async def context(self, room_id: str) -> RoomContext:
        """What hooks see of a room now. Raises `RoomNotFoundError`."""
        return await self._contexts.build(room_id)

    async def history(self, room_id: str, channel_id: str) -> tuple[RoomEvent, ...]:
        """The recent messages as a channel may know them (R80)."""
        context = await self._contexts.build(room_id)
        return history_for(channel_id, context.recent_events, context.bindings)

    # -- people -----------------------------------------------------------------------------------

    async def add_member(
        self,
        room_id: str,
        participant_id: str,
        channel_id: str,
        *,
        display_name: str | None = None,
        role: ParticipantRole = ParticipantRole.MEMBER,
    ) -> Participant:
        """Somebody joins (R42)."""
        return await self._participants.add(
            room_id, participant_id, channel_id, display_name=display_name, role=role
        )

    async def remove_member(self, room_id: str, participant_id: str) -> Participant:
        """Somebody leaves (R43)."""
        return await self._participants.remove(room_id, participant_id)

    async def rename_member(self, room_id: str, participant_id: str, name: str) -> Participant:
        """Change a display name (R41)."""
        return await self._participants.rename(room_id, participant_id, name)

    # -- events -----------------------------------------------------------------------------------

    async def process_inbound(
        self, message: InboundMessage, *, room_id: str | None = None, detached: bool = False
    ) -> InboundResult:
        """Take a message in. Returns when it was delivered and answered; with `detached`, or from
        inside the room's own lane (R128), at the commit. Raises `ChannelNotRegisteredError` and
        what the channel's `handle_inbound` raises; refusals are in the result."""
        return await self._inbound.process(message, room_id, detached=detached)

    async def send_event(
        self,
        room_id: str,
        channel_id: str,
        content: EventContent,
        *,
        event_type: EventType = EventType.MESSAGE,
        participant_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        visibility: str = "all",
        response_visibility: str | None = None,
        addressed_to: Collection[str] | None = None,
        parent_event_id: str | None = None,
        idempotency_key: str | None = None,
        chain_depth: int = 0,
        detached: bool = False,
    ) -> RoomEvent:
        """Put an event into a room for one of its channels (R129). Returns the committed event,
        BLOCKED if a hook or gate refused it; raises `RoomClosedError`, `ChannelNotFoundError`."""
        channel = self.channels.get(channel_id)
        if await self.store.get_room(room_id) is None:
            raise RoomNotFoundError(room_id)
        if await self.store.get_binding(room_id, channel_id) is None:
            raise ChannelNotFoundError(room_id, channel_id)
        event = RoomEvent(
            room_id=room_id,
            type=event_type,
            source=EventSource(
                channel_id=channel_id,
                channel_type=channel.channel_type,
                direction=ChannelDirection.OUTBOUND,
                participant_id=participant_id,
                provider=channel.provider_name,
            ),
            content=content,
            metadata=dict(metadata or {}),
            visibility=visibility,
            response_visibility=response_visibility,
            addressed_to=None if addressed_to is None else list(addressed_to),
            parent_event_id=parent_event_id,
            idempotency_key=idempotency_key,
            chain_depth=chain_depth,
        )
        root = RootCall()
        committed = await self._timeline.run(Pass(event, root))
        if committed.event is None and committed.reason == "room_closed":
            raise RoomClosedError(room_id)
        if committed.event is None:
            raise RoomKitError(f"room {room_id!r} refused the event: {committed.reason}")
        await self._inbound.finish(committed, root, room_id, detached=detached)
        return committed.event

    async def record(self, event: RoomEvent) -> RoomEvent | None:
        """Write a framework record (source ``system``) into a timeline, without hooks (R34). None
        if the room is gone or closed (R21)."""
        return await self._timeline.record(event)

    def on_commit(self, listener: Callable[[RoomEvent], None]) -> Callable[[], None]:
        """Hear every committed event at once, synchronously; the result stops it."""
        self._timeline.listeners.append(listener)

        def forget() -> None:
            with suppress(ValueError):
                self._timeline.listeners.remove(listener)

        return forget

    async def idle(self, room_id: str) -> None:
        """Wait until nothing is being delivered or answered in a room."""
        agents = [agent_lane(room_id, channel.channel_id) for channel in self.channels]
        busy = True
        while busy:
            busy = await self._delivery.rooms.drained(room_id)
            for key in agents:
                busy = await self._delivery.agents.drained(key) or busy

    # -- hooks and framework events ---------------------------------------------------------------

    def add_hook(self, trigger: HookTrigger, fn: HookFn, **options: Any) -> HookRegistration:
        """Register a hook; see `HookRegistry.add` for the options."""
        return self.hooks.add(trigger, fn, **options)

    def hook(self, trigger: HookTrigger, **options: Any) -> Callable[[F], F]:
        """`add_hook` as a decorator."""

        def decorate(fn: F) -> F:
            self.hooks.add(trigger, fn, **options)
            return fn

        return decorate

    async def run_hooks(self, trigger: HookTrigger, room_id: str, payload: Any) -> HookOutcome:
        """Run the hooks of a trigger that is not part of a commit. SYNC triggers decide; those of
        ASYNC ones only observe, and are not waited for."""
        if not self.hooks.wants(trigger, room_id):
            return HookOutcome(payload)
        context = await self._contexts.build(room_id)
        if trigger.is_async:
            self._observers.tell(trigger, payload, context)
            return HookOutcome(payload)
        outcome = await self.hooks.decide(trigger, payload, context)
        await self._effects.keep(outcome.tasks, outcome.observations)
        return outcome

    def on(self, name: str) -> Callable[[Callable[[FrameworkEvent], None]], Callable[..., None]]:
        """Subscribe to a framework event (R169), as a decorator."""

        def decorate(listener: Callable[[FrameworkEvent], None]) -> Callable[..., None]:
            self.framework.on(name, listener)
            return listener

        return decorate

    def _hook_failed(self, hook: HookRegistration, kind: str, message: str) -> None:
        self.framework.emit(kind, hook_name=hook.name, trigger=hook.trigger.value, error=message)
