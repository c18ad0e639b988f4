"""The interface of the core over HTTP: each route does what the core does, and says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.app.problems import STATUS, RefusedError, status_of
from salon.base import ConfigurationError, SalonError, UnavailableError
from salon.core import errors as core_errors
from salon.core.ports.store import AddressLinkedError
from salon.core.rooms import TransitionRefusedError
from salon.models import (
    HookResult,
    HookTrigger,
    InboundResult,
    Observation,
    RoomEvent,
    RoomStatus,
    Task,
)
from salon.store import DatabaseUnavailableError, OutcomeUnknownError

from .rest import Api


async def made(api: Api, room_id: str = "r", **more: Any) -> Any:
    return await api.ask("POST", "/rooms", status=201, json={"id": room_id, **more})


async def say(api: Api, content: Any = "hi", status: int = 201, **more: Any) -> Any:
    return await api.ask(
        "POST", "/rooms/r/events", status=status, json={"content": content, **more}
    )


# -- rooms ----------------------------------------------------------------------------------------


async def test_R264_a_room_is_made_as_asked(api: Api) -> None:
    room = await made(
        api,
        organization_id="acme",
        metadata={"topic": "owls"},
        timers={"inactive_after_seconds": 60, "closed_after_seconds": 120},
        agent_response_policy="addressed_only",
        channels=["websocket"],
    )
    assert (room["id"], room["organization_id"], room["metadata"]) == (
        "r",
        "acme",
        {"topic": "owls"},
    )
    assert room["timers"]["closed_after_seconds"] == 120
    assert room["agent_response_policy"] == "addressed_only"
    found = await api.ask("GET", "/rooms/r")
    assert [item["id"] for item in found["channels"]] == ["websocket"]
    assert "revision" not in found


async def test_without_a_body_a_room_has_the_agent_in_it(api: Api) -> None:
    room = await api.ask("POST", "/rooms", status=201)
    found = await api.ask("GET", f"/rooms/{room['id']}")
    assert [item["id"] for item in found["channels"]] == ["websocket", "agent"]


async def test_a_room_that_can_t_be_made_is_not_there(api: Api) -> None:
    asked = {"id": "r", "channels": ["nothing"]}
    await api.fails("POST", "/rooms", 404, "channel_not_registered", json=asked)
    await api.fails("POST", "/rooms", 422, "invalid", json={"id": "q", "unknown": 1})
    await api.fails("GET", "/rooms/r", 404, "room_not_found")
    await made(api, "twice")
    await api.fails("POST", "/rooms", 409, "room_exists", json={"id": "twice"})


async def test_rooms_are_listed_in_pages_that_neither_repeat_nor_miss_one(api: Api) -> None:
    for number in range(7):
        await made(api, f"r{number}", channels=[])
    seen: list[str] = []
    page = await api.ask("GET", "/rooms?limit=3")
    seen += [room["id"] for room in page["rooms"]]
    await made(api, "newer", channels=[])
    await api.ask("DELETE", "/rooms/r6", status=204)
    await api.ask("DELETE", "/rooms/r4", status=204)  # the last one of the page
    page = await api.ask("GET", f"/rooms?limit=2&cursor={page['next_cursor']}")
    seen += [room["id"] for room in page["rooms"]]
    await api.ask("DELETE", "/rooms/r5", status=204)
    page = await api.ask("GET", f"/rooms?limit=10&cursor={page['next_cursor']}")
    seen += [room["id"] for room in page["rooms"]]
    assert seen == ["r6", "r5", "r4", "r3", "r2", "r1", "r0"]
    assert page["next_cursor"] is None


async def test_a_page_goes_on_when_all_before_it_is_gone(api: Api) -> None:
    for number in range(4):
        await made(api, f"r{number}", channels=[])
    page = await api.ask("GET", "/rooms?limit=2")
    for number in range(4):
        await api.ask("DELETE", f"/rooms/r{number}", status=204)
    page = await api.ask("GET", f"/rooms?cursor={page['next_cursor']}")
    assert page == {"rooms": [], "next_cursor": None}


async def test_a_cursor_from_far_away_costs_little(api: Api) -> None:
    import base64

    for number in range(3):
        await made(api, f"r{number}", channels=[])
    text = '["gone", "2020-01-01T00:00:00+00:00", %d]'
    asked = 0
    listed = api.kit.list_rooms

    async def counted(**options: Any) -> Any:
        nonlocal asked
        asked += 1
        return await listed(**options)

    api.kit.list_rooms = counted  # type: ignore[method-assign]
    for offset, status in ((2**31, 200), (2**31 + 1, 422), (10**30, 422), (-1, 422)):
        cursor = base64.urlsafe_b64encode((text % offset).encode()).decode().rstrip("=")
        await api.ask("GET", f"/rooms?cursor={cursor}", status=status)
    assert asked < 40


@pytest.mark.parametrize(
    "cursor", ["x", "%00", "W10", "WyJhIiwiYiIsMV0", "a" * 2000, "WyJhIiwiMjAyNi0wMS0wMSIsIC0xXQ"]
)
async def test_a_cursor_is_one_of_ours(api: Api, cursor: str) -> None:
    await api.fails("GET", f"/rooms?cursor={cursor}", 422, "invalid")


async def test_rooms_are_found_by_status(api: Api) -> None:
    await made(api, "open", channels=[])
    await made(api, "shut", channels=[])
    await api.ask("POST", "/rooms/shut/close")
    for status, expected in (("active", ["open"]), ("closed", ["shut"]), ("paused", [])):
        page = await api.ask("GET", f"/rooms?status={status}")
        assert [room["id"] for room in page["rooms"]] == expected
    await api.fails("GET", "/rooms?status=none", 422, "invalid")


async def test_a_room_is_changed(api: Api) -> None:
    await made(api, metadata={"a": 1})
    room = await api.ask(
        "PATCH",
        "/rooms/r",
        json={
            "metadata": {"b": 2},
            "timers": {"inactive_after_seconds": 5},
            "agent_response_policy": "agent_chain",
        },
    )
    assert room["metadata"] == {"a": 1, "b": 2}
    assert room["timers"]["inactive_after_seconds"] == 5
    from salon.core.rooms import DETACHED_KEY

    reserved: dict[str, Any] = {"metadata": {DETACHED_KEY: []}}
    await api.fails("PATCH", "/rooms/r", 422, "invalid", json=reserved)
    await api.fails("POST", "/rooms", 422, "invalid", json={"id": "x", **reserved})
    await api.fails("PATCH", "/rooms/r", 422, "invalid", json={"status": "closed"})
    assert (await api.ask("PATCH", "/rooms/r", json={}))["metadata"] == {"a": 1, "b": 2}


async def test_a_room_passes_through_its_life(api: Api) -> None:
    await made(api)
    for verb, status in (
        ("pause", "paused"),
        ("resume", "active"),
        ("close", "closed"),
        ("reopen", "active"),
        ("archive", "archived"),
    ):
        assert (await api.ask("POST", f"/rooms/r/{verb}"))["status"] == status
    await api.fails("POST", "/rooms/r/reopen", 409, "transition_refused")
    await api.fails("POST", "/rooms/r/events", 409, "room_closed", json={"content": "hi"})
    await api.ask("DELETE", "/rooms/r", status=204)
    await api.fails("GET", "/rooms/r", 404, "room_not_found")


# -- channels and people --------------------------------------------------------------------------


async def test_the_channels_of_the_server_are_listed(api: Api) -> None:
    found = await api.ask("GET", "/channels")
    assert {item["id"]: item["category"] for item in found} == {
        "websocket": "transport",
        "agent": "intelligence",
    }


async def test_a_channel_is_attached_changed_and_detached(api: Api) -> None:
    await made(api, channels=[])
    place = "/rooms/r/channels"
    binding = await api.ask(
        "POST",
        place,
        status=201,
        json={
            "channel_id": "websocket",
            "access": "read_only",
            "metadata": {"a": 1},
            "rate_limit": {"max_per_second": 2},
            "retry_policy": {"max_retries": 1},
            "group": True,
        },
    )
    assert (binding["access"], binding["group"]) == ("read_only", True)
    assert binding["rate_limit"]["max_per_second"] == 2
    assert binding["retry_policy"]["max_retries"] == 1
    change = {"access": "read_write", "visibility": "all", "metadata": {"b": 2}}
    binding = await api.ask("PATCH", f"{place}/websocket", json=change)
    assert (binding["access"], binding["metadata"]) == ("read_write", {"a": 1, "b": 2})
    wrong = {"visibility": "all,none"}
    await api.fails("PATCH", f"{place}/websocket", 422, "invalid", json=wrong)
    wrong["channel_id"] = "agent"
    await api.fails("POST", place, 422, "invalid", json=wrong)
    for verb, field, value in (
        ("mute", "muted", True),
        ("unmute", "muted", False),
        ("mute-output", "output_muted", True),
        ("unmute-output", "output_muted", False),
    ):
        assert (await api.ask("POST", f"{place}/websocket/{verb}"))[field] is value
    assert [item["channel_id"] for item in await api.ask("GET", place)] == ["websocket"]
    await api.ask("DELETE", f"{place}/websocket", status=204)
    await api.fails("DELETE", f"{place}/websocket", 404, "channel_not_found")
    await api.fails("PATCH", f"{place}/websocket", 404, "channel_not_found", json={})
    await api.fails("POST", f"{place}/websocket/mute", 404, "channel_not_found")
    nothing = {"channel_id": "nothing"}
    await api.fails("POST", place, 404, "channel_not_registered", json=nothing)


async def test_R214_a_channel_reads_up_to_a_mark(api: Api) -> None:
    await made(api)
    event = await say(api, addressed_to=[])
    await say(api, addressed_to=[])
    place = "/rooms/r/channels/websocket/read-mark"
    assert (await api.ask("GET", place))["index"] is None
    mark = await api.ask("PUT", place, json={"event_id": event["id"]})
    assert (mark["index"], mark["unread"]) == (event["index"], 1)
    assert (await api.ask("PUT", place, json={}))["unread"] == 0
    marks = {
        item["channel_id"]: item["index"] for item in await api.ask("GET", "/rooms/r/read-marks")
    }
    assert marks == {"websocket": event["index"] + 1, "agent": None}
    await api.fails("PUT", place, 404, "event_not_found", json={"event_id": "x"})
    nowhere = "/rooms/r/channels/nothing/read-mark"
    await api.fails("GET", nowhere, 404, "channel_not_found")


async def test_people_come_are_renamed_and_leave(api: Api) -> None:
    await made(api)
    place = "/rooms/r/participants"
    ann = {
        "participant_id": "ann",
        "channel_id": "websocket",
        "display_name": " Ann ",
        "role": "owner",
    }
    person = await api.ask("POST", place, status=201, json=ann)
    assert (person["display_name"], person["role"]) == ("Ann", "owner")
    person = await api.ask("PATCH", f"{place}/ann", json={"display_name": "Anna"})
    assert person["display_name"] == "Anna"
    await api.fails("PATCH", f"{place}/ann", 422, "invalid", json={"display_name": "\n"})
    await api.fails(
        "PATCH", f"{place}/bob", 404, "participant_not_found", json={"display_name": "B"}
    )
    assert [item["id"] for item in await api.ask("GET", place)] == ["ann"]
    assert (await api.ask("DELETE", f"{place}/ann"))["status"] == "left"
    assert await api.ask("GET", place) == []
    assert (await api.ask("DELETE", f"{place}/ann?status=banned"))["status"] == "banned"
    assert len(await api.ask("GET", f"{place}?include_left=true")) == 1
    await api.fails("DELETE", f"{place}/ann?status=active", 422, "invalid")
    await api.fails("POST", place, 422, "bad_name", json=ann | {"participant_id": "a/b"})
    await api.fails("POST", place, 404, "channel_not_found", json=ann | {"channel_id": "x"})


async def test_people_turn_out_to_be_somebody(api: Api) -> None:
    await made(api)
    place = "/rooms/r/participants"
    ann = {"participant_id": "ann", "channel_id": "websocket"}
    await api.ask("POST", place, status=201, json=ann)
    asked = {"id": "i1", "display_name": "Ann", "channel_addresses": {"sms": ["+1"]}}
    await api.ask("POST", "/identities", status=201, json=asked)
    person = await api.ask("POST", f"{place}/ann/resolve", json={"identity_id": "i1"})
    assert (person["identification"], person["identity_id"]) == ("identified", "i1")
    unknown = {"identity_id": "i2"}
    await api.fails("POST", f"{place}/ann/resolve", 404, "identity_not_found", json=unknown)
    await api.fails("POST", "/identities", 409, "identity_exists", json=asked)
    asked["id"] = "i3"
    await api.fails("POST", "/identities", 409, "address_linked", json=asked)
    change = {"email": "ann@example.org", "phone": None, "channel_addresses": None}
    changed = await api.ask("PATCH", "/identities/i1", json=change)
    assert (changed["email"], changed["display_name"]) == ("ann@example.org", "Ann")
    assert changed["channel_addresses"] == {"sms": ["+1"]}
    assert (await api.ask("GET", "/identities/i1")) == changed
    where = "/identities/resolve?channel_type=sms&address="
    assert (await api.ask("GET", f"{where}%2B1"))["id"] == "i1"
    await api.fails("GET", f"{where}2", 404, "identity_not_found")
    fresh = await api.ask("POST", "/identities", status=201, json={})
    assert len(fresh["id"]) == 32


async def test_tasks_and_observations_are_read_and_changed(api: Api) -> None:
    await made(api)
    store = api.kit.store
    await store.add_task(Task(id="t1", room_id="r", title="call back", description="soon"))
    await store.add_observation(Observation(room_id="r", channel_id="agent", content="angry"))
    assert [item["id"] for item in await api.ask("GET", "/rooms/r/tasks")] == ["t1"]
    assert await api.ask("GET", "/rooms/r/tasks?status=completed") == []
    change = {"status": "completed", "description": None, "title": None}
    task = await api.ask("PATCH", "/tasks/t1", json=change)
    assert (task["status"], task["description"], task["title"]) == ("completed", None, "call back")
    assert len(await api.ask("GET", "/rooms/r/tasks?status=completed")) == 1
    await api.fails("PATCH", "/tasks/t2", 404, "task_not_found", json={})
    (seen,) = await api.ask("GET", "/rooms/r/observations")
    assert seen["content"] == "angry"


# -- events ---------------------------------------------------------------------------------------


async def test_an_event_is_sent_with_everything_it_may_have(api: Api) -> None:
    await made(api)
    root = await say(api, addressed_to=[])
    event = await say(
        api,
        {"type": "rich", "body": "*hi*"},
        event_type="message",
        participant_id="ann",
        visibility="transport",
        response_visibility="none",
        addressed_to=[],
        parent_event_id=root["id"],
        idempotency_key="k1",
        metadata={"a": 1},
    )
    assert event["status"] == "delivered"
    assert event["content"]["format"] == "markdown"
    assert event["source"]["participant_id"] == "ann"
    assert event["parent_event_id"] == root["id"]
    again = await say(api, "other words", participant_id="ann", idempotency_key="k1")
    assert again["id"] == event["id"]


async def test_the_answer_of_a_post_waits_for_no_agent(api: Api) -> None:
    await made(api)
    await say(api, "hello")
    await api.kit.idle("r")
    page = await api.ask("GET", "/rooms/r/events")
    assert [item["content"]["body"] for item in page["events"]] == ["hello", "yes"]


async def test_a_refused_event_says_so(api: Api) -> None:
    async def refuse(*_: object) -> HookResult:
        return HookResult.block("rude")

    api.kit.add_hook(HookTrigger.BEFORE_BROADCAST, refuse, name="manners")
    await made(api)
    event = await say(api, "rude words")
    assert (event["status"], event["blocked_by"]) == ("blocked", "manners")
    assert (await api.ask("GET", "/rooms/r/events"))["events"] == []
    page = await api.ask(
        "GET", "/rooms/r/events?include_blocked=true&include_internal=true&type=message"
    )
    assert [item["content"]["body"] for item in page["events"]] == ["rude words"]
    masked = await api.ask("GET", "/rooms/r/timeline")
    assert "rude words" not in str(masked)
    assert masked["events"][-1]["content"]["code"] == "blocked"
    plain = await api.ask("GET", "/rooms/r/timeline?include_blocked=true")
    assert plain["events"][-1]["content"]["body"] == "rude words"
    assert len((await api.ask("GET", "/rooms/r/timeline?include_blocked=false"))["events"]) == 2


@pytest.mark.parametrize(
    ("access", "muted", "reason"),
    [("read_only", False, "source_read_only"), ("read_write", True, "source_muted")],
)
async def test_what_a_binding_may_not_say_is_stored_blocked(
    api: Api, access: str, muted: bool, reason: str
) -> None:
    await made(api, channels=[])
    binding = {"channel_id": "websocket", "access": access, "muted": muted}
    await api.ask("POST", "/rooms/r/channels", status=201, json=binding)
    event = await say(api)
    assert (event["status"], event["blocked_by"]) == ("blocked", reason)


async def test_a_timeline_is_paged_both_ways_without_gaps(api: Api) -> None:
    await made(api)
    for number in range(9):
        kind = "all" if number % 3 else "internal"
        await say(api, str(number), addressed_to=[], visibility=kind)
    shown = ["1", "2", "4", "5", "7", "8"]

    async def walk(query: str, cursor: str) -> list[list[str]]:
        pages = []
        place: int | None = None
        while True:
            more = query if place is None else f"{query.split('&')[0]}&{cursor}={place}"
            page = await api.ask("GET", f"/rooms/r/events?{more}")
            pages.append([item["content"]["body"] for item in page["events"]])
            place = page[f"next_{cursor}"]
            if not page["has_more"]:
                return pages

    assert await walk("limit=4", "before_index") == [shown[2:], shown[:2]]
    assert await walk("limit=4&after_index=-1", "after_index") == [shown[:4], shown[4:]]
    every = await api.ask("GET", "/rooms/r/events?include_internal=true&type=message&type=edit")
    assert len(every["events"]) == 9
    hidden = await api.ask(
        "GET", "/rooms/r/events?include_internal=true&type=message&visibility=internal"
    )
    assert [item["content"]["body"] for item in hidden["events"]] == ["0", "3", "6"]
    empty = await api.ask("GET", "/rooms/r/events?after_index=1000")
    assert (empty["events"], empty["has_more"], empty["next_after_index"]) == ([], False, 1000)
    await api.fails("GET", "/rooms/r/events?after_index=1&before_index=2", 422, "invalid")
    await api.fails("GET", "/rooms/r/timeline?after_index=1&before_index=2", 422, "invalid")
    await api.fails("GET", "/rooms/r/events?type=nonsense", 422, "invalid")


async def test_a_page_of_hidden_events_goes_on_where_it_stopped(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salon.app.pages.MAX_READ", 4)
    monkeypatch.setattr("salon.app.pages._CHUNK", 2)
    await made(api, channels=["websocket"])
    await say(api, "first")
    for _ in range(6):
        await say(api, "hidden", visibility="internal")
    page = await api.ask("GET", "/rooms/r/events")
    assert (page["events"], page["has_more"]) == ([], True)
    page = await api.ask("GET", f"/rooms/r/events?before_index={page['next_before_index']}")
    assert [item["content"]["body"] for item in page["events"]] == ["first"]


async def test_events_are_corrected_and_deleted(api: Api) -> None:
    await made(api)
    event = await say(api, "helo", addressed_to=[])
    reply = await say(api, "reply", addressed_to=[], parent_event_id=event["id"])
    place = f"/rooms/r/events/{event['id']}"
    fixed = {"content": {"type": "text", "body": "hello"}, "metadata": {"fixed": True}}
    changed = await api.ask("PATCH", place, json=fixed)
    assert (changed["content"]["body"], changed["metadata"]) == ("hello", {"fixed": True})
    assert changed["index"] == event["index"]
    gone = await api.ask("DELETE", place)
    assert gone == {"deleted": [event["id"], reply["id"]]}
    await api.fails("DELETE", place, 404, "event_not_found")
    await api.fails("PATCH", place, 404, "event_not_found", json=fixed)


@pytest.mark.parametrize(
    "content",
    [
        "",
        {"type": "nothing"},
        {"type": "text"},
        {"type": "text", "body": "x", "more": 1},
        {"type": "media", "url": "javascript:x", "mime_type": "x"},
        {"type": "location", "latitude": 91, "longitude": 0},
        7,
        None,
    ],
)
async def test_R266_wrong_content_is_refused_before_the_core_sees_it(
    api: Api, content: Any
) -> None:
    await made(api, channels=["websocket"])
    refused = await say(api, content, status=422)
    assert refused["code"] == "invalid"
    assert (await api.kit.get_room("r")).event_count == 1


async def test_R16_content_is_nested_only_so_deep(api: Api) -> None:
    await made(api)
    for depth in (6, 200, 5000):
        part = '{"type":"text","body":"x"}'
        for _ in range(depth):
            part = '{"type":"composite","parts":[' + part + "]}"
        answer = await api.client.post("/rooms/r/events", content='{"content":' + part + "}")
        assert answer.status_code in {400, 422}, depth
        assert answer.json()["code"] in {"invalid", "bad_request"}


async def test_wrong_scopes_are_refused(api: Api) -> None:
    await made(api)
    for field in ("visibility", "response_visibility"):
        refused = await say(api, status=422, **{field: "all,none"})
        assert refused["code"] == "invalid"


async def test_what_comes_through_a_channel_that_is_not_there_is_refused(api: Api) -> None:
    await made(api, channels=["websocket"])
    assert (await say(api, channel_id="agent", status=404))["code"] == "channel_not_found"
    assert (await say(api, channel_id="x", status=404))["code"] == "channel_not_registered"


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "who", "status", "code"),
    [
        ({"type": "delete", "target_event_id": "x"}, "ann", 404, "target_event_not_found"),
        ({"type": "delete"}, None, 403, "identity_required_for_edit"),
        ({"type": "delete"}, "bob", 403, "not_original_author"),
        ({"type": "delete", "delete_type": "admin"}, "bob", 403, "not_authorized"),
    ],
)
async def test_refusals_of_changes_have_their_codes(
    api: Api, content: dict[str, str], who: str | None, status: int, code: str
) -> None:
    await made(api)
    event = await say(api, participant_id="ann", addressed_to=[])
    content = {"target_event_id": event["id"]} | content
    refused = await say(api, content, status, participant_id=who)
    assert refused["code"] == code


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("process_timeout", 504),
        ("duplicate", 409),
        ("rate_limited", 429),
        ("room_busy", 503),
        ("room_closed", 409),
        ("identity_challenge_sent", 403),
        ("identity_rejected", 403),
        ("unknown_sender", 403),
        ("sender_not_admitted", 403),
        ("participant_not_admitted", 403),
        ("a hook's own words", 409),
    ],
)
async def test_refusals_of_messages_have_their_codes(
    guarded_api: Api, monkeypatch: pytest.MonkeyPatch, reason: str, status: int
) -> None:
    from .rest import MASTER

    await guarded_api.ask("POST", "/rooms", MASTER, 201, json={"id": "mine"})
    token = await guarded_api.token("mine")

    async def refused(*_: object, **__: object) -> InboundResult:
        return InboundResult(None, True, reason)

    monkeypatch.setattr(guarded_api.kit, "process_inbound", refused)
    said = await guarded_api.ask(
        "POST", "/rooms/mine/events", token, status, json={"content": "hi"}
    )
    assert said["code"] == reason


ERRORS: list[tuple[SalonError, int, str]] = [
    (core_errors.RoomNotFoundError("r"), 404, "room_not_found"),
    (core_errors.RoomClosedError("r"), 409, "room_closed"),
    (core_errors.ChannelNotRegisteredError("c"), 404, "channel_not_registered"),
    (core_errors.ChannelAlreadyRegisteredError("c"), 409, "channel_already_registered"),
    (core_errors.ChannelNotFoundError("r", "c"), 404, "channel_not_found"),
    (core_errors.ParticipantNotFoundError("r", "p"), 404, "participant_not_found"),
    (core_errors.ParticipantNotAdmittedError("r", "p"), 403, "participant_not_admitted"),
    (core_errors.IdentityNotFoundError("i"), 404, "identity_not_found"),
    (core_errors.SourceAlreadyAttachedError("c"), 409, "source_already_attached"),
    (core_errors.SourceNotFoundError("c"), 404, "source_not_found"),
    (core_errors.ProviderDeliveryError("twilio_21610", "no"), 502, "twilio_21610"),
    (core_errors.RoomKitError("no"), 409, "room_kit"),
    (core_errors.DuplicateIndexError("two"), 409, "duplicate_index"),
    (AddressLinkedError("sms", "+1"), 409, "address_linked"),
    (TransitionRefusedError("r", RoomStatus.ARCHIVED, "close"), 409, "transition_refused"),
    (RefusedError("duplicate"), 409, "duplicate"),
    (UnavailableError("gone"), 503, UnavailableError.code),
]


@pytest.mark.parametrize(("error", "status", "code"), ERRORS, ids=lambda item: str(item)[:30])
async def test_every_error_of_the_core_has_its_answer(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: SalonError, status: int, code: str
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise error

    await made(api)
    monkeypatch.setattr(api.kit, "close_room", fail)
    words = await api.fails("POST", "/rooms/r/close", status, code)
    assert words == str(error)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(DatabaseUnavailableError, "unavailable"), (OutcomeUnknownError, "outcome_unknown")],
)
async def test_what_the_database_says_is_for_the_log(
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: type[DatabaseUnavailableError],
    code: str,
) -> None:
    async def fail(*_: object) -> None:
        raise kind("cannot write to postgresql://inside: no space left")

    await made(api)
    monkeypatch.setattr(api.kit, "close_room", fail)
    words = await api.fails("POST", "/rooms/r/close", 503, code)
    assert words == "the database cannot be used now"
    assert "no space left" in caplog.text


async def test_what_is_our_own_fault_says_nothing_of_itself(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ConfigurationError("the secret is 1234")

    await made(api)
    monkeypatch.setattr(api.kit, "close_room", fail)
    assert await api.fails("POST", "/rooms/r/close", 500, "internal") == "the server failed"


def test_every_error_of_the_core_is_in_the_table() -> None:
    reaches_nobody = {
        core_errors.RoomKitError,
        core_errors.ProviderDeliveryError,
        core_errors.DuplicateIndexError,
        core_errors.AgentBusyError,  # in a result, not raised
        core_errors.HumanInputRejectedError,  # the model reads these two
        core_errors.PendingInputNotFoundError,
    }
    for name in core_errors.__all__:
        kind = getattr(core_errors, name)
        assert kind.code in STATUS or kind in reaches_nobody, name
    assert status_of(RefusedError("room_busy")) == 503


async def test_answers_of_the_framework_have_the_same_form(api: Api) -> None:
    await api.fails("GET", "/rooms/r/nothing", 404, "not_found")
    await api.fails("PUT", "/rooms", 405, "method_not_allowed")
    big = "x" * 2_000_000
    await api.fails("POST", "/rooms", 413, "too_large", content=big)
    answer = await api.client.post(
        "/rooms/r/events", content="{", headers={"content-type": "application/json"}
    )
    assert answer.json()["code"] == "invalid"


async def test_requests_side_by_side_number_events_once(api: Api) -> None:
    await made(api)
    events = await asyncio.gather(*(say(api, str(n), addressed_to=[]) for n in range(20)))
    indices = sorted(event["index"] for event in events)
    assert indices == list(range(indices[0], indices[0] + 20))


async def test_the_models_hold_what_is_sent(api: Api) -> None:
    """Responses are checked against the core's own model of an event."""
    await made(api)
    event = await say(api, {"type": "composite", "parts": [{"type": "text", "body": "a"}]})
    stored = await api.kit.store.get_event(event["id"], "r")
    assert isinstance(stored, RoomEvent)
    shown = {name: value for name, value in event.items() if name != "channel_data"}
    assert RoomEvent.model_validate(shown).content == stored.content
