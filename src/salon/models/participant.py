"""People in a room, where RoomKit has them."""

from __future__ import annotations

from salon.models.room import Participant

__all__ = ["Participant"]
