"""A message from outside becomes an event (stages 0 to 18 of chapter 11)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock
from salon.core.context import Contexts
from salon.core.delivery import Delivery, RootCall
from salon.core.errors import RoomNotFoundError
from salon.core.framework import FrameworkEvents
from salon.core.identity.decision import Actions
from salon.core.lanes import LaneClosedError
from salon.core.observers import Observers
from salon.core.passes import Committed, Pass
from salon.core.ports.channel import Channel
from salon.core.ports.locks import RoomLockManager
from salon.core.ports.router import InboundRoomRouter
from salon.core.ports.store import ConversationStore
from salon.core.ports.telemetry import SpanKind
from salon.core.registry import ChannelRegistry
from salon.core.resilience import DeliveryGuard
from salon.core.rooms import Rooms
from salon.core.senders import NOT_ADMITTED, Sender, Senders
from salon.core.telemetry import NO_TRACER, ActiveSpan, Tracer
from salon.core.tenancy import Meant
from salon.core.timeline import Timeline
from salon.models import (
    AgentResponsePolicy,
    HookTrigger,
    InboundMessage,
    InboundResult,
    RateLimit,
    Room,
    RoomEvent,
    SessionStartedEvent,
)

FIRST_MESSAGE = "salon:first-message/"
"""What is locked, with the channel and the sender, while a sender without a room gets one."""


class Inbound:
    """Routes, parses, commits, and waits for what follows."""

    def __init__(
        self,
        *,
        store: ConversationStore,
        locks: RoomLockManager,
        channels: ChannelRegistry,
        router: InboundRoomRouter,
        rooms: Rooms,
        senders: Senders,
        contexts: Contexts,
        timeline: Timeline,
        delivery: Delivery,
        guard: DeliveryGuard,
        framework: FrameworkEvents,
        observers: Observers,
        rate_limit: RateLimit | None = None,
        clock: Clock = SYSTEM_CLOCK,
        policy: AgentResponsePolicy = AgentResponsePolicy.AGENT_CHAIN,
        process_timeout: float = 30.0,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._store = store
        self._locks = locks
        self._channels = channels
        self._router = router
        self._rooms = rooms
        self._senders = senders
        self._contexts = contexts
        self._timeline = timeline
        self._delivery = delivery
        self._guard = guard
        self._framework = framework
        self._observers = observers
        self._rate_limit = rate_limit
        self._clock = clock
        self._policy = policy
        self._timeout = process_timeout
        self._tracer = tracer

    async def process(
        self,
        message: InboundMessage,
        room_id: str | None,
        *,
        detached: bool = False,
        organization_id: str | None = None,
    ) -> InboundResult:
        """The whole pipeline; `detached` returns at the commit (R127)."""
        if not self._tracer.on:
            return await self._process(message, room_id, detached, organization_id)
        began = self._tracer.now()
        with self._tracer.span(
            SpanKind.INBOUND_PIPELINE, "process_inbound", channel_id=message.channel_id
        ) as span:
            result = await self._process(message, room_id, detached, organization_id)
            status = _describe(span, result)
        self._tracer.metric(
            "salon.inbound.duration",
            (self._tracer.now() - began) * 1000,
            unit="ms",
            attributes={"status": status},
        )
        return result

    async def _process(
        self,
        message: InboundMessage,
        room_id: str | None,
        detached: bool,
        organization_id: str | None,
    ) -> InboundResult:
        if not self._guard.admit(f"in:{message.channel_id}", self._rate_limit):
            return InboundResult(None, True, "rate_limited")
        channel = self._channels.get(message.channel_id)
        root = RootCall()
        if room_id is None:
            committed = await self._at_home(channel, message, root, organization_id)
        else:
            committed = await self._into(channel, message, room_id, root, organization_id)
        return await self.finish(committed, root, detached=detached)

    async def _into(
        self,
        channel: Channel,
        message: InboundMessage,
        room_id: str,
        root: RootCall,
        organization_id: str | None,
    ) -> Committed:
        """Into the room that the caller names (R182). One that is deleted meanwhile, by whomever,
        is as one that was never there; once."""
        await self._named(channel, message, room_id, organization_id)
        committed = await self._unless_gone(channel, message, room_id, root, organization_id)
        if committed is not None:
            return committed
        await self._named(channel, message, room_id, organization_id)
        return await self._in_time(channel, message, room_id, root, organization_id)

    async def _unless_gone(
        self,
        channel: Channel,
        message: InboundMessage,
        room_id: str,
        root: RootCall,
        organization_id: str | None,
        *,
        routed: bool = False,
    ) -> Committed | None:
        """As `_in_time`; None if the room is not there any more, or another has its id."""
        try:
            return await self._in_time(
                channel, message, room_id, root, organization_id, routed=routed
            )
        except RoomNotFoundError as error:
            if error.room_id != room_id:
                raise
            self._contexts.forget(room_id)
            return None

    async def _at_home(
        self, channel: Channel, message: InboundMessage, root: RootCall, organization_id: str | None
    ) -> Committed:
        """Into the room where the sender belongs, else into a new one. First messages of one sender
        come one after the other: the second finds the room of the first."""
        room_id = await self._routed(channel, message, organization_id)
        if room_id is not None:
            await self._named(channel, message, room_id, organization_id)
            found = await self._unless_gone(
                channel, message, room_id, root, organization_id, routed=True
            )
            if found is not None and found.reason != NOT_ADMITTED:
                return found
        async with self._locks.locked(f"{FIRST_MESSAGE}{channel.channel_id}/{message.sender_id}"):
            room_id = await self._routed(channel, message, organization_id)
            if room_id is not None:
                found = await self._unless_gone(
                    channel, message, room_id, root, organization_id, routed=True
                )
                if found is not None and found.reason != NOT_ADMITTED:
                    return found
            room_id = await self._new_room(channel, message, None, organization_id)
            committed = Committed(None)
            try:
                committed = await self._in_time(channel, message, room_id, root, organization_id)
            finally:
                if committed.event is None:  # nobody asked for an empty room (AMB-21)
                    await self._rooms.discard(room_id)
            return committed

    async def _in_time(
        self,
        channel: Channel,
        message: InboundMessage,
        room_id: str,
        root: RootCall,
        organization_id: str | None,
        *,
        routed: bool = False,
    ) -> Committed:
        """All that `process_timeout` bounds (R204). What times out leaves neither its channel nor
        an unknown sender in the room; the room stays if somebody named it (R182)."""
        try:
            async with asyncio.timeout(self._timeout) as budget:
                return await self._before_commit(
                    channel, message, room_id, root, organization_id, budget, routed=routed
                )
        except TimeoutError:
            if not budget.expired():
                raise  # somebody else's
            self._framework.emit("process_timeout", room_id=room_id)
            return Committed(None, "process_timeout")

    async def finish(
        self, committed: Committed, root: RootCall, *, detached: bool
    ) -> InboundResult:
        """Wait for the delivery set and every answer (stage 18), unless told or bound not to; then
        the result has no delivery results, and no answers or error of an agent to rely on."""
        results: Mapping[str, Any] = {}
        if committed.delivered is not None and not detached and not self.is_waited_for():
            with suppress(LaneClosedError):  # the framework closes; the event is committed
                results = await asyncio.shield(committed.delivered)
                await root.settle()
        return InboundResult(
            committed.event,
            committed.blocked,
            committed.reason,
            committed.duplicate,
            dict(results),
            root.error,
            list(root.answers),
        )

    def is_waited_for(self) -> bool:
        """Whether some room waits for the caller (R128). What it sends to whatever room may lead
        back there, and would wait for its own end."""
        return self._timeline.waits_for_caller() or self._delivery.waits_for_caller()

    async def _routed(
        self, channel: Channel, message: InboundMessage, organization_id: str | None
    ) -> str | None:
        return await self._router.route(
            channel.channel_id,
            channel.channel_type,
            message.sender_id,
            message.metadata,
            organization_id=organization_id,
        )

    async def _named(
        self, channel: Channel, message: InboundMessage, room_id: str, organization_id: str | None
    ) -> None:
        """See to the room that a caller names (R182). Raises `RoomNotFoundError` for another
        organization's (R267)."""
        try:
            room = (await self._contexts.roughly(room_id)).room
        except RoomNotFoundError:
            async with self._locks.locked(room_id):  # of two messages one makes the room
                if not await self._store.room_exists(room_id):
                    with suppress(ValueError):  # another process was faster
                        await self._new_room(channel, message, room_id, organization_id)
                    return
            room = (await self._contexts.build(room_id)).room
        if organization_id is not None and room.organization_id != organization_id:
            raise RoomNotFoundError(room_id)

    async def _new_room(
        self,
        channel: Channel,
        message: InboundMessage,
        room_id: str | None,
        organization_id: str | None,
    ) -> str:
        """A room for a message that has none. Its hooks are done before the message goes on, so
        they may furnish it (AMB-3)."""
        room = Room(organization_id=organization_id, agent_response_policy=self._policy)
        if room_id is not None:
            room.id = room_id
        made = await self._rooms.create(room)
        self._framework.emit("session_started", room_id=made.id, channel_id=channel.channel_id)
        if self._observers.wants(HookTrigger.ON_SESSION_STARTED, made.id):
            started = SessionStartedEvent(
                made.id, channel.channel_id, channel.channel_type, message.sender_id
            )
            context = await self._contexts.build(made.id)
            self._observers.tell(HookTrigger.ON_SESSION_STARTED, started, context)
        return made.id

    async def _before_commit(
        self,
        channel: Channel,
        message: InboundMessage,
        room_id: str,
        root: RootCall,
        organization_id: str | None,
        budget: asyncio.Timeout,
        *,
        routed: bool,
    ) -> Committed:
        plain = type(channel).handle_inbound is Channel.handle_inbound
        if plain and not self._senders.identifies(channel):
            context = await self._contexts.roughly(room_id)
        else:
            context = await self._contexts.build(room_id)
        meant = Meant(organization_id, context.room.created_at)
        meant.check(context.room)
        event = await channel.handle_inbound(message, context)
        event = _as_from(channel, event)
        event = _with_message_fields(event, message, room_id, self._clock.now())
        actions: Actions = ()
        if self._senders.identifies(channel):
            with self._tracer.span(SpanKind.IDENTITY_RESOLVE, "identity_resolve", room_id=room_id):
                actions = await self._senders.identify(event, message, context, channel)
        sender = Sender(channel, message, actions, routed=routed)
        event = sender.named(event)
        refusal = await self._senders.hold_back(room_id, sender, root, meant)
        if refusal is not None:
            return Committed(None, refusal)
        committed = await self._timeline.run(
            Pass(
                event,
                root,
                admit=lambda event, context: self._senders.admit(event, context, sender),
                within=self._senders.tentatively(room_id, sender, patience=self._timeout),
                on_commit=lambda: _point_of_no_return(budget),
                on_stored=sender.brought.keep,
                meant=meant,
            )
        )
        if message.session is not None and not committed.blocked:
            await self._connect(channel, message.session, room_id)
        return committed

    async def _connect(self, channel: Channel, session: Any, room_id: str) -> None:
        """Only what passed the gates brings its media session in (R19, AMB-27)."""
        binding = await self._store.get_binding(room_id, channel.channel_id)
        if binding is None:
            return
        async with asyncio.timeout(self._timeout):
            await channel.connect_session(session, room_id, binding)


def _point_of_no_return(budget: asyncio.Timeout) -> None:
    """From here on no timeout interferes (R205); one that already struck does win."""
    if budget.expired():
        raise TimeoutError
    budget.reschedule(None)


def _describe(span: ActiveSpan, result: InboundResult) -> str:
    """What became of the message, as telemetry may know it."""
    status = "duplicate" if result.duplicate else "blocked" if result.blocked else "stored"
    if span:
        span.set_attribute("status", status)
        if result.event is not None:
            span.set_attribute("room_id", result.event.room_id)
            span.set_attribute("event_id", result.event.id)
    return status


def _as_from(channel: Channel, event: RoomEvent) -> RoomEvent:
    """The event with the source that it has, whatever its channel made of the payload (R14)."""
    source = event.source
    if source.channel_id == channel.channel_id and source.channel_type == channel.channel_type:
        return event
    own = {"channel_id": channel.channel_id, "channel_type": channel.channel_type}
    return event.model_copy(update={"source": source.model_copy(update=own)})


def _with_message_fields(
    event: RoomEvent, message: InboundMessage, room_id: str, now: datetime
) -> RoomEvent:
    """Message-level fields, where the channel left the event's own at their defaults (R18)."""
    update: dict[str, Any] = {"room_id": room_id, "chain_depth": 0}
    if "created_at" not in event.model_fields_set:
        update["created_at"] = now
    if event.visibility == "all":
        update["visibility"] = message.visibility
    for name in ("parent_event_id", "addressed_to", "response_visibility", "idempotency_key"):
        if getattr(event, name) is None:
            update[name] = getattr(message, name)
    return event.model_copy(update=update)
