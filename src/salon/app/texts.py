"""One page's text socket: a person reads and writes in a room."""

from __future__ import annotations

import asyncio
from typing import Any

from salon.app.guests import Guests, checked_id, shown_name
from salon.app.house import TextPeer
from salon.app.version import version
from salon.base import LOCAL, Principal, SalonError, new_id
from salon.channels.websocket import Connection, WebSocketChannel

HISTORY = 50
MAX_HISTORY = 200
MAX_TEXT = 8000
"""Longest message, characters."""


class _Refused(Exception):
    """What the page sent cannot be done; the socket goes on."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RoomSockets:
    """Serves ``/ws/{room_id}``.

    To the page: ``hello``, ``history``, ``event``, ``stream_start``, ``stream_chunk``,
    ``stream_end``, ``stream_error``, ``caption``, ``error``. From it: ``message {text,
    idempotency_key?}`` and ``history {before_index, limit}``. What a page sends wrongly gets an
    ``error`` and nothing else happens.
    """

    def __init__(self, guests: Guests, channel: WebSocketChannel) -> None:
        self._guests = guests
        self._channel = channel

    async def serve(
        self,
        peer: TextPeer,
        room_id: str,
        participant_id: str | None,
        name: str | None,
        *,
        principal: Principal = LOCAL,
    ) -> None:
        """Until the page leaves (`EOFError` rises) or is evicted for reading too slowly. Whoever
        has a room token comes as its participant, whatever they say."""
        grant = principal.grant
        if grant is not None:
            participant_id, name = grant.participant_id, grant.name
        participant_id = participant_id or new_id()
        name = shown_name(name)
        try:
            checked_id(participant_id, "participant id")
            await self._guests.enter(
                room_id, participant_id, self._channel.channel_id, name, principal=principal
            )
        except SalonError as error:
            await peer.send({"type": "error", "code": error.code, "message": str(error)})
            return
        connection = self._channel.connect(room_id, participant_id, name)
        try:
            connection.post(
                {
                    "type": "hello",
                    "room_id": room_id,
                    "participant_id": participant_id,
                    "version": version(),
                }
            )
            await self._history(connection, None, HISTORY)
            await self._exchange(peer, connection, writes=grant is None or grant.writes)
        finally:
            self._channel.disconnect(connection)

    async def _exchange(self, peer: TextPeer, connection: Connection, *, writes: bool) -> None:
        tasks = (
            asyncio.create_task(self._write(peer, connection), name="room socket writer"),
            asyncio.create_task(self._read(peer, connection, writes), name="room socket reader"),
        )
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    @staticmethod
    async def _write(peer: TextPeer, connection: Connection) -> None:
        async for message in connection.messages():
            await peer.send(message)
        if connection.evicted:
            await peer.send(
                {"type": "error", "code": "too_slow", "message": "too many unread messages"}
            )

    async def _read(self, peer: TextPeer, connection: Connection, writes: bool) -> None:
        while True:
            try:
                message = await peer.receive()
                await self._take(connection, message, writes)
            except ValueError as error:
                _complain(connection, "bad_message", str(error))
            except _Refused as error:
                _complain(connection, error.code, str(error))
            except SalonError as error:
                _complain(connection, error.code, str(error))

    async def _take(self, connection: Connection, message: Any, writes: bool) -> None:
        if not isinstance(message, dict):
            raise _Refused("bad_message", "a JSON object is expected")
        match message.get("type"):
            case "message" if not writes:
                raise _Refused("forbidden", "this room token is for reading")
            case "message":
                await self._say(connection, message)
            case "history":
                before, limit = message.get("before_index"), message.get("limit", HISTORY)
                if not isinstance(before, int) or not isinstance(limit, int) or before < 0:
                    raise _Refused("bad_message", "history needs before_index, a whole number")
                await self._history(connection, before, min(max(limit, 1), MAX_HISTORY))
            case other:
                raise _Refused("unknown_type", f"there is no message type {str(other)[:40]!r}")

    async def _say(self, connection: Connection, message: dict[str, Any]) -> None:
        text, key = message.get("text"), message.get("idempotency_key")
        if not isinstance(text, str) or not text.strip():
            raise _Refused("bad_message", "a message needs text")
        if len(text) > MAX_TEXT:
            raise _Refused("too_long", f"a message has at most {MAX_TEXT} characters")
        if key is not None and (not isinstance(key, str) or not 0 < len(key) <= 128):
            raise _Refused("bad_message", "idempotency_key has 1 to 128 characters")
        refusal = await self._channel.say(connection, text.strip(), idempotency_key=key)
        if refusal is not None:
            raise _Refused("refused", f"the message was refused: {refusal}")

    async def _history(self, connection: Connection, before: int | None, limit: int) -> None:
        page = await self._guests.timeline(connection.room_id, before_index=before, limit=limit)
        if page is not None:
            connection.post({"type": "history", "events": page.events, "has_more": page.has_more})


def _complain(connection: Connection, code: str, message: str) -> None:
    connection.post({"type": "error", "code": code, "message": message[:500]})
