"""The backend of one process, under the name its users know."""

from salon.core.memory.realtime import InMemoryRealtime, RealtimeStatistics

__all__ = ["InMemoryRealtime", "RealtimeStatistics"]
