"""The contract of an agent's memory, where RoomKit has it."""

from __future__ import annotations

from salon.core.ports.memory import MemoryProvider, MemoryResult

__all__ = ["MemoryProvider", "MemoryResult"]
