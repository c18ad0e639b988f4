"""Ephemeral events: kinds, queues, backends (chapter 22; R219-R222, R215)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, staged

from salon.core import RoomKit
from salon.core.memory.realtime import InMemoryRealtime
from salon.core.ports.realtime import (
    EphemeralCallback,
    EphemeralEvent,
    EphemeralEventType,
    RealtimeBackend,
)
from salon.models import HookTrigger, RoomTimers

K = EphemeralEventType
KINDS: dict[str, tuple[Callable[[RoomKit], Awaitable[None]], EphemeralEventType, Any]] = {
    "typing": (lambda kit: kit.publish_typing(ROOM, "ann"), K.TYPING_START, {}),
    "typing no more": (lambda kit: kit.publish_typing(ROOM, "ann", False), K.TYPING_STOP, {}),
    "online": (lambda kit: kit.publish_presence(ROOM, "ann", "online"), K.PRESENCE_ONLINE, {}),
    "away": (lambda kit: kit.publish_presence(ROOM, "ann", "away"), K.PRESENCE_AWAY, {}),
    "offline": (lambda kit: kit.publish_presence(ROOM, "ann", "offline"), K.PRESENCE_OFFLINE, {}),
    "dancing": (
        lambda kit: kit.publish_presence(ROOM, "ann", "dancing"), K.CUSTOM, {"status": "dancing"}
    ),
    "read": (
        lambda kit: kit.publish_read_receipt(ROOM, "ann", "e1"), K.READ_RECEIPT, {"event_id": "e1"}
    ),
    "reaction": (
        lambda kit: kit.publish_reaction(ROOM, "ann", "e1", "+1"),
        K.REACTION,
        {"target_event_id": "e1", "emoji": "+1", "action": "add"},
    ),
    "reaction withdrawn": (
        lambda kit: kit.publish_reaction(ROOM, "ann", "e1", "+1", "remove"),
        K.REACTION,
        {"target_event_id": "e1", "emoji": "+1", "action": "remove"},
    ),
    "tool": (
        lambda kit: kit.publish_tool_call(ROOM, "ann", [{"name": "look"}]),
        K.TOOL_CALL_START,
        {"tool_calls": [{"name": "look"}]},
    ),
    "tool done": (
        lambda kit: kit.publish_tool_call(ROOM, "ann", [{"name": "look"}], K.TOOL_CALL_END),
        K.TOOL_CALL_END,
        {"tool_calls": [{"name": "look"}]},
    ),
}  # fmt: skip


def collector() -> tuple[list[EphemeralEvent], EphemeralCallback]:
    got: list[EphemeralEvent] = []

    async def note(event: EphemeralEvent) -> None:
        got.append(event)

    return got, note


@pytest.mark.parametrize("kind", KINDS, ids=[name.replace(" ", "-") for name in KINDS])
async def test_R221_each_kind_has_its_type_and_data(stage: Stage, kind: str) -> None:
    publish, expected, data = KINDS[kind]
    await stage.room()
    got, note = collector()
    await stage.kit.subscribe_room(ROOM, note)
    await publish(stage.kit)
    await stage.settle()
    (event,) = got
    assert (event.type, event.room_id, event.user_id) == (expected, ROOM, "ann")
    assert dict(event.data) == data
    assert event.id
    assert event.timestamp.tzinfo is not None


def test_R221_the_types_are_those_of_the_rule() -> None:
    wanted = (
        "TYPING_START TYPING_STOP PRESENCE_ONLINE PRESENCE_AWAY PRESENCE_OFFLINE READ_RECEIPT"
        " REACTION TOOL_CALL_START TOOL_CALL_END THINKING_START THINKING_DELTA THINKING_END CUSTOM"
    )
    assert set(wanted.split()) <= {kind.name for kind in EphemeralEventType}


async def test_R220_no_trace_no_hook_no_timer(stage: Stage) -> None:
    sms = RecordingTransport("sms")
    await stage.room(sms, timers=RoomTimers(inactive_after_seconds=50))
    await stage.inbound("sms")
    heard = [stage.hear(trigger) for trigger in HookTrigger if "IDENTITY" not in trigger.name]
    before = (await stage.timeline(), await stage.read())
    for _ in range(4):
        await asyncio.sleep(10)
        for publish, _kind, _data in KINDS.values():
            await publish(stage.kit)
    await stage.settle()
    assert (await stage.timeline(), await stage.read()) == before
    assert not any(heard)
    assert sms.got == []
    await asyncio.sleep(10)
    paused = await stage.kit.check_room_timers(ROOM)
    assert paused.status.value == "paused", "ephemeral events are no activity"


async def test_R220_they_wait_for_no_room_lock(stage: Stage) -> None:
    await stage.room()
    got, note = collector()
    await stage.kit.subscribe_room(ROOM, note)
    held = asyncio.Event()

    async def hold() -> None:
        async with stage.kit.locks.locked(ROOM):
            held.set()
            await asyncio.sleep(100)

    holder = stage.start(hold())
    await held.wait()
    async with asyncio.timeout(1):
        await stage.kit.publish_typing(ROOM, "ann")
        await stage.settle(0.1)
    assert len(got) == 1
    await holder


async def test_R219_a_room_hears_its_own(stage: Stage) -> None:
    await stage.room()
    await stage.room(room_id="other")
    here, note_here = collector()
    there, note_there = collector()
    await stage.kit.subscribe_room(ROOM, note_here)
    await stage.kit.subscribe_room("other", note_there)
    await stage.kit.publish_typing("other", "bob")
    await stage.settle()
    assert (here, [event.user_id for event in there]) == ([], ["bob"])


async def test_R219_after_unsubscribing_nothing_comes(stage: Stage) -> None:
    await stage.room()
    got, note = collector()
    name = await stage.kit.subscribe_room(ROOM, note)
    assert await stage.kit.unsubscribe_room(name) is True
    assert await stage.kit.unsubscribe_room(name) is False
    assert await stage.kit.unsubscribe_room("nothing") is False
    await stage.kit.publish_typing(ROOM, "ann")
    await stage.settle()
    assert got == []


class Recording(RealtimeBackend):
    """A backend of the host's."""

    def __init__(self) -> None:
        self.published: list[tuple[str, EphemeralEvent]] = []
        self.topics: list[str] = []
        self.closed = False

    async def publish(self, channel: str, event: EphemeralEvent) -> None:
        self.published.append((channel, event))

    async def subscribe(self, channel: str, callback: EphemeralCallback) -> str:
        self.topics.append(channel)
        return "one"

    async def unsubscribe(self, subscription_id: str) -> bool:
        return subscription_id == "one"

    async def close(self) -> None:
        self.closed = True


async def test_R219_the_backend_is_replaceable_and_closed_with_the_rest() -> None:
    backend = Recording()
    async with staged(realtime=backend) as stage:
        await stage.room()
        await stage.kit.publish_typing(ROOM, "ann")
        await stage.kit.subscribe_room(ROOM, collector()[1])
        assert backend.topics == [f"room:{ROOM}"]
        assert [topic for topic, _ in backend.published] == [f"room:{ROOM}"]
        assert await stage.kit.unsubscribe_room("one") is True
    assert backend.closed


async def test_R222_a_queue_holds_a_hundred_and_drops_the_oldest() -> None:
    backend = InMemoryRealtime()
    gate, got = asyncio.Event(), list[str]()

    async def stuck(event: EphemeralEvent) -> None:
        got.append(event.user_id)
        await gate.wait()

    await backend.subscribe_to_room(ROOM, stuck)
    await backend.publish_to_room(ROOM, typing("first"))
    await asyncio.sleep(0.1)
    for number in range(150):
        await backend.publish_to_room(ROOM, typing(str(number)))
    gate.set()
    await asyncio.sleep(0.1)
    assert got == ["first", *(str(number) for number in range(50, 150))]
    await backend.close()


def typing(user_id: str) -> EphemeralEvent:
    return EphemeralEvent(room_id=ROOM, type=K.TYPING_START, user_id=user_id)


async def test_R222_order_is_kept_per_subscriber(stage: Stage) -> None:
    await stage.room()
    got, note = collector()
    await stage.kit.subscribe_room(ROOM, note)
    for number in range(50):
        await stage.kit.publish_typing(ROOM, str(number))
    await stage.settle()
    assert [event.user_id for event in got] == [str(number) for number in range(50)]


async def test_R215_a_receipt_moves_no_mark_and_a_mark_sends_no_receipt(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), RecordingTransport("web"))
    event = (await stage.inbound("sms")).event
    assert event is not None
    got, note = collector()
    await stage.kit.subscribe_room(ROOM, note)
    await stage.kit.publish_read_receipt(ROOM, "bob", event.id)
    assert await stage.kit.list_read_markers(ROOM) == {}
    await stage.kit.mark_read(ROOM, "web", event.id)
    await stage.settle()
    assert [item.type for item in got] == [K.READ_RECEIPT]
    assert await stage.kit.list_read_markers(ROOM) == {"web": event.index}


@pytest.mark.parametrize("action", ["adds", ""])
async def test_R221_a_reaction_is_added_or_removed(stage: Stage, action: Any) -> None:
    await stage.room()
    with pytest.raises(ValueError, match="add"):
        await stage.kit.publish_reaction(ROOM, "ann", "e1", "+1", action)
