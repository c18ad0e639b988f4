"""What a reader of events asks for and what is stored, where RoomKit has it."""

from __future__ import annotations

from salon.models.filters import EventFilter, PersistencePolicy, ThreadSummary

__all__ = ["EventFilter", "PersistencePolicy", "ThreadSummary"]
