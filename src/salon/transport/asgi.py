"""The same socket contract over an ASGI WebSocket, for servers that don't take our protocol class.

Costs a task and a framework message per frame; `salon.transport.websocket` is the way without.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qsl

from salon.transport.outbox import Outbox
from salon.transport.sockets import Acceptor, MediaSocket, Refusal, SocketHandler, UpgradeRequest
from salon.transport.websocket import (
    ABNORMAL,
    INTERNAL_ERROR,
    NO_STATUS,
    NORMAL,
    POLICY_VIOLATION,
    TOO_BIG,
    SocketLimits,
)

logger = logging.getLogger("salon.transport")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_MAX_QUERY_FIELDS: Final = 64


class AsgiMediaSocket(MediaSocket):
    """The sending side: a bounded outbox that one writer empties. `ping` does nothing: the server
    under ASGI keeps its connections alive itself."""

    def __init__(self, limits: SocketLimits | None = None) -> None:
        self._limits = limits or SocketLimits()
        self._outbox = Outbox(self._limits.max_events, self._limits.max_audio)
        self._wake = asyncio.Event()
        self._open = True
        self.close_code = NORMAL
        self.close_reason = ""

    @property
    def dropped_audio(self) -> int:  # type: ignore[override]
        """Binary frames dropped because the peer reads too slowly (G119)."""
        return self._outbox.dropped_audio

    @property
    def is_open(self) -> bool:
        """Whether frames are still taken."""
        return self._open

    def send_text(self, data: str) -> None:
        if not self._open:
            return
        if self._outbox.put_text(data.encode()):
            self._wake.set()
        else:
            self._outbox.clear()
            self.close(POLICY_VIOLATION, "the client does not read its events")

    def send_binary(self, data: bytes) -> None:
        if self._open:
            self._outbox.put_audio(data)
            self._wake.set()

    def ping(self, payload: bytes) -> None:
        if len(payload) > 125:
            raise ValueError("a Ping carries at most 125 bytes")

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        if self._open:
            self._open = False
            self.close_code, self.close_reason = code, reason
            self._wake.set()

    def peer_closed(self, code: int, reason: str) -> None:
        """The peer is gone: nothing more is sent."""
        self._outbox.clear()
        self.close(code, reason)

    async def write(self, send: Send) -> None:
        """Send what is queued until the socket is closed, then the Close."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox:
                is_text, data = self._outbox.pop()
                if is_text:
                    await send({"type": "websocket.send", "text": data.decode()})
                else:
                    await send({"type": "websocket.send", "bytes": data})
            if not self._open:
                await send(
                    {
                        "type": "websocket.close",
                        "code": self.close_code,
                        "reason": self.close_reason[:40],
                    }
                )
                return


def upgrade_request(scope: MutableMapping[str, Any]) -> UpgradeRequest:
    """An ASGI ``websocket`` scope as the acceptor sees it; `ValueError` for too long a query."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    query = parse_qsl(
        scope.get("query_string", b"").decode("latin-1"),
        keep_blank_values=True,
        max_num_fields=_MAX_QUERY_FIELDS,
    )
    client = scope.get("client")
    return UpgradeRequest(
        path=scope["path"],
        query=dict(reversed(query)),
        headers=headers,
        client=(str(client[0]), int(client[1])) if client else None,
        secure=scope.get("scheme") == "wss",
    )


async def serve_asgi(
    scope: MutableMapping[str, Any],
    receive: Receive,
    send: Send,
    acceptor: Acceptor,
    limits: SocketLimits | None = None,
) -> None:
    """Run one connection to its end. With Starlette: ``await serve_asgi(ws.scope, ws.receive,
    ws.send, acceptor)`` before `accept`. A None of the acceptor is refused with 404.
    """
    limits = limits or SocketLimits()
    first = await receive()
    if first["type"] != "websocket.connect":
        return
    try:
        decision = acceptor(upgrade_request(scope)) or Refusal(404, "no WebSocket is served here")
    except ValueError as error:
        decision = Refusal(400, str(error))
    if isinstance(decision, Refusal):
        await _refuse(scope, send, decision)
        return
    socket = AsgiMediaSocket(limits)
    code, reason = ABNORMAL, ""
    try:
        await send({"type": "websocket.accept"})
        decision.connected(socket)
        code, reason = await _run(socket, decision, receive, send, limits)
    except Exception:
        logger.exception("a socket handler failed; its connection is closed")
        code = INTERNAL_ERROR
        with contextlib.suppress(OSError, RuntimeError):
            await send({"type": "websocket.close", "code": code, "reason": "internal error"})
    finally:
        socket.peer_closed(code, reason)
        decision.closed(code, reason)


async def _run(
    socket: AsgiMediaSocket,
    handler: SocketHandler,
    receive: Receive,
    send: Send,
    limits: SocketLimits,
) -> tuple[int, str]:
    """Read and write until either side ends; returns code and reason of the end."""
    reader = asyncio.create_task(_read(socket, handler, receive, limits))
    writer = asyncio.create_task(socket.write(send))
    try:
        done, _ = await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
        if reader in done:
            code, reason = reader.result()
            if socket.is_open:  # the peer ended it
                return code, reason
            # We did: what waits and the Close still go out.
            await asyncio.wait({writer}, timeout=limits.close_timeout)
            return socket.close_code, socket.close_reason
        if writer.exception() is not None:  # how a server tells that the peer vanished
            return ABNORMAL, ""
        return socket.close_code, socket.close_reason
    finally:
        for task in (reader, writer):
            task.cancel()
        await asyncio.gather(reader, writer, return_exceptions=True)


async def _read(
    socket: AsgiMediaSocket, handler: SocketHandler, receive: Receive, limits: SocketLimits
) -> tuple[int, str]:
    while socket.is_open:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return message.get("code") or NO_STATUS, message.get("reason") or ""
        text, data = message.get("text"), message.get("bytes")
        if text is not None:
            if len(text) > limits.max_text:
                socket.close(TOO_BIG, "message too big")
            elif socket.is_open:
                handler.text(text)
        elif data is not None:
            if len(data) > limits.max_binary:
                socket.close(TOO_BIG, "message too big")
            elif socket.is_open:
                handler.binary(data)
    return socket.close_code, socket.close_reason


async def _refuse(scope: MutableMapping[str, Any], send: Send, refusal: Refusal) -> None:
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": ""})
        return
    headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in refusal.headers.items()]
    headers.append((b"content-type", b"text/plain; charset=utf-8"))
    await send(
        {
            "type": "websocket.http.response.start",
            "status": refusal.status,
            "headers": headers,
        }
    )
    await send({"type": "websocket.http.response.body", "body": refusal.message.encode()})
