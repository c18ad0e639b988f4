"""Answers come back into the timeline (chapter 13); agents side by side; no deadlock (R128)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.core.kit import RoomKit
from salon.models import (
    AgentResponsePolicy,
    EventSource,
    EventStatus,
    EventType,
    HookResult,
    HookTrigger,
    RoomContext,
    RoomEvent,
    SystemContent,
    Task,
)

from .helpers import (
    PATIENCE,
    ROOM,
    Agent,
    Stream,
    Transport,
    listen,
    message,
    messages,
    room_with,
    text,
    timeline,
    words,
)


async def test_R146_R147_an_answer_is_a_pass_of_its_own(kit: RoomKit) -> None:
    sms, bot = Transport("sms"), Agent("bot")
    bot.claimed_depth = 42
    await room_with(kit, sms, bot)
    hooked: list[tuple[str, int]] = []

    async def look(event: RoomEvent, context: RoomContext) -> HookResult:
        hooked.append((event.source.channel_id, event.chain_depth))
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, look)
    root = await kit.send_event(ROOM, "sms", text("root"), addressed_to=())
    hooked.clear()
    result = await kit.process_inbound(message("sms", parent_event_id=root.id), room_id=ROOM)
    _, question, answer = await messages(kit)
    assert result.event is not None
    assert result.event.id == question.id
    assert hooked == [("sms", 0), ("bot", 1)]
    assert (answer.chain_depth, answer.responds_to) == (1, question.id)
    assert answer.parent_event_id == root.id  # R103
    assert answer.index > question.index
    assert sms.bodies == ["bot: hi"]


async def test_R14_R71_an_answer_cannot_pose_as_another_channels(kit: RoomKit) -> None:
    class Forger(Agent):
        def event(self, room_id: str, body: str) -> RoomEvent:
            source = EventSource(channel_id="sms", channel_type="sms")
            return super().event(room_id, body).model_copy(update={"source": source})

    await room_with(kit, Transport("sms"), Forger("bot"))
    await kit.mute(ROOM, "bot")
    await kit.process_inbound(message("sms"), room_id=ROOM)
    forged = (await messages(kit))[1]
    assert (forged.source.channel_id, forged.blocked_by) == ("bot", "source_muted")


async def test_R148_R149_a_chain_of_two_agents_ends_at_the_limit(kit: RoomKit) -> None:
    a, b = Agent("a", lambda e, c: ["x"]), Agent("b", lambda e, c: None)
    b.script = lambda e, c: ["y"] if e.source.channel_id == "a" else None
    a.script = lambda e, c: ["x"] if e.source.channel_id != "a" else None
    for agent in (a, b):
        agent.extras = {"tasks": (Task(room_id=ROOM, title="t"),)}
    await room_with(kit, Transport("sms"), a, b)
    heard = listen(kit, "chain_depth_exceeded")
    await kit.process_inbound(message("sms"), room_id=ROOM)
    stored = await messages(kit)
    assert [(e.text, e.chain_depth) for e in stored] == [
        ("hi", 0),
        ("x", 1),
        ("y", 2),
        ("x", 3),
        ("y", 4),
        ("x", 5),
    ]
    assert [e.status for e in stored[:5]] == [EventStatus.DELIVERED] * 5
    assert (stored[5].status, stored[5].blocked_by) == (
        EventStatus.BLOCKED,
        "event_chain_depth_limit",
    )
    assert [(e.channel_id, e.data["depth"]) for e in heard] == [("a", 5)]
    assert len(await kit.store.list_tasks(ROOM)) == 2  # each agent's, whatever became of its words
    assert [o.category for o in await kit.store.list_observations(ROOM)] == [
        "event_chain_depth_exceeded"
    ]


@pytest.mark.parametrize("limit", [1, 3])
async def test_R148_R154_the_limit_holds_for_streams_too(limit: int) -> None:
    async with RoomKit(max_chain_depth=limit, shutdown_timeout=0) as kit:
        streams: list[Stream] = []

        def speak(event: RoomEvent, context: RoomContext) -> Any:
            if event.source.channel_id == "a" and len(streams) % 2:
                streams.append(Stream("b"))
            else:
                streams.append(Stream("a"))
            return streams[-1]()

        await room_with(kit, Transport("sms"), Agent("a", speak), Agent("b", speak))
        await kit.send_event(ROOM, "sms", text("hi"), addressed_to=("a",))
        stored = await messages(kit)
        assert max(e.chain_depth for e in stored) == limit
        assert [e.status for e in stored if e.chain_depth < limit] == [
            EventStatus.DELIVERED
        ] * limit
        assert [e.blocked_by for e in stored if e.chain_depth == limit] == [
            "event_chain_depth_limit"
        ]
        assert streams[-1].given == []  # the refused answer was not even generated


async def test_R91_addressed_only_agents_leave_each_other_alone(kit: RoomKit) -> None:
    a, b = Agent("a"), Agent("b")
    await room_with(kit, Transport("sms"), a, b)
    room = await kit.get_room(ROOM)
    assert room is not None
    room.agent_response_policy = AgentResponsePolicy.ADDRESSED_ONLY
    await kit.store.update_room(room)
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert await words(kit) == [
        ("hi", "delivered"),
        ("a: hi", "delivered"),
        ("b: hi", "delivered"),
    ]
    room.agent_response_policy = AgentResponsePolicy.AGENT_CHAIN
    await kit.store.update_room(room)
    await kit.process_inbound(message("sms", addressed_to=["a"]), room_id=ROOM)
    assert max(e.chain_depth for e in await messages(kit)) == 5


async def test_R151_a_flood_of_answers_is_capped() -> None:
    async with RoomKit(max_chain_depth=1 + 1, shutdown_timeout=0) as kit:
        bot = Agent("bot", lambda e, c: [str(n) for n in range(25)])
        await room_with(kit, Transport("sms"), bot)
        await kit.process_inbound(message("sms"), room_id=ROOM)
        stored = (await messages(kit))[1:]
        assert [e.blocked_by for e in stored] == [None] * 20 + ["reentry_loop_cap"] * 5


async def test_R152_answers_go_where_the_question_says(kit: RoomKit) -> None:
    sms, web = Transport("sms"), Transport("web")
    await room_with(kit, sms, web, Agent("bot"))
    await kit.process_inbound(message("sms", response_visibility="web"), room_id=ROOM)
    assert (sms.bodies, web.bodies) == ([], ["hi", "bot: hi"])


async def test_R153_an_answer_of_an_agent_that_left_is_stored_refused(kit: RoomKit) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    class Slow(Agent):
        async def on_event(self, *args: Any, **named: Any) -> Any:
            asked.set()
            await go.wait()
            return await super().on_event(*args, **named)

    sms = Transport("sms")
    await room_with(kit, sms, Slow("bot"))
    call = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
    await asked.wait()
    await kit.detach_channel(ROOM, "bot")
    go.set()
    await asyncio.wait_for(call, PATIENCE)
    assert await words(kit) == [("hi", "delivered"), ("bot: hi", "source_unbound")]
    assert sms.bodies == []


async def test_agents_of_a_room_answer_in_parallel_and_each_in_order(kit: RoomKit) -> None:
    slow_go = asyncio.Event()
    slow = Agent("slow", lambda e, c: Stream(slow_go, f"slow {e.text}")())
    quick = Agent("quick", lambda e, c: Stream(f"quick {e.text}")())
    sms = Transport("sms")
    await room_with(kit, sms, slow, quick)
    room = await kit.get_room(ROOM)
    assert room is not None
    room.agent_response_policy = AgentResponsePolicy.ADDRESSED_ONLY
    await kit.store.update_room(room)
    done = asyncio.Event()
    kit.on_commit(lambda e: done.set() if e.text == "quick two" else None)
    for body in ("one", "two"):
        await kit.process_inbound(message("sms", body), room_id=ROOM, detached=True)
    await asyncio.wait_for(done.wait(), PATIENCE)
    assert [e.text for e in slow.asked] == ["one"]  # the next question waits for its answer
    slow_go.set()
    await asyncio.wait_for(kit.idle(ROOM), PATIENCE)
    bodies = [e.text for e in await messages(kit)]
    assert bodies.index("slow one") < bodies.index("slow two")
    assert "slow one" in [e.text for e in slow.contexts[1].recent_events]


async def test_R142_an_agent_that_raises_is_reported_and_touches_nobody(kit: RoomKit) -> None:
    def fail(event: RoomEvent, context: RoomContext) -> Any:
        raise ValueError("secret detail")

    web, good = Transport("web"), Agent("good")
    await room_with(kit, Transport("sms"), web, Agent("bad", fail), good)
    await kit.set_visibility(ROOM, "good", "transport")
    errors: list[RoomEvent] = []

    async def on_error(event: RoomEvent, context: RoomContext) -> None:
        errors.append(event)

    kit.add_hook(HookTrigger.ON_ERROR, on_error)
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert isinstance(result.error, ValueError)
    assert not result.blocked
    note = next(e for e in await timeline(kit) if e.type is EventType.SYSTEM)
    assert isinstance(note.content, SystemContent)
    assert (note.content.code, note.source.channel_id) == ("agent_failed", "system")
    assert "secret" not in note.model_dump_json()
    assert (note.metadata["error_type"], note.metadata["channel_id"]) == ("ValueError", "bad")
    assert [e.id for e in errors] == [note.id]
    assert {e.id for e in web.got} >= {note.id}
    assert ("good: hi", "delivered") in await words(kit)


@pytest.mark.parametrize("trigger", [HookTrigger.BEFORE_BROADCAST, HookTrigger.AFTER_BROADCAST])
async def test_R128_a_hook_may_send(kit: RoomKit, trigger: HookTrigger) -> None:
    await room_with(kit, Transport("sms"), Agent("bot"))
    sent = asyncio.Event()

    async def also(event: RoomEvent, context: RoomContext) -> HookResult:
        if event.text == "hi" and not sent.is_set():
            sent.set()
            await kit.process_inbound(message("sms", "also"), room_id=ROOM)
            await kit.send_event(ROOM, "sms", text("and"))
        return HookResult.allow()

    kit.add_hook(trigger, also)
    await asyncio.wait_for(kit.process_inbound(message("sms"), room_id=ROOM), PATIENCE)
    await asyncio.wait_for(sent.wait(), PATIENCE)
    await kit.idle(ROOM)
    assert {body for body, _ in await words(kit)} >= {"hi", "also", "bot: hi"}


async def test_R128_a_transport_may_send_while_it_delivers(kit: RoomKit) -> None:
    web = Transport("web")
    await room_with(kit, Transport("sms"), web, Agent("bot"))

    async def echo(event: RoomEvent) -> None:
        if event.text == "hi":
            await kit.process_inbound(message("web", "seen"), room_id=ROOM)

    web.on_delivery = echo
    result = await asyncio.wait_for(kit.process_inbound(message("sms"), room_id=ROOM), PATIENCE)
    assert result.delivery_results["web"].status == "sent"
    await kit.idle(ROOM)
    assert ("bot: seen", "delivered") in await words(kit)


async def test_R128_an_agent_may_send_while_it_answers(kit: RoomKit) -> None:
    class Chatty(Agent):
        async def on_event(self, event: RoomEvent, *rest: Any) -> Any:
            if event.text == "hi":
                await kit.send_event(ROOM, "bot", text("one moment"))
                await kit.process_inbound(message("sms", "still there"), room_id=ROOM)
            return await super().on_event(event, *rest)

    sms = Transport("sms")
    await room_with(kit, sms, Chatty("bot"))
    await asyncio.wait_for(kit.process_inbound(message("sms"), room_id=ROOM), PATIENCE)
    await kit.idle(ROOM)
    assert sms.bodies == ["one moment", "bot: hi", "bot: still there"]


async def test_R128_a_call_under_the_lock_returns_at_the_commit(kit: RoomKit) -> None:
    web = Transport("web")
    await room_with(kit, Transport("sms"), web, Agent("bot"))
    async with kit.locks.locked(ROOM):
        result = await asyncio.wait_for(kit.process_inbound(message("sms"), room_id=ROOM), PATIENCE)
        assert not result.blocked
    await kit.idle(ROOM)
    assert web.bodies == ["hi", "bot: hi"]


async def test_stage_18_a_call_waits_for_every_answer_it_led_to(kit: RoomKit) -> None:
    go = asyncio.Event()
    bot = Agent("bot", lambda e, c: Stream("thinking ", go, "done")())
    sms = Transport("sms")
    await room_with(kit, sms, bot)
    call = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
    while not bot.asked:
        await asyncio.sleep(0)
    assert not call.done()
    go.set()
    await asyncio.wait_for(call, PATIENCE)
    assert sms.bodies == ["thinking done"]


async def test_an_agent_that_says_nothing_leaves_nothing(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"), Agent("bot", lambda e, c: None))
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert await words(kit) == [("hi", "delivered")]


async def test_an_agent_is_not_asked_in_a_room_that_is_gone(kit: RoomKit) -> None:
    other, bot = Transport("other"), Agent("bot")
    other.hold = asyncio.Event()
    await room_with(kit, Transport("sms"), other, bot)
    call = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
    while not await words(kit):
        await asyncio.sleep(0)
    await kit.store.delete_room(ROOM)
    other.hold.set()
    await asyncio.wait_for(call, PATIENCE)
    assert bot.asked == []


async def test_R128_a_task_that_outlives_its_lane_waits_like_any_other(kit: RoomKit) -> None:
    class Spawning(Transport):
        later: asyncio.Task[Any] | None = None

        async def deliver(self, event: Any, binding: Any, context: Any) -> Any:
            if self.later is None:
                self.later = asyncio.create_task(self.reply())
            return await super().deliver(event, binding, context)

        async def reply(self) -> Any:
            await asyncio.sleep(60)
            return await kit.process_inbound(message(self.channel_id, "late"), room_id=ROOM)

    other = Spawning("other")
    await room_with(kit, Transport("sms"), other)
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert other.later is not None
    result = await other.later
    assert result.delivery_results["sms"].status == "sent"
