"""What finds rooms in memory without looking at all of them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from heapq import heapify, heappop, heappush, merge
from typing import Final

from salon.models import RoomStatus

Entry = tuple[datetime, int, str]
"""When a room was created, what decides between several of that instant, its id."""

Name = str | tuple[str, str]
"""What rooms are found by."""

_ALL: Final = object()
_STATUSES: Final = tuple(RoomStatus)
_SLACK: Final = 64


class RoomIndex:
    """Rooms under names, in the order of their entries: one list per name, status and
    organization, so that a search meets only rooms that fit."""

    def __init__(self) -> None:
        self._lists: dict[tuple[Name, RoomStatus, object], list[Entry]] = {}

    def add(
        self, name: Name, entry: Entry, status: RoomStatus, organization_id: str | None
    ) -> None:
        for scope in (_ALL, organization_id):
            insort(self._lists.setdefault((name, status, scope), []), entry)

    def remove(
        self, name: Name, entry: Entry, status: RoomStatus, organization_id: str | None
    ) -> None:
        for scope in (_ALL, organization_id):
            entries = self._lists[name, status, scope]
            del entries[bisect_left(entries, entry)]
            if not entries:
                del self._lists[name, status, scope]

    def find(
        self,
        name: Name,
        statuses: Collection[RoomStatus] | None,
        organization_id: str | None,
        *,
        newest_first: bool = False,
    ) -> Iterator[str]:
        """Room ids; without an organization those of all. Not to be kept over a change."""
        scope: object = _ALL if organization_id is None else organization_id
        wanted = _STATUSES if statuses is None else {RoomStatus(status) for status in statuses}
        lists = [
            reversed(entries) if newest_first else iter(entries)
            for status in wanted
            if (entries := self._lists.get((name, status, scope)))
        ]
        found = lists[0] if len(lists) == 1 else merge(*lists, reverse=newest_first)
        return (entry[2] for entry in found)


class Deadlines:
    """When things fall due that are mostly put off: a later deadline costs nothing until the one
    known before has passed."""

    def __init__(self, actual: Callable[[str], datetime | None]) -> None:
        """`actual` tells when something falls due as things stand; None: never."""
        self._actual = actual
        self._bounds: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str]] = []

    def note(self, name: str, due: datetime | None) -> None:
        """To be called whenever a deadline may have come nearer."""
        if due is None:
            self._bounds.pop(name, None)
            return
        bound = self._bounds.get(name)
        if bound is None or due < bound:
            self._bounds[name] = due
            heappush(self._heap, (due, name))
            if len(self._heap) > 2 * len(self._bounds) + _SLACK:
                self._heap = [(due, name) for name, due in self._bounds.items()]
                heapify(self._heap)

    def passed(self, now: datetime, limit: int) -> list[str]:
        """What fell due, longest first; it stays due until its deadline changes."""
        found: list[tuple[datetime, str]] = []
        while self._heap and self._heap[0][0] <= now:
            bound, name = heappop(self._heap)
            if self._bounds.get(name) != bound:
                continue
            del self._bounds[name]
            due = self._actual(name)
            if due is None:
                continue
            if due <= now:
                found.append((due, name))
            else:
                self.note(name, due)
        for due, name in found:
            self.note(name, due)
        return [name for _, name in sorted(found)[: max(limit, 0)]]
