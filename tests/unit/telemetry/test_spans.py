"""R261: spans over an event's way through a room, each below the one that caused it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.unit.core.helpers import ROOM, Agent, Transport, message
from tests.unit.telemetry.conftest import MakeKit

from salon.channels.ai import AIChannel
from salon.core.kit import RoomKit
from salon.core.ports.ai import AIToolCall, ResponseMetadata
from salon.core.telemetry import NO_SPAN, current_span, get_current_span
from salon.identity import MockIdentityResolver
from salon.models import (
    AgentResponsePolicy,
    HookExecution,
    HookResult,
    HookTrigger,
    Identity,
    RoomContext,
    RoomEvent,
)
from salon.providers.mock import MockAIProvider
from salon.telemetry import MockTelemetryProvider, Span, SpanKind, TelemetryConfig

SECRET = "the words nobody may see"
ADDRESS = "+15550001111"


async def furnish(kit: RoomKit, *channels: Any) -> None:
    await kit.create_room(ROOM)
    for channel in channels:
        kit.register_channel(channel)
        await kit.attach_channel(ROOM, channel.channel_id, channel.category)
    await kit.idle(ROOM)


def one(spans: list[Span], name: str, **facts: Any) -> Span:
    found = [
        span
        for span in spans
        if span.name == name
        and all(span.attributes.get(k, getattr(span, k, None)) == v for k, v in facts.items())
    ]
    assert len(found) == 1, (name, facts, found)
    return found[0]


def above(telemetry: MockTelemetryProvider, span: Span) -> list[str]:
    """The names of a span and of those above it."""
    by_id = {item.id: item for item in telemetry.spans}
    names = [span.name]
    while span.parent_id is not None:
        span = by_id[span.parent_id]
        names.append(span.name)
    return names


async def test_R261_one_message_is_one_tree(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    async with make_kit(telemetry) as kit:
        await furnish(kit, Transport("a"), Transport("b"))

        @kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def look(event: RoomEvent, context: RoomContext) -> HookResult:
            return HookResult.allow()

        telemetry.reset()
        result = await kit.process_inbound(message("a"), room_id=ROOM)
        await kit.idle(ROOM)

    assert result.event is not None
    spans = telemetry.spans
    root = one(spans, "process_inbound")
    assert root.parent_id is None
    assert root.kind is SpanKind.INBOUND_PIPELINE
    assert root.attributes["status"] == "stored"
    assert root.attributes["event_id"] == result.event.id
    assert root.attributes["room_id"] == ROOM
    assert root.channel_id == "a"
    for name in ("hook_execution", "store_event", "broadcast"):
        assert one(spans, name).parent_id == root.id, name
    deliver = one(spans, "deliver")
    assert deliver.parent_id == one(spans, "broadcast").id
    assert (deliver.channel_id, deliver.status) == ("b", "ok")
    assert one(spans, "hook_execution").attributes["hook.name"] == "look"
    assert one(spans, "broadcast").attributes["delivery.targets"] == 1
    assert telemetry.get_active_spans() == []
    assert [m["name"] for m in telemetry.metrics] == ["salon.inbound.duration"]


async def test_R261_answers_hang_on_the_question_across_lanes(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    async with make_kit(telemetry) as kit:
        await furnish(kit, Transport("a"), Agent("bot"))
        telemetry.reset()
        await kit.process_inbound(message("a"), room_id=ROOM)
        await kit.idle(ROOM)

    spans = telemetry.spans
    generated = one(spans, "ai_generate")
    assert above(telemetry, generated) == ["ai_generate", "broadcast", "process_inbound"]
    assert generated.attributes["llm.answered"] is True
    assert generated.channel_id == "bot"
    answered = [span for span in spans if span.name == "deliver" and span.channel_id == "a"]
    assert [above(telemetry, span) for span in answered] == [
        ["deliver", "broadcast", "ai_generate", "broadcast", "process_inbound"]
    ]


async def test_R261_an_agent_that_says_nothing_is_marked(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    async with make_kit(telemetry) as kit:
        await furnish(kit, Transport("a"), Agent("bot", lambda event, context: None))
        await kit.process_inbound(message("a"), room_id=ROOM)
        await kit.idle(ROOM)
    assert one(telemetry.spans, "ai_generate").attributes["llm.answered"] is False


async def test_R261_a_streamed_answer_knows_its_provider_and_tools(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    async def weather(town: str) -> str:
        """Tell the weather."""
        assert current_span()
        return f"rain in {town}"

    usage = ResponseMetadata({"usage": {"input_token_count": 7, "output_token_count": 3}})
    script: list[Any] = [[AIToolCall("c1", "weather", {"town": "Bern"})], ["It ", "rains.", usage]]
    bot = AIChannel("bot", MockAIProvider(script), tools=[weather])
    async with make_kit(telemetry) as kit:
        await furnish(kit, Transport("a"), bot)

        @kit.hook(HookTrigger.BEFORE_TOOL_USE)
        async def allow(event: Any, context: RoomContext) -> HookResult:
            return HookResult.allow()

        await kit.process_inbound(message("a"), room_id=ROOM)
        await kit.idle(ROOM)

    spans = telemetry.spans
    generated = one(spans, "ai_generate")
    facts = generated.attributes
    assert (facts["provider"], facts["model"]) == ("mock", "mock")
    assert (facts["llm.tool_count"], facts["llm.output_tokens"]) == (1, 3)
    tool = one(spans, "tool_call")
    assert tool.parent_id == generated.id
    assert tool.attributes["tool.name"] == "weather"
    assert one(spans, "hook_execution", **{"hook.name": "allow"}).parent_id == tool.id
    assert "salon.ai.duration" in [metric["name"] for metric in telemetry.metrics]
    assert "rain" not in repr(spans)
    assert "Bern" not in repr(spans)


async def test_R261_a_tool_that_fails_ends_as_an_error(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    script: list[Any] = [[AIToolCall("c1", "nothing", {})], ["Sorry."]]
    async with make_kit(telemetry) as kit:
        await furnish(kit, Transport("a"), AIChannel("bot", MockAIProvider(script)))
        await kit.process_inbound(message("a"), room_id=ROOM)
        await kit.idle(ROOM)
    assert one(telemetry.spans, "tool_call").error_message == "tool_failed"


async def test_R261_failures_are_told_by_their_code(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    target = Transport("b")
    target.failure = ValueError(f"{ADDRESS} refused {SECRET}")

    def broken(event: RoomEvent, context: RoomContext) -> AsyncIterator[str]:
        async def words() -> AsyncIterator[str]:
            yield "begun"
            raise LookupError(SECRET)

        return words()

    async with make_kit(telemetry) as kit:
        await furnish(kit, Transport("a"), target, Agent("bot", broken))

        @kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def clumsy(event: RoomEvent, context: RoomContext) -> HookResult:
            if event.source.channel_id == "a":
                raise KeyError(SECRET)
            return HookResult.allow()

        telemetry.reset()
        await kit.process_inbound(message("a", SECRET, sender=ADDRESS), room_id=ROOM)
        await kit.idle(ROOM)

    failed = {(s.name, s.error_message) for s in telemetry.spans if s.status == "error"}
    assert failed == {
        ("hook_execution", "KeyError"),
        ("deliver", "ValueError"),
        ("ai_generate", "LookupError"),
    }
    failures = [m for m in telemetry.metrics if m["name"] == "salon.delivery.failures"]
    assert failures
    assert failures[0]["attributes"]["error.code"] == "ValueError"
    everything = repr((telemetry.spans, telemetry.metrics, telemetry.events))
    assert SECRET not in everything
    assert ADDRESS not in everything


async def test_R261_senders_are_identified_in_a_span(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    resolver = MockIdentityResolver({ADDRESS: Identity(id="i1", display_name="Ann")})
    async with make_kit(telemetry, identity_resolver=resolver) as kit:
        await furnish(kit, Transport("a"))
        await kit.process_inbound(message("a", sender=ADDRESS), room_id=ROOM)
    span = one(telemetry.spans, "identity_resolve")
    assert above(telemetry, span) == ["identity_resolve", "process_inbound"]
    assert ADDRESS not in repr(telemetry.spans)


async def test_R261_refused_and_repeated_messages_say_so(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    async with make_kit(telemetry) as kit:
        await furnish(kit, Transport("a"))

        @kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def block(event: RoomEvent, context: RoomContext) -> HookResult:
            return HookResult.block("no") if event.text == "bad" else HookResult.allow()

        telemetry.reset()
        for body, key in (("bad", None), ("good", "k"), ("good", "k")):
            await kit.process_inbound(message("a", body, idempotency_key=key), room_id=ROOM)
        with pytest.raises(Exception, match="ghost"):
            await kit.process_inbound(message("ghost"), room_id=ROOM)
    roots = [span for span in telemetry.spans if span.name == "process_inbound"]
    assert [span.attributes.get("status") for span in roots] == [
        "blocked",
        "stored",
        "duplicate",
        None,
    ]
    assert roots[-1].status == "error"


async def test_R261_an_event_sent_by_the_host_is_a_tree_too(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    async with make_kit(telemetry) as kit:
        await furnish(kit, Transport("a"), Transport("b"))
        telemetry.reset()
        await kit.send_event(ROOM, "a", "hello")
    root = one(telemetry.spans, "process_event")
    assert one(telemetry.spans, "store_event").parent_id == root.id
    assert above(telemetry, one(telemetry.spans, "deliver")) == [
        "deliver",
        "broadcast",
        "process_event",
    ]


async def test_R261_observing_hooks_get_spans(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    seen: list[str | None] = []
    async with make_kit(telemetry) as kit:
        await furnish(kit, Transport("a"))

        @kit.hook(HookTrigger.AFTER_BROADCAST, HookExecution.ASYNC)
        async def watch(event: RoomEvent, context: RoomContext) -> None:
            seen.append(get_current_span())

        await kit.process_inbound(message("a"), room_id=ROOM)
    span = one(telemetry.spans, "hook_execution", **{"hook.name": "watch"})
    assert span.kind is SpanKind.HOOK_ASYNC
    assert seen == [span.id]


async def test_R261_observing_hooks_hang_on_the_broadcast(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    async with make_kit(telemetry) as kit:
        await furnish(kit, Transport("a"))

        @kit.hook(HookTrigger.AFTER_BROADCAST, HookExecution.ASYNC)
        async def watch(event: RoomEvent, context: RoomContext) -> None: ...

        await kit.process_inbound(message("a"), room_id=ROOM)
    span = one(telemetry.spans, "hook_execution", **{"hook.name": "watch"})
    assert above(telemetry, span) == ["hook_execution", "broadcast", "process_inbound"]


async def test_R261_kinds_left_out_are_skipped_not_cut(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    kinds = {SpanKind.INBOUND_PIPELINE, SpanKind.DELIVERY}
    config = TelemetryConfig(telemetry, enabled_spans=kinds, metadata={"site": "x"})
    async with make_kit(config) as kit:
        await furnish(kit, Transport("a"), Transport("b"), Agent("bot", streamed))
        await kit.process_inbound(message("a"), room_id=ROOM)
    assert {span.name for span in telemetry.spans} == {"process_inbound", "deliver"}
    assert all(span.attributes["site"] == "x" for span in telemetry.spans)
    delivered = [span for span in telemetry.spans if span.name == "deliver"]
    assert {above(telemetry, span)[-1] for span in delivered} == {"process_inbound"}


def streamed(event: RoomEvent, context: RoomContext) -> AsyncIterator[str]:
    async def words() -> AsyncIterator[str]:
        yield "well"

    return words()


async def test_R261_what_is_not_sampled_is_left_out_whole(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    async with make_kit(TelemetryConfig(telemetry, sample_rate=0.0)) as kit:
        await furnish(kit, Transport("a"), Transport("b"), Agent("bot", streamed))
        await kit.process_inbound(message("a"), room_id=ROOM)
        await kit.idle(ROOM)
    assert telemetry.spans == []
    assert [m["name"] for m in telemetry.metrics] == ["salon.inbound.duration"]


async def test_R261_what_is_not_sampled_does_not_silence_what_follows(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    script: list[Any] = [[AIToolCall("c1", "nothing", {})], ["Sorry."]]
    config = TelemetryConfig(telemetry, sample_rate=0.0)
    async with make_kit(config) as kit:
        await furnish(kit, Transport("a"), AIChannel("bot", MockAIProvider(script)))
        await kit.process_inbound(message("a"), room_id=ROOM)
        assert current_span() is NO_SPAN
        config.sample_rate = 1.0
        await kit.process_inbound(message("a", "again"), room_id=ROOM)
    assert "process_inbound" in {span.name for span in telemetry.spans}


async def test_R261_suppressed_triggers_get_no_spans(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    config = TelemetryConfig(telemetry, suppressed_hook_triggers={"before_broadcast"})
    async with make_kit(config) as kit:
        await furnish(kit, Transport("a"))

        @kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def look(event: RoomEvent, context: RoomContext) -> HookResult:
            return HookResult.allow()

        await kit.process_inbound(message("a"), room_id=ROOM)
    assert "hook_execution" not in {span.name for span in telemetry.spans}


async def test_R261_framework_events_are_recorded_without_words(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    target = Transport("b")
    target.failure = ValueError(SECRET)
    async with make_kit(telemetry) as kit:
        await furnish(kit, Transport("a"), target)
        await kit.process_inbound(message("a", SECRET, sender=ADDRESS), room_id=ROOM)
    names = [event["name"] for event in telemetry.events]
    assert "room_created" in names
    assert "delivery_failed" in names
    assert SECRET not in repr(telemetry.events)
    assert ADDRESS not in repr(telemetry.events)
    assert telemetry.closed


async def test_R261_a_provider_that_fails_costs_nothing_but_its_spans(
    make_kit: MakeKit, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MockTelemetryProvider):
        def start_span(self, *args: Any, **options: Any) -> str:
            raise OSError("down")

        def record_metric(self, *args: Any, **options: Any) -> None:
            raise OSError("down")

    target = Transport("b")
    async with make_kit(Broken()) as kit:
        await furnish(kit, Transport("a"), target)
        result = await kit.process_inbound(message("a"), room_id=ROOM)
    assert result.event is not None
    assert target.bodies == ["hi"]
    told = [r for r in caplog.records if r.name == "salon.core.telemetry"]
    assert len(told) == 1


async def test_R261_rooms_do_not_mix_their_trees(
    telemetry: MockTelemetryProvider, make_kit: MakeKit
) -> None:
    async with make_kit(telemetry, agent_response_policy=AgentResponsePolicy.AGENT_CHAIN) as kit:
        await furnish(kit, Transport("a"), Transport("b"))
        for name in ("r1", "r2"):
            await kit.create_room(name)
            for channel_id in ("a", "b"):
                await kit.attach_channel(name, channel_id)
        telemetry.reset()
        await asyncio.gather(
            *(kit.process_inbound(message("a"), room_id=r) for r in ("r1", "r2") for _ in range(5))
        )
    by_id = {span.id: span for span in telemetry.spans}
    delivered = [span for span in telemetry.spans if span.name == "deliver"]
    assert len(delivered) == 10
    for span in delivered:
        broadcast = by_id[span.parent_id or ""]
        root = by_id[broadcast.parent_id or ""]
        assert root.attributes["room_id"] == span.room_id == broadcast.room_id
    assert len({by_id[s.parent_id or ""].parent_id for s in delivered}) == 10
    assert current_span() is NO_SPAN
