"""In-process defaults for the ports of the core."""

from __future__ import annotations

from salon.core.memory.calls import MemoryCallLog
from salon.core.memory.locks import InMemoryLockManager
from salon.core.memory.store import InMemoryStore

__all__ = ["InMemoryLockManager", "InMemoryStore", "MemoryCallLog"]
