"""Who sees what, where RoomKit has it."""

from __future__ import annotations

from salon.core.permissions import visible_events

__all__ = ["visible_events"]
