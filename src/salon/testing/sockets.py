"""A media socket that ends in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from salon.transport.sockets import MediaSocket, SocketHandler

MAX_EVENTS: Final = 1024
MAX_AUDIO: Final = 50
"""What waits for a client that does not read, as on a network socket (G119)."""


@dataclass(frozen=True, slots=True)
class Received:
    """A frame as the client got it; `at` is the loop's time in seconds."""

    at: float
    data: str | bytes


class MemorySocket(MediaSocket):
    """The server's end of a call in memory.

    `deliver` gets each frame at the instant at which it is sent, while the client `reading`;
    otherwise frames wait as on the network: bounded, the oldest sound dropped, too many events
    ending the connection with 1008.
    """

    def __init__(self, handler: SocketHandler, deliver: Callable[[Received], None]) -> None:
        self.dropped_audio = 0
        self.pings: list[bytes] = []
        self.code: int | None = None
        """The code of the Close frame the server has sent."""
        self.reason = ""
        self.reading = True
        self.gone = asyncio.Event()
        """The connection is over and the handler knows."""
        self._handler = handler
        self._deliver = deliver
        self._waiting: list[Received] = []
        self._ended = False
        self._loop = asyncio.get_running_loop()

    def send_text(self, data: str) -> None:
        if not self._ended:
            self._send(data)
            if self._count(str) > MAX_EVENTS:
                self.close(1008, "the client does not read its events")

    def send_binary(self, data: bytes) -> None:
        if self._ended:
            return
        if self._count(bytes) >= MAX_AUDIO:
            oldest = next(i for i, frame in enumerate(self._waiting) if type(frame.data) is bytes)
            del self._waiting[oldest]
            self.dropped_audio += 1
        self._send(data)

    def _count(self, kind: type) -> int:
        return sum(isinstance(frame.data, kind) for frame in self._waiting)

    def _send(self, data: str | bytes) -> None:
        frame = Received(self._loop.time(), data)
        if self.reading:
            self._deliver(frame)
        else:
            self._waiting.append(frame)

    def ping(self, payload: bytes) -> None:
        if not self._ended:
            self.pings.append(payload)

    def close(self, code: int = 1000, reason: str = "") -> None:
        if not self._ended:
            self.code, self.reason = code, reason
            self.end(code, reason)

    def end(self, code: int, reason: str) -> None:
        """The connection is over, whoever ended it; the handler is told once, a moment later."""
        if not self._ended:
            self._ended = True
            self._loop.call_soon(self._tell, code, reason)

    def _tell(self, code: int, reason: str) -> None:
        self._handler.closed(code, reason)
        self.gone.set()

    def read_again(self) -> None:
        """The client reads what has waited, and from now on at once."""
        self.reading = True
        waiting, self._waiting = self._waiting, []
        for frame in waiting:
            self._deliver(Received(self._loop.time(), frame.data))
