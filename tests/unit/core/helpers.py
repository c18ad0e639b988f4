"""Small scripted channels and a room to put them in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from salon.core.framework import FrameworkEvent
from salon.core.kit import RoomKit
from salon.core.ports.channel import Channel, StreamOutcome
from salon.models import (
    NO_OUTPUT,
    ChannelBinding,
    ChannelCapabilities,
    ChannelCategory,
    ChannelDirection,
    ChannelOutput,
    ChannelType,
    EventFilter,
    EventSource,
    EventStatus,
    EventType,
    InboundMessage,
    RoomContext,
    RoomEvent,
    TextContent,
)

ROOM = "room"
PATIENCE = 5.0
"""Seconds after which a test that hangs fails."""


def text(body: str) -> TextContent:
    return TextContent(body=body)


def message(channel_id: str, body: str = "hi", sender: str = "ann", **more: Any) -> InboundMessage:
    return InboundMessage(channel_id=channel_id, sender_id=sender, content=text(body), **more)


class Transport(Channel):
    """Keeps what is delivered. `hold` keeps deliveries waiting, `failure` is raised by them."""

    channel_type = ChannelType.SMS

    def __init__(
        self,
        channel_id: str,
        *,
        capabilities: ChannelCapabilities | None = None,
        direction: ChannelDirection = ChannelDirection.BIDIRECTIONAL,
        channel_type: ChannelType = ChannelType.SMS,
    ) -> None:
        super().__init__(channel_id)
        self.direction = direction
        self.channel_type = channel_type
        self._capabilities = capabilities or ChannelCapabilities()
        self.got: list[RoomEvent] = []
        self.told: list[RoomEvent] = []
        self.hold: asyncio.Event | None = None
        self.failure: BaseException | None = None
        self.output = NO_OUTPUT
        self.parse: Callable[[InboundMessage, RoomContext], Awaitable[None]] | None = None
        self.attach_failure: Exception | None = None
        self.detach_failure: Exception | None = None
        self.close_failure: Exception | None = None
        self.closed = 0
        self.on_delivery: Callable[[RoomEvent], Awaitable[None]] | None = None

    @property
    def bodies(self) -> list[str | None]:
        return [event.text for event in self.got]

    def capabilities(self) -> ChannelCapabilities:
        return self._capabilities

    async def handle_inbound(self, message: InboundMessage, context: RoomContext) -> RoomEvent:
        if self.parse is not None:
            await self.parse(message, context)
        return self.inbound_event(message, context)

    async def on_event(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        self.told.append(event)
        return self.output

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        if self.hold is not None:
            await self.hold.wait()
        if self.failure is not None:
            raise self.failure
        self.got.append(event)
        if self.on_delivery is not None:
            await self.on_delivery(event)
        return NO_OUTPUT

    async def on_room_attached(self, room_id: str, binding: ChannelBinding) -> None:
        if self.attach_failure is not None:
            raise self.attach_failure

    async def on_room_detached(self, room_id: str) -> None:
        if self.detach_failure is not None:
            raise self.detach_failure

    async def close(self) -> None:
        self.closed += 1
        if self.close_failure is not None:
            raise self.close_failure


Script = Callable[[RoomEvent, RoomContext], "list[str] | AsyncIterator[str] | None"]


class Agent(Channel):
    """Answers by a script: None for nothing, a list for whole events, an iterator for a stream."""

    channel_type = ChannelType.AI
    category = ChannelCategory.INTELLIGENCE

    def __init__(self, channel_id: str, script: Script | None = None) -> None:
        super().__init__(channel_id)
        self.script = script or (lambda event, context: [f"{channel_id}: {event.text}"])
        self.asked: list[RoomEvent] = []
        self.contexts: list[RoomContext] = []
        self.claimed_depth = 0
        self.extras: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        raise AssertionError("an intelligence channel never delivers (R60)")

    async def on_event(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        self.asked.append(event)
        self.contexts.append(context)
        answer = self.script(event, context)
        if answer is None:
            return ChannelOutput(**self.extras)
        if isinstance(answer, list):
            return ChannelOutput(
                response_events=tuple(self.event(event.room_id, body) for body in answer),
                responded=True,
                **self.extras,
            )
        return ChannelOutput(
            response_stream=answer, response_metadata=dict(self.metadata), **self.extras
        )

    def event(self, room_id: str, body: str) -> RoomEvent:
        return RoomEvent(
            room_id=room_id,
            source=EventSource(
                channel_id=self.channel_id,
                channel_type=self.channel_type,
                direction=ChannelDirection.OUTBOUND,
            ),
            content=text(body),
            chain_depth=self.claimed_depth,
        )


class Screen(Transport):
    """A transport that shows answers while they form. `behave` replaces reading to the end."""

    def __init__(self, channel_id: str) -> None:
        super().__init__(channel_id)
        self.announced: list[RoomEvent] = []
        self.heard: list[str] = []
        self.finished: list[tuple[str, RoomEvent | None, str | None]] = []
        self.behave: Callable[[AsyncIterator[str]], Awaitable[StreamOutcome]] | None = None

    @property
    def supports_streaming_delivery(self) -> bool:
        return True

    async def deliver_stream(
        self,
        text_stream: AsyncIterator[str],
        event: RoomEvent,
        binding: ChannelBinding,
        context: RoomContext,
    ) -> StreamOutcome:
        self.announced.append(event)
        if self.behave is not None:
            return await self.behave(text_stream)
        async for delta in text_stream:
            self.heard.append(delta)
        return StreamOutcome()

    async def finish_stream(
        self,
        announced: RoomEvent,
        stored: RoomEvent | None,
        binding: ChannelBinding,
        error: str | None,
    ) -> None:
        self.finished.append((announced.id, stored, error))


class Stream:
    """A scripted answer: words, or things to wait for or raise. Counts what was read of it."""

    def __init__(self, *steps: str | asyncio.Event | BaseException) -> None:
        self._steps = steps
        self.given: list[str] = []
        self.closed = False

    async def __call__(self) -> AsyncIterator[str]:
        try:
            for step in self._steps:
                if isinstance(step, str):
                    self.given.append(step)
                    yield step
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    raise step
        finally:
            self.closed = True


async def room_with(kit: RoomKit, *channels: Channel, room_id: str = ROOM) -> None:
    """A room with these channels attached."""
    if await kit.store.get_room(room_id) is None:
        await kit.create_room(room_id)
    for channel in channels:
        if kit.channels.find(channel.channel_id) is None:
            kit.register_channel(channel)
        await kit.attach_channel(room_id, channel.channel_id)


async def timeline(kit: RoomKit, room_id: str = ROOM) -> list[RoomEvent]:
    """Everything stored, refused events too."""
    return await kit.store.list_events(
        room_id, limit=10_000, event_filter=EventFilter(include_blocked=True)
    )


async def messages(kit: RoomKit, room_id: str = ROOM) -> list[RoomEvent]:
    return [e for e in await timeline(kit, room_id) if e.type is EventType.MESSAGE]


async def words(kit: RoomKit, room_id: str = ROOM) -> list[tuple[str | None, str]]:
    """Text and status (or the reason of a block) of each message."""
    return [
        (e.text, e.blocked_by or "?" if e.status is EventStatus.BLOCKED else e.status.value)
        for e in await messages(kit, room_id)
    ]


def listen(kit: RoomKit, name: str = "*") -> list[FrameworkEvent]:
    """The framework events of a name, as they come."""
    heard: list[FrameworkEvent] = []
    kit.framework.on(name, heard.append)
    return heard
