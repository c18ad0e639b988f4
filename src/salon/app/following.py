"""A `Tail` on the wire: as Server-Sent Events and as a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, aclosing
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from salon.app.tail import Beat, End, Item, Shown, Tail

SEND_TIMEOUT_S: Final = 30.0
"""How long a reader may take nothing at all before it is dropped."""
_HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


def as_message(item: Item) -> bytes:
    """An item as a message of an event stream."""
    match item:
        case Shown(index, data):
            return f"id: {index}\ndata: {_json(data)}\n\n".encode()
        case End(reason, after_index):
            data = {"reason": reason, "after_index": after_index}
            return f"event: end\ndata: {_json(data)}\n\n".encode()
        case Beat():
            return b": still here\n\n"


def as_frame(item: Item) -> str:
    """An item as the text of a frame."""
    match item:
        case Shown(index, data):
            return _json({"type": "event", "index": index, "event": data})
        case End(reason, after_index):
            return _json({"type": "end", "reason": reason, "after_index": after_index})
        case Beat():
            return '{"type":"heartbeat"}'


class EventStream(Response):
    """Sends a tail until it ends, the reader leaves, or takes nothing for `SEND_TIMEOUT_S`."""

    def __init__(self, listening: AbstractContextManager[Tail], after_index: int | None) -> None:
        super().__init__(status_code=200, headers=_HEADERS)
        del self.headers["content-length"]
        self._listening = listening
        self._after_index = after_index

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._listening as tail:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

            async def write(item: Item) -> None:
                body = as_message(item)
                await send({"type": "http.response.body", "body": body, "more_body": True})

            async def left() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass

            if await _until_either(_pump(tail, self._after_index, write), left()):
                await send({"type": "http.response.body", "body": b"", "more_body": False})


async def follow_socket(socket: WebSocket, tail: Tail, after_index: int | None) -> None:
    """Send a tail over a socket that is not yet accepted, and close it."""
    await socket.accept()

    async def left() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    async def write(item: Item) -> None:
        try:
            await socket.send_text(as_frame(item))
        except (WebSocketDisconnect, RuntimeError) as error:
            raise EOFError from error

    ended = await _until_either(_pump(tail, after_index, write), left())
    if ended and socket.application_state is WebSocketState.CONNECTED:
        try:
            await socket.close(1000)
        except (RuntimeError, WebSocketDisconnect):
            return


async def _pump(
    tail: Tail, after_index: int | None, write: Callable[[Item], Awaitable[None]]
) -> bool:
    """Whether the tail was sent to its end."""
    async with aclosing(tail.items(after_index)) as items:
        async for item in items:
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await write(item)
            except (TimeoutError, EOFError, OSError):
                return False
    return True


async def _until_either(pump: Coroutine[Any, Any, bool], left: Coroutine[Any, Any, None]) -> bool:
    """Run both until one ends; whether it was the pump, at the end of the tail."""
    sending = asyncio.create_task(pump, name="tail writer")
    leaving = asyncio.create_task(left, name="tail reader")
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return sending.done() and sending.result()
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


def _json(data: Any) -> str:
    # escaped, because readers of event streams split lines at U+2028 and U+0085 too
    return json.dumps(data, ensure_ascii=True, separators=(",", ":"))
