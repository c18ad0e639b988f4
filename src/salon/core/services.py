"""The services of one `RoomKit`, put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from salon.base import SYSTEM_CLOCK, Clock
from salon.core import logs
from salon.core.answers import Answers
from salon.core.bindings import Bindings
from salon.core.changes import RoomChanges
from salon.core.connections import Connections
from salon.core.context import Contexts
from salon.core.delivery import Delivery
from salon.core.effects import SideEffects
from salon.core.ephemeral import EphemeralEvents
from salon.core.errors import RoomKitError
from salon.core.feedback import Feedback
from salon.core.framework import FrameworkEvent, FrameworkEvents
from salon.core.hooks import HookRegistration, HookRegistry
from salon.core.identity import IdentityHooks, IdentityStage
from salon.core.inbound import Inbound
from salon.core.marks import DeliveredMarks
from salon.core.media_sessions import MediaSessions
from salon.core.memory.locks import InMemoryLockManager
from salon.core.memory.realtime import InMemoryRealtime
from salon.core.memory.store import InMemoryStore
from salon.core.mutations import Mutations
from salon.core.observers import Observers
from salon.core.participants import Participants
from salon.core.payloads import RawPayload, payload_filter
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
from salon.core.registry import ChannelRegistry
from salon.core.resilience import BreakerEdge, DeliveryGuard
from salon.core.room_hooks import RoomHooks
from salon.core.rooms import Rooms
from salon.core.routing import DefaultInboundRoomRouter
from salon.core.senders import Senders
from salon.core.sending import Sending
from salon.core.sources import SourceSupervisor
from salon.core.statuses import DeliveryStatuses
from salon.core.telemetry import Tracer
from salon.core.tenancy import Tenancy
from salon.core.timeline import Timeline
from salon.core.timers import INTERVAL_S, Timers
from salon.core.transcoding import DefaultContentTranscoder
from salon.models import AgentResponsePolicy, AnyChannelType, PersistencePolicy, RateLimit

T = TypeVar("T")

_log = logging.getLogger("salon.core.services")

CHANNEL_CLOSE_S: Final = 30.0
"""The last resort: what a channel closes has limits of its own, of 5 s and less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a `RoomKit` is made of. None stands for the default in memory."""

    store: ConversationStore | None = None
    identity_resolver: IdentityResolver | None = None
    identity_channel_types: Collection[AnyChannelType] | None = None
    inbound_router: InboundRoomRouter | None = None
    lock_manager: RoomLockManager | None = None
    realtime: RealtimeBackend | None = None
    transcoder: ContentTranscoder | None = None
    inbound_rate_limit: RateLimit | None = None
    agent_response_policy: AgentResponsePolicy = AgentResponsePolicy.AGENT_CHAIN
    max_chain_depth: int = 5
    identity_timeout: float = 10.0
    process_timeout: float = 30.0
    delivery_timeout: float = 30.0
    timer_interval: float | None = INTERVAL_S
    clock: Clock = SYSTEM_CLOCK
    telemetry: TelemetryProvider | TelemetryConfig | None = None
    persistence_policy: PersistencePolicy | None = None
    raw_payload: RawPayload = "keep"


class Services:
    """Builds every service once and closes them in order. Each owns its state; what one needs of
    another it is given."""

    def __init__(self, options: Options) -> None:
        self.clock = options.clock
        self.store = _given(options.store, lambda: InMemoryStore(clock=options.clock))
        self.locks = _given(options.lock_manager, InMemoryLockManager)
        self.realtime = _given(options.realtime, InMemoryRealtime)
        self.framework = FrameworkEvents()
        self.changes = RoomChanges()
        self.tracer = Tracer(options.telemetry, clock=options.clock)
        self.tracer.follow(self.framework)
        logs.follow(self.framework)
        self.hooks = HookRegistry(self._hook_failed, tracer=self.tracer)
        self.identity_hooks = IdentityHooks()
        self.room_hooks = RoomHooks(self.hooks, Tenancy(self.store))
        self.channels = ChannelRegistry(self.framework)
        self.contexts = Contexts(self.store)
        self.tenancy = Tenancy(self.store)
        self.reading = Reading(self.store, contexts=self.contexts)
        self.observers = Observers(self.hooks, clock=options.clock)
        self.effects = SideEffects(self.store, contexts=self.contexts, observers=self.observers)
        self.guard = DeliveryGuard(clock=options.clock, on_edge=self._breaker_edge)
        self.marks = DeliveredMarks(self.store, clock=options.clock)
        self.ephemeral = EphemeralEvents(
            self.realtime, clock=options.clock, admit=self.tenancy.check
        )
        self.statuses = DeliveryStatuses(
            self.store, contexts=self.contexts, observers=self.observers
        )
        self.feedback = Feedback(
            self.store,
            contexts=self.contexts,
            observers=self.observers,
            framework=self.framework,
            clock=options.clock,
        )
        self.framework.on("room_deleted", self._room_deleted)
        self.framework.on("room_reopened", self._room_reopened)
        for ending in ("room_closed", "room_archived"):
            self.framework.on(ending, self._room_closed)
        self._build_timeline(options)
        self._build_rooms(options)
        self._build_inbound(options)
        self._build_around(options)

    def _build_timeline(self, options: Options) -> None:
        trim = payload_filter(options.raw_payload)
        self.answers = Answers(
            channels=self.channels,
            contexts=self.contexts,
            hooks=self.hooks,
            framework=self.framework,
            effects=self.effects,
            timeline=lambda: self.timeline,
            changes=self.changes,
            max_chain_depth=options.max_chain_depth,
            tracer=self.tracer,
        )
        self.delivery = Delivery(
            store=self.store,
            channels=self.channels,
            contexts=self.contexts,
            observers=self.observers,
            framework=self.framework,
            effects=self.effects,
            guard=self.guard,
            marks=self.marks,
            ask=self.answers.ask,
            transcoder=_given(options.transcoder, DefaultContentTranscoder),
            timeout=options.delivery_timeout,
            tracer=self.tracer,
        )
        self.mutations = Mutations(
            store=self.store,
            locks=self.locks,
            contexts=self.contexts,
            observers=self.observers,
            trim=trim,
        )
        self.timeline = Timeline(
            store=self.store,
            locks=self.locks,
            hooks=self.hooks,
            framework=self.framework,
            contexts=self.contexts,
            delivery=self.delivery,
            effects=self.effects,
            mutations=self.mutations,
            timers=lambda: self.timers,
            policy=options.persistence_policy,
            trim=trim,
            clock=options.clock,
            tracer=self.tracer,
        )

    def _build_rooms(self, options: Options) -> None:
        self.timers = Timers(
            store=self.store,
            locks=self.locks,
            contexts=self.contexts,
            hooks=self.hooks,
            observers=self.observers,
            framework=self.framework,
            timeline=lambda: self.timeline,
            clock=options.clock,
            interval=options.timer_interval,
        )
        self.rooms = Rooms(
            store=self.store,
            locks=self.locks,
            channels=self.channels,
            contexts=self.contexts,
            hooks=self.hooks,
            observers=self.observers,
            framework=self.framework,
            timeline=lambda: self.timeline,
            clock=options.clock,
            settle=self.timers.apply,
            watch=self.timers.watch,
            drop=self._drop,
            policy=options.agent_response_policy,
        )
        self.bindings = Bindings(
            store=self.store,
            locks=self.locks,
            channels=self.channels,
            contexts=self.contexts,
            hooks=self.hooks,
            observers=self.observers,
            framework=self.framework,
            timeline=lambda: self.timeline,
            clock=options.clock,
            settle=self.timers.apply,
            changed=self.changes.tell,
        )
        self.participants = Participants(
            store=self.store,
            locks=self.locks,
            contexts=self.contexts,
            hooks=self.hooks,
            observers=self.observers,
            framework=self.framework,
            timeline=lambda: self.timeline,
            clock=options.clock,
            settle=self.timers.apply,
        )

    def _build_inbound(self, options: Options) -> None:
        self.identity = IdentityStage(
            options.identity_resolver,
            self.identity_hooks,
            channel_types=options.identity_channel_types,
            timeout=options.identity_timeout,
            on_timeout=lambda room_id, address: self.framework.emit(
                "identity_timeout", room_id=room_id, address=address
            ),
        )
        self.senders = Senders(
            store=self.store,
            identity=self.identity,
            bindings=self.bindings,
            locks=self.locks,
            participants=self.participants,
            timeline=self.timeline,
        )
        router = _given(
            options.inbound_router,
            lambda: DefaultInboundRoomRouter(self.store, channel_of=self.channels.find),
        )
        self.inbound = Inbound(
            store=self.store,
            locks=self.locks,
            channels=self.channels,
            router=router,
            rooms=self.rooms,
            senders=self.senders,
            contexts=self.contexts,
            timeline=self.timeline,
            delivery=self.delivery,
            guard=self.guard,
            framework=self.framework,
            observers=self.observers,
            rate_limit=options.inbound_rate_limit,
            clock=options.clock,
            policy=options.agent_response_policy,
            process_timeout=options.process_timeout,
            tracer=self.tracer,
        )

    def _build_around(self, options: Options) -> None:
        """What brings messages in by itself, sends, asks anew, resumes."""
        self.sources = SourceSupervisor(
            lambda message: self.inbound.process(message, None, detached=True),
            framework=self.framework,
            clock=options.clock,
            known=self.channels.get,
        )
        self.sending = Sending(
            store=self.store,
            channels=self.channels,
            timeline=self.timeline,
            inbound=self.inbound,
            delivery=self.delivery,
            statuses=self.statuses,
            clock=options.clock,
        )
        self.regeneration = Regeneration(
            store=self.store,
            locks=self.locks,
            contexts=self.contexts,
            delivery=self.delivery,
            inbound=self.inbound,
            framework=self.framework,
            ask=self.answers.ask,
            settle=self.timers.apply,
            timeout=options.process_timeout,
        )
        self.connections = Connections(self.channels, self.framework, self.tenancy)
        self.sessions = MediaSessions(self.channels, self.bindings, self.participants)
        self.recovery = Recovery(
            store=self.store,
            locks=self.locks,
            contexts=self.contexts,
            delivery=self.delivery,
            marks=self.marks,
        )

    async def open(self) -> None:
        """Open the store and begin to watch the timers."""
        self._warn_of_others()
        await self.store.open()
        await self.timers.start()

    def _room_deleted(self, event: FrameworkEvent) -> None:
        self.hooks.forget_room(event.room_id or "")

    def _drop(self, room_id: str) -> None:
        """Before anybody else can make a room under this id, and give it work (R211)."""
        self._end(room_id, "deleted")
        self.marks.forget(room_id)
        self.delivery.drop(room_id)

    def _room_closed(self, event: FrameworkEvent) -> None:
        self._end(event.room_id or "", event.type.removeprefix("room_"))

    def _room_reopened(self, event: FrameworkEvent) -> None:
        for channel in self.channels:
            channel.on_room_reopened(event.room_id or "")

    def _end(self, room_id: str, how: str) -> None:
        """Tell what lasts that it has no room any more."""
        self.changes.tell(room_id)
        for channel in self.channels:
            channel.on_room_ended(room_id, how)

    def _warn_of_others(self) -> None:
        """R201: an index is safe whoever writes, but hooks and deliveries of a room are in order
        only among those who share its lock."""
        if self.locks.is_process_local and not self.store.is_process_local:
            _log.warning(
                "the store can be shared by processes, the room locks can't: if this is the only "
                "process, say so with lock_manager=InMemoryLockManager(sole_process=True)"
            )

    async def close(self, timeout: float) -> None:
        """End sources and timers, run the lanes dry for a bounded time, then close every channel,
        the realtime backend, the store and the locks, even if one fails (R53, R140). A channel that
        takes more than `CHANNEL_CLOSE_S` is one that fails. Failures rise as a group afterwards."""
        errors: list[Exception] = []
        steps: tuple[Callable[[], Awaitable[object]], ...] = (
            self.sources.close,
            self.timers.close,
            lambda: self.delivery.close(timeout),
            lambda: self.observers.close(timeout),
            lambda: self.bindings.close(timeout),
            lambda: self.framework.close(timeout),
            self.marks.close,
            *(partial(_close, channel) for channel in self.channels),
            self.realtime.close,
            self.store.close,
            self.locks.close,
            self.tracer.close,
        )
        for step in steps:
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - everything is closed first
                errors.append(error)
        if errors:
            raise ExceptionGroup("closing failed", errors)

    def _hook_failed(self, hook: HookRegistration, kind: str, message: str) -> None:
        data: dict[str, Any] = {"error": message}
        if kind == "hook_timeout":
            data["timeout_ms"] = round(hook.timeout * 1000)
        self.framework.emit(
            kind, room_id=hook.room_id, hook_name=hook.name, trigger=hook.trigger.value, **data
        )

    def _breaker_edge(self, channel_id: str, edge: BreakerEdge, failures: int) -> None:
        self.framework.emit(edge.value, channel_id=channel_id, failure_count=failures)


async def _close(channel: Channel) -> None:
    try:
        async with asyncio.timeout(CHANNEL_CLOSE_S):
            await channel.close()
    except TimeoutError:
        name = channel.channel_id
        _log.error("channel %s did not close within %g s", name, CHANNEL_CLOSE_S)
        raise
    except asyncio.CancelledError as error:
        current = asyncio.current_task()
        if current is None or current.cancelling():
            raise
        raise RoomKitError(f"channel {channel.channel_id!r} cancelled itself") from error


def _given(part: T | None, default: Callable[[], T]) -> T:
    """What was passed, which may well be empty, else the default."""
    return default() if part is None else part
