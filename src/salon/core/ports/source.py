"""The contract of message sources: connections that we keep open and that push (section 7, L2)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from datetime import datetime

from pydantic import Field

from salon.base import SYSTEM_CLOCK, Clock
from salon.models import InboundMessage, InboundResult, SourceStatus
from salon.models.base import Fact

EmitCallback = Callable[[InboundMessage], Awaitable[InboundResult]]
"""Hands a message to the inbound pipeline. A failure there is in the result's `error`."""


class SourceHealth(Fact):
    """How a source is doing. `error` is the last one, and stays until it is connected again."""

    status: SourceStatus = SourceStatus.STOPPED
    connected_at: datetime | None = None
    last_message_at: datetime | None = None
    messages_received: int = 0
    error: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class SourceProvider(ABC):
    """One connection to a system that sends messages of its own accord (R68)."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For logs and events; must hold no secret."""

    @property
    def status(self) -> SourceStatus:
        """The state of the connection."""
        return SourceStatus.STOPPED

    @abstractmethod
    async def start(self, emit: EmitCallback) -> None:
        """Connect, then `await emit(message)` for every message, until `stop` or until the
        connection is lost: then return or raise, and be started again. Cancellation ends it."""

    @abstractmethod
    async def stop(self) -> None:
        """Make `start` return and free what it holds; idempotent. `start` may be called again."""

    async def healthcheck(self) -> SourceHealth:
        """More than `status`, where the source knows more."""
        return SourceHealth(status=self.status)


class BaseSourceProvider(SourceProvider):
    """Keeps status, times and counts, and the wish to stop."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.on_status: Callable[[SourceStatus], None] | None = None
        """Told of `status` whenever it is set; put here by whoever supervises the source."""
        self._clock = clock
        self._status = SourceStatus.STOPPED
        self._error: str | None = None
        self._connected_at: datetime | None = None
        self._last_message_at: datetime | None = None
        self._messages_received = 0
        self._stop_event = asyncio.Event()

    @property
    def status(self) -> SourceStatus:
        return self._status

    async def healthcheck(self) -> SourceHealth:
        return SourceHealth(
            status=self._status,
            connected_at=self._connected_at,
            last_message_at=self._last_message_at,
            messages_received=self._messages_received,
            error=self._error,
        )

    async def stop(self) -> None:
        """Ask `start` to end. Subclasses close their connection as well."""
        self._stop_event.set()
        self._set_status(SourceStatus.STOPPED)

    def _set_status(self, status: SourceStatus, error: str | None = None) -> None:
        if status is SourceStatus.CONNECTED:
            self._connected_at = self._clock.now()
            self._error = None
        if error is not None:
            self._error = error
        self._status = status
        if self.on_status is not None:
            self.on_status(status)

    def _record_message(self) -> None:
        self._messages_received += 1
        self._last_message_at = self._clock.now()

    def _should_stop(self) -> bool:
        return self._stop_event.is_set()

    def _reset_stop(self) -> None:
        self._stop_event.clear()
