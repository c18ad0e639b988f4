"""What the HTTP interface takes and gives."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from salon.app.fit import json_value, one_line
from salon.core.ports.channel import Channel
from salon.core.rooms import DETACHED_KEY
from salon.models import (
    Access,
    AgentResponsePolicy,
    AnyChannelType,
    ChannelBinding,
    ChannelCategory,
    ChannelData,
    ChannelDirection,
    EventContent,
    EventStatus,
    EventType,
    Participant,
    ParticipantRole,
    ParticipantStatus,
    RateLimit,
    RetryPolicy,
    Room,
    RoomStatus,
    TaskStatus,
)

MAX_ID = 128
MAX_METADATA = 100
MAX_SECONDS = 10 * 365 * 24 * 3600
"""Longest timer: ten years."""

Id = Annotated[str, Field(min_length=1, max_length=MAX_ID), AfterValidator(one_line)]
Key = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(one_line)]
Name = Annotated[str, Field(min_length=1, max_length=80)]
Seconds = Annotated[int, Field(ge=0, le=MAX_SECONDS)]
Metadata = Annotated[dict[str, Any], Field(max_length=MAX_METADATA), AfterValidator(json_value)]


class Problem(BaseModel):
    """What went wrong: in words, and as a stable code."""

    detail: str
    code: str


class Asked(BaseModel):
    """What a client sends; what is not known is refused."""

    model_config = ConfigDict(extra="forbid")


# -- rooms ----------------------------------------------------------------------------------------


class TimersIn(Asked):
    """Seconds without activity until a room is paused, and from there until it is closed."""

    inactive_after_seconds: Seconds | None = None
    closed_after_seconds: Seconds | None = None


class RoomIn(Asked):
    """A room to be made. `channels`: which ones are attached; all that people and agents use
    unless given."""

    id: Id | None = None
    organization_id: Id | None = None
    metadata: Metadata = Field(default_factory=dict)
    timers: TimersIn = Field(default_factory=TimersIn)
    agent_response_policy: AgentResponsePolicy | None = None
    channels: list[Id] | None = Field(default=None, max_length=32)


class RoomPatch(Asked):
    """What is given changes. `metadata` sets single keys."""

    metadata: Metadata | None = None
    timers: TimersIn | None = None
    agent_response_policy: AgentResponsePolicy | None = None


class TimersOut(BaseModel):
    """The timers of a room."""

    inactive_after_seconds: int | None = None
    closed_after_seconds: int | None = None
    last_activity_at: datetime | None = None


class RoomOut(BaseModel):
    """A room. A room token is shown no metadata."""

    id: str
    organization_id: str | None
    status: RoomStatus
    created_at: datetime
    updated_at: datetime
    paused_at: datetime | None
    closed_at: datetime | None
    timers: TimersOut
    metadata: dict[str, Any]
    event_count: int
    latest_index: int | None
    agent_response_policy: AgentResponsePolicy

    @classmethod
    def of(cls, room: Room, **more: Any) -> RoomOut:
        """A room as it is shown."""
        shown = room.model_dump(exclude={"delivered_index", "revision", "metadata"})
        metadata = {name: value for name, value in room.metadata.items() if name != DETACHED_KEY}
        return cls(**(shown | {"metadata": metadata} | more))


class PersonOut(BaseModel):
    """Somebody in a room, in short."""

    id: str
    name: str | None
    status: ParticipantStatus
    connected_via: list[str]


class ChannelInRoom(BaseModel):
    """A channel of a room, in short."""

    id: str
    type: str
    muted: bool


class RoomDetail(RoomOut):
    """A room with who and what is in it."""

    participants: list[PersonOut]
    channels: list[ChannelInRoom]

    @classmethod
    def made(
        cls, room: Room, people: Iterable[Participant], bindings: Iterable[ChannelBinding]
    ) -> RoomDetail:
        """A room with everybody and everything."""
        found = cls.of(
            room,
            participants=[
                PersonOut(
                    id=person.id,
                    name=person.display_name,
                    status=person.status,
                    connected_via=person.connected_via,
                )
                for person in people
            ],
            channels=[
                ChannelInRoom(id=item.channel_id, type=str(item.channel_type), muted=item.muted)
                for item in bindings
            ],
        )
        assert isinstance(found, RoomDetail)
        return found


class RoomPage(BaseModel):
    """Rooms, newest first; `next_cursor` gives the next page, null at the end."""

    rooms: list[RoomOut]
    next_cursor: str | None


class RecordingOut(BaseModel):
    """A recording of a call: when it began, how long and how large it is."""

    id: str
    started_at: str
    duration_ms: int
    bytes: int


class TokenIn(Asked):
    """A token for one room. Without `participant_id` its holder gets an id of their own."""

    participant_id: Id | None = None
    name: Name | None = None
    ttl_seconds: int = Field(default=3600, ge=1, le=86_400)
    access: Literal["read", "write"] = "write"


class TokenOut(BaseModel):
    """A room token; it can't be asked for again."""

    token: str
    room_id: str
    participant_id: str
    access: Literal["read", "write"]
    expires_at: datetime


# -- channels -------------------------------------------------------------------------------------


class ChannelOut(BaseModel):
    """A channel that this server has. `recipient_key`: where a binding's metadata names whom it
    reaches."""

    id: str
    type: str
    category: ChannelCategory
    provider: str | None
    recipient_key: str | None

    @classmethod
    def of(cls, channel: Channel) -> ChannelOut:
        """A channel as it is shown."""
        return cls(
            id=channel.channel_id,
            type=str(channel.channel_type),
            category=channel.category,
            provider=channel.provider_name,
            recipient_key=channel.recipient_key,
        )


class AttachIn(Asked):
    """A channel to be bound to a room; fields that are not given are the channel's own."""

    channel_id: Id
    category: ChannelCategory | None = None
    direction: ChannelDirection | None = None
    access: Access | None = None
    visibility: Key | None = None
    muted: bool | None = None
    output_muted: bool | None = None
    participant_id: Id | None = None
    group: bool | None = None
    metadata: Metadata | None = None
    rate_limit: RateLimit | None = None
    retry_policy: RetryPolicy | None = None


class BindingPatch(Asked):
    """What is given changes. `metadata` sets single keys."""

    access: Access | None = None
    visibility: Key | None = None
    metadata: Metadata | None = None


class ReadMarkIn(Asked):
    """Up to which event a channel has read; null: up to the newest."""

    event_id: Id | None = None


class ReadMarkOut(BaseModel):
    """How far a channel has read; `index` is null if it has not."""

    channel_id: str
    index: int | None
    unread: int


# -- people ---------------------------------------------------------------------------------------


class ParticipantIn(Asked):
    """Somebody who joins."""

    participant_id: Id
    channel_id: Id
    display_name: Name | None = None
    role: ParticipantRole = ParticipantRole.MEMBER
    identity_id: Id | None = None


class ParticipantPatch(Asked):
    """A new name."""

    display_name: Name


class ResolveIn(Asked):
    """Who a participant turned out to be."""

    identity_id: Id
    resolved_by: Key = "manual"


Addresses = Annotated[dict[Key, Annotated[list[Key], Field(max_length=100)]], Field(max_length=32)]


class IdentityIn(Asked):
    """Somebody new. `channel_addresses`: their addresses by channel type."""

    id: Id | None = None
    organization_id: Id | None = None
    display_name: Name | None = None
    email: Key | None = None
    phone: Key | None = None
    channel_addresses: Addresses = Field(default_factory=dict)
    external_id: Key | None = None
    external_ids: dict[Key, Key] = Field(default_factory=dict, max_length=32)
    metadata: Metadata = Field(default_factory=dict)


class IdentityPatch(Asked):
    """What is given is replaced."""

    display_name: Name | None = None
    email: Key | None = None
    phone: Key | None = None
    channel_addresses: Addresses | None = None
    external_id: Key | None = None
    external_ids: Annotated[dict[Key, Key], Field(max_length=32)] | None = None
    metadata: Metadata | None = None


# -- events ---------------------------------------------------------------------------------------


class EventIn(Asked):
    """Something to be said in a room.

    `content` may be a text. Without `channel_id` it comes from the people at pages and programs.
    A room token speaks for its own participant: messages, and edits and deletes of their own.
    """

    content: EventContent | Annotated[str, Field(min_length=1, max_length=65_536)]
    channel_id: Id = "websocket"
    event_type: EventType = EventType.MESSAGE
    participant_id: Id | None = None
    visibility: Key = "all"
    response_visibility: Key | None = None
    addressed_to: Annotated[list[Id], Field(max_length=32)] | None = None
    parent_event_id: Id | None = None
    idempotency_key: Id | None = None
    metadata: Metadata = Field(default_factory=dict)


class EventPatch(Asked):
    """What of a stored event is replaced, on the key's authority."""

    content: EventContent | None = None
    metadata: Metadata | None = None


class SourceOut(BaseModel):
    """Where an event came from. A room token is not told the ids of other systems."""

    channel_id: str
    channel_type: AnyChannelType
    direction: ChannelDirection
    participant_id: str | None = None
    external_id: str | None = None
    provider: str | None = None
    provider_message_id: str | None = None


class EventOut(BaseModel):
    """An event. One that was refused has the status ``blocked`` and says by what."""

    id: str
    room_id: str
    index: int
    type: EventType
    status: EventStatus
    blocked_by: str | None = None
    source: SourceOut
    content: EventContent
    visibility: str
    response_visibility: str | None = None
    addressed_to: list[str] | None = None
    parent_event_id: str | None = None
    responds_to: str | None = None
    correlation_id: str | None = None
    idempotency_key: str | None = None
    chain_depth: int
    created_at: datetime
    metadata: dict[str, Any]
    channel_data: ChannelData | None = None


class EventPage(BaseModel):
    """Events in ascending order. `has_more`: there are further ones in the direction of paging;
    `next_before_index` and `next_after_index` ask for the page before and after."""

    events: list[EventOut]
    has_more: bool
    next_before_index: int | None = None
    next_after_index: int | None = None


class DeletedOut(BaseModel):
    """The ids of the events that are gone, the one named first."""

    deleted: list[str]


# -- side effects ---------------------------------------------------------------------------------


class TaskPatch(Asked):
    """What is given is replaced."""

    title: Key | None = None
    description: Annotated[str, Field(max_length=8000)] | None = None
    status: TaskStatus | None = None
    assigned_to: Key | None = None
    metadata: Metadata | None = None
