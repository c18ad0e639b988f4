"""Telemetry for OpenTelemetry. Needs the extra ``otel`` (the API); the host brings the SDK."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

from salon.base import MissingExtraError
from salon.core.ports.telemetry import SpanKind, TelemetryProvider

MAX_OPEN = 10_000
"""Spans that may be open; beyond, the oldest are ended."""
MAX_INSTRUMENTS = 256
"""Names of metrics that are told apart; measurements of any more are dropped and counted."""


class OpenTelemetryProvider(TelemetryProvider):
    """Spans and metrics through the OpenTelemetry API.

    `tracer_provider` and `meter_provider` are the host's (None: the global ones); it configures the
    exporters and shuts them down. `metadata` is added to every span. A span without a parent here
    hangs on the library's current one, and spans of other instruments hang on ours. Ids are W3C
    ``traceparent`` values, so one may be sent to another process as it is. `close` waits up to
    `shutdown_flush_timeout` seconds for the exporters. Raises `MissingExtraError`.
    """

    takes_times = True

    def __init__(
        self,
        *,
        tracer_provider: Any = None,
        meter_provider: Any = None,
        service_name: str = "salon",
        metadata: dict[str, str] | None = None,
        shutdown_flush_timeout: float = 4.0,
    ) -> None:
        try:
            context, metrics, propagate, trace = (
                import_module(f"opentelemetry.{part}")
                for part in ("context", "metrics", "propagate", "trace")
            )
        except ImportError as error:
            raise MissingExtraError("otel", "OpenTelemetryProvider") from error
        self._trace, self._context, self._propagate = trace, context, propagate
        self._tracers = tracer_provider or trace.get_tracer_provider()
        self._meters = meter_provider or metrics.get_meter_provider()
        self._tracer = self._tracers.get_tracer(service_name)
        self._meter = self._meters.get_meter(service_name)
        self._events = self._meter.create_counter("salon.events")
        self._histograms: dict[str, Any] = {}
        self._open: dict[str, Any] = {}
        self._metadata = dict(metadata or {})
        self._flush_timeout = shutdown_flush_timeout
        self.dropped = 0
        """Spans ended and measurements lost because there were too many."""

    @property
    def name(self) -> str:
        return "opentelemetry"

    def start_span(
        self,
        kind: SpanKind,
        name: str,
        *,
        parent_id: str | None = None,
        attributes: dict[str, Any] | None = None,
        room_id: str | None = None,
        session_id: str | None = None,
        channel_id: str | None = None,
        start_time: datetime | None = None,
    ) -> str:
        told = {
            "salon.kind": kind.value,
            "room_id": room_id,
            "session_id": session_id,
            "channel_id": channel_id,
            **self._metadata,
            **(attributes or {}),
        }
        span = self._tracer.start_span(
            name,
            context=self.get_span_context(parent_id or ""),
            attributes=_plain(told),
            start_time=_nanoseconds(start_time),
        )
        span_id = _named(span.get_span_context())
        if len(self._open) >= MAX_OPEN:
            self._open.pop(next(iter(self._open))).end()
            self.dropped += 1
        self._open[span_id] = span
        return span_id

    def end_span(
        self,
        span_id: str,
        *,
        status: str = "ok",
        error_message: str | None = None,
        attributes: dict[str, Any] | None = None,
        end_time: datetime | None = None,
    ) -> None:
        span = self._open.pop(span_id, None)
        if span is None:
            return
        if attributes:
            span.set_attributes(_plain(attributes))
        if status != "ok":
            span.set_status(self._trace.StatusCode.ERROR, error_message)
        span.end(_nanoseconds(end_time))

    def set_attribute(self, span_id: str, key: str, value: Any) -> None:
        span = self._open.get(span_id)
        if span is not None:
            span.set_attributes(_plain({key: value}))

    def record_metric(
        self,
        name: str,
        value: float,
        *,
        unit: str = "",
        attributes: dict[str, Any] | None = None,
    ) -> None:
        histogram = self._histograms.get(name)
        if histogram is None:
            if len(self._histograms) >= MAX_INSTRUMENTS:
                self.dropped += 1
                return
            histogram = self._meter.create_histogram(name, unit=unit)
            self._histograms[name] = histogram
        histogram.record(value, attributes=_plain(attributes or {}))

    def record_event(self, name: str, attributes: dict[str, Any] | None = None) -> None:
        """An event of the current span, and counted as ``salon.events``."""
        span = self._trace.get_current_span()
        if span.is_recording():
            span.add_event(name, _plain(attributes or {}))
        self._events.add(1, {"event": name})

    def activate(self, span_id: str) -> Any:
        context = self.get_span_context(span_id)
        return None if context is None else self._context.attach(context)

    def deactivate(self, token: Any) -> None:
        self._context.detach(token)

    def get_span_context(self, span_id: str) -> Any:
        """A context in which the span is the current one, also one that has ended."""
        span = self._open.get(span_id)
        if span is None:
            read = _read(span_id)
            if read is None:
                return None
            span = self._trace.NonRecordingSpan(self._span_context(*read))
        return self._trace.set_span_in_context(span)

    def inject_context(self, span_id: str) -> dict[str, str]:
        carrier: dict[str, str] = {}
        self._propagate.inject(carrier, context=self.get_span_context(span_id))
        return carrier

    def extract_context(self, carrier: Mapping[str, str]) -> Any:
        return self._propagate.extract(carrier)

    def flush(self) -> None:
        for provider in (self._tracers, self._meters):
            flush = getattr(provider, "force_flush", None)
            if flush is not None:
                flush(int(self._flush_timeout * 1000))

    def close(self) -> None:
        while self._open:
            span = self._open.pop(next(iter(self._open)))
            span.set_status(self._trace.StatusCode.ERROR, "closed")
            span.end()
        self.flush()

    def _span_context(self, trace_id: int, span_id: int, flags: int) -> Any:
        return self._trace.SpanContext(
            trace_id, span_id, is_remote=False, trace_flags=self._trace.TraceFlags(flags)
        )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _nanoseconds(instant: datetime | None) -> int | None:
    """Since the epoch, to the microsecond; None is now."""
    if instant is None:
        return None
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000


def _named(context: Any) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _read(span_id: str) -> tuple[int, int, int] | None:
    parts = span_id.split("-")
    if [len(part) for part in parts] != [2, 32, 16, 2]:
        return None
    try:
        return int(parts[1], 16), int(parts[2], 16), int(parts[3], 16)
    except ValueError:
        return None


def _plain(attributes: Mapping[str, Any]) -> dict[str, str | bool | int | float]:
    """What OpenTelemetry takes; None says nothing."""
    return {
        key: item if isinstance(item, str | bool | int | float) else str(item)
        for key, item in attributes.items()
        if item is not None
    }
