"""Tasks with an owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Final, Generic, TypeVar

_log = logging.getLogger("salon.base.tasks")

RAISED: Final = (Exception, asyncio.CancelledError)
"""What other people's code may raise where it is called. A plain call is cancelled by nobody: a
cancellation that comes out of one is a failure like any other."""

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def at_once(function: F) -> F:
    """Says of an async function that it never waits: nothing comes between its first step and its
    last, no cancellation either. What overrides it makes no such promise."""
    function.__dict__["salon_at_once"] = True
    return function


def is_at_once(function: Callable[..., Any]) -> bool:
    """Whether a function, or the function of a method, is marked so."""
    return getattr(function, "salon_at_once", None) is True


class Begun(Generic[T]):
    """Work as far as it goes without waiting, in the caller's own task. If that is its end, `over`
    is true and `result` is there; else await it for the rest. So a limit on its time, or whatever
    else only a wait needs, costs nothing where there is none. What `work` raises by then rises
    here."""

    __slots__ = ("_first", "_steps", "over", "result")

    result: T

    def __init__(self, work: Awaitable[T]) -> None:
        self._steps = work.__await__()
        self.over = False
        try:
            self._first = next(self._steps)
        except StopIteration as end:
            self.over = True
            self.result = end.value

    def __await__(self) -> Generator[Any, Any, T]:
        if self.over:
            return self.result
        steps, waits_for = self._steps, self._first
        while True:
            try:
                yield waits_for
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:  # noqa: BLE001 - for the work to take
                try:
                    waits_for = steps.throw(error)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
            else:
                return (yield from steps)


async def within(seconds: float, work: Awaitable[T]) -> T:
    """The result of `work`; `TimeoutError` if it is not there after so long. Work that does not
    wait needs no timer."""
    begun = Begun(work)
    if begun.over:
        return begun.result
    async with asyncio.timeout(seconds):
        return await begun


class TaskScope:
    """Owns the tasks spawned into it: none outlives `close`.

    Unlike `asyncio.TaskGroup` one failing task ends no other: a task's exception is logged and
    counted, because the owner (a call, a room) goes on.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run `work`; after `close` it is refused with `RuntimeError`."""
        if self._closed:
            work.close()
            raise RuntimeError(f"{self.name} is closed")
        task = asyncio.get_running_loop().create_task(work, name=f"{self.name}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures += 1
            _log.error("task %s failed", task.get_name(), exc_info=error)

    async def drain(self, timeout: float) -> bool:
        """Wait for what runs; False if something still ran after `timeout` seconds."""
        pending = self._tasks - {asyncio.current_task()}
        if not pending:
            return True
        _, late = await asyncio.wait(pending, timeout=timeout)
        return not late

    def cancel(self) -> None:
        """Cancel what runs, without waiting for its end."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Cancel what runs and wait for its end; idempotent. Safe to call from one of the tasks."""
        self._closed = True
        current = asyncio.current_task()
        pending = [task for task in self._tasks if task is not current]
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.gather(*pending, return_exceptions=True)


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end even if the caller is cancelled meanwhile; the cancellation rises
    after it. What was begun under a lock ends under it; a change and its entry are both there or
    both not. A failure that the cancellation hides is logged."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled() and (failure := task.exception()) is not None:
        _log.error("work that had to be ended failed", exc_info=failure)
    raise cancelled
