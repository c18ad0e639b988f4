"""Sessions kept open, to be borrowed for one request at a time (A109)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from salon.base.clock import SYSTEM_CLOCK, Clock
from salon.clients.avatarkit.avatar_session import AvatarSession, new_avatar_session
from salon.clients.avatarkit.collector import AnimationCollector

ConfigFactory = Callable[[AnimationCollector], Mapping[str, Any]]
"""Keyword arguments for `new_avatar_session`, with the collector's callbacks among them."""

DEFAULT_BORROW_SECONDS: Final = 30.0

_log = logging.getLogger("salon.clients.avatarkit.pool")


class PooledConnection:
    """One place of the pool: a session with its collector, replaced together when lost."""

    def __init__(
        self,
        session: AvatarSession,
        collector: AnimationCollector,
        connection_id: str,
        created_at: datetime,
    ) -> None:
        self.session = session
        self.collector = collector
        self.connection_id = connection_id
        self.created_at = created_at
        self.request_count = 0
        self._newest_before: str | None = None

    @property
    def usable(self) -> bool:
        """Whether it can be lent."""
        return self.session.connected and not self.collector.closed

    def lend(self) -> None:
        """Ready for a request."""
        self.collector.reset()
        self._newest_before = self.session.last_req_id

    @property
    def unfinished(self) -> bool:
        """Whether a request was begun whose animation did not come to its end: what is left of it
        must not reach the next borrower."""
        begun = self.session.last_req_id != self._newest_before
        return begun and not self.collector.last


class AvatarConnectionPool:
    """`pool_size` sessions, connected at once and lent in turn.

    `config_factory` makes the settings of one session; `expire_at` is added, `session_ttl_minutes`
    from now, if it gives none. A connection that was lost, or given back in the middle of a
    request, is replaced when it is next lent.
    """

    def __init__(
        self,
        pool_size: int,
        config_factory: ConfigFactory,
        session_ttl_minutes: float = 5,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if pool_size < 1:
            raise ValueError(f"a pool has 1 connection or more, not {pool_size}")
        self._size = pool_size
        self._config_factory = config_factory
        self._ttl = timedelta(minutes=session_ttl_minutes)
        self._clock = clock
        self._all_connections: list[PooledConnection] = []
        self._free: deque[PooledConnection] = deque()
        self._waiting: deque[asyncio.Future[PooledConnection]] = deque()
        self._served = 0
        self._replaced = 0
        self._begun = False
        self._closed = False

    @property
    def available_count(self) -> int:
        """Connections that nobody has."""
        return len(self._free)

    @property
    def total_count(self) -> int:
        """Connections, lent or not."""
        return len(self._all_connections)

    def get_stats(self) -> dict[str, Any]:
        """`total_connections`, `available_connections`, `total_requests_served`,
        `total_replaced`, and per connection its id, its requests and its age in seconds."""
        now = self._clock.now()
        return {
            "total_connections": self.total_count,
            "available_connections": self.available_count,
            "total_requests_served": self._served,
            "total_replaced": self._replaced,
            "connections": [
                {
                    "connection_id": one.connection_id,
                    "request_count": one.request_count,
                    "age_seconds": (now - one.created_at).total_seconds(),
                    "connected": one.usable,
                }
                for one in self._all_connections
            ],
        }

    async def initialize(self) -> None:
        """Connect all at once. Connections that fail are logged and left out; `RuntimeError` only
        if all did. Cancelled, it leaves none open."""
        if self._closed or self._begun:
            raise RuntimeError("the pool is closed or initialized already")
        self._begun = True
        try:
            await self._initialize()
        except BaseException:
            self._begun = False
            raise

    async def _initialize(self) -> None:
        opening = [asyncio.ensure_future(self._open()) for _ in range(self._size)]
        try:
            results = await asyncio.gather(*opening, return_exceptions=True)
        except asyncio.CancelledError:
            # all have ended: those that were connected by then are nobody's yet
            ended = [one for one in opening if not one.cancelled() and one.exception() is None]
            await _close_all([one.result() for one in ended])
            raise
        opened = [one for one in results if isinstance(one, PooledConnection)]
        errors = [one for one in results if isinstance(one, BaseException)]
        for error in errors:
            _log.warning("a connection of the pool failed: %s", error)
        if not opened:
            raise RuntimeError("Failed to create any connections") from errors[0]
        if self._is_closed():
            await _close_all(opened)
            raise RuntimeError("the pool was closed meanwhile")
        self._all_connections = opened
        self._free.extend(opened)

    @asynccontextmanager
    async def borrow(
        self, timeout: float = DEFAULT_BORROW_SECONDS
    ) -> AsyncIterator[PooledConnection]:
        """A connection for one request; the longest unused first.

        `TimeoutError` if none is free for so many seconds, `RuntimeError` from a pool that is
        closed or was not initialized, the error of `start` if a lost one can't be replaced.
        """
        one = await self._take(timeout)
        try:
            if not one.usable:
                await self._replace(one)
            one.lend()
            one.request_count += 1
            self._served += 1
            yield one
        finally:
            try:
                if one.unfinished:
                    await one.session.close()
            finally:
                self._give_back(one)

    async def close(self) -> None:
        """Close every connection, lent ones too; who waits for one gets `RuntimeError`."""
        self._closed = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(RuntimeError("the pool is closed"))
        self._waiting.clear()
        self._free.clear()
        connections, self._all_connections = self._all_connections, []
        await _close_all(connections)

    def _is_closed(self) -> bool:
        """Asked anew after a wait."""
        return self._closed

    async def _open(self) -> PooledConnection:
        collector = AnimationCollector()
        settings = dict(self._config_factory(collector))
        created_at = self._clock.now()
        settings.setdefault("expire_at", created_at + self._ttl)
        session = new_avatar_session(**settings)
        await session.init()
        connection_id = await session.start()
        return PooledConnection(session, collector, connection_id, created_at)

    async def _replace(self, one: PooledConnection) -> None:
        """A new session in the place of a lost one."""
        await one.session.close()
        new = await self._open()
        if self._is_closed():
            await new.session.close()
            raise RuntimeError("the pool is closed")
        self._replaced += 1
        one.session, one.collector = new.session, new.collector
        one.connection_id, one.created_at = new.connection_id, new.created_at

    async def _take(self, timeout: float) -> PooledConnection:
        if self._closed or not self._all_connections:
            raise RuntimeError("the pool is closed or not initialized")
        if self._free:
            return self._free.popleft()
        waiter: asyncio.Future[PooledConnection] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                return await waiter
        except BaseException:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # It came in the moment of giving up.
                self._give_back(waiter.result())
            raise

    def _give_back(self, one: PooledConnection) -> None:
        if self._closed:
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(one)
                return
        self._free.append(one)


async def _close_all(connections: list[PooledConnection]) -> None:
    """At once. Cancelled, no peer is waited for, but none stays open."""
    closing = [asyncio.ensure_future(one.session.close()) for one in connections]
    try:
        await asyncio.sleep(0)  # a task that is cancelled before its first step closes nothing
        await asyncio.gather(*closing)
    except asyncio.CancelledError:
        for task in closing:
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)
        raise
