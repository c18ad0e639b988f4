"""Framework events (chapter 15; R169)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    message,
    silent,
    staged,
)

from salon.core import FrameworkEvent
from salon.core.ports.identity import IdentityResolver
from salon.models import (
    HookResult,
    HookTrigger,
    IdentificationStatus,
    InboundMessage,
    RoomContext,
    RoomEvent,
    RoomTimers,
)
from salon.models.identity import Identity, IdentityResult


class Resolver(IdentityResolver):
    """Knows everybody; `hang` keeps it thinking."""

    def __init__(self, *, hang: bool = False) -> None:
        self.hang = hang

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        if self.hang:
            await asyncio.sleep(1e6)
        identity = Identity(id=f"person-{message.sender_id}", display_name="Ann")
        return IdentityResult(status=IdentificationStatus.IDENTIFIED, identity=identity)


async def a_room(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), RecordingTransport("web"))


async def a_message(stage: Stage) -> None:
    await a_room(stage)
    await stage.inbound("sms")


async def a_block(stage: Stage) -> None:
    stage.block("no")
    await a_message(stage)


async def a_failed_delivery(stage: Stage) -> None:
    web = RecordingTransport("web")
    web.failures = [OSError("gone")]
    await stage.room(RecordingTransport("sms"), web)
    await stage.inbound("sms")


async def a_rating(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.kit.submit_feedback(ROOM, 1.0)


async def a_pause(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), timers=RoomTimers(inactive_after_seconds=10))
    await asyncio.sleep(11)
    await stage.kit.check_all_timers()


async def a_closing(stage: Stage) -> None:
    await a_room(stage)
    await stage.kit.close_room(ROOM)


async def an_archiving(stage: Stage) -> None:
    await a_room(stage)
    await stage.kit.archive_room(ROOM)


async def an_unregistering(stage: Stage) -> None:
    stage.register(RecordingTransport("sms"))
    stage.kit.unregister_channel("sms")


async def a_long_chain(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), ScriptedAgent("one"), ScriptedAgent("two"))
    await stage.inbound("sms", addressed_to=["one"])


async def a_broken_hook(stage: Stage) -> None:
    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def broken(event: RoomEvent, context: RoomContext) -> HookResult:
        raise RuntimeError("broken")

    await a_message(stage)


async def a_slow_hook(stage: Stage) -> None:
    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST, timeout=0.5)
    async def slow(event: RoomEvent, context: RoomContext) -> HookResult:
        await asyncio.sleep(10)
        return HookResult.allow()

    await a_message(stage)


async def a_refusal(stage: Stage) -> None:
    await a_closing(stage)
    await stage.inbound("sms")


async def an_outage(stage: Stage) -> None:
    web = RecordingTransport("web")
    web.failures = [OSError("gone") for _ in range(5)]
    await stage.room(RecordingTransport("sms"), web)
    for _ in range(6):
        await stage.inbound("sms")


async def a_recovery(stage: Stage) -> None:
    await an_outage(stage)
    await asyncio.sleep(61)
    await stage.inbound("sms")
    await stage.inbound("sms")


# name -> what brings it about, and the keys its data must have
SCENES: dict[str, tuple[Callable[[Stage], Awaitable[None]], set[str]]] = {
    "room_created": (a_room, {"organization_id"}),
    "room_paused": (a_pause, set()),
    "room_closed": (a_closing, set()),
    "room_archived": (an_archiving, set()),
    "channel_unregistered": (an_unregistering, set()),
    "event_processed": (a_message, set()),
    "event_blocked": (a_block, {"hook_name"}),
    "delivery_succeeded": (a_message, set()),
    "delivery_failed": (a_failed_delivery, {"error"}),
    "broadcast_partial_failure": (a_failed_delivery, set()),
    "chain_depth_exceeded": (a_long_chain, {"depth"}),
    "hook_error": (a_broken_hook, {"hook_name", "trigger", "error"}),
    "hook_timeout": (a_slow_hook, {"hook_name", "trigger", "timeout_ms"}),
    "room_refused_event": (a_refusal, set()),
    "feedback": (a_rating, {"dimension", "rating"}),
    "circuit_breaker_opened": (an_outage, {"failure_count"}),
    "circuit_breaker_closed": (a_recovery, set()),
}


@pytest.mark.parametrize("name", SCENES)
async def test_R169_each_event_is_observed_once(stage: Stage, name: str) -> None:
    scene, keys = SCENES[name]
    heard = stage.listen(name)
    await scene(stage)
    await stage.settle()
    assert [event.type for event in heard] == [name]
    assert keys <= set(heard[0].data)
    assert heard[0].timestamp.tzinfo is not None


@pytest.mark.parametrize("name", ["channel_registered", "room_channel_attached"])
async def test_R169_channels_are_announced_by_id(stage: Stage, name: str) -> None:
    heard = stage.listen(name)
    await a_room(stage)
    await stage.settle()
    assert [event.channel_id for event in heard] == ["sms", "web"]


@pytest.mark.parametrize("hang", [False, True])
async def test_R169_R171_identity_is_announced(hang: bool) -> None:
    async with staged(identity_resolver=Resolver(hang=hang)) as stage:
        heard = stage.listen("identity_resolved", "identity_timeout")
        await stage.room(RecordingTransport("sms"))
        result = await stage.inbound("sms")
        await stage.settle()
        assert not result.blocked
        assert [event.type for event in heard] == [
            "identity_timeout" if hang else "identity_resolved"
        ]
        if not hang:
            assert heard[0].data["identity_id"] == "person-ann"
            assert result.event is not None
            assert result.event.source.participant_id == "person-ann"


async def test_R169_a_process_timeout_is_announced() -> None:
    async with staged(process_timeout=1.0) as stage:
        heard = stage.listen("process_timeout")
        sms = RecordingTransport("sms")

        async def hang(*_: Any) -> None:
            await asyncio.sleep(1000)

        sms.parse = hang
        await stage.room(sms)
        await stage.inbound("sms")
        await stage.settle()
        assert [event.room_id for event in heard] == [ROOM]


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_R169_a_raising_handler_harms_nobody(stage: Stage, kind: str) -> None:
    def plain(event: FrameworkEvent) -> None:
        raise RuntimeError("my own fault")

    async def coroutine(event: FrameworkEvent) -> None:
        raise RuntimeError("my own fault")

    for name in ("room_created", "event_processed", "delivery_succeeded"):
        stage.kit.on(name)(plain if kind == "plain" else coroutine)
    heard = stage.listen("event_processed")
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    result = await stage.inbound("sms")
    await stage.settle()
    assert not result.blocked
    assert (web.bodies, len(heard)) == (["hi"], 1)


async def test_R169_R11_events_are_stored_in_no_timeline(stage: Stage) -> None:
    everything = stage.listen("*")
    await stage.room(RecordingTransport("sms"), silent("ai"))
    await stage.kit.process_inbound(message("sms"), room_id=ROOM)
    await stage.settle()
    ids = {event.id for event in await stage.timeline()}
    assert len(everything) >= 5
    assert all(event.event_id is None or event.event_id in ids for event in everything)
    assert len(ids) == 3
