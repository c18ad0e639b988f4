"""Which events a reader asks for, which a room keeps, and what threads add up to (R101, R103,
R210)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from salon.models.base import Fact
from salon.models.enums import AnyChannelType, EventStatus, EventType
from salon.models.event import RoomEvent


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


Instant = Annotated[datetime, AfterValidator(_aware)]
"""A naive one counts as UTC."""


class EventFilter(Fact):
    """What an event must be; everything given must hold.

    `exclude_types` wins over `event_types`; an empty `event_types` lets nothing through.
    `visibility` is compared as it stands, it is not asked who may see what. The instants are
    exclusive and mean `created_at`. Refused events (BLOCKED) are left out unless asked for.
    """

    event_types: Sequence[EventType] | None = None
    exclude_types: Sequence[EventType] | None = None
    visibility: str | None = None
    source_channel_id: str | None = None
    source_channel_type: AnyChannelType | None = None
    correlation_id: str | None = None
    participant_id: str | None = None
    responds_to: str | None = None
    parent_event_id: str | None = None
    top_level_only: bool = False
    after_time: Instant | None = None
    before_time: Instant | None = None
    include_blocked: bool = False

    def matches(self, event: RoomEvent) -> bool:
        """Whether a reader who asks for this gets `event`."""
        if event.status is EventStatus.BLOCKED and not self.include_blocked:
            return False
        return self._fits_type(event) and self._fits_source(event) and self._fits_place(event)

    def _fits_type(self, event: RoomEvent) -> bool:
        return (
            (self.event_types is None or event.type in self.event_types)
            and (self.exclude_types is None or event.type not in self.exclude_types)
            and self.visibility in (None, event.visibility)
        )

    def _fits_source(self, event: RoomEvent) -> bool:
        source = event.source
        return (
            self.source_channel_id in (None, source.channel_id)
            and self.source_channel_type in (None, source.channel_type)
            and self.participant_id in (None, source.participant_id)
        )

    def _fits_place(self, event: RoomEvent) -> bool:
        return (
            self.correlation_id in (None, event.correlation_id)
            and self.responds_to in (None, event.responds_to)
            and self.parent_event_id in (None, event.parent_event_id)
            and not (self.top_level_only and event.parent_event_id is not None)
            and (self.after_time is None or _aware(event.created_at) > self.after_time)
            and (self.before_time is None or _aware(event.created_at) < self.before_time)
        )


class PersistencePolicy(Fact):
    """Which types of events are stored (R101): those of `persist_types`, None meaning all, but for
    `exclude_types`, which win."""

    persist_types: set[EventType] | None = None
    exclude_types: set[EventType] = Field(default_factory=set)

    def should_persist(self, event_type: EventType) -> bool:
        """Whether an event of this type is stored."""
        return event_type not in self.exclude_types and (
            self.persist_types is None or event_type in self.persist_types
        )


class ThreadSummary(Fact):
    """The replies to one event that were not refused; `last_reply_at` is the newest `created_at`
    among them."""

    root_event_id: str
    reply_count: int = 0
    last_reply_at: datetime | None = None


def effective_filter(event_filter: EventFilter | None, visibility: str | None) -> EventFilter:
    """The filter with a visibility, if it has none of its own."""
    if event_filter is None:
        return _OPEN if visibility is None else EventFilter(visibility=visibility)
    if visibility is None or event_filter.visibility is not None:
        return event_filter
    return event_filter.model_copy(update={"visibility": visibility})


_OPEN = EventFilter()
