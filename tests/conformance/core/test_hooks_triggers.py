"""Every trigger of the text core: its mode, when it fires, with what (chapter 14; R155-R168)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    message,
    silent,
    staged,
    stream_of,
    text,
)

from salon.channels.ai import AIChannel
from salon.core.ports.ai import AIResponse, AIToolCall
from salon.core.ports.identity import IdentityResolver
from salon.models import (
    DeleteContent,
    DeliveryStatus,
    EditContent,
    EventSource,
    EventStatus,
    EventType,
    HookExecution,
    HookResult,
    HookTrigger,
    IdentificationStatus,
    InboundMessage,
    InjectedEvent,
    Observation,
    RoomContext,
    RoomEvent,
    RoomTimers,
    Task,
)
from salon.models.identity import Identity, IdentityResult
from salon.providers.mock import MockAIProvider
from salon.providers.tools import tool

T = HookTrigger
SYNC = {
    T.BEFORE_BROADCAST, T.ON_IDENTITY_AMBIGUOUS, T.ON_IDENTITY_UNKNOWN, T.BEFORE_DELIVER,
    T.BEFORE_AI_CONTEXT_BUILD, T.BEFORE_AI_GENERATION, T.BEFORE_TOOL_USE, T.ON_TOOL_CALL,
    T.ON_USER_INPUT_REQUIRED, T.ON_TRANSCRIPTION, T.BEFORE_TTS, T.BEFORE_BRIDGE_AUDIO,
    T.BEFORE_BRIDGE_VIDEO,
}  # fmt: skip


SUPERSEDED = T.ON_REALTIME_TOOL_CALL
"""By ON_TOOL_CALL; nothing fires it."""


@pytest.mark.parametrize("trigger", [item for item in HookTrigger if item is not SUPERSEDED])
def test_R155_every_trigger_has_the_mode_of_the_table(trigger: HookTrigger) -> None:
    assert trigger.is_async is (trigger not in SYNC)


def test_R160_what_fails_closed_is_a_short_list() -> None:
    closed = {trigger for trigger in HookTrigger if trigger.fails_closed}
    assert closed == {T.BEFORE_TTS, T.ON_TRANSCRIPTION, T.BEFORE_TOOL_USE}


def look(city: str) -> str:
    """What the sky is like.

    city: where
    """
    return "rain"


async def talk(stage: Stage) -> RoomEvent:
    await stage.room(RecordingTransport("sms"), RecordingTransport("web"))
    event = (await stage.inbound("sms", "hello")).event
    assert event is not None
    return event


async def an_edit(stage: Stage) -> None:
    target = await talk(stage)
    content = EditContent(target_event_id=target.id, new_content=text("better"))
    await stage.inbound("sms", content=content, event_type=EventType.EDIT)


async def a_delete(stage: Stage) -> None:
    target = await talk(stage)
    content = DeleteContent(target_event_id=target.id)
    await stage.inbound("sms", content=content, event_type=EventType.DELETE)


async def a_direct_update(stage: Stage) -> None:
    target = await talk(stage)
    await stage.kit.update_event(ROOM, target.id, content=text("better"))


async def a_direct_delete(stage: Stage) -> None:
    target = await talk(stage)
    await stage.kit.delete_event(ROOM, target.id)


async def a_detaching(stage: Stage) -> None:
    await talk(stage)
    await stage.kit.detach_channel(ROOM, "web")


async def muting(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.kit.mute(ROOM, "sms")
    await stage.kit.unmute(ROOM, "sms")


async def one_room(stage: Stage) -> None:
    await stage.kit.create_room(ROOM)


async def one_channel(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))


async def a_pause(stage: Stage) -> None:
    await stage.room(timers=RoomTimers(inactive_after_seconds=5))
    await asyncio.sleep(6)
    await stage.kit.check_all_timers()


async def a_closing(stage: Stage) -> None:
    await one_room(stage)
    await stage.kit.close_room(ROOM)


async def a_member(stage: Stage) -> None:
    await one_channel(stage)
    kit = stage.kit
    await kit.store.create_identity(Identity(id="person-ann", display_name="Ann"))
    await kit.add_member(ROOM, "sms", "ann")
    await kit.rename_member(ROOM, "ann", "Anna")
    await kit.resolve_participant(ROOM, "ann", "person-ann")
    await kit.remove_member(ROOM, "ann")


async def a_task(stage: Stage) -> None:
    agent = silent("ai")
    agent.tasks = ["call back"]
    await stage.room(RecordingTransport("sms"), agent)
    await stage.inbound("sms")


async def a_report(stage: Stage) -> None:
    await one_channel(stage)
    status = DeliveryStatus(
        provider="p", message_id="m", status="sent", recipient="r", sender="s", room_id=ROOM
    )
    await stage.kit.process_delivery_status(status)


async def a_rating(stage: Stage) -> None:
    await one_room(stage)
    await stage.kit.submit_feedback(ROOM, 0.5, comment="so so", event_id="e1")


async def a_failing_agent(stage: Stage) -> None:
    agent = ScriptedAgent("ai", lambda event, context: RuntimeError("broken"))
    await stage.room(RecordingTransport("sms"), agent)
    await stage.inbound("sms")


async def a_first_message(stage: Stage) -> None:
    stage.register(RecordingTransport("sms"))
    await stage.kit.process_inbound(message("sms"))


async def an_answer(stage: Stage) -> None:
    call = AIToolCall("1", "look", {"city": "Bonn"})
    thinks = AIResponse(content="", thinking="hm", tool_calls=[call])
    provider = MockAIProvider([thinks, "It rains."])
    await stage.room(RecordingTransport("sms"), AIChannel("ai", provider, tools=[tool(look)]))
    await stage.inbound("sms")


# trigger -> what brings it about, what the payload shows
SCENES: dict[HookTrigger, tuple[Callable[[Stage], Awaitable[Any]], Callable[[Any], Any], Any]] = {
    T.BEFORE_BROADCAST: (talk, lambda p: (p.text, p.type), ("hello", EventType.MESSAGE)),
    T.AFTER_BROADCAST: (talk, lambda p: (p.text, p.status), ("hello", EventStatus.DELIVERED)),
    T.ON_EVENT_UPDATED: (an_edit, lambda p: (p.text, p.type), ("better", EventType.MESSAGE)),
    T.ON_EVENT_DELETED: (a_delete, lambda p: p.type, EventType.MESSAGE),
    T.ON_CHANNEL_ATTACHED: (one_channel, lambda p: p.type, EventType.CHANNEL_ATTACHED),
    T.ON_CHANNEL_DETACHED: (a_detaching, lambda p: p.type, EventType.CHANNEL_DETACHED),
    T.ON_CHANNEL_MUTED: (muting, lambda p: p.type, EventType.CHANNEL_MUTED),
    T.ON_CHANNEL_UNMUTED: (muting, lambda p: p.type, EventType.CHANNEL_UNMUTED),
    T.ON_ROOM_CREATED: (one_room, lambda p: (p.room_id, p.type), (ROOM, EventType.SYSTEM)),
    T.ON_ROOM_PAUSED: (a_pause, lambda p: (p.room_id, p.type), (ROOM, EventType.SYSTEM)),
    T.ON_ROOM_CLOSED: (a_closing, lambda p: (p.room_id, p.type), (ROOM, EventType.SYSTEM)),
    T.ON_PARTICIPANT_JOINED: (a_member, lambda p: p.type, EventType.PARTICIPANT_JOINED),
    T.ON_PARTICIPANT_UPDATED: (a_member, lambda p: p.type, EventType.PARTICIPANT_UPDATED),
    T.ON_PARTICIPANT_IDENTIFIED: (a_member, lambda p: p.type, EventType.PARTICIPANT_IDENTIFIED),
    T.ON_PARTICIPANT_LEFT: (a_member, lambda p: p.type, EventType.PARTICIPANT_LEFT),
    T.ON_TASK_CREATED: (
        a_task,
        lambda p: (p.type, p.metadata["task_title"], bool(p.metadata["task_id"])),
        (EventType.TASK_CREATED, "call back", True),
    ),
    T.ON_DELIVERY_STATUS: (a_report, lambda p: (p.message_id, p.status), ("m", "sent")),
    T.ON_FEEDBACK: (
        a_rating,
        lambda p: (type(p), p.room_id, p.confidence, p.metadata["event_id"]),
        (Observation, ROOM, 0.5, "e1"),
    ),
    T.ON_ERROR: (a_failing_agent, lambda p: "error" in p.metadata, True),
    T.ON_SESSION_STARTED: (a_first_message, lambda p: type(p).__name__, "SessionStartedEvent"),
    T.BEFORE_AI_CONTEXT_BUILD: (an_answer, lambda p: p.text, "hi"),
    T.BEFORE_AI_GENERATION: (an_answer, lambda p: (p.channel_id, p.room_id), ("ai", ROOM)),
    T.ON_AI_THINKING: (an_answer, lambda p: (p.channel_id, p.thinking), ("ai", "hm")),
    T.BEFORE_TOOL_USE: (
        an_answer, lambda p: (p.name, p.arguments, p.result), ("look", {"city": "Bonn"}, None)
    ),
    T.ON_TOOL_CALL: (an_answer, lambda p: (p.name, p.result), ("look", "rain")),
    T.ON_AI_RESPONSE: (
        an_answer, lambda p: (p.response_content, p.tool_calls_count), ("It rains.", 1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("trigger", SCENES)
async def test_R155_R162_each_trigger_fires_once_with_its_payload(
    stage: Stage, trigger: HookTrigger
) -> None:
    scene, shown, expected = SCENES[trigger]
    heard = stage.hear(trigger)
    await scene(stage)
    await stage.settle()
    if trigger is T.AFTER_BROADCAST:
        heard = [event for event in heard if event.type is EventType.MESSAGE]
    assert [shown(payload) for payload in heard] == [expected]


@pytest.mark.parametrize(
    ("trigger", "scene"),
    [(T.ON_EVENT_UPDATED, a_direct_update), (T.ON_EVENT_DELETED, a_direct_delete)],
)
async def test_R155_changes_by_the_host_fire_as_well(
    stage: Stage, trigger: HookTrigger, scene: Callable[[Stage], Awaitable[Any]]
) -> None:
    heard = stage.hear(trigger)
    await scene(stage)
    await stage.settle()
    assert len(heard) == 1


class Asking(IdentityResolver):
    def __init__(self, status: IdentificationStatus) -> None:
        self.status = status

    async def resolve(self, message: InboundMessage, context: RoomContext) -> IdentityResult:
        people = (Identity(id="a"), Identity(id="b"))
        found = people if self.status is IdentificationStatus.AMBIGUOUS else ()
        return IdentityResult(status=self.status, candidates=found)


@pytest.mark.parametrize(
    ("trigger", "status"),
    [
        (T.ON_IDENTITY_AMBIGUOUS, IdentificationStatus.AMBIGUOUS),
        (T.ON_IDENTITY_AMBIGUOUS, IdentificationStatus.PENDING),
        (T.ON_IDENTITY_UNKNOWN, IdentificationStatus.UNKNOWN),
        (T.ON_IDENTITY_UNKNOWN, IdentificationStatus.REJECTED),
    ],
)
async def test_R155_identity_triggers_get_event_and_result(
    trigger: HookTrigger, status: IdentificationStatus
) -> None:
    heard: list[tuple[str | None, IdentificationStatus]] = []
    async with staged(identity_resolver=Asking(status)) as stage:

        @stage.kit.identity_hook(trigger)
        async def note(event: RoomEvent, context: RoomContext, result: IdentityResult) -> None:
            heard.append((event.text, result.status))

        await stage.room(RecordingTransport("sms"))
        await stage.inbound("sms", "hello")
    assert heard == [("hello", status)]


async def test_R162_after_broadcast_is_not_told_of_blocked_injected_or_unbound_events(
    stage: Stage,
) -> None:
    heard = stage.hear(T.AFTER_BROADCAST)
    await stage.room(RecordingTransport("sms"), RecordingTransport("web"))
    system = EventSource(channel_id="system", channel_type="system")
    note = RoomEvent(room_id=ROOM, source=system, content=text("injected"))

    @stage.kit.hook(T.BEFORE_BROADCAST)
    async def refuse(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text == "bad":
            return HookResult.block("no", (InjectedEvent(note, ("sms",)),))
        return HookResult.allow()

    await stage.inbound("sms", "bad")
    await stage.kit.detach_channel(ROOM, "web")
    await stage.inbound("web", "unbound")
    await stage.inbound("sms", "good")
    await stage.settle()
    assert bodies([event for event in heard if event.type is EventType.MESSAGE]) == ["good"]


@pytest.mark.parametrize("trigger", [T.AFTER_BROADCAST, T.BEFORE_BROADCAST])
async def test_R162_lifecycle_records_are_not_broadcast_to_hooks(
    stage: Stage, trigger: HookTrigger
) -> None:
    heard: list[EventType] = []

    async def note(event: RoomEvent, context: RoomContext) -> None:
        heard.append(event.type)

    stage.kit.hook(trigger, HookExecution.ASYNC)(note)
    await talk(stage)
    await stage.settle()
    assert heard == [EventType.MESSAGE]


async def test_R155_before_broadcast_runs_for_streamed_answers_and_injections(
    stage: Stage,
) -> None:
    heard = stage.hear(T.BEFORE_BROADCAST)
    agent = ScriptedAgent("ai", lambda event, context: stream_of("stre", "amed"))
    await stage.room(RecordingTransport("sms"), agent)
    await stage.inbound("sms", "asked")
    await stage.send("sms", "injected", addressed_to=[])
    await stage.settle()
    assert bodies(heard) == ["asked", "streamed", "injected"]


async def test_R161_what_earlier_hooks_injected_is_kept_when_a_later_one_blocks(
    stage: Stage,
) -> None:
    sms = RecordingTransport("sms")
    await stage.room(sms, RecordingTransport("web"))
    system = EventSource(channel_id="system", channel_type="system")

    async def first(event: RoomEvent, context: RoomContext) -> HookResult:
        note = RoomEvent(room_id=ROOM, source=system, content=text("by the way"))
        return HookResult.allow((InjectedEvent(note, ("sms",)),))

    async def second(event: RoomEvent, context: RoomContext) -> HookResult:
        task = Task(room_id=ROOM, title="look into it")
        seen = Observation(room_id=ROOM, channel_id="sms", content="rude")
        return HookResult.block("no", tasks=(task,), observations=(seen,))

    stage.kit.hook(T.BEFORE_BROADCAST, name="first")(first)
    stage.kit.hook(T.BEFORE_BROADCAST, name="second")(second)
    await stage.inbound("sms", "bad")
    await stage.settle()
    assert sms.bodies == ["by the way"]
    assert (await stage.tasks(), await stage.observations()) == (["look into it"], ["rude"])


@pytest.mark.parametrize("what", ["block", "modify"])
def test_R155_a_result_without_what_it_needs_is_invalid(what: str) -> None:
    with pytest.raises(ValueError, match="replacement" if what == "modify" else "reason"):
        HookResult(action=what)  # type: ignore[arg-type]


async def test_R155_the_defaults_of_a_hook_are_those_of_the_rule(stage: Stage) -> None:
    async def fn(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.allow()

    made = stage.kit.add_hook(T.BEFORE_BROADCAST, fn)
    assert (made.execution, made.priority, made.name, made.timeout) == (
        HookExecution.SYNC, 0, "fn", 30.0
    )  # fmt: skip
    assert (made.channel_types, made.channel_ids, made.directions) == (None, None, None)
    assert made.fail_closed is False


async def test_R165_a_global_hook_is_removable_by_name(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    stage.block("no", name="bouncer")
    assert (await stage.inbound("sms")).blocked
    assert stage.kit.hooks.remove("bouncer") is True
    assert stage.kit.hooks.remove("bouncer") is False
    assert not (await stage.inbound("sms")).blocked


async def test_R166_a_hook_that_raises_a_timeout_error_did_not_time_out(stage: Stage) -> None:
    heard = stage.listen("hook_error", "hook_timeout")

    @stage.kit.hook(T.BEFORE_BROADCAST)
    async def asks_a_slow_server(event: RoomEvent, context: RoomContext) -> HookResult:
        raise TimeoutError("the server did not answer")

    await stage.room(RecordingTransport("sms"))
    await stage.inbound("sms")
    await stage.settle()
    assert [event.type for event in heard] == ["hook_error"]


async def test_R272_a_hook_without_the_lock_keeps_the_order_of_arrival(stage: Stage) -> None:
    @stage.kit.hook(T.BEFORE_BROADCAST, needs_lock=False)
    async def slow(event: RoomEvent, context: RoomContext) -> HookResult:
        await asyncio.sleep(3 if event.text == "first" else 0.1)
        return HookResult.allow()

    await stage.room(RecordingTransport("sms"))
    one = stage.start(stage.inbound("sms", "first"))
    await asyncio.sleep(0.01)
    two = stage.start(stage.inbound("sms", "second"))
    async with asyncio.timeout(1), stage.kit.locks.locked(ROOM):
        pass
    await asyncio.gather(one, two)
    assert bodies(await stage.messages()) == ["first", "second"]
