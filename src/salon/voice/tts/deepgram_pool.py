"""Connections to Deepgram's synthesis that outlive a piece, so that the next one starts at once."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from salon.base import TaskScope
from salon.base.clock import Clock
from salon.voice.deepgram_wire import DeepgramService, DeepgramSocket, Query
from salon.voice.errors import SpeechError

IDLE_S: Final = 30.0
MAX_IDLE: Final = 8
MAX_FLUSHES: Final = 18
"""The service takes 20 in a minute on one connection."""
FLUSH_WINDOW_S: Final = 60.0
CLEAR_S: Final = 2.0

_log = logging.getLogger("salon.voice.tts")


class SpeakLine:
    """One connection with one voice, used for one piece at a time."""

    def __init__(self, socket: DeepgramSocket, query: Query, clock: Clock) -> None:
        self.socket = socket
        self.query = tuple(query)
        self.is_new = True
        self.was_cleared = False
        self._clock = clock
        self._flushes: deque[float] = deque(maxlen=MAX_FLUSHES)

    @property
    def is_usable(self) -> bool:
        """Open, and within the service's bound on flushes."""
        if not self.socket.is_open:
            return False
        full = len(self._flushes) == MAX_FLUSHES
        return not full or self._clock.monotonic() - self._flushes[0] > FLUSH_WINDOW_S

    async def say(self, text: str) -> None:
        """Have `text` spoken; its sound ends with ``Flushed``."""
        self._flushes.append(self._clock.monotonic())
        await self.socket.command("Speak", text=text)
        await self.socket.command("Flush")

    async def clear(self) -> None:
        """Give up what is being spoken, and all of its sound that is under way."""
        self.was_cleared = True
        async with asyncio.timeout(CLEAR_S):
            await self.socket.command("Clear")
            while True:
                message = await self.socket.receive()
                if message is None:
                    return
                if isinstance(message, dict) and message.get("type") == "Cleared":
                    return


class SpeakPool:
    """Lines that are in use, and up to `MAX_IDLE` that wait for use for `IDLE_S` seconds."""

    def __init__(self, service: DeepgramService, clock: Clock, idle: float = IDLE_S) -> None:
        self._service = service
        self._clock = clock
        self._idle_s = idle
        self._used: set[SpeakLine] = set()
        self._idle: dict[SpeakLine, asyncio.Task[None]] = {}
        self._scope = TaskScope("salon.voice.tts.deepgram")
        self.is_closed = False

    @property
    def used(self) -> int:
        """Lines that speak or are being cleared."""
        return len(self._used)

    async def borrow(self, query: Query, *, new: bool = False) -> SpeakLine:
        """A line with these parameters; `new` takes none that was used before."""
        wanted = tuple(query)
        for line in [] if new else [one for one in self._idle if one.query == wanted]:
            self._idle.pop(line).cancel()
            if line.is_usable:
                line.is_new = False
                self._used.add(line)
                return line
            line.socket.abort()
        line = SpeakLine(
            await self._service.connect("/v1/speak", query, ping=None), query, self._clock
        )
        if self.is_closed:
            line.socket.abort()
            raise self._service.error("the engine is closed")
        self._used.add(line)
        return line

    def give_back(self, line: SpeakLine) -> None:
        """All of the piece was read."""
        self._used.discard(line)
        if self.is_closed or not line.is_usable or len(self._idle) >= MAX_IDLE:
            line.socket.abort()
            return
        self._idle[line] = self._scope.spawn(self._expire(line), name="idle")

    def interrupt(self, line: SpeakLine) -> None:
        """The rest of the piece is not wanted; the line is used again once it is quiet."""
        if self.is_closed or not line.is_usable:
            self.drop(line)
        else:
            self._scope.spawn(self._clear(line), name="clear")

    def drop(self, line: SpeakLine) -> None:
        """The line has failed."""
        self._used.discard(line)
        line.socket.abort()

    async def close(self) -> None:
        """End all lines; who reads from one gets `SpeechError`."""
        self.is_closed = True
        await self._scope.close()
        for line in (*self._used, *self._idle):
            line.socket.abort()
        self._used.clear()
        self._idle.clear()

    async def _expire(self, line: SpeakLine) -> None:
        await self._clock.sleep(self._idle_s)
        self._idle.pop(line, None)
        try:
            await line.socket.command("Close")
        except SpeechError as error:
            _log.debug("an idle line had ended: %s", error)
        await line.socket.close()

    async def _clear(self, line: SpeakLine) -> None:
        try:
            await line.clear()
        except (SpeechError, TimeoutError) as error:
            _log.debug("a line could not be cleared: %s", error)
            self.drop(line)
        else:
            self.give_back(line)
