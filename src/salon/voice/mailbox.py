"""Where the media plane meets the event plane: one bounded, ordered, counted mailbox per call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Written synchronously by the media plane, read by one task.

    Nothing is dropped silently: beyond `bound` entries the mailbox is *overflowed*, further posts
    are counted in `lost`, and the reader is told once the kept ones are read (the owner then ends
    the call). `close` lets the reader finish what is in it.
    """

    def __init__(self, bound: int = 1024) -> None:
        self.bound = bound
        self.posted = 0
        self.lost = 0
        self._items: deque[T] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def overflowed(self) -> bool:
        """Whether anything was lost."""
        return self.lost > 0

    def post(self, item: T) -> None:
        """Append; after `close` without effect."""
        if self._closed:
            return
        if len(self._items) >= self.bound:
            self.lost += 1
            return
        self.posted += 1
        self._items.append(item)
        self._wake.set()

    def close(self) -> None:
        """No more posts; the reader ends after the last entry."""
        self._closed = True
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            while self._items:
                yield self._items.popleft()
            if self._closed or self.overflowed:
                return
            self._wake.clear()
            await self._wake.wait()
