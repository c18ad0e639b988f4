"""What arrived, in order, bounded, readable by any number of readers at their own pace."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Journal(Generic[T]):
    """Keeps the newest `limit` items. Each `Cursor` sees every item that is kept, also those from
    before it was made; what it was too slow for is counted in its `missed`.

    Not thread-safe: for one event loop.
    """

    def __init__(self, limit: int) -> None:
        self._items: deque[T] = deque(maxlen=limit)
        self._waiters: set[asyncio.Future[None]] = set()
        self._error: BaseException | None = None
        self.closed = False
        self.total = 0
        """Items that ever came."""

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._items))

    @property
    def dropped(self) -> int:
        """Items that came and are no longer kept."""
        return self.total - len(self._items)

    def append(self, item: T) -> None:
        """Add the newest; the oldest goes if there are too many."""
        self._items.append(item)
        self.total += 1
        self._wake()

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more comes: cursors end after the last item, or raise `error` there."""
        if not self.closed:
            self.closed = True
            self._error = error
            self._wake()

    def read(self) -> Cursor[T]:
        """A reader that begins with the oldest item kept."""
        return Cursor(self)

    def get(self, index: int) -> T:
        """The item that came as number `index` (from 0); it must still be kept."""
        return self._items[index - self.dropped]

    async def wait(self, index: int) -> bool:
        """Wait until item `index` has come; False if it never will. Raises the closing error."""
        while index >= self.total:
            if self.closed:
                if self._error is not None:
                    raise self._error
                return False
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        return True

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class Cursor(AsyncIterator[T]):
    """One reader's place in a `Journal`. Cancelling a wait loses nothing."""

    def __init__(self, journal: Journal[T]) -> None:
        self._journal = journal
        self._next = 0
        self.missed = 0
        """Items that were dropped before this reader came to them."""

    async def __anext__(self) -> T:
        if not await self._journal.wait(self._next):
            raise StopAsyncIteration
        lost = max(0, self._journal.dropped - self._next)
        self.missed += lost
        self._next += lost + 1
        return self._journal.get(self._next - 1)
