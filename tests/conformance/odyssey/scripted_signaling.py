"""A signaling server that does what a test says with each socket."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from salon.clients.odyssey import DevConfig, Odyssey

Script = Callable[[ServerConnection], Awaitable[None]]


class ScriptedSignaling:
    """`asked` are the paths of all requests; `refuse` is a status for the next sockets."""

    def __init__(self, script: Script) -> None:
        self.asked: list[str] = []
        self.refuse: int | None = None
        self.config: Mapping[str, Any] = {"iceServers": []}
        self._script = script
        self._server: Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedSignaling]:
        async with serve(
            self._script, "127.0.0.1", 0, process_request=self._request, max_size=None
        ) as server:
            self._server = server
            yield self

    def client(self, **more: Any) -> Odyssey:
        """In the way of versions up to 1.1.1 (O9)."""
        return Odyssey(dev=DevConfig(signaling_url=self.url, session_id="s 1/é"), **more)

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        self.asked.append(request.path)
        if request.path == "/config":
            body = json.dumps(self.config).encode()
            headers = Headers(
                {"Content-Type": "application/json", "Content-Length": str(len(body))}
            )
            return Response(200, "OK", headers, body)
        if self.refuse is not None:
            return connection.respond(http.HTTPStatus(self.refuse), "no\n")
        return None


async def silent(socket: ServerConnection) -> None:
    """Says nothing, until the client goes."""
    with contextlib.suppress(Exception):
        await socket.wait_closed()


async def within(work: Awaitable[Any]) -> Any:
    """With a limit that a busy machine keeps."""
    async with asyncio.timeout(20):
        return await work
