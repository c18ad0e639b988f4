"""Floor 4: where spans, metrics and events about the work go (R261).

`TelemetryProvider` is the contract, `NoopTelemetryProvider` the default. Give one, or a
`TelemetryConfig`, to ``RoomKit(telemetry=...)``.
"""

from salon.core.ports.telemetry import (
    Attr,
    NoopTelemetryProvider,
    Span,
    SpanKind,
    TelemetryConfig,
    TelemetryProvider,
)
from salon.core.telemetry import get_current_span
from salon.telemetry.console import ConsoleTelemetryProvider
from salon.telemetry.mock import MockTelemetryProvider
from salon.telemetry.opentelemetry import OpenTelemetryProvider

__all__ = [
    "Attr",
    "ConsoleTelemetryProvider",
    "MockTelemetryProvider",
    "NoopTelemetryProvider",
    "OpenTelemetryProvider",
    "Span",
    "SpanKind",
    "TelemetryConfig",
    "TelemetryProvider",
    "get_current_span",
]
