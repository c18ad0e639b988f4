"""Tasks and observations, where RoomKit has them."""

from __future__ import annotations

from salon.models.exchange import Observation, Task

__all__ = ["Observation", "Task"]
