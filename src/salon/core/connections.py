"""Connections that hosts hand to channels which keep them (R54)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, runtime_checkable

from salon.core.errors import ChannelNotRegisteredError
from salon.core.framework import FrameworkEvents
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


class Connections:
    """Connects and tells of it."""

    def __init__(
        self, channels: ChannelRegistry, framework: FrameworkEvents, tenancy: Tenancy
    ) -> None:
        self._channels = channels
        self._framework = framework
        self._tenancy = tenancy

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

    def _of(self, channel_id: str) -> KeepsConnections:
        channel = self._channels.get(channel_id)
        if not isinstance(channel, KeepsConnections):
            raise ChannelNotRegisteredError(channel_id)
        return channel
