"""The last events as memory, where RoomKit has it."""

from __future__ import annotations

from salon.core.memory.window import SlidingWindowMemory

__all__ = ["SlidingWindowMemory"]
