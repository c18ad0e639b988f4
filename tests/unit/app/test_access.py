"""Who may reach what: keys of organizations, room tokens, foreign pages, tricks with paths."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from salon.app.access import Access, ForbiddenError, confined, reaches
from salon.app.credentials import Credentials
from salon.app.security import Asked
from salon.app.settings import Settings
from salon.base import LOCAL, Principal
from salon.base.principal import RoomGrant
from salon.core import RoomKit
from salon.core.errors import ParticipantNotAdmittedError, RoomNotFoundError
from salon.models import Identity, Observation, ParticipantStatus, Task
from salon.transport.sockets import Refusal, UpgradeRequest

from .rest import ACME, BETA, MASTER, Api, bearer, serving

FOREIGN = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
ROOM_PATHS = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    *[("POST", f"/{verb}") for verb in ("close", "archive", "reopen", "pause", "resume")],
    ("POST", "/tokens"),
    ("GET", "/timeline"),
    ("GET", "/transcript"),
    ("GET", "/turns"),
    ("GET", "/recordings"),
    ("GET", "/recordings/one.wav"),
    ("GET", "/events"),
    ("GET", "/events/stream"),
    ("POST", "/events"),
    ("PATCH", "/events/e1"),
    ("DELETE", "/events/e1"),
    ("GET", "/channels"),
    ("POST", "/channels"),
    ("DELETE", "/channels/websocket"),
    ("PATCH", "/channels/websocket"),
    *[
        ("POST", f"/channels/websocket/{verb}")
        for verb in ("mute", "unmute", "mute-output", "unmute-output")
    ],
    ("GET", "/channels/websocket/read-mark"),
    ("PUT", "/channels/websocket/read-mark"),
    ("GET", "/read-marks"),
    ("GET", "/participants"),
    ("POST", "/participants"),
    ("PATCH", "/participants/ann"),
    ("DELETE", "/participants/ann"),
    ("POST", "/participants/ann/resolve"),
    ("GET", "/tasks"),
    ("GET", "/observations"),
]
BODIES: dict[str, Any] = {
    "/events": {"content": "hi"},
    "/channels": {"channel_id": "websocket"},
    "/participants": {"participant_id": "ann", "channel_id": "websocket"},
    "/participants/ann": {"display_name": "Ann"},
    "/participants/ann/resolve": {"identity_id": "i1"},
}


async def made(api: Api, room_id: str, key: str = MASTER, **more: Any) -> None:
    await api.ask("POST", "/rooms", key, 201, json={"id": room_id, **more})


def test_every_room_path_of_the_interface_is_listed_here(settings: Settings) -> None:
    """So that the tests below cover what is added later."""
    from salon.app.application import create_app

    from .rest import small_house

    described = create_app(settings, build=small_house).openapi()["paths"]
    found = {
        (method.upper(), path.removeprefix("/rooms/{room_id}"))
        for path, operations in described.items()
        if path.startswith("/rooms/{room_id}")
        for method in operations
    }
    names = {
        "{event_id}": "e1",
        "{channel_id}": "websocket",
        "{participant_id}": "ann",
        "{recording_id}": "one",
    }
    shown = set()
    for method, path in found:
        for name, value in names.items():
            path = path.replace(name, value)
        shown.add((method, path))
    assert shown == set(ROOM_PATHS)


@pytest.mark.parametrize(("method", "path"), ROOM_PATHS)
async def test_R267_another_organization_finds_no_room(
    guarded_api: Api, method: str, path: str
) -> None:
    await made(guarded_api, "theirs", MASTER, organization_id="acme")
    await made(guarded_api, "nobodys")
    for room_id in ("theirs", "nobodys", "no-such-room"):
        words = await guarded_api.fails(
            method,
            f"/rooms/{room_id}{path}",
            404,
            "room_not_found",
            BETA,
            json=BODIES.get(path, {}),
        )
        assert words == f"there is no room '{room_id}'"
    assert (await guarded_api.kit.get_room("theirs")).status.value == "active"


@pytest.mark.parametrize(("method", "path"), ROOM_PATHS)
async def test_without_a_credential_nothing_is_said(
    guarded_api: Api, method: str, path: str
) -> None:
    await made(guarded_api, "r1")
    body = BODIES.get(path, {})
    for room_id in ("r1", "no-such-room"):
        place = f"/rooms/{room_id}{path}"
        await guarded_api.fails(method, place, 401, "unauthorized", json=body)
        await guarded_api.fails(method, place, 401, "unauthorized", "wrong-key", json=body)


@pytest.mark.parametrize(("method", "path"), ROOM_PATHS)
async def test_a_foreign_page_reads_and_changes_nothing(api: Api, method: str, path: str) -> None:
    await made(api, "r1", None)  # type: ignore[arg-type]
    body = BODIES.get(path, {})
    await api.fails(method, f"/rooms/r1{path}", 403, "forbidden", headers=FOREIGN, json=body)


@pytest.mark.parametrize(("method", "path"), ROOM_PATHS)
async def test_a_room_token_opens_no_other_room(guarded_api: Api, method: str, path: str) -> None:
    await made(guarded_api, "mine")
    await made(guarded_api, "other")
    token = await guarded_api.token("mine", participant_id="ann")
    answer = await guarded_api.client.request(
        method, f"/rooms/other{path}", headers=bearer(token), json=BODIES.get(path, {})
    )
    assert answer.status_code in {403, 404}
    assert answer.json()["code"] in {"forbidden", "room_not_found"}


READABLE = {
    ("GET", ""),
    ("GET", "/timeline"),
    ("GET", "/transcript"),
    ("GET", "/turns"),
    ("GET", "/events"),
    ("GET", "/events/stream"),
    ("POST", "/events"),
}


@pytest.mark.parametrize(("method", "path"), [item for item in ROOM_PATHS if item not in READABLE])
async def test_a_room_token_manages_nothing(guarded_api: Api, method: str, path: str) -> None:
    await made(guarded_api, "mine")
    token = await guarded_api.token("mine")
    body = BODIES.get(path, {})
    await guarded_api.fails(method, f"/rooms/mine{path}", 403, "forbidden", token, json=body)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/rooms"),
        ("POST", "/rooms"),
        ("GET", "/channels"),
        ("POST", "/identities"),
        ("GET", "/identities/resolve?channel_type=sms&address=1"),
        ("PATCH", "/identities/i1"),
        ("PATCH", "/tasks/t1"),
        ("GET", "/metrics"),
        ("GET", "/list"),
        ("GET", "/kill/s.1"),
        ("POST", "/kill/s.1"),
    ],
)
async def test_a_room_token_opens_nothing_beside_its_room(
    guarded_api: Api, method: str, path: str
) -> None:
    await made(guarded_api, "mine")
    token = await guarded_api.token("mine")
    await guarded_api.fails(method, path, 403, "forbidden", token, json={})


@pytest.mark.parametrize("path", ["/metrics", "/list", "/kill/s.1"])
async def test_running_the_server_is_for_the_master_key(guarded_api: Api, path: str) -> None:
    await guarded_api.fails("GET", path, 403, "forbidden", ACME)
    assert guarded_api.house.gateway.killed == []  # type: ignore[attr-defined]


async def test_an_organization_has_rooms_of_its_own(guarded_api: Api) -> None:
    room = await guarded_api.ask("POST", "/rooms", ACME, 201, json={"id": "a1"})
    assert room["organization_id"] == "acme"
    await made(guarded_api, "b1", BETA)
    await made(guarded_api, "n1")
    for key, expected in ((ACME, ["a1"]), (BETA, ["b1"]), (MASTER, ["n1", "b1", "a1"])):
        page = await guarded_api.ask("GET", "/rooms", key)
        assert [item["id"] for item in page["rooms"]] == expected
    await guarded_api.fails("GET", "/rooms?organization_id=beta", 403, "forbidden", ACME)
    asked = {"id": "x", "organization_id": "beta"}
    await guarded_api.fails("POST", "/rooms", 403, "forbidden", ACME, json=asked)
    page = await guarded_api.ask("GET", "/rooms?organization_id=beta", MASTER)
    assert [item["id"] for item in page["rooms"]] == ["b1"]
    # an id that is taken says so, nothing more
    await guarded_api.fails("POST", "/rooms", 409, "room_exists", ACME, json={"id": "b1"})


async def test_identities_and_tasks_are_isolated_too(guarded_api: Api) -> None:
    address = {"channel_addresses": {"sms": ["+1"]}}
    mine = await guarded_api.ask("POST", "/identities", ACME, 201, json={"id": "i1", **address})
    assert mine["organization_id"] == "acme"
    await guarded_api.ask("POST", "/identities", BETA, 201, json={"id": "i2", **address})
    where = "/identities/resolve?channel_type=sms&address=%2B1"
    assert (await guarded_api.ask("GET", where, ACME))["id"] == "i1"
    assert (await guarded_api.ask("GET", where, BETA))["id"] == "i2"
    await guarded_api.fails("GET", where, 404, "identity_not_found", MASTER)
    for method, path in (("GET", "/identities/i1"), ("PATCH", "/identities/i1")):
        await guarded_api.fails(method, path, 404, "identity_not_found", BETA, json={})
    await made(guarded_api, "a1", ACME)
    await made(guarded_api, "b1", BETA)
    store = guarded_api.kit.store
    for room_id in ("a1", "b1"):
        await store.add_task(Task(id="t1", room_id=room_id, title=room_id))
    await store.add_observation(Observation(room_id="a1", channel_id="agent", content="x"))
    words = await guarded_api.fails("PATCH", "/tasks/t1", 404, "task_not_found", BETA, json={})
    assert "a1" not in words
    changed = await guarded_api.ask("PATCH", "/tasks/t1?room_id=b1", BETA, json={"title": "new"})
    assert (changed["room_id"], changed["title"]) == ("b1", "new")
    await guarded_api.fails(
        "PATCH", "/tasks/t1?room_id=a1", 404, "room_not_found", BETA, json={"title": "stolen"}
    )
    people = "/rooms/b1/participants"
    person = {"participant_id": "p", "channel_id": "websocket", "identity_id": "i1"}
    await guarded_api.fails("POST", people, 404, "identity_not_found", BETA, json=person)
    del person["identity_id"]
    await guarded_api.ask("POST", people, BETA, 201, json=person)
    stolen = {"identity_id": "i1"}
    await guarded_api.fails(
        "POST", f"{people}/p/resolve", 404, "identity_not_found", BETA, json=stolen
    )


# -- room tokens ----------------------------------------------------------------------------------


async def test_a_room_token_is_its_participant(guarded_api: Api) -> None:
    await made(guarded_api, "mine", ACME, metadata={"secret": "plan"})
    token = await guarded_api.token("mine", ACME, participant_id="ann", name="Ann")
    seen = await guarded_api.ask("GET", "/rooms/mine", token)
    assert (seen["id"], seen["metadata"]) == ("mine", {})
    sent = await guarded_api.ask("POST", "/rooms/mine/events", token, 201, json={"content": "hi"})
    assert sent["source"]["participant_id"] == "ann"
    assert sent["metadata"]["sender_name"] == "Ann"
    assert sent["source"]["direction"] == "inbound"
    await guarded_api.kit.idle("mine")
    page = await guarded_api.ask("GET", "/rooms/mine/events", token)
    assert [item["content"]["body"] for item in page["events"]] == ["hi", "yes"]
    assert "channel_data" not in page["events"][0] or page["events"][0]["channel_data"] is None
    own = {"type": "edit", "target_event_id": sent["id"]}
    edit = {"content": own | {"new_content": {"type": "text", "body": "ho"}}}
    await guarded_api.ask("POST", "/rooms/mine/events", token, 201, json=edit)
    answer = page["events"][1]["id"]
    theirs = {"content": {"type": "delete", "target_event_id": answer}}
    await guarded_api.fails(
        "POST", "/rooms/mine/events", 403, "identity_required_for_edit", token, json=theirs
    )
    bobs = await guarded_api.token("mine", ACME, participant_id="bob")
    await guarded_api.fails(
        "POST", "/rooms/mine/events", 403, "not_original_author", bobs, json=edit
    )


@pytest.mark.parametrize(
    "more",
    [
        {"participant_id": "bob"},
        {"visibility": "internal"},
        {"response_visibility": "none"},
        {"channel_id": "agent"},
        {"metadata": {"sender_name": "Bob"}},
        {"event_type": "participant_left"},
        {"content": {"type": "system", "body": "x"}},
        {"content": {"type": "tool_call", "tool_name": "x", "tool_id": "1"}},
        {"content": {"type": "delete", "target_event_id": "e", "delete_type": "system"}},
        {
            "content": {
                "type": "edit",
                "target_event_id": "e",
                "edit_source": "system",
                "new_content": {"type": "text", "body": "x"},
            }
        },
        {"content": {"type": "composite", "parts": [{"type": "system", "body": "x"}]}},
    ],
)
async def test_a_room_token_claims_no_more_than_it_is(
    guarded_api: Api, more: dict[str, Any]
) -> None:
    await made(guarded_api, "mine")
    token = await guarded_api.token("mine", participant_id="ann")
    body = {"content": "hi"} | more
    await guarded_api.fails("POST", "/rooms/mine/events", 403, "forbidden", token, json=body)
    page = await guarded_api.ask("GET", "/rooms/mine/events", MASTER)
    assert page["events"] == []


async def test_a_token_for_reading_writes_nothing(guarded_api: Api) -> None:
    await made(guarded_api, "mine")
    token = await guarded_api.token("mine", access="read")
    await guarded_api.ask("GET", "/rooms/mine/events", token)
    await guarded_api.fails(
        "POST", "/rooms/mine/events", 403, "forbidden", token, json={"content": "hi"}
    )


@pytest.mark.parametrize("asked", ["include_blocked=true", "include_internal=true"])
async def test_a_token_sees_only_what_people_are_shown(guarded_api: Api, asked: str) -> None:
    await made(guarded_api, "mine")
    token = await guarded_api.token("mine")
    for path in ("events", "events/stream"):
        await guarded_api.fails("GET", f"/rooms/mine/{path}?{asked}", 403, "forbidden", token)


async def test_a_token_does_not_open_a_later_room_of_the_same_id(guarded_api: Api) -> None:
    await made(guarded_api, "mine", ACME)
    token = await guarded_api.token("mine", ACME)
    await guarded_api.ask("DELETE", "/rooms/mine", ACME, 204)
    await guarded_api.fails("GET", "/rooms/mine", 404, "room_not_found", token)
    await made(guarded_api, "mine", BETA)
    await guarded_api.fails("GET", "/rooms/mine", 404, "room_not_found", token)


async def test_who_is_barred_has_no_use_of_a_token(guarded_api: Api) -> None:
    await made(guarded_api, "mine")
    token = await guarded_api.token("mine", participant_id="ann")
    await guarded_api.ask("POST", "/rooms/mine/events", token, 201, json={"content": "hi"})
    await guarded_api.ask("DELETE", "/rooms/mine/participants/ann?status=banned", MASTER)
    for method, path in (("GET", "/rooms/mine"), ("POST", "/rooms/mine/events")):
        await guarded_api.fails(
            method, path, 403, "participant_not_admitted", token, json={"content": "hi"}
        )


async def test_a_changed_or_old_token_is_no_credential(guarded_api: Api) -> None:
    await made(guarded_api, "mine")
    token = await guarded_api.token("mine")
    for wrong in (token[:-1] + ("0" if token[-1] != "0" else "1"), f"{token}.", "salon-room.a.b"):
        await guarded_api.fails("GET", "/rooms/mine", 401, "unauthorized", wrong)
        await guarded_api.fails("GET", f"/rooms/mine?token={wrong}", 401, "unauthorized")
    await guarded_api.ask("GET", f"/rooms/mine?token={token}")
    credentials: Credentials = guarded_api.app.state.gate.credentials
    old = RoomGrant("mine", "x", "ann", 1)
    await guarded_api.fails(
        "GET", "/rooms/mine", 401, "unauthorized", credentials.tokens.issue(old).token
    )
    # nor does the master key count in a query, or beside a wrong token
    await guarded_api.fails("GET", f"/rooms/mine?token={MASTER}", 401, "unauthorized")
    await guarded_api.fails("GET", "/rooms/mine?token=x", 401, "unauthorized", MASTER)


@pytest.mark.parametrize("seconds", [0, -1, 86_401, "x", None])
async def test_a_token_lives_a_day_at_most(guarded_api: Api, seconds: Any) -> None:
    await made(guarded_api, "mine")
    asked = {"ttl_seconds": seconds}
    await guarded_api.fails("POST", "/rooms/mine/tokens", 422, "invalid", MASTER, json=asked)


async def test_without_keys_tokens_still_narrow(api: Api) -> None:
    await api.ask("POST", "/rooms", status=201, json={"id": "mine"})
    await api.ask("POST", "/rooms", status=201, json={"id": "other"})
    token = await api.token("mine", None)
    await api.ask("GET", "/rooms/mine", token)
    await api.fails("GET", "/rooms/other", 404, "room_not_found", token)
    await api.fails("GET", "/rooms", 403, "forbidden", token)


async def test_without_any_key_other_machines_get_nothing(settings: Settings) -> None:
    async with serving(settings) as api:
        transport = httpx.ASGITransport(api.app, client=("10.0.0.9", 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as far:
            for path in ("/rooms", "/rooms/x/events", "/channels"):
                assert (await far.get(path)).status_code == 403
            answer = await far.post("/webhooks/http/webhook", content=b"{}")
            assert answer.status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/rooms/mine/../other",
        "/rooms/mine%2F..%2Fother",
        "/rooms/%2e%2e/other",
        "/rooms/other?room_id=mine",
        "/rooms/other/",
        "/rooms//other",
        "//rooms/other",
        "/rooms/mine;/../other",
        "/rooms/other%00",
        "/rooms/OTHER/events",
        "/rooms/mine\\..\\other",
    ],
)
async def test_no_spelling_of_a_path_leads_into_another_room(guarded_api: Api, path: str) -> None:
    await made(guarded_api, "mine")
    await made(guarded_api, "other")
    token = await guarded_api.token("mine")
    raw = httpx.URL("http://localhost").copy_with(raw_path=path.encode())
    answer = await guarded_api.client.get(raw, headers=bearer(token))
    assert answer.status_code in {307, 401, 403, 404}, answer.text
    assert "'other'" not in answer.text or answer.json()["code"] == "room_not_found"


@pytest.mark.parametrize("bad", ["", "a/b", "..", ".", "a\nb", "a?b", "a%2F", "x" * 129, " a"])
async def test_rooms_get_only_ids_that_stand_in_a_path(api: Api, bad: str) -> None:
    answer = await api.ask("POST", "/rooms", status=422, json={"id": bad})
    assert answer["code"] in {"invalid", "bad_name"}


# -- the parts ------------------------------------------------------------------------------------

TOKEN = Principal("room:ann", "room", grant=RoomGrant("mine", "x", "ann", 2**40, "Ann"))
ACME_KEY = Principal("organization:acme", "organization", "acme")


def test_what_is_not_listed_needs_the_master_key() -> None:
    assert reaches(LOCAL, "GET", "/anything")
    assert reaches(Principal("key", "key"), "POST", "/anything")
    for path in ("/anything", "/metrics", "/rooms/mine/anything", "/rooms/mine/channels", "/"):
        assert not reaches(TOKEN, "GET", path)
    assert not reaches(TOKEN, "POST", "/rooms/mine")
    assert reaches(TOKEN, "WEBSOCKET", "/rooms/mine/tail")
    assert not reaches(TOKEN, "WEBSOCKET", "/rooms/mine/other")
    assert reaches(ACME_KEY, "DELETE", "/rooms/a/events/b")
    assert not reaches(ACME_KEY, "GET", "/roomsx")


def call(**query: str) -> UpgradeRequest:
    return UpgradeRequest("/call", query, {})


def test_a_token_calls_its_own_room_as_itself() -> None:
    asked = call(
        room="mine", participant="bob", name="Bob", token="t", ping="5", handler="controller"
    )
    narrowed = confined(TOKEN, asked)
    assert isinstance(narrowed, UpgradeRequest)
    assert narrowed.query == {
        "room": "mine",
        "participant": "ann",
        "name": "Ann",
        "ping": "5",
        "handler": "room",
    }
    assert confined(TOKEN, call()) == UpgradeRequest(
        "/call", {"room": "mine", "participant": "ann", "name": "Ann", "handler": "room"}, {}
    )
    elsewhere = confined(TOKEN, call(room="other"))
    assert isinstance(elsewhere, Refusal)
    assert elsewhere.status == 404
    reading = Principal("r", "room", grant=RoomGrant("mine", "x", "ann", 2**40, None, False))
    refused = confined(reading, call())
    assert isinstance(refused, Refusal)
    assert refused.status == 403


def test_an_organization_calls_rooms_only() -> None:
    refused = confined(ACME_KEY, call())
    assert isinstance(refused, Refusal)
    assert refused.status == 403
    assert confined(ACME_KEY, call(handler="room", room="a")) == call(handler="room", room="a")
    assert confined(LOCAL, call()) == call()


async def test_who_enters_by_socket_or_call_is_asked_the_same(guarded_api: Api) -> None:
    guests: Any = guarded_api.house.rooms
    await made(guarded_api, "theirs", BETA)
    with pytest.raises(RoomNotFoundError):
        await guests.door(ACME_KEY).enter("theirs", "eve", "websocket", None)
    await guests.door(ACME_KEY).enter("fresh", "eve", "websocket", None)
    assert (await guarded_api.kit.get_room("fresh")).organization_id == "acme"
    with pytest.raises(RoomNotFoundError):
        await guests.door(TOKEN).enter("mine", "ann", "websocket", None)
    assert not await guarded_api.kit.store.room_exists("mine")
    await guests.door(LOCAL).enter("theirs", "root", "websocket", None)
    await guarded_api.kit.remove_member("theirs", "root", status=ParticipantStatus.BANNED)
    with pytest.raises(ParticipantNotAdmittedError):
        await guests.door(LOCAL).enter("theirs", "root", "websocket", None)


async def test_nobody_is_no_caller() -> None:
    with pytest.raises(ForbiddenError):
        Access(RoomKit(), None)


async def test_two_organizations_make_one_room_once(guarded_api: Api) -> None:
    answers = await asyncio.gather(
        *(
            guarded_api.client.post("/rooms", headers=bearer(key), json={"id": "same"})
            for key in (ACME, BETA)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409]


async def test_an_identity_of_nobody_is_the_masters(guarded_api: Api) -> None:
    await guarded_api.kit.store.create_identity(Identity(id="i9"))
    await guarded_api.ask("GET", "/identities/i9", MASTER)
    await guarded_api.fails("GET", "/identities/i9", 404, "identity_not_found", ACME)


async def test_recordings_of_a_deleted_room_are_gone(api: Api, settings: Settings) -> None:
    await api.ask("POST", "/rooms", status=201, json={"id": "mine"})
    folder: Path = settings.recordings / "mine"
    folder.mkdir(parents=True)
    (folder / "call.wav").write_bytes(b"RIFF")
    await api.ask("DELETE", "/rooms/mine", status=204)
    assert not folder.exists()


def test_a_media_socket_is_asked_for_its_token_too(settings: Settings) -> None:
    from salon.app.application import make_gate
    from salon.app.routes.pages import WebFiles

    gate = make_gate(settings, WebFiles(settings.data_dir))
    asked = Asked("WEBSOCKET", "/call", {"host": "localhost"}, "127.0.0.1", "salon-room.x.y")
    refusal = gate.refuse(asked)
    assert refusal is not None
    assert refusal.status == 401
