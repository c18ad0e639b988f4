"""Spans as plain records, for providers that hand them to no library."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from datetime import datetime
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock, IdFactory, new_id
from salon.core.ports.telemetry import Span, SpanKind, TelemetryProvider

MAX_OPEN = 10_000
"""Spans that may be open; beyond, the oldest are forgotten."""


class SpanRecorder(TelemetryProvider):
    """Keeps the spans that are open; `finished` gets each one that ends."""

    takes_times = True

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK, ids: IdFactory = new_id) -> None:
        self._clock = clock
        self._ids = ids
        self._open: OrderedDict[str, Span] = OrderedDict()
        self.dropped = 0
        """Spans forgotten because too many were open."""

    @abstractmethod
    def finished(self, span: Span) -> None:
        """A span ended; it is complete."""

    def get_active_spans(self) -> list[Span]:
        """The spans that are open, oldest first."""
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
        start_time: datetime | None = None,
    ) -> str:
        span = Span(
            id=self._ids(),
            kind=kind,
            name=name,
            parent_id=parent_id,
            attributes=dict(attributes or {}),
            start_time=start_time or self._clock.now(),
            room_id=room_id,
            session_id=session_id,
            channel_id=channel_id,
        )
        if len(self._open) >= MAX_OPEN:
            self._open.popitem(last=False)
            self.dropped += 1
        self._open[span.id] = span
        return span.id

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
        span.end_time = end_time or self._clock.now()
        span.status, span.error_message = status, error_message
        span.attributes.update(attributes or {})
        self.finished(span)

    def set_attribute(self, span_id: str, key: str, value: Any) -> None:
        span = self._open.get(span_id)
        if span is not None:
            span.attributes[key] = value

    def reset(self) -> None:
        self._open.clear()
