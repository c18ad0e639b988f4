"""Who may write, who sees what (chapter 8; R70-R84)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.conformance.core.stage import (
    ROOM,
    LiveScreen,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    silent,
    stream_of,
)

from salon.models import (
    Access,
    ChannelBinding,
    ChannelOutput,
    EventStatus,
    HookResult,
    HookTrigger,
    Observation,
    RoomContext,
    RoomEvent,
    Task,
)

# access, muted, receives, why its own events are refused (None: they are not)
TABLE = [
    (Access.READ_WRITE, False, True, None),
    (Access.READ_WRITE, True, True, "source_muted"),
    (Access.READ_ONLY, False, True, "source_read_only"),
    (Access.READ_ONLY, True, True, "source_read_only"),
    (Access.WRITE_ONLY, False, False, None),
    (Access.WRITE_ONLY, True, False, "source_muted"),
    (Access.NONE, False, False, "source_read_only"),
    (Access.NONE, True, False, "source_read_only"),
]
ROWS = [f"{access.value}-{'muted' if muted else 'open'}" for access, muted, *_ in TABLE]
table = pytest.mark.parametrize(("access", "muted", "receives", "refusal"), TABLE, ids=ROWS)


@table
async def test_R70_who_may_read_receives(
    stage: Stage, access: Access, muted: bool, receives: bool, refusal: str | None
) -> None:
    subject = RecordingTransport("subject")
    await stage.room(RecordingTransport("other"))
    stage.register(subject)
    await stage.kit.attach_channel(ROOM, "subject", access=access, muted=muted)
    await stage.inbound("other", "hello")
    await stage.settle()
    expected = ["hello"] if receives else []
    assert (subject.bodies, bodies(subject.told)) == (expected, expected)


@table
@pytest.mark.parametrize("way", ["inbound", "send_event"])
async def test_R71_who_may_write_is_broadcast_and_others_are_stored_blocked(
    stage: Stage, way: str, access: Access, muted: bool, receives: bool, refusal: str | None
) -> None:
    other = RecordingTransport("other")
    blocked = stage.listen("event_blocked")
    await stage.room(other)
    stage.register(RecordingTransport("subject"))
    await stage.kit.attach_channel(ROOM, "subject", access=access, muted=muted)
    if way == "inbound":
        result = await stage.inbound("subject", "hello")
        assert (result.blocked, result.reason) == (refusal is not None, refusal)
    else:
        event = await stage.send("subject", "hello")
        assert event.blocked_by == refusal
    await stage.settle()
    assert await stage.said() == [("hello", refusal or "delivered")]
    assert other.bodies == ([] if refusal else ["hello"])
    assert len(blocked) == (1 if refusal else 0)


@table
async def test_R71_R72_responses_are_suppressed_side_effects_are_not(
    stage: Stage, access: Access, muted: bool, receives: bool, refusal: str | None
) -> None:
    sms, agent = RecordingTransport("sms"), ScriptedAgent("ai")
    agent.tasks, agent.observations = ["task"], ["seen"]
    await stage.room(sms)
    stage.register(agent)
    await stage.kit.attach_channel(ROOM, "ai", access=access, muted=muted)
    await stage.inbound("sms", "hello")
    await stage.settle()
    said = [("hello", "delivered")]
    if receives:
        said.append(("ai: hello", refusal or "delivered"))
    assert await stage.said() == said
    assert agent.heard == (["hello"] if receives else [])
    assert sms.bodies == (["ai: hello"] if receives and refusal is None else [])
    assert await stage.tasks() == (["task"] if receives else [])
    assert await stage.observations() == (["seen"] if receives else [])


@table
async def test_R72_hooks_on_a_refused_event_still_leave_their_side_effects(
    stage: Stage, access: Access, muted: bool, receives: bool, refusal: str | None
) -> None:
    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def note(event: RoomEvent, context: RoomContext) -> HookResult:
        task = Task(room_id=ROOM, title="task")
        seen = Observation(room_id=ROOM, channel_id="subject", content="seen")
        return HookResult(tasks=(task,), observations=(seen,))

    await stage.room()
    stage.register(RecordingTransport("subject"))
    await stage.kit.attach_channel(ROOM, "subject", access=access, muted=muted)
    await stage.inbound("subject")
    await stage.settle()
    assert (await stage.tasks(), await stage.observations()) == (["task"], ["seen"])


async def test_R72_side_effects_of_a_transport_are_kept_too(stage: Stage) -> None:
    watcher = RecordingTransport("watcher")
    watcher.reaction = ChannelOutput(tasks=(Task(room_id=ROOM, title="look"),))
    await stage.room(RecordingTransport("sms"))
    stage.register(watcher)
    await stage.kit.attach_channel(ROOM, "watcher", access=Access.READ_ONLY, muted=True)
    await stage.inbound("sms")
    await stage.settle()
    assert await stage.tasks() == ["look"]


async def test_R74_nobody_receives_their_own_event(stage: Stage) -> None:
    sms, agent = RecordingTransport("sms"), ScriptedAgent("ai")
    await stage.room(sms, agent)
    await stage.inbound("sms", "hello")
    await stage.send("ai", "news")
    await stage.settle()
    assert "hello" not in sms.bodies
    assert agent.heard == ["hello"]


async def test_R75_a_muted_stream_is_dropped_without_being_generated(stage: Stage) -> None:
    generated: list[str] = []

    async def words() -> AsyncIterator[str]:
        generated.append("began")
        yield "a"

    agent = ScriptedAgent("ai", lambda *_: words())
    await stage.room(LiveScreen("web"), agent)
    await stage.kit.mute(ROOM, "ai")
    await stage.inbound("web", "hello")
    await stage.settle()
    assert agent.heard == ["hello"]
    assert generated == []


async def test_R76_output_mute_suppresses_deliver_and_keeps_on_event(stage: Stage) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    await stage.kit.mute_output(ROOM, "web")
    await stage.inbound("sms", "hello")
    await stage.settle()
    assert (bodies(web.told), web.bodies) == (["hello"], [])
    await stage.kit.unmute_output(ROOM, "web")
    await stage.inbound("sms", "again")
    await stage.settle()
    assert web.bodies == ["again"]


# visibility -> who of (listed transport, other transport, listed agent, other agent) sees it
SCOPES = {
    "all": {"t1", "t2", "a1", "a2"},
    "none": set(),
    "transport": {"t1", "t2"},
    "intelligence": {"a1", "a2"},
    "internal": set(),
    "t1": {"t1"},
    "t1,a1": {"t1", "a1"},
    " t1 , a1 ": {"t1", "a1"},
}
scopes = pytest.mark.parametrize(("scope", "seen_by"), SCOPES.items(), ids=list(SCOPES))


async def audience(stage: Stage) -> dict[str, RecordingTransport | ScriptedAgent]:
    everybody: dict[str, RecordingTransport | ScriptedAgent] = {
        "t1": RecordingTransport("t1"),
        "t2": RecordingTransport("t2"),
        "a1": silent("a1"),
        "a2": silent("a2"),
    }
    await stage.room(RecordingTransport("source"), *everybody.values())
    return everybody


def reached(everybody: dict[str, RecordingTransport | ScriptedAgent], body: str) -> set[str]:
    return {
        name
        for name, channel in everybody.items()
        if body in (channel.heard if isinstance(channel, ScriptedAgent) else channel.bodies)
    }


@scopes
async def test_R73_the_bindings_visibility_decides_who_sees_it(
    stage: Stage, scope: str, seen_by: set[str]
) -> None:
    everybody = await audience(stage)
    await stage.kit.set_visibility(ROOM, "source", scope)
    await stage.inbound("source", "words")
    await stage.settle()
    assert reached(everybody, "words") == seen_by


@scopes
async def test_R77_R78_the_events_own_visibility_narrows(
    stage: Stage, scope: str, seen_by: set[str]
) -> None:
    everybody = await audience(stage)
    await stage.inbound("source", "words", visibility=scope)
    await stage.settle()
    assert reached(everybody, "words") == seen_by


async def test_R77_an_event_never_reaches_further_than_its_source(stage: Stage) -> None:
    everybody = await audience(stage)
    await stage.kit.set_visibility(ROOM, "source", "t1,a1")
    await stage.inbound("source", "words", visibility="transport")
    await stage.settle()
    assert reached(everybody, "words") == {"t1"}


@scopes
async def test_R80_R79_rebuilt_history_obeys_visibility(
    stage: Stage, scope: str, seen_by: set[str]
) -> None:
    await audience(stage)
    await stage.inbound("source", "secret", visibility=scope)
    await stage.inbound("source", "later")
    await stage.settle()
    for name in ("t1", "t2", "a1", "a2"):
        history = bodies(await stage.kit.history(ROOM, name))
        assert ("secret" in history) == (name in seen_by), name


@pytest.mark.parametrize("scope", ["none", "transport", "t1"])
async def test_R80_an_agents_context_has_no_hidden_turns(stage: Stage, scope: str) -> None:
    everybody = await audience(stage)
    await stage.inbound("source", "secret", visibility=scope)
    await stage.inbound("source", "later")
    await stage.settle()
    agent = everybody["a1"]
    assert isinstance(agent, ScriptedAgent)
    assert agent.heard == ["later"]
    assert "secret" not in bodies(await stage.kit.history(ROOM, "a1"))


async def test_R81_a_channel_sees_its_own_events_in_its_history(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), ScriptedAgent("ai"))
    await stage.kit.set_visibility(ROOM, "ai", "none")
    await stage.inbound("sms", "hello")
    await stage.settle()
    assert bodies(await stage.kit.history(ROOM, "ai")) == ["hello", "ai: hello"]
    assert bodies(await stage.kit.history(ROOM, "sms")) == ["hello"]


async def test_R82_hooks_read_the_timeline_whole(stage: Stage) -> None:
    seen: list[list[str | None]] = []

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def look(event: RoomEvent, context: RoomContext) -> HookResult:
        seen.append(bodies(context.recent_events))
        return HookResult.allow()

    await stage.room(RecordingTransport("sms"))
    await stage.inbound("sms", "secret", visibility="none")
    await stage.inbound("sms", "later")
    assert seen[-1] == ["secret"]


async def test_R80_refused_events_are_in_nobodys_history(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), silent("ai"))
    stage.block()
    await stage.inbound("sms", "refused")
    assert bodies(await stage.kit.history(ROOM, "ai")) == []
    assert bodies(await stage.kit.history(ROOM, "sms")) == []
    (stored,) = await stage.messages()
    assert stored.status is EventStatus.BLOCKED


async def test_R83_widening_a_binding_does_not_widen_its_past(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), silent("ai"))
    await stage.kit.set_visibility(ROOM, "sms", "transport")
    await stage.inbound("sms", "before")
    await stage.kit.set_visibility(ROOM, "sms", "all")
    await stage.inbound("sms", "after")
    await stage.kit.detach_channel(ROOM, "sms")
    assert bodies(await stage.kit.history(ROOM, "ai")) == ["after"]


async def test_R84_a_detached_source_leaves_its_history_readable(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), silent("ai"))
    await stage.inbound("sms", "open")
    await stage.inbound("sms", "hidden", visibility="transport")
    await stage.kit.detach_channel(ROOM, "sms")
    assert bodies(await stage.kit.history(ROOM, "ai")) == ["open"]


async def test_R84_a_reader_without_a_binding_sees_only_its_own(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"), ScriptedAgent("ai"))
    await stage.inbound("sms", "hello")
    await stage.settle()
    await stage.kit.detach_channel(ROOM, "ai")
    assert bodies(await stage.kit.history(ROOM, "ai")) == ["ai: hello"]


async def test_R73_R80_a_whisper_stays_between_its_channels(stage: Stage) -> None:
    customer, advisor = RecordingTransport("customer"), RecordingTransport("advisor")
    await stage.room(customer, advisor, ScriptedAgent("ai"))
    await stage.kit.set_visibility(ROOM, "ai", "advisor")
    await stage.inbound("customer", "hello")
    await stage.settle()
    assert customer.bodies == []
    assert advisor.bodies == ["hello", "ai: hello"]
    assert bodies(await stage.kit.history(ROOM, "customer")) == ["hello"]


async def test_R71_a_refused_stream_is_refused_like_an_answer(stage: Stage) -> None:
    web = LiveScreen("web")
    await stage.room(web)
    stage.register(ScriptedAgent("ai", lambda *_: stream_of("a", "b")))
    binding: ChannelBinding = await stage.kit.attach_channel(ROOM, "ai", access=Access.READ_ONLY)
    assert binding.access is Access.READ_ONLY
    await stage.inbound("web", "hello")
    await stage.settle()
    assert web.deltas == []
    assert web.bodies == []
