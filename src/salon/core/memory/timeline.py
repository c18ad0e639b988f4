"""The events of one room in memory, found by index, id, key, kind and thread."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from salon.models import EventStatus, EventType, RoomEvent
from salon.models.filters import EventFilter, ThreadSummary

_NONE: Sequence[int] = ()


class Timeline:
    """Indices are ascending but may have holes (R98), so lists hold indices and are bisected."""

    __slots__ = ("_by_id", "_events", "_keys", "_messages", "_order", "_replies")

    def __init__(self) -> None:
        self._events: dict[int, RoomEvent] = {}
        self._order: list[int] = []
        self._messages: list[int] = []
        self._replies: dict[str, list[int]] = {}
        self._by_id: dict[str, int] = {}
        self._keys: dict[str, dict[str, int]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[RoomEvent]:
        return iter(self._events.values())

    def check(self, batch: Sequence[RoomEvent]) -> None:
        """`ValueError` if an id or an idempotency key is in use, or comes twice."""
        ids = set[str]()
        keys = set[tuple[str, str]]()
        for event in batch:
            if event.id in self._by_id or event.id in ids:
                raise ValueError(f"event {event.id!r} exists")
            ids.add(event.id)
            key = event.idempotency_key
            if key is None:
                continue
            channel_id = event.source.channel_id
            if (key, channel_id) in keys or channel_id in self._keys.get(key, ()):
                raise ValueError(f"idempotency key {key!r} exists")
            keys.add((key, channel_id))

    def add(self, event: RoomEvent) -> None:
        """The next event, under its index."""
        index = event.index
        self._events[index] = event
        self._by_id[event.id] = index
        self._order.append(index)
        if event.type is EventType.MESSAGE:
            self._messages.append(index)
        if event.parent_event_id is not None:
            self._replies.setdefault(event.parent_event_id, []).append(index)
        if event.idempotency_key is not None:
            own = self._keys.setdefault(event.idempotency_key, {})
            own[event.source.channel_id] = index

    def get(self, event_id: str) -> RoomEvent | None:
        index = self._by_id.get(event_id)
        return None if index is None else self._events[index]

    def under_key(self, key: str, channel_id: str | None) -> RoomEvent | None:
        """The event committed under a key, through this channel or first through any."""
        found = self._keys.get(key, {})
        index = min(found.values(), default=None) if channel_id is None else found.get(channel_id)
        return None if index is None else self._events[index]

    def replace(self, event: RoomEvent) -> None:
        """Another version of an event, with the same id, index and key."""
        index = event.index
        old, self._events[index] = self._events[index], event
        if old.type is not event.type:
            _remove(self._messages, index, old.type is EventType.MESSAGE)
            _insert(self._messages, index, event.type is EventType.MESSAGE)
        if old.parent_event_id != event.parent_event_id:
            self._leave_thread(old)
            if event.parent_event_id is not None:
                insort(self._replies.setdefault(event.parent_event_id, []), index)

    def remove(self, event_id: str, *, replies: bool) -> list[RoomEvent]:
        """Take out an event, and the replies to it; they come root first, then by index."""
        root = self.get(event_id)
        if root is None:
            return []
        gone = [root]
        if replies:
            gone += [self._events[index] for index in self._replies.get(event_id, _NONE)]
        for event in gone:
            self._forget(event)
        return gone

    def _forget(self, event: RoomEvent) -> None:
        index = event.index
        del self._events[index], self._by_id[event.id]
        _remove(self._order, index, True)
        _remove(self._messages, index, event.type is EventType.MESSAGE)
        self._leave_thread(event)
        key = event.idempotency_key
        if key is not None:
            left = {name: at for name, at in self._keys.pop(key).items() if at != index}
            if left:
                self._keys[key] = left

    def _leave_thread(self, event: RoomEvent) -> None:
        root = event.parent_event_id
        if root is not None:
            _remove(self._replies[root], event.index, True)
            if not self._replies[root]:
                del self._replies[root]

    def page(
        self,
        wanted: EventFilter,
        *,
        offset: int,
        limit: int,
        after_index: int | None,
        before_index: int | None,
        newest_first: bool,
    ) -> list[RoomEvent]:
        """See `ConversationStore.list_events`. Looks at no more events than it must to fill the
        page; what kind or thread rules out is not looked at."""
        if limit <= 0:
            return []
        indices, fits = self._narrowed(wanted)
        first, last = 0, len(indices)
        if after_index is not None:
            first, offset = bisect_right(indices, after_index), 0
        elif before_index is not None:
            last, offset = bisect_left(indices, before_index), 0
        backwards = before_index is not None or (newest_first and after_index is None)
        offset = max(offset, 0)
        if fits is None:
            if backwards:
                first, last = max(first, last - offset - limit), max(first, last - offset)
            else:
                first, last = min(last, first + offset), min(last, first + offset + limit)
            return [self._events[index] for index in indices[first:last]]
        walk: Iterable[int] = range(last - 1, first - 1, -1) if backwards else range(first, last)
        events = self._events
        found = filter(fits, (events[indices[place]] for place in walk))
        page = list(islice(found, offset, offset + limit))
        return page[::-1] if backwards else page

    def count(self, wanted: EventFilter) -> int:
        indices, fits = self._narrowed(wanted)
        if fits is None:
            return len(indices)
        return sum(fits(self._events[index]) for index in indices)

    def after(self, index: int) -> int:
        """How many events come after an index."""
        return len(self._order) - bisect_right(self._order, index)

    def summary(self, root_id: str) -> ThreadSummary | None:
        """What the replies to an event add up to; None if there are none."""
        replies = [self._events[index] for index in self._replies.get(root_id, _NONE)]
        times = [event.created_at for event in replies if _received(event)]
        if not times:
            return None
        return ThreadSummary(
            root_event_id=root_id, reply_count=len(times), last_reply_at=max(times)
        )

    def _narrowed(
        self, wanted: EventFilter
    ) -> tuple[Sequence[int], Callable[[RoomEvent], bool] | None]:
        """The shortest list that has all that fits, and what is left to be tested."""
        if wanted.parent_event_id is not None:
            return self._replies.get(wanted.parent_event_id, _NONE), wanted.matches
        indices: Sequence[int] = self._order
        types = wanted.event_types
        if types is not None:
            if len(types) != 1 or types[0] is not EventType.MESSAGE:
                return indices, wanted.matches
            indices = self._messages
        if _asks_more(wanted):
            return indices, wanted.matches
        return indices, None if wanted.include_blocked else _received


def _asks_more(wanted: EventFilter) -> bool:
    """Than for types, a thread, and whether refused ones count."""
    return bool(
        wanted.exclude_types
        or wanted.top_level_only
        or wanted.visibility is not None
        or wanted.source_channel_id is not None
        or wanted.source_channel_type is not None
        or wanted.correlation_id is not None
        or wanted.participant_id is not None
        or wanted.responds_to is not None
        or wanted.after_time is not None
        or wanted.before_time is not None
    )


def _received(event: RoomEvent) -> bool:
    return event.status is not EventStatus.BLOCKED


def _remove(indices: list[int], index: int, present: bool) -> None:
    if present:
        del indices[bisect_left(indices, index)]


def _insert(indices: list[int], index: int, wanted: bool) -> None:
    if wanted:
        insort(indices, index)
