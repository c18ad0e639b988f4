"""Ephemeral events within one process."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from dataclasses import dataclass, field

from salon.base import IdFactory, TaskScope, UnavailableError, new_id
from salon.core.ports.realtime import EphemeralCallback, EphemeralEvent, RealtimeBackend

_log = logging.getLogger("salon.core.memory.realtime")


@dataclass(frozen=True, slots=True)
class RealtimeStatistics:
    """Subscriptions and queued events now; the rest since the start, counted per subscriber.

    `dropped` never reached a callback: its queue was full, or it was unsubscribed before.
    """

    subscriptions: int
    queued: int
    delivered: int
    dropped: int
    failed: int


@dataclass(slots=True, eq=False)
class _Subscription:
    id: str
    channel: str
    callback: EphemeralCallback
    queue: deque[EphemeralEvent] = field(default_factory=deque)
    worker: asyncio.Task[None] | None = None


class InMemoryRealtime(RealtimeBackend):
    """A bounded queue per subscription, and a task only while there is something in it.

    `callback_timeout` in seconds: a callback that takes longer is cancelled, counted as failed, and
    the subscription goes on with the next event.
    """

    def __init__(
        self,
        max_queue_size: int = 100,
        *,
        callback_timeout: float = 30.0,
        id_factory: IdFactory = new_id,
    ) -> None:
        if max_queue_size < 1:
            raise ValueError(f"max_queue_size must be at least 1, not {max_queue_size}")
        self._max = max_queue_size
        self._timeout = callback_timeout
        self._new_id = id_factory
        self._by_id: dict[str, _Subscription] = {}
        self._by_channel: dict[str, dict[str, _Subscription]] = {}
        self._scope = TaskScope("realtime")
        self._closed = False
        self._delivered = self._dropped = self._failed = 0

    def statistics(self) -> RealtimeStatistics:
        """What became of the events."""
        return RealtimeStatistics(
            len(self._by_id),
            sum(len(item.queue) for item in self._by_id.values()),
            self._delivered,
            self._dropped,
            self._failed,
        )

    async def publish(self, channel: str, event: EphemeralEvent) -> None:
        for subscription in self._by_channel.get(channel, {}).values():
            queue = subscription.queue
            if len(queue) >= self._max:
                queue.popleft()
                self._dropped += 1
            queue.append(event)
            if subscription.worker is None:
                # In a context of its own, else it would share the publisher's room lock (R202).
                subscription.worker = contextvars.Context().run(self._start, subscription)

    async def subscribe(self, channel: str, callback: EphemeralCallback) -> str:
        if self._closed:
            raise UnavailableError("the realtime backend is closed")
        subscription = _Subscription(self._new_id(), channel, callback)
        self._by_id[subscription.id] = subscription
        self._by_channel.setdefault(channel, {})[subscription.id] = subscription
        return subscription.id

    async def unsubscribe(self, subscription_id: str) -> bool:
        subscription = self._by_id.pop(subscription_id, None)
        if subscription is None:
            return False
        others = self._by_channel[subscription.channel]
        del others[subscription_id]
        if not others:
            del self._by_channel[subscription.channel]
        self._dropped += len(subscription.queue)
        subscription.queue.clear()
        worker = subscription.worker
        if worker is not None and worker is not asyncio.current_task():
            worker.cancel()
        return True

    async def close(self) -> None:
        self._closed = True
        for subscription_id in list(self._by_id):
            await self.unsubscribe(subscription_id)
        await self._scope.close()

    def _start(self, subscription: _Subscription) -> asyncio.Task[None]:
        return self._scope.spawn(self._work(subscription), name=subscription.id)

    async def _work(self, subscription: _Subscription) -> None:
        queue = subscription.queue
        try:
            while queue:
                await self._call(subscription, queue.popleft())
        finally:
            subscription.worker = None

    async def _call(self, subscription: _Subscription, event: EphemeralEvent) -> None:
        current = asyncio.current_task()
        try:
            async with asyncio.timeout(self._timeout):
                await subscription.callback(event)
        except asyncio.CancelledError:
            if current is None or current.cancelling():
                raise
            self._fail(subscription, event)  # the callback's own doing
        except Exception:  # noqa: BLE001 - the host's code
            self._fail(subscription, event)
        else:
            self._delivered += 1

    def _fail(self, subscription: _Subscription, event: EphemeralEvent) -> None:
        self._failed += 1
        _log.exception("a subscriber of %s failed on %s", subscription.channel, event.type.value)
