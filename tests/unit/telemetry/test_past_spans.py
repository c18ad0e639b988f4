"""Spans that are told when they are over, with their true times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.telemetry.test_opentelemetry import Collected, collected

from salon.core.kit import RoomKit
from salon.core.telemetry import PastSpan, Tracer, tracer_of
from salon.telemetry import (
    MockTelemetryProvider,
    Span,
    SpanKind,
    TelemetryConfig,
    TelemetryProvider,
)

__all__ = ["collected"]

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
PLACE = {"room_id": "r", "channel_id": "voice", "session_id": "s"}


def after(ms: float) -> datetime:
    return START + timedelta(milliseconds=ms)


TREE = PastSpan(
    SpanKind.VOICE_TURN,
    "voice.turn",
    START,
    after(801.5),
    {"turn.index": 3},
    (
        PastSpan(SpanKind.STT_TRANSCRIBE, "stt_transcribe", START, after(210)),
        PastSpan(
            SpanKind.TTS_SYNTHESIZE,
            "tts_synthesize",
            after(540),
            after(790),
            below=(PastSpan(SpanKind.CUSTOM, "inside", after(600), after(700)),),
        ),
    ),
)


def shape(spans: list[Span]) -> list[tuple[str, str | None]]:
    """Names, each with that of the span above."""
    names = {span.id: span.name for span in spans}
    return [(span.name, names.get(span.parent_id or "")) for span in spans]


def test_a_tree_is_told_with_its_instants() -> None:
    telemetry = MockTelemetryProvider()
    Tracer(TelemetryConfig(telemetry, metadata={"site": "x"})).record(TREE, **PLACE)
    assert shape(telemetry.spans) == [
        ("stt_transcribe", "voice.turn"),
        ("inside", "tts_synthesize"),
        ("tts_synthesize", "voice.turn"),
        ("voice.turn", None),
    ]
    (whole,) = telemetry.get_spans(SpanKind.VOICE_TURN)
    assert (whole.start_time, whole.end_time) == (START, after(801.5))
    assert whole.attributes == {"site": "x", "turn.index": 3}
    assert (whole.room_id, whole.channel_id, whole.session_id) == ("r", "voice", "s")
    assert telemetry.get_active_spans() == []


def test_what_lies_below_a_kind_left_out_hangs_on_the_span_above() -> None:
    telemetry = MockTelemetryProvider()
    kinds = {SpanKind.VOICE_TURN, SpanKind.CUSTOM}
    Tracer(TelemetryConfig(telemetry, enabled_spans=kinds)).record(TREE)
    assert shape(telemetry.spans) == [("inside", "voice.turn"), ("voice.turn", None)]


def test_a_tree_is_sampled_as_one() -> None:
    telemetry = MockTelemetryProvider()
    chances = iter((0.6, 0.4))
    tracer = Tracer(TelemetryConfig(telemetry, sample_rate=0.5), chance=lambda: next(chances))
    tracer.record(TREE)
    assert telemetry.spans == []
    tracer.record(TREE)
    assert len(telemetry.spans) == 4


def test_nobody_listens() -> None:
    Tracer().record(TREE)


def test_a_framework_gives_its_tracer() -> None:
    telemetry = MockTelemetryProvider()
    kit = RoomKit(telemetry=TelemetryConfig(telemetry, metadata={"site": "x"}))
    tracer_of(kit).record(TREE)
    assert telemetry.spans[0].attributes["site"] == "x"


class Older(TelemetryProvider):
    """A provider as they were before: it takes no times."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str | None]] = []

    @property
    def name(self) -> str:
        return "older"

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
        self.told.append(("start", name, parent_id))
        return name

    def end_span(
        self,
        span_id: str,
        *,
        status: str = "ok",
        error_message: str | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        self.told.append(("end", span_id, status))

    def set_attribute(self, span_id: str, key: str, value: Any) -> None: ...

    def record_metric(
        self,
        name: str,
        value: float,
        *,
        unit: str = "",
        attributes: dict[str, Any] | None = None,
    ) -> None: ...


def test_a_provider_that_takes_no_times_gets_the_tree_all_the_same() -> None:
    telemetry = Older()
    tracer = Tracer(telemetry)
    tracer.record(TREE, **PLACE)
    assert tracer.failures == 0
    assert telemetry.told == [
        ("start", "voice.turn", None),
        ("start", "stt_transcribe", "voice.turn"),
        ("end", "stt_transcribe", "ok"),
        ("start", "tts_synthesize", "voice.turn"),
        ("start", "inside", "tts_synthesize"),
        ("end", "inside", "ok"),
        ("end", "tts_synthesize", "ok"),
        ("end", "voice.turn", "ok"),
    ]


class Broken(MockTelemetryProvider):
    """Begins nothing but parts."""

    def start_span(self, kind: SpanKind, name: str, **facts: Any) -> str:
        if kind is SpanKind.VOICE_TURN:
            raise RuntimeError("full")
        return super().start_span(kind, name, **facts)


def test_a_span_that_could_not_begin_leaves_those_below_it() -> None:
    telemetry = Broken()
    tracer = Tracer(telemetry)
    tracer.record(TREE)
    assert tracer.failures == 1
    assert shape(telemetry.spans) == [
        ("stt_transcribe", None),
        ("inside", "tts_synthesize"),
        ("tts_synthesize", None),
    ]


def nanoseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1e6) * 1000


def test_OpenTelemetry_exports_the_tree_with_its_times(collected: Collected) -> None:
    Tracer(collected.provider()).record(TREE, **PLACE)
    spans = {span.name: span for span in collected.spans}
    assert set(spans) == {"voice.turn", "stt_transcribe", "tts_synthesize", "inside"}
    whole = spans["voice.turn"]
    assert whole.parent is None
    assert whole.attributes["salon.kind"] == "voice.turn"
    assert whole.attributes["session_id"] == "s"
    expected = {
        "voice.turn": (START, after(801.5)),
        "stt_transcribe": (START, after(210)),
        "tts_synthesize": (after(540), after(790)),
        "inside": (after(600), after(700)),
    }
    for name, (start, end) in expected.items():
        span = spans[name]
        assert (span.start_time, span.end_time) == (nanoseconds(start), nanoseconds(end)), name
        assert span.context.trace_id == whole.context.trace_id
    for name in ("stt_transcribe", "tts_synthesize"):
        assert spans[name].parent.span_id == whole.context.span_id
    assert spans["inside"].parent.span_id == spans["tts_synthesize"].context.span_id


@pytest.mark.parametrize("given", [None, START])
def test_OpenTelemetry_takes_now_where_no_time_is_given(
    collected: Collected, given: datetime | None
) -> None:
    provider = collected.provider()
    before = nanoseconds(datetime.now(UTC)) - 1_000_000
    provider.end_span(provider.start_span(SpanKind.CUSTOM, "x", start_time=given))
    (span,) = collected.spans
    assert (span.start_time >= before) is (given is None)
    assert span.end_time >= before
