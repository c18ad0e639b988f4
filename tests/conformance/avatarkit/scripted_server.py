"""A console and an ingress that do what each test says, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import WSMsgType, web

from salon.clients.avatarkit import AvatarSession, new_avatar_session
from salon.clients.avatarkit.proto.generated import message_pb2 as pb

CONNECTION = "conn-1"
Socket = web.WebSocketResponse
Script = Callable[[Socket], Awaitable[None]]
LIMIT = 10.0
"""Seconds after which a test that hangs fails."""


def confirm(connection_id: str = CONNECTION) -> bytes:
    return pb.Message(
        type=pb.MESSAGE_SERVER_CONFIRM_SESSION,
        server_confirm_session=pb.ServerConfirmSession(connection_id=connection_id),
    ).SerializeToString()


def server_error(
    code: int, message: str = "", *, connection_id: str = CONNECTION, req_id: str = ""
) -> bytes:
    return pb.Message(
        type=pb.MESSAGE_SERVER_ERROR,
        server_error=pb.ServerError(
            code=code, message=message, connection_id=connection_id, req_id=req_id
        ),
    ).SerializeToString()


def animation(req_id: str = "r", end: bool = False) -> bytes:
    return pb.Message(
        type=pb.MESSAGE_SERVER_RESPONSE_ANIMATION,
        server_response_animation=pb.ServerResponseAnimation(
            connection_id=CONNECTION, req_id=req_id, end=end
        ),
    ).SerializeToString()


def parsed(data: bytes) -> pb.Message:
    message = pb.Message()
    message.ParseFromString(data)
    return message


async def until_closed(socket: Socket) -> None:
    async for _ in socket:
        pass


async def soon(condition: Callable[[], Any]) -> None:
    """Returns once it holds; what the test waits for happens on this loop."""
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.001)


class ScriptedServer:
    """`script` speaks after the handshake, `first` instead of it; `refusal` answers the upgrade."""

    def __init__(self) -> None:
        self.url = ""
        self.script: Script = until_closed
        self.first: Script | None = None
        self.refusal: Callable[[], web.Response] | None = None
        self.token: Callable[[web.Request], Awaitable[web.StreamResponse]] = self.give_token
        self.token_requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.upgrades: list[web.Request] = []
        self.received: list[pb.Message] = []
        self.close_codes: list[int | None] = []
        self.open = 0

    async def give_token(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"sessionToken": "tok-1"})

    async def _token(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.method == "POST" else None
        self.token_requests.append((request.method, request.path, dict(request.headers), body))
        return await self.token(request)

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        self.upgrades.append(request)
        if self.refusal is not None:
            return self.refusal()
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        self.open += 1
        try:
            if self.first is not None:
                await self.first(socket)
            else:
                self.received.append(parsed(await socket.receive_bytes()))
                await socket.send_bytes(confirm())
                await self.script(socket)
        finally:
            self.open -= 1
            with contextlib.suppress(ConnectionError):
                await socket.close()
            self.close_codes.append(socket.close_code)
        return socket

    async def collect(self, socket: Socket) -> None:
        """A script that keeps what comes."""
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                self.received.append(parsed(message.data))

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/v1/console/session-tokens", self._token)
        app.router.add_get("/v2/driveningress/websocket", self._upgrade)
        return app

    @property
    def console_url(self) -> str:
        return f"{self.url}/v1/console"

    @property
    def ingress_url(self) -> str:
        return f"{self.url}/v2/driveningress"


@asynccontextmanager
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    runner = web.AppRunner(server.app(), shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}"
        yield server
    finally:
        await runner.cleanup()


class Told:
    """The callbacks of a session, kept in order."""

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, bool]] = []
        self.errors: list[Exception] = []
        self.closes = 0
        self.order: list[str] = []

    def settings(self) -> dict[str, Any]:
        return {
            "transport_frames": self._frames,
            "on_error": self._error,
            "on_close": self._close,
        }

    def _frames(self, data: bytes, last: bool) -> None:
        self.frames.append((data, last))
        self.order.append("frames")

    def _error(self, error: Exception) -> None:
        self.errors.append(error)
        self.order.append("error")

    def _close(self) -> None:
        self.closes += 1
        self.order.append("close")


def make_session(server: ScriptedServer, **settings: Any) -> AvatarSession:
    """A session with that server, not yet initialized."""
    known: dict[str, Any] = {
        "api_key": "key-1",
        "app_id": "app-1",
        "avatar_id": "avatar-1",
        "expire_at": datetime.now(UTC) + timedelta(minutes=5),
        "console_endpoint_url": server.console_url,
        "ingress_endpoint_url": server.ingress_url,
    }
    return new_avatar_session(**(known | settings))


@asynccontextmanager
async def started(server: ScriptedServer, **settings: Any) -> AsyncIterator[AvatarSession]:
    """A running session; closed afterwards, and then no task of it is left."""
    before = asyncio.all_tasks()
    session = make_session(server, **settings)
    await session.init()
    await session.start()
    try:
        yield session
    finally:
        await session.close()
        left = {task for task in asyncio.all_tasks() - before if "_read_loop" in repr(task)}
        assert not left, left
