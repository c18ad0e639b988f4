"""The current span, where RoomKit has it."""

from salon.core.telemetry import get_current_span

__all__ = ["get_current_span"]
