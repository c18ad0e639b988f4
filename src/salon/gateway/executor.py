"""Commands of one session run one after another, in arrival order (G34, G35)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from salon.gateway.commands import Command, HangupCommand, RejectCommand

_log = logging.getLogger("salon.gateway")

QUEUE_BOUND = 256


async def _nothing(command: Command) -> None:
    """What is run after the end."""


class CommandExecutor:
    """A bounded queue and the one loop that empties it.

    `run` executes one command and reports its own failures to the client.
    """

    def __init__(
        self, run: Callable[[Command], Coroutine[Any, Any, None]], *, bound: int = QUEUE_BOUND
    ) -> None:
        self._run = run
        self._bound = bound
        self._queue: deque[Command] = deque()
        self._wake = asyncio.Event()
        self._current: asyncio.Task[None] | None = None
        self._running: Command | None = None
        self.refused = 0
        """Commands that found the queue full."""

    @property
    def running(self) -> Command | None:
        """The command that is being waited for."""
        return self._running

    def submit(self, command: Command) -> bool:
        """Queue a command; False if the queue is full."""
        if len(self._queue) >= self._bound:
            self.refused += 1
            return False
        self._queue.append(command)
        self._wake.set()
        return True

    def abort(self) -> None:
        """Cancel the command being waited for and forget those behind it, but for those that end
        the call: the first of them decides how (G54)."""
        endings = [c for c in self._queue if isinstance(c, HangupCommand | RejectCommand)]
        self._queue.clear()
        self._queue.extend(endings)
        self.skip()

    def skip(self) -> None:
        """Cancel the command being waited for; those behind it run."""
        if self._current is not None:
            self._current.cancel()

    async def work(self) -> None:
        """Run commands until cancelled; the running command is cancelled with it."""
        try:
            while True:
                while self._queue:
                    await self._one(self._queue.popleft())
                self._wake.clear()
                await self._wake.wait()
        finally:
            self._run = _nothing  # frees the session

    async def _one(self, command: Command) -> None:
        self._running = command
        self._current = current = asyncio.ensure_future(self._run(command))
        try:
            await asyncio.wait({current})
        finally:
            self._current = self._running = None
            if not current.done():
                current.cancel()
                await asyncio.gather(current, return_exceptions=True)
        if not current.cancelled() and (error := current.exception()) is not None:
            _log.error("command %s failed", command.command, exc_info=error)
