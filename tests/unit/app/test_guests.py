"""Rooms as the server offers them: who may come in, what is seen of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from salon.app.guests import MAX_ID, MAX_NAME, BadNameError, Guests, checked_id, shown_name
from salon.channels import AIChannel, SMSChannel, WebSocketChannel
from salon.core import RoomClosedError, RoomKit
from salon.core.errors import ParticipantNotAdmittedError
from salon.models import (
    ChannelType,
    EventSource,
    EventType,
    InboundMessage,
    ParticipantStatus,
    RoomEvent,
    TextContent,
)
from salon.providers import MockAIProvider


@pytest.fixture
async def kit() -> AsyncIterator[RoomKit]:
    async with RoomKit() as made:
        made.register_channel(WebSocketChannel())
        yield made


@pytest.fixture
def guests(kit: RoomKit) -> Guests:
    return Guests(kit, ("websocket",))


def event(body: str, *, visibility: str = "all", type: EventType = EventType.MESSAGE) -> RoomEvent:
    return RoomEvent(
        room_id="kitchen",
        type=type,
        source=EventSource(channel_id="system", channel_type=ChannelType.SYSTEM),
        content=TextContent(body=body),
        visibility=visibility,
    )


async def test_a_new_room_has_every_channel(guests: Guests, kit: RoomKit) -> None:
    room_id = (await guests.create()).id
    bound = await kit.store.list_bindings(room_id)
    assert [item.channel_id for item in bound] == ["websocket"]
    assert (await guests.create()).id != room_id


async def test_who_enters_an_unknown_room_makes_it(guests: Guests, kit: RoomKit) -> None:
    assert await guests.enter("kitchen", "ann", "websocket", " Ann\n B ") == "kitchen"
    assert (await kit.get_room("kitchen")).status.value == "active"
    (person,) = await kit.list_members("kitchen")
    assert (person.id, person.display_name, person.status.value) == ("ann", "Ann B", "active")
    assert person.connected_via == ["websocket"]
    assert [item.channel_id for item in await kit.list_bindings("kitchen")] == ["websocket"]


async def test_without_an_id_a_room_of_ones_own_is_made(guests: Guests, kit: RoomKit) -> None:
    first = await guests.enter(None, "ann", "websocket", None)
    second = await guests.enter("", "ann", "websocket", None)
    assert first != second
    assert await kit.store.room_exists(first)


async def test_a_channel_taken_out_of_a_room_stays_out(guests: Guests, kit: RoomKit) -> None:
    room_id = (await guests.create()).id
    await kit.detach_channel(room_id, "websocket")
    await guests.enter(room_id, "ann", "websocket", None)
    assert await kit.store.list_bindings(room_id) == []


async def test_a_closed_room_lets_nobody_in(guests: Guests, kit: RoomKit) -> None:
    room_id = (await guests.create()).id
    await kit.close_room(room_id)
    with pytest.raises(RoomClosedError):
        await guests.enter(room_id, "ann", "websocket", None)
    assert await kit.list_members(room_id) == []


@pytest.mark.parametrize("bad", ["", "a" * (MAX_ID + 1), "a\nb", " a", "a ", "a\x00"])
async def test_ids_that_no_room_takes_are_refused(guests: Guests, kit: RoomKit, bad: str) -> None:
    with pytest.raises(BadNameError, match="room id"):
        checked_id(bad, "room id")
    with pytest.raises(BadNameError, match="participant id"):
        await guests.enter("kitchen", bad, "websocket", None)
    assert not await kit.store.room_exists("kitchen")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, None),
        ("", None),
        ("  \n ", None),
        (" Ann  Lee ", "Ann Lee"),
        ("Ann\u202eeel\x07", "Ann eel"),
        ("x" * 200, "x" * MAX_NAME),
    ],
)
def test_names_are_shown_printable_on_one_line_and_short(
    given: str | None, shown: str | None
) -> None:
    assert shown_name(given) == shown


async def test_unknown_rooms_are_none(guests: Guests) -> None:
    assert await guests.timeline("nowhere", before_index=None, limit=5) is None


async def test_a_timeline_is_read_in_ascending_pages(guests: Guests, kit: RoomKit) -> None:
    await kit.create_room("kitchen")
    for number in range(5):
        await kit.record(event(f"m{number}"))
    newest = await guests.timeline("kitchen", before_index=None, limit=2)
    assert newest is not None
    assert [item["content"]["body"] for item in newest.events] == ["m3", "m4"]
    assert newest.has_more
    older = await guests.timeline("kitchen", before_index=newest.events[0]["index"], limit=3)
    assert older is not None
    assert [item["content"]["body"] for item in older.events] == ["m0", "m1", "m2"]
    first = await guests.timeline("kitchen", before_index=0, limit=3)
    assert first is not None
    assert (first.events, first.has_more) == ([], False)


async def test_pages_show_only_what_people_are_shown(guests: Guests, kit: RoomKit) -> None:
    await kit.create_room("kitchen")
    await kit.record(event("for all"))
    await kit.record(event("for agents", visibility="intelligence"))
    await kit.record(event("for nobody", visibility="internal"))
    await kit.record(event("whispered to an agent", visibility="agent"))
    await kit.record(event("a task", type=EventType.TASK_CREATED))
    shown = await guests.timeline("kitchen", before_index=None, limit=50)
    assert shown is not None
    assert [item["content"]["body"] for item in shown.events] == ["for all"]


async def test_who_was_barred_does_not_come_back_by_entering(guests: Guests, kit: RoomKit) -> None:
    await guests.enter("kitchen", "ann", "websocket", "Ann")
    await kit.remove_member("kitchen", "ann", status=ParticipantStatus.BANNED)
    with pytest.raises(ParticipantNotAdmittedError):
        await guests.enter("kitchen", "ann", "websocket", "Ann")
    await kit.add_member("kitchen", "websocket", "ann")
    await guests.enter("kitchen", "ann", "websocket", "Ann")


async def test_a_room_that_a_message_makes_gets_the_agent_and_one_made_here_what_it_is_given(
    kit: RoomKit,
) -> None:
    kit.register_channel(AIChannel("agent", provider=MockAIProvider(["yes"])))
    kit.register_channel(SMSChannel("sms"))
    guests = Guests(kit, ("websocket", "agent"), ("agent",))
    message = InboundMessage(
        channel_id="sms", sender_id="+15551234567", content=TextContent(body="hello")
    )
    result = await kit.process_inbound(message, detached=True)
    assert result.event is not None
    found = {item.channel_id for item in await kit.list_bindings(result.event.room_id)}
    assert found == {"sms", "agent"}
    bare = await guests.create("bare", channel_ids=[])
    assert await kit.list_bindings(bare.id) == []
    await kit.idle(result.event.room_id)
