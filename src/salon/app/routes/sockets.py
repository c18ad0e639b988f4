"""WebSockets that go through the framework: the rooms' text sockets, and media sockets on servers
that have no place for our own protocol class (``uvicorn salon.app:app``)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, WebSocket
from pydantic_core import from_json
from starlette.websockets import WebSocketDisconnect, WebSocketState

from salon.app.access import MEDIA_PATHS, ForbiddenError
from salon.app.crowd import CrowdedError
from salon.app.house import House
from salon.app.middleware import refuse_socket
from salon.app.problems import status_of
from salon.app.security import admitted
from salon.base import SYSTEM_CLOCK, Principal
from salon.transport.asgi import serve_asgi
from salon.transport.sockets import Refusal, SocketHandler, UpgradeRequest

MAX_TEXT = 64 * 1024
_SEND_TIMEOUT = 10.0


class SocketPeer:
    """A `TextPeer` on Starlette's WebSocket: JSON objects both ways, bounded in size and time."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._writing = asyncio.Lock()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send one object. Raises `EOFError` if the page is gone or has not read for 10 s."""
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        try:
            async with asyncio.timeout(_SEND_TIMEOUT), self._writing:
                await self._socket.send_text(text)
        except (WebSocketDisconnect, RuntimeError, TimeoutError) as error:
            raise EOFError from error

    async def receive(self) -> Any:
        """The next JSON value; `ValueError` if it is none, `EOFError` at the end."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise EOFError
        text = message.get("text")
        if text is None:
            raise ValueError("this socket speaks text, sound goes to /ws")
        if len(text) > MAX_TEXT:
            raise ValueError(f"a message may hold at most {MAX_TEXT} characters")
        return from_json(text)


def sockets(house: House) -> APIRouter:
    """``/ws/{room_id}``, and the media paths for other servers."""
    router = APIRouter()

    @router.websocket("/ws/{room_id}")
    async def room(socket: WebSocket, room_id: str) -> None:
        if not house.ready:
            refusal = Refusal(503, "not ready", {"Retry-After": "5"})
            await refuse_socket(refusal, socket.scope, socket.receive, socket.send)
            return
        principal = caller_of(socket)
        try:
            with house.text_crowd.place(room_id, principal):
                await talk(socket, room_id, principal)
        except CrowdedError as error:
            refusal = Refusal(status_of(error), str(error), {"Retry-After": "5"})
            await refuse_socket(refusal, socket.scope, socket.receive, socket.send)

    async def talk(socket: WebSocket, room_id: str, principal: Principal) -> None:
        await socket.accept()
        query = socket.query_params
        try:
            async with asyncio.timeout(_time_left(principal)):
                await house.texts.serve(
                    SocketPeer(socket),
                    room_id,
                    query.get("participant"),
                    query.get("name"),
                    principal=principal,
                )
        except (EOFError, TimeoutError):
            return
        finally:
            if socket.application_state is WebSocketState.CONNECTED:
                await _close(socket)

    async def media(socket: WebSocket) -> None:
        principal = caller_of(socket)

        def accept(request: UpgradeRequest) -> SocketHandler | Refusal | None:
            decision = admitted(house.accept, principal, request)
            if isinstance(decision, Refusal):
                house.metrics.call_refused(decision.status)
            return decision

        await serve_asgi(socket.scope, socket.receive, socket.send, accept)

    async def nothing(socket: WebSocket) -> None:
        refusal = Refusal(404, f"no socket is served at {socket.url.path}")
        await refuse_socket(refusal, socket.scope, socket.receive, socket.send)

    for path in MEDIA_PATHS:
        router.add_api_websocket_route(path, media)
    router.add_api_websocket_route("/{path:path}", nothing)
    return router


def caller_of(socket: WebSocket) -> Principal:
    """Who opened the socket, as the gate found out."""
    principal = getattr(socket.state, "principal", None)
    if not isinstance(principal, Principal):
        raise ForbiddenError("a credential is needed")
    return principal


def _time_left(principal: Principal) -> float | None:
    """Seconds until a token ends; None: for ever."""
    if principal.grant is None:
        return None
    return max(0.0, principal.grant.expires - SYSTEM_CLOCK.time())


async def _close(socket: WebSocket) -> None:
    """Close a socket the page may have closed first."""
    try:
        await socket.close(1001)
    except (RuntimeError, WebSocketDisconnect):
        return
