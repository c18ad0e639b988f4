"""The contract, where RoomKit has it."""

from salon.core.ports.telemetry import Attr, Span, SpanKind, TelemetryProvider

__all__ = ["Attr", "Span", "SpanKind", "TelemetryProvider"]
