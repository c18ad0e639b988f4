"""In-process defaults for the ports of the core."""

from __future__ import annotations

from salon.core.memory.calls import MemoryCallLog
from salon.core.memory.locks import MemoryLocks
from salon.core.memory.store import MemoryStore

__all__ = ["MemoryCallLog", "MemoryLocks", "MemoryStore"]
