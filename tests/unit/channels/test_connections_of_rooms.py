"""Connections that are functions end with the last room they follow (R54, R211)."""

from __future__ import annotations

from salon.channels.websocket import WebSocketChannel
from salon.core.framework import FrameworkEvent
from salon.core.kit import RoomKit
from salon.models import RoomEvent

GONE = "channel_disconnected"


class Reader:
    """What one connection was sent."""

    def __init__(self) -> None:
        self.got: list[str | None] = []

    async def send(self, connection_id: str, event: RoomEvent) -> None:
        self.got.append(event.text)


async def test_R211_a_deleted_room_ends_its_connections() -> None:
    told: list[FrameworkEvent] = []
    alone, elsewhere, other, straight = Reader(), Reader(), Reader(), Reader()
    async with RoomKit(shutdown_timeout=0) as kit:
        ws, typing = WebSocketChannel("ws"), WebSocketChannel("typing")
        kit.register_channel(ws)
        kit.register_channel(typing)
        kit.on(GONE)(told.append)
        for room_id in ("first", "second"):
            await kit.create_room(room_id)
            await kit.attach_channel(room_id, "ws")
            await kit.attach_channel(room_id, "typing")
        await kit.connect_websocket("ws", "alone", alone.send, room_id="first")
        await kit.connect_websocket("ws", "elsewhere", elsewhere.send, room_id="first")
        ws.subscribe("elsewhere", "second")
        await kit.connect_websocket("ws", "other", other.send, room_id="second")
        ws.register_connection("straight", straight.send, room_id="first")

        await kit.delete_room("first")

        assert [(e.room_id, e.channel_id, e.data) for e in told] == [
            ("first", "ws", {"connection_id": "alone"}),
            ("first", "ws", {"connection_id": "straight"}),
        ]
        assert ws.connection_count == 2
        assert ws.rooms_for("elsewhere") == ws.rooms_for("other") == {"second"}
        # a later room of the same id is another one
        for room_id in ("first", "second"):
            if room_id == "first":
                await kit.create_room(room_id, organization_id="beta")
                await kit.attach_channel(room_id, "ws")
                await kit.attach_channel(room_id, "typing")
            await kit.send_event(room_id, "typing", f"in {room_id}")
        assert (alone.got, straight.got) == ([], [])
        assert elsewhere.got == other.got == ["in second"]
        await kit.delete_room("second")
        assert ws.connection_count == 0
        assert len(told) == 4


async def test_a_room_that_nobody_follows_ends_nobody() -> None:
    async with RoomKit(shutdown_timeout=0) as kit:
        ws, reader = WebSocketChannel("ws"), Reader()
        kit.register_channel(ws)
        for room_id in ("quiet", "followed"):
            await kit.create_room(room_id)
        await kit.connect_websocket("ws", "c", reader.send, room_id="followed")
        await kit.delete_room("quiet")
        assert ws.rooms_for("c") == {"followed"}


async def test_a_channel_that_is_detached_keeps_its_connections() -> None:
    async with RoomKit(shutdown_timeout=0) as kit:
        ws, reader = WebSocketChannel("ws"), Reader()
        kit.register_channel(ws)
        await kit.create_room("first")
        await kit.attach_channel("first", "ws")
        await kit.connect_websocket("ws", "c", reader.send, room_id="first")
        await kit.detach_channel("first", "ws")
        assert ws.rooms_for("c") == {"first"}  # it may come back, a deleted room does not
        await kit.delete_room("first")
        assert ws.connection_count == 0
