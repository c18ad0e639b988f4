"""Telemetry on the log: for looking on while developing."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock, IdFactory, new_id
from salon.core.ports.telemetry import Span, SpanKind, TelemetryProvider

_log = logging.getLogger("salon.telemetry")

MAX_OPEN = 10_000
"""Spans that may be open; beyond, the oldest are forgotten."""


class ConsoleTelemetryProvider(TelemetryProvider):
    """One line per span that ends, metric and event, at `level` of ``salon.telemetry``."""

    def __init__(
        self, *, level: int = logging.INFO, clock: Clock = SYSTEM_CLOCK, ids: IdFactory = new_id
    ) -> None:
        self._level = level
        self._clock = clock
        self._ids = ids
        self._open: OrderedDict[str, Span] = OrderedDict()
        self.dropped = 0
        """Spans forgotten because too many were open."""

    @property
    def name(self) -> str:
        return "console"

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
    ) -> None:
        span = self._open.pop(span_id, None)
        if span is None or not _log.isEnabledFor(self._level):
            return
        span.end_time = self._clock.now()
        fields = {
            "kind": span.kind.value,
            "id": span.id,
            "parent": span.parent_id,
            "room_id": span.room_id,
            "session_id": span.session_id,
            "channel_id": span.channel_id,
            **span.attributes,
            **(attributes or {}),
            "error": error_message,
        }
        took = span.duration_ms or 0.0
        _log.log(self._level, "span %s %s %.1f ms%s", span.name, status, took, _tail(fields))

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
        if _log.isEnabledFor(self._level):
            _log.log(self._level, "metric %s %g %s%s", name, value, unit, _tail(attributes))

    def record_event(self, name: str, attributes: dict[str, Any] | None = None) -> None:
        if _log.isEnabledFor(self._level):
            _log.log(self._level, "event %s%s", name, _tail(attributes))

    def reset(self) -> None:
        self._open.clear()

    def close(self) -> None:
        """End what is open."""
        for span_id in list(self._open):
            self.end_span(span_id, status="error", error_message="closed")


def _tail(fields: Mapping[str, Any] | None) -> str:
    known = {key: item for key, item in (fields or {}).items() if item is not None}
    return "".join(f" {key}={item}" for key, item in known.items())
