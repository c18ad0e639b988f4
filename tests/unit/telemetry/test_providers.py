"""R261: the providers that need nothing, and the contract."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import subprocess
import sys
from typing import Any

import pytest

from salon.core.telemetry import NO_SPAN, NO_TRACER, Tracer, carried, current_span
from salon.telemetry import (
    ConsoleTelemetryProvider,
    MockTelemetryProvider,
    NoopTelemetryProvider,
    SpanKind,
    TelemetryConfig,
    TelemetryProvider,
    mock,
    spans,
)


class Least(TelemetryProvider):
    """A host's provider that does no more than it must."""

    name = "least"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def start_span(self, kind: SpanKind, name: str, **facts: Any) -> str:
        self.calls.append(("start", name, facts.get("parent_id")))
        return name

    def end_span(self, span_id: str, **facts: Any) -> None:
        self.calls.append(("end", span_id, facts.get("status", "ok")))

    def set_attribute(self, span_id: str, key: str, value: Any) -> None:
        self.calls.append(("set", span_id, key))

    def record_metric(self, name: str, value: float, **facts: Any) -> None:
        self.calls.append(("metric", name, value))


def test_R261_a_provider_needs_four_methods_and_a_name() -> None:
    provider = Least()
    with provider.span(SpanKind.CUSTOM, "own") as span_id:
        assert span_id == "own"
    with pytest.raises(KeyError), provider.span(SpanKind.CUSTOM, "bad"):
        raise KeyError("words")
    provider.record_event("x")
    provider.deactivate(provider.activate("own"))
    provider.flush()
    provider.reset()
    provider.close()
    assert provider.get_span_context("own") is None
    assert provider.inject_context("own") == {}
    assert provider.extract_context({}) is None
    assert [call for call in provider.calls if call[0] == "end"] == [
        ("end", "own", "ok"),
        ("end", "bad", "error"),
    ]


async def test_R261_the_tracer_serves_such_a_provider() -> None:
    provider = Least()
    tracer = Tracer(provider)
    with tracer.span(SpanKind.CUSTOM, "outer") as outer:
        assert current_span() is outer
        with tracer.root(SpanKind.CUSTOM, "never"):
            assert current_span() is outer
        with outer.child(SpanKind.CUSTOM, "inner") as inner:
            inner.record_error("some_code")
            inner.end()
            inner.set_attribute("late", 1)
        outer.metric("m", 1.0)
        job = carried(seen)
    assert current_span() is NO_SPAN
    elsewhere = contextvars.Context().run(asyncio.ensure_future, job())
    assert await elsewhere is outer
    tracer.event("happened")
    await tracer.close()
    assert provider.calls == [
        ("start", "outer", None),
        ("start", "inner", "outer"),
        ("end", "inner", "error"),
        ("metric", "m", 1.0),
        ("end", "outer", "ok"),
    ]


async def seen() -> object:
    return current_span()


async def test_R261_below_what_is_not_sampled_nothing_is_traced() -> None:
    provider = Least()
    numbers = iter([0.4, 0.6])
    tracer = Tracer(TelemetryConfig(provider, sample_rate=0.5), chance=lambda: next(numbers))
    with tracer.span(SpanKind.CUSTOM, "taken"), tracer.span(SpanKind.CUSTOM, "below"):
        pass
    with tracer.span(SpanKind.CUSTOM, "left") as left:
        assert not left
        with tracer.span(SpanKind.CUSTOM, "below it"), tracer.root(SpanKind.CUSTOM, "nor this"):
            assert carried(seen) is not seen
        with left.child(SpanKind.CUSTOM, "neither"):
            assert current_span() is left
        job = carried(seen)
        left.metric("counted", 1.0)
    assert current_span() is NO_SPAN
    assert await job() is left
    left.__exit__(None, None, None)
    assert [call[1] for call in provider.calls if call[0] == "start"] == ["taken", "below"]
    assert ("metric", "counted", 1.0) in provider.calls


@pytest.mark.parametrize("telemetry", [None, NoopTelemetryProvider(), TelemetryConfig()])
async def test_R261_by_default_nobody_is_asked(telemetry: Any) -> None:
    tracer = Tracer(telemetry)
    assert not tracer.on
    with tracer.span(SpanKind.CUSTOM, "x") as span, tracer.root(SpanKind.CUSTOM, "y"):
        assert span is NO_SPAN
        assert not span
        span.set_attribute("a", 1)
        span.record_error("x")
        span.metric("m", 1.0)
        span.end()
        assert span.child(SpanKind.CUSTOM, "z") is span
        assert tracer.hook("h", "before_broadcast", "r", waits=True) is span
        assert carried(seen) is seen
    tracer.metric("m", 1.0)
    tracer.event("e")
    await tracer.close()


def test_R261_the_noop_takes_everything() -> None:
    noop = NoopTelemetryProvider()
    assert noop.name == "noop"
    with noop.span(SpanKind.CUSTOM, "x") as span_id:
        noop.set_attribute(span_id, "a", 1)
    noop.record_metric("m", 1.0)
    assert NO_TRACER.provider.name == "noop"


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_R261_a_sample_rate_is_a_share(rate: float) -> None:
    with pytest.raises(ValueError, match="sample_rate"):
        TelemetryConfig(sample_rate=rate)


def test_R261_the_console_shows_one_line_per_span(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    provider = ConsoleTelemetryProvider()
    assert provider.name == "console"
    span = provider.start_span(SpanKind.DELIVERY, "deliver", room_id="r", attributes={"a": None})
    provider.set_attribute(span, "n", 2)
    provider.set_attribute("unknown", "n", 2)
    provider.end_span(span, status="error", error_message="timeout", attributes={"b": 3})
    provider.end_span(span)
    provider.record_metric("m", 1.5, unit="ms", attributes={"c": 1})
    provider.record_event("room_created")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert lines[0].startswith("span deliver error ")
    assert lines[0].endswith(
        f" ms kind=framework.delivery id={span} room_id=r n=2 b=3 error=timeout"
    )
    assert lines[1:] == ["metric m 1.5 ms c=1", "event room_created"]


def test_R261_the_console_says_nothing_below_its_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    provider = ConsoleTelemetryProvider(level=logging.DEBUG)
    with provider.span(SpanKind.CUSTOM, "x"):
        provider.record_metric("m", 1.0)
        provider.record_event("e")
    assert caplog.records == []


def test_R261_the_console_forgets_what_never_ends(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(spans, "MAX_OPEN", 1)
    provider = ConsoleTelemetryProvider()
    for name in ("a", "b"):
        provider.start_span(SpanKind.CUSTOM, name)
    assert provider.dropped == 1
    provider.close()
    assert [record.getMessage().split()[1] for record in caplog.records] == ["b"]
    provider.start_span(SpanKind.CUSTOM, "c")
    provider.reset()
    provider.close()
    assert len(caplog.records) == 1


def test_R261_the_mock_keeps_what_a_test_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mock, "MAX_KEPT", 2)
    monkeypatch.setattr(spans, "MAX_OPEN", 2)
    provider = MockTelemetryProvider()
    assert provider.name == "mock"
    open_ids = [provider.start_span(SpanKind.CUSTOM, name) for name in "abc"]
    assert [span.name for span in provider.get_active_spans()] == ["b", "c"]
    assert provider.get_active_spans()[0].duration_ms is None
    for span_id in open_ids:
        provider.set_attribute(span_id, "k", 1)
        provider.end_span(span_id, attributes={"l": 2})
    provider.end_span(provider.start_span(SpanKind.DELIVERY, "d"))
    assert [span.name for span in provider.spans] == ["c", "d"]
    assert [span.name for span in provider.get_spans(SpanKind.DELIVERY)] == ["d"]
    assert provider.spans[0].attributes == {"k": 1, "l": 2}
    assert (provider.spans[0].duration_ms or 0) >= 0
    provider.record_metric("m", 1.0, unit="ms", attributes={"a": 1})
    assert provider.metrics == [{"name": "m", "value": 1.0, "unit": "ms", "attributes": {"a": 1}}]
    provider.record_event("e")
    assert provider.events == [{"name": "e", "attributes": {}}]
    provider.reset()
    assert (provider.spans, provider.metrics, provider.events) == ([], [], [])
    provider.close()
    assert provider.closed


def test_R261_the_package_loads_without_the_library() -> None:
    code = "import salon.telemetry, sys; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
