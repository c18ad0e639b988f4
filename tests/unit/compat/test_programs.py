"""Small programs as RoomKit's users write them: they ran with `roomkit` in the place of `salon`.

Nothing here opens a kit, and nothing imports what RoomKit does not have under the same path.
"""
# Like their users' code, these programs take it that a content has a body.
# mypy: disable-error-code="union-attr, operator, arg-type, attr-defined, no-any-return"
# mypy: disable-error-code="override, misc"

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from salon import (
    Access,
    Agent,
    AIChannel,
    Channel,
    ChannelBinding,
    ChannelCapabilities,
    ChannelCategory,
    ChannelOutput,
    ChannelType,
    DeliveryStatus,
    EventSource,
    EventType,
    FrameworkEvent,
    HookExecution,
    HookResult,
    HookTrigger,
    InboundMessage,
    InjectedEvent,
    InMemoryStore,
    RoomContext,
    RoomEvent,
    RoomKit,
    RoomStatus,
    RoomTimers,
    SMSChannel,
    SQLiteStore,
    TextContent,
    WebSocketChannel,
)
from salon.channels import EmailChannel
from salon.channels.websocket import StreamMessage
from salon.core.exceptions import RoomNotFoundError
from salon.identity.mock import MockIdentityResolver
from salon.models import DeleteContent, EditContent, RichContent
from salon.models.channel import RetryPolicy
from salon.models.enums import (
    ChannelDirection,
    ChannelMediaType,
    DeleteType,
    IdentificationStatus,
    ParticipantRole,
    ParticipantStatus,
)
from salon.models.identity import Identity, IdentityHookResult, IdentityResult
from salon.models.task import Observation, Task
from salon.providers.ai.base import AIContext, AIProvider, AIResponse
from salon.providers.ai.mock import MockAIProvider
from salon.providers.email.mock import MockEmailProvider
from salon.providers.sms.meta import extract_sms_meta
from salon.providers.sms.mock import MockSMSProvider
from salon.realtime import EphemeralEvent, EphemeralEventType
from salon.sources import BaseSourceProvider, SourceStatus

EmitCallback = Callable[[InboundMessage], Awaitable[Any]]


class Inbox:
    """What one socket was sent."""

    def __init__(self) -> None:
        self.events: list[RoomEvent] = []
        self.streamed: list[StreamMessage] = []

    async def send(self, connection_id: str, event: RoomEvent) -> None:
        self.events.append(event)

    async def send_stream(self, connection_id: str, message: StreamMessage) -> None:
        self.streamed.append(message)

    @property
    def words(self) -> list[str]:
        return [event.content.body for event in self.events if hasattr(event.content, "body")]


def text(channel_id: str, sender_id: str, body: str, **fields: Any) -> InboundMessage:
    return InboundMessage(
        channel_id=channel_id, sender_id=sender_id, content=TextContent(body=body), **fields
    )


async def furnish(kit: RoomKit, room_id: str, *names: str) -> dict[str, Inbox]:
    """A room with a WebSocket channel and a reader per name."""
    await kit.create_room(room_id=room_id)
    inboxes = {}
    for name in names:
        channel = WebSocketChannel(f"ws-{name}")
        kit.register_channel(channel)
        inboxes[name] = Inbox()
        channel.register_connection(f"{name}-1", inboxes[name].send, room_id=room_id)
        await kit.attach_channel(room_id, f"ws-{name}")
    return inboxes


async def test_quick_start_with_callback_connections() -> None:
    kit = RoomKit()
    seen = await furnish(kit, "demo", "ann", "bob")
    result = await kit.process_inbound(text("ws-ann", "ann", "hello"), room_id="demo")
    assert not result.blocked
    assert result.event is not None
    assert seen["bob"].words == ["hello"]
    assert seen["ann"].words == []
    assert [event.content.body for event in await kit.store.list_events("demo")][-1] == "hello"
    await kit.close()


async def test_an_ai_channel_answers_and_the_answer_streams() -> None:
    kit = RoomKit(store=InMemoryStore())
    inbox = Inbox()
    user = WebSocketChannel("user")
    user.register_connection("c1", inbox.send, room_id="r", stream_send_fn=inbox.send_stream)
    kit.register_channel(user)
    provider = MockAIProvider(responses=["At your service."], streaming=True)
    kit.register_channel(AIChannel("ai", provider=provider, system_prompt="Be brief."))
    await kit.create_room(room_id="r")
    await kit.attach_channel("r", "user")
    await kit.attach_channel("r", "ai", category=ChannelCategory.INTELLIGENCE)
    await kit.process_inbound(text("user", "ann", "are you there?"), room_id="r")
    kinds = [message.type for message in inbox.streamed]
    assert kinds[0] == "stream_start"
    assert kinds[-1] == "stream_end"
    assert "stream_chunk" in kinds
    said = "".join(message.delta for message in inbox.streamed if message.type == "stream_chunk")
    assert said == "At your service."
    assert inbox.words == ["At your service."]
    assert len(provider.calls) == 1
    await kit.close()


async def test_hooks_block_modify_and_inject() -> None:
    kit = RoomKit()
    seen = await furnish(kit, "r", "ann", "bob")
    observed: list[str] = []

    @kit.hook(HookTrigger.BEFORE_BROADCAST, execution=HookExecution.SYNC, priority=0, name="clean")
    async def clean(event: RoomEvent, context: RoomContext) -> HookResult:
        body = event.content.body
        if "password" in body:
            notice = RoomEvent(
                room_id=context.room.id,
                type=EventType.SYSTEM,
                source=EventSource(channel_id="system", channel_type=ChannelType.SYSTEM),
                content=TextContent(body="do not share secrets"),
            )
            return HookResult.block(
                reason="secret",
                injected=[InjectedEvent(event=notice, target_channel_ids=["ws-ann"])],
                tasks=[Task(id=uuid.uuid4().hex, room_id=context.room.id, title="look into it")],
                observations=[
                    Observation(
                        id=uuid.uuid4().hex,
                        room_id=context.room.id,
                        channel_id="ws-ann",
                        content="tried to share a secret",
                        confidence=0.9,
                    )
                ],
            )
        if "4111" in body:
            cleaned = event.model_copy(update={"content": TextContent(body="[number]")})
            return HookResult.modify(cleaned)
        return HookResult.allow()

    @kit.hook(HookTrigger.AFTER_BROADCAST, execution=HookExecution.ASYNC, name="audit")
    async def audit(event: RoomEvent, context: RoomContext) -> None:
        observed.append(event.content.body)

    blocked = await kit.process_inbound(text("ws-ann", "ann", "my password"), room_id="r")
    assert blocked.blocked
    assert blocked.reason == "secret"
    await kit.process_inbound(text("ws-ann", "ann", "4111 1111"), room_id="r")
    await kit.process_inbound(text("ws-ann", "ann", "fine"), room_id="r")
    assert seen["bob"].words == ["[number]", "fine"]
    assert seen["ann"].words == ["do not share secrets"]
    assert [task.title for task in await kit.store.list_tasks("r")] == ["look into it"]
    (observation,) = await kit.store.list_observations("r")
    assert observation.confidence == 0.9
    await kit.close()
    assert observed[-2:] == ["[number]", "fine"]


async def test_two_transports_with_transcoding() -> None:
    kit = RoomKit()
    provider = MockSMSProvider()
    kit.register_channel(SMSChannel("sms", provider=provider, from_number="+15550001"))
    seen = await furnish(kit, "r", "desk")
    await kit.attach_channel("r", "sms", metadata={"phone_number": "+15552222"})
    rich = RichContent(body="**Total** 12", plain_text="Total 12", format="markdown")
    await kit.process_inbound(
        InboundMessage(channel_id="ws-desk", sender_id="desk", content=rich), room_id="r"
    )
    await kit.process_inbound(text("sms", "+15552222", "thanks"), room_id="r")
    assert seen["desk"].words == ["thanks"]
    (sent,) = provider.sent
    assert sent["to"] == "+15552222"
    assert sent["event"].content.body == "Total 12"
    await kit.close()


async def test_a_provider_of_ones_own_that_implements_generate() -> None:
    class Parrot(AIProvider):
        @property
        def model_name(self) -> str:
            return "parrot"

        async def generate(self, context: AIContext) -> AIResponse:
            last = context.messages[-1]
            return AIResponse(content=f"you said: {last.content}", usage={"total_tokens": 3})

    kit = RoomKit()
    seen = await furnish(kit, "r", "ann")
    kit.register_channel(AIChannel("ai", provider=Parrot(), max_context_events=10))
    await kit.attach_channel("r", "ai", category=ChannelCategory.INTELLIGENCE)
    await kit.process_inbound(text("ws-ann", "ann", "polly"), room_id="r")
    assert seen["ann"].words == ["you said: polly"]
    await kit.close()


async def test_an_agent_with_a_role_and_a_tool() -> None:
    asked: list[dict[str, Any]] = []

    async def tools(name: str, arguments: dict[str, Any]) -> str:
        asked.append({"name": name, **arguments})
        return "sunny"

    from salon.providers.ai.base import AIToolCall

    call = AIToolCall(id="t1", name="weather", arguments={"city": "Bern"})
    provider = MockAIProvider(
        ai_responses=[
            AIResponse(content="", tool_calls=[call]),
            AIResponse(content="It is sunny in Bern."),
        ]
    )
    agent = Agent(
        "guide",
        provider=provider,
        role="Travel guide",
        description="Knows the weather",
        scope="Travel only",
        system_prompt="Be kind.",
        tool_handler=tools,
    )
    kit = RoomKit()
    seen = await furnish(kit, "r", "ann")
    kit.register_channel(agent)
    await kit.attach_channel(
        "r",
        "guide",
        category=ChannelCategory.INTELLIGENCE,
        metadata={
            "tools": [
                {"name": "weather", "description": "of a city", "parameters": {"type": "object"}}
            ]
        },
    )
    await kit.process_inbound(text("ws-ann", "ann", "weather in Bern?"), room_id="r")
    assert asked == [{"name": "weather", "city": "Bern"}]
    assert seen["ann"].words == ["It is sunny in Bern."]
    assert "Travel guide" in (provider.calls[0].system_prompt or "")
    await kit.close()


async def test_an_identity_resolver_and_its_hooks() -> None:
    ann = Identity(id="ann", display_name="Ann", phone="+15550100")
    twins = [Identity(id="bo", display_name="Bo"), Identity(id="bob", display_name="Bob")]
    resolver = MockIdentityResolver(mapping={"+15550100": ann}, ambiguous={"+15550200": twins})
    kit = RoomKit(identity_resolver=resolver, identity_channel_types={ChannelType.SMS})
    seen = await furnish(kit, "r", "desk")
    kit.register_channel(SMSChannel("sms", provider=MockSMSProvider()))
    await kit.attach_channel("r", "sms", metadata={"phone_number": "+15550100"})

    @kit.identity_hook(HookTrigger.ON_IDENTITY_AMBIGUOUS)
    async def settle(
        event: RoomEvent, context: RoomContext, found: IdentityResult
    ) -> IdentityHookResult:
        assert [person.id for person in found.candidates] == ["bo", "bob"]
        return IdentityHookResult.pending(display_name="One of the Bos", candidates=twins)

    @kit.identity_hook(HookTrigger.ON_IDENTITY_UNKNOWN, channel_types={ChannelType.SMS})
    async def refuse(
        event: RoomEvent, context: RoomContext, found: IdentityResult
    ) -> IdentityHookResult:
        return IdentityHookResult.reject(reason="no strangers")

    await kit.process_inbound(text("sms", "+15550100", "it is me"), room_id="r")
    await kit.process_inbound(text("sms", "+15550200", "or me"), room_id="r")
    stranger = await kit.process_inbound(text("sms", "+15550300", "hi"), room_id="r")
    assert stranger.blocked
    assert stranger.reason == "no strangers"
    assert seen["desk"].words == ["it is me", "or me"]
    people = {person.id: person for person in await kit.store.list_participants("r")}
    assert people["ann"].identification == IdentificationStatus.IDENTIFIED
    (waiting,) = [one for one in people.values() if one.candidates]
    assert waiting.candidates == ["bo", "bob"]
    assert waiting.identification == IdentificationStatus.PENDING
    await kit.close()


async def test_members_join_are_renamed_and_leave() -> None:
    kit = RoomKit()
    await furnish(kit, "r", "desk")
    joined: list[str] = []

    @kit.hook(HookTrigger.ON_PARTICIPANT_JOINED, execution=HookExecution.ASYNC)
    async def welcome(event: RoomEvent, context: RoomContext) -> None:
        joined.append(event.type)

    ann = await kit.add_member(
        "r", "ws-desk", "ann", display_name="Ann", role=ParticipantRole.OWNER
    )
    assert ann.status == ParticipantStatus.ACTIVE
    await kit.rename_member("r", "ann", "Anna")
    (person,) = await kit.list_members("r")
    assert (person.display_name, person.role) == ("Anna", ParticipantRole.OWNER)
    await kit.remove_member("r", "ann")
    assert [person.id for person in await kit.list_members("r")] == []
    assert len(await kit.list_members("r", include_left=True)) == 1
    await kit.close()
    assert joined == [EventType.PARTICIPANT_JOINED]


async def test_timers_pause_and_close_a_room() -> None:
    kit = RoomKit()
    told: list[str] = []

    @kit.on("room_paused")
    async def paused(event: FrameworkEvent) -> None:
        told.append(f"{event.type}:{event.room_id}")

    await kit.create_room(
        room_id="r", timers=RoomTimers(inactive_after_seconds=0, closed_after_seconds=0)
    )
    first = await kit.check_room_timers("r")
    assert first.status in (RoomStatus.PAUSED, RoomStatus.CLOSED)
    await kit.check_all_timers()
    assert (await kit.get_room("r")).status == RoomStatus.CLOSED
    await kit.close()
    assert told == ["room_paused:r"]


async def test_messages_are_edited_and_deleted() -> None:
    kit = RoomKit()
    await furnish(kit, "r", "ann", "bob")
    first = await kit.process_inbound(text("ws-ann", "ann", "helo"), room_id="r")
    assert first.event is not None
    edit = EditContent(
        target_event_id=first.event.id,
        new_content=TextContent(body="hello"),
        edit_source="sender",
    )
    edited = await kit.process_inbound(
        InboundMessage(
            channel_id="ws-ann", sender_id="ann", content=edit, event_type=EventType.EDIT
        ),
        room_id="r",
    )
    assert not edited.blocked
    stored = await kit.store.get_event(first.event.id)
    assert stored is not None
    assert stored.content.body == "hello"
    assert stored.metadata["edited"] is True
    delete = DeleteContent(target_event_id=first.event.id, delete_type=DeleteType.SENDER)
    foreign = await kit.process_inbound(
        InboundMessage(
            channel_id="ws-bob", sender_id="bob", content=delete, event_type=EventType.DELETE
        ),
        room_id="r",
    )
    assert foreign.reason == "not_original_author"
    deleted = await kit.process_inbound(
        InboundMessage(
            channel_id="ws-ann", sender_id="ann", content=delete, event_type=EventType.DELETE
        ),
        room_id="r",
    )
    assert not deleted.blocked
    stored = await kit.store.get_event(first.event.id)
    assert stored is not None
    assert stored.metadata["deleted"] is True
    await kit.close()


async def test_typing_reactions_and_receipts_pass_by() -> None:
    kit = RoomKit()
    await furnish(kit, "r", "ann")
    got: list[EphemeralEvent] = []
    all_there = asyncio.Event()

    async def listen(event: EphemeralEvent) -> None:
        got.append(event)
        if len(got) == 4:
            all_there.set()

    subscription = await kit.subscribe_room("r", listen)
    event = await kit.send_event("r", "ws-ann", TextContent(body="look"))
    await kit.publish_typing("r", "ann")
    await kit.publish_presence("r", "ann", "online")
    await kit.publish_reaction("r", "bob", event.id, "+1")
    await kit.publish_read_receipt("r", "bob", event.id)
    await asyncio.wait_for(all_there.wait(), 5)
    assert [item.type for item in got] == [
        EphemeralEventType.TYPING_START,
        EphemeralEventType.PRESENCE_ONLINE,
        EphemeralEventType.REACTION,
        EphemeralEventType.READ_RECEIPT,
    ]
    assert got[2].data["emoji"] == "+1"
    assert len(await kit.store.list_events("r")) == len(await kit.get_timeline("r"))
    await kit.unsubscribe_room(subscription)
    await kit.close()


async def test_a_source_feeds_a_channel() -> None:
    class Ticker(BaseSourceProvider):
        @property
        def name(self) -> str:
            return "ticker"

        async def start(self, emit: EmitCallback) -> None:
            self._reset_stop()
            self._set_status(SourceStatus.CONNECTED)
            await emit(text("ws-feed", "market", "up 2 %"))
            self._record_message()
            while not self._should_stop():
                await asyncio.sleep(0.01)

    kit = RoomKit()
    seen = await furnish(kit, "r", "feed", "ann")
    got = asyncio.Event()

    @kit.hook(HookTrigger.AFTER_BROADCAST, execution=HookExecution.ASYNC)
    async def heard(event: RoomEvent, context: RoomContext) -> None:
        got.set()

    await kit.attach_source("ws-feed", Ticker(), auto_restart=False)
    await asyncio.wait_for(got.wait(), 5)
    health = await kit.source_health("ws-feed")
    assert health is not None
    assert health.status == SourceStatus.CONNECTED
    assert list(kit.list_sources()) == ["ws-feed"]
    await kit.detach_source("ws-feed")
    assert "up 2 %" in seen["ann"].words
    await kit.close()


async def test_a_webhook_of_text_messages() -> None:
    kit = RoomKit()
    seen = await furnish(kit, "r", "desk")
    kit.register_channel(SMSChannel("sms", provider=MockSMSProvider()))
    await kit.attach_channel("r", "sms", metadata={"phone_number": "+15552222"})
    reports: list[DeliveryStatus] = []

    @kit.on_delivery_status
    async def report(status: DeliveryStatus) -> None:
        reports.append(status)

    message = extract_sms_meta(
        "twilio",
        {
            "MessageSid": "SM1",
            "From": "+15552222",
            "To": "+15550001",
            "Body": "where is my order?",
            "NumMedia": "0",
            "SmsStatus": "received",
        },
    )
    assert message.is_inbound
    await kit.process_webhook(message, channel_id="sms")
    await kit.process_delivery_status(
        DeliveryStatus(provider="twilio", message_id="SM2", status="delivered", room_id="r")
    )
    assert seen["desk"].words == ["where is my order?"]
    await kit.close()
    assert [(item.message_id, item.status) for item in reports] == [("SM2", "delivered")]


async def test_an_advisor_whispers_to_the_agent_alone() -> None:
    kit = RoomKit()
    seen = await furnish(kit, "r", "customer", "advisor")
    provider = MockAIProvider(responses=["Certainly."])
    kit.register_channel(AIChannel("ai", provider=provider))
    await kit.attach_channel("r", "ai", category=ChannelCategory.INTELLIGENCE)
    await kit.set_visibility("r", "ws-advisor", "ai")
    await kit.mute("r", "ai")
    await kit.process_inbound(text("ws-advisor", "advisor", "offer 10 %"), room_id="r")
    assert seen["customer"].words == []
    await kit.unmute("r", "ai")
    await kit.process_inbound(text("ws-customer", "carl", "any discount?"), room_id="r")
    assert "Certainly." in seen["customer"].words
    said = " ".join(str(message.content) for message in provider.calls[-1].messages)
    assert "offer 10 %" in said
    await kit.close()


async def test_a_channel_of_ones_own() -> None:
    class Pager(Channel):
        channel_type = ChannelType.PUSH
        category = ChannelCategory.TRANSPORT
        direction = ChannelDirection.OUTBOUND

        def __init__(self, channel_id: str) -> None:
            super().__init__(channel_id)
            self.pages: list[str] = []

        def capabilities(self) -> ChannelCapabilities:
            return ChannelCapabilities(media_types=[ChannelMediaType.TEXT], max_length=20)

        async def handle_inbound(self, message: InboundMessage, context: RoomContext) -> RoomEvent:
            raise NotImplementedError

        async def deliver(
            self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
        ) -> ChannelOutput:
            output = ChannelOutput.empty()
            self.pages.append(event.content.body)
            return output

    class Echo(Channel):
        channel_type = ChannelType.AI
        category = ChannelCategory.INTELLIGENCE

        async def handle_inbound(self, message: InboundMessage, context: RoomContext) -> RoomEvent:
            raise NotImplementedError

        async def deliver(
            self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
        ) -> ChannelOutput:
            return ChannelOutput.empty()

        async def on_event(
            self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
        ) -> ChannelOutput:
            if event.source.channel_id == self.channel_id:
                return ChannelOutput.empty()
            answer = RoomEvent(
                room_id=event.room_id,
                source=EventSource(channel_id=self.channel_id, channel_type=self.channel_type),
                content=TextContent(body=f"echo {event.content.body}"),
                chain_depth=event.chain_depth + 1,
            )
            return ChannelOutput(responded=True, response_events=[answer])

    kit = RoomKit()
    pager = Pager("pager")
    kit.register_channel(pager)
    kit.register_channel(Echo("echo"))
    seen = await furnish(kit, "r", "ann")
    await kit.attach_channel("r", "pager", access=Access.READ_ONLY)
    await kit.attach_channel("r", "echo")
    await kit.process_inbound(text("ws-ann", "ann", "hi"), room_id="r")
    assert seen["ann"].words == ["echo hi"]
    assert pager.pages == ["hi", "echo hi"]
    await kit.close()


async def test_a_room_survives_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    kit = RoomKit(store=SQLiteStore(path))
    await furnish(kit, "r", "ann", "bob")
    await kit.process_inbound(text("ws-ann", "ann", "remember me"), room_id="r")
    await kit.close()

    again = RoomKit(store=SQLiteStore(str(path)))
    events = await again.store.list_events("r")
    assert "remember me" in [getattr(event.content, "body", "") for event in events]
    assert (await again.get_room("r")).event_count == len(events)
    try:
        await again.get_room("nowhere")
    except RoomNotFoundError:
        pass
    else:
        raise AssertionError("a room that is not there was found")
    await again.close()


async def test_e_mail_with_a_retry_policy() -> None:
    kit = RoomKit()
    provider = MockEmailProvider()
    kit.register_channel(EmailChannel("mail", provider=provider, from_address="desk@example.org"))
    await furnish(kit, "r", "desk")
    await kit.attach_channel(
        "r",
        "mail",
        metadata={"email_address": "ann@example.org", "subject": "Order 7"},
        retry_policy=RetryPolicy(max_retries=1, base_delay_seconds=0.1),
    )
    await kit.process_inbound(text("ws-desk", "desk", "it is on its way"), room_id="r")
    (sent,) = provider.sent
    assert sent["to"] == "ann@example.org"
    await kit.close()


async def test_a_context_is_made_by_hand_for_a_test_of_a_hook() -> None:
    from salon.models.context import RoomContext as Context
    from salon.models.participant import Participant
    from salon.models.room import Room

    binding = ChannelBinding(
        channel_id="sms", room_id="r", channel_type=ChannelType.SMS, metadata={"phone_number": "+1"}
    )
    context = Context(
        room=Room(id="r"),
        bindings=[binding],
        participants=[Participant(id="ann", room_id="r", channel_id="sms")],
        recent_events=[],
    )
    assert context.get_binding("sms") == binding
    assert context.other_channels("ws") == [binding]
    assert context.channels_by_type(ChannelType.SMS) == [binding]
    result = HookResult(action="allow")
    assert not result.injected_events
    assert ChannelOutput.empty().responded is False
