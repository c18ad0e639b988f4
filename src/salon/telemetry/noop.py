"""The default, where RoomKit has it."""

from salon.core.ports.telemetry import NoopTelemetryProvider

__all__ = ["NoopTelemetryProvider"]
