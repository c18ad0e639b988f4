"""HTTP connections whose request heads are bounded, in size and in time.

uvicorn's reader takes heads of any length and waits for them for ever: a client that never finishes
its request would hold a connection, and one that sends on and on the memory. So would one that has
its answer and goes on with its body; what the application awaits, `bodies` bounds.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
HEAD_TIMEOUT_S: Final = 10.0
"""From the connection, or from the first byte of a later request, to the end of its head."""
LINGER_S: Final = 10.0
"""From the first byte after an answer that begins no request: the rest of a body, an empty line.
uvicorn ends its own wait for the next request at any byte."""
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 28\r\nconnection: close\r\n\r\n"
    b"the request head is too long"
)


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with an eye on what comes before the end of a head."""

    _head_bytes = 0
    _in_head = True
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_wait()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._in_head:
            if self._deadline is None and self.cycle is not None and self.cycle.response_complete:
                self._await(LINGER_S)
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        """Another protocol takes the connection over; what read its head is let go of at once. The
        two know each other, and would wait for the cyclic collector."""
        super().handle_websocket_upgrade()
        self._end_wait()
        self.parser = None  # type: ignore[assignment]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_head:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._end_wait()
        self._in_head = False
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._await(HEAD_TIMEOUT_S)

    def _await(self, seconds: float) -> None:
        self._end_wait()
        self._deadline = self.loop.call_later(seconds, self._too_slow)

    def _end_wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.abort()
