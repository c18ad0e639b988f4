"""The channels a framework knows."""

from __future__ import annotations

from collections.abc import Iterator

from salon.core.errors import ChannelAlreadyRegisteredError, ChannelNotRegisteredError
from salon.core.framework import FrameworkEvents
from salon.core.ports.channel import Channel


class ChannelRegistry:
    """Channels by id."""

    def __init__(self, framework: FrameworkEvents) -> None:
        self._framework = framework
        self._channels: dict[str, Channel] = {}

    def __iter__(self) -> Iterator[Channel]:
        return iter(list(self._channels.values()))

    def add(self, channel: Channel) -> None:
        """Register; a duplicate id is refused (R45)."""
        if channel.channel_id in self._channels:
            raise ChannelAlreadyRegisteredError(channel.channel_id)
        self._channels[channel.channel_id] = channel
        self._framework.emit(
            "channel_registered",
            channel_id=channel.channel_id,
            channel_type=str(channel.channel_type),
        )

    def remove(self, channel_id: str) -> Channel | None:
        """Take a channel out, unclosed; its bindings stay (R45)."""
        channel = self._channels.pop(channel_id, None)
        if channel is not None:
            self._framework.emit("channel_unregistered", channel_id=channel_id)
        return channel

    def find(self, channel_id: str) -> Channel | None:
        return self._channels.get(channel_id)

    def get(self, channel_id: str) -> Channel:
        """The channel; raises `ChannelNotRegisteredError` (R46)."""
        channel = self._channels.get(channel_id)
        if channel is None:
            raise ChannelNotRegisteredError(channel_id)
        return channel
