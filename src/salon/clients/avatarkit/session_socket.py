"""The WebSocket under a session: opening it, closing it, and what its failures mean (A18 to A24).

The transport's own limits are the library's: 10 s to open, a ping every 20 s, messages up to
1 MiB, compression offered.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache
from typing import Any, Final, Protocol

from websockets.exceptions import ConnectionClosed, WebSocketException

from salon.clients.avatarkit.endpoint import TOKEN_HEADER, Opening
from salon.clients.avatarkit.errors import PHASE_CONNECT, PHASE_RUNTIME, AvatarSDKError
from salon.clients.avatarkit.failures import (
    connect_refused,
    connection_closed,
    connection_failed,
)

SOCKET_FAILURES: Final = (OSError, WebSocketException, EOFError, ValueError, RuntimeError)
"""What the library raises when a socket can't be opened or written."""
CLOSE_SECONDS: Final = 11.0
"""A little more than the library's own limit."""
REFUSED_CLOSE_SECONDS: Final = 1.0
"""How long a server whose handshake failed gets to close in good order."""

_library_log = logging.getLogger("avatarkit.websocket")
_library_log.setLevel(logging.INFO)  # its debug records hold URL and headers, and so the token


class Socket(Protocol):
    """What a session needs of a connection."""

    async def send(self, data: bytes, /) -> None: ...

    async def recv(self) -> str | bytes: ...

    async def close(self) -> None: ...

    def __aiter__(self) -> AsyncIterator[str | bytes]: ...


async def open_socket(connector: Callable[..., Any], to: Opening) -> Socket:
    """An open socket, by `websockets.connect` of any release; `AvatarSDKError` with phase
    ``websocket_connect`` (A23)."""
    connect = _staying(connector) if isinstance(connector, type) else connector
    try:
        socket: Socket = await connect(to.url, **{_headers_name(connector): dict(to.headers)})
    except SOCKET_FAILURES as error:
        # URL or headers hold the session token.
        if to.url in str(error):
            raise _unsaid(error) from None
        if to.headers.get(TOKEN_HEADER, to.url) in str(error):
            raise _unsaid(error) from None
        raise _connect_error(error) from error
    return socket


def _headers_name(connector: Callable[..., Any]) -> str:
    """What this release calls the argument for headers (A20)."""
    try:
        names: Mapping[str, Any] = inspect.signature(connector).parameters
    except (TypeError, ValueError):
        names = {}
    old = "extra_headers" in names and "additional_headers" not in names
    return "extra_headers" if old else "additional_headers"


@cache
def _staying(connector: type) -> Callable[..., Any]:
    """The same, but it follows no redirect: the session token is for the address that the caller
    named, and the library would hand it on to another one. Nor does it log the token."""
    if not hasattr(connector, "process_redirect"):
        return connector

    class Staying(connector):  # type: ignore[misc]  # the base depends on the release
        def __init__(self, uri: str, **options: Any) -> None:
            super().__init__(uri, logger=_library_log, **options)

        def process_redirect(self, exc: Exception) -> Exception:
            return exc

    return Staying


def _unsaid(error: BaseException) -> AvatarSDKError:
    """Only what kind of error it is."""
    return connection_failed(
        f"Failed to connect to websocket: {type(error).__name__}", PHASE_CONNECT
    )


def _connect_error(error: BaseException) -> AvatarSDKError:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status is None:
        status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        return connection_failed(
            f"Failed to connect to websocket: {reason_of(error)}", PHASE_CONNECT
        )
    body = getattr(response, "body", None)
    return connect_refused(status, bytes(body).decode("utf-8", "replace") if body else None)


def reason_of(error: BaseException) -> str:
    """What an exception says, or at least what it is."""
    return str(error) or type(error).__name__


def closed_error(
    error: ConnectionClosed, phase: str = PHASE_RUNTIME, req_id: str | None = None
) -> AvatarSDKError:
    """A closed socket as the session's error: the peer's Close frame, else our own (A65)."""
    frame = error.rcvd if error.rcvd is not None else error.sent
    if frame is None:
        return connection_closed(None, None, phase=phase, req_id=req_id)
    return connection_closed(frame.code, frame.reason, phase=phase, req_id=req_id)


def socket_error(
    error: BaseException, phase: str, doing: str, req_id: str | None = None
) -> AvatarSDKError:
    """What a failed send or receive means (A39, A47)."""
    if isinstance(error, ConnectionClosed):
        return closed_error(error, phase, req_id)
    return connection_failed(f"{doing}: {reason_of(error)}", phase, req_id=req_id)


async def close_socket(socket: Socket, seconds: float = CLOSE_SECONDS) -> None:
    """Close with 1000 (A67). After so many seconds, or when cancelled, without the peer."""
    try:
        with contextlib.suppress(*SOCKET_FAILURES):
            async with asyncio.timeout(seconds):
                await socket.close()
    finally:
        transport = getattr(socket, "transport", None)
        if transport is not None:
            transport.abort()
