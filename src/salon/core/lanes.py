"""Ordered executors that exist only while they have work."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from salon.core.errors import RoomKitError

_log = logging.getLogger("salon.core.lanes")


@dataclass(slots=True, eq=False)
class _Job:
    """The job that the running code belongs to. A task that it leaves behind keeps the mark, so
    the mark says when it has gone out."""

    lanes: Lanes
    key: Hashable
    worker: asyncio.Task[Any] | None
    active: bool = True


_inside: ContextVar[_Job | None] = ContextVar("salon_inside_lane", default=None)


class LaneClosedError(RoomKitError):
    """The work was given up because the framework closes, or what it was for was deleted."""

    code = "lane_closed"


_Queue = deque[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]]


class Lanes:
    """One first-in-first-out executor per key. A failing job fails its own future only. Keys of
    several parts are tuples, the room first: ids may hold any character.

    Jobs run in a context of their own (R202), so that they never inherit a room lock.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._queues: dict[Hashable, _Queue] = {}
        self._workers: dict[Hashable, asyncio.Task[None]] = {}
        self._dropped: set[asyncio.Task[None]] = set()
        """Workers of dropped lanes that have not ended yet."""
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether no more work is taken."""
        return self._closed

    def waiting(self, key: Hashable) -> int:
        """Jobs not finished yet."""
        return len(self._queues.get(key, ()))

    def put(self, key: Hashable, job: Callable[[], Awaitable[Any]]) -> asyncio.Future[Any]:
        """Append a job; the future gets its result. Abandoning the future does not stop the job."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self._closed:
            future.set_exception(LaneClosedError(f"{self.name} are closed"))
            future.exception()  # nobody has to look
            return future
        queue = self._queues.setdefault(key, deque())
        queue.append((job, future))
        if key not in self._workers:
            self._workers[key] = loop.create_task(
                self._work(key, queue), name=f"{self.name}:{key}", context=contextvars.Context()
            )
        return future

    def drop(self, key: Hashable) -> None:
        """End a lane whose purpose is gone: what waits is given up, what runs is cancelled, but
        for the caller's own job. What is put from now on runs in a lane begun anew."""
        queue = self._queues.pop(key, None)
        if queue is None:
            return
        worker = self._workers.pop(key)
        self._dropped.add(worker)
        worker.add_done_callback(self._dropped.discard)
        running = queue.popleft()
        for _, future in queue:
            _give_up(future, f"the work in {self.name} was dropped")
        queue.clear()
        queue.append(running)  # its worker takes it out
        job = self._current()
        if job is None or job.worker is not worker:
            _give_up(running[1], f"the work in {self.name} was dropped")
            worker.cancel()

    def drop_room(self, room_id: str) -> None:
        """`drop` the lanes ``(room_id, ...)``."""
        for key in [key for key in self._queues if _of(key, room_id)]:
            self.drop(key)

    async def drained(self, key: Hashable) -> bool:
        """Wait for what is in a lane now; False if it was empty."""
        queue = self._queues.get(key)
        if not queue:
            return False
        await asyncio.wait([queue[-1][1]])
        return True

    async def drained_room(self, room_id: str) -> bool:
        """Wait for what is in the lanes ``(room_id, ...)`` now; False if they were empty."""
        last = [queue[-1][1] for key, queue in self._queues.items() if queue and _of(key, room_id)]
        if last:
            await asyncio.wait(last)
        return bool(last)

    def inside(self, key: Hashable) -> bool:
        """Whether the caller runs in this lane; then it must not wait for it (R128)."""
        job = self._current()
        return job is not None and job.key == key

    def entered(self) -> bool:
        """Whether the caller runs in any of these lanes."""
        return self._current() is not None

    def _current(self) -> _Job | None:
        """The job of these lanes that the caller runs in."""
        job = _inside.get()
        return job if job is not None and job.active and job.lanes is self else None

    async def _work(self, key: Hashable, queue: _Queue) -> None:
        current = asyncio.current_task()
        try:
            while queue:
                job, future = queue[0]
                mark = _Job(self, key, current)
                _inside.set(mark)
                try:
                    result = await job()
                except asyncio.CancelledError:
                    if current is None or current.cancelling():
                        raise
                    _give_up(future, "the work was cancelled")  # its own doing; the lane goes on
                except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the job
                    _log.exception("work in %s failed in %s", key, self.name)
                    if not future.done():
                        future.set_exception(error)
                        future.exception()  # a caller that is gone leaves no warning behind
                else:
                    if not future.done():
                        future.set_result(result)
                finally:
                    mark.active = False
                queue.popleft()
        finally:
            _inside.set(None)  # the mark knows the task, and the task its context
            if self._queues.get(key) is queue:  # else the lane was dropped
                del self._workers[key], self._queues[key]
            for _, future in queue:
                _give_up(future, f"{self.name} are closed")

    async def close(self, timeout: float) -> None:
        """Take no more work, let the lanes run dry for `timeout` seconds, then abort (R140)."""
        self._closed = True
        current = asyncio.current_task()
        every = (*self._workers.values(), *self._dropped)
        workers = [task for task in every if task is not current]
        if workers and timeout > 0:
            await asyncio.wait(workers, timeout=timeout)
        for task in workers:
            task.cancel()
        if workers:
            await asyncio.gather(*workers, return_exceptions=True)


def _give_up(future: asyncio.Future[Any], words: str) -> None:
    if not future.done():
        future.set_exception(LaneClosedError(words))
        future.exception()  # nobody has to look


def _of(key: Hashable, room_id: str) -> bool:
    return isinstance(key, tuple) and key[:1] == (room_id,)
