"""Spans and metrics, and what is kept of tools and sessions (chapter 31; R261, R263)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, staged

from salon.auditing import (
    JSONLSessionAuditor,
    JSONLToolAuditor,
    SessionAuditEntry,
    audit_tool_handler,
)
from salon.channels.ai import AIChannel
from salon.core.ports.ai import AIToolCall
from salon.core.ports.identity import IdentityResolver
from salon.models import (
    HookResult,
    HookTrigger,
    IdentificationStatus,
    InboundMessage,
    RoomContext,
    RoomEvent,
)
from salon.models.identity import IdentityResult
from salon.providers.mock import MockAIProvider
from salon.telemetry import (
    ConsoleTelemetryProvider,
    MockTelemetryProvider,
    NoopTelemetryProvider,
    OpenTelemetryProvider,
    SpanKind,
    TelemetryProvider,
)

# -- R261: telemetry ------------------------------------------------------------------------------


class Nobody(IdentityResolver):
    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        return IdentityResult(status=IdentificationStatus.UNKNOWN)


async def a_turn(stage: Stage) -> None:
    """A message, a hook, a delivery, an answer."""

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST, name="looker")
    async def look(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.allow()

    agent = AIChannel("ai", MockAIProvider(["fine"]))
    await stage.room(RecordingTransport("sms"), RecordingTransport("web"), agent)
    await stage.inbound("sms", "how are you? my card is 4111 2222")
    await stage.settle()


@pytest.mark.parametrize(
    "provider", [NoopTelemetryProvider, ConsoleTelemetryProvider, OpenTelemetryProvider]
)
async def test_R261_each_implementation_serves_a_room(provider: Any) -> None:
    assert issubclass(provider, TelemetryProvider)
    if provider is OpenTelemetryProvider:
        pytest.importorskip("opentelemetry")
    made = provider()
    async with staged(telemetry=made) as stage:
        await a_turn(stage)
        assert [event.text for event in await stage.messages()][-1] == "fine"
    made.close()


async def test_R261_the_stages_of_a_message_have_spans() -> None:
    telemetry = MockTelemetryProvider()
    async with staged(telemetry=telemetry, identity_resolver=Nobody()) as stage:
        await a_turn(stage)
        kinds = {span.kind for span in telemetry.spans}
        names = {span.name for span in telemetry.spans}
    assert {
        SpanKind.INBOUND_PIPELINE,
        SpanKind.BROADCAST,
        SpanKind.DELIVERY,
        SpanKind.HOOK_SYNC,
        SpanKind.IDENTITY_RESOLVE,
        SpanKind.LLM_GENERATE,
    } <= kinds
    assert {"process_inbound", "broadcast", "deliver", "identity_resolve", "store_event"} <= names


async def test_R261_spans_are_ended_nested_and_name_the_room() -> None:
    telemetry = MockTelemetryProvider()
    async with staged(telemetry=telemetry) as stage:
        await a_turn(stage)
        assert telemetry.get_active_spans() == []
        spans = {span.id: span for span in telemetry.spans}
    (inbound,) = [s for s in spans.values() if s.kind is SpanKind.INBOUND_PIPELINE]
    hooks = [s for s in spans.values() if s.kind is SpanKind.HOOK_SYNC]
    assert inbound.status == "ok"
    assert hooks
    assert all(span.parent_id in spans for span in hooks)
    assert {span.room_id for span in hooks} == {ROOM}


async def test_R261_a_failed_delivery_is_an_error() -> None:
    telemetry = MockTelemetryProvider()
    async with staged(telemetry=telemetry) as stage:
        web = RecordingTransport("web")
        web.failures = [OSError("gone")]
        await stage.room(RecordingTransport("sms"), web)
        await stage.inbound("sms")
        await stage.settle()
        spans = [span for span in telemetry.get_spans(SpanKind.DELIVERY) if span.status != "ok"]
    assert [span.channel_id for span in spans] == ["web"]


async def test_R261_a_broken_provider_costs_the_room_nothing() -> None:
    class Broken(NoopTelemetryProvider):
        def start_span(self, *args: Any, **more: Any) -> str:
            raise RuntimeError("no collector")

        def record_metric(self, *args: Any, **more: Any) -> None:
            raise RuntimeError("no collector")

    class BrokenToo(MockTelemetryProvider):
        def end_span(self, *args: Any, **more: Any) -> None:
            raise RuntimeError("no collector")

    for provider in (Broken(), BrokenToo()):
        async with staged(telemetry=provider) as stage:
            await a_turn(stage)
            assert [event.text for event in await stage.messages()][-1] == "fine"


async def test_R261_no_span_holds_what_was_said() -> None:
    telemetry = MockTelemetryProvider()
    async with staged(telemetry=telemetry) as stage:
        await a_turn(stage)
        everything = " ".join(repr(span) for span in telemetry.spans)
    assert "4111 2222" not in everything
    assert "fine" not in everything


# -- R263: auditors -------------------------------------------------------------------------------


async def handler(name: str, arguments: dict[str, Any]) -> Any:
    if name == "breaks":
        raise ValueError("no such city")
    if name == "fails":
        return {"status": "failed", "why": "closed"}
    if name == "long":
        return "x" * 2000
    return {"sky": "rain"}


@pytest.mark.parametrize(
    ("name", "status"), [("look", "ok"), ("fails", "failed"), ("breaks", "error"), ("long", "ok")]
)
async def test_R263_every_call_is_a_line_and_its_result_unchanged(
    tmp_path: Path, name: str, status: str
) -> None:
    file = tmp_path / "new" / "folder" / "tools.jsonl"
    audited = audit_tool_handler(handler, JSONLToolAuditor(file), "ai")
    if name == "breaks":
        with pytest.raises(ValueError, match="no such city"):
            await audited(name, {"city": "Bonn"})
    else:
        assert await audited(name, {"city": "Bonn"}) == await handler(name, {})
    (line,) = file.read_text().splitlines()
    entry = json.loads(line)
    assert set(entry) == {
        "ts", "agent_id", "tool_name", "arguments", "result", "status", "duration_ms", "metadata"
    }  # fmt: skip
    assert (entry["agent_id"], entry["tool_name"], entry["status"]) == ("ai", name, status)
    assert entry["arguments"] == {"city": "Bonn"}
    assert len(entry["result"]) <= 500


async def test_R263_the_file_is_only_appended_to(tmp_path: Path) -> None:
    file = tmp_path / "tools.jsonl"
    for number in range(3):
        audited = audit_tool_handler(handler, JSONLToolAuditor(file), f"ai{number}")
        await audited("look", {})
    agents = [json.loads(line)["agent_id"] for line in file.read_text().splitlines()]
    assert agents == ["ai0", "ai1", "ai2"]


async def test_R263_a_file_that_cannot_be_written_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    audited = audit_tool_handler(handler, JSONLToolAuditor(tmp_path / "file" / "x.jsonl"), "ai")
    assert await audited("look", {}) == {"sky": "rain"}
    assert caplog.records


def test_R263_entries_of_a_session(tmp_path: Path) -> None:
    file = tmp_path / "sessions" / "one.jsonl"
    auditor = JSONLSessionAuditor(file)
    for kind in ("speech", "tool_call", "vision", "barge_in", "session", "error"):
        auditor.record(SessionAuditEntry(ts="2026-01-01T00:00:00Z", type=kind, content="hello"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["type"] for line in lines] == [
        "speech", "tool_call", "vision", "barge_in", "session", "error"
    ]  # fmt: skip
    assert set(lines[0]) == {"ts", "type", "role", "content", "duration_ms", "metadata"}


async def test_R263_an_agents_calls_are_kept(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "tools.jsonl"
    audited = audit_tool_handler(handler, JSONLToolAuditor(file), "ai")
    provider = MockAIProvider([[AIToolCall("1", "look", {"city": "Bonn"})], "It rains."])
    declared = {"name": "look", "description": "Look.", "parameters": {"type": "object"}}
    agent = AIChannel("ai", provider, tools=[declared], tool_handler=audited)
    await stage.room(RecordingTransport("sms"), agent)
    await stage.inbound("sms", "weather?")
    await stage.settle()
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["tool_name"] == "look"
    (result,) = provider.contexts[1].messages[-1].tool_results
    assert "rain" in result.content
