"""A service that speaks streamed chat completions over real sockets, as a test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self


class Exchange:
    """One request and the means to answer it byte by byte."""

    def __init__(
        self,
        line: str,
        headers: dict[str, str],
        body: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.line = line
        self.headers = headers
        self.body = body
        self._reader = reader
        self._writer = writer

    async def head(self, status: int = 200, kind: str = "text/event-stream") -> None:
        """The header, of an answer whose end is the connection's."""
        self._writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        await self._writer.drain()

    async def write(self, data: bytes) -> None:
        """One HTTP chunk."""
        self._writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self._writer.drain()

    async def end(self) -> None:
        """The last HTTP chunk: the answer ends in good order."""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    def cut(self) -> None:
        """Reset the connection."""
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        try:
            while await self._reader.read(1024):
                pass
        except ConnectionError:
            return


Behaviour = Callable[[Exchange], Awaitable[None]]


class ChatServer:
    """Listens on a free loopback port. `behaviour` answers; `requests` holds what came."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self.requests: list[Exchange] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *rest = head.strip().split("\r\n")
            headers = {k.lower(): v for k, v in (item.split(": ", 1) for item in rest)}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            exchange = Exchange(line, headers, body, reader, writer)
            self.requests.append(exchange)
            await self._behaviour(exchange)
        finally:
            writer.close()


def event(data: object) -> bytes:
    """One server-sent event."""
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def chunk(delta: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """One completion chunk with a delta, as the protocol documents it."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": fields.pop("finish_reason", None)}
    return event(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "test-model-1",
            "choices": [choice],
            **fields,
        }
    )


def answer(*texts: str) -> bytes:
    """A whole streamed answer with its counts."""
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return b"".join(
        (
            chunk({"role": "assistant", "content": ""}),
            *(chunk({"content": text}) for text in texts),
            chunk(finish_reason="stop"),
            chunk(choices=[], usage=usage),
            event("[DONE]"),
        )
    )


def replies(data: bytes, size: int | None = None) -> Behaviour:
    """Send `data`, in HTTP chunks of `size` bytes."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head()
        step = size or len(data)
        for start in range(0, len(data), step):
            await exchange.write(data[start : start + step])
        await exchange.end()

    return behave


def refuses(status: int, body: str, kind: str = "application/json") -> Behaviour:
    """Send an error."""

    async def behave(exchange: Exchange) -> None:
        await exchange.head(status, kind)
        await exchange.write(body.encode())
        await exchange.end()

    return behave
