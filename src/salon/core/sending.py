"""What comes in from outside: messages, events for a channel, what providers report."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock
from salon.core.delivery import Delivery, RootCall, agent_lane
from salon.core.errors import ChannelNotFoundError, EventRefusedError, RoomClosedError
from salon.core.inbound import Inbound
from salon.core.passes import Pass
from salon.core.ports.store import ConversationStore
from salon.core.registry import ChannelRegistry
from salon.core.statuses import DeliveryStatuses, WebhookReport
from salon.core.tenancy import Meant, Tenancy
from salon.core.timeline import Timeline
from salon.models import (
    ChannelDirection,
    EventContent,
    EventSource,
    EventType,
    InboundMessage,
    InboundResult,
    RoomEvent,
    TextContent,
)


class Sending:
    """The ways into a room's timeline, and waiting for what follows."""

    def __init__(
        self,
        *,
        store: ConversationStore,
        channels: ChannelRegistry,
        timeline: Timeline,
        inbound: Inbound,
        delivery: Delivery,
        statuses: DeliveryStatuses,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._store = store
        self._channels = channels
        self._timeline = timeline
        self._inbound = inbound
        self._delivery = delivery
        self._statuses = statuses
        self._clock = clock
        self._tenancy = Tenancy(store)

    async def receive(
        self,
        message: InboundMessage,
        *,
        room_id: str | None = None,
        detached: bool = False,
        defer_delivery: bool = False,
        organization_id: str | None = None,
    ) -> InboundResult:
        """Take a message in. Returns when it was delivered and answered; with `detached` (also
        called `defer_delivery`) at the commit, and so from inside a delivery, an answer or a hook
        that a room waits for, this one or another, because they may come to wait for each other
        (R128): then `delivery_results` is empty whatever becomes of it. Raises
        `ChannelNotRegisteredError` and what the channel's `handle_inbound` raises; refusals are in
        the result."""
        return await self._inbound.process(
            message,
            room_id,
            detached=detached or defer_delivery,
            organization_id=organization_id,
        )

    async def send(
        self,
        room_id: str,
        channel_id: str,
        content: EventContent | str,
        event_type: EventType = EventType.MESSAGE,
        chain_depth: int = 0,
        participant_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        visibility: str = "all",
        provider: str | None = None,
        response_visibility: str | None = None,
        created_at: datetime | None = None,
        parent_event_id: str | None = None,
        idempotency_key: str | None = None,
        addressed_to: Collection[str] | None = None,
        organization_id: str | None = None,
        *,
        detached: bool = False,
    ) -> RoomEvent:
        """Put an event into a room for one of its channels (R129). Returns the committed event,
        BLOCKED if a hook or gate refused it, when it was delivered and answered, or at once with
        `detached` and where `receive` would not wait. Raises `ChannelNotRegisteredError`,
        `RoomNotFoundError`, `ChannelNotFoundError`, `RoomClosedError`, and `EventRefusedError` for
        any other refusal."""
        channel = self._channels.get(channel_id)
        room = await self._tenancy.room(room_id, organization_id)
        if not await self._store.binding_exists(room_id, channel_id):
            raise ChannelNotFoundError(room_id, channel_id)
        event = RoomEvent(
            room_id=room_id,
            type=event_type,
            source=EventSource(
                channel_id=channel_id,
                channel_type=channel.channel_type,
                direction=ChannelDirection.OUTBOUND,
                participant_id=participant_id,
                provider=provider or channel.provider_name,
            ),
            content=TextContent(body=content) if isinstance(content, str) else content,
            metadata=dict(metadata or {}),
            visibility=visibility,
            response_visibility=response_visibility,
            addressed_to=None if addressed_to is None else list(addressed_to),
            parent_event_id=parent_event_id,
            idempotency_key=idempotency_key,
            chain_depth=chain_depth,
            created_at=created_at or self._clock.now(),
        )
        return await self._run(event, Meant(organization_id, room.created_at), detached=detached)

    async def webhook(
        self, meta: WebhookReport, channel_id: str, organization_id: str | None = None
    ) -> InboundResult | None:
        """A verified webhook: a message goes in, a report is told to hooks, anything else is left
        alone (R217)."""
        if meta.is_inbound:
            message = meta.to_inbound(channel_id)
            return await self.receive(message, organization_id=organization_id)
        if meta.is_status:
            status = meta.to_status(channel_id=channel_id)
            await self._statuses.process(status, organization_id=organization_id)
        return None

    async def record(self, event: RoomEvent) -> RoomEvent | None:
        """Write a framework record (source ``system``) into a timeline, without hooks (R34). None
        if the room is gone or closed (R21)."""
        return await self._timeline.record(event)

    async def idle(self, room_id: str) -> None:
        """Wait until nothing is being delivered or answered in a room. Raises `RuntimeError` inside
        a delivery, an answer or a hook that a room waits for, this one or another: it would wait
        for its own end (R128)."""
        if self._inbound.is_waited_for():
            raise RuntimeError(
                f"idle({room_id!r}) was called from inside a delivery, an answer or a hook that a "
                "room waits for, and would wait for its own end; call it from outside"
            )
        delivery = self._delivery
        agents = [agent_lane(room_id, channel.channel_id) for channel in self._channels]
        busy = True
        while busy:
            busy = await delivery.rooms.drained(room_id)
            for key in agents:
                busy = await delivery.agents.drained(key) or busy

    async def _run(self, event: RoomEvent, meant: Meant, *, detached: bool) -> RoomEvent:
        root, room_id = RootCall(), event.room_id
        committed = await self._timeline.run(Pass(event, root, meant=meant))
        if committed.event is None and committed.reason == "room_closed":
            raise RoomClosedError(room_id)
        if committed.event is None:
            raise EventRefusedError(room_id, committed.reason)
        await self._inbound.finish(committed, root, detached=detached)
        return committed.event
