"""A room with people and agents in it, for the tests of this folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from salon.channels.websocket import Connection, Message
from salon.core.kit import RoomKit
from salon.core.ports.ai import AIContext
from salon.core.ports.channel import Channel
from salon.models import (
    NO_OUTPUT,
    ChannelBinding,
    ChannelCategory,
    ChannelOutput,
    ChannelType,
    EventFilter,
    EventType,
    InboundMessage,
    InboundResult,
    RoomContext,
    RoomEvent,
    TextContent,
)

ROOM = "room"


class Phone(Channel):
    """A transport that keeps what it is given."""

    channel_type = ChannelType.SMS

    def __init__(self, channel_id: str = "sms") -> None:
        super().__init__(channel_id)
        self.got: list[RoomEvent] = []

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        self.got.append(event)
        return NO_OUTPUT

    @property
    def words(self) -> list[str | None]:
        return [event.text for event in self.got]


async def furnish(kit: RoomKit, *channels: Channel, room_id: str = ROOM) -> None:
    """A room with these channels attached."""
    if await kit.store.get_room(room_id) is None:
        await kit.create_room(room_id)
    for channel in channels:
        if kit.channels.find(channel.channel_id) is None:
            kit.register_channel(channel)
        await kit.attach_channel(room_id, channel.channel_id)


async def say(
    kit: RoomKit, body: Any = "hi", *, channel: str = "sms", sender: str = "ann", **more: Any
) -> InboundResult:
    """Somebody says something; returns when it is answered. `detached` returns at the commit."""
    detached = more.pop("detached", False)
    content = TextContent(body=body) if isinstance(body, str) else body
    return await kit.process_inbound(
        InboundMessage(channel_id=channel, sender_id=sender, content=content, **more),
        room_id=ROOM,
        detached=detached,
    )


async def stored(kit: RoomKit, kind: EventType = EventType.MESSAGE) -> list[RoomEvent]:
    """What the timeline holds of a type, refused events too."""
    return await kit.store.list_events(
        ROOM, limit=1000, event_filter=EventFilter(event_types=[kind], include_blocked=True)
    )


async def bodies(kit: RoomKit) -> list[str | None]:
    return [event.text for event in await stored(kit)]


def words(context: AIContext) -> list[str]:
    """What an agent was told, as words."""
    return [message.text for message in context.messages]


def taken(connection: Connection) -> list[Message]:
    """What a reader has unread."""
    found = list(connection._waiting)
    connection._waiting.clear()
    return found


def texts(found: list[Message]) -> list[str]:
    return [item["event"]["content"]["body"] for item in found if item["type"] == "event"]


class Bot(Channel):
    """Streams `parts`: words, things to wait for, or things to raise."""

    channel_type = ChannelType.AI
    category = ChannelCategory.INTELLIGENCE

    def __init__(self, *parts: str | asyncio.Event | Exception, channel_id: str = "bot") -> None:
        super().__init__(channel_id)
        self.parts = parts

    async def deliver(self, *_: Any) -> ChannelOutput:
        raise AssertionError("never")

    async def on_event(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        if event.source.channel_type is ChannelType.AI:
            return ChannelOutput()
        return ChannelOutput(
            response_stream=self.stream(), response_metadata={"sender_name": "Robin"}
        )

    async def stream(self) -> AsyncIterator[str]:
        for part in self.parts:
            if isinstance(part, str):
                yield part
            elif isinstance(part, asyncio.Event):
                await part.wait()
            else:
                raise part
