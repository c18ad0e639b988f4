"""What every source with a connection of its own does: run, reconnect, pass on, stop."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Coroutine
from typing import Any, Final
from urllib.parse import urlsplit

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError, SalonError, redact_text
from salon.core.ports.source import BaseSourceProvider, EmitCallback, SourceHealth
from salon.core.resilience.limit import RateLimiter
from salon.models import InboundMessage, RateLimit, SourceStatus

_log = logging.getLogger("salon.sources")

FIRST_BACKOFF: Final = 1.0


class ConnectionEndedError(SalonError):
    """The other side refused or ended the connection. With `final` it wants no other."""

    code = "source_connection_ended"

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


def _public(url: str) -> str:
    """The URL without what may be secret."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"a source's URL cannot be read: {error}") from error
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class ConnectedSource(BaseSourceProvider):
    """A source whose `_listen` is one connection.

    Without `reconnect` a lost connection ends `start`, and whoever supervises the source starts it
    again. With it the source tries again itself, after 1 s doubling to `max_reconnect_backoff`.
    `rate_limit` holds messages back, and with them the connection; none is dropped. A malformed
    `url` raises `ConfigurationError`.
    """

    def __init__(
        self,
        url: str,
        channel_id: str,
        *,
        reconnect: bool = False,
        max_reconnect_backoff: float = 30.0,
        rate_limit: RateLimit | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(clock=clock)
        self._url = url
        self._where = _public(url)
        self._channel_id = channel_id
        self._reconnect = reconnect
        self._max_backoff = max_reconnect_backoff
        self._rate_limit = rate_limit
        self._limiter = RateLimiter()
        self._first_wait = FIRST_BACKOFF
        """Seconds before the first new connection after one that worked."""
        self._backoff = FIRST_BACKOFF
        self._ended = asyncio.Event()
        self._ended.set()
        self._skipped = 0

    async def healthcheck(self) -> SourceHealth:
        health = await super().healthcheck()
        return health.model_copy(
            update={"metadata": {"url": self._where, "skipped": str(self._skipped)}}
        )

    @abstractmethod
    async def _listen(self, emit: EmitCallback) -> None:
        """Connect, say so with `_is_connected`, and pass everything to `_pass_on`, until the
        connection ends: then return, or raise `ConnectionEndedError`."""

    async def start(self, emit: EmitCallback) -> None:
        """Runs until `stop`, or without `reconnect` until the connection ends, which raises
        `ConnectionEndedError` unless it was closed in order."""
        self._reset_stop()
        self._ended.clear()
        self._backoff = self._first_wait
        try:
            await self._until_stopped(self._connections(emit))
        finally:
            if self._status is not SourceStatus.ERROR:
                self._set_status(SourceStatus.STOPPED)
            self._ended.set()

    async def stop(self) -> None:
        """End the connection; returns when it is over."""
        await super().stop()
        await self._ended.wait()

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop_event.wait())
        both = {working, stopping}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)
        if not working.cancelled() and (error := working.exception()) and not self._should_stop():
            raise error

    async def _connections(self, emit: EmitCallback) -> None:
        while True:
            self._set_status(SourceStatus.CONNECTING)
            try:
                await self._listen(emit)
            except ConnectionEndedError as error:
                self._set_status(SourceStatus.ERROR, redact_text(str(error)))
                if error.final or not self._reconnect:
                    raise
                _log.warning("%s: %s", self.name, self._error)
            else:
                if not self._reconnect:
                    return
            self._set_status(SourceStatus.RECONNECTING)
            wait, self._backoff = self._backoff, min(self._backoff * 2, self._max_backoff)
            await self._clock.sleep(min(wait, self._max_backoff))

    def _is_connected(self) -> None:
        self._set_status(SourceStatus.CONNECTED)

    async def _pass_on(self, message: InboundMessage | None, emit: EmitCallback) -> None:
        """None: the parser could make nothing of what came."""
        self._backoff = self._first_wait
        if message is None:
            self._skipped += 1
            return
        self._record_message()
        place = self._limiter.reserve("", self._rate_limit, self._clock.monotonic())
        if place.delay > 0:
            await self._clock.sleep(place.delay)
        await emit(message)

    def _not_parsed(self) -> None:
        """A parser of the host's has raised. What it was given is not logged: it is private."""
        _log.warning("%s: a message could not be parsed", self.name, exc_info=True)
