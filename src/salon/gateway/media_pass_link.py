"""The connection of a media pass: a WebSocket that sound goes through both ways (G170-G173)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode, urlsplit

from salon.base import MissingExtraError, PolicyError, SalonError, UrlPolicy
from salon.transport.addresses import resolve_checked

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

MAX_CHUNKS = 50
"""How many wait for a server that reads slowly; the oldest is dropped."""
MAX_FRAME = 1 << 20
"""Bytes of one frame from the server."""
OPEN_TIMEOUT_S = 4.0
CLOSE_TIMEOUT_S = 0.25
PING_S = 20.0
PONG_S = 90.0
"""Longer than the sound of a frame, after which the Pong may come."""

PIECE = 32 * 1024
"""Bytes given on at once of a longer frame."""
FULL_S = 0.02
"""How long what is not taken waits before it is offered again."""

Receive = Callable[[bytes], bool]
"""Takes sound; False if it has to wait."""


class LinkError(SalonError):
    """No connection, or it broke."""

    code = "media_pass"


class Link(Protocol):
    """An open connection."""

    dropped: int
    """Chunks not sent because the server reads too slowly."""

    def send(self, chunk: bytes) -> None:
        """One binary frame; returns at once. After the end: no effect."""

    async def run(self, receive: Receive) -> None:
        """Carries both ways; `receive` takes each binary frame, in pieces. While it takes none, no
        more is read, so that the server has to wait. Returns when the server closed cleanly,
        `LinkError` if the connection broke. Called once; cancelling closes."""

    async def close(self) -> None:
        """Closes, within `CLOSE_TIMEOUT_S` or a little more. Idempotent."""


Connect = Callable[[str], Awaitable[Link]]
"""Opens a link to a URL; `LinkError` if it can't be."""


def with_query(url: str, **parameters: object) -> str:
    """`url` with parameters appended to its query, its fragment left out; `LinkError` if it is no
    URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise LinkError("not a URL") from None
    query = "&".join(filter(None, (parts.query, urlencode(parameters))))
    return parts._replace(query=query, fragment="").geturl()


class WebSocketLinks:
    """Makes links as `policy` allows: the host's address is checked too, and it is the one that is
    connected to, whatever the name means a moment later. No proxy, no redirect to another host."""

    def __init__(self, policy: UrlPolicy | None = None) -> None:
        self.policy = policy or UrlPolicy(schemes=frozenset({"ws", "wss"}))

    async def __call__(self, url: str) -> Link:
        try:
            from websockets.asyncio.client import connect
            from websockets.exceptions import WebSocketException
        except ImportError as error:
            raise LinkError(str(MissingExtraError("client", "a media pass"))) from error
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                address = await resolve_checked(self.policy, url)
                connection = await connect(
                    url,
                    host=address or urlsplit(url).hostname,  # given, it keeps redirects at home
                    proxy=None,
                    compression=None,
                    open_timeout=None,
                    close_timeout=CLOSE_TIMEOUT_S,
                    ping_interval=PING_S,
                    ping_timeout=PONG_S,
                    max_size=MAX_FRAME,
                )
        except TimeoutError:
            raise LinkError(f"not connected within {OPEN_TIMEOUT_S:.0f} s") from None
        except PolicyError as error:
            raise LinkError(str(error)) from None
        except (OSError, ssl.SSLError, WebSocketException, ValueError) as error:
            raise LinkError(f"not connected: {_reason(error)}") from None
        return WebSocketLink(connection)


class WebSocketLink:
    """A `Link` over an open connection."""

    def __init__(self, connection: ClientConnection, bound: int = MAX_CHUNKS) -> None:
        self.dropped = 0
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._bound = bound
        self._wake = asyncio.Event()
        self._closed = False

    def send(self, chunk: bytes) -> None:
        """One binary frame; returns at once."""
        if self._closed:
            return
        if len(self._chunks) >= self._bound:
            self._chunks.popleft()
            self.dropped += 1
        self._chunks.append(chunk)
        self._wake.set()

    async def run(self, receive: Receive) -> None:
        """Returns when the server closed cleanly, `LinkError` if the connection broke."""
        from websockets.exceptions import ConnectionClosed

        sending = asyncio.ensure_future(self._send())
        try:
            async for frame in self._connection:  # ends with a clean close
                if isinstance(frame, bytes):
                    await _give(frame, receive)
        except ConnectionClosed as error:
            raise LinkError(f"the connection broke: {_closed(error)}") from None
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
            await self.close()

    async def _send(self) -> None:
        from websockets.exceptions import ConnectionClosed

        with contextlib.suppress(ConnectionClosed):  # who reads notices it too
            while True:
                while self._chunks:
                    await self._connection.send(self._chunks.popleft())
                self._wake.clear()
                await self._wake.wait()

    async def close(self) -> None:
        """Says goodbye; idempotent."""
        self._closed = True
        self._chunks.clear()
        try:
            await self._connection.close()
        except asyncio.CancelledError:
            self._connection.transport.abort()
            raise


async def _give(frame: bytes, receive: Receive) -> None:
    for at in range(0, len(frame), PIECE):
        if at:
            await asyncio.sleep(0)
        piece = frame[at : at + PIECE]
        while not receive(piece):  # noqa: ASYNC110 - it plays by the clock, nothing tells
            await asyncio.sleep(FULL_S)


def _closed(error: object) -> str:
    received = getattr(error, "rcvd", None)
    if received is None:
        return "no Close frame"
    return f"code {received.code} {received.reason}".strip()


def _reason(error: Exception) -> str:
    """Without the address, which may hold a secret."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"the server answered {status}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


__all__ = ["Connect", "Link", "LinkError", "WebSocketLink", "WebSocketLinks", "with_query"]
