"""What a reader of events asks for, where RoomKit has it."""

from __future__ import annotations

from salon.models.filters import EventFilter, ThreadSummary

__all__ = ["EventFilter", "ThreadSummary"]
