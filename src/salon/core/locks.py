"""Room locks, where RoomKit has them."""

from __future__ import annotations

from salon.core.memory.locks import InMemoryLockManager
from salon.core.ports.locks import RoomLockManager

__all__ = ["InMemoryLockManager", "RoomLockManager"]
