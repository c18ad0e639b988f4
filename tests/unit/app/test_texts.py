"""The rooms' text sockets: what a page may send and what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from salon.app.guests import Guests
from salon.app.texts import HISTORY, MAX_HISTORY, MAX_TEXT, RoomSockets
from salon.app.version import version
from salon.channels import websocket as channel_module
from salon.channels.websocket import WebSocketChannel
from salon.core import RoomKit


class Page:
    """A browser page in the test's hands: what it got, and what it will say."""

    def __init__(self) -> None:
        self.got: list[Mapping[str, Any]] = []
        self._changed = asyncio.Condition()
        self._says: asyncio.Queue[Any] = asyncio.Queue()
        self.reading = asyncio.Event()
        self.reading.set()

    async def send(self, message: Mapping[str, Any]) -> None:
        await self.reading.wait()
        async with self._changed:
            self.got.append(message)
            self._changed.notify_all()

    async def receive(self) -> Any:
        said = await self._says.get()
        if isinstance(said, Exception):
            raise said
        return said

    def say(self, message: Any) -> None:
        self._says.put_nowait(message)

    async def expect(self, kind: str, number: int = 1) -> Mapping[str, Any]:
        """The `number`-th message of this type."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(self.of(kind)) >= number)
        return self.of(kind)[number - 1]

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [message for message in self.got if message["type"] == kind]


class Rooms:
    """Rooms without an agent."""

    def __init__(self, kit: RoomKit) -> None:
        self.kit = kit
        self.channel = WebSocketChannel()
        kit.register_channel(self.channel)
        self.guests = Guests(kit, (self.channel.channel_id,))
        self.sockets = RoomSockets(self.guests, self.channel)

    @asynccontextmanager
    async def page(self, participant: str = "ann", name: str = "Ann") -> AsyncIterator[Page]:
        page = Page()
        serving = asyncio.ensure_future(self.sockets.serve(page, "kitchen", participant, name))
        await page.expect("history")
        try:
            yield page
        finally:
            page.say(EOFError())
            with pytest.raises(EOFError):
                await serving


@pytest.fixture
async def rooms() -> AsyncIterator[Rooms]:
    async with RoomKit() as kit:
        yield Rooms(kit)


async def test_a_page_is_greeted_and_shown_the_history(rooms: Rooms) -> None:
    async with rooms.page() as page:
        assert page.got[0] == {
            "type": "hello",
            "room_id": "kitchen",
            "participant_id": "ann",
            "version": version(),
        }
        assert page.got[1]["type"] == "history"
        assert page.got[1]["has_more"] is False


async def test_a_page_without_an_id_is_given_one(rooms: Rooms) -> None:
    async with rooms.page("", "") as page:
        assert len(page.got[0]["participant_id"]) == 32


async def test_what_one_page_types_reaches_every_page_once(rooms: Rooms) -> None:
    async with rooms.page() as ann, rooms.page("bob", "Bob") as bob:
        ann.say({"type": "message", "text": "  hello  ", "idempotency_key": "k1"})
        for page in (ann, bob):
            event = (await page.expect("event"))["event"]
            assert event["content"]["body"] == "hello"
            assert event["source"]["participant_id"] == "ann"
        ann.say({"type": "message", "text": "hello", "idempotency_key": "k1"})
        ann.say({"type": "message", "text": "again", "idempotency_key": "k2"})
        second = (await bob.expect("event", 2))["event"]
        assert second["content"]["body"] == "again"


async def test_a_page_that_comes_later_sees_what_was_said(rooms: Rooms) -> None:
    async with rooms.page() as ann:
        ann.say({"type": "message", "text": "hello"})
        await ann.expect("event")
        async with rooms.page("bob", "Bob") as bob:
            bodies = [event["content"].get("body") for event in bob.of("history")[0]["events"]]
            assert "hello" in bodies


async def test_older_history_is_given_in_bounded_pages(rooms: Rooms) -> None:
    async with rooms.page() as ann:
        for number in range(3):
            ann.say({"type": "message", "text": f"m{number}"})
        last = (await ann.expect("event", 3))["event"]
        ann.say({"type": "history", "before_index": last["index"], "limit": 1})
        page = await ann.expect("history", 2)
        assert [event["content"]["body"] for event in page["events"]] == ["m1"]
        assert page["has_more"] is True
        ann.say({"type": "history", "before_index": last["index"], "limit": -5})
        assert len((await ann.expect("history", 3))["events"]) == 1
        ann.say({"type": "history", "before_index": last["index"], "limit": 10**9})
        assert len((await ann.expect("history", 4))["events"]) <= MAX_HISTORY
        ann.say({"type": "history", "before_index": last["index"]})
        assert len((await ann.expect("history", 5))["events"]) <= HISTORY


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("hello", "bad_message"),
        ([1], "bad_message"),
        ({}, "unknown_type"),
        ({"type": "nonsense" * 20}, "unknown_type"),
        ({"type": "message"}, "bad_message"),
        ({"type": "message", "text": 5}, "bad_message"),
        ({"type": "message", "text": " \n "}, "bad_message"),
        ({"type": "message", "text": "x" * (MAX_TEXT + 1)}, "too_long"),
        ({"type": "message", "text": "x", "idempotency_key": 5}, "bad_message"),
        ({"type": "message", "text": "x", "idempotency_key": ""}, "bad_message"),
        ({"type": "message", "text": "x", "idempotency_key": "k" * 129}, "bad_message"),
        ({"type": "message", "text": "x", "idempotency_key": "a\0b"}, "bad_message"),
        ({"type": "message", "text": "x", "idempotency_key": "\ud800"}, "bad_message"),
        ({"type": "history"}, "bad_message"),
        ({"type": "history", "before_index": -1}, "bad_message"),
        ({"type": "history", "before_index": "5"}, "bad_message"),
        ({"type": "history", "before_index": True}, "bad_message"),
        ({"type": "history", "before_index": 2**70}, "bad_message"),
        ({"type": "history", "before_index": 5, "limit": "many"}, "bad_message"),
        (ValueError("not JSON"), "bad_message"),
    ],
)
async def test_what_a_page_sends_wrongly_gets_an_error_and_nothing_else(
    rooms: Rooms, message: Any, code: str
) -> None:
    async with rooms.page() as page:
        page.say(message)
        error = await page.expect("error")
        assert error["code"] == code
        assert len(error["message"]) <= 500
        page.say({"type": "message", "text": "still here"})
        assert (await page.expect("event"))["event"]["content"]["body"] == "still here"


async def test_what_the_database_says_is_not_for_pages(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def say(*_: Any, **__: Any) -> None:
        raise ValueError("invalid byte sequence in table events")

    async with rooms.page() as page:
        monkeypatch.setattr(rooms.channel, "say", say)
        page.say({"type": "message", "text": "hello"})
        error = await page.expect("error")
        assert error == {
            "type": "error",
            "code": "bad_message",
            "message": "the message cannot be stored",
        }


async def test_a_room_that_was_closed_refuses_words_and_says_so(rooms: Rooms) -> None:
    async with rooms.page() as page:
        await rooms.kit.close_room("kitchen")
        page.say({"type": "message", "text": "anybody?"})
        error = await page.expect("error")
        assert error["code"] in {"refused", "room_closed"}
    timeline = await rooms.guests.timeline("kitchen", before_index=None, limit=50)
    assert timeline is not None
    assert "anybody?" not in str(timeline.events)


@pytest.mark.parametrize(
    ("room_id", "participant"), [("kitchen", "a\nb"), ("x" * 200, "ann"), (" ", "ann")]
)
async def test_a_bad_name_gets_one_error_and_no_seat(
    rooms: Rooms, room_id: str, participant: str
) -> None:
    page = Page()
    await rooms.sockets.serve(page, room_id, participant, None)
    (error,) = page.got
    assert (error["type"], error["code"]) == ("error", "bad_name")
    assert not await rooms.kit.store.room_exists(room_id)


async def test_a_page_that_does_not_read_is_evicted_and_told(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "BOUND", 3)
    slow = Page()
    serving = asyncio.ensure_future(rooms.sockets.serve(slow, "kitchen", "slow", None))
    await slow.expect("history")
    slow.reading.clear()
    async with rooms.page() as ann:
        for number in range(6):
            ann.say({"type": "message", "text": f"m{number}"})
            await ann.expect("event", number + 1)
        slow.reading.set()
        await asyncio.wait_for(serving, 20)
    assert slow.got[-1] == {
        "type": "error",
        "code": "too_slow",
        "message": "too many unread messages",
    }


async def test_a_page_that_leaves_is_forgotten(rooms: Rooms) -> None:
    async with rooms.page():
        assert rooms.channel._rooms
    assert not any(rooms.channel._rooms.values())
