"""Word that a room is no longer as it was, for work that lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Changed = Callable[[str], None]
"""Takes the id of a room whose bindings changed, or that ended."""


class RoomChanges:
    """Who wants to know while they work, of what this process changes; nothing is kept for rooms
    that nobody watches."""

    def __init__(self) -> None:
        self._watchers: dict[str, list[Callable[[], None]]] = {}

    def tell(self, room_id: str) -> None:
        """A binding of the room was written or removed, or the room takes no more events."""
        for watcher in self._watchers.get(room_id, ()):
            watcher()

    @contextmanager
    def watched(self, room_id: str, watcher: Callable[[], None]) -> Iterator[None]:
        """`watcher` is called at each change; it must be quick."""
        watchers = self._watchers.setdefault(room_id, [])
        watchers.append(watcher)
        try:
            yield
        finally:
            watchers.remove(watcher)
            if not watchers:
                del self._watchers[room_id]
