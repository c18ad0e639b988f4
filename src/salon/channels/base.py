"""The contract of channels, where RoomKit has it."""

from __future__ import annotations

from salon.core.ports.channel import Channel

__all__ = ["Channel"]
