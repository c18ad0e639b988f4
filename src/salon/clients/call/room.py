"""The text socket of a room."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from salon.base import SYSTEM_CLOCK, Clock
from salon.clients.call.addresses import room_url
from salon.clients.call.answers import Answers
from salon.clients.call.connection import Connection
from salon.clients.call.errors import ClientError
from salon.clients.call.events import RoomMessage, parse_object
from salon.clients.call.journal import Cursor, Journal

MAX_MESSAGES: Final = 4096
"""Messages kept for readers."""
MAX_ROOM_MESSAGE: Final = 64 * 1024 * 1024
"""Longest message of a room, bytes. An answer has at most 200 000 characters, which are 1.2 MB at
worst, and a page of history holds 50 of them."""


class RoomSocketClient:
    """Reads along in a room and writes into it.

    The server sends `hello`, `history`, `event`, `stream_start`, `stream_chunk`, `stream_end`,
    `stream_error`, `caption` and `error`. Every reader of `messages` sees all from the beginning.
    A piece of an answer holds what is new (`delta`) and how many characters came before it (`at`);
    `text` puts them together.
    """

    def __init__(self, connection: Connection, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Use `connect` instead."""
        self._connection = connection
        self._clock = clock
        self._messages: Journal[RoomMessage] = Journal(MAX_MESSAGES)
        self._waiting = self._messages.read()
        self._answers = Answers()
        self.bad_frames = 0
        """Frames that were no message."""
        connection.start(self._on_text, self._on_binary, self._on_end)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        room: str,
        *,
        api_key: str | None = None,
        participant: str | None = None,
        name: str | None = None,
        open_timeout: float = 10,
        tls: ssl.SSLContext | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> AsyncIterator[Self]:
        """Join `room` on the server at `url`, e.g. ``ws://127.0.0.1:8000``. Errors as with
        `CallClient.connect`."""
        target = room_url(url, room, {"participant": participant, "name": name})
        connection = await Connection.open(
            target, api_key=api_key, open_timeout=open_timeout, tls=tls, max_size=MAX_ROOM_MESSAGE
        )
        client = cls(connection, clock=clock)
        try:
            yield client
        finally:
            await client.close()

    async def send(self, message: dict[str, Any]) -> None:
        """Send any message as it is. `CallClosed` after the end."""
        await self._connection.send(json.dumps(message, ensure_ascii=False))

    async def say(self, text: str, *, idempotency_key: str | None = None) -> None:
        """Write `text` into the room; the same key is stored once only."""
        key = {} if idempotency_key is None else {"idempotency_key": idempotency_key}
        await self.send({"type": "message", "text": text} | key)

    async def history(self, before_index: int, limit: int = 50) -> None:
        """Ask for older events; a `history` message brings them."""
        await self.send({"type": "history", "before_index": before_index, "limit": limit})

    def messages(self) -> Cursor[RoomMessage]:
        """All messages from the first kept (of `MAX_MESSAGES`) to the end of the connection, where
        `CallClosed` is raised if it did not end with code 1000."""
        return self._messages.read()

    async def wait_for(
        self, *types: str, timeout: float | None = 10, **data: Any
    ) -> RoomMessage | None:
        """The next message of one of these types (any, without types) and these values, after the
        one `wait_for` gave last. None after `timeout` seconds or at the end."""
        try:
            async with asyncio.timeout(timeout):
                async for message in self._waiting:
                    right = not types or message.type in types
                    if right and all(message.data.get(key) == data[key] for key in data):
                        return message
        except TimeoutError:
            return None
        return None

    def text(self, stream_id: str) -> str:
        """All that was received so far of an answer, of the last 32 that had words; empty for
        others."""
        return self._answers.text(stream_id)

    @property
    def gaps(self) -> int:
        """Pieces of answers before which something was missing."""
        return self._answers.gaps

    @property
    def close_code(self) -> int | None:
        """The code of the Close frame, 1006 without one; None while it is open."""
        return self._connection.close_code

    async def close(self) -> None:
        """Leave; idempotent."""
        await self._connection.close()

    def _on_text(self, text: str) -> None:
        parsed = parse_object(text, "type")
        if parsed is None:
            self.bad_frames += 1
            return
        if parsed[0] == "stream_chunk":
            self._answers.take_message(parsed[1])
        self._messages.append(RoomMessage(*parsed, self._clock.monotonic()))

    def _on_binary(self, _data: bytes) -> None:
        self.bad_frames += 1

    def _on_end(self, error: ClientError | None) -> None:
        self._messages.close(error)
