"""The payload of ON_SESSION_STARTED, where RoomKit has it."""

from __future__ import annotations

from salon.models.exchange import SessionStartedEvent

__all__ = ["SessionStartedEvent"]
