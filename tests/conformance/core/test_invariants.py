"""What always holds: levels, core invariants, data models (chapters 1 to 4; R1-R18, R20)."""

from __future__ import annotations

import logging
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    silent,
    text,
)

from salon.models import (
    AudioContent,
    ChannelData,
    ChannelType,
    CompositeContent,
    EventSource,
    EventType,
    HookResult,
    HookTrigger,
    LocationContent,
    MediaContent,
    RichContent,
    RoomContext,
    RoomEvent,
    SystemContent,
    TemplateContent,
    TextContent,
    ToolCallContent,
    VideoContent,
)

URL = "https://example.org/file"
CONTENTS = (
    TextContent(body="words"),
    RichContent(body="**words**", buttons=[{"title": "yes"}], quick_replies=["no"]),
    MediaContent(url=URL, mime_type="image/png", caption="a picture", size_bytes=3),
    LocationContent(latitude=52.5, longitude=13.4, label="Berlin"),
    AudioContent(url=URL, duration_seconds=1.5, transcript="spoken"),
    VideoContent(url=URL, thumbnail_url=URL),
    CompositeContent(parts=[TextContent(body="one"), TextContent(body="two")]),
    SystemContent(body="note", code="note", data={"a": 1}),
    TemplateContent(template_id="welcome", parameters={"name": "Ann"}, body="Welcome"),
    ToolCallContent(tool_name="look", tool_id="1", arguments={"at": "it"}),
)


def nested(levels: int) -> CompositeContent:
    """A composite whose outermost level is 1 and innermost `levels`."""
    content = CompositeContent(parts=[text("core")])
    for _ in range(levels - 1):
        content = CompositeContent(parts=[content])
    return content


def test_R1_every_level_zero_rule_is_built() -> None:
    rules = tomllib.loads((Path(__file__).parent / "rules.toml").read_text())["rules"]
    missing = [
        name
        for name, rule in rules.items()
        if rule["level"] == 0 and not rule.get("ref") and rule.get("status", "built") != "built"
    ]
    assert missing == []


@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: str(content.type))
async def test_R2_R15_every_content_type_goes_in_and_comes_back(stage: Stage, content: Any) -> None:
    await stage.room(RecordingTransport("sms"))
    result = await stage.inbound("sms", content=content)
    assert result.event is not None
    stored = await stage.messages()
    assert [event.content for event in stored] == [content]


def test_R3_the_core_loads_no_web_framework() -> None:
    frameworks = ("fastapi", "starlette", "uvicorn", "flask", "django", "aiohttp")
    program = (
        "import sys, salon.core, salon.core.kit\n"
        f"print([name for name in {frameworks!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


async def test_R4_side_effects_are_never_suppressed(stage: Stage) -> None:
    agent = ScriptedAgent("ai")
    agent.tasks, agent.observations, agent.updates = ["call back"], ["angry"], {"mood": "bad"}
    await stage.room(RecordingTransport("sms"), agent)
    await stage.kit.mute(ROOM, "ai")
    await stage.inbound("sms")
    await stage.settle()
    assert await stage.tasks() == ["call back"]
    assert await stage.observations() == ["angry"]
    assert (await stage.read()).metadata["mood"] == "bad"


async def test_R5_everything_of_a_conversation_is_found_in_its_room(stage: Stage) -> None:
    agent = ScriptedAgent("ai")
    agent.tasks = ["call back"]
    await stage.room(RecordingTransport("sms"), agent)
    await stage.inbound("sms", "hello")
    await stage.settle()
    store = stage.kit.store
    assert [text for text, _ in await stage.said()] == ["hello", "ai: hello"]
    assert {item.channel_id for item in await store.list_bindings(ROOM)} == {"sms", "ai"}
    assert [item.id for item in await store.list_participants(ROOM)] == ["ann"]
    assert await stage.tasks() == ["call back"]
    assert "hello" not in (await stage.read()).model_dump_json()


@pytest.mark.parametrize(
    "kind", [ChannelType.SMS, ChannelType.EMAIL, ChannelType.WEBSOCKET, "custom:pigeon"]
)
async def test_R6_a_room_behaves_the_same_whatever_the_channel_type(
    stage: Stage, kind: ChannelType | str
) -> None:
    first, second = RecordingTransport("a", channel_type=kind), RecordingTransport("b")
    await stage.room(first, second, ScriptedAgent("ai"))
    await stage.inbound("a", "hello")
    await stage.settle()
    assert await stage.said() == [("hello", "delivered"), ("ai: hello", "delivered")]
    assert first.bodies == ["ai: hello"]
    assert second.bodies == ["hello", "ai: hello"]


async def test_R7_a_committed_event_cannot_be_changed(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    event = (await stage.inbound("sms", "hello")).event
    assert event is not None
    with pytest.raises(ValidationError):
        setattr(event, "content", text("other"))  # noqa: B010 - not to be caught before it runs
    with pytest.raises(ValidationError):
        setattr(event, "index", 7)  # noqa: B010
    assert (await stage.said()) == [("hello", "delivered")]


async def test_R8_the_raw_payload_is_stored_exactly_as_received(stage: Stage) -> None:
    payload = {"Body": " hi ", "odd": [1, None, {"deep": "ä"}], "n": 1.0, "empty": {}}
    await stage.room(RecordingTransport("sms"))
    await stage.inbound("sms", raw_payload=payload)
    (stored,) = await stage.messages()
    assert stored.source.raw_payload == payload


async def test_R9_bindings_change_at_any_time_for_events_planned_after(stage: Stage) -> None:
    one, two = RecordingTransport("one"), RecordingTransport("two")
    await stage.room(one, two)
    await stage.inbound("one", "first")
    await stage.kit.mute(ROOM, "one")
    await stage.inbound("one", "second")
    await stage.kit.unmute(ROOM, "one")
    await stage.kit.set_visibility(ROOM, "one", "none")
    await stage.inbound("one", "third")
    await stage.kit.set_visibility(ROOM, "one", "all")
    await stage.inbound("one", "fourth")
    await stage.kit.detach_channel(ROOM, "two")
    await stage.inbound("one", "fifth")
    await stage.settle()
    assert two.bodies == ["first", "fourth"]
    assert dict(await stage.said())["second"] == "source_muted"


async def test_R10_channel_binding_and_event_metadata_stay_apart(stage: Stage) -> None:
    channel = RecordingTransport("sms")
    await stage.room()
    stage.register(channel)
    await stage.kit.attach_channel(ROOM, "sms", metadata={"phone_number": "+15550100"})
    channel.make = lambda _, event: event.model_copy(
        update={"channel_data": ChannelData(extra={"segments": 2})}
    )
    event = (await stage.inbound("sms", metadata={"campaign": "spring"})).event
    assert event is not None
    assert channel.info == {}
    assert (await stage.binding("sms")).metadata == {"phone_number": "+15550100"}
    assert event.channel_data.extra == {"segments": 2}
    assert event.metadata == {"campaign": "spring"}


async def test_R11_framework_events_are_not_in_any_timeline(stage: Stage) -> None:
    heard = stage.listen("event_processed")
    await stage.room(RecordingTransport("sms"))
    await stage.inbound("sms")
    await stage.settle()
    assert [event.room_id for event in heard] == [ROOM]
    assert "event_processed" not in await stage.codes()
    assert len(await stage.messages()) == 1


async def test_R12_a_channel_type_of_ones_own_is_custom(stage: Stage) -> None:
    await stage.room(RecordingTransport("slack", channel_type="custom:slack"))
    event = (await stage.inbound("slack")).event
    assert event is not None
    assert event.source.channel_type == "custom:slack"
    assert (await stage.binding("slack")).channel_type == "custom:slack"


async def test_R13_the_source_names_its_provider(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms", provider="carrier"), RecordingTransport("web"))
    event = (await stage.inbound("sms")).event
    sent = await stage.send("sms", "out")
    assert event is not None
    assert (event.source.provider, sent.source.provider) == ("carrier", "carrier")


async def test_R14_the_source_channel_is_the_registered_one(stage: Stage) -> None:
    channel = RecordingTransport("sms")
    forged = EventSource(channel_id="vip", channel_type=ChannelType.EMAIL, participant_id="ann")
    channel.make = lambda _, event: event.model_copy(update={"source": forged})
    await stage.room(channel)
    event = (await stage.inbound("sms")).event
    assert event is not None
    assert (event.source.channel_id, event.source.channel_type) == ("sms", ChannelType.SMS)


@pytest.mark.parametrize("levels", [1, 5])
def test_R16_five_levels_of_composites_are_accepted(levels: int) -> None:
    assert nested(levels).type == "composite"


def test_R16_a_sixth_level_of_composites_is_refused() -> None:
    with pytest.raises(ValidationError):
        nested(6)
    with pytest.raises(ValidationError):
        RoomEvent(
            room_id=ROOM,
            source=EventSource(channel_id="a", channel_type=ChannelType.SMS),
            content={"type": "composite", "parts": [nested(5).model_dump()]},
        )


def test_R16_other_parts_do_not_count_as_levels() -> None:
    inner = CompositeContent(parts=[text("a"), RichContent(body="b"), text("c")])
    assert len(inner.parts) == 3


async def test_R17_unknown_provider_data_survives(stage: Stage) -> None:
    channel = RecordingTransport("sms")
    extra = {"segments": 3, "from_number": "+15550100", "unheard_of": {"deep": [1, 2]}}
    channel.make = lambda _, event: event.model_copy(
        update={"channel_data": ChannelData(provider="carrier", thread_id="t", extra=extra)}
    )
    await stage.room(channel)
    await stage.inbound("sms")
    (stored,) = await stage.messages()
    assert stored.channel_data.extra == extra
    assert (stored.channel_data.provider, stored.channel_data.thread_id) == ("carrier", "t")


async def test_R18_message_fields_apply_where_the_channel_left_the_default(stage: Stage) -> None:
    channel = RecordingTransport("sms")
    await stage.room(channel, silent("ai"))
    root = (await stage.inbound("sms", "root")).event
    assert root is not None
    fields: dict[str, Any] = {
        "visibility": "intelligence",
        "addressed_to": ["ai"],
        "response_visibility": "transport",
        "parent_event_id": root.id,
    }
    plain = (await stage.inbound("sms", **fields)).event
    assert plain is not None
    assert {name: getattr(plain, name) for name in fields} == fields
    channel.make = lambda _, event: event.model_copy(
        update={"visibility": "transport", "addressed_to": [], "response_visibility": "none"}
    )
    own = (await stage.inbound("sms", **fields)).event
    assert own is not None
    assert (own.visibility, own.addressed_to, own.response_visibility) == ("transport", [], "none")


async def test_R19_a_session_is_connected_only_after_the_gates(stage: Stage) -> None:
    connected: list[tuple[Any, str]] = []

    class Line(RecordingTransport):
        async def connect_session(self, session: Any, room_id: str, binding: Any) -> None:
            connected.append((session, room_id))

    await stage.room(Line("line"))
    session = object()
    await stage.inbound("line", session=session)
    assert connected == [(session, ROOM)]
    stage.block("no")
    assert (await stage.inbound("line", session=session)).blocked
    assert connected == [(session, ROOM)]


async def test_R260_logs_come_from_named_loggers_under_one_root(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    web = RecordingTransport("web")
    web.failures = [OSError("gone")]
    agent = ScriptedAgent("ai", lambda *_: RuntimeError("no idea"))
    with caplog.at_level(logging.DEBUG):
        await stage.room(RecordingTransport("sms"), web, agent)

        @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def broken(event: RoomEvent, context: RoomContext) -> HookResult:
            raise RuntimeError("broken")

        await stage.inbound("sms")
        await stage.settle()
    names = {record.name for record in caplog.records if record.levelno >= logging.WARNING}
    assert {"salon.core.hooks", "salon.core.delivery", "salon.core.answers"} <= names
    assert all(name.startswith("salon.") for name in names)


async def test_R20_recent_events_are_messages_with_the_newest_last(stage: Stage) -> None:
    agent = silent("ai")
    await stage.room(RecordingTransport("sms"), agent)
    for number in range(60):
        await stage.inbound("sms", str(number))
    await stage.settle()
    recent = agent.contexts[-1].recent_events
    assert {event.type for event in recent} == {EventType.MESSAGE}
    assert [event.text for event in recent][-50:] == [str(number) for number in range(10, 60)]


async def test_R20_a_channel_that_asks_for_more_history_gets_it(stage: Stage) -> None:
    agent = silent("ai")
    agent.context_events = 120
    await stage.room(RecordingTransport("sms"), agent)
    for number in range(125):
        await stage.inbound("sms", str(number))
    await stage.settle()
    assert len(agent.contexts[-1].recent_events) >= 120
    assert len(agent.contexts[-1].recent_events) <= 2000
