"""Another server's side of a media pass, made with nothing but a WebSocket library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

PATIENCE_S = 30.0


class SoundServer:
    """Keeps every frame; `say` sends one. Each connection is in `connections`, in order."""

    def __init__(self) -> None:
        self.port = 0
        self.queries: list[dict[str, list[str]]] = []
        self.connections: list[ServerConnection] = []
        self.frames: list[bytes | str] = []
        self.ended: list[int | None] = []
        """Close codes of connections that are over."""
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://127.0.0.1:{self.port}/pass?room=7"

    async def handle(self, connection: ServerConnection) -> None:
        """One connection, until it is over."""
        assert connection.request is not None
        self.queries.append(parse_qs(urlsplit(connection.request.path).query))
        self.connections.append(connection)
        self._changed.set()
        try:
            async for frame in connection:
                self.frames.append(frame)
                self._changed.set()
        except ConnectionClosed:
            pass
        self.ended.append(connection.close_code)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def say(self, data: bytes | str) -> None:
        """One frame to the newest connection; the first is waited for."""
        await self.until(lambda: bool(self.connections))
        await self.connections[-1].send(data)


@asynccontextmanager
async def sound_server() -> AsyncIterator[SoundServer]:
    """A server on a port of its own."""
    server = SoundServer()
    async with serve(server.handle, "127.0.0.1", 0) as listening:
        server.port = next(iter(listening.sockets)).getsockname()[1]
        yield server
