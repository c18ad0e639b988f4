"""Media sockets leave the web framework at the upgrade.

`media_protocol` makes the class for uvicorn's ``ws=`` option. uvicorn reads the HTTP request and
hands connection and request head over; ours asks the `Acceptor`, and then answers 101 and lets a
`FrameSocket` have the connection, answers plainly, or leaves it to uvicorn's own WebSocket class.
The same class also serves `loop.create_server` directly.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar, cast
from urllib.parse import parse_qsl, unquote

from salon.transport.sockets import Acceptor, Refusal, SocketHandler, UpgradeRequest
from salon.transport.websocket import FrameSocket, SocketLimits

logger = logging.getLogger("salon.transport")

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_QUERY_FIELDS = 64


@dataclass(frozen=True, slots=True)
class UpgradeOptions:
    """`limits` of each socket; `max_head` bytes of the request head; `handshake_timeout` seconds
    until it must be complete; `shutdown_grace` seconds a call may go on after the server was told
    to stop, before it is closed with 1001 (G21)."""

    limits: SocketLimits = field(default_factory=SocketLimits)
    max_head: int = 32 * 1024
    handshake_timeout: float = 10.0
    shutdown_grace: float = 0.0


def accept_key(key: str) -> str | None:
    """The `Sec-WebSocket-Accept` for a client's key; None if the key is not 16 bytes in base64."""
    try:
        raw = base64.b64decode(key.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != 16:
        return None
    digest = hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The first lines of an HTTP request. Header names are lower case, repeated ones joined."""

    method: str
    target: str
    headers: Mapping[str, str]

    @classmethod
    def parse(cls, head: bytes) -> RequestHead:
        """Parse everything before the blank line; `ValueError` if it is not HTTP/1.1."""
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3 or parts[2] != "HTTP/1.1":
            raise ValueError("not an HTTP/1.1 request")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip() or "\n" in line or "\0" in line:
                raise ValueError("malformed header line")
            name, value = name.lower(), value.strip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return cls(parts[0], parts[1], headers)

    def refuse(self) -> Refusal | None:
        """Why this is no WebSocket handshake (RFC 6455 section 4.2.1), or None."""
        if self.method != "GET":
            return Refusal(405, "a WebSocket starts with GET", {"Allow": "GET"})
        tokens = [item.strip().lower() for item in self.headers.get("connection", "").split(",")]
        if "upgrade" not in tokens or self.headers.get("upgrade", "").lower() != "websocket":
            return Refusal(426, "this address speaks WebSocket", {"Upgrade": "websocket"})
        if self.headers.get("sec-websocket-version") != "13":
            return Refusal(426, "WebSocket version 13 is spoken", {"Sec-WebSocket-Version": "13"})
        if accept_key(self.headers.get("sec-websocket-key", "")) is None:
            return Refusal(400, "Sec-WebSocket-Key is missing or malformed")
        return None

    def request(self, client: tuple[str, int] | None, secure: bool) -> UpgradeRequest:
        """As the acceptor sees it; of a repeated query key the first counts. `ValueError` if the
        target is no path or its query is too long."""
        path, _, query = self.target.partition("?")
        if not path.startswith("/"):
            raise ValueError("the request target is not a path")
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
        return UpgradeRequest(
            path=unquote(path, errors="replace"),
            query=dict(reversed(fields)),
            headers=self.headers,
            client=client,
            secure=secure,
        )


def refusal_response(refusal: Refusal) -> bytes:
    """The whole HTTP response; the connection closes after it."""
    try:
        phrase = HTTPStatus(refusal.status).phrase
    except ValueError:
        phrase = "Refused"
    body = refusal.message.encode()
    fields = {
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(body)),
        "connection": "close",
        **{name.lower(): value for name, value in refusal.headers.items()},
    }
    lines = [f"HTTP/1.1 {refusal.status} {phrase}"]
    for name, value in fields.items():
        if "\r" in name + value or "\n" in name + value:
            raise ValueError(f"line break in response header {name!r}")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class UpgradeProtocol(asyncio.Protocol):
    """One connection from its first byte to the decision; after that it only passes through until
    the event loop has the successor as protocol."""

    acceptor: ClassVar[Acceptor]
    options: ClassVar[UpgradeOptions]

    def __init__(
        self,
        config: Any = None,
        server_state: Any = None,
        app_state: dict[str, Any] | None = None,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._connections: set[Any] = set() if server_state is None else server_state.connections
        self._transport: asyncio.Transport | None = None
        self._successor: asyncio.Protocol | None = None
        self._head = bytearray()
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        self._deadline = self._loop.call_later(
            self.options.handshake_timeout, self._refuse, Refusal(408, "the request took too long")
        )

    def data_received(self, data: bytes) -> None:
        if self._successor is not None:
            self._successor.data_received(data)
            return
        if self._deadline is None:
            return
        self._head += data
        head, blank, rest = bytes(self._head).partition(b"\r\n\r\n")
        if len(head) > self.options.max_head:
            self._refuse(Refusal(431, "the request head is too long"))
        elif blank:
            self._decide(head, rest)

    def eof_received(self) -> bool | None:
        return None if self._successor is None else self._successor.eof_received()

    def pause_writing(self) -> None:
        if self._successor is not None:
            self._successor.pause_writing()

    def resume_writing(self) -> None:
        if self._successor is not None:
            self._successor.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish()
        self._transport = None
        if self._successor is not None:
            self._successor.connection_lost(exc)

    def shutdown(self) -> None:
        """uvicorn stops: an unfinished handshake is dropped."""
        if self._transport is not None:
            self._transport.close()

    # -- the decision -------------------------------------------------------------------------

    def _decide(self, raw: bytes, rest: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        try:
            head = RequestHead.parse(raw)
            request = head.request(
                _peer(transport), transport.get_extra_info("sslcontext") is not None
            )
        except ValueError as error:
            self._refuse(Refusal(400, str(error)))
            return
        decision = head.refuse() or self._ask(request)
        if isinstance(decision, Refusal):
            self._refuse(decision)
        elif decision is None:
            self._leave_to_server(transport, rest)
        else:
            key = accept_key(head.headers["sec-websocket-key"])
            transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
                b"sec-websocket-accept: %b\r\n\r\n" % (key or "").encode("ascii")
            )
            successor = FrameSocket(
                decision,
                self.options.limits,
                registry=self._connections,
                shutdown_grace=self.options.shutdown_grace,
                loop=self._loop,
            )
            self._hand_over(transport, successor, rest)

    def _ask(self, request: UpgradeRequest) -> SocketHandler | Refusal | None:
        try:
            return type(self).acceptor(request)
        except Exception:
            logger.exception("the acceptor failed for %s", request.path)
            return Refusal(500, "internal error")

    def _leave_to_server(self, transport: asyncio.Transport, rest: bytes) -> None:
        """uvicorn's own implementation gets the connection and every byte read so far."""
        server_class = None if self._config is None else _server_websockets()
        if server_class is None:
            self._refuse(Refusal(404, "no WebSocket is served here"))
            return
        successor = server_class(
            config=self._config, server_state=self._server_state, app_state=self._app_state
        )
        self._hand_over(transport, successor, bytes(self._head))

    def _hand_over(
        self, transport: asyncio.Transport, successor: asyncio.Protocol, data: bytes
    ) -> None:
        self._finish()
        self._successor = successor
        # uvicorn sets *us* as protocol right after this call, so the successor follows later.
        self._loop.call_soon(self._install)
        successor.connection_made(transport)
        if data:
            successor.data_received(data)

    def _install(self) -> None:
        if self._transport is not None and self._successor is not None:
            self._transport.set_protocol(self._successor)

    def _refuse(self, refusal: Refusal) -> None:
        self._finish()
        if self._transport is not None:
            self._transport.write(refusal_response(refusal))
            self._transport.close()

    def _finish(self) -> None:
        """The decision is made: nothing waits for the client any more."""
        self._connections.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def media_protocol(
    acceptor: Acceptor, options: UpgradeOptions | None = None
) -> type[UpgradeProtocol]:
    """The class to give to uvicorn: ``uvicorn.Config(app, ws=media_protocol(acceptor))``."""
    chosen = options or UpgradeOptions()

    class MediaProtocol(UpgradeProtocol):
        pass

    MediaProtocol.acceptor = staticmethod(acceptor)
    MediaProtocol.options = chosen
    return MediaProtocol


def _server_websockets() -> Any:
    from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

    return AutoWebSocketsProtocol


def _peer(transport: asyncio.Transport) -> tuple[str, int] | None:
    address = transport.get_extra_info("peername")
    if isinstance(address, tuple | list) and len(address) >= 2:
        return str(address[0]), int(address[1])
    return None
