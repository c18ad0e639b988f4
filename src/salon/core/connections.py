"""Connections that hosts hand to channels which keep them (R54)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, runtime_checkable

from salon.core.errors import ChannelNotRegisteredError
from salon.core.framework import FrameworkEvent, FrameworkEvents
from salon.core.registry import ChannelRegistry
from salon.core.tenancy import Tenancy
from salon.models import RoomEvent

SendFn = Callable[[str, RoomEvent], Awaitable[None] | None]
StreamSendFn = Callable[[str, Any], Awaitable[None] | None]


@runtime_checkable
class KeepsConnections(Protocol):
    """A channel behind which stand connections."""

    def register_connection(
        self,
        connection_id: str,
        send_fn: SendFn,
        *,
        room_id: str,
        stream_send_fn: StreamSendFn | None = None,
        organization_id: str | None = None,
    ) -> None:
        """Add a reader of a room."""

    def unregister_connection(
        self, connection_id: str, *, organization_id: str | None = None
    ) -> None:
        """Forget a reader."""

    def subscribe(
        self, connection_id: str, room_id: str, *, organization_id: str | None = None
    ) -> None:
        """Let a reader follow one more room."""

    def unsubscribe(
        self, connection_id: str, room_id: str, *, organization_id: str | None = None
    ) -> None:
        """Let it follow one room less."""


@runtime_checkable
class EndsWithRooms(Protocol):
    """A channel whose connections may follow rooms that are deleted."""

    def end_room(self, room_id: str) -> list[str]:
        """The room is gone. Forget the readers who followed no other; returns their ids."""


class Connections:
    """Connects and tells of it. A connection ends with the last room that it followed (R211)."""

    def __init__(
        self, channels: ChannelRegistry, framework: FrameworkEvents, tenancy: Tenancy
    ) -> None:
        self._channels = channels
        self._framework = framework
        self._tenancy = tenancy
        framework.on("room_deleted", self._room_deleted)

    async def connect(
        self,
        channel_id: str,
        connection_id: str,
        send_fn: SendFn,
        *,
        room_id: str,
        stream_send_fn: StreamSendFn | None = None,
        organization_id: str | None = None,
    ) -> None:
        """Register a connection with a WebSocket channel (R54). Raises
        `ChannelNotRegisteredError` if there is no such channel that keeps connections."""
        await self._tenancy.check(room_id, organization_id)
        self._of(channel_id).register_connection(
            connection_id,
            send_fn,
            room_id=room_id,
            stream_send_fn=stream_send_fn,
            organization_id=organization_id,
        )
        self._framework.emit(
            "channel_connected", room_id=room_id, channel_id=channel_id, connection_id=connection_id
        )

    async def disconnect(
        self, channel_id: str, connection_id: str, *, organization_id: str | None = None
    ) -> None:
        """Forget a connection of a WebSocket channel."""
        self._of(channel_id).unregister_connection(connection_id, organization_id=organization_id)
        self._framework.emit(
            "channel_disconnected", channel_id=channel_id, connection_id=connection_id
        )

    def subscribe(
        self,
        channel_id: str,
        connection_id: str,
        room_id: str,
        *,
        organization_id: str | None = None,
    ) -> None:
        """Let a connection follow one more room. No room is read: rooms of other organizations
        than the connection's do not reach it anyway. Raises `ValueError` if it is not
        `organization_id`'s, and `ChannelNotRegisteredError`."""
        self._of(channel_id).subscribe(connection_id, room_id, organization_id=organization_id)

    def unsubscribe(
        self,
        channel_id: str,
        connection_id: str,
        room_id: str,
        *,
        organization_id: str | None = None,
    ) -> None:
        """Let it follow one room less; errors as of `subscribe`."""
        self._of(channel_id).unsubscribe(connection_id, room_id, organization_id=organization_id)

    def _room_deleted(self, event: FrameworkEvent) -> None:
        room_id = event.room_id or ""
        for channel in self._channels:
            if not isinstance(channel, EndsWithRooms):
                continue
            for connection_id in channel.end_room(room_id):
                self._framework.emit(
                    "channel_disconnected",
                    room_id=room_id,
                    channel_id=channel.channel_id,
                    connection_id=connection_id,
                )

    def _of(self, channel_id: str) -> KeepsConnections:
        channel = self._channels.get(channel_id)
        if not isinstance(channel, KeepsConnections):
            raise ChannelNotRegisteredError(channel_id)
        return channel
