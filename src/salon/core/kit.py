"""`RoomKit`: a facade over the services of the core. No web framework in sight (R3).

What a method does is written in its service; here is what the methods are called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError, LocalProtocolError
from salon.core.bindings import Bindings
from salon.core.connections import Connections
from salon.core.delegation import via
from salon.core.effects import SideEffects
from salon.core.ephemeral import EphemeralEvents
from salon.core.errors import RoomNotFoundError
from salon.core.feedback import Feedback
from salon.core.framework import FrameworkEvent, Listener
from salon.core.hooks import HookFn, HookOutcome, HookRegistry
from salon.core.identity import IdentityStage
from salon.core.identity.hooks import IdentityHookFn
from salon.core.media_sessions import MediaSessions
from salon.core.mutations import Mutations
from salon.core.participants import Participants
from salon.core.payloads import RawPayload
from salon.core.ports.channel import Channel
from salon.core.ports.identity import IdentityResolver
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.realtime import RealtimeBackend
from salon.core.ports.router import InboundRoomRouter
from salon.core.ports.store import ConversationStore
from salon.core.ports.telemetry import TelemetryConfig, TelemetryProvider
from salon.core.ports.transcoder import ContentTranscoder
from salon.core.reading import Reading
from salon.core.recovery import Recovery
from salon.core.regeneration import Regeneration
from salon.core.room_hooks import RoomHooks
from salon.core.rooms import Rooms
from salon.core.sending import Sending
from salon.core.services import Options, Services
from salon.core.sources import SourceSupervisor
from salon.core.statuses import DeliveryStatuses
from salon.core.timers import INTERVAL_S, Timers
from salon.models import (
    AgentResponsePolicy,
    AnyChannelType,
    ChannelDirection,
    DeliveryStatus,
    EventSource,
    EventStatus,
    EventType,
    HookExecution,
    HookTrigger,
    PersistencePolicy,
    RateLimit,
    RoomContext,
    RoomEvent,
)

F = TypeVar("F", bound=HookFn)
I = TypeVar("I", bound=IdentityHookFn)  # noqa: E741 - an identity hook
L = TypeVar("L", bound=Listener)
S = TypeVar("S", bound=Callable[[DeliveryStatus], Awaitable[None] | None])


class RoomKit:
    """Rooms, channels, hooks and the pipeline between them.

    Use as ``async with RoomKit() as kit``. Defaults keep everything in memory. `max_chain_depth`
    bounds how long agents may answer each other (R148), `process_timeout` the work before a commit
    (R204), `inbound_rate_limit` the messages of one channel (R194). `identity_resolver` says who
    senders are, on channels of `identity_channel_types` (None: all). `persistence_policy` says
    which types of events are delivered without being stored (R101), `raw_payload` what is kept of
    the payloads of providers, once hooks have seen them (R268): ``keep``, ``redact``, ``drop`` or a
    function of the payload. Times are in seconds.

    Methods that take `organization_id` treat a room of another organization as one that does not
    exist (R267); None asks for no organization in particular.
    """

    def __init__(
        self,
        store: ConversationStore | None = None,
        identity_resolver: IdentityResolver | None = None,
        identity_channel_types: Collection[AnyChannelType] | None = None,
        inbound_router: InboundRoomRouter | None = None,
        lock_manager: RoomLockManager | None = None,
        realtime: RealtimeBackend | None = None,
        max_chain_depth: int = 5,
        agent_response_policy: AgentResponsePolicy = AgentResponsePolicy.AGENT_CHAIN,
        identity_timeout: float = 10.0,
        process_timeout: float = 30.0,
        *,
        inbound_rate_limit: RateLimit | None = None,
        transcoder: ContentTranscoder | None = None,
        telemetry: TelemetryProvider | TelemetryConfig | None = None,
        persistence_policy: PersistencePolicy | None = None,
        raw_payload: RawPayload = "keep",
        delivery_timeout: float = 30.0,
        shutdown_timeout: float = 5.0,
        timer_interval: float | None = INTERVAL_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not isinstance(max_chain_depth, int) or max_chain_depth < 1:
            raise ValueError(f"max_chain_depth must be an integer from 1 on, not {max_chain_depth}")
        if not isinstance(persistence_policy, PersistencePolicy | None):
            raise ConfigurationError(
                f"persistence_policy={persistence_policy!r}: it is a PersistencePolicy, such as "
                "PersistencePolicy(exclude_types={EventType.OBSERVATION})"
            )
        self._parts = Services(
            Options(
                store=store,
                identity_resolver=identity_resolver,
                identity_channel_types=identity_channel_types,
                inbound_router=inbound_router,
                lock_manager=lock_manager,
                realtime=realtime,
                transcoder=transcoder,
                telemetry=telemetry,
                persistence_policy=persistence_policy,
                raw_payload=raw_payload,
                inbound_rate_limit=inbound_rate_limit,
                agent_response_policy=agent_response_policy,
                max_chain_depth=max_chain_depth,
                identity_timeout=identity_timeout,
                process_timeout=process_timeout,
                delivery_timeout=delivery_timeout,
                timer_interval=timer_interval,
                clock=clock,
            )
        )
        parts = self._parts
        self.store, self.locks, self.realtime = parts.store, parts.locks, parts.realtime
        self.framework, self.hooks, self.channels = parts.framework, parts.hooks, parts.channels
        self.identity_resolver, self.identity_timeout = identity_resolver, identity_timeout
        self.telemetry = parts.tracer.provider
        self._shutdown_timeout = shutdown_timeout
        self._opened = self._closed = False

    @property
    def lock_manager(self) -> RoomLockManager:
        """The same as `locks`."""
        return self.locks

    @property
    def hook_engine(self) -> HookRegistry:
        """The same as `hooks`."""
        return self.hooks

    @property
    def turn_executor(self) -> Self:
        """Where agents take their turns, which is here: `hook`, `hooks` and `room_hook` of it are
        those of the kit."""
        return self

    # -- life -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the store; idempotent. `resume_deliveries` is yours to call, once every channel is
        registered. `LocalProtocolError` after `close`."""
        if self._closed:
            raise LocalProtocolError("a closed RoomKit is not opened again: make another one")
        if not self._opened:
            self._opened = True
            await self._parts.open()

    async def close(self) -> None:
        """Run the lanes dry for a bounded time, then close every channel, the realtime backend, the
        store and the locks, even if one fails (R53, R140); failures rise as a group. Idempotent."""
        if not self._closed:
            self._closed = True
            await self._parts.close(self._shutdown_timeout)

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

    # -- channels and sources ---------------------------------------------------------------------

    def register_channel(self, channel: Channel) -> None:
        """Make a channel known. Raises `ChannelAlreadyRegisteredError` (R45)."""
        self.channels.add(channel)
        self._parts.contexts.widen(channel.context_events)
        channel.bind(self)

    def unregister_channel(self, channel_id: str) -> Channel | None:
        """Forget a channel; it is returned unclosed, its bindings stay."""
        self._parts.guard.forget(channel_id)
        return self.channels.remove(channel_id)

    def get_channel(self, channel_id: str) -> Channel | None:
        """The channel registered under this id."""
        return self.channels.find(channel_id)

    def list_channels(self) -> list[Channel]:
        """Every registered channel."""
        return list(self.channels)

    attach_source = via(lambda kit: kit._parts.sources, SourceSupervisor.attach)
    detach_source = via(lambda kit: kit._parts.sources, SourceSupervisor.detach)
    list_sources = via(lambda kit: kit._parts.sources, SourceSupervisor.statuses)
    source_health = via(lambda kit: kit._parts.sources, SourceSupervisor.health)

    connect_websocket = via(lambda kit: kit._parts.connections, Connections.connect)
    disconnect_websocket = via(lambda kit: kit._parts.connections, Connections.disconnect)
    subscribe_websocket = via(lambda kit: kit._parts.connections, Connections.subscribe)
    unsubscribe_websocket = via(lambda kit: kit._parts.connections, Connections.unsubscribe)

    join = via(lambda kit: kit._parts.sessions, MediaSessions.join)
    leave = via(lambda kit: kit._parts.sessions, MediaSessions.leave)
    connect_voice = via(lambda kit: kit._parts.sessions, MediaSessions.connect)
    disconnect_voice = via(lambda kit: kit._parts.sessions, MediaSessions.leave)
    bind_voice_session = via(lambda kit: kit._parts.sessions, MediaSessions.adopt)

    # -- rooms ------------------------------------------------------------------------------------

    create_room = via(lambda kit: kit._parts.rooms, Rooms.make)
    get_room = via(lambda kit: kit._parts.rooms, Rooms.get)
    list_rooms = via(lambda kit: kit._parts.rooms, Rooms.find)
    close_room = via(lambda kit: kit._parts.rooms, Rooms.close)
    reopen_room = via(lambda kit: kit._parts.rooms, Rooms.reopen)
    pause_room = via(lambda kit: kit._parts.rooms, Rooms.pause)
    resume_room = via(lambda kit: kit._parts.rooms, Rooms.resume)
    archive_room = via(lambda kit: kit._parts.rooms, Rooms.archive)
    delete_room = via(lambda kit: kit._parts.rooms, Rooms.delete)
    update_room_metadata = via(lambda kit: kit._parts.rooms, Rooms.update_metadata)
    set_agent_response_policy = via(lambda kit: kit._parts.rooms, Rooms.set_policy)
    set_room_timers = via(lambda kit: kit._parts.rooms, Rooms.set_timers)
    check_room_timers = via(lambda kit: kit._parts.timers, Timers.check)
    check_all_timers = via(lambda kit: kit._parts.timers, Timers.check_all)

    # -- bindings ---------------------------------------------------------------------------------

    attach_channel = via(lambda kit: kit._parts.bindings, Bindings.attach)
    share_channel = via(lambda kit: kit._parts.bindings, Bindings.share)
    detach_channel = via(lambda kit: kit._parts.bindings, Bindings.detach)
    get_binding = via(lambda kit: kit._parts.bindings, Bindings.get)
    list_bindings = via(lambda kit: kit._parts.bindings, Bindings.of_room)
    mute = via(lambda kit: kit._parts.bindings, Bindings.mute)
    unmute = via(lambda kit: kit._parts.bindings, Bindings.unmute)
    mute_output = via(lambda kit: kit._parts.bindings, Bindings.mute_output)
    unmute_output = via(lambda kit: kit._parts.bindings, Bindings.unmute_output)
    set_access = via(lambda kit: kit._parts.bindings, Bindings.set_access)
    set_visibility = via(lambda kit: kit._parts.bindings, Bindings.set_visibility)
    update_binding_metadata = via(lambda kit: kit._parts.bindings, Bindings.update_metadata)

    # -- people -----------------------------------------------------------------------------------

    add_member = via(lambda kit: kit._parts.participants, Participants.add)
    remove_member = via(lambda kit: kit._parts.participants, Participants.remove)
    rename_member = via(lambda kit: kit._parts.participants, Participants.rename)
    list_members = via(lambda kit: kit._parts.participants, Participants.members)
    is_member = via(lambda kit: kit._parts.reading, Reading.is_member)
    ensure_participant = via(lambda kit: kit._parts.participants, Participants.introduce)
    resolve_participant = via(lambda kit: kit._parts.participants, Participants.resolve)
    identity_enabled_for = via(lambda kit: kit._parts.identity, IdentityStage.enabled_for)

    # -- events -----------------------------------------------------------------------------------

    process_inbound = via(lambda kit: kit._parts.sending, Sending.receive)
    process_webhook = via(lambda kit: kit._parts.sending, Sending.webhook)
    process_delivery_status = via(lambda kit: kit._parts.statuses, DeliveryStatuses.process)
    send_event = via(lambda kit: kit._parts.sending, Sending.send)
    record = via(lambda kit: kit._parts.sending, Sending.record)
    idle = via(lambda kit: kit._parts.sending, Sending.idle)
    resume_deliveries = via(lambda kit: kit._parts.recovery, Recovery.resume)
    update_event = via(lambda kit: kit._parts.mutations, Mutations.update)
    delete_event = via(lambda kit: kit._parts.mutations, Mutations.delete)
    regenerate_response = via(lambda kit: kit._parts.regeneration, Regeneration.run)
    regenerate_target = via(lambda kit: kit._parts.regeneration, Regeneration.target)

    def on_commit(self, listener: Callable[[RoomEvent], None]) -> Callable[[], None]:
        """Hear every committed event at once, synchronously; the result stops it."""
        listeners = self._parts.timeline.listeners
        listeners.append(listener)

        def forget() -> None:
            with suppress(ValueError):
                listeners.remove(listener)

        return forget

    # -- what is known of a room ------------------------------------------------------------------

    get_timeline = via(lambda kit: kit._parts.reading, Reading.timeline)
    context = via(lambda kit: kit._parts.reading, Reading.context)
    history = via(lambda kit: kit._parts.reading, Reading.history)
    list_tasks = via(lambda kit: kit._parts.reading, Reading.tasks)
    list_observations = via(lambda kit: kit._parts.reading, Reading.observations)
    submit_feedback = via(lambda kit: kit._parts.feedback, Feedback.submit)
    mark_read = via(lambda kit: kit._parts.reading, Reading.mark)
    mark_all_read = via(lambda kit: kit._parts.reading, Reading.mark_all)
    get_unread_count = via(lambda kit: kit._parts.reading, Reading.unread)
    list_read_markers = via(lambda kit: kit._parts.reading, Reading.markers)

    # -- ephemeral events -------------------------------------------------------------------------

    publish_typing = via(lambda kit: kit._parts.ephemeral, EphemeralEvents.publish_typing)
    publish_presence = via(lambda kit: kit._parts.ephemeral, EphemeralEvents.publish_presence)
    publish_reaction = via(lambda kit: kit._parts.ephemeral, EphemeralEvents.publish_reaction)
    publish_read_receipt = via(
        lambda kit: kit._parts.ephemeral, EphemeralEvents.publish_read_receipt
    )
    publish_tool_call = via(lambda kit: kit._parts.ephemeral, EphemeralEvents.publish_tool_call)
    subscribe_room = via(lambda kit: kit._parts.ephemeral, EphemeralEvents.subscribe_room)
    unsubscribe_room = via(lambda kit: kit._parts.ephemeral, EphemeralEvents.unsubscribe_room)

    keep_effects = via(lambda kit: kit._parts.effects, SideEffects.keep)

    # -- hooks and framework events ---------------------------------------------------------------

    add_hook = via(lambda kit: kit.hooks, HookRegistry.add)

    def hook(
        self,
        trigger: HookTrigger,
        execution: HookExecution = HookExecution.SYNC,
        priority: int = 0,
        name: str = "",
        timeout: float = 30.0,
        channel_types: Collection[AnyChannelType] | None = None,
        channel_ids: Collection[str] | None = None,
        directions: Collection[ChannelDirection] | None = None,
        event_types: Collection[EventType] | None = None,
        fail_closed: bool = False,
        needs_lock: bool = True,
        *,
        room_id: str | None = None,
    ) -> Callable[[F], F]:
        """Register a hook, as a decorator; see `add_hook`."""

        def decorate(fn: F) -> F:
            self.hooks.add(
                trigger,
                fn,
                name=name or None,
                execution=execution,
                priority=priority,
                timeout=timeout,
                fail_closed=fail_closed,
                room_id=room_id,
                channel_types=channel_types,
                channel_ids=channel_ids,
                directions=directions,
                event_types=event_types,
                needs_lock=needs_lock,
            )
            return fn

        return decorate

    add_room_hook = via(lambda kit: kit._parts.room_hooks, RoomHooks.add)
    remove_room_hook = via(lambda kit: kit._parts.room_hooks, RoomHooks.remove)
    room_hook = via(lambda kit: kit._parts.room_hooks, RoomHooks.define)
    enable_room_hook = via(lambda kit: kit._parts.room_hooks, RoomHooks.enable)
    disable_room_hook = via(lambda kit: kit._parts.room_hooks, RoomHooks.disable)

    def hooks_for(self, trigger: HookTrigger) -> HookRegistry:
        """Where the hooks of a trigger are registered: all of them in `hooks`."""
        del trigger
        return self.hooks

    def identity_hook(
        self,
        trigger: HookTrigger,
        channel_types: Collection[AnyChannelType] | None = None,
        channel_ids: Collection[str] | None = None,
        directions: Collection[ChannelDirection] | None = None,
        **options: Any,
    ) -> Callable[[I], I]:
        """Have a say about senders that the resolver does not know for sure (R175), as a decorator:
        ON_IDENTITY_AMBIGUOUS or ON_IDENTITY_UNKNOWN. `options`: name, priority, timeout, room_id;
        without a name it is that of the function."""

        def decorate(fn: I) -> I:
            self._parts.identity_hooks.add(
                trigger,
                fn,
                channel_types=channel_types,
                channel_ids=channel_ids,
                directions=directions,
                **options,
            )
            return fn

        return decorate

    async def run_hooks(
        self,
        trigger: HookTrigger,
        room_id: str,
        payload: Any,
        *,
        source: EventSource | None = None,
        wait: bool = False,
    ) -> HookOutcome:
        """Run the hooks of a trigger that is not part of a commit. SYNC triggers decide; those of
        ASYNC ones only observe, and are waited for only with `wait`. `source` says where the
        payload comes from, for hooks that look at some channels only (V131)."""
        if not self.hooks.wants(trigger, room_id):
            return HookOutcome(payload)
        context = await self._parts.contexts.build(room_id)
        if trigger.is_async and wait:
            await self.hooks.observe(trigger, payload, context, source)
            return HookOutcome(payload)
        if trigger.is_async:
            self._parts.observers.tell(trigger, payload, context, source)
            return HookOutcome(payload)
        outcome = await self.hooks.decide(trigger, payload, context, source=source)
        await self._parts.effects.keep(outcome.tasks, outcome.observations)
        if not outcome.blocked and trigger is not HookTrigger.ON_TOOL_CALL:
            self._parts.observers.tell(trigger, outcome.payload, context, source)  # R163
        return outcome

    def on(self, event_type: str) -> Callable[[L], L]:
        """Subscribe to a framework event by name, or to all with ``"*"`` (R169), as a decorator.
        The listener takes a `FrameworkEvent` and may be a coroutine function."""

        def decorate(listener: L) -> L:
            self.framework.on(event_type, listener)
            return listener

        return decorate

    def on_delivery_status(self, fn: S) -> S:
        """Be told of delivery reports; a decorator. For the room as well, use the hook."""

        async def tell(status: DeliveryStatus, context: RoomContext) -> None:
            del context
            result = fn(status)
            if result is not None:
                await result

        name = getattr(fn, "__name__", "on_delivery_status")
        self.hooks.add(
            HookTrigger.ON_DELIVERY_STATUS, tell, name=name, execution=HookExecution.ASYNC
        )
        return fn


__all__ = ["EventStatus", "FrameworkEvent", "RoomKit", "RoomNotFoundError"]
