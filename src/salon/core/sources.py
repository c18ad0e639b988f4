"""Sources under supervision: started, restarted, bounded, stopped (R68, R69)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock, TaskScope, redact_text
from salon.core.errors import SourceAlreadyAttachedError, SourceNotFoundError
from salon.core.framework import FrameworkEvents
from salon.core.ports.source import (
    BaseSourceProvider,
    EmitCallback,
    SourceHealth,
    SourceProvider,
)
from salon.models import InboundMessage, InboundResult, SourceStatus

__all__ = ["SourceAlreadyAttachedError", "SourceNotFoundError", "SourceSupervisor"]

_log = logging.getLogger("salon.core.sources")

LOOK_EVERY = 1.0
"""Seconds between looks at the status of a source that does not tell of its changes."""
HEALTH_TIMEOUT = 5.0
SOURCE_FAILED = "source_emit_failed"
"""The reason of a result whose message the pipeline broke on."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How a source that ended is started again. Delays in seconds, doubling from `delay`;
    `max_attempts` counts restarts since the source last worked, None is no limit."""

    auto: bool = True
    delay: float = 5.0
    max_delay: float = 300.0
    max_attempts: int | None = None

    def __post_init__(self) -> None:
        if self.delay < 0 or self.max_delay < 0:
            raise ValueError("restart delays must not be negative")
        if self.max_attempts is not None and self.max_attempts < 0:
            raise ValueError(f"max_restart_attempts must not be negative ({self.max_attempts})")

    def wait(self, attempt: int) -> float:
        """Seconds before restart number `attempt`, the first being 1."""
        return min(self.delay * 2.0 ** min(attempt - 1, 64), self.max_delay)


@dataclass(slots=True, eq=False)
class _Attached:
    """One source and what became of it. `parked` is its status while no `start` runs."""

    channel_id: str
    name: str
    source: SourceProvider
    policy: RestartPolicy
    scope: TaskScope
    slots: asyncio.Semaphore | None
    running: asyncio.Task[object] | None = None
    parked: SourceStatus | None = None
    leaving: bool = False
    connected: bool = False
    connected_at: float = 0.0
    attempt: int = 0
    """Restarts since the source last worked: brought a message, or was connected for longer than
    the wait before."""
    emits: set[asyncio.Task[object]] = field(default_factory=set)

    @property
    def status(self) -> SourceStatus:
        return self.parked if self.parked is not None else self.source.status

    def tasks(
        self, *more: asyncio.Task[object], but: asyncio.Task[object] | None
    ) -> set[asyncio.Task[object]]:
        """What runs for the source."""
        every = (self.running, *self.emits, *more)
        return {task for task in every if task and task is not but and not task.done()}

    def processed(self, task: asyncio.Task[object]) -> None:
        """A message is done with."""
        self.emits.discard(task)
        self.release()

    def release(self) -> None:
        """Give a slot back."""
        if self.slots is not None:
            self.slots.release()


class SourceSupervisor:
    """Runs at most one source per channel.

    `emit` should return once a message is committed, and not wait for the answers to it: the next
    message of the same connection waits for it. `stop_timeout` bounds, in seconds, each of the two
    steps of ending a source: asking it to, and cancelling what still runs. `known` raises for a
    channel that there is not.
    """

    def __init__(
        self,
        emit: EmitCallback,
        framework: FrameworkEvents,
        clock: Clock = SYSTEM_CLOCK,
        *,
        stop_timeout: float = 5.0,
        known: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._emit = emit
        self._framework = framework
        self._clock = clock
        self._stop_timeout = stop_timeout
        self._known = known
        self._attached: dict[str, _Attached] = {}
        self._ending = TaskScope("ending sources")
        self._closed = False
        self.abandoned = 0
        """Tasks of sources that did not end even when cancelled."""

    async def attach(
        self,
        channel_id: str,
        source: SourceProvider,
        *,
        auto_restart: bool = True,
        restart_delay: float = 5.0,
        max_restart_delay: float = 300.0,
        max_restart_attempts: int | None = None,
        max_concurrent_emits: int | None = 10,
    ) -> None:
        """Run a long-lived inbound connection for a channel, restarting it when it fails (R68,
        R69); returns before it is connected. Delays in seconds, doubling.

        Raises `ChannelNotRegisteredError`, `SourceAlreadyAttachedError` if the channel has a source
        or the source a channel, `RuntimeError` after `close`, `ValueError` for numbers that make no
        sense.
        """
        self._known(channel_id)
        if self._closed:
            raise RuntimeError("the sources are closed")
        if channel_id in self._attached:
            raise SourceAlreadyAttachedError(channel_id)
        for other in self._attached.values():
            if other.source is source:
                raise SourceAlreadyAttachedError(other.channel_id)
        if max_concurrent_emits is not None and max_concurrent_emits < 1:
            raise ValueError(f"max_concurrent_emits must be at least 1 ({max_concurrent_emits})")
        item = _Attached(
            channel_id,
            source.name,
            source,
            RestartPolicy(auto_restart, restart_delay, max_restart_delay, max_restart_attempts),
            TaskScope(f"source {channel_id}"),
            asyncio.Semaphore(max_concurrent_emits) if max_concurrent_emits is not None else None,
        )
        self._attached[channel_id] = item
        self._tell("source_attached", item)
        item.running = item.scope.spawn(self._supervise(item), name="run")

    async def detach(self, channel_id: str) -> None:
        """Stop a channel's source and forget it; messages being processed are finished, within
        bounds. Raises `SourceNotFoundError`."""
        item = self._attached.pop(channel_id, None)
        if item is None:
            raise SourceNotFoundError(channel_id)
        await self._end_all([item])

    def statuses(self) -> dict[str, SourceStatus]:
        """The status of every attached source, by channel."""
        return {channel_id: item.status for channel_id, item in self._attached.items()}

    def status(self, channel_id: str) -> SourceStatus:
        """RECONNECTING between two starts, ERROR once nothing is tried any more; otherwise what
        the source says. Raises `SourceNotFoundError`."""
        if channel_id not in self._attached:
            raise SourceNotFoundError(channel_id)
        return self._attached[channel_id].status

    async def health(self, channel_id: str) -> SourceHealth | None:
        """What the source says of itself, None without one. It is given 5 s, and must not fail."""
        item = self._attached.get(channel_id)
        if item is None:
            return None
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT):
                health = await item.source.healthcheck()
        except Exception as failure:  # noqa: BLE001 - the host's code
            _log.warning("the health check of source %s failed", channel_id, exc_info=True)
            return SourceHealth(status=SourceStatus.ERROR, error=_words(failure))
        if item.parked is not None:
            health = health.model_copy(update={"status": item.parked})
        return health

    async def close(self) -> None:
        """Stop all sources at once, within bounds; idempotent."""
        self._closed = True
        items = list(self._attached.values())
        self._attached.clear()
        await self._end_all(items)

    async def _end_all(self, items: Iterable[_Attached]) -> None:
        """A caller that is cancelled meanwhile leaves nothing running behind."""
        caller = asyncio.current_task()
        ends = [self._ending.spawn(self._end(item, caller), name="end") for item in items]
        if ends:
            await asyncio.shield(asyncio.gather(*ends))

    # -- one source -------------------------------------------------------------------------------

    async def _supervise(self, item: _Attached) -> None:
        policy = item.policy
        while True:
            error = await self._run_once(item)
            if item.leaving:
                return
            if error is not None:
                _log.warning("source %s failed", item.channel_id, exc_info=error)
                self._tell("source_error", item, error=_words(error), attempt=item.attempt)
            if not policy.auto:
                item.parked = SourceStatus.STOPPED if error is None else SourceStatus.ERROR
                return
            if policy.max_attempts is not None and item.attempt >= policy.max_attempts:
                item.parked = SourceStatus.ERROR
                self._tell("source_exhausted", item, attempts=item.attempt)
                return
            item.attempt += 1
            item.parked = SourceStatus.RECONNECTING
            await self._clock.sleep(policy.wait(item.attempt))

    async def _run_once(self, item: _Attached) -> BaseException | None:
        """One life of the source; what ended it, None if it simply returned."""
        item.parked = None
        source = item.source
        watch = None
        if isinstance(source, BaseSourceProvider):
            source.on_status = lambda status: self._changed(item, status)
        else:
            watch = item.scope.spawn(self._look(item), name="look")

        async def emit(message: InboundMessage) -> InboundResult:
            return await self._take(item, message)

        try:
            await source.start(emit)
        except asyncio.CancelledError as cancelled:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            return cancelled  # the source cancelled itself
        except Exception as failure:  # noqa: BLE001 - the edge of the source's task
            return failure
        finally:
            if watch is not None:
                watch.cancel()
            if isinstance(source, BaseSourceProvider):
                source.on_status = None
            self._changed(item, SourceStatus.STOPPED)
        return None

    async def _look(self, item: _Attached) -> None:
        while True:
            self._changed(item, item.source.status)
            await self._clock.sleep(LOOK_EVERY)

    def _changed(self, item: _Attached, status: SourceStatus) -> None:
        connected = status is SourceStatus.CONNECTED
        if connected == item.connected:
            return
        item.connected = connected
        now = self._clock.monotonic()
        if connected:
            item.connected_at = now
            self._tell("source_connected", item)
            return
        if now - item.connected_at >= item.policy.wait(max(item.attempt, 1)):
            item.attempt = 0
        self._tell("source_disconnected", item)

    async def _take(self, item: _Attached, message: InboundMessage) -> InboundResult:
        """Process one message, when there is a free slot. What runs is not the source's to cancel:
        a message is either refused here or processed to its end."""
        if item.source.status is SourceStatus.CONNECTED:
            self._changed(item, SourceStatus.CONNECTED)
        item.attempt = 0
        if message.channel_id != item.channel_id:
            message = message.model_copy(update={"channel_id": item.channel_id})
        if item.slots is not None:
            await item.slots.acquire()
        try:
            if item.leaving:
                raise SourceNotFoundError(item.channel_id)
            task = item.scope.spawn(self._process(item, message), name="emit")
        except BaseException:
            item.release()
            raise
        item.emits.add(task)
        task.add_done_callback(item.processed)
        return await asyncio.shield(task)

    async def _process(self, item: _Attached, message: InboundMessage) -> InboundResult:
        try:
            return await self._emit(message)
        except Exception as failure:  # noqa: BLE001 - one message must not end the connection
            _log.exception("a message of source %s failed", item.channel_id)
            self._tell("source_error", item, error=_words(failure))
            return InboundResult(None, True, SOURCE_FAILED, error=failure)

    # -- its end ----------------------------------------------------------------------------------

    async def _end(self, item: _Attached, caller: asyncio.Task[object] | None) -> None:
        """Ask the source to stop, let what runs finish, cancel the rest. `caller` may be one of the
        source's own messages; it is left alone."""
        item.leaving = True
        if item.parked is not None and item.running is not None:
            item.running.cancel()  # nothing runs: it waits for the next start, or is over
        stop = item.scope.spawn(self._ask_to_stop(item), name="stop")
        await _wait(item.tasks(stop, but=caller), self._stop_timeout)
        late = item.tasks(stop, but=caller)
        for task in late:
            task.cancel()
        await _wait(late, self._stop_timeout)
        left = sum(not task.done() for task in late)
        if left:
            self.abandoned += left
            _log.error("%d tasks of source %s did not end", left, item.channel_id)
        self._tell("source_detached", item)

    async def _ask_to_stop(self, item: _Attached) -> None:
        try:
            await item.source.stop()
        except Exception as failure:  # noqa: BLE001 - the host's code
            _log.warning("source %s failed to stop", item.channel_id, exc_info=True)
            self._tell("source_error", item, error=_words(failure))

    def _tell(self, event: str, item: _Attached, **data: Any) -> None:
        self._framework.emit(event, channel_id=item.channel_id, source_id=item.name, **data)


async def _wait(tasks: Collection[asyncio.Task[object]], timeout: float) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=timeout)


def _words(failure: BaseException) -> str:
    return redact_text(str(failure)) or type(failure).__name__
