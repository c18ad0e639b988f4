"""Blocking functions of users, kept off the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

from salon.base import UnavailableError

_Future = asyncio.Future[Any]


class ThreadRunner:
    """Runs blocking functions in threads of their own, at most `limit` at once.

    The threads are daemons: one that never returns holds up neither another caller (as it would
    in a shared pool) nor the end of the process. `running` counts those that have not returned.
    """

    def __init__(self, limit: int = 16) -> None:
        self.limit = limit
        self.running = 0
        self._lock = threading.Lock()

    async def run(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """The function's result. `UnavailableError` if `limit` of them still run.

        Cancelling stops the wait, not the thread: nothing can. Its result is then dropped.
        """
        with self._lock:
            if self.running >= self.limit:
                raise UnavailableError(f"{self.limit} blocking functions are still running")
            self.running += 1
        loop = asyncio.get_running_loop()
        future: _Future = loop.create_future()
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=self._work,
            args=(loop, future, lambda: context.run(function, *args, **named)),
            name=f"salon-{getattr(function, '__name__', 'function')}",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError as error:
            with self._lock:
                self.running -= 1
            raise UnavailableError(f"no thread can be started: {error}") from error
        return await future

    def _work(
        self, loop: asyncio.AbstractEventLoop, future: _Future, call: Callable[[], Any]
    ) -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            failure = error
        with self._lock:
            self.running -= 1
        try:
            loop.call_soon_threadsafe(_settle, future, result, failure)
        except RuntimeError:
            return  # the loop has gone, and with it whoever waited


def is_cancelled() -> bool:
    """Whether somebody cancels the running task. If not, a `CancelledError` that comes out of a
    user's function is only that function's failure."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _settle(future: _Future, result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    elif isinstance(failure, Exception) and not isinstance(failure, StopIteration):
        future.set_exception(failure)
    else:
        # a future can't carry StopIteration, and SystemExit must not end the server
        wrapped = RuntimeError(f"raised {type(failure).__name__}: {failure}")
        wrapped.__cause__ = failure
        future.set_exception(wrapped)
