"""Lines from standard input, without holding up the event loop or the end of the program."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, TextIO

MAX_LINE: Final = 64 * 1024
"""Bytes; a longer line comes in pieces."""


class Lines(AsyncIterator[str]):
    """The lines of standard input, without their ends; for one reader.

    A thread of its own waits for input, and reads on only when asked for the next line: no
    executor does, because the program could not end before the next key press.
    """

    def __init__(self) -> None:
        self._wanted = threading.Semaphore(0)
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[str | None] | None = None
        self._ended = False
        thread = threading.Thread(target=self._read, name="standard input", daemon=True)
        thread.start()

    async def __anext__(self) -> str:
        if self._ended:
            raise StopAsyncIteration
        if self._waiting is None:
            self._waiting = self._loop.create_future()
            self._wanted.release()
        line = await asyncio.shield(self._waiting)
        self._waiting = None
        if line is None:
            self._ended = True
            raise StopAsyncIteration
        return line

    def _read(self) -> None:
        for line in source():
            self._wanted.acquire()
            if not self._hand_over(line):
                return
        self._wanted.acquire()
        self._hand_over(None)

    def _hand_over(self, line: str | None) -> bool:
        """False if nobody is left to take it."""
        try:
            self._loop.call_soon_threadsafe(self._take, line)
        except RuntimeError:
            return False
        return True

    def _take(self, line: str | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(line)


def source() -> Iterator[str]:
    """The lines of standard input as they come."""
    try:
        number = sys.stdin.fileno()
    except (OSError, ValueError, AttributeError, io.UnsupportedOperation):
        return iter(_stripped(sys.stdin))
    # not sys.stdin: its lock, held by a thread that waits, would break the end of the program
    return lines_of(lambda: os.read(number, MAX_LINE))


def _stripped(stream: TextIO | None) -> Iterator[str]:
    for line in stream or ():
        yield line.rstrip("\r\n")


def lines_of(read: Callable[[], bytes]) -> Iterator[str]:
    """Lines from the pieces that `read` gives, until it gives none."""
    rest = b""
    while piece := read():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace").rstrip("\r")
        if len(rest) >= MAX_LINE:
            yield rest.decode("utf-8", "replace")
            rest = b""
    if rest:
        yield rest.decode("utf-8", "replace").rstrip("\r")


def is_terminal() -> bool:
    """Whether someone types."""
    return sys.stdin is not None and sys.stdin.isatty()
