"""What happens, for ``async for``: any number of readers, each bounded, the newest winning."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OdysseyEvent:
    """One event of a client. `name` is that of its callback without ``on_``, e.g.
    ``stream_started``; `data` has the callback's arguments by name."""

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Feed(Generic[T]):
    """Hands every item to every reader there is. For one event loop, between `open` and `close`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._readers: weakref.WeakSet[Reader[T]] = weakref.WeakSet()
        self.live = False

    def open(self) -> None:
        """Items will come."""
        self.live = True

    def reader(self) -> Reader[T]:
        """A reader of what comes from now on. Made before `open`, it is to be read after it."""
        made: Reader[T] = Reader(self, self._limit)
        self._readers.add(made)
        return made

    def put(self, item: T) -> None:
        """The newest; a reader that has `limit` already loses its oldest."""
        for reader in tuple(self._readers):
            reader.put(item)

    def leave(self, reader: Reader[T]) -> None:
        """It reads no more."""
        self._readers.discard(reader)

    def close(self) -> None:
        """Readers end after their last item."""
        if self.live:
            self.live = False
            for reader in tuple(self._readers):
                reader.end()
            self._readers.clear()


class Reader(AsyncIterator[T]):
    """One reader's items that wait. `missed` counts those it was too slow for."""

    def __init__(self, feed: Feed[T], limit: int) -> None:
        self._feed = feed
        self._items: deque[T] = deque(maxlen=limit)
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self.missed = 0

    def put(self, item: T) -> None:
        """Called by the feed."""
        self.missed += len(self._items) == self._items.maxlen
        self._items.append(item)
        self._wake()

    def end(self) -> None:
        """Called by the feed."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def __anext__(self) -> T:
        """The next item. For one task at a time; cancelling it loses nothing."""
        while not self._items:
            if self._ended or not self._feed.live:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._items.popleft()

    async def aclose(self) -> None:
        """Read no more."""
        self._feed.leave(self)
        self._items.clear()
        self.end()
