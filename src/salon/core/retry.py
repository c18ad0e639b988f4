"""How a failed delivery is tried again, where RoomKit has it."""

from __future__ import annotations

from salon.core.resilience.retry import call_with_retry
from salon.models.channel import RetryPolicy

__all__ = ["RetryPolicy", "call_with_retry"]
