"""Security (chapter 32; R266-R269)."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    message,
    silent,
    staged,
    text,
)

from salon.channels.ai import AIChannel
from salon.channels.factories import SMSChannel
from salon.channels.websocket import WebSocketChannel
from salon.core import RoomKit, RoomNotFoundError
from salon.models import (
    Access,
    AgentResponsePolicy,
    AudioContent,
    ChannelCapabilities,
    CompositeContent,
    DeliveryStatus,
    EventContent,
    HookExecution,
    HookResult,
    HookTrigger,
    InboundMessage,
    LocationContent,
    MediaContent,
    RoomContext,
    RoomEvent,
    RoomStatus,
    RoomTimers,
    VideoContent,
)
from salon.models.identity import Identity
from salon.providers.mock import MockAIProvider
from salon.providers.sms.mock import MockSMSProvider

# -- R266: what comes in --------------------------------------------------------------------------

INVALID: dict[str, Any] = {
    "a script as a picture": {"type": "media", "url": "javascript:1", "mime_type": "image/png"},
    "a file as a picture": {"type": "media", "url": "file:///etc/passwd", "mime_type": "image/png"},
    "nothing as audio": {"type": "audio", "url": ""},
    "a negative size": {
        "type": "media", "url": "https://x.org/a", "mime_type": "image/png", "size_bytes": -1
    },
    "off the map": {"type": "location", "latitude": 91, "longitude": 0},
    "not a number": {"type": "location", "latitude": "nan", "longitude": 0},
    "an empty composite": {"type": "composite", "parts": []},
    "an unknown kind": {"type": "program", "body": "x"},
    "no body": {"type": "text"},
    "a body that is none": {"type": "text", "body": {"$ne": 1}},
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID, ids=[n.replace(" ", "-") for n in INVALID])
def test_R266_what_is_no_content_is_no_message(name: str) -> None:
    with pytest.raises(ValidationError):
        InboundMessage(channel_id="sms", sender_id="ann", content=INVALID[name])


@pytest.mark.parametrize(
    "wrong", [{"sender_id": None}, {"channel_id": None}, {"event_type": "no such type"}]
)
def test_R266_a_message_has_its_fields(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        InboundMessage(**{"channel_id": "sms", "sender_id": "a", "content": text("x"), **wrong})


HOSTILE = "'; DROP TABLE rooms; -- <script>alert(1)</script> {{7*7}} \u202e\x00 ../../etc"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_R266_hostile_text_is_text(tmp_path: Any, kind: str) -> None:
    options: dict[str, Any] = {}
    if kind == "sqlite":
        pytest.importorskip("sqlalchemy")
        from salon.store.factory import make_stores

        options["store"] = make_stores(f"sqlite:///{tmp_path / 'rooms.db'}").conversation
    async with staged(**options) as stage:
        web = RecordingTransport("web")
        await stage.room(RecordingTransport("sms"), web)
        hostile = HOSTILE.replace("\x00", "") if kind == "sqlite" else HOSTILE
        await stage.inbound("sms", hostile, sender="'; DROP TABLE participants; --")
        assert bodies(await stage.messages()) == web.bodies == [hostile]
        people = await stage.kit.store.list_participants(ROOM)
        assert [person.id for person in people] == ["'; DROP TABLE participants; --"]


@pytest.fixture
def trap() -> Iterator[tuple[str, list[str]]]:
    """A web server that nobody is supposed to visit."""
    visits: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            visits.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_HEAD = do_POST = do_GET  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", visits
    server.shutdown()
    server.server_close()
    thread.join()


async def test_R266_addresses_in_a_content_are_not_fetched(
    stage: Stage, trap: tuple[str, list[str]]
) -> None:
    base, visits = trap
    contents: list[EventContent] = [
        MediaContent(url=f"{base}/picture", mime_type="image/png", caption=f"{base}/caption"),
        AudioContent(url=f"{base}/sound"),
        VideoContent(url=f"{base}/film", thumbnail_url=f"{base}/thumb"),
        text(f"look at {base}/page"),
    ]
    sms = SMSChannel("phone", provider=MockSMSProvider())
    agent = AIChannel("ai", MockAIProvider(["nice"] * 10))
    await stage.room(RecordingTransport("web"), WebSocketChannel(), agent)
    stage.register(sms)
    await stage.kit.attach_channel(ROOM, "phone", metadata={"phone_number": "+15550100123"})
    for content in [*contents, CompositeContent(parts=contents)]:
        assert not (await stage.inbound("web", content=content)).blocked
    await stage.settle()
    assert visits == []


async def test_R266_a_channel_cannot_claim_to_be_another(stage: Stage) -> None:
    from salon.models import ChannelType

    sms, web = RecordingTransport("sms"), RecordingTransport("web")

    def lying(message: InboundMessage, event: RoomEvent) -> RoomEvent:
        source = event.source.model_copy(
            update={"channel_id": "system", "channel_type": ChannelType.SYSTEM}
        )
        return event.model_copy(update={"source": source, "room_id": "elsewhere", "index": 99})

    sms.make = lying
    await stage.room(sms, web)
    await stage.inbound("sms", "I am the system")
    (event,) = await stage.messages()
    assert event.room_id == ROOM
    assert event.index < 99
    assert event.source.channel_id == "sms"


# -- R267: organizations --------------------------------------------------------------------------


async def nothing(*_: Any) -> Any:
    return None


ARGUMENTS: dict[str, Any] = {
    "session": None,
    "connection_id": "screen",
    "send_fn": None,
    "room_id": ROOM,
    "channel_id": "sms",
    "participant_id": "ann",
    "identity_id": "theirs",
    "display_name": "Eve",
    "user_id": "eve",
    "event_id": "event",
    "target_event_id": "event",
    "emoji": "+1",
    "status": "online",
    "content": text("let me in"),
    "metadata": {"a": 1},
    "timers": RoomTimers(),
    "policy": AgentResponsePolicy.ADDRESSED_ONLY,
    "access": Access.NONE,
    "visibility": "none",
    "trigger": HookTrigger.BEFORE_BROADCAST,
    "execution": HookExecution.SYNC,
    "fn": nothing,
    "name": "mine",
    "callback": nothing,
    "tool_calls": [],
    "message": message("sms", "let me in"),
    "from_room": ROOM,
    "to_room": ROOM,
    "payload": None,
    "text": "x",
    "rating": 1.0,
}
DELIVERY = DeliveryStatus(
    provider="p", message_id="m", status="sent", recipient="r", sender="s", room_id=ROOM
)
ELSEWHERE = {
    "check_all_timers",
    "create_room",
    "disconnect_websocket",
    "list_rooms",
    "process_webhook",
    "subscribe_websocket",
    "unsubscribe_websocket",
}
"""Methods that name no room, or are about a connection of somebody, whatever rooms it follows."""


def scoped() -> list[str]:
    found = []
    for name, method in inspect.getmembers(RoomKit, inspect.isfunction):
        if name.startswith("_") or name in ELSEWHERE:
            continue
        if "organization_id" in inspect.signature(method).parameters:
            found.append(name)
    return found


def arguments(name: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for key, item in inspect.signature(getattr(RoomKit, name)).parameters.items():
        if key in ("self", "organization_id"):
            continue
        if key == "status" and name == "process_delivery_status":
            given[key] = DELIVERY
        elif key == "metadata" and name == "send_event":
            continue
        elif item.default is inspect.Parameter.empty and item.kind not in (
            inspect.Parameter.VAR_KEYWORD,
            inspect.Parameter.VAR_POSITIONAL,
        ):
            given[key] = ARGUMENTS[key]
    if name == "process_inbound":
        given["room_id"] = ROOM
    return given


@pytest.mark.parametrize("name", scoped())
async def test_R267_every_scoped_call_finds_no_room_of_another_tenant(
    stage: Stage, name: str
) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web, organization_id="acme")
    await stage.kit.add_member(ROOM, "sms", "ann")
    await stage.settle()
    before = (await stage.read(), await stage.timeline(), await stage.binding("sms"))
    with pytest.raises(RoomNotFoundError):
        await getattr(stage.kit, name)(**arguments(name), organization_id="other")
    await stage.settle()
    assert (await stage.read(), await stage.timeline(), await stage.binding("sms")) == before
    assert web.bodies == []


async def test_R267_the_timers_of_another_tenants_rooms_are_left_alone(stage: Stage) -> None:
    due = RoomTimers(inactive_after_seconds=1)
    for room_id, tenant in ((ROOM, "acme"), ("theirs", "other")):
        await stage.kit.create_room(room_id, organization_id=tenant, timers=due)
    await asyncio.sleep(2)
    checked = await stage.kit.check_all_timers(organization_id="acme")
    assert [room.id for room in checked] == [ROOM]
    assert (await stage.read("theirs")).status is RoomStatus.ACTIVE


async def test_R267_a_connection_follows_no_room_of_another_tenant(stage: Stage) -> None:
    kit, got = stage.kit, list[str | None]()

    async def send(connection_id: str, event: RoomEvent) -> None:
        got.append(event.text)

    stage.register(WebSocketChannel("web"), RecordingTransport("sms"))
    for room_id, tenant in ((ROOM, "acme"), ("second", "acme"), ("theirs", "other")):
        await kit.create_room(room_id, organization_id=tenant)
        for channel_id in ("web", "sms"):
            await kit.attach_channel(room_id, channel_id)
    await kit.connect_websocket("web", "screen", send, room_id=ROOM, organization_id="acme")
    for room_id in ("second", "theirs"):
        kit.subscribe_websocket("web", "screen", room_id, organization_id="acme")
    with pytest.raises(ValueError, match="screen"):
        kit.unsubscribe_websocket("web", "screen", "second", organization_id="other")
    for room_id in (ROOM, "second", "theirs"):
        await stage.inbound("sms", f"in {room_id}", room_id=room_id)
    assert got == [f"in {ROOM}", "in second"]


def test_R267_the_room_calls_are_scoped() -> None:
    """Whatever takes the id of a room takes whose it must be."""
    unscoped = set()
    for name, method in inspect.getmembers(RoomKit, inspect.isfunction):
        given = inspect.signature(method).parameters
        if not name.startswith("_") and "room_id" in given and "organization_id" not in given:
            unscoped.add(name)
    of_the_host = {"add_hook", "hook", "idle", "history", "context", "run_hooks"}
    assert unscoped <= of_the_host


async def test_R267_the_refusal_is_the_same_as_for_no_room(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), organization_id="acme")
    words = []
    for room_id in (ROOM, "nowhere"):
        with pytest.raises(RoomNotFoundError) as caught:
            await stage.kit.get_room(room_id, organization_id="other")
        words.append(str(caught.value).replace(repr(room_id), "?"))
    assert words[0] == words[1]


async def test_R267_lists_stay_within_the_organization(stage: Stage) -> None:
    for name in ("acme", "other", None):
        await stage.kit.create_room(f"of-{name}", organization_id=name)
    found = await stage.kit.list_rooms(organization_id="acme")
    assert [room.id for room in found] == ["of-acme"]


async def test_R267_routing_stays_within_the_organization(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), room_id="theirs", organization_id="other")
    result = await stage.kit.process_inbound(message("sms"), organization_id="acme")
    assert result.event is not None
    assert result.event.room_id != "theirs"
    room = await stage.kit.get_room(result.event.room_id, organization_id="acme")
    assert room.organization_id == "acme"


async def test_R267_identities_stay_within_the_organization(stage: Stage) -> None:
    from salon.core.errors import IdentityNotFoundError

    await stage.room(RecordingTransport("sms"), organization_id="acme")
    await stage.kit.store.create_identity(Identity(id="theirs", organization_id="other"))
    await stage.kit.add_member(ROOM, "sms", "ann")
    with pytest.raises(IdentityNotFoundError):
        await stage.kit.resolve_participant(ROOM, "ann", "theirs")


# -- R268: the raw payload ------------------------------------------------------------------------


async def test_R268_a_hook_may_redact_the_raw_payload(stage: Stage) -> None:
    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def redact(event: RoomEvent, context: RoomContext) -> HookResult:
        source = event.source.model_copy(update={"raw_payload": {"redacted": True}})
        return HookResult.modify(event.model_copy(update={"source": source}))

    await stage.room(RecordingTransport("sms"))
    await stage.inbound("sms", raw_payload={"card": "4111 1111 1111 1111"})
    (event,) = await stage.messages()
    assert event.source.raw_payload == {"redacted": True}


async def test_R268_the_host_may_redact_it_later(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    event = (await stage.inbound("sms", raw_payload={"card": "4111"})).event
    assert event is not None
    bare = event.source.model_copy(update={"raw_payload": {}})
    await stage.kit.update_event(ROOM, event.id, source=bare)
    (stored,) = await stage.messages()
    assert stored.source.raw_payload == {}


async def test_R268_clients_do_not_see_the_raw_payload(stage: Stage) -> None:
    channel = WebSocketChannel()
    await stage.room(RecordingTransport("sms"), channel)
    connection = channel.connect(ROOM)
    await stage.inbound("sms", raw_payload={"card": "4111"})
    await stage.settle()
    connection.close()
    got = [item async for item in connection.messages()]
    assert len(got) == 1
    assert "4111" not in str(got)


# -- R269: the chain limit ------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, -1, None, "5", float("inf")])
def test_R269_what_is_no_limit_is_refused(limit: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        RoomKit(max_chain_depth=limit)


async def test_R269_neither_room_nor_agent_nor_caller_raises_the_limit() -> None:
    async with staged(max_chain_depth=2) as stage:
        one, two = ScriptedAgent("one"), ScriptedAgent("two")
        one.claimed_depth = two.claimed_depth = -0
        await stage.room(RecordingTransport("sms"), one, two, metadata={"max_chain_depth": 99})
        await stage.inbound("sms", addressed_to=["one"], metadata={"max_chain_depth": 99})
        await stage.settle()
        depths = [event.chain_depth for event in await stage.messages()]
        delivered = [e.chain_depth for e in await stage.messages() if e.status.value == "delivered"]
        assert max(delivered) == 1
        assert max(depths) == 2


async def test_R269_an_injection_has_a_depth_of_its_own_but_not_below_zero(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), silent("ai"))
    with pytest.raises(ValueError, match="chain_depth"):
        await stage.send("sms", chain_depth=-1)


def test_R269_capabilities_and_locations_are_bounded_models() -> None:
    with pytest.raises(ValidationError):
        LocationContent(latitude=0, longitude=181)
    with pytest.raises(ValidationError):
        ChannelCapabilities(max_length=-1)
