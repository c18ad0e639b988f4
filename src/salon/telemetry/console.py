"""Telemetry on the log: for looking on while developing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock, IdFactory, new_id
from salon.core.ports.telemetry import Span
from salon.telemetry.spans import SpanRecorder

_log = logging.getLogger("salon.telemetry")


class ConsoleTelemetryProvider(SpanRecorder):
    """One line per span that ends, metric and event, at `level` of ``salon.telemetry``."""

    def __init__(
        self, *, level: int = logging.INFO, clock: Clock = SYSTEM_CLOCK, ids: IdFactory = new_id
    ) -> None:
        super().__init__(clock=clock, ids=ids)
        self._level = level

    @property
    def name(self) -> str:
        return "console"

    def finished(self, span: Span) -> None:
        if not _log.isEnabledFor(self._level):
            return
        fields = {
            "kind": span.kind.value,
            "id": span.id,
            "parent": span.parent_id,
            "room_id": span.room_id,
            "session_id": span.session_id,
            "channel_id": span.channel_id,
            **span.attributes,
            "error": span.error_message,
        }
        took = span.duration_ms or 0.0
        _log.log(self._level, "span %s %s %.1f ms%s", span.name, span.status, took, _tail(fields))

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

    def close(self) -> None:
        """End what is open."""
        for span in self.get_active_spans():
            self.end_span(span.id, status="error", error_message="closed")


def _tail(fields: Mapping[str, Any] | None) -> str:
    known = {key: item for key, item in (fields or {}).items() if item is not None}
    return "".join(f" {key}={item}" for key, item in known.items())
