"""The payloads of an agent's hooks, where RoomKit has them."""

from __future__ import annotations

from salon.models.ai import AIGenerationEvent, AIResponseEvent, ToolCallEvent

__all__ = ["AIGenerationEvent", "AIResponseEvent", "ToolCallEvent"]
