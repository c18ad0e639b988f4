"""Commands of one session run one after another, in arrival order (G34, G35)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from salon.gateway.commands import Command, HangupCommand, RejectCommand

_log = logging.getLogger("salon.gateway")

QUEUE_BOUND = 1024
"""As many as events may wait for a client that does not read."""
QUEUE_BYTES = 8 << 20
"""What the frames of the waiting commands may take together."""


async def _nothing(command: Command) -> None:
    """What is run after the end."""


def ends_call(command: Command) -> bool:
    """Whether a command ends the call; a `hangup` of a transfer does not."""
    if isinstance(command, HangupCommand):
        return not command.refer
    return isinstance(command, RejectCommand)


class CommandExecutor:
    """A bounded queue and the one loop that empties it.

    `run` executes one command and reports its own failures to the client.
    """

    def __init__(
        self, run: Callable[[Command], Coroutine[Any, Any, None]], *, bound: int = QUEUE_BOUND
    ) -> None:
        self._run = run
        self._bound = bound
        self._queue: deque[tuple[Command, int]] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._current: asyncio.Task[None] | None = None
        self._running: Command | None = None
        self.refused = 0
        """Commands that found the queue full."""

    @property
    def running(self) -> Command | None:
        """The command that is being waited for."""
        return self._running

    def takes(self, size: int = 0) -> bool:
        """Whether there is room for a command of `size` bytes; if not, it counts as refused."""
        if len(self._queue) < self._bound and self._size + size <= QUEUE_BYTES:
            return True
        self.refused += 1
        return False

    def submit(self, command: Command, size: int = 0) -> bool:
        """Queue a command that came in `size` bytes; False if the queue is full."""
        if not self.takes(size):
            return False
        self._queue.append((command, size))
        self._size += size
        self._wake.set()
        return True

    def abort(self) -> None:
        """Cancel the command being waited for and forget those behind it, but for those that end
        the call: the first of them decides how (G54)."""
        endings = [one for one in self._queue if ends_call(one[0])]
        self._queue.clear()
        self._queue.extend(endings)
        self._size = sum(size for _, size in endings)
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
                    command, size = self._queue.popleft()
                    self._size -= size
                    await self._one(command)
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
