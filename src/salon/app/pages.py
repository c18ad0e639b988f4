"""Pages of a timeline as one observer sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from salon.app.observer import Observer
from salon.core.ports.store import ConversationStore
from salon.models import EventFilter, EventType, RoomEvent

MAX_READ: Final = 5000
"""Events that are read for one page at most; then it may be shorter than asked for."""
_CHUNK: Final = 200


@dataclass(frozen=True, slots=True)
class TimelinePage:
    """Events in ascending order as JSON objects, whether there are more in the direction asked
    for, and where to go on."""

    events: list[dict[str, Any]]
    has_more: bool
    next_before_index: int | None = None
    next_after_index: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The page as its model has it."""
        return {
            "events": self.events,
            "has_more": self.has_more,
            "next_before_index": self.next_before_index,
            "next_after_index": self.next_after_index,
        }


async def read_page(
    store: ConversationStore,
    room_id: str,
    observer: Observer,
    *,
    limit: int,
    after_index: int | None = None,
    before_index: int | None = None,
    types: Sequence[EventType] | None = None,
    visibility: str | None = None,
) -> TimelinePage:
    """The first events after an index, else the last before one, else the newest."""
    wanted = EventFilter(event_types=types, visibility=visibility, include_blocked=observer.blocked)
    forward = after_index is not None
    place = after_index if forward else before_index
    seen: list[RoomEvent] = []
    read, more = 0, True
    while more and len(seen) <= limit and read < MAX_READ:
        chunk = await store.list_events(
            room_id,
            limit=_CHUNK,
            after_index=place if forward else None,
            before_index=None if forward else place,
            newest_first=not forward and place is None,
            event_filter=wanted,
        )
        read += len(chunk)
        more = len(chunk) == _CHUNK
        if chunk:
            place = chunk[-1].index if forward else chunk[0].index
        found = [event for event in chunk if observer.sees(event)]
        seen = seen + found if forward else found + seen
    full = len(seen) > limit
    kept = (seen[:limit] if forward else seen[-limit:]) if full else seen
    if full:
        place = kept[-1].index if forward else kept[0].index
    has_more = full or more
    return TimelinePage(
        [observer.shows(event) for event in kept],
        has_more,
        next_before_index=_first(kept) if forward else (place if has_more else None),
        next_after_index=place if forward else _last(kept),
    )


def _first(events: Sequence[RoomEvent]) -> int | None:
    return events[0].index if events else None


def _last(events: Sequence[RoomEvent]) -> int | None:
    return events[-1].index if events else None
