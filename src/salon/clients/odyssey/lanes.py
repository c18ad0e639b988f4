"""Coroutines of callbacks, one after another, and an end that waits for none in a circle."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any

from salon.base import RAISED, TaskScope

Work = Callable[[], Awaitable[Any]]
Failed = Callable[[str, BaseException], None]

_TURN: ContextVar[tuple[Lane, int] | None] = ContextVar("odyssey_turn", default=None)
"""The lane and the turn of it that a coroutine, or a task that it started, belongs to."""


class Lane:
    """Awaits one thing after another, in a task that is there only while there is something.

    More than `limit` waiting are too many: with `newest` the oldest goes, else the one that came.
    `idle` is set while nothing runs, `settled` also while what runs is in `end_lanes`.
    """

    def __init__(
        self, scope: TaskScope, name: str, limit: int, failed: Failed, *, newest: bool
    ) -> None:
        self._scope = scope
        self._name = name
        self._limit = limit
        self._failed = failed
        self._newest = newest
        self._waiting: deque[tuple[str, Work]] = deque()
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._turn = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.settled = asyncio.Event()
        self.settled.set()
        self.dropped = 0

    @property
    def busy(self) -> bool:
        """Whether something runs or waits."""
        return not self.idle.is_set()

    @staticmethod
    def own() -> Lane | None:
        """The lane whose turn it is that calls this."""
        lane, turn = _TURN.get() or (None, 0)
        return lane if lane is not None and lane.busy and lane._turn == turn else None

    def put(self, name: str, work: Work) -> bool:
        """False if it will not be done. `name` is that of the callback."""
        if self._closed and not self.busy:
            return False
        if self.busy and len(self._waiting) >= self._limit:
            self.dropped += 1
            if not self._newest:
                return False
            self._waiting.popleft()
        self._waiting.append((name, work))
        if not self.busy:
            self.idle.clear()
            self.settled.clear()
            self._task = self._scope.spawn(self._run(), name=self._name)
        return True

    def close(self) -> None:
        """No new task from now on."""
        self._closed = True

    def cancel(self) -> None:
        """End what runs and what waits."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._one(*self._waiting.popleft())
        finally:
            self.idle.set()
            self.settled.set()
            while self._waiting:
                _discard(self._waiting.popleft()[1])

    async def _one(self, name: str, work: Work) -> None:
        self._turn += 1
        _TURN.set((self, self._turn))
        self.settled.clear()
        try:
            await work()
        except RAISED as error:  # the program's code: the lane goes on
            unless_cancelled(error)
            self._failed(name, error)
        finally:
            self._turn += 1


async def end_lanes(lanes: Sequence[Lane], grace_s: float) -> None:
    """Begin nothing new, give what runs or waits `grace_s` seconds, then cancel it.

    From within a lane, or from a task that what runs in it started, nothing of that lane is waited
    for, nor of another while what runs there is in here too: they would wait for each other.
    """
    for lane in lanes:
        lane.close()
    own = Lane.own()
    if own is not None:
        own.settled.set()
    over = {lane: lane.idle if own is None else lane.settled for lane in lanes}
    try:
        async with asyncio.timeout(grace_s):
            for event in over.values():
                await event.wait()
    except TimeoutError:
        late = [lane for lane, event in over.items() if not event.is_set()]
        for lane in late:
            lane.cancel()
        for lane in late:
            await lane.idle.wait()


def unless_cancelled(error: BaseException) -> None:
    """Raise the cancellation of this task again; any other is the program's."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
        raise error


async def itself(work: Awaitable[Any]) -> None:
    """A coroutine that exists, as `Work`."""
    await work


def close_unrun(work: Awaitable[Any]) -> None:
    """A coroutine that is not going to be run."""
    if inspect.iscoroutine(work):
        work.close()


def _discard(work: Work) -> None:
    if isinstance(work, functools.partial) and work.func is itself:
        close_unrun(work.args[0])
