"""Small valid models for contracts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from salon.core.ports.store import ConversationStore
from salon.models import (
    ChannelBinding,
    ChannelType,
    EventSource,
    Participant,
    Room,
    RoomEvent,
    RoomStatus,
    TextContent,
)
from salon.models.filters import EventFilter

START = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
ALL = 10_000
EVERYTHING = EventFilter(include_blocked=True)


def later(seconds: float) -> datetime:
    """An instant after `START`, to the microsecond."""
    return START + timedelta(seconds=seconds)


async def new_room(
    store: ConversationStore,
    room_id: str = "room",
    *,
    at: float = 0,
    status: RoomStatus = RoomStatus.ACTIVE,
    **fields: Any,
) -> Room:
    """A stored room, made `at` seconds after `START`."""
    room = Room(id=room_id, created_at=later(at), updated_at=later(at), status=status, **fields)
    return await store.create_room(room)


async def known_room(store: ConversationStore, room_id: str = "room") -> Room:
    """A room that is there."""
    room = await store.get_room(room_id)
    assert room is not None
    return room


def make_event(room_id: str = "room", words: str = "hello", **fields: Any) -> RoomEvent:
    """A text message, not yet committed."""
    source = EventSource(channel_id="phone", channel_type=ChannelType.VOICE, participant_id="ann")
    return RoomEvent(
        room_id=room_id, source=source, content=TextContent(body=words), created_at=START, **fields
    )


def make_binding(channel_id: str = "phone", room_id: str = "room", **fields: Any) -> ChannelBinding:
    return ChannelBinding(
        channel_id=channel_id,
        room_id=room_id,
        channel_type=fields.pop("channel_type", ChannelType.VOICE),
        attached_at=START,
        **fields,
    )


def make_participant(name: str = "ann", room_id: str = "room", **fields: Any) -> Participant:
    return Participant(
        id=name,
        room_id=room_id,
        channel_id=fields.pop("channel_id", "phone"),
        joined_at=START,
        **fields,
    )


async def indices(store: ConversationStore, room_id: str = "room") -> list[int]:
    """The index of every event of a room, as a timeline reader sees them."""
    found = await store.list_events(room_id, limit=ALL, event_filter=EVERYTHING)
    return [event.index for event in found]
