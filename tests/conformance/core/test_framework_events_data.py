"""What framework events say (chapter 15; R169)."""

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
    staged,
)

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


async def pair(stage: Stage, **room: Any) -> RecordingTransport:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web, **room)
    return web


async def creating(stage: Stage) -> None:
    await stage.kit.create_room(ROOM, organization_id="acme")


async def talking(stage: Stage) -> None:
    await pair(stage)
    await stage.inbound("sms", "hello")


async def injecting(stage: Stage) -> None:
    await pair(stage)
    await stage.send("sms", "hello")


async def refusing(stage: Stage) -> None:
    await pair(stage)
    stage.block("rude", name="censor")
    await stage.inbound("sms", "hello")


async def muted(stage: Stage) -> None:
    await pair(stage)
    await stage.kit.mute(ROOM, "sms")
    await stage.inbound("sms", "hello")


async def failing(stage: Stage) -> None:
    (await pair(stage)).failures = [OSError("line down")]
    await stage.inbound("sms", "hello")


async def chaining(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), ScriptedAgent("one"), ScriptedAgent("two"))
    await stage.inbound("sms", addressed_to=["one"])


async def broken_hook(stage: Stage) -> None:
    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST, name="mine")
    async def fn(event: RoomEvent, context: RoomContext) -> HookResult:
        raise RuntimeError("oops")

    await talking(stage)


async def slow_hook(stage: Stage) -> None:
    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST, name="mine", timeout=0.25)
    async def fn(event: RoomEvent, context: RoomContext) -> HookResult:
        await asyncio.sleep(5)
        return HookResult.allow()

    await talking(stage)


async def pausing(stage: Stage) -> None:
    await pair(stage, timers=RoomTimers(inactive_after_seconds=5))
    await asyncio.sleep(6)
    await stage.kit.check_all_timers()


async def closing(stage: Stage) -> None:
    await pair(stage)
    await stage.kit.close_room(ROOM)


async def archiving(stage: Stage) -> None:
    await pair(stage)
    await stage.kit.archive_room(ROOM)


async def opening_a_session(stage: Stage) -> None:
    stage.register(RecordingTransport("sms"))
    await stage.kit.process_inbound(message("sms"))


async def breaking(stage: Stage) -> None:
    (await pair(stage)).failures = [OSError("line down")] * 5
    for _ in range(5):
        await stage.inbound("sms")


# name -> what brings it about; room, channel, kind of event; what its data has
SCENES: dict[str, tuple[Callable[[Stage], Awaitable[None]], Any, Any, bool, dict[str, Any]]] = {
    "room_created": (creating, ROOM, None, False, {"organization_id": "acme"}),
    "room_paused": (pausing, ROOM, None, False, {}),
    "room_closed": (closing, ROOM, None, False, {}),
    "room_archived": (archiving, ROOM, None, False, {}),
    "event_processed": (talking, ROOM, None, True, {}),
    "event_processed, injected": (injecting, ROOM, None, True, {}),
    "event_blocked": (
        refusing, ROOM, None, True,
        {"reason": "rude", "blocked_by": "censor", "hook_name": "censor"},
    ),
    "event_blocked, muted": (muted, ROOM, None, True, {"blocked_by": "source_muted"}),
    "delivery_succeeded": (talking, ROOM, "web", True, {}),
    "delivery_failed": (failing, ROOM, "web", True, {"error": "line down"}),
    "chain_depth_exceeded": (chaining, ROOM, "one", False, {"depth": 5}),
    "hook_error": (
        broken_hook, ROOM, None, False,
        {"hook_name": "mine", "trigger": "before_broadcast", "error": "oops"},
    ),
    "hook_timeout": (
        slow_hook, ROOM, None, False,
        {"hook_name": "mine", "trigger": "before_broadcast", "timeout_ms": 250},
    ),
    "circuit_breaker_opened": (breaking, None, "web", False, {"failure_count": 5}),
    "session_started": (opening_a_session, "*", "sms", False, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENES, ids=[name.replace(", ", "-") for name in SCENES])
async def test_R169_each_event_says_what_it_is_about(stage: Stage, name: str) -> None:
    scene, room_id, channel_id, about_an_event, data = SCENES[name]
    heard = stage.listen(name.partition(",")[0])
    await scene(stage)
    await stage.settle()
    (event,) = heard
    if name.startswith("hook_") and event.room_id is None:
        room_id = None  # the rule asks for the hook, the trigger and what went wrong
    if room_id == "*":
        assert event.room_id is not None
    else:
        assert event.room_id == room_id
    assert event.channel_id == channel_id
    assert (event.event_id is not None) is about_an_event
    for key, value in data.items():
        assert event.data[key] == value, key
    if about_an_event:
        assert event.event_id in {item.id for item in await stage.timeline()}


class Knowing(IdentityResolver):
    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        await asyncio.sleep(self.delay)
        return IdentityResult(
            status=IdentificationStatus.IDENTIFIED, identity=Identity(id="person")
        )


async def test_R169_identity_resolved_names_participant_and_identity() -> None:
    async with staged(identity_resolver=Knowing()) as stage:
        heard = stage.listen("identity_resolved")
        await stage.room(RecordingTransport("sms"))
        await stage.inbound("sms", sender="ann")
        await stage.settle()
        (event,) = heard
        assert event.room_id == ROOM
        assert event.data["identity_id"] == "person"
        assert event.data["participant_id"]


async def test_R169_identity_timeout_names_room_and_address() -> None:
    async with staged(identity_resolver=Knowing(100), identity_timeout=1) as stage:
        heard = stage.listen("identity_timeout")
        await stage.room(RecordingTransport("sms"))
        await stage.inbound("sms", sender="+15550100")
        await stage.settle()
        (event,) = heard
        assert (event.room_id, event.data["address"]) == (ROOM, "+15550100")


async def test_R169_channel_events_say_the_type(stage: Stage) -> None:
    heard = stage.listen("channel_registered")
    stage.register(RecordingTransport("sms"))
    await stage.settle()
    assert [(event.channel_id, event.data["channel_type"]) for event in heard] == [("sms", "sms")]


async def test_R169_a_listener_of_one_name_hears_no_other(stage: Stage) -> None:
    heard = stage.listen("room_created")
    await talking(stage)
    await stage.settle()
    assert {event.type for event in heard} == {"room_created"}


async def test_R169_a_slow_listener_holds_nothing_up(stage: Stage) -> None:
    heard: list[str] = []

    @stage.kit.on("event_processed")
    async def slow(event: Any) -> None:
        await asyncio.sleep(100)
        heard.append(event.event_id)

    began = asyncio.get_running_loop().time()
    await talking(stage)
    await stage.inbound("sms", "again")
    assert asyncio.get_running_loop().time() - began < 5
    await stage.settle(300)
    assert len(heard) == 2


async def test_R169_a_duplicate_is_processed_once(stage: Stage) -> None:
    heard = stage.listen("event_processed")
    await pair(stage)
    for _ in range(3):
        await stage.inbound("sms", idempotency_key="k")
    await stage.settle()
    assert len(heard) == 1
