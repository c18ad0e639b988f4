"""Bindings, events and a context for transports, without a running framework."""

from __future__ import annotations

from typing import Any

from salon.channels import TransportChannel, TransportOutput
from salon.models import (
    ChannelBinding,
    ChannelType,
    EventContent,
    EventSource,
    InboundMessage,
    Room,
    RoomContext,
    RoomEvent,
    TextContent,
)

ROOM = "room"
CONTEXT = RoomContext(room=Room(id=ROOM))
SOURCE = EventSource(channel_id="ai", channel_type=ChannelType.AI)


def event(content: EventContent | str = "Hello") -> RoomEvent:
    """What an agent said."""
    found = TextContent(body=content) if isinstance(content, str) else content
    return RoomEvent(room_id=ROOM, source=SOURCE, content=found)


def binding(channel: TransportChannel, **metadata: Any) -> ChannelBinding:
    """The channel attached with these metadata."""
    return ChannelBinding(
        channel_id=channel.channel_id,
        room_id=ROOM,
        channel_type=channel.channel_type,
        capabilities=channel.capabilities(),
        metadata=metadata,
    )


async def deliver(
    channel: TransportChannel, content: EventContent | str = "Hello", **metadata: Any
) -> TransportOutput:
    """Have the channel deliver, under a binding with these metadata."""
    return await channel.deliver(event(content), binding(channel, **metadata), CONTEXT)


def message(channel: TransportChannel, **fields: Any) -> InboundMessage:
    """Somebody wrote."""
    known: dict[str, Any] = {
        "channel_id": channel.channel_id,
        "sender_id": "+15551234567",
        "content": TextContent(body="Hi"),
    }
    return InboundMessage(**known | fields)
