"""Calls as RoomKit's users make them; each ran with `roomkit` in the place of `salon`."""

# mypy: disable-error-code="arg-type, attr-defined, call-arg, no-any-return, union-attr"

from __future__ import annotations

from typing import Any

import pytest

from salon import (
    AIChannel,
    ChannelBinding,
    ChannelCapabilities,
    ChannelCategory,
    ChannelOutput,
    ChannelType,
    DeliveryResult,
    EventFilter,
    EventSource,
    EventType,
    FrameworkEvent,
    HookExecution,
    HookRegistration,
    HookResult,
    HookTrigger,
    InboundMessage,
    InboundResult,
    InjectedEvent,
    InMemoryLockManager,
    InMemoryStore,
    MemoryResult,
    ProviderDeliveryError,
    ProviderResult,
    ResponseMetadata,
    RoomClosedError,
    RoomContext,
    RoomEvent,
    RoomKit,
    TextContent,
    WebSocketChannel,
)
from salon.models import (
    AudioContent,
    CompositeContent,
    EventDirection,
    LocationContent,
    MediaContent,
    RateLimit,
    SystemContent,
    TemplateContent,
    VideoContent,
)
from salon.models.room import Room
from salon.providers.ai.base import AIContext, AIMessage, AITextPart, AITool
from salon.providers.ai.mock import MockAIProvider
from salon.realtime import EphemeralEvent, EphemeralEventType
from salon.realtime.memory import InMemoryRealtime


def event(body: str = "hi", **fields: Any) -> RoomEvent:
    return RoomEvent(
        room_id="r",
        source=EventSource(
            channel_id="ws",
            channel_type=ChannelType.WEBSOCKET,
            direction=EventDirection.INBOUND,
        ),
        content=TextContent(body=body),
        **fields,
    )


class Socket(WebSocketChannel):
    """Knows whether it was closed."""

    closed = False

    async def close(self) -> None:
        self.closed = True
        await super().close()


async def test_contents_are_made_with_keywords() -> None:
    parts = [
        TextContent(body="look", language="en"),
        MediaContent(url="https://example.org/a.png", mime_type="image/png", caption="a"),
        LocationContent(latitude=46.9, longitude=7.4, label="Bern"),
        AudioContent(url="https://example.org/a.ogg", mime_type="audio/ogg", transcript="hello"),
        VideoContent(url="https://example.org/a.mp4", mime_type="video/mp4"),
        TemplateContent(template_id="hi", language="en", parameters={"name": "Ann"}, body="Hi"),
        SystemContent(body="made", code="room_created", data={"a": 1}),
    ]
    whole = event().model_copy(update={"content": CompositeContent(parts=parts)})
    again = RoomEvent.model_validate(whole.model_dump())
    assert again == whole
    assert RoomEvent.model_validate_json(whole.model_dump_json()) == whole


async def test_results_take_lists() -> None:
    injected = [InjectedEvent(event=event(), target_channel_ids=["a", "b"])]
    assert len(HookResult.allow(injected=injected).injected_events) == 1
    assert len(HookResult.modify(event(), injected=injected).injected_events) == 1
    assert HookResult.block("no", injected=injected).reason == "no"
    assert HookResult(action="modify", event=event("x")).event.content.body == "x"
    output = ChannelOutput(responded=True, response_events=[event("a"), event("b")])
    assert [item.content.body for item in output.response_events] == ["a", "b"]
    with pytest.raises(ValueError, match=r"."):
        HookResult(action="block")


async def test_capabilities_bindings_and_filters_take_keywords() -> None:
    capabilities = ChannelCapabilities(max_length=160, rate_limit=RateLimit(max_per_second=1.0))
    binding = ChannelBinding(
        channel_id="sms",
        room_id="r",
        channel_type=ChannelType.SMS,
        category=ChannelCategory.TRANSPORT,
        capabilities=capabilities,
        metadata={"phone_number": "+1"},
    )
    assert binding.model_copy(update={"muted": True}).muted
    assert EventFilter(event_types=[EventType.MESSAGE], include_blocked=True).include_blocked
    result = DeliveryResult(channel_id="sms", status="sent", provider_message_id="SM1")
    assert result.error is None


async def test_ephemeral_events_go_through_a_backend_of_ones_own() -> None:
    realtime = InMemoryRealtime(max_queue_size=10)
    kit = RoomKit(realtime=realtime, store=InMemoryStore(), lock_manager=InMemoryLockManager())
    made = EphemeralEvent(room_id="r", type=EphemeralEventType.CUSTOM, user_id="ann", data={"a": 1})
    assert EphemeralEvent.from_dict(made.to_dict()).data == {"a": 1}
    await kit.close()


async def test_an_AI_context_is_made_by_hand() -> None:
    context = AIContext(
        messages=[
            AIMessage(role="system", content="Be brief."),
            AIMessage(role="user", content=[AITextPart(text="hi")]),
        ],
        system_prompt="Be kind.",
        temperature=0.2,
        max_tokens=100,
        tools=[AITool(name="t", description="d", parameters={"type": "object"})],
    )
    provider = MockAIProvider(responses=["one", "two"])
    assert (await provider.generate(context)).content == "one"
    assert (await provider.generate(context)).content == "two"
    assert provider.calls[0] is context
    assert MemoryResult(messages=[AIMessage(role="user", content="x")], events=[]).events == []


async def test_a_plain_function_listens_to_framework_events() -> None:
    kit = RoomKit()
    heard: list[str] = []

    @kit.on("room_created")
    def made(event: FrameworkEvent) -> None:
        heard.append(event.room_id or "")

    await kit.create_room(room_id="r", metadata={"topic": "test"}, organization_id="acme")
    await kit.close()
    assert heard == ["r"]


async def test_hooks_of_one_room_and_filters() -> None:
    kit = RoomKit()
    kit.register_channel(WebSocketChannel("ws"))
    for room in ("r", "other"):
        await kit.create_room(room)
        await kit.attach_channel(room, "ws")

    async def refuse(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("not here")

    await kit.add_room_hook(
        "r", HookTrigger.BEFORE_BROADCAST, HookExecution.SYNC, refuse, priority=5, name="refuse"
    )

    @kit.hook(
        HookTrigger.BEFORE_BROADCAST,
        channel_types={ChannelType.SMS},
        directions={EventDirection.INBOUND},
    )
    async def never(event: RoomEvent, context: RoomContext) -> HookResult:
        raise AssertionError

    async def say(room: str) -> InboundResult:
        message = InboundMessage(channel_id="ws", sender_id="a", content=TextContent(body="hi"))
        return await kit.process_inbound(message, room_id=room)

    assert (await say("r")).reason == "not here"
    assert not (await say("other")).blocked
    await kit.remove_room_hook("r", "refuse")
    assert not (await say("r")).blocked
    await kit.close()


async def test_an_event_is_answered_through_send_event() -> None:
    kit = RoomKit()
    kit.register_channel(WebSocketChannel("ws"))
    kit.register_channel(AIChannel("ai", provider=MockAIProvider(responses=["yes"])))
    await kit.create_room(room_id="r")
    await kit.attach_channel("r", "ws")
    await kit.attach_channel("r", "ai", category=ChannelCategory.INTELLIGENCE)
    sent = await kit.send_event(
        "r", "ws", TextContent(body="well?"), metadata={"a": 1}, visibility="all"
    )
    assert sent.content.body == "well?"
    events = await kit.get_timeline("r", limit=100)
    said = [item.content.body for item in events if item.type == EventType.MESSAGE]
    assert said == ["well?", "yes"]
    changed = await kit.update_event("r", sent.id, content=TextContent(body="well!"))
    assert changed is not None
    assert changed.content.body == "well!"
    assert sent.id in await kit.delete_event("r", sent.id)
    await kit.close()


async def test_a_provider_error_is_made_of_its_result() -> None:
    error = ProviderDeliveryError(ProviderResult(success=False, error="rejected"))
    assert error.code == "rejected"


async def test_close_closes_a_kit_that_was_never_opened() -> None:
    kit = RoomKit()
    socket = Socket("ws")
    kit.register_channel(socket)
    await kit.close()
    await kit.close()
    assert socket.closed


async def test_sockets_are_connected_through_the_kit() -> None:
    kit = RoomKit()
    channel = WebSocketChannel("ws")
    kit.register_channel(channel)
    await kit.create_room(room_id="r")
    await kit.attach_channel("r", "ws")
    told: list[str] = []

    @kit.on("channel_connected")
    async def connected(event: FrameworkEvent) -> None:
        told.append(event.type)

    @kit.on("channel_disconnected")
    async def disconnected(event: FrameworkEvent) -> None:
        told.append(event.type)

    async def send(connection_id: str, event: RoomEvent) -> None:
        raise AssertionError

    await kit.connect_websocket("ws", "c1", send, room_id="r")
    assert channel.connection_count == 1
    await kit.disconnect_websocket("ws", "c1")
    assert channel.connection_count == 0
    await kit.close()
    assert told == ["channel_connected", "channel_disconnected"]


async def test_a_hook_is_registered_as_an_object() -> None:
    kit = RoomKit()
    kit.register_channel(WebSocketChannel("ws"))
    await kit.create_room(room_id="r")
    await kit.attach_channel("r", "ws")

    async def refuse(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("no")

    kit.hook_engine.register(
        HookRegistration(
            trigger=HookTrigger.BEFORE_BROADCAST,
            execution=HookExecution.SYNC,
            fn=refuse,
            name="refuse",
        )
    )
    message = InboundMessage(channel_id="ws", sender_id="a", content=TextContent(body="hi"))
    assert (await kit.process_inbound(message, room_id="r")).reason == "no"
    await kit.close()


async def answered() -> tuple[RoomKit, list[str]]:
    """A room in which "hi" was answered, and what is read of it on a socket of another one."""
    kit = RoomKit()
    read: list[str] = []

    async def send(connection_id: str, event: RoomEvent) -> None:
        read.append(event.content.body)

    kit.register_channel(WebSocketChannel("ann"))
    kit.register_channel(WebSocketChannel("bob"))
    kit.register_channel(AIChannel("ai", provider=MockAIProvider(responses=["one", "two"])))
    for room in ("r", "other"):
        await kit.create_room(room_id=room)
        for channel in ("ann", "bob"):
            await kit.attach_channel(room, channel)
    await kit.attach_channel("r", "ai", category=ChannelCategory.INTELLIGENCE)
    await kit.connect_websocket("bob", "b1", send, room_id="other")
    kit.subscribe_websocket("bob", "b1", "r")
    message = InboundMessage(channel_id="ann", sender_id="ann", content=TextContent(body="hi"))
    first = await kit.process_inbound(message, room_id="r")
    assert [event.content.body for event in first.response_events] == ["one"]
    return kit, read


async def test_the_last_answer_is_given_anew() -> None:
    kit, read = await answered()
    target = await kit.regenerate_target("r")
    assert target is not None
    for old in await kit.get_timeline("r", after_index=target.index):
        await kit.delete_event("r", old.id)
    again = await kit.regenerate_response("r", trigger_id=target.id)
    assert again is not None
    assert (again.blocked, again.event.content.body) == (False, "hi")
    assert [event.content.body for event in again.response_events] == ["two"]
    assert read == ["hi", "one", "two"]
    kit.unsubscribe_websocket("bob", "b1", "r")
    moved = await kit.regenerate_response("r", trigger_id="another")
    assert (moved.blocked, moved.reason, moved.event) == (True, "trigger_moved", None)
    await kit.close_room("r")
    closed = await kit.regenerate_response("r")
    assert (closed.blocked, closed.reason, closed.event) == (True, "room_closed", None)
    with pytest.raises(RoomClosedError):
        await kit.regenerate_target("r")
    await kit.close()


async def test_feedback_is_an_observation() -> None:
    kit, _ = await answered()
    heard: list[Any] = []

    @kit.hook(HookTrigger.ON_FEEDBACK, execution=HookExecution.ASYNC)
    async def rated(observation: Any, context: RoomContext) -> None:
        heard.append(observation)

    @kit.on("feedback")
    async def told(event: FrameworkEvent) -> None:
        heard.append((event.room_id, event.channel_id, event.event_id, event.data))

    await kit.submit_feedback(
        "r", 1.5, event_id="e", channel_id="ai", comment="ok", dimension="tone", metadata={"a": 1}
    )
    (kept,) = await kit.list_observations("r")
    await kit.close()
    assert heard == [kept, ("r", "ai", "e", {"dimension": "tone", "rating": 1.0})]
    assert (kept.content, kept.category) == ("[tone] 1.00: ok", "feedback:tone")
    assert (kept.metadata["type"], kept.metadata["a"]) == ("feedback", 1)


async def test_hooks_are_enabled_for_a_room_by_name() -> None:
    kit, _ = await answered()
    ran: list[str] = []

    @kit.turn_executor.room_hook("audit", HookTrigger.ON_AI_RESPONSE, HookExecution.ASYNC)
    async def audit(event: Any, context: RoomContext) -> None:
        ran.append(context.room.id)

    message = InboundMessage(channel_id="ann", sender_id="ann", content=TextContent(body="hi"))
    await kit.process_inbound(message, room_id="r")
    await kit.enable_room_hook("r", "audit")
    await kit.process_inbound(message, room_id="r")
    assert kit.hooks_for(HookTrigger.ON_AI_RESPONSE).room_hook_names("r") == ["audit"]
    with pytest.raises(ValueError, match="audit"):
        await kit.add_room_hook(
            "r", HookTrigger.BEFORE_BROADCAST, HookExecution.SYNC, audit, name="audit"
        )
    assert await kit.disable_room_hook("r", "audit")
    assert not await kit.disable_room_hook("r", "audit")
    await kit.close()
    assert ran == ["r"]


async def test_an_inbound_result_is_made_without_an_event() -> None:
    assert InboundResult(blocked=True, reason="spam").event is None


async def test_response_metadata_is_a_dict() -> None:
    metadata = ResponseMetadata({"a": 1})
    metadata["b"] = 2
    metadata.update({"c": 3})
    assert dict(metadata) == {"a": 1, "b": 2, "c": 3}


async def test_a_binding_says_whether_it_may_write() -> None:
    binding = ChannelBinding(channel_id="a", room_id="r", channel_type=ChannelType.SMS)
    assert binding.can_write


async def test_a_channel_extracts_the_text_of_an_event() -> None:
    assert WebSocketChannel("ws").extract_text(event("hi")) == "hi"


async def test_a_store_is_filled_by_hand() -> None:
    store = InMemoryStore()
    await store.create_room(Room(id="r"))
    first = await store.add_event_auto_index("r", event("a"))
    second = await store.add_event_auto_index("r", event("b"))
    assert (first.index, second.index) == (0, 1)
    assert await store.get_event_count("r") == 2
