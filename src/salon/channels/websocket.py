"""People who take part in a room as text, live: browsers and programs on a WebSocket (R54, R55).

The channel knows connections, not sockets. There are two ways to stand behind one: whoever owns a
socket reads a connection's `messages` and sends them as JSON (`connect`; nothing waits for a slow
reader), or passes functions that send (`register_connection`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from salon.base import TaskScope, new_id
from salon.channels.connections import (
    SEND_TIMEOUT_S,
    CallbackConnections,
    CallbackStream,
    SendFn,
    StreamChunk,
    StreamEnd,
    StreamError,
    StreamMessage,
    StreamSendFn,
    StreamStart,
)
from salon.core.kit import RoomKit
from salon.core.ports.channel import Channel, StreamOutcome
from salon.models import (
    NO_OUTPUT,
    ChannelBinding,
    ChannelCapabilities,
    ChannelMediaType,
    ChannelOutput,
    ChannelType,
    EventStatus,
    InboundMessage,
    RoomContext,
    RoomEvent,
    TextContent,
)

_log = logging.getLogger("salon.channels.websocket")

Message = dict[str, Any]
BOUND = 512
"""Messages a connection may have unread; one more and it is evicted."""
MERGED = 4096
"""Pieces of one answer that wait for the same reader become one, of about this many characters."""
MAX_LIVE = 64
"""Answers of one room that a reader who joins late gets from their beginning."""


def event_json(event: RoomEvent) -> dict[str, Any]:
    """An event as clients see it: without the raw payload of its provider."""
    return event.model_dump(
        mode="json", exclude={"source": {"raw_payload"}, "delivery_results": True}
    )


class _Live:
    """An answer that is being shown: how it was announced and what was said of it so far."""

    def __init__(self, start: Message) -> None:
        self.start = start
        self.size = 0
        """Characters so far."""
        self._parts: list[str] = []

    def add(self, delta: str) -> int:
        """Take a piece in; returns how many characters came before it."""
        at = self.size
        self._parts.append(delta)
        self.size += len(delta)
        return at

    @property
    def text(self) -> str:
        self._parts = ["".join(self._parts)]
        return self._parts[0]


class Connection:
    """One reader in one room. `messages` ends when the connection is closed or evicted.

    What is posted before `messages` is read comes first; then come the answers `live` at that
    moment, from their beginning.
    """

    def __init__(
        self,
        room_id: str,
        participant_id: str,
        name: str | None,
        live: Callable[[], Iterable[_Live]] = tuple,
    ) -> None:
        self.room_id = room_id
        self.participant_id = participant_id
        self.name = name
        self.evicted = False
        self._live = live
        self._waiting: deque[Message] = deque()
        self._streams: set[str] = set()
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def post(self, message: Message) -> None:
        """Add a message; a reader that is too far behind is evicted."""
        if self._closed:
            return
        if len(self._waiting) >= BOUND:
            _log.warning("a reader in room %s is too slow and is evicted", self.room_id)
            self.evicted = True
            self.close()
            return
        match message["type"]:
            case "stream_start":
                self._streams.add(message["stream_id"])
            case "stream_end" | "stream_error":
                self._streams.discard(message["stream_id"])
        self._waiting.append(message)
        self._wake.set()

    def post_piece(self, stream_id: str, at: int, delta: str) -> None:
        """Add a piece of an answer, to one of it that still waits if there is such a piece. An
        answer this reader was not told of is left out."""
        if self._closed or stream_id not in self._streams:
            return
        for message in reversed(self._waiting):
            if message.get("stream_id") == stream_id:
                if message["type"] == "stream_chunk" and len(message["delta"]) < MERGED:
                    message["delta"] += delta
                    return
                break
        self.post({"type": "stream_chunk", "stream_id": stream_id, "at": at, "delta": delta})

    def close(self) -> None:
        """No more messages; idempotent."""
        self._closed = True
        self._wake.set()

    async def messages(self) -> AsyncIterator[Message]:
        """What is to be sent, in order; for one reader."""
        self._catch_up()
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._closed:
                return
            self._wake.clear()
            await self._wake.wait()

    def _catch_up(self) -> None:
        """The answers that had begun before this reader came."""
        for live in tuple(self._live()):
            stream_id = live.start["stream_id"]
            if stream_id not in self._streams:
                self.post(live.start)
                self.post_piece(stream_id, 0, live.text)


class WebSocketChannel(Channel):
    """The channel ``websocket``: typed text in, everything visible out, answers as they form."""

    channel_type = ChannelType.WEBSOCKET
    sender_is_participant = True

    def __init__(
        self, channel_id: str = "websocket", *, send_timeout: float = SEND_TIMEOUT_S
    ) -> None:
        """`send_timeout` bounds one call of a function that sends, in seconds."""
        super().__init__(channel_id)
        self._callbacks = CallbackConnections(send_timeout)
        self._streams: dict[tuple[str, str], CallbackStream] = {}
        self._showing = TaskScope(f"{channel_id} streams")
        self._kit: RoomKit | None = None
        self._rooms: dict[str, set[Connection]] = {}
        self._live: dict[str, dict[str, _Live]] = {}

    @property
    def provider_name(self) -> str | None:
        return "websocket"

    def capabilities(self) -> ChannelCapabilities:
        """What a browser can show (chapter 7)."""
        return ChannelCapabilities(
            media_types=[
                ChannelMediaType.TEXT,
                ChannelMediaType.RICH,
                ChannelMediaType.MEDIA,
                ChannelMediaType.AUDIO,
                ChannelMediaType.VIDEO,
                ChannelMediaType.LOCATION,
            ],
            supports_typing=True,
            supports_read_receipts=True,
            supports_reactions=True,
            supports_buttons=True,
            supports_cards=True,
            supports_quick_replies=True,
            supports_audio=True,
            supports_video=True,
            supports_media=True,
            supports_edit=True,
            supports_delete=True,
        )

    @property
    def connections(self) -> int:
        """Readers now."""
        return sum(len(readers) for readers in self._rooms.values())

    @property
    def connection_count(self) -> int:
        """Readers now, and connections registered with functions that send."""
        return self.connections + len(self._callbacks)

    @property
    def info(self) -> dict[str, Any]:
        return {
            "connection_count": self.connection_count,
            "room_count": len(self._rooms) + self._callbacks.room_count,
            "evictions": self._callbacks.evictions,
        }

    def bind(self, kit: RoomKit) -> None:
        self._kit = kit
        kit.on_commit(self._committed)

    def connect(
        self, room_id: str, participant_id: str | None = None, name: str | None = None
    ) -> Connection:
        """A reader joins; it gets what happens from now on, and answers that form now wholly."""
        connection = Connection(
            room_id, participant_id or new_id(), name, lambda: self._live.get(room_id, {}).values()
        )
        self._rooms.setdefault(room_id, set()).add(connection)
        return connection

    def disconnect(self, connection: Connection) -> None:
        """A reader leaves; idempotent."""
        connection.close()
        readers = self._rooms.get(connection.room_id)
        if readers is not None:
            readers.discard(connection)
            if not readers:
                del self._rooms[connection.room_id]

    def register_connection(
        self,
        connection_id: str,
        send_fn: SendFn,
        *,
        room_id: str,
        stream_send_fn: StreamSendFn | None = None,
        organization_id: str | None = None,
    ) -> None:
        """A reader joins a room; it gets the whole events of others by ``send_fn(connection_id,
        event)``, and with `stream_send_fn` answers as `StreamMessage`, while they form (R55).

        With `organization_id` only rooms of that organization reach it, and only calls for it may
        change it: `ValueError` otherwise. An id registered again is replaced; what is being
        streamed to the old one ends there.
        """
        self._callbacks.register(connection_id, send_fn, room_id, stream_send_fn, organization_id)

    def unregister_connection(
        self, connection_id: str, *, organization_id: str | None = None
    ) -> None:
        """A reader leaves all its rooms; idempotent."""
        self._callbacks.unregister(connection_id, organization_id)

    def subscribe(
        self, connection_id: str, room_id: str, *, organization_id: str | None = None
    ) -> None:
        """Let a registered connection follow one more room."""
        self._callbacks.subscribe(connection_id, room_id, organization_id)

    def unsubscribe(
        self, connection_id: str, room_id: str, *, organization_id: str | None = None
    ) -> None:
        """Let it follow one room less."""
        self._callbacks.unsubscribe(connection_id, room_id, organization_id)

    def end_room(self, room_id: str) -> list[str]:
        """A room was deleted: who was registered for it alone leaves; returns their ids."""
        return self._callbacks.end_room(room_id)

    def reaches(self, room_id: str) -> bool:
        return room_id in self._rooms or self._callbacks.has_readers(room_id)

    def rooms_for(self, connection_id: str) -> set[str]:
        """What a registered connection follows."""
        return self._callbacks.rooms_for(connection_id)

    def caption(
        self, room_id: str, participant_id: str, name: str | None, text: str, final: bool
    ) -> None:
        """Interim words of somebody who is speaking."""
        self._spread(
            room_id,
            {
                "type": "caption",
                "participant_id": participant_id,
                "name": name,
                "text": text,
                "final": final,
            },
        )

    async def say(
        self, connection: Connection, text: str, *, idempotency_key: str | None = None
    ) -> str | None:
        """A reader typed something. Returns why it was refused, or None; it does not wait for
        answers."""
        assert self._kit is not None, "the channel is not registered"
        metadata = {"sender_name": connection.name} if connection.name else {}
        result = await self._kit.process_inbound(
            InboundMessage(
                channel_id=self.channel_id,
                sender_id=connection.participant_id,
                content=TextContent(body=text),
                idempotency_key=idempotency_key,
                metadata=metadata,
            ),
            room_id=connection.room_id,
            detached=True,
        )
        return (result.reason or "refused") if result.blocked else None

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        if binding.room_id in self._rooms:
            self._spread(binding.room_id, {"type": "event", "event": event_json(event)})
        readers = self._callbacks.readers(binding.room_id, context.room.organization_id)
        if readers:
            await self._callbacks.send_event(event, readers)
        return NO_OUTPUT

    @property
    def supports_streaming_delivery(self) -> bool:
        return True

    def accepts_stream(self, binding: ChannelBinding) -> bool:
        room_id = binding.room_id
        return room_id in self._rooms or self._callbacks.has_streaming_readers(room_id)

    async def deliver_stream(
        self,
        text_stream: AsyncIterator[str],
        event: RoomEvent,
        binding: ChannelBinding,
        context: RoomContext,
    ) -> StreamOutcome:
        """Show the text while it is produced (R55)."""
        room_id = binding.room_id
        source = event_json(event)["source"] | {"name": event.metadata.get("sender_name")}
        start: Message = {
            "type": "stream_start",
            "room_id": room_id,
            "stream_id": event.id,
            "source": source,
        }
        live = self._begin(room_id, start)
        callbacks = self._streams[room_id, event.id] = CallbackStream(
            self._callbacks, event, context.room.organization_id, self._showing
        )
        try:
            async for delta in text_stream:
                at = live.add(delta)
                callbacks.add(delta)
                for connection in tuple(self._rooms.get(room_id, ())):
                    connection.post_piece(event.id, at, delta)
                    self._drop_closed(connection)
        except BaseException:
            self._forget(room_id, event.id)
            self._streams.pop((room_id, event.id), callbacks).abandon()
            raise
        return StreamOutcome()

    async def finish_stream(
        self,
        announced: RoomEvent,
        stored: RoomEvent | None,
        binding: ChannelBinding,
        error: str | None,
    ) -> None:
        self._forget(binding.room_id, announced.id)
        message: Message
        if error is not None:
            message = {"type": "stream_error", "stream_id": announced.id, "error": error}
        else:
            event = None if stored is None else event_json(stored)
            message = {"type": "stream_end", "stream_id": announced.id, "event": event}
        self._spread(binding.room_id, message)
        callbacks = self._streams.pop((binding.room_id, announced.id), None)
        if callbacks is not None:
            await callbacks.finish(stored, error)

    async def on_room_detached(self, room_id: str) -> None:
        for connection in tuple(self._rooms.get(room_id, ())):
            self.disconnect(connection)
        self._live.pop(room_id, None)
        for key in [key for key in self._streams if key[0] == room_id]:
            ending = self._streams.pop(key).finish(None, None)  # nobody waits for slow readers
            self._showing.spawn(ending, name=f"end of {key[1]}")

    def _begin(self, room_id: str, start: Message) -> _Live:
        answers = self._live.setdefault(room_id, {})
        while len(answers) >= MAX_LIVE:
            del answers[next(iter(answers))]
        live = answers[start["stream_id"]] = _Live(start)
        self._spread(room_id, start)
        return live

    def _forget(self, room_id: str, stream_id: str) -> None:
        answers = self._live.get(room_id, {})
        answers.pop(stream_id, None)
        if not answers:
            self._live.pop(room_id, None)

    async def close(self) -> None:
        await self._showing.close()
        self._streams.clear()
        self._callbacks.close()
        for readers in list(self._rooms.values()):
            for connection in list(readers):
                self.disconnect(connection)

    def _committed(self, event: RoomEvent) -> None:
        """What one reader typed, to all readers: a channel gets no events of its own (R74), but
        behind this one stand many people."""
        if (
            event.source.channel_id != self.channel_id
            or event.status is not EventStatus.DELIVERED
            or not self._shows(event.visibility)
        ):
            return
        self._spread(event.room_id, {"type": "event", "event": event_json(event)})

    def _shows(self, scope: str) -> bool:
        """Whether an event of this scope is for the people here (R77)."""
        listed = {item.strip() for item in scope.split(",")}
        return scope in ("all", "transport") or self.channel_id in listed

    def _spread(self, room_id: str, message: Mapping[str, Any]) -> None:
        shared = dict(message)
        for connection in tuple(self._rooms.get(room_id, ())):
            connection.post(shared)
            self._drop_closed(connection)

    def _drop_closed(self, connection: Connection) -> None:
        if connection.closed:
            self.disconnect(connection)


__all__ = [
    "Connection",
    "Message",
    "SendFn",
    "StreamChunk",
    "StreamEnd",
    "StreamError",
    "StreamMessage",
    "StreamSendFn",
    "StreamStart",
    "WebSocketChannel",
    "event_json",
]
