"""The configuration, where RoomKit has it."""

from salon.core.ports.telemetry import TelemetryConfig

__all__ = ["TelemetryConfig"]
