"""Telemetry that is kept, for tests."""

from __future__ import annotations

from typing import Any, TypeVar

from salon.base import SYSTEM_CLOCK, Clock, IdFactory, new_id
from salon.core.ports.telemetry import Span, SpanKind, TelemetryProvider

T = TypeVar("T")

MAX_KEPT = 10_000
"""Spans, metrics and events that are kept of each; older ones go."""


class MockTelemetryProvider(TelemetryProvider):
    """Keeps spans, metrics and events to look at."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK, ids: IdFactory = new_id) -> None:
        self._clock = clock
        self._ids = ids
        self._open: dict[str, Span] = {}
        self.completed_spans: list[Span] = []
        self.metrics: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.closed = False

    @property
    def name(self) -> str:
        return "mock"

    @property
    def spans(self) -> list[Span]:
        """The spans that ended, in that order."""
        return list(self.completed_spans)

    def get_spans(self, kind: SpanKind) -> list[Span]:
        """Those of one kind."""
        return [span for span in self.completed_spans if span.kind is kind]

    def get_active_spans(self) -> list[Span]:
        """The spans that are open."""
        return list(self._open.values())

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
    ) -> str:
        span = Span(
            id=self._ids(),
            kind=kind,
            name=name,
            parent_id=parent_id,
            attributes=dict(attributes or {}),
            start_time=self._clock.now(),
            room_id=room_id,
            session_id=session_id,
            channel_id=channel_id,
        )
        if len(self._open) >= MAX_KEPT:
            del self._open[next(iter(self._open))]
        self._open[span.id] = span
        return span.id

    def end_span(
        self,
        span_id: str,
        *,
        status: str = "ok",
        error_message: str | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        span = self._open.pop(span_id, None)
        if span is None:
            return
        span.end_time = self._clock.now()
        span.status, span.error_message = status, error_message
        span.attributes.update(attributes or {})
        _keep(self.completed_spans, span)

    def set_attribute(self, span_id: str, key: str, value: Any) -> None:
        span = self._open.get(span_id)
        if span is not None:
            span.attributes[key] = value

    def record_metric(
        self,
        name: str,
        value: float,
        *,
        unit: str = "",
        attributes: dict[str, Any] | None = None,
    ) -> None:
        told = {"name": name, "value": value, "unit": unit, "attributes": dict(attributes or {})}
        _keep(self.metrics, told)

    def record_event(self, name: str, attributes: dict[str, Any] | None = None) -> None:
        _keep(self.events, {"name": name, "attributes": dict(attributes or {})})

    def reset(self) -> None:
        self._open.clear()
        self.completed_spans.clear()
        self.metrics.clear()
        self.events.clear()

    def close(self) -> None:
        self.closed = True


def _keep(kept: list[T], item: T) -> None:
    if len(kept) >= MAX_KEPT:
        del kept[0]
    kept.append(item)
