"""One page's text socket: a person reads and writes in a room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from salon.app.access import stamp_of
from salon.app.fit import UnfitError, one_line
from salon.app.guests import Guests, path_id, shown_name
from salon.app.house import TextPeer
from salon.app.idempotency import scoped_key, shown_key
from salon.app.observer import bars
from salon.app.problems import words_of
from salon.app.version import version
from salon.base import LOCAL, Principal, SalonError, new_id
from salon.channels.websocket import Connection, WebSocketChannel
from salon.core.errors import RoomNotFoundError
from salon.core.framework import FrameworkEvent
from salon.core.kit import RoomKit
from salon.models import EventType, RoomEvent

HISTORY = 50
MAX_HISTORY = 200
MAX_TEXT = 8000
"""Longest message, characters."""
MAX_KEY = 128

_log = logging.getLogger("salon.app")


class _Refused(Exception):
    """What the page sent cannot be done; the socket goes on."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Seat:
    """Somebody's place in a room, taken before they are let in: what happens to the room from
    there on, the seat hears of."""

    def __init__(self, room_id: str, participant_id: str, principal: Principal) -> None:
        self.room_id = room_id
        self.participant_id = participant_id
        self.principal = principal
        self.stamp = ""
        """Which of the rooms of this id it is."""
        self.ended: str | None = None
        self.connection: Connection | None = None

    def end(self, reason: str) -> None:
        """No more; the first reason counts."""
        self.ended = self.ended or reason
        if self.connection is not None:
            self.connection.close()


_ENDS = {
    "room_deleted": "this room was deleted",
    "participant_not_admitted": "you were barred from this room",
}


class RoomSockets:
    """Serves ``/ws/{room_id}``.

    To the page: ``hello``, ``history``, ``event``, ``stream_start``, ``stream_chunk``,
    ``stream_end``, ``stream_error``, ``caption``, ``error``. From it: ``message {text,
    idempotency_key?}`` and ``history {before_index, limit}``. What a page sends wrongly gets an
    ``error`` and nothing else happens. A socket ends with its room, and when its participant is
    barred.
    """

    def __init__(self, guests: Guests, channel: WebSocketChannel) -> None:
        self._guests = guests
        self._channel = channel
        self._kit: RoomKit = guests.kit
        self._seats: dict[str, set[_Seat]] = {}
        self._kit.on_commit(self._committed)
        self._kit.on("room_deleted")(self._deleted)

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
        seat = _Seat(room_id, participant_id, principal)
        self._seats.setdefault(room_id, set()).add(seat)
        try:
            try:
                path_id(participant_id, "participant id")
                await self._guests.enter(
                    room_id, participant_id, self._channel.channel_id, name, principal=principal
                )
                seat.stamp = stamp_of(await self._kit.get_room(room_id))
            except SalonError as error:
                await peer.send({"type": "error", "code": error.code, "message": words_of(error)})
                return
            await self._sit(peer, seat, name, writes=grant is None or grant.writes)
            if seat.ended is not None:
                words = _ENDS[seat.ended]
                await peer.send({"type": "error", "code": seat.ended, "message": words})
        finally:
            self._leave(seat)

    async def _sit(self, peer: TextPeer, seat: _Seat, name: str | None, *, writes: bool) -> None:
        if seat.ended is not None:
            return
        room_id, participant_id = seat.room_id, seat.participant_id
        connection = self._channel.connect(room_id, participant_id, name)
        seat.connection = connection
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
            await self._exchange(peer, seat, connection, writes=writes)
        finally:
            self._channel.disconnect(connection)

    def _leave(self, seat: _Seat) -> None:
        seats = self._seats.get(seat.room_id, set())
        seats.discard(seat)
        if not seats:
            self._seats.pop(seat.room_id, None)

    def _deleted(self, event: FrameworkEvent) -> None:
        for seat in self._seats.get(event.room_id or "", ()):
            seat.end("room_deleted")

    def _committed(self, event: RoomEvent) -> None:
        if event.type is not EventType.PARTICIPANT_LEFT:
            return
        for seat in self._seats.get(event.room_id, ()):
            if bars(event, seat.participant_id):
                seat.end("participant_not_admitted")

    async def _check_room(self, seat: _Seat) -> None:
        """Another process may have deleted the room, of which nothing is heard here."""
        room = await self._kit.store.get_room(seat.room_id)
        if room is None or stamp_of(room) != seat.stamp:
            seat.end("room_deleted")
        if seat.ended is not None:
            raise RoomNotFoundError(seat.room_id)

    async def _exchange(
        self, peer: TextPeer, seat: _Seat, connection: Connection, *, writes: bool
    ) -> None:
        tasks = (
            asyncio.create_task(self._write(peer, seat, connection), name="room socket writer"),
            asyncio.create_task(
                self._read(peer, seat, connection, writes), name="room socket reader"
            ),
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
    async def _write(peer: TextPeer, seat: _Seat, connection: Connection) -> None:
        async for message in connection.messages():
            if seat.ended is not None:
                return
            await peer.send(_with_own_keys(message, seat.participant_id))
        if connection.evicted:
            await peer.send(
                {"type": "error", "code": "too_slow", "message": "too many unread messages"}
            )

    async def _read(
        self, peer: TextPeer, seat: _Seat, connection: Connection, writes: bool
    ) -> None:
        while True:
            try:
                message = await peer.receive()
            except ValueError as error:
                _complain(connection, "bad_message", str(error))
                continue
            try:
                await self._check_room(seat)
                await self._take(seat, connection, message, writes)
            except (_Refused, SalonError) as error:
                _complain(connection, error.code, words_of(error))
            except ValueError as error:  # its words may be those of the database
                _log.info("a message in room %r was not taken: %s", seat.room_id, error)
                _complain(connection, "bad_message", "the message cannot be stored")

    async def _take(self, seat: _Seat, connection: Connection, message: Any, writes: bool) -> None:
        if not isinstance(message, dict):
            raise _Refused("bad_message", "a JSON object is expected")
        match message.get("type"):
            case "message" if not writes:
                raise _Refused("forbidden", "this room token is for reading")
            case "message":
                await self._say(seat, connection, message)
            case "history":
                before, limit = message.get("before_index"), message.get("limit", HISTORY)
                if type(before) is not int or type(limit) is not int or not 0 <= before <= 2**53:
                    raise _Refused("bad_message", "history needs before_index, a whole number")
                await self._history(connection, before, min(max(limit, 1), MAX_HISTORY))
            case other:
                raise _Refused("unknown_type", f"there is no message type {str(other)[:40]!r}")

    async def _say(self, seat: _Seat, connection: Connection, message: dict[str, Any]) -> None:
        text, key = message.get("text"), message.get("idempotency_key")
        if not isinstance(text, str) or not text.strip():
            raise _Refused("bad_message", "a message needs text")
        if len(text) > MAX_TEXT:
            raise _Refused("too_long", f"a message has at most {MAX_TEXT} characters")
        if key is not None and not _fit_key(key):
            raise _Refused(
                "bad_message", "idempotency_key has 1 to 128 characters, no control characters"
            )
        key = scoped_key(seat.principal, seat.participant_id, key)
        refusal = await self._channel.say(connection, text.strip(), idempotency_key=key)
        if refusal is not None:
            raise _Refused("refused", f"the message was refused: {refusal}")

    async def _history(self, connection: Connection, before: int | None, limit: int) -> None:
        page = await self._guests.timeline(connection.room_id, before_index=before, limit=limit)
        if page is not None:
            connection.post({"type": "history", "events": page.events, "has_more": page.has_more})


def _with_own_keys(message: dict[str, Any], participant_id: str) -> dict[str, Any]:
    """With the participant's own idempotency keys as they were given, and nobody else's: a page
    finds by its key what became of a message."""

    def own(event: Any, given: Callable[[str], str | None]) -> Any:
        if not isinstance(event, dict) or event["idempotency_key"] is None:
            return event
        mine = event["source"]["participant_id"] == participant_id
        return event | {"idempotency_key": given(event["idempotency_key"]) if mine else None}

    match message["type"]:
        case "event" | "stream_end":
            return message | {"event": own(message["event"], shown_key)}
        case "history":  # an observer has shown the keys already
            return message | {"events": [own(event, str) for event in message["events"]]}
    return message


def _fit_key(key: Any) -> bool:
    try:
        return isinstance(key, str) and 0 < len(one_line(key)) <= MAX_KEY
    except UnfitError:
        return False


def _complain(connection: Connection, code: str, message: str) -> None:
    connection.post({"type": "error", "code": code, "message": message[:500]})
