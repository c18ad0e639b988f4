"""One call of many: a WebSocket client that costs next to nothing and watches the clock.

Frames are made once for all calls and written as they are; what comes is read by its headers, sound
is neither decoded nor kept.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

FRAME_S: Final = 0.02
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MAX_HEAD: Final = 64 * 1024
MAX_FRAME: Final = 4 * 1024 * 1024
_MASK: Final = bytes(4)
"""A mask of zeros is a mask, and the payload stays as it is."""
_STEP_MS: Final = 0.25
_STEPS: Final = 4000
_WINDOW_S: Final = 5.0
SERVER_TRACK: Final = "server-side-track"


def frame(opcode: int, payload: bytes) -> bytes:
    """One masked client frame."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + _MASK + payload


class Lateness:
    """How late things came, in steps of 0.25 ms up to a second; the same memory for ever."""

    __slots__ = ("_counts", "max_ms", "total")

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * (_STEPS + 1)))
        self.total = 0
        self.max_ms = 0.0

    def add(self, late_s: float) -> None:
        """Count one that came `late_s` seconds late; early is in time."""
        late_ms = late_s * 1000
        self._counts[0 if late_ms <= 0 else min(int(late_ms / _STEP_MS), _STEPS)] += 1
        self.total += 1
        if late_ms > self.max_ms:
            self.max_ms = late_ms

    def quantile(self, q: float) -> float:
        """In ms, rounded up to the step; 0.0 while empty."""
        rank, seen = q * self.total, 0
        for step, count in enumerate(self._counts):
            seen += count
            if count and seen >= rank:
                return min((step + 1) * _STEP_MS, self.max_ms)
        return self.max_ms


class Grid:
    """Compares arrivals with the 20 ms grid they should keep.

    The grid is set by what came earliest within the last seconds, so that two clocks may drift
    apart; a frame is as late as its distance to it. A pause between two sounds is no lateness: say
    when a sound begins by `restart`. The first frame of a sound may leave before its tick and is
    not looked at.
    """

    __slots__ = ("_earlier", "_earliest", "_frames", "_since", "late")

    def __init__(self, late: Lateness) -> None:
        self.late = late
        self._frames = -1
        self._since = 0.0
        self._earliest = self._earlier = float("inf")

    def restart(self) -> None:
        """Another sound begins; its first frame is not looked at."""
        self._frames = -1
        self._earliest = self._earlier = float("inf")

    def arrived(self, at: float) -> None:
        """One frame came, at monotonic seconds `at`."""
        number = self._frames = self._frames + 1
        if number == 0:
            self._since = at
            return
        transit = at - number * FRAME_S
        if at - self._since > _WINDOW_S:
            self._since = at
            self._earlier, self._earliest = self._earliest, transit
        elif transit < self._earliest:
            self._earliest = transit
        base = self._earliest if self._earliest < self._earlier else self._earlier
        self.late.add(transit - base)


class LoadCall(asyncio.Protocol):
    """One call: `open` is True once it is upgraded, False if refused (`status` says why) or lost.

    `on_event` gets every event, in order; `write` sends frames made by `frame`.
    """

    def __init__(
        self,
        url: str,
        late: Lateness,
        *,
        api_key: str | None = None,
        on_event: Callable[[LoadCall, Mapping[str, Any]], None] = lambda _call, _event: None,
    ) -> None:
        self.grid = Grid(late)
        self.open: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        """Of the HTTP answer to the upgrade."""
        self.answered = False
        self.ended = False
        """The server said `hangup`."""
        self.packets = 0
        self.sent = 0
        self.events: Counter[str] = Counter()
        self.errors: list[str] = []
        self.close_code: int | None = None
        self._url = url
        self._api_key = api_key
        self._on_event = on_event
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()

    @property
    def lost(self) -> bool:
        """The connection is gone."""
        return self.gone.done()

    # -- the connection ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        parts = urlsplit(self._url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {parts.netloc.rpartition('@')[2]}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        ]
        if self._api_key:
            lines.append(f"Authorization: Bearer {self._api_key}")
        self.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def data_received(self, data: bytes) -> None:
        at = self._loop.time()
        self._buffer += data
        if not self.status and not self._head():
            return
        while self._frame(at):
            pass

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.open.done():
            self.open.set_result(False)
        if not self.gone.done():
            self.gone.set_result(None)

    def write(self, data: bytes) -> None:
        """Bytes as they are; after the end without effect."""
        if self._transport is not None and not self.gone.done():
            self._transport.write(data)

    def command(self, name: str, **fields: Any) -> None:
        """One command of the call protocol."""
        self.write(frame(TEXT, json.dumps({"command": name, **fields}).encode()))

    def sound(self, made: bytes) -> None:
        """One frame of sound, made by `frame`."""
        self.sent += 1
        self.write(made)

    def close(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    # -- what comes -------------------------------------------------------------------------------

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                self.abort()
            return False
        words = bytes(self._buffer[:end]).split(b"\r\n")[0].split(b" ")
        del self._buffer[: end + 4]
        self.status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 400
        if not self.open.done():
            self.open.set_result(self.status == 101)
        if self.status != 101:
            self.close()
        return self.status == 101

    def _frame(self, at: float) -> bool:
        """Take one whole frame out of the buffer; False if there is none."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        size, start = buffer[1] & 0x7F, 2
        if size > 125:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return False
            size = int.from_bytes(buffer[2:start])
        if size > MAX_FRAME:
            self.abort()
            return False
        if len(buffer) < start + size:
            return False
        opcode = buffer[0] & 0x0F
        if opcode == BINARY:
            self.packets += 1
            self.grid.arrived(at)
        else:
            self._other(opcode, bytes(buffer[start : start + size]))
        del buffer[: start + size]
        return True

    def _other(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            try:
                event = json.loads(payload)
            except ValueError:
                event = None
            if isinstance(event, dict):
                self._event(event)
            else:  # no server of calls
                self.abort()
        elif opcode == PING:
            self.write(frame(PONG, payload))
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2]) if len(payload) > 1 else 1005
            self.write(frame(CLOSE, payload))
            self.close()

    def _event(self, event: Mapping[str, Any]) -> None:
        name = str(event.get("event"))
        self.events[name] += 1
        if name == "answer":
            self.answered = True
        elif name == "hangup":
            self.ended = True
        elif name == "error" and len(self.errors) < 5:
            self.errors.append(f"{event.get('sender')}: {event.get('error')}")
        elif name == "trackStart" and event.get("trackId") == SERVER_TRACK:
            self.grid.restart()
        self._on_event(self, event)
