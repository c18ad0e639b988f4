"""Telemetry that is kept, for tests."""

from __future__ import annotations

from typing import Any, TypeVar

from salon.base import SYSTEM_CLOCK, Clock, IdFactory, new_id
from salon.core.ports.telemetry import Span, SpanKind
from salon.telemetry.spans import SpanRecorder

T = TypeVar("T")

MAX_KEPT = 10_000
"""Of ended spans, metrics and events each; older ones go."""


class MockTelemetryProvider(SpanRecorder):
    """Keeps spans, metrics and events to look at."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK, ids: IdFactory = new_id) -> None:
        super().__init__(clock=clock, ids=ids)
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

    def finished(self, span: Span) -> None:
        _keep(self.completed_spans, span)

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
        super().reset()
        self.completed_spans.clear()
        self.metrics.clear()
        self.events.clear()

    def close(self) -> None:
        self.closed = True


def _keep(kept: list[T], item: T) -> None:
    if len(kept) >= MAX_KEPT:
        del kept[0]
    kept.append(item)
