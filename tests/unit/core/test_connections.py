"""Connections that follow several rooms (R54, R267)."""

from __future__ import annotations

import pytest

from salon.core.connections import KeepsConnections, SendFn, StreamSendFn
from salon.core.errors import ChannelNotRegisteredError, RoomNotFoundError
from salon.core.kit import RoomKit
from salon.models import RoomEvent

from .helpers import ROOM, Transport, listen


class Sockets(Transport):
    """Knows which connection follows which rooms, for whom."""

    def __init__(self, channel_id: str) -> None:
        super().__init__(channel_id)
        self.rooms: dict[str, list[str]] = {}
        self.owners: dict[str, str | None] = {}

    def _check(self, connection_id: str, organization_id: str | None) -> None:
        if organization_id is not None and self.owners.get(connection_id) != organization_id:
            raise ValueError("somebody else's")

    def register_connection(
        self,
        connection_id: str,
        send_fn: SendFn,
        *,
        room_id: str,
        stream_send_fn: StreamSendFn | None = None,
        organization_id: str | None = None,
    ) -> None:
        self.rooms[connection_id] = [room_id]
        self.owners[connection_id] = organization_id

    def unregister_connection(
        self, connection_id: str, *, organization_id: str | None = None
    ) -> None:
        self._check(connection_id, organization_id)
        self.rooms.pop(connection_id, None)

    def subscribe(
        self, connection_id: str, room_id: str, *, organization_id: str | None = None
    ) -> None:
        self._check(connection_id, organization_id)
        self.rooms[connection_id].append(room_id)

    def unsubscribe(
        self, connection_id: str, room_id: str, *, organization_id: str | None = None
    ) -> None:
        self._check(connection_id, organization_id)
        self.rooms[connection_id].remove(room_id)


async def send(connection_id: str, event: RoomEvent) -> None:
    raise AssertionError("nothing is said")


@pytest.fixture
async def sockets(kit: RoomKit) -> Sockets:
    channel = Sockets("ws")
    assert isinstance(channel, KeepsConnections)
    kit.register_channel(channel)
    kit.register_channel(Transport("sms"))
    for room_id, organization in ((ROOM, "acme"), ("second", "acme"), ("theirs", "other")):
        await kit.create_room(room_id, organization_id=organization)
    return channel


async def test_a_connection_comes_follows_more_rooms_and_goes(
    kit: RoomKit, sockets: Sockets
) -> None:
    heard = listen(kit)
    await kit.connect_websocket("ws", "c1", send, room_id=ROOM, organization_id="acme")
    kit.subscribe_websocket("ws", "c1", "second", organization_id="acme")
    assert sockets.rooms == {"c1": [ROOM, "second"]}
    kit.unsubscribe_websocket("ws", "c1", ROOM)
    assert sockets.rooms == {"c1": ["second"]}
    await kit.disconnect_websocket("ws", "c1", organization_id="acme")
    assert sockets.rooms == {}
    assert [event.type for event in heard] == ["channel_connected", "channel_disconnected"]


async def test_R267_only_its_own_organization_changes_a_connection(
    kit: RoomKit, sockets: Sockets
) -> None:
    await kit.connect_websocket("ws", "c1", send, room_id=ROOM, organization_id="acme")
    for change in (kit.subscribe_websocket, kit.unsubscribe_websocket):
        with pytest.raises(ValueError, match="somebody else's"):
            change("ws", "c1", ROOM, organization_id="other")
    with pytest.raises(RoomNotFoundError):
        await kit.connect_websocket("ws", "c2", send, room_id="theirs", organization_id="acme")
    assert sockets.rooms == {"c1": [ROOM]}


@pytest.mark.parametrize("channel_id", ["sms", "unknown"])
async def test_a_channel_without_connections_has_none_to_subscribe(
    kit: RoomKit, sockets: Sockets, channel_id: str
) -> None:
    for change in (kit.subscribe_websocket, kit.unsubscribe_websocket):
        with pytest.raises(ChannelNotRegisteredError):
            change(channel_id, "c1", ROOM)
