"""The circuit breaker, where RoomKit has it."""

from __future__ import annotations

from salon.core.resilience.breaker import CircuitBreaker

__all__ = ["CircuitBreaker"]
