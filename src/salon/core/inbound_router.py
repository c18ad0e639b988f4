"""Which room a message belongs to, where RoomKit has it."""

from __future__ import annotations

from salon.core.ports.router import InboundRoomRouter
from salon.core.routing import DefaultInboundRoomRouter

__all__ = ["DefaultInboundRoomRouter", "InboundRoomRouter"]
