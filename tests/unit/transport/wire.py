"""A client's frames, a transport and a loop made of memory, and a handler that notes everything."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any

from salon.transport.sockets import MediaSocket, SocketHandler
from salon.transport.websocket import FrameSocket, SocketLimits

MASK = b"\x11\x22\x33\x44"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def xor(data: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    mask: bytes | None = MASK,
    rsv: int = 0,
    width: int | None = None,
) -> bytes:
    """One frame as a client sends it; `width` forces the length code 126 or 127."""
    size = len(payload)
    code = width or (size if size < 126 else 126 if size < 65536 else 127)
    head = bytes(((0x80 if fin else 0) | rsv | opcode, (0x80 if mask else 0) | code))
    if code == 126:
        head += size.to_bytes(2, "big")
    elif code == 127:
        head += size.to_bytes(8, "big")
    return head + (mask + xor(payload, mask) if mask else payload)


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + reason


def server_frames(data: bytes) -> list[tuple[int, bytes]]:
    """What a server wrote, as (opcode, payload); every frame must be whole, final, unmasked."""
    frames = []
    while data:
        assert data[0] & 0xF0 == 0x80, "final, no reserved bits"
        assert not data[1] & 0x80, "servers do not mask"
        length, start = data[1], 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(data[2:10], "big"), 10
        assert len(data) >= start + length
        frames.append((data[0] & 0x0F, data[start : start + length]))
        data = data[start + length :]
    return frames


class VirtualLoop:
    """The part of an event loop that timers need, on a clock that tests move."""

    def __init__(self) -> None:
        self.now = 100.0
        self._queue: list[tuple[float, int, Any]] = []
        self._ids = itertools.count()

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> Any:
        handle = asyncio.TimerHandle(when, callback, args, self)  # type: ignore[arg-type]
        heapq.heappush(self._queue, (when, next(self._ids), handle))
        return handle

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Any:
        return self.call_at(self.now + delay, callback, *args)

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Any:
        return self.call_at(self.now, callback, *args)

    def get_debug(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: Any) -> None:
        pass

    @property
    def pending(self) -> int:
        return sum(1 for _, _, handle in self._queue if not handle.cancelled())

    def advance(self, seconds: float, *, late: float = 0.0) -> None:
        """Run what is due until then, each `late` seconds after its time."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] + late <= end:
            when, _, handle = heapq.heappop(self._queue)
            self.now = max(self.now, when + late)
            if not handle.cancelled():
                handle._run()
        self.now = max(self.now, end)

    def fire_early(self, seconds: float) -> None:
        """Run the next timer once, `seconds` before its time."""
        when, _, handle = heapq.heappop(self._queue)
        self.now = max(self.now, when - seconds)
        handle._run()


class MemoryTransport(asyncio.Transport):
    """Keeps what was written; `stall` makes it full, as if the peer did not read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.protocol: asyncio.BaseProtocol | None = None
        self.closing = False
        self.aborted = False
        self.stalled = False
        self.high_water: int | None = None

    def write(self, data: Any) -> None:
        assert not self.closing, "written after close"
        self.written += data
        if self.stalled and self.protocol is not None:
            self.protocol.pause_writing()  # type: ignore[attr-defined]

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def is_closing(self) -> bool:
        return self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high_water = high

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 5000, 0, 0) if name == "peername" else default

    def take(self) -> list[tuple[int, bytes]]:
        """The frames written since the last call."""
        data, self.written = bytes(self.written), bytearray()
        return server_frames(data)


class Notes(SocketHandler):
    """Notes every call in `log`."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.socket: MediaSocket | None = None

    def connected(self, socket: MediaSocket) -> None:
        self.socket = socket
        self.log.append(("connected",))

    def text(self, data: str) -> None:
        self.log.append(("text", data))

    def binary(self, data: bytes) -> None:
        self.log.append(("binary", data))

    def closed(self, code: int, reason: str) -> None:
        self.log.append(("closed", code, reason))

    @property
    def messages(self) -> list[tuple[Any, ...]]:
        return [entry for entry in self.log if entry[0] in {"text", "binary"}]


class Pair:
    """A `FrameSocket` with its transport, handler and loop."""

    def __init__(
        self,
        limits: SocketLimits | None = None,
        handler: SocketHandler | None = None,
        *,
        shutdown_grace: float = 0.0,
    ) -> None:
        self.loop = VirtualLoop()
        self.notes = Notes()
        self.registry: set[Any] = set()
        self.socket = FrameSocket(
            handler or self.notes,
            limits,
            registry=self.registry,
            shutdown_grace=shutdown_grace,
            loop=self.loop,  # type: ignore[arg-type]
        )
        self.transport = MemoryTransport()
        self.transport.protocol = self.socket
        self.socket.connection_made(self.transport)

    def feed(self, *frames: bytes) -> None:
        self.socket.data_received(b"".join(frames))

    def lose(self, error: Exception | None = None) -> None:
        self.socket.connection_lost(error)

    @property
    def ended(self) -> tuple[Any, ...] | None:
        return next((entry for entry in self.notes.log if entry[0] == "closed"), None)
