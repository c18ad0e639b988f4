"""Hooks: order, decisions, failures, filters (chapter 14)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.core.hooks import HookRegistration, HookRegistry
from salon.core.kit import RoomKit
from salon.models import (
    ChannelDirection,
    ChannelType,
    EventType,
    HookExecution,
    HookResult,
    HookTrigger,
    InjectedEvent,
    Observation,
    Room,
    RoomContext,
    RoomEvent,
    Task,
)

from .helpers import (
    PATIENCE,
    ROOM,
    Agent,
    Transport,
    listen,
    message,
    messages,
    room_with,
    text,
    words,
)

CONTEXT = RoomContext(Room(id=ROOM))
BEFORE = HookTrigger.BEFORE_BROADCAST


def saying(log: list[str], name: str, result: Any = None) -> Any:
    async def fn(payload: Any, context: RoomContext) -> Any:
        log.append(name)
        return HookResult.allow() if result is None else result

    fn.__name__ = name
    return fn


async def test_R155_priority_then_global_then_age() -> None:
    log: list[str] = []
    hooks = HookRegistry()
    hooks.add(BEFORE, saying(log, "room"), room_id=ROOM)
    hooks.add(BEFORE, saying(log, "elsewhere"), room_id="other")
    hooks.add(BEFORE, saying(log, "late"), priority=5)
    hooks.add(BEFORE, saying(log, "one"))
    hooks.add(BEFORE, saying(log, "two"))
    hooks.add(BEFORE, saying(log, "early"), priority=-1)
    await hooks.decide(BEFORE, "x", CONTEXT)
    assert log == ["early", "one", "two", "room", "late"]


async def test_R156_R161_a_block_ends_the_chain_and_keeps_what_came_before() -> None:
    log: list[str] = []
    hooks = HookRegistry()
    task = Task(room_id=ROOM, title="t")
    seen = Observation(room_id=ROOM, channel_id="c", content="o")
    hooks.add(BEFORE, saying(log, "first", HookResult(tasks=(task,))))
    hooks.add(BEFORE, saying(log, "no", HookResult.block("rude", observations=(seen,))))
    hooks.add(BEFORE, saying(log, "never"))
    outcome = await hooks.decide(BEFORE, "x", CONTEXT)
    assert log == ["first", "no"]
    assert (outcome.blocked, outcome.blocked_by, outcome.reason) == (True, "no", "rude")
    assert (outcome.tasks, outcome.observations) == ([task], [seen])


async def test_R157_each_hook_gets_what_the_one_before_left_falsy_values_too() -> None:
    got: list[str] = []

    async def more(payload: str, context: RoomContext) -> HookResult:
        got.append(payload)
        return HookResult.modify(payload + "!")

    async def empty(payload: str, context: RoomContext) -> HookResult:
        got.append(payload)
        return HookResult.modify("")

    hooks = HookRegistry()
    hooks.add(HookTrigger.BEFORE_TTS, more)
    hooks.add(HookTrigger.BEFORE_TTS, empty)
    hooks.add(HookTrigger.BEFORE_TTS, more)
    outcome = await hooks.decide(HookTrigger.BEFORE_TTS, "a", CONTEXT)
    assert (got, outcome.payload) == (["a", "a!", ""], "!")


async def raising(payload: Any, context: RoomContext) -> HookResult:
    raise ValueError("bug")


async def hanging(payload: Any, context: RoomContext) -> HookResult:
    await asyncio.Event().wait()
    return HookResult.allow()


async def returning_rubbish(payload: Any, context: RoomContext) -> Any:
    return True


async def returning_nothing(payload: Any, context: RoomContext) -> None:
    return None


async def wrong_type(payload: Any, context: RoomContext) -> HookResult:
    return HookResult.modify(42)


BROKEN = [
    (raising, "hook_error"),
    (hanging, "hook_timeout"),
    (returning_rubbish, "hook_invalid_result"),
    (returning_nothing, "hook_invalid_result"),
    (wrong_type, "hook_invalid_result"),
]


@pytest.mark.parametrize(("fn", "kind"), BROKEN)
@pytest.mark.parametrize(
    ("trigger", "closed"),
    [
        (BEFORE, False),
        (HookTrigger.BEFORE_TTS, True),
        (HookTrigger.ON_TRANSCRIPTION, True),
    ],
)
async def test_R159_R160_a_broken_hook(fn: Any, kind: str, trigger: Any, closed: bool) -> None:
    told: list[tuple[str, str]] = []
    hooks = HookRegistry(lambda hook, kind, words: told.append((hook.name, kind)))
    hooks.add(trigger, fn, timeout=0.01)
    outcome = await hooks.decide(trigger, "words", CONTEXT)
    assert (outcome.blocked, outcome.payload) == (closed, "words")
    assert outcome.reason == (f"{kind}:{fn.__name__}" if closed else None)
    assert told == [(fn.__name__, kind)]


@pytest.mark.parametrize(("fn", "kind"), BROKEN)
async def test_R159_a_broken_hook_lets_a_message_pass(kit: RoomKit, fn: Any, kind: str) -> None:
    await room_with(kit, Transport("sms"))
    heard = listen(kit, kind)
    kit.add_hook(BEFORE, fn, timeout=0.01)
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert not result.blocked
    assert [e.data["hook_name"] for e in heard] == [fn.__name__]


async def test_AMB24_a_hook_may_fail_closed_anywhere(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    kit.add_hook(BEFORE, raising, name="filter", fail_closed=True)
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert (result.blocked, result.reason) == (True, "hook_error:filter")


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({}, True),
        ({"channel_ids": ["sms"]}, True),
        ({"channel_ids": ["web"]}, False),
        ({"channel_types": [ChannelType.SMS]}, True),
        ({"channel_types": ["sms", "email"]}, True),
        ({"channel_types": [ChannelType.EMAIL]}, False),
        ({"directions": [ChannelDirection.INBOUND]}, True),
        ({"directions": [ChannelDirection.OUTBOUND]}, False),
        ({"channel_ids": ["sms"], "directions": [ChannelDirection.OUTBOUND]}, False),
        ({"room_id": ROOM}, True),
        ({"room_id": "other"}, False),
    ],
)
async def test_R164_filters(kit: RoomKit, options: dict[str, Any], runs: bool) -> None:
    log: list[str] = []
    await room_with(kit, Transport("sms"))
    kit.add_hook(BEFORE, saying(log, "hook"), **options)
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert bool(log) is runs


async def test_R164_filters_do_not_apply_to_payloads_without_a_source() -> None:
    log: list[str] = []
    hooks = HookRegistry()
    hooks.add(HookTrigger.BEFORE_TTS, saying(log, "hook"), channel_ids=["sms"])
    await hooks.decide(HookTrigger.BEFORE_TTS, "words", CONTEXT)
    assert log == ["hook"]


async def test_R165_hooks_are_removed_by_name(kit: RoomKit) -> None:
    log: list[str] = []
    kit.add_hook(BEFORE, saying(log, "a"), name="x")
    kit.add_hook(BEFORE, saying(log, "b"), name="x", room_id=ROOM)
    assert kit.hooks.remove("x")
    assert not kit.hooks.remove("x")
    await kit.hooks.decide(BEFORE, "p", CONTEXT)
    assert log == ["b"]
    assert kit.hooks.remove("x", room_id=ROOM)
    assert not kit.hooks.wants(BEFORE, ROOM)


async def test_R123_the_last_version_is_committed_and_delivered(kit: RoomKit) -> None:
    web = Transport("web")
    await room_with(kit, Transport("sms"), web)

    async def soften(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.modify(
            event.model_copy(
                update={"content": text("dear"), "room_id": "elsewhere", "chain_depth": 3}
            )
        )

    kit.add_hook(BEFORE, soften)
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert result.event is not None
    assert (result.event.text, result.event.room_id, result.event.chain_depth) == ("dear", ROOM, 0)
    assert web.bodies == ["dear"]


async def test_R121_R122_R143_R144_what_a_block_leaves(kit: RoomKit) -> None:
    sms, web, advisor = Transport("sms"), Transport("web"), Transport("advisor")
    bot = Agent("bot")
    await room_with(kit, sms, web, advisor, bot)
    after: list[str] = []
    kit.add_hook(HookTrigger.AFTER_BROADCAST, saying(after, "after"), channel_ids=["sms"])
    blocked = listen(kit, "event_blocked")
    processed = listen(kit, "event_processed")

    async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
        def note(body: str) -> RoomEvent:
            return RoomEvent(room_id="any", source=event.source, content=text(body))

        return HookResult.block(
            "number",
            injected=(
                InjectedEvent(note("do not send numbers"), ("sms",)),
                InjectedEvent(note("a number came"), ("advisor", "bot", "ghost")),
                InjectedEvent(note("kept")),
            ),
            tasks=(Task(room_id=ROOM, title="call"),),
            observations=(Observation(room_id=ROOM, channel_id="sms", content="number"),),
        )

    kit.add_hook(BEFORE, guard)
    result = await kit.process_inbound(message("sms", "123"), room_id=ROOM)
    await kit.idle(ROOM)
    assert (result.blocked, result.reason) == (True, "number")
    assert result.event is not None
    assert result.event.blocked_by == "guard"
    assert await words(kit) == [
        ("123", "guard"),
        ("do not send numbers", "delivered"),
        ("a number came", "delivered"),
        ("kept", "delivered"),
    ]
    indices = [e.index for e in await messages(kit)]
    assert indices == sorted(set(indices))
    assert (sms.bodies, web.bodies) == (["do not send numbers"], [])
    assert advisor.bodies == ["a number came"]
    assert [e.text for e in bot.asked] == ["a number came"]  # told, but its answer is not taken
    assert len(await kit.store.list_tasks(ROOM)) == 1
    assert len(await kit.store.list_observations(ROOM)) == 1
    assert (after, processed) == ([], [])
    assert [(e.event_id, e.data) for e in blocked] == [
        (result.event.id, {"hook_name": "guard", "blocked_by": "guard", "reason": "number"})
    ]


async def test_R145_an_injected_event_is_delivered_bare(kit: RoomKit) -> None:
    log: list[str] = []
    web = Transport("web")
    await room_with(kit, Transport("sms"), web)
    await kit.set_visibility(ROOM, "sms", "none")

    async def add(event: RoomEvent, context: RoomContext) -> HookResult:
        log.append(event.text or "")
        extra = RoomEvent(room_id=ROOM, source=event.source, content=text("extra"))
        return HookResult.allow(injected=(InjectedEvent(extra, ("web",)),))

    kit.add_hook(BEFORE, add)
    await kit.process_inbound(message("sms"), room_id=ROOM)
    await kit.idle(ROOM)
    assert (web.bodies, log) == (["extra"], ["hi"])


async def test_R120_what_cannot_be_injected_or_kept_undoes_nothing(kit: RoomKit) -> None:
    web = Transport("web")
    await room_with(kit, Transport("sms"), web)

    async def add(event: RoomEvent, context: RoomContext) -> HookResult:
        again = event.model_copy(update={"idempotency_key": None})
        return HookResult(
            injected_events=(InjectedEvent(again, ("web",)),),
            tasks=(Task(room_id="nowhere", title="t"), Task(room_id=ROOM, title="kept")),
            observations=(Observation(room_id="nowhere", channel_id="sms", content="o"),),
        )

    kit.add_hook(BEFORE, add)
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert not result.blocked
    assert web.bodies == ["hi", "hi"]  # the copy under an id of its own
    assert [task.title for task in await kit.store.list_tasks(ROOM)] == ["kept"]


async def test_R162_async_hooks_neither_delay_nor_fail_anything(kit: RoomKit) -> None:
    web = Transport("web")
    await room_with(kit, Transport("sms"), web)
    go, seen = asyncio.Event(), asyncio.Queue[str | None]()

    async def slow(event: RoomEvent, context: RoomContext) -> None:
        await go.wait()
        seen.put_nowait(event.text)

    kit.add_hook(HookTrigger.AFTER_BROADCAST, slow, execution=HookExecution.ASYNC)
    kit.add_hook(HookTrigger.AFTER_BROADCAST, raising, execution=HookExecution.ASYNC)
    for body in ("one", "two"):
        result = await asyncio.wait_for(
            kit.process_inbound(message("sms", body), room_id=ROOM), PATIENCE
        )
        assert not result.blocked
    assert (web.bodies, seen.empty()) == (["one", "two"], True)
    go.set()
    assert [await asyncio.wait_for(seen.get(), PATIENCE) for _ in range(2)] == ["one", "two"]


async def test_R163_observers_of_a_decision_run_when_it_was_not_a_block(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    seen = asyncio.Queue[str | None]()

    async def watch(event: RoomEvent, context: RoomContext) -> HookResult:
        seen.put_nowait(event.text)
        return HookResult.block("an observer decides nothing")

    async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("no") if event.text == "bad" else HookResult.allow()

    kit.add_hook(BEFORE, watch, execution=HookExecution.ASYNC)
    kit.add_hook(BEFORE, guard)
    await kit.process_inbound(message("sms", "bad"), room_id=ROOM)
    result = await kit.process_inbound(message("sms", "good"), room_id=ROOM)
    assert not result.blocked
    assert await asyncio.wait_for(seen.get(), PATIENCE) == "good"


async def test_R158_triggers_outside_a_commit(kit: RoomKit) -> None:
    await kit.create_room(ROOM)
    bare = await kit.run_hooks(HookTrigger.BEFORE_TTS, ROOM, "words")
    assert (bare.payload, bare.blocked) == ("words", False)
    log: list[str] = []
    task = Task(room_id=ROOM, title="t")
    kit.add_hook(
        HookTrigger.BEFORE_TTS, saying(log, "tts", HookResult("modify", "w", tasks=(task,)))
    )
    kit.add_hook(HookTrigger.ON_SPEECH_START, saying(log, "start", HookResult.block("no")))
    assert (await kit.run_hooks(HookTrigger.BEFORE_TTS, ROOM, "words")).payload == "w"
    assert not (await kit.run_hooks(HookTrigger.ON_SPEECH_START, ROOM, {})).blocked
    assert log == ["tts"]  # an observer is not waited for
    await asyncio.sleep(1)
    assert log == ["tts", "start"]
    assert await kit.store.list_tasks(ROOM) == [task]


async def test_hook_types_of_lifecycle_entries_are_system_events(kit: RoomKit) -> None:
    seen: list[RoomEvent] = []

    async def note(event: RoomEvent, context: RoomContext) -> None:
        seen.append(event)

    kit.add_hook(HookTrigger.ON_PARTICIPANT_JOINED, note)
    await room_with(kit, Transport("sms"))
    await kit.add_member(ROOM, "sms", "ann")
    assert [(e.type, e.source.channel_id) for e in seen] == [
        (EventType.PARTICIPANT_JOINED, "system")
    ]


# -- hooks of one room ----------------------------------------------------------------------------


async def test_R155_hooks_of_a_room_stand_among_those_of_all_rooms() -> None:
    log: list[str] = []
    hooks = HookRegistry()
    for number, (priority, own) in enumerate([(5, 1), (0, 1), (5, 0), (-1, 1), (0, 0), (0, 1)]):
        hooks.add(
            BEFORE,
            saying(log, f"{priority}{'room' if own else 'all'}{number}"),
            priority=priority,
            room_id=ROOM if own else None,
        )
    await hooks.decide(BEFORE, "x", CONTEXT)
    assert log == ["-1room3", "0all4", "0room1", "0room5", "5all2", "5room0"]


async def test_an_event_looks_at_no_hook_of_another_room(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str | None] = []
    matches = HookRegistration.matches

    def counted(hook: HookRegistration, payload: Any, room_id: str, *rest: Any) -> bool:
        looked.append(hook.room_id)
        return matches(hook, payload, room_id, *rest)

    monkeypatch.setattr(HookRegistration, "matches", counted)
    hooks = HookRegistry()
    for number in range(100):
        hooks.add(BEFORE, saying([], "h"), room_id=f"r{number}", needs_lock=False)
    assert not hooks.wants(BEFORE, ROOM)
    assert not hooks.runs_unlocked(ROOM)
    hooks.add(BEFORE, saying([], "own"), room_id=ROOM)
    hooks.add(BEFORE, saying([], "all"))
    await hooks.decide(BEFORE, "x", CONTEXT)
    assert looked == [None, ROOM]
    assert hooks.runs_unlocked("r7")


def test_R165_removing_goes_by_name_and_room() -> None:
    hooks = HookRegistry()
    for room_id in (None, ROOM, "other"):
        for trigger in (BEFORE, HookTrigger.AFTER_BROADCAST):
            hooks.add(trigger, saying([], "x"), name="same", room_id=room_id)
    hooks.add(BEFORE, saying([], "x"), name="kept", room_id=ROOM)
    assert not hooks.remove("unknown", room_id=ROOM)
    assert not hooks.remove("same", room_id="nowhere")
    assert hooks.remove("same", room_id=ROOM)
    assert not hooks.remove("same", room_id=ROOM)
    assert hooks.remove("same")
    assert hooks.wants(BEFORE, ROOM)
    assert not hooks.wants(HookTrigger.AFTER_BROADCAST, ROOM)
    assert hooks.wants(HookTrigger.AFTER_BROADCAST, "other")
    assert hooks.remove("same", room_id="other")
    assert not hooks.wants(BEFORE, "other")


def test_the_hooks_of_a_room_that_is_gone_are_forgotten() -> None:
    hooks = HookRegistry()
    for room_id in (None, ROOM, "other"):
        hooks.add(HookTrigger.AFTER_BROADCAST, saying([], "x"), room_id=room_id)
    hooks.add(BEFORE, saying([], "x"), room_id=ROOM)
    hooks.forget_room(ROOM)
    hooks.forget_room(ROOM)
    assert not hooks.wants(BEFORE, ROOM)
    selected = hooks.select(HookTrigger.AFTER_BROADCAST, "x", ROOM, HookExecution.SYNC)
    assert [hook.room_id for hook in selected] == [None]
    assert hooks.wants(HookTrigger.AFTER_BROADCAST, "other")
