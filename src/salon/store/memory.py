"""The store in memory, where RoomKit has it."""

from __future__ import annotations

from salon.core.memory.store import InMemoryStore

__all__ = ["InMemoryStore"]
