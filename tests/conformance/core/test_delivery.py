"""Broadcast, delivery lanes, injected events (chapter 12; R131-R145)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from tests.conformance.core.stage import (
    PATIENCE,
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    message,
    silent,
    staged,
    text,
)

from salon.core.ports.channel import Channel
from salon.models import (
    ChannelCapabilities,
    ChannelDirection,
    ChannelMediaType,
    ChannelOutput,
    ChannelType,
    CompositeContent,
    EventSource,
    EventStatus,
    HookResult,
    HookTrigger,
    InjectedEvent,
    RoomContext,
    RoomEvent,
)


class Refusing:
    """A transcoder that can represent nothing."""

    async def transcode(self, content: Any, source: Any, target: Any) -> None:
        return None


def injected(body: str, *targets: str | None, stored_only: bool = False) -> InjectedEvent:
    event = RoomEvent(
        room_id=ROOM,
        source=EventSource(channel_id="system", channel_type=ChannelType.SYSTEM),
        content=text(body),
    )
    return InjectedEvent(event, None if stored_only else tuple(str(name) for name in targets))


def inject(stage: Stage, action: str, *events: InjectedEvent) -> None:
    """A hook that adds events when it blocks, allows or modifies; it leaves answers alone."""

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST, name="injector")
    async def add(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.source.channel_type is ChannelType.AI:
            return HookResult.allow()
        if action == "block":
            return HookResult.block("no", injected=events)
        if action == "modify":
            return HookResult.modify(event, injected=events)
        return HookResult.allow(events)


async def test_R131_one_targets_failure_touches_nothing_else(stage: Stage) -> None:
    good, bad = RecordingTransport("good"), RecordingTransport("bad")
    bad.failures = [RuntimeError("boom")]
    agent = ScriptedAgent("ai")
    await stage.room(RecordingTransport("sms"), bad, good, agent)
    result = await stage.inbound("sms", "hello")
    await stage.settle()
    assert good.bodies == ["hello", "ai: hello"]
    assert bad.bodies == ["ai: hello"]
    error = result.delivery_results["bad"].error
    assert error is not None
    assert "boom" in error.message
    assert "good" not in [name for name, item in result.delivery_results.items() if item.error]
    assert (await stage.said())[0] == ("hello", "delivered")


async def test_R131_a_hanging_target_is_bounded() -> None:
    async with staged(delivery_timeout=2.0) as stage:
        stuck, good = RecordingTransport("stuck"), RecordingTransport("good")
        stuck.hold = asyncio.Event()
        await stage.room(RecordingTransport("sms"), stuck, good)
        result = await stage.inbound("sms", "hello")
        assert good.bodies == ["hello"]
        assert result.delivery_results["stuck"].status == "failed"


async def test_R132_transports_get_on_event_then_deliver_agents_only_on_event(
    stage: Stage,
) -> None:
    order: list[str] = []
    web = RecordingTransport("web")

    async def delivered(event: RoomEvent) -> None:
        order.append(f"deliver after {len(web.told)} told")

    web.on_delivery = delivered
    agent = silent("ai")  # its `deliver` raises
    await stage.room(RecordingTransport("sms"), web, agent)
    result = await stage.inbound("sms")
    await stage.settle()
    assert order == ["deliver after 1 told"]
    assert len(agent.asked) == 1
    assert result.error is None


async def test_R133_what_cannot_be_represented_is_not_delivered() -> None:
    async with staged(transcoder=Refusing()) as stage:
        web = RecordingTransport("web")
        await stage.room(RecordingTransport("sms"), web)
        result = await stage.inbound("sms")
        error = result.delivery_results["web"].error
        assert error is not None
        assert error.code == "transcoding_failed"
        assert (web.told, web.got) == ([], [])
        assert (await stage.said()) == [("hi", "delivered")]


async def test_R134_a_bound_but_unregistered_channel_is_skipped_with_a_warning(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), RecordingTransport("gone"), web)
    stage.kit.unregister_channel("gone")
    with caplog.at_level(logging.WARNING, logger="salon"):
        result = await stage.inbound("sms")
    assert (web.bodies, result.blocked) == (["hi"], False)
    assert any("gone" in record.getMessage() for record in caplog.records)


async def test_R136_metadata_updates_are_applied_key_by_key(stage: Stage) -> None:
    one, two = silent("one"), silent("two")
    one.updates, two.updates = {"a": 1}, {"b": {"deep": 2}}
    await stage.room(RecordingTransport("sms"), one, two, metadata={"kept": True})
    await stage.inbound("sms")
    await stage.settle()
    assert (await stage.read()).metadata == {"kept": True, "a": 1, "b": {"deep": 2}}


async def test_R137_deliveries_of_a_room_keep_index_order(stage: Stage) -> None:
    web = RecordingTransport("web")
    pauses = iter([0.5, 0.01, 0.2, 0.01, 0.01])

    async def slow(event: RoomEvent) -> None:
        await asyncio.sleep(next(pauses))
        finished.append(event.index)

    finished: list[int] = []
    web.on_delivery = slow
    await stage.room(RecordingTransport("sms"), web)
    await asyncio.gather(*(stage.inbound("sms", str(n)) for n in range(5)))
    assert finished == sorted(finished)
    assert [event.index for event in web.got] == finished


async def test_R137_R199_rooms_are_independent(stage: Stage) -> None:
    slow, quick = RecordingTransport("slow"), RecordingTransport("quick")
    slow.hold = asyncio.Event()
    await stage.room(RecordingTransport("sms"), slow, room_id="a")
    await stage.room(RecordingTransport("sms"), quick, room_id="b")
    stuck = stage.start(stage.inbound("sms", "stuck", room_id="a"))
    await stage.settle()
    await stage.inbound("sms", "free", room_id="b")
    assert quick.bodies == ["free"]
    assert slow.got == []
    slow.hold.set()
    await stuck


async def test_R138_every_index_is_accounted_for_in_the_lane(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.inbound("sms", "nobody hears it", visibility="none")
    stage.block("no")
    await stage.inbound("sms", "refused")
    await stage.settle()
    room = await stage.read()
    assert room.delivered_index == room.latest_index == 2


@pytest.mark.parametrize("finishes", [True, False])
async def test_R140_shutdown_drains_for_a_bounded_time(finishes: bool) -> None:
    web = RecordingTransport("web")
    web.hold = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with staged(shutdown_timeout=5.0, delivery_timeout=1000.0) as stage:
        kit = stage.kit
        await stage.room(RecordingTransport("sms"), web)
        call = stage.start(kit.process_inbound(message("sms"), room_id=ROOM))
        await stage.settle()
        if finishes:
            loop.call_later(2.0, web.hold.set)
        began = loop.time()
    assert loop.time() - began <= 12.0
    assert web.bodies == (["hi"] if finishes else [])
    done, _ = await asyncio.wait([call], timeout=1.0)  # every waiter is released
    assert done
    assert finishes or call.exception() is not None or call.result() is not None


async def test_R141_delivery_outcomes_are_announced_per_target(stage: Stage) -> None:
    good, bad = RecordingTransport("good"), RecordingTransport("bad")
    bad.failures = [OSError("gone")]
    names = ("delivery_succeeded", "delivery_failed", "broadcast_partial_failure")
    heard = stage.listen(*names)
    await stage.room(RecordingTransport("sms"), good, bad)
    event = (await stage.inbound("sms")).event
    await stage.settle()
    assert event is not None
    assert {(item.type, item.channel_id) for item in heard} == {
        ("delivery_succeeded", "good"),
        ("delivery_failed", "bad"),
        ("broadcast_partial_failure", None),
    }
    assert {item.event_id for item in heard} == {event.id}
    (failed,) = [item for item in heard if item.type == "delivery_failed"]
    assert "gone" in str(failed.data["error"])


async def test_R141_results_are_written_back_only_after_a_failure(stage: Stage) -> None:
    good, bad = RecordingTransport("good"), RecordingTransport("bad")
    await stage.room(RecordingTransport("sms"), good, bad)
    await stage.inbound("sms", "fine")
    bad.failures = [OSError("gone")]
    await stage.inbound("sms", "partly")
    await stage.settle()
    fine, partly = await stage.messages()
    assert fine.delivery_results == {}
    assert set(partly.delivery_results) == {"good", "bad"}
    assert (fine.status, partly.status) == (EventStatus.DELIVERED, EventStatus.DELIVERED)


async def test_R142_a_failed_agent_fires_on_error_and_is_surfaced(stage: Stage) -> None:
    errors = stage.hear(HookTrigger.ON_ERROR)
    failure = RuntimeError("no idea")
    await stage.room(RecordingTransport("sms"), ScriptedAgent("ai", lambda *_: failure))
    result = await stage.inbound("sms")
    await stage.settle()
    assert result.error is failure
    assert [event.metadata["error_type"] for event in errors] == ["RuntimeError"]
    assert {"error", "error_type", "error_category"} <= set(errors[0].metadata)


async def test_R142_a_failed_transport_does_not_fire_on_error(stage: Stage) -> None:
    errors = stage.hear(HookTrigger.ON_ERROR)
    web = RecordingTransport("web")
    web.failures = [RuntimeError("boom")]
    await stage.room(RecordingTransport("sms"), web)
    await stage.inbound("sms")
    await stage.settle()
    assert errors == []


@pytest.mark.parametrize("action", ["block", "allow", "modify"])
async def test_R143_injected_events_reach_only_their_targets(stage: Stage, action: str) -> None:
    one, two = RecordingTransport("one"), RecordingTransport("two")
    await stage.room(RecordingTransport("sms"), one, two)
    inject(stage, action, injected("notice", "one"))
    await stage.inbound("sms", "hello")
    await stage.settle()
    heard = [] if action == "block" else ["hello"]
    assert sorted(filter(None, one.bodies)) == sorted([*heard, "notice"])
    assert two.bodies == heard
    said = [(body, status) for body, status in await stage.said()]
    assert ("notice", "delivered") in said


async def test_R143_an_injected_event_without_targets_is_stored_only(stage: Stage) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    inject(stage, "block", injected("note", stored_only=True))
    await stage.inbound("sms", "hello")
    await stage.settle()
    assert web.got == []
    assert await stage.said() == [("hello", "injector"), ("note", "delivered")]


@pytest.mark.parametrize("action", ["block", "allow", "modify"])
async def test_R144_injected_events_stand_above_their_cause(stage: Stage, action: str) -> None:
    await stage.room(RecordingTransport("sms"))
    inject(stage, action, injected("first", "sms"), injected("second", "sms"))
    await stage.inbound("sms", "cause")
    await stage.settle()
    events = await stage.messages()
    assert bodies(events) == ["cause", "first", "second"]
    assert events[1].status is events[2].status is EventStatus.DELIVERED
    assert events[0].index < events[1].index < events[2].index


async def test_R145_injected_delivery_is_bare(stage: Stage) -> None:
    agent = ScriptedAgent("ai")
    agent.tasks = ["never kept"]
    await stage.room(RecordingTransport("sms"), agent)
    poor = RecordingTransport("poor", capabilities=ChannelCapabilities(max_length=4))
    stage.register(poor)
    await stage.kit.attach_channel(ROOM, "poor")
    await stage.kit.set_visibility(ROOM, "sms", "none")
    inject(stage, "block", injected("a long notice", "poor", "ai", "not bound"))
    await stage.settle()
    hooked = stage.hear(HookTrigger.AFTER_BROADCAST)
    await stage.inbound("sms", "hello")
    await stage.settle()
    assert poor.bodies == ["a long notice"]
    assert agent.heard == ["a long notice"]
    assert bodies(await stage.messages()) == ["hello", "a long notice"]
    assert hooked == []


async def test_R145_an_injected_event_starts_no_agents_turn(stage: Stage) -> None:
    agent = ScriptedAgent("ai")
    await stage.room(RecordingTransport("sms"), agent)
    inject(stage, "block", injected("notice", "ai"))
    await stage.inbound("sms", "hello")
    await stage.settle()
    assert bodies(await stage.messages()) == ["hello", "notice"]


@pytest.mark.parametrize("direction", list(ChannelDirection))
async def test_R132_direction_decides_who_is_delivered_to(
    stage: Stage, direction: ChannelDirection
) -> None:
    target = RecordingTransport("target", direction=direction)
    await stage.room(RecordingTransport("sms"), target)
    await stage.inbound("sms", "hello")
    await stage.settle()
    assert bodies(target.told) == ["hello"]
    assert target.bodies == ([] if direction is ChannelDirection.INBOUND else ["hello"])


async def test_R131_targets_are_served_concurrently(stage: Stage) -> None:
    channels = [RecordingTransport(name) for name in ("a", "b", "c")]

    async def slow(event: RoomEvent) -> None:
        await asyncio.sleep(1.0)

    for channel in channels:
        channel.on_delivery = slow
    everybody: list[Channel] = [RecordingTransport("sms"), *channels]
    await stage.room(*everybody)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await stage.inbound("sms")
    assert loop.time() - began < 2.0


async def test_R133_a_composite_is_flattened_for_a_target_that_takes_text(stage: Stage) -> None:
    poor = RecordingTransport(
        "poor", capabilities=ChannelCapabilities(media_types=[ChannelMediaType.TEXT])
    )
    await stage.room(RecordingTransport("sms"), poor)
    content = CompositeContent(parts=[text("one"), text("two")])
    await stage.inbound("sms", content=content)
    assert poor.bodies == ["one\ntwo"]
    (stored,) = await stage.messages()
    assert stored.content == content


async def test_R136_outputs_without_updates_change_nothing(stage: Stage) -> None:
    web = RecordingTransport("web")
    web.reaction = ChannelOutput(metadata_updates={"seen": True})
    await stage.room(RecordingTransport("sms"), web)
    async with asyncio.timeout(PATIENCE):
        await stage.inbound("sms")
    await stage.settle()
    assert (await stage.read()).metadata == {"seen": True}
