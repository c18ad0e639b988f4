"""What goes into the core and what comes out of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from salon.base import new_id
from salon.models.base import Fact, utc_now
from salon.models.channel import ChannelBinding
from salon.models.content import EventContent
from salon.models.enums import AnyChannelType, EventType, TaskStatus
from salon.models.event import RoomEvent
from salon.models.room import Participant, Room


class InboundMessage(Fact):
    """A message from outside, before its channel made an event of it."""

    channel_id: str
    sender_id: str
    content: EventContent
    raw_payload: dict[str, Any] = Field(default_factory=dict)
    provider_message_id: str | None = None
    idempotency_key: str | None = None
    external_id: str | None = None
    thread_id: str | None = None
    session: Any = None
    """A media session, connected to the channel once the event has passed the gates (R19)."""
    event_type: EventType = EventType.MESSAGE
    visibility: str = "all"
    parent_event_id: str | None = None
    addressed_to: list[str] | None = None
    response_visibility: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class DeliveryError(Fact):
    """Why a target did not get an event. `code` is stable."""

    code: str
    message: str
    retryable: bool = True


class DeliveryResult(Fact):
    """What became of an event at one target."""

    channel_id: str
    status: Literal["sent", "queued", "failed"]
    provider_message_id: str | None = None
    error: DeliveryError | None = None
    retry_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class InboundResult:
    """The outcome of `process_inbound`. `reason` is a code of the block, `error` the first
    exception an agent raised while it answered."""

    event: RoomEvent | None = None
    blocked: bool = False
    reason: str | None = None
    duplicate: bool = False
    delivery_results: dict[str, DeliveryResult] = field(default_factory=dict)
    error: BaseException | None = None
    response_events: list[RoomEvent] = field(default_factory=list)
    """What agents answered in this call, in the order stored; refused answers are left out."""


class Task(Fact):
    """Work to be done by someone."""

    id: str = Field(default_factory=new_id)
    room_id: str
    title: str
    description: str | None = None
    status: TaskStatus = TaskStatus.PENDING
    assigned_to: str | None = None
    created_at: datetime = Field(default_factory=utc_now)
    metadata: dict[str, Any] = Field(default_factory=dict)


class Observation(Fact):
    """Something noticed; `confidence` in 0..1."""

    id: str = Field(default_factory=new_id)
    room_id: str
    channel_id: str
    content: str
    category: str | None = None
    confidence: float = Field(default=1.0, ge=0, le=1)
    created_at: datetime = Field(default_factory=utc_now)
    metadata: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionStartedEvent:
    """The payload of ON_SESSION_STARTED: a first message made a room, or a call is live."""

    room_id: str
    channel_id: str
    channel_type: AnyChannelType
    participant_id: str
    session: Any | None = None
    timestamp: datetime = field(default_factory=utc_now)


@dataclass(frozen=True, slots=True)
class RoomContext:
    """What channels and hooks see of a room; `recent_events` ascending, newest last (R20)."""

    room: Room
    bindings: Sequence[ChannelBinding] = ()
    participants: Sequence[Participant] = ()
    recent_events: Sequence[RoomEvent] = ()

    def binding(self, channel_id: str) -> ChannelBinding | None:
        """The binding of a channel, if it has one."""
        return next((item for item in self.bindings if item.channel_id == channel_id), None)

    def get_binding(self, channel_id: str) -> ChannelBinding | None:
        """The same as `binding`."""
        return self.binding(channel_id)

    def other_channels(self, exclude_channel_id: str) -> list[ChannelBinding]:
        """The bindings of all channels but one."""
        return [item for item in self.bindings if item.channel_id != exclude_channel_id]

    def channels_by_type(self, channel_type: AnyChannelType) -> list[ChannelBinding]:
        """The bindings of the channels of a type."""
        return [item for item in self.bindings if item.channel_type == channel_type]

    def participant(self, participant_id: str | None) -> Participant | None:
        """A participant by id, if known."""
        return next((item for item in self.participants if item.id == participant_id), None)


@dataclass(frozen=True, slots=True)
class ChannelOutput:
    """What a channel gives back for an event.

    Either whole events or a `response_stream` of text; `response_metadata`, filled while the
    stream runs, becomes metadata of the stored answer.
    """

    response_events: Sequence[RoomEvent] = ()
    responded: bool = False
    response_stream: AsyncIterator[str] | None = None
    response_metadata: dict[str, Any] = field(default_factory=dict)
    tasks: Sequence[Task] = ()
    observations: Sequence[Observation] = ()
    metadata_updates: dict[str, Any] = field(default_factory=dict)
    provider_message_id: str | None = None
    """What the other side calls the message that `deliver` handed over."""

    @classmethod
    def empty(cls) -> ChannelOutput:
        """Nothing to say."""
        return cls()


NO_OUTPUT = ChannelOutput()
