"""What agents remember of a room (R235-R237). The contract is `MemoryProvider`."""

from __future__ import annotations

from salon.core.memory.window import SlidingWindowMemory
from salon.core.ports.memory import MemoryProvider, MemoryResult
from salon.memory.mock import MockMemoryProvider

__all__ = ["MemoryProvider", "MemoryResult", "MockMemoryProvider", "SlidingWindowMemory"]
