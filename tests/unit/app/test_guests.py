"""Rooms as the server offers them: who may come in, what is seen of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from salon.app.guests import MAX_ID, MAX_NAME, BadNameError, Guests, checked_id, shown_name
from salon.channels.websocket import WebSocketChannel
from salon.core import RoomClosedError, RoomKit
from salon.models import (
    ChannelType,
    EventSource,
    EventStatus,
    EventType,
    HookResult,
    HookTrigger,
    RoomEvent,
    SystemContent,
    TextContent,
)


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
    room_id = await guests.create()
    bound = await kit.store.list_bindings(room_id)
    assert [item.channel_id for item in bound] == ["websocket"]
    assert await guests.create() != room_id


async def test_who_enters_an_unknown_room_makes_it(guests: Guests) -> None:
    assert await guests.enter("kitchen", "ann", "websocket", " Ann\n B ") == "kitchen"
    described = await guests.describe("kitchen")
    assert described is not None
    assert described["status"] == "active"
    (person,) = described["participants"]
    assert (person["id"], person["name"], person["status"]) == ("ann", "Ann B", "active")
    assert "websocket" in str(person["connected_via"])
    assert described["channels"] == [{"id": "websocket", "type": "websocket", "muted": False}]


async def test_without_an_id_a_room_of_ones_own_is_made(guests: Guests) -> None:
    first = await guests.enter(None, "ann", "websocket", None)
    second = await guests.enter("", "ann", "websocket", None)
    assert first != second
    assert await guests.describe(first) is not None


async def test_a_channel_taken_out_of_a_room_stays_out(guests: Guests, kit: RoomKit) -> None:
    room_id = await guests.create()
    await kit.detach_channel(room_id, "websocket")
    await guests._prepare(room_id)
    assert await kit.store.list_bindings(room_id) == []


async def test_a_closed_room_lets_nobody_in(guests: Guests, kit: RoomKit) -> None:
    room_id = await guests.create()
    await kit.close_room(room_id)
    with pytest.raises(RoomClosedError):
        await guests.enter(room_id, "ann", "websocket", None)
    described = await guests.describe(room_id)
    assert described is not None
    assert described["participants"] == []


@pytest.mark.parametrize("bad", ["", "a" * (MAX_ID + 1), "a\nb", " a", "a ", "a\x00"])
async def test_ids_that_no_room_takes_are_refused(guests: Guests, bad: str) -> None:
    with pytest.raises(BadNameError, match="room id"):
        checked_id(bad, "room id")
    with pytest.raises(BadNameError, match="participant id"):
        await guests.enter("kitchen", bad, "websocket", None)
    assert await guests.describe("kitchen") is None


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
    assert await guests.describe("nowhere") is None
    assert await guests.timeline("nowhere", before_index=None, limit=5) is None


async def test_a_timeline_is_read_in_ascending_pages(guests: Guests, kit: RoomKit) -> None:
    await kit.create_room("kitchen")
    for number in range(5):
        await kit.record(event(f"m{number}"))
    newest = await guests.timeline("kitchen", before_index=None, limit=2, shown_only=True)
    assert newest is not None
    assert [item["content"]["body"] for item in newest.events] == ["m3", "m4"]
    assert newest.has_more
    older = await guests.timeline(
        "kitchen", before_index=newest.events[0]["index"], limit=3, shown_only=True
    )
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
    await kit.record(event("a task", type=EventType.TASK_CREATED))
    shown = await guests.timeline("kitchen", before_index=None, limit=50, shown_only=True)
    everything = await guests.timeline("kitchen", before_index=None, limit=50)
    assert shown is not None
    assert everything is not None
    assert [item["content"]["body"] for item in shown.events] == ["for all"]
    bodies = [item["content"].get("body") for item in everything.events]
    assert {"for all", "for agents", "for nobody", "a task"} <= set(bodies)


async def test_what_was_refused_keeps_its_place_but_not_its_words(
    guests: Guests, kit: RoomKit
) -> None:
    await guests.enter("kitchen", "ann", "websocket", "Ann")

    async def refuse(*_: object) -> HookResult:
        return HookResult.block("rude")

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, refuse)
    sent = await kit.send_event(
        "kitchen", "websocket", TextContent(body="secret words"), participant_id="ann"
    )
    assert sent is not None
    page = await guests.timeline("kitchen", before_index=None, limit=50)
    assert page is not None
    blocked = [item for item in page.events if item["status"] == EventStatus.BLOCKED]
    assert [item["content"]["code"] for item in blocked] == ["blocked"]
    assert "secret words" not in str(page.events)
    indices = [item["index"] for item in page.events]
    assert indices == list(range(indices[0], indices[0] + len(indices)))
    assert isinstance(SystemContent.model_validate(blocked[0]["content"]), SystemContent)
