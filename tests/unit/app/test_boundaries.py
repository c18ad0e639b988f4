"""What one caller does must not reach another: ends of sockets, keys, crowds, odd values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from salon.app.access import stamp_of
from salon.app.crowd import Crowd, CrowdedError
from salon.app.following import as_message
from salon.app.listing import _Place
from salon.app.middleware import LastResort
from salon.app.problems import InvalidError
from salon.app.tail import Shown
from salon.base import Principal
from salon.base.principal import RoomGrant
from salon.core import RoomKit
from salon.models import ParticipantStatus, Room

from .rest import ACME, BETA, Api
from .test_texts import Page, Rooms


@pytest.fixture
async def rooms() -> AsyncIterator[Rooms]:
    async with RoomKit() as kit:
        yield Rooms(kit)


async def seated(rooms: Rooms, participant: str = "ann") -> tuple[Page, asyncio.Future[None]]:
    page = Page()
    serving = asyncio.ensure_future(rooms.sockets.serve(page, "kitchen", participant, None))
    await page.expect("history")
    return page, serving


async def test_a_text_socket_ends_with_its_room(rooms: Rooms) -> None:
    page, serving = await seated(rooms)
    await rooms.kit.delete_room("kitchen")
    await rooms.kit.create_room("kitchen", organization_id="beta")
    await asyncio.wait_for(serving, 10)
    assert page.got[-1]["code"] == "room_deleted"
    assert not rooms.channel.connections
    assert not rooms.sockets._seats


async def test_a_text_socket_does_not_speak_in_a_later_room_of_the_same_id(rooms: Rooms) -> None:
    page, serving = await seated(rooms)
    await rooms.kit.store.delete_room("kitchen")  # as another process does
    await rooms.kit.store.create_room(Room(id="kitchen"))
    page.say({"type": "message", "text": "who is here?"})
    await asyncio.wait_for(serving, 10)
    assert page.got[-1]["code"] == "room_deleted"
    assert "who is here?" not in str(await rooms.kit.store.list_events("kitchen"))


async def test_a_text_socket_ends_when_its_participant_is_barred(rooms: Rooms) -> None:
    ann, ann_serving = await seated(rooms)
    bob, bob_serving = await seated(rooms, "bob")
    await rooms.kit.remove_member("kitchen", "ann", status=ParticipantStatus.BANNED)
    await asyncio.wait_for(ann_serving, 10)
    assert ann.got[-1]["code"] == "participant_not_admitted"
    assert not bob_serving.done()
    bob.say(EOFError())
    with pytest.raises(EOFError):
        await bob_serving


async def test_a_channel_that_is_detached_closes_its_connections(rooms: Rooms) -> None:
    _, serving = await seated(rooms)
    await rooms.kit.detach_channel("kitchen", "websocket")
    await asyncio.wait_for(serving, 10)
    assert not rooms.channel.connections


async def test_R195_callers_do_not_share_idempotency_keys(guarded_api: Api) -> None:
    api = guarded_api
    await api.ask("POST", "/rooms", ACME, 201, json={"id": "r"})
    said = {"content": "secret", "visibility": "none", "idempotency_key": "k"}
    hidden = await api.ask("POST", "/rooms/r/events", ACME, 201, json=said)
    assert hidden["idempotency_key"] == "k"
    seen = {}
    for person in ("eve", "bob"):
        token = await api.token("r", ACME, participant_id=person)
        body = {"content": f"I am {person}", "idempotency_key": "k"}
        first = await api.ask("POST", "/rooms/r/events", token, 201, json=body)
        again = await api.ask("POST", "/rooms/r/events", token, 201, json=body)
        assert first["id"] == again["id"] != hidden["id"]
        assert (first["content"]["body"], first["idempotency_key"]) == (f"I am {person}", "k")
        seen[person] = token
    page = await api.ask("GET", "/rooms/r/events", seen["bob"])
    keys = {
        item["source"]["participant_id"]: item["idempotency_key"]
        for item in page["events"]
        if item["content"].get("body", "").startswith("I am")
    }
    assert keys == {"eve": None, "bob": "k"}


async def test_R195_pages_do_not_share_idempotency_keys(rooms: Rooms) -> None:
    async with rooms.page() as ann, rooms.page("bob", "Bob") as bob:
        ann.say({"type": "message", "text": "from ann", "idempotency_key": "1"})
        await bob.expect("event")
        bob.say({"type": "message", "text": "from bob", "idempotency_key": "1"})
        await bob.expect("event", 2)
        # each page is shown the keys it knows, and a key again is the same message
        async with rooms.page() as later:
            later.say({"type": "message", "text": "again", "idempotency_key": "1"})
            later.say({"type": "message", "text": "end"})
            await bob.expect("event", 3)
        for page, keys in ((ann, ["1", None, None]), (bob, [None, "1", None])):
            events = [message["event"] for message in page.of("event")]
            assert [event["content"]["body"] for event in events] == ["from ann", "from bob", "end"]
            assert [event["idempotency_key"] for event in events] == keys
        shown = [event["idempotency_key"] for event in later.of("history")[0]["events"][-2:]]
        assert shown == ["1", None]


async def test_R195_a_key_of_a_page_is_another_over_http_unless_it_is_the_same_caller(
    guarded_api: Api,
) -> None:
    api = guarded_api
    await api.ask("POST", "/rooms", ACME, 201, json={"id": "r"})
    tokens = {name: await api.token("r", ACME, participant_id=name) for name in ("ann", "bob")}
    made_at = stamp_of(await api.kit.get_room("r"))
    principal = Principal("room:ann", "room", grant=RoomGrant("r", made_at, "ann", 2**40))
    page = Page()
    serving = asyncio.ensure_future(
        api.house.texts.serve(page, "r", None, None, principal=principal)
    )
    page.say({"type": "message", "text": "at the page", "idempotency_key": "1"})
    first = (await page.expect("event"))["event"]
    body = {"content": "over http", "idempotency_key": "1"}
    mine = await api.ask("POST", "/rooms/r/events", tokens["ann"], 201, json=body)
    other = await api.ask("POST", "/rooms/r/events", tokens["bob"], 201, json=body)
    keyed = await api.ask("POST", "/rooms/r/events", ACME, 201, json=body)
    assert first["idempotency_key"] == "1"
    assert len({first["id"], mine["id"], other["id"], keyed["id"]}) == 3
    assert mine["id"] == first["id"]
    page.say(EOFError())
    with pytest.raises(EOFError):
        await serving


async def test_who_never_came_can_be_barred(guarded_api: Api) -> None:
    api = guarded_api
    await api.ask("POST", "/rooms", ACME, 201, json={"id": "r"})
    token = await api.token("r", ACME, participant_id="eve")
    gone = await api.ask("DELETE", "/rooms/r/participants/eve?status=banned", ACME)
    assert gone["status"] == "banned"
    await api.fails("GET", "/rooms/r", 403, "participant_not_admitted", token)
    await api.fails("DELETE", "/rooms/r/participants/bob", 404, "participant_not_found", ACME)
    await api.fails("DELETE", "/rooms/r/participants/b?status=banned", 404, "room_not_found", BETA)


async def test_timers_are_bounded(api: Api) -> None:
    for seconds in (315_360_001, 10**30):
        asked = {"id": "r", "timers": {"closed_after_seconds": seconds}}
        await api.fails("POST", "/rooms", 422, "invalid", json=asked)
    await api.ask(
        "POST", "/rooms", None, 201, json={"id": "r", "timers": {"closed_after_seconds": 10**8}}
    )


@pytest.mark.parametrize(
    "cursor",
    [
        "W" * 900,
        "x",
        "WyJhIiwgIjAwMDEtMDEtMDFUMDA6MDA6MDArMTQ6MDAiLCAxXQ",
        "WyJhIiwgIiIsIEluZmluaXR5XQ",
    ],
)
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidError):
        _Place.decode(cursor)


async def test_what_nobody_foresaw_is_answered_as_json() -> None:
    sent: list[Message] = []

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise OverflowError

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    app = LastResort(broken)
    await app({"type": "http", "method": "GET", "path": "/"}, receive, send)
    assert sent[0]["status"] == 500
    assert sent[1]["body"] == b'{"detail":"the server failed","code":"internal"}'
    for kind, path in (("http", "/late"), ("websocket", "/")):
        with pytest.raises(OverflowError):
            await app({"type": kind, "method": "GET", "path": path}, receive, send)


def test_event_streams_hold_no_line_ends_of_unicode() -> None:
    made = as_message(Shown(1, {"body": "a\u2028b\x85c"}))
    assert made == b'id: 1\ndata: {"body":"a\\u2028b\\u0085c"}\n\n'


@pytest.mark.parametrize("bad", ["a/b", ".", "..", "a\x00"])
async def test_entering_takes_the_ids_that_paths_take(rooms: Rooms, bad: str) -> None:
    for room_id, person in ((bad, "ann"), ("kitchen", bad)):
        page = Page()
        await rooms.sockets.serve(page, room_id, person, None)
        assert page.got[-1]["code"] == "bad_name"
        assert not await rooms.kit.store.room_exists(room_id)


def test_tokens_and_rooms_have_a_bounded_number_of_connections() -> None:
    crowd = Crowd(per_token=1, per_room=2)
    grants = [RoomGrant("r", "t", person, 1) for person in ("ann", "bob", "cem")]
    ann, bob, cem = (Principal("room", "room", grant=grant) for grant in grants)
    with crowd.place("r", ann):
        with pytest.raises(CrowdedError, match="token"), crowd.place("r", ann):
            pass
        with (
            crowd.place("r", bob),
            pytest.raises(CrowdedError, match="room"),
            crowd.place("r", cem),
        ):
            pass
        with crowd.place("r", Principal("o", "organization", "acme")):
            pass
    assert len(crowd) == 0


async def test_too_many_tails_are_answered_with_429(guarded_api: Api, monkeypatch: Any) -> None:
    api = guarded_api
    await api.ask("POST", "/rooms", ACME, 201, json={"id": "r"})
    token = await api.token("r", ACME, participant_id="eve")
    monkeypatch.setattr(api.house.tails, "_crowd", Crowd(per_token=0))
    await api.fails("GET", "/rooms/r/events/stream", 429, "too_many_connections", token)
