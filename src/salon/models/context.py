"""What channels and hooks see of a room, where RoomKit has it."""

from __future__ import annotations

from salon.models.exchange import RoomContext

__all__ = ["RoomContext"]
