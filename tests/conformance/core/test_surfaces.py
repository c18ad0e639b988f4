"""What is seen from outside the core: logs, and the interface over HTTP (chapter 31)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    Stage,
    silent,
)

pytest.importorskip("fastapi")
from starlette.testclient import TestClient
from tests.conformance.core.stage_two import served

from salon.app.house import House
from salon.models import (
    HookResult,
    HookTrigger,
    Observation,
    ProviderDeliveryError,
    RoomContext,
    RoomEvent,
    Task,
)

# -- R260: logs -----------------------------------------------------------------------------------


async def a_day(stage: Stage) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    await stage.inbound("sms")
    web.failures = [ProviderDeliveryError("busy", "later", retryable=True)]
    await stage.inbound("sms")
    web.failures = [ProviderDeliveryError("no", "never", retryable=False)]
    await stage.inbound("sms")
    web.failures = [OSError("gone") for _ in range(5)]
    for _ in range(5):
        await stage.inbound("sms")

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST, timeout=0.1)
    async def slow(event: RoomEvent, context: RoomContext) -> HookResult:
        import asyncio

        await asyncio.sleep(5)
        return HookResult.allow()

    await stage.inbound("sms")
    await stage.settle()


# what must be told, at which level at least, in which words
LEVELS = {
    "room created": logging.INFO,
    "event stored": logging.INFO,
    "channel attached": logging.INFO,
}


@pytest.mark.parametrize("what", LEVELS, ids=[name.replace(" ", "-") for name in LEVELS])
async def test_R260_the_course_of_things_is_told(
    stage: Stage, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    with caplog.at_level(logging.DEBUG, logger="salon"):
        await a_day(stage)
    found = [record for record in caplog.records if what in record.getMessage()]
    assert found
    assert {record.levelno for record in found} == {LEVELS[what]}
    assert {getattr(record, "room_id", None) for record in found} == {ROOM}


async def test_R260_trouble_is_told_louder(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="salon"):
        await a_day(stage)
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    words = " ".join(record.getMessage().lower() for record in loud)
    for what in ("deliver", "hook slow", "breaker"):
        assert what in words, what
    assert any(record.levelno >= logging.ERROR for record in loud)


async def test_R260_no_log_holds_what_was_said(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="salon"):
        await stage.room(RecordingTransport("sms"), RecordingTransport("web"))
        await stage.inbound("sms", "my very private words", raw_payload={"card": "4111-1111"})
        await stage.settle()
    everything = " ".join(str(vars(record)) for record in caplog.records)
    assert "private words" not in everything
    assert "4111-1111" not in everything


async def test_R260_every_logger_is_below_one_root(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await a_day(stage)
    names = {record.name for record in caplog.records if record.name != "asyncio"}
    assert names
    assert all(name.split(".")[0] == "salon" for name in names), names


# -- R264: over HTTP ------------------------------------------------------------------------------

ROUTES = """
    post /rooms
    get /rooms
    get /rooms/{room_id}
    patch /rooms/{room_id}
    delete /rooms/{room_id}
    get /channels
    get /rooms/{room_id}/channels
    post /rooms/{room_id}/channels
    delete /rooms/{room_id}/channels/{channel_id}
    patch /rooms/{room_id}/channels/{channel_id}
    post /rooms/{room_id}/channels/{channel_id}/mute
    post /rooms/{room_id}/channels/{channel_id}/unmute
    post /rooms/{room_id}/events
    get /rooms/{room_id}/timeline
    get /rooms/{room_id}/participants
    post /rooms/{room_id}/participants
    delete /rooms/{room_id}/participants/{participant_id}
    post /rooms/{room_id}/participants/{participant_id}/resolve
    get /rooms/{room_id}/tasks
    patch /tasks/{task_id}
    get /rooms/{room_id}/observations
    post /identities
    get /identities/resolve
    patch /identities/{identity_id}
    post /webhooks/{channel_type}/{provider}
    post /webhooks/{channel_type}/{provider}/status
"""
WANTED = [line.strip() for line in ROUTES.strip().splitlines()]
Served = tuple[TestClient, House]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, RecordingTransport("sms"), silent("ai")) as found:
        yield found


def ask(server: Served, line: str, expected: int = 200, json: Any = None, **params: Any) -> Any:
    """``"post /rooms"`` and so on; the JSON of the answer."""
    verb, _, path = line.partition(" ")
    answer = server[0].request(verb.upper(), path, json=json, params=params or None)
    assert answer.status_code == expected, answer.text
    return answer.json() if answer.content else None


def room(server: Served, *channels: str, **fields: Any) -> str:
    given = {"channels": ["websocket", *channels], **fields}
    made: str = ask(server, "post /rooms", 201, given)["id"]
    return f"/rooms/{made}"


def test_R264_R217_every_route_is_offered_and_described(server: Served) -> None:
    described = ask(server, "get /openapi.json")["paths"]
    offered = {f"{verb} {path}" for path, verbs in described.items() for verb in verbs}
    assert set(WANTED) - offered == set()


def test_R264_rooms_are_made_found_changed_and_deleted(server: Served) -> None:
    made = ask(server, "post /rooms", 201, {"organization_id": "acme", "metadata": {"a": 1}})
    path = f"/rooms/{made['id']}"
    ask(server, "post /rooms", 201, {"organization_id": "other"})
    found = ask(server, "get /rooms", organization_id="acme", status="active")["rooms"]
    assert [item["id"] for item in found] == [made["id"]]
    assert ask(server, f"patch {path}", json={"metadata": {"b": 2}})["metadata"] == {"a": 1, "b": 2}
    assert ask(server, f"get {path}")["status"] == "active"
    ask(server, f"post {path}/close")
    assert ask(server, "get /rooms", organization_id="acme", status="active")["rooms"] == []
    ask(server, f"delete {path}", 204)
    ask(server, f"get {path}", 404)


def test_R264_channels_are_attached_restricted_muted_and_detached(server: Served) -> None:
    path = room(server)
    assert {"sms", "ai", "websocket"} <= {item["id"] for item in ask(server, "get /channels")}
    ask(server, f"post {path}/channels", 201, {"channel_id": "sms"})
    one = f"{path}/channels/sms"
    changed = ask(server, f"patch {one}", json={"access": "read_only", "visibility": "none"})
    assert (changed["access"], changed["visibility"]) == ("read_only", "none")
    assert ask(server, f"post {one}/mute")["muted"] is True
    assert ask(server, f"post {one}/unmute")["muted"] is False
    ask(server, f"delete {one}", 204)
    bound = {item["channel_id"] for item in ask(server, f"get {path}/channels")}
    assert "sms" not in bound
    ask(server, f"post {path}/channels", 404, {"channel_id": "nothing"})


def test_R264_events_are_sent_and_read_back_page_by_page(server: Served) -> None:
    path = room(server, "sms")
    sent = [ask(server, f"post {path}/events", 201, {"content": f"word {n}"}) for n in range(4)]
    hidden = {"content": "hidden", "visibility": "none"}
    ask(server, f"post {path}/events", 201, hidden)
    page = ask(server, f"get {path}/timeline", limit=2, before_index=sent[3]["index"])
    assert [item["content"]["body"] for item in page["events"]] == ["word 1", "word 2"]
    assert page["has_more"] is True
    only = ask(server, f"get {path}/timeline", visibility="none", type="message")["events"]
    assert [item["content"]["body"] for item in only] == ["hidden"]
    web = server[1].kit.get_channel("sms")
    assert isinstance(web, RecordingTransport)


def test_R264_the_gates_hold_over_http(server: Served) -> None:
    path = room(server, "sms")
    ask(server, f"post {path}/channels/websocket/mute")
    refused = ask(server, f"post {path}/events", 201, {"content": "muted"})
    assert (refused["status"], refused["blocked_by"]) == ("blocked", "source_muted")
    ask(server, f"post {path}/close")
    answer = ask(server, f"post {path}/events", 409, {"content": "too late"})
    assert answer["code"] == "room_closed"


def test_R264_people_come_are_identified_and_go(server: Served) -> None:
    path = room(server)
    given = {"display_name": "Ann", "channel_addresses": {"sms": ["+15550100"]}}
    identity = ask(server, "post /identities", 201, given)
    found = ask(server, "get /identities/resolve", channel_type="sms", address="+15550100")
    assert found["id"] == identity["id"]
    ask(server, f"patch /identities/{identity['id']}", json={"display_name": "Anna"})
    person = {"participant_id": "ann", "channel_id": "websocket"}
    ask(server, f"post {path}/participants", 201, person)
    settled = ask(
        server, f"post {path}/participants/ann/resolve", json={"identity_id": identity["id"]}
    )
    assert (settled["identity_id"], settled["display_name"]) == (identity["id"], "Anna")
    ask(server, f"delete {path}/participants/ann")
    assert ask(server, f"get {path}/participants") == []
    ask(server, "get /identities/resolve", 404, channel_type="sms", address="+1")


def test_R264_tasks_and_observations_are_read_and_tasks_changed(server: Served) -> None:
    path = room(server)
    room_id = path.removeprefix("/rooms/")
    client, house = server
    portal = client.portal
    assert portal is not None
    task = Task(room_id=room_id, title="call back")
    portal.call(house.kit.store.add_task, task)
    seen = Observation(room_id=room_id, channel_id="websocket", content="in a hurry")
    portal.call(house.kit.store.add_observation, seen)
    assert [item["title"] for item in ask(server, f"get {path}/tasks")] == ["call back"]
    changed = ask(server, f"patch /tasks/{task.id}", json={"status": "completed"})
    assert changed["status"] == "completed"
    assert ask(server, f"get {path}/tasks", status="pending") == []
    assert [item["content"] for item in ask(server, f"get {path}/observations")] == ["in a hurry"]


def test_R264_R267_what_is_not_there_is_not_found(server: Served) -> None:
    for part in ("", "/timeline", "/channels", "/participants", "/tasks", "/observations"):
        assert ask(server, f"get /rooms/nowhere{part}", 404)["code"] == "room_not_found"


NO_CONTENT: list[Any] = [
    {"type": "media", "url": "javascript:1", "mime_type": "image/png"},
    {"type": "location", "latitude": 91, "longitude": 0},
    {"type": "program", "body": "x"},
    "",
]


def test_R266_what_is_no_content_is_refused_over_http(server: Served) -> None:
    path = room(server)
    for content in NO_CONTENT:
        ask(server, f"post {path}/events", 422, {"content": content})
    assert ask(server, f"get {path}/timeline", type="message")["events"] == []


def test_R217_a_webhook_nobody_serves_is_not_found(server: Served) -> None:
    assert server[0].post("/webhooks/sms/nobody", content=b"x").status_code == 404


def test_R216_R217_an_unsigned_webhook_does_not_come_in(server: Served) -> None:
    from salon.app.intake import SignedIntake
    from salon.providers.webhooks.signing import WebhookSigner, WebhookVerifier

    client, house = server
    house.intakes.add("webhook", "generic", SignedIntake(WebhookVerifier("a secret"), "sms"))
    body = b'{"sender_id": "ann", "body": "hello"}'
    refused = client.post("/webhooks/webhook/generic", content=body)
    assert refused.status_code == 403
    assert ask(server, "get /rooms")["rooms"] == []
    headers = WebhookSigner("a secret").headers("msg_1", body)
    taken = client.post("/webhooks/webhook/generic", content=body, headers=headers)
    assert taken.status_code == 200
    (made,) = ask(server, "get /rooms")["rooms"]
    events = ask(server, f"get /rooms/{made['id']}/timeline", type="message")["events"]
    assert [item["content"]["body"] for item in events] == ["hello"]
