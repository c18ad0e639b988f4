"""The signaling socket: JSON texts to and from the server (section 4)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidStatus,
    WebSocketException,
)

from salon.base.policy import is_loopback
from salon.clients.odyssey.errors import OdysseyConnectionError, UnreachableError
from salon.clients.odyssey.messages import CLIENT_DISCONNECTING

MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Longest message taken, bytes (O31)."""
MAX_QUEUED: Final = 160 * 1024 * 1024
"""Bytes that may wait to be sent: a few starts with a picture."""
SHORT: Final = 64 * 1024
"""Bytes of a message without a picture."""
OPEN_S: Final = 10.0
"""Opening (O74a)."""
CLOSE_S: Final = 2.0
"""Telling the server, and again its own close."""
PING_S: Final = 20.0
"""Between two pings, and for an answer to one (O34)."""
ABNORMAL: Final = 1006

_library_log = logging.getLogger("odyssey._internal.websocket")
_library_log.setLevel(logging.INFO)  # its debug records hold the URL, and so the token


class SignalingSocket:
    """An open socket. One task runs `read`, another `write`; `close` ends both."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._queue: deque[str] = deque()
        self._queued = 0
        self._more = asyncio.Event()

    @classmethod
    async def open(cls, url: str, *, open_timeout_s: float = OPEN_S) -> SignalingSocket:
        """Connect. `OdysseyConnectionError` with the HTTP status of a refusal, else
        `UnreachableError`; neither shows the URL, which holds the token."""
        host = urlsplit(url).hostname or ""
        options: dict[str, Any] = {"proxy": None} if is_loopback(host) else {}
        try:
            socket = await connect(
                url,
                compression=None,  # pictures don't get smaller by it
                open_timeout=open_timeout_s,
                close_timeout=CLOSE_S,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                max_size=MAX_MESSAGE,
                logger=_library_log,
                **options,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            raise OdysseyConnectionError(
                f"The signaling server refused the connection: {status}", status=status
            ) from None
        except TimeoutError:
            raise UnreachableError(
                f"No answer from the signaling server at {host} within {open_timeout_s:g} s"
            ) from None
        except (OSError, WebSocketException, ValueError) as error:
            why = str(error).replace(url, host) or type(error).__name__
            raise UnreachableError(f"No connection to the signaling server: {why}") from None
        return cls(socket)

    async def read(self, on_message: Callable[[str | bytes], Awaitable[None]]) -> tuple[int, str]:
        """Hand on messages one after another (O42) until the socket ends; its code and reason.
        1006 means that it ended without a word."""
        try:
            while True:
                await on_message(await self._socket.recv())
        except ConnectionClosed:
            code = self._socket.close_code
            return ABNORMAL if code is None else code, self._socket.close_reason or ""

    def send(self, text: str) -> None:
        """Send in turn, without waiting. `UnreachableError` if too much waits already; what is
        short always finds a place, since pings end a socket that is not read."""
        if len(text) > SHORT and self._queued + len(text) > MAX_QUEUED:
            raise UnreachableError("The signaling server does not read what is sent")
        self._queued += len(text)
        self._queue.append(text)
        self._more.set()

    async def write(self) -> None:
        """Send what waits, until the socket ends."""
        try:
            while True:
                await self._more.wait()
                while self._queue:
                    text = self._queue.popleft()
                    self._queued -= len(text)
                    await self._socket.send(text)
                self._more.clear()
        except ConnectionClosed:
            return  # `read` says so

    async def close(self, *, farewell: bool) -> None:
        """Close with 1000; with `farewell` tell the server before (O32). Bounded, idempotent."""
        try:
            async with asyncio.timeout(CLOSE_S):
                while farewell and self._queue:
                    await self._socket.send(self._queue.popleft())
                if farewell:
                    await self._socket.send(CLIENT_DISCONNECTING)
        except (ConnectionClosed, TimeoutError):
            pass  # gone already, or not reading: the close below is bounded too
        await self._socket.close(1000, "Client disconnect")
