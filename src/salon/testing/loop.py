"""An event loop whose time passes only when everybody waits.

Nothing is ever slept: when no callback is ready the loop's time jumps to the next timer. An hour of
20 ms ticks takes as long as its callbacks, and every run gives the same order.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

PATIENCE_S: Final = 20.0
"""How long, in real seconds, the loop waits for a thread before it says that nothing will come."""


class StalledError(RuntimeError):
    """Every task waits for something that nobody will do: a deadlock."""


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for I/O without waiting; where it would have waited, time jumps instead."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: VirtualTimeLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        found = super().select(0)
        if found or loop is None or (timeout is not None and timeout <= 0):
            return found
        if timeout is None or loop.threads:
            found = super().select(loop.patience)
            if not found:
                raise StalledError(
                    "nothing is scheduled and no thread has reported: every task waits for "
                    "something that nobody will do"
                )
            return found
        loop.jump(timeout)
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector loop in virtual time, starting at 0.

    Work in threads (`asyncio.to_thread`, `run_in_executor`) takes no virtual time: the clock stands
    until it is done. I/O with other processes is not waited for while timers are pending, so
    sockets and subprocesses do not belong in this loop. A deadlock raises `StalledError`.
    """

    def __init__(self, *, patience: float = PATIENCE_S) -> None:
        selector = _JumpingSelector()
        self.patience = patience
        self.threads = 0
        """Pieces of work under way in threads."""
        self._virtual_now = 0.0
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self._virtual_now

    def jump(self, seconds: float) -> None:
        """Let time pass; called by the loop's selector."""
        self._virtual_now += seconds

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, *args: Any, **options: Any) -> None:
        self.threads += 1
        try:
            await super().shutdown_default_executor(*args, **options)
        finally:
            self.threads -= 1

    def _thread_done(self, _future: asyncio.Future[Any]) -> None:
        self.threads -= 1


class VirtualTimePolicy(asyncio.DefaultEventLoopPolicy):
    """Makes `VirtualTimeLoop`s; for the ``event_loop_policy`` fixture of pytest-asyncio."""

    def new_event_loop(self) -> VirtualTimeLoop:
        return VirtualTimeLoop()


def run_virtual(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end in a fresh virtual-time loop; like `asyncio.run` otherwise."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)


def virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make an ``async def`` test a plain one that runs in virtual time; needs no plugin.

    Asynchronous fixtures run in the plugin's loop, not in this one: for those, override
    ``event_loop_policy`` (see `salon.testing.fixtures`).
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_virtual(test(*args, **kwargs))

    return run
