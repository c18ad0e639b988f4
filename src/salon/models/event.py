"""The immutable, numbered record of a timeline."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from salon.base import new_id
from salon.models.base import Fact, utc_now
from salon.models.content import (
    AudioContent,
    CompositeContent,
    DeleteContent,
    EditContent,
    EventContent,
    LocationContent,
    MediaContent,
    RichContent,
    SystemContent,
    TemplateContent,
    TextContent,
    ToolCallContent,
    VideoContent,
)
from salon.models.enums import AnyChannelType, ChannelDirection, EventStatus, EventType

__all__ = [
    "AudioContent",
    "ChannelData",
    "CompositeContent",
    "DeleteContent",
    "EditContent",
    "EventContent",
    "EventSource",
    "LocationContent",
    "MediaContent",
    "RichContent",
    "RoomEvent",
    "SystemContent",
    "TemplateContent",
    "TextContent",
    "ToolCallContent",
    "VideoContent",
]


class EventSource(Fact):
    """Where an event came from. `raw_payload` is exactly what was received (R8)."""

    channel_id: str
    channel_type: AnyChannelType
    direction: ChannelDirection = ChannelDirection.INBOUND
    participant_id: str | None = None
    external_id: str | None = None
    provider: str | None = None
    raw_payload: dict[str, Any] = Field(default_factory=dict)
    provider_message_id: str | None = None


class ChannelData(Fact):
    """Provider-specific facts (R17)."""

    provider: str | None = None
    external_id: str | None = None
    thread_id: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class RoomEvent(Fact):
    """One entry of a timeline.

    `index` is authoritative only once committed (R97). `parent_event_id` is the thread root,
    `responds_to` the event that this one answers.
    """

    id: str = Field(default_factory=new_id)
    room_id: str
    type: EventType = EventType.MESSAGE
    source: EventSource
    content: EventContent
    status: EventStatus = EventStatus.PENDING
    blocked_by: str | None = None
    visibility: str = "all"
    addressed_to: list[str] | None = None
    response_visibility: str | None = None
    index: int = Field(default=0, ge=0)
    chain_depth: int = Field(default=0, ge=0)
    parent_event_id: str | None = None
    responds_to: str | None = None
    correlation_id: str | None = None
    idempotency_key: str | None = None
    created_at: datetime = Field(default_factory=utc_now)
    metadata: dict[str, Any] = Field(default_factory=dict)
    channel_data: ChannelData = Field(default_factory=ChannelData)
    delivery_results: dict[str, Any] = Field(default_factory=dict)

    @property
    def text(self) -> str | None:
        """The words of a text event, else None."""
        return self.content.body if isinstance(self.content, TextContent) else None


def __getattr__(name: str) -> Any:
    if name == "ThreadSummary":  # RoomKit has it here
        from salon.models.filters import ThreadSummary

        return ThreadSummary
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
