"""People at browsers: what they get, when, and what they may send (R54, R55, R77)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.channels.websocket import BOUND, Connection, Message, WebSocketChannel, event_json
from salon.core.errors import ChannelAlreadyRegisteredError
from salon.core.kit import RoomKit
from salon.models import (
    Access,
    ChannelMediaType,
    ChannelOutput,
    ChannelType,
    EventSource,
    EventStatus,
    EventType,
    HookResult,
    HookTrigger,
    InjectedEvent,
    RichContent,
    RoomContext,
    RoomEvent,
    TextContent,
)

from .rooms import ROOM, Bot, Phone, furnish, say, stored, taken, texts

# -- connections -----------------------------------------------------------------------------------


async def test_a_connection_gives_its_messages_in_order_and_ends_when_closed() -> None:
    connection = Connection(ROOM, "ann", None)
    got: list[Message] = []

    async def read() -> None:
        async for item in connection.messages():
            got.append(item)

    reading = asyncio.create_task(read())
    await asyncio.sleep(1)
    connection.post({"type": "one"})
    await asyncio.sleep(1)
    connection.post({"type": "two"})
    connection.post({"type": "three"})
    connection.close()
    connection.close()
    connection.post({"type": "too late"})
    await asyncio.wait_for(reading, 5)
    assert [item["type"] for item in got] == ["one", "two", "three"]
    assert not connection.evicted


async def test_R54_a_reader_that_is_too_far_behind_is_evicted_and_no_other(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    slow, quick = web.connect(ROOM, "ann"), web.connect(ROOM, "bob")
    for number in range(BOUND):
        web.caption(ROOM, "eve", None, str(number), False)
        taken(quick)
    assert not slow.closed
    web.caption(ROOM, "eve", None, "one more", False)
    assert (slow.evicted, slow.closed, web.connections) == (True, True, 1)
    assert [item["text"] for item in taken(quick)] == ["one more"]
    left = [item async for item in slow.messages()]
    assert len(left) == BOUND


async def test_readers_are_counted_and_leaving_is_idempotent(web: WebSocketChannel) -> None:
    one, two, far = web.connect(ROOM), web.connect(ROOM), web.connect("other", "ann", "Ann")
    assert one.participant_id != two.participant_id
    assert (far.participant_id, far.name, web.connections) == ("ann", "Ann", 3)
    for _ in range(2):
        web.disconnect(one)
        web.disconnect(far)
    assert (one.closed, two.closed, web.connections) == (True, False, 1)


async def test_R53_close_ends_every_reader(web: WebSocketChannel) -> None:
    readers = [web.connect(ROOM), web.connect(ROOM), web.connect("other")]
    await web.close()
    await web.close()
    assert all(reader.closed for reader in readers)
    assert web.connections == 0


async def test_the_channel_is_what_chapter_7_says(web: WebSocketChannel) -> None:
    carried = web.capabilities()
    assert set(carried.media_types) == set(ChannelMediaType) - {ChannelMediaType.TEMPLATE}
    assert carried.max_length is None
    assert carried.supports_edit
    assert carried.supports_delete
    assert (web.channel_type, web.provider_name) == (ChannelType.WEBSOCKET, "websocket")
    assert web.sender_is_participant


async def test_a_channel_that_was_refused_is_not_told_of_commits(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    reader = web.connect(ROOM)
    with pytest.raises(ChannelAlreadyRegisteredError):
        kit.register_channel(web)
    await web.say(reader, "hi")
    assert texts(taken(reader)) == ["hi"]


# -- events ----------------------------------------------------------------------------------------


async def test_R54_events_go_to_the_readers_of_their_room(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    here, also, far = web.connect(ROOM), web.connect(ROOM), web.connect("other")
    await say(kit, RichContent(body="*hi*"), raw_payload={"token": "secret"})
    for reader in (here, also):
        (item,) = taken(reader)
        assert item["type"] == "event"
        assert item["event"]["content"]["body"] == "*hi*"
        assert item["event"]["source"]["participant_id"] == "ann"
    assert taken(far) == []


async def test_R268_readers_never_see_a_raw_payload(kit: RoomKit, web: WebSocketChannel) -> None:
    reader = web.connect(ROOM)
    await say(kit, raw_payload={"token": "secret"})
    assert "secret" not in str(taken(reader))
    (event,) = await stored(kit)
    shown = event_json(event)
    assert event.source.raw_payload == {"token": "secret"}
    assert "raw_payload" not in shown["source"]
    assert "delivery_results" not in shown
    assert (shown["id"], shown["index"], shown["status"]) == (event.id, event.index, "delivered")


async def test_R74_what_one_reader_typed_reaches_every_reader_once(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    ann, bob = web.connect(ROOM, "ann", "Ann"), web.connect(ROOM, "bob")
    assert await web.say(ann, "hello") is None
    await kit.idle(ROOM)
    (event,) = await stored(kit)
    for reader in (ann, bob):
        (item,) = taken(reader)
        assert item["event"]["id"] == event.id
    assert event.source.participant_id == "ann"
    assert event.metadata == {"sender_name": "Ann"}
    assert (event.source.channel_id, event.source.provider) == ("websocket", "websocket")


async def test_the_echo_comes_with_the_commit_before_slow_deliveries(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    class Stuck(Phone):
        async def deliver(self, *_: Any) -> ChannelOutput:
            await asyncio.sleep(25)
            return ChannelOutput()

    await furnish(kit, Stuck("stuck"))
    reader = web.connect(ROOM)
    assert await web.say(reader, "hi") is None
    assert texts(taken(reader)) == ["hi"]
    assert asyncio.get_running_loop().time() < 25


async def test_R127_saying_something_does_not_wait_for_the_answer(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    go = asyncio.Event()
    await furnish(kit, Bot(go, "at last"))
    ann = web.connect(ROOM, "ann")
    assert await web.say(ann, "hi") is None
    go.set()
    await kit.idle(ROOM)
    assert [event.text for event in await stored(kit)] == ["hi", "at last"]


async def test_R121_who_is_refused_is_told_why_and_nobody_sees_it(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("be polite")

    ann, bob = web.connect(ROOM, "ann"), web.connect(ROOM, "bob")
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, guard)
    assert await web.say(ann, "rude") == "be polite"
    await kit.idle(ROOM)
    assert (await stored(kit))[0].status is EventStatus.BLOCKED
    assert (taken(ann), taken(bob)) == ([], [])


async def test_R23_a_closed_room_refuses_what_is_typed(kit: RoomKit, web: WebSocketChannel) -> None:
    ann = web.connect(ROOM, "ann")
    await kit.close_room(ROOM)
    assert await web.say(ann, "hi") == "room_closed"
    assert await stored(kit) == []


async def test_R71_a_muted_or_read_only_channel_types_in_vain(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    ann = web.connect(ROOM, "ann")
    await kit.mute(ROOM, "websocket")
    assert await web.say(ann, "hi") == "source_muted"
    await kit.set_access(ROOM, "websocket", Access.READ_ONLY)
    assert await web.say(ann, "hi") == "source_read_only"
    assert texts(taken(ann)) == []


async def test_R196_a_message_sent_twice_is_said_once(kit: RoomKit, web: WebSocketChannel) -> None:
    ann = web.connect(ROOM, "ann")
    for _ in range(2):
        assert await web.say(ann, "hi", idempotency_key="k") is None
    await kit.idle(ROOM)
    assert texts(taken(ann)) == ["hi"]
    assert len(await stored(kit)) == 1


@pytest.mark.parametrize(
    ("scope", "shown"),
    [
        ("all", True),
        ("transport", True),
        ("websocket", True),
        ("sms, websocket", True),
        ("none", False),
        ("intelligence", False),
        ("sms", False),
        ("internal", False),
    ],
)
async def test_R77_R78_only_visible_events_are_shown(
    kit: RoomKit, web: WebSocketChannel, scope: str, shown: bool
) -> None:
    reader = web.connect(ROOM)
    await kit.send_event(ROOM, "websocket", TextContent(body="own"), visibility=scope)
    await kit.send_event(ROOM, "sms", TextContent(body="other"), visibility=scope)
    assert texts(taken(reader)) == (["own", "other"] if shown else [])


async def test_R34_records_of_the_framework_are_not_shown(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    reader = web.connect(ROOM)
    await kit.add_member(ROOM, "sms", "bob", display_name="Bob")
    await kit.idle(ROOM)
    assert taken(reader) == []
    assert await stored(kit, EventType.PARTICIPANT_JOINED)


async def test_a_failure_of_an_agent_is_shown(kit: RoomKit, web: WebSocketChannel) -> None:
    await furnish(kit, Bot(ValueError("secret")))
    reader = web.connect(ROOM)
    await say(kit)
    await kit.idle(ROOM)
    shown = [item["event"] for item in taken(reader)]
    assert [event["type"] for event in shown] == ["message", "system"]
    assert shown[1]["content"]["code"] == "agent_failed"
    assert "secret" not in str(shown)


async def test_a_caption_is_passing(kit: RoomKit, web: WebSocketChannel) -> None:
    reader, far = web.connect(ROOM), web.connect("other")
    room = await kit.get_room(ROOM)
    web.caption(ROOM, "ann", "Ann", "I wou", False)
    web.caption(ROOM, "ann", "Ann", "I would like", True)
    assert taken(reader) == [
        {
            "type": "caption",
            "participant_id": "ann",
            "name": "Ann",
            "text": "I wou",
            "final": False,
        },
        {
            "type": "caption",
            "participant_id": "ann",
            "name": "Ann",
            "text": "I would like",
            "final": True,
        },
    ]
    assert taken(far) == []
    assert await kit.get_room(ROOM) == room  # R220: no index, no timer


def adding(targets: tuple[str, ...] | None) -> Any:
    """A hook that refuses and adds a remark, made of the event it refuses."""

    async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
        remark = event.model_copy(update={"id": "remark", "content": TextContent(body="mind")})
        return HookResult.block("no", injected=(InjectedEvent(remark, targets),))

    return guard


@pytest.mark.parametrize(
    ("targets", "times"), [(("websocket",), 1), (("sms",), 0), (None, 0)], ids=repr
)
async def test_R143_an_added_event_goes_where_the_hook_says(
    kit: RoomKit, web: WebSocketChannel, targets: tuple[str, ...] | None, times: int
) -> None:
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, adding(targets))
    ann = web.connect(ROOM, "ann")
    await web.say(ann, "rude")
    await kit.idle(ROOM)
    assert texts(taken(ann)) == ["mind"] * times


async def test_R143_an_added_event_of_the_framework_goes_where_the_hook_says(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
        remark = RoomEvent(
            room_id=ROOM,
            source=EventSource(channel_id="system", channel_type=ChannelType.SYSTEM),
            content=TextContent(body="mind"),
        )
        return HookResult.block("no", injected=(InjectedEvent(remark, ("websocket",)),))

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, guard)
    ann = web.connect(ROOM, "ann")
    await web.say(ann, "rude")
    await kit.idle(ROOM)
    assert texts(taken(ann)) == ["mind"]


async def test_R50_a_channel_that_was_detached_types_in_vain(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    ann = web.connect(ROOM, "ann")
    await kit.detach_channel(ROOM, "websocket")
    assert await web.say(ann, "hi") == "source_unbound"
    await say(kit, "unseen")
    assert texts(taken(ann)) == []


async def test_R123_the_echo_is_what_the_hooks_made_of_it(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    async def soften(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.modify(event.model_copy(update={"content": TextContent(body="please")}))

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, soften)
    ann = web.connect(ROOM, "ann")
    assert await web.say(ann, "now!") is None
    assert texts(taken(ann)) == ["please"]


async def test_two_rooms_share_a_channel_and_nothing_else(
    kit: RoomKit, web: WebSocketChannel
) -> None:
    await furnish(kit, web, room_id="other")
    here, there = web.connect(ROOM, "ann"), web.connect("other", "ann")
    await web.say(here, "one")
    await web.say(there, "two")
    await kit.idle(ROOM)
    await kit.idle("other")
    assert (texts(taken(here)), texts(taken(there))) == (["one"], ["two"])
