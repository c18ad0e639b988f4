"""One call as Server-Sent Events: what its client is told, and what it is asked (G203)."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from salon.base import SalonError

MAX_WAITING: Final = 1024
"""Events and commands that may wait for one reader; one that falls behind further is let go."""
MAX_SOUND: Final = 50
"""Packets of sound that may wait; the oldest give way."""
COMMENT_S: Final = 15.0
SEND_TIMEOUT_S: Final = 30.0
"""How long a reader may take nothing at all before it is dropped."""
MAX_READERS: Final = 256
_HEADERS: Final = {
    "content-type": "text/event-stream;charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}

Watch = Callable[[str, "CallReader"], Callable[[], None]]
"""Begins to tell a reader of a call; its result ends that."""


class TooManyReadersError(SalonError):
    """No further reader is served now."""

    code = "too_many_listeners"


class CallReader:
    """A `CallWatcher` that keeps what comes until it is read, within bounds."""

    def __init__(self, session_id: str, *, sound: bool = True) -> None:
        self.dropped = 0
        """Packets of sound that were not told."""
        self._id = session_id
        self._sound = sound
        self._waiting: deque[list[Any]] = deque()
        self._packets: deque[list[Any]] = deque()
        self._events = 0
        self._gaps = 0
        """Of `_waiting`: items whose sound was dropped."""
        self._over: str | None = None
        self._changed = asyncio.Event()

    def event(self, data: dict[str, Any]) -> None:
        """The client was told something."""
        self._add("event", data)

    def command(self, data: dict[str, Any]) -> None:
        """A command was taken."""
        self._add("command", data)

    def binary(self, data: bytes) -> None:
        """Sound went to the client."""
        if not self._sound or self._over is not None:
            return
        if len(self._packets) >= MAX_SOUND:
            self._packets.popleft()[1] = None
            self.dropped += 1
            self._gaps += 1
            if self._gaps > MAX_SOUND:
                self._close_gaps()
        item = ["binary", data]
        self._packets.append(item)
        self._waiting.append(item)
        self._changed.set()

    def ended(self) -> None:
        """Nothing comes after this."""
        self.end("")

    def end(self, reason: str) -> None:
        """Let go of the reader, after what waits; `reason` is told unless it is empty."""
        if self._over is None:
            self._over = reason
            self._changed.set()

    def _add(self, kind: str, data: dict[str, Any]) -> None:
        if self._over is not None:
            return
        if self._events >= MAX_WAITING:
            self.end("too slow")
            return
        self._events += 1
        self._waiting.append([kind, data])
        self._changed.set()

    def _close_gaps(self) -> None:
        """What was dropped takes no place either."""
        self._waiting = deque(item for item in self._waiting if item[1] is not None)
        self._gaps = 0

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """What comes, as messages of an event stream, until the end."""
        while True:
            while self._waiting:
                kind, data = self._waiting.popleft()
                if kind != "binary":
                    self._events -= 1
                    yield _message(kind, data)
                elif data is None:
                    self._gaps -= 1
                else:
                    self._packets.popleft()  # the oldest: both are in order
                    yield _message("event", self._packet(data))
            if self._over is not None:
                if self._over:
                    yield _message("end", {"reason": self._over})
                return
            self._changed.clear()
            try:
                async with asyncio.timeout(COMMENT_S):
                    await self._changed.wait()
            except TimeoutError:
                yield b": still here\n\n"

    def _packet(self, data: bytes) -> dict[str, Any]:
        return {"event": "binary", "trackId": self._id, "data": list(data)}


def _message(kind: str, data: Any) -> bytes:
    # escaped, because readers of event streams split lines at U+2028 and U+0085 too
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return f"event: {kind}\ndata: {text}\n\n".encode()


class CallReaders:
    """Those who follow calls now."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._readers: set[CallReader] = set()

    def __len__(self) -> int:
        return len(self._readers)

    def add(self, session_id: str, *, sound: bool = True) -> tuple[CallReader, Callable[[], None]]:
        """A reader of a live call from now on, and how it stops. `TooManyReadersError`."""
        if len(self._readers) >= MAX_READERS:
            raise TooManyReadersError(f"{MAX_READERS} readers follow calls already")
        reader = CallReader(session_id, sound=sound)
        stop = self._watch(session_id, reader)
        self._readers.add(reader)

        def leave() -> None:
            stop()
            self._readers.discard(reader)

        return reader, leave

    def close(self) -> None:
        """The server stops."""
        for reader in self._readers:
            reader.end("the server stops")


class CallStream(Response):
    """Sends what a reader gets until the call ends, who reads leaves, or takes nothing for
    `SEND_TIMEOUT_S`."""

    def __init__(self, reader: CallReader, leave: Callable[[], None]) -> None:
        super().__init__(status_code=200, headers=_HEADERS)
        del self.headers["content-length"]
        self._reader = reader
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            sending = asyncio.create_task(self._pump(send), name="call stream writer")
            leaving = asyncio.create_task(_left(receive), name="call stream reader")
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
                whole = sending.done() and sending.result()
            finally:
                for task in (sending, leaving):
                    task.cancel()
                await asyncio.gather(sending, leaving, return_exceptions=True)
            if whole:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._leave()

    async def _pump(self, send: Send) -> bool:
        """Whether everything was sent."""
        async with aclosing(self._reader.messages()) as messages:
            async for body in messages:
                try:
                    async with asyncio.timeout(SEND_TIMEOUT_S):
                        await send({"type": "http.response.body", "body": body, "more_body": True})
                except (TimeoutError, OSError):
                    return False
        return True


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
