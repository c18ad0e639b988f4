"""The payload of ON_AI_THINKING, where RoomKit has it."""

from __future__ import annotations

from salon.models.ai import ThinkingEvent

__all__ = ["ThinkingEvent"]
