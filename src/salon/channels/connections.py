"""Readers behind callbacks: whoever owns a socket passes a function that sends (R54, R55).

`CallbackConnections` knows who reads which room, `CallbackStream` shows them one answer.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from salon.base import TaskScope
from salon.models import EventSource, RoomEvent
from salon.models.base import Fact

_log = logging.getLogger("salon.channels.connections")

SEND_TIMEOUT_S = 5.0
MAX_FAILURES = 3
"""So many sends that fail one after the other evict a connection."""


class StreamStart(Fact):
    """An answer begins."""

    type: Literal["stream_start"] = "stream_start"
    room_id: str
    stream_id: str
    source: EventSource


class StreamChunk(Fact):
    """More of an answer: `delta` is new, `text` all of it so far. Pieces that wait for a slow
    reader come as one."""

    type: Literal["stream_chunk"] = "stream_chunk"
    room_id: str
    stream_id: str
    delta: str
    text: str


class StreamEnd(Fact):
    """The answer as it was stored."""

    type: Literal["stream_end"] = "stream_end"
    room_id: str
    stream_id: str
    event: RoomEvent


class StreamError(Fact):
    """The answer was not stored: it failed, or was withdrawn."""

    type: Literal["stream_error"] = "stream_error"
    room_id: str
    stream_id: str
    error: str


StreamMessage = StreamStart | StreamChunk | StreamEnd | StreamError
SendFn = Callable[[str, RoomEvent], Awaitable[None] | None]
"""``(connection_id, event)``."""
StreamSendFn = Callable[[str, StreamMessage], Awaitable[None] | None]


@dataclass(slots=True, eq=False)
class CallbackConnection:
    """One registration of a reader; the same id registered again is another one."""

    connection_id: str
    send: SendFn
    stream_send: StreamSendFn | None = None
    organization_id: str | None = None
    rooms: set[str] = field(default_factory=set)
    failures: int = 0
    """Failed sends since the last that went well."""
    gone: bool = False

    def reads(self, room_id: str, organization_id: str | None) -> bool:
        """Whether it follows this room of this organization (R267)."""
        return room_id in self.rooms and self.organization_id in (None, organization_id)


class CallbackConnections:
    """Who is connected and follows which rooms. A connection id comes from the host, never from
    its clients: ids are one namespace for all organizations."""

    def __init__(self, send_timeout: float = SEND_TIMEOUT_S) -> None:
        self._send_timeout = send_timeout
        self._by_id: dict[str, CallbackConnection] = {}
        self._in_room: dict[str, dict[str, CallbackConnection]] = {}
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def register(
        self,
        connection_id: str,
        send_fn: SendFn,
        room_id: str,
        stream_send_fn: StreamSendFn | None,
        organization_id: str | None,
    ) -> None:
        """Add a reader of a room, or replace the one of this id, which keeps its rooms if it is of
        the same organization. `ValueError` if another organization has the id."""
        known = self._by_id.get(connection_id)
        if known is not None and organization_id is not None:
            self._check(connection_id, organization_id)
        kept: set[str] = set()
        if known is not None:
            if known.organization_id == organization_id:
                kept = set(known.rooms)
            self._forget(known)
        connection = CallbackConnection(connection_id, send_fn, stream_send_fn, organization_id)
        self._by_id[connection_id] = connection
        for each in (*kept, room_id):
            self._join(connection, each)

    def unregister(self, connection_id: str, organization_id: str | None) -> None:
        """Forget a reader; without an organization an unknown one is none."""
        self._check(connection_id, organization_id)
        connection = self._by_id.get(connection_id)
        if connection is not None:
            self._forget(connection)

    def subscribe(self, connection_id: str, room_id: str, organization_id: str | None) -> None:
        """Follow one more room."""
        self._check(connection_id, organization_id)
        connection = self._by_id.get(connection_id)
        if connection is not None:
            self._join(connection, room_id)

    def unsubscribe(self, connection_id: str, room_id: str, organization_id: str | None) -> None:
        """Follow one room less."""
        self._check(connection_id, organization_id)
        connection = self._by_id.get(connection_id)
        if connection is not None:
            self._leave(connection, room_id)

    def end_room(self, room_id: str) -> list[str]:
        """A room is gone. Forget the readers who followed no other; returns their ids."""
        ended: list[str] = []
        for reader in list(self._in_room.get(room_id, {}).values()):
            self._leave(reader, room_id)
            if not reader.rooms:
                self._forget(reader)
                ended.append(reader.connection_id)
        return ended

    def rooms_for(self, connection_id: str) -> set[str]:
        """What a reader follows."""
        connection = self._by_id.get(connection_id)
        return set() if connection is None else set(connection.rooms)

    @property
    def room_count(self) -> int:
        """Rooms that somebody follows."""
        return len(self._in_room)

    def readers(self, room_id: str, organization_id: str | None) -> list[CallbackConnection]:
        """Who follows a room now."""
        followers = self._in_room.get(room_id, {}).values()
        return [reader for reader in followers if reader.reads(room_id, organization_id)]

    def has_readers(self, room_id: str) -> bool:
        """Whether anybody is in a room."""
        return bool(self._in_room.get(room_id))

    def has_streaming_readers(self, room_id: str) -> bool:
        """Whether anybody in a room takes answers while they form."""
        return any(
            reader.stream_send is not None for reader in self._in_room.get(room_id, {}).values()
        )

    async def send_event(self, event: RoomEvent, readers: Iterable[CallbackConnection]) -> None:
        """Give an event to readers, to all of them at once."""
        await asyncio.gather(
            *(self.send(reader, reader.send, event) for reader in readers if not reader.gone)
        )

    async def send(
        self, reader: CallbackConnection, function: Callable[[str, Any], Any], message: object
    ) -> None:
        """Send one thing to one reader, for a bounded time; who fails too often is evicted."""
        try:
            async with asyncio.timeout(self._send_timeout):
                result = function(reader.connection_id, message)
                if inspect.isawaitable(result):
                    await result
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._failed(reader, "was cancelled")
        except TimeoutError:
            self._failed(reader, f"took longer than {self._send_timeout:g} s")
        except Exception as error:  # noqa: BLE001 - the host's code
            self._failed(reader, type(error).__name__)
        else:
            reader.failures = 0

    def close(self) -> None:
        """Forget everybody."""
        for connection in list(self._by_id.values()):
            self._forget(connection)

    def _failed(self, reader: CallbackConnection, why: str) -> None:
        reader.failures += 1
        _log.warning("a send to connection %s failed: %s", reader.connection_id, why)
        if reader.failures >= MAX_FAILURES and not reader.gone:
            _log.warning("connection %s is evicted", reader.connection_id)
            self.evictions += 1
            self._forget(reader)

    def _check(self, connection_id: str, organization_id: str | None) -> None:
        """Another organization's connection does not exist (R267)."""
        if organization_id is None:
            return
        known = self._by_id.get(connection_id)
        if known is None or known.organization_id != organization_id:
            raise ValueError(
                f"organization {organization_id!r} has no connection {connection_id!r}"
            )

    def _join(self, connection: CallbackConnection, room_id: str) -> None:
        connection.rooms.add(room_id)
        self._in_room.setdefault(room_id, {})[connection.connection_id] = connection

    def _leave(self, connection: CallbackConnection, room_id: str) -> None:
        connection.rooms.discard(room_id)
        followers = self._in_room.get(room_id, {})
        followers.pop(connection.connection_id, None)
        if not followers:
            self._in_room.pop(room_id, None)

    def _forget(self, connection: CallbackConnection) -> None:
        for room_id in list(connection.rooms):
            self._leave(connection, room_id)
        connection.gone = True
        del self._by_id[connection.connection_id]


class CallbackStream:
    """One answer, shown to the readers who are there when it begins, each at its own pace. Holds
    the answer's text once, however many read it and however slowly."""

    def __init__(
        self,
        connections: CallbackConnections,
        announced: RoomEvent,
        organization_id: str | None,
        scope: TaskScope,
    ) -> None:
        self._connections = connections
        self._announced = announced
        self._organization_id = organization_id
        self._text = ""
        self._last: StreamEnd | StreamError | None = None
        self._wakes: list[asyncio.Event] = []
        self._readers: list[CallbackConnection] = []
        self._tasks: list[asyncio.Task[None]] = []
        for reader in connections.readers(announced.room_id, organization_id):
            if reader.stream_send is not None:
                wake = asyncio.Event()
                self._readers.append(reader)
                self._wakes.append(wake)
                show = self._show(reader, reader.stream_send, wake)
                self._tasks.append(scope.spawn(show, name=reader.connection_id))

    def add(self, delta: str) -> None:
        """More of the answer."""
        if self._readers:
            self._text += delta
            self._wake()

    async def finish(self, stored: RoomEvent | None, error: str | None) -> None:
        """Give everybody the stored event, and after it tell those who saw it form how it ended.
        Returns when all know."""
        room_id, stream_id = self._announced.room_id, self._announced.id
        if stored is not None and error is None:
            self._last = StreamEnd(room_id=room_id, stream_id=stream_id, event=stored)
        else:
            said = error or "the answer was withdrawn"
            self._last = StreamError(room_id=room_id, stream_id=stream_id, error=said)
        self._wake()
        others: list[CallbackConnection] = []
        if stored is not None:
            here = self._connections.readers(room_id, self._organization_id)
            others = [reader for reader in here if reader not in self._readers]
            await self._connections.send_event(stored, others)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def abandon(self) -> None:
        """Nothing more comes, and nobody is told."""
        for task in self._tasks:
            task.cancel()

    def _wake(self) -> None:
        for wake in self._wakes:
            wake.set()

    async def _show(
        self, reader: CallbackConnection, send: StreamSendFn, wake: asyncio.Event
    ) -> None:
        room_id, stream_id = self._announced.room_id, self._announced.id
        start = StreamStart(room_id=room_id, stream_id=stream_id, source=self._announced.source)
        await self._connections.send(reader, send, start)
        shown = 0
        while not reader.gone:
            if len(self._text) > shown:
                text = self._text
                delta, shown = text[shown:], len(text)
                chunk = StreamChunk(room_id=room_id, stream_id=stream_id, delta=delta, text=text)
                await self._connections.send(reader, send, chunk)
            elif self._last is not None:
                if isinstance(self._last, StreamEnd):
                    await self._connections.send(reader, reader.send, self._last.event)
                await self._connections.send(reader, send, self._last)
                return
            else:
                wake.clear()
                await wake.wait()


__all__ = [
    "MAX_FAILURES",
    "SEND_TIMEOUT_S",
    "CallbackConnection",
    "CallbackConnections",
    "CallbackStream",
    "SendFn",
    "StreamChunk",
    "StreamEnd",
    "StreamError",
    "StreamMessage",
    "StreamSendFn",
    "StreamStart",
]
