"""R261: OpenTelemetry gets the same trees, and measurements."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from tests.unit.core.helpers import ROOM, Transport, message
from tests.unit.telemetry.conftest import MakeKit

from salon.base import MissingExtraError
from salon.channels.ai import AIChannel
from salon.providers.mock import MockAIProvider
from salon.telemetry import OpenTelemetryProvider, SpanKind
from salon.telemetry import opentelemetry as module

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = importlib.import_module("opentelemetry.sdk.trace.export.in_memory_span_exporter")
exporting = importlib.import_module("opentelemetry.sdk.trace.export")
metrics = importlib.import_module("opentelemetry.sdk.metrics")
reading = importlib.import_module("opentelemetry.sdk.metrics.export")
trace = importlib.import_module("opentelemetry.trace")


class Collected:
    """An SDK that keeps what it is told."""

    def __init__(self) -> None:
        self.exporter: Any = export.InMemorySpanExporter()
        self.tracers: Any = sdk.TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(exporting.SimpleSpanProcessor(self.exporter))
        self.reader: Any = reading.InMemoryMetricReader()
        self.meters: Any = metrics.MeterProvider([self.reader], shutdown_on_exit=False)

    def provider(self, **options: Any) -> OpenTelemetryProvider:
        return OpenTelemetryProvider(
            tracer_provider=self.tracers, meter_provider=self.meters, **options
        )

    @property
    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    def measured(self) -> dict[str, int]:
        """How often each metric was recorded."""
        found: dict[str, int] = {}
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points = metric.data.data_points
                    found[metric.name] = sum(getattr(p, "count", 0) or p.value for p in points)
        return found


@pytest.fixture
def collected() -> Collected:
    return Collected()


async def test_R261_one_message_is_one_trace(
    collected: Collected, make_kit: MakeKit, caplog: pytest.LogCaptureFixture
) -> None:
    bot = AIChannel("bot", MockAIProvider(["Hello."]))
    async with make_kit(collected.provider(metadata={"site": "x"})) as kit:
        await kit.create_room(ROOM)
        for channel in (Transport("a"), bot):
            kit.register_channel(channel)
            await kit.attach_channel(ROOM, channel.channel_id, channel.category)
        await kit.idle(ROOM)
        collected.exporter.clear()
        await kit.process_inbound(message("a", "words"), room_id=ROOM)
        await kit.idle(ROOM)
        measured = collected.measured()

    by_id = {span.context.span_id: span for span in collected.spans}

    def path(span: Any) -> list[str]:
        names = [span.name]
        while span.parent is not None:
            span = by_id[span.parent.span_id]
            names.append(span.name)
        return names

    assert len({span.context.trace_id for span in by_id.values()}) == 1
    paths = {" < ".join(path(span)) for span in by_id.values()}
    answered = "broadcast < ai_generate < broadcast < process_inbound"
    assert {answered, f"deliver < {answered}"} <= paths
    assert "store_event < process_inbound" in paths
    assert all(span.attributes["site"] == "x" for span in by_id.values())
    assert "words" not in repr([dict(span.attributes) for span in by_id.values()])
    assert measured["salon.inbound.duration"] == 1
    assert measured["salon.ai.duration"] == 1
    assert measured["salon.events"] > 0
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


async def test_R261_the_spans_of_others_join_in(collected: Collected, make_kit: MakeKit) -> None:
    other = collected.tracers.get_tracer("other")

    class Instrumented(Transport):
        async def deliver(self, *args: Any) -> Any:
            with other.start_as_current_span("http"):
                return await super().deliver(*args)

    async with make_kit(collected.provider()) as kit:
        await kit.create_room(ROOM)
        for channel in (Transport("a"), Instrumented("b")):
            kit.register_channel(channel)
            await kit.attach_channel(ROOM, channel.channel_id)
        await kit.idle(ROOM)
        collected.exporter.clear()
        with other.start_as_current_span("request"):
            await kit.process_inbound(message("a"), room_id=ROOM)
    found = {span.name: span for span in collected.spans}
    assert found["process_inbound"].parent.span_id == found["request"].context.span_id
    assert found["http"].parent.span_id == found["deliver"].context.span_id
    assert not trace.get_current_span().is_recording()


def test_R261_errors_attributes_and_ends(collected: Collected) -> None:
    provider = collected.provider()
    assert provider.name == "opentelemetry"
    span = provider.start_span(SpanKind.CUSTOM, "x", room_id="r", attributes={"none": None})
    provider.set_attribute(span, "list", [1])
    provider.set_attribute("unknown", "a", 1)
    provider.end_span(span, status="error", error_message="timeout", attributes={"n": 1})
    provider.end_span(span)
    (ended,) = collected.spans
    assert dict(ended.attributes) == {
        "salon.kind": "custom",
        "room_id": "r",
        "list": "[1]",
        "n": 1,
    }
    assert ended.status.description == "timeout"
    assert not ended.status.is_ok


def test_R261_a_span_that_has_ended_is_still_a_parent(collected: Collected) -> None:
    provider = collected.provider()
    first = provider.start_span(SpanKind.CUSTOM, "first")
    provider.end_span(first)
    provider.end_span(provider.start_span(SpanKind.CUSTOM, "second", parent_id=first))
    one, two = collected.spans
    assert two.parent.span_id == one.context.span_id
    assert provider.inject_context(first) == {"traceparent": first}
    remote = provider.extract_context({"traceparent": first})
    assert trace.get_current_span(remote).get_span_context().span_id == one.context.span_id


@pytest.mark.parametrize("span_id", ["", "x", "00-" + "g" * 32 + "-" + "0" * 16 + "-01"])
def test_R261_ids_of_others_name_nothing(collected: Collected, span_id: str) -> None:
    provider = collected.provider()
    assert provider.get_span_context(span_id) is None
    assert provider.activate(span_id) is None


def test_R261_events_stand_in_the_current_span(collected: Collected) -> None:
    provider = collected.provider()
    span = provider.start_span(SpanKind.CUSTOM, "x")
    token = provider.activate(span)
    provider.record_event("room_created", {"room_id": "r"})
    provider.deactivate(token)
    provider.record_event("room_closed")
    provider.end_span(span)
    assert [event.name for event in collected.spans[0].events] == ["room_created"]
    assert collected.measured()["salon.events"] == 2


def test_R261_what_is_kept_is_bounded(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 1)
    monkeypatch.setattr(module, "MAX_INSTRUMENTS", 1)
    provider = collected.provider()
    for name in ("a", "b"):
        provider.start_span(SpanKind.CUSTOM, name)
        provider.record_metric(name, 1.0, unit="ms")
    provider.record_metric("a", 2.0)
    assert provider.dropped == 2
    assert [span.name for span in collected.spans] == ["a"]
    assert collected.measured() == {"a": 2}


def test_R261_closing_ends_what_is_open(collected: Collected) -> None:
    provider = collected.provider()
    provider.start_span(SpanKind.CUSTOM, "x")
    provider.close()
    provider.close()
    assert [span.status.description for span in collected.spans] == ["closed"]


def test_R261_without_an_sdk_nothing_happens() -> None:
    provider = OpenTelemetryProvider()
    with provider.span(SpanKind.CUSTOM, "x"):
        provider.record_metric("m", 1.0)
    provider.close()


def test_R261_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(MissingExtraError, match="otel"):
        OpenTelemetryProvider()
