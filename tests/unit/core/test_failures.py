"""What fails in the middle of the work is told to somebody (R72, R131, R142), and whatever waits is
bounded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from salon.base import SalonError
from salon.core.errors import AgentBusyError
from salon.core.kit import RoomKit
from salon.core.memory import InMemoryStore
from salon.models import (
    EventType,
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
    Stream,
    Transport,
    listen,
    message,
    messages,
    room_with,
    timeline,
    words,
)


class StoreDownError(SalonError):
    code = "store_down"


class Fragile(InMemoryStore):
    """Fails in the named methods."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: set[str] = set()

    def check(self, name: str) -> None:
        if name in self.broken:
            raise StoreDownError(f"{name} failed")

    async def patch_room_metadata(
        self, room_id: str, patch: Mapping[str, Any], *, unset: Collection[str] = ()
    ) -> Room | None:
        self.check("patch_room_metadata")
        return await super().patch_room_metadata(room_id, patch, unset=unset)

    async def add_task(self, task: Task) -> Task:
        self.check("add_task")
        return await super().add_task(task)

    async def get_room(self, room_id: str) -> Room | None:
        self.check("get_room")
        return await super().get_room(room_id)

    async def set_delivery_results(
        self, room_id: str, event_id: str, results: Mapping[str, Any]
    ) -> None:
        self.check("set_delivery_results")
        await super().set_delivery_results(room_id, event_id, results)


@pytest.fixture
async def store() -> Fragile:
    return Fragile()


@pytest.fixture
async def kit(store: Fragile) -> Any:
    async with RoomKit(store=store, shutdown_timeout=0) as kit:
        yield kit


async def ask(kit: RoomKit) -> Any:
    return await asyncio.wait_for(kit.process_inbound(message("sms"), room_id=ROOM), PATIENCE)


async def test_R72_a_task_that_cannot_be_stored_costs_no_answer(
    kit: RoomKit, store: Fragile
) -> None:
    bot = Agent("bot", lambda event, context: ["answer"])
    seen = Observation(room_id=ROOM, channel_id="bot", content="calm")
    bot.extras = {"tasks": (Task(room_id=ROOM, title="t"),), "observations": (seen,)}
    await room_with(kit, Transport("sms"), bot)
    store.broken = {"add_task"}
    result = await ask(kit)
    assert result.error is None
    assert ("answer", "delivered") in await words(kit)
    assert await store.list_observations(ROOM) == [seen]


async def test_R72_metadata_that_cannot_be_stored_costs_no_answer(
    kit: RoomKit, store: Fragile
) -> None:
    bot = Agent("bot", lambda event, context: ["answer"])
    bot.extras = {"metadata_updates": {"topic": "rain"}}
    await room_with(kit, Transport("sms"), bot)
    store.broken = {"patch_room_metadata"}
    await ask(kit)
    assert ("answer", "delivered") in await words(kit)


async def test_AMB19_metadata_updates_are_a_patch_of_keys(kit: RoomKit) -> None:
    bot = Agent("bot", lambda event, context: ["answer"])
    bot.extras = {"metadata_updates": {"topic": "rain"}}
    await kit.create_room(ROOM, metadata={"owner": "ann", "topic": "sun"})
    await room_with(kit, Transport("sms"), bot)
    await ask(kit)
    room = await kit.get_room(ROOM)
    assert room is not None
    assert (room.metadata["owner"], room.metadata["topic"]) == ("ann", "rain")


async def test_R142_an_agent_that_could_not_even_be_asked_is_reported(
    kit: RoomKit, store: Fragile, caplog: pytest.LogCaptureFixture
) -> None:
    await room_with(kit, Transport("sms"), Agent("bot"))
    kit.on_commit(lambda event: store.broken.add("get_room"))
    with caplog.at_level(logging.WARNING):
        result = await ask(kit)
    assert result.event is not None
    assert result.error is not None or "get_room failed" in caplog.text


async def test_a_delivery_set_that_breaks_is_logged_when_nobody_waits(
    kit: RoomKit, store: Fragile, caplog: pytest.LogCaptureFixture
) -> None:
    other = Transport("other")
    other.failure = ConnectionError("gone")
    await room_with(kit, Transport("sms"), other)
    store.broken = {"set_delivery_results"}
    with caplog.at_level(logging.WARNING):
        await kit.process_inbound(message("sms"), room_id=ROOM, detached=True)
        await kit.idle(ROOM)
    assert "set_delivery_results failed" in caplog.text


async def test_R100_a_store_that_fails_after_the_commit_undoes_nothing(
    kit: RoomKit, store: Fragile
) -> None:
    other = Transport("other")
    other.failure = ConnectionError("gone")
    await room_with(kit, Transport("sms"), other)
    store.broken = {"set_delivery_results"}
    failed = (await ask(kit)).delivery_results["other"]
    assert (failed.status, await words(kit)) == ("failed", [("hi", "delivered")])
    store.broken, other.failure = set(), None
    assert (await ask(kit)).delivery_results["other"].status == "sent"


@pytest.mark.parametrize("streamed", [True, False])
async def test_R142_an_agent_that_cancels_itself_is_reported(kit: RoomKit, streamed: bool) -> None:
    def fail(event: RoomEvent, context: RoomContext) -> Any:
        if event.source.channel_id != "sms":
            return None
        if streamed:
            return Stream(asyncio.CancelledError())()
        raise asyncio.CancelledError

    await room_with(kit, Transport("sms"), Agent("bot", fail))
    result = await ask(kit)
    assert result.error is not None
    assert [event.type for event in await timeline(kit)][-1] is EventType.SYSTEM


async def test_an_agent_that_cancelled_itself_is_asked_again(kit: RoomKit) -> None:
    answers: list[Any] = [Stream(asyncio.CancelledError())(), Stream("well again")()]
    bot = Agent("bot", lambda event, context: answers.pop(0))
    await room_with(kit, Transport("sms"), bot)
    await ask(kit)
    await ask(kit)
    assert ("well again", "delivered") in await words(kit)


async def test_an_agent_that_is_far_behind_is_passed_over_and_people_talk_on(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salon.core.delivery.MAX_QUESTIONS", 4)
    go = asyncio.Event()
    bot = Agent("bot", lambda event, context: Stream(go, "answer")())
    quick = Agent("quick", lambda event, context: None)
    other = Transport("other")
    await room_with(kit, Transport("sms"), other, bot, quick)
    busy = listen(kit, "agent_busy")
    for _ in range(10):
        result = await kit.process_inbound(message("sms"), room_id=ROOM, detached=True)
        assert result.reason is None
        await asyncio.wait_for(kit._parts.delivery.rooms.drained(ROOM), PATIENCE)
    call = asyncio.create_task(kit.process_inbound(message("sms", "last"), room_id=ROOM))
    async with asyncio.timeout(PATIENCE):
        result = await call  # it waits for no answer of the agent, which was not asked
    assert isinstance(result.error, AgentBusyError)
    assert len(other.bodies) == len(quick.asked) == 11
    assert [event.channel_id for event in busy] == ["bot"] * 7
    assert busy[-1].event_id == (await messages(kit))[-1].id
    go.set()
    await kit.idle(ROOM)
    assert [event.text for event in bot.asked] == ["hi"] * 4
    await ask(kit)
    assert len(bot.asked) == 5


async def test_a_room_that_is_far_behind_refuses(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salon.core.timeline.MAX_WAITING", 4)
    other = Transport("other")
    await room_with(kit, Transport("sms"), other)
    await kit.idle(ROOM)
    other.hold = asyncio.Event()
    reasons = []
    for _ in range(6):
        result = await kit.process_inbound(message("sms"), room_id=ROOM, detached=True)
        reasons.append(result.reason)
    other.hold.set()
    assert reasons == [None] * 4 + ["room_busy"] * 2


async def test_R143_an_injected_event_without_targets_is_only_stored(kit: RoomKit) -> None:
    other = Transport("other")
    await room_with(kit, Transport("sms"), other)

    async def note(event: RoomEvent, context: RoomContext) -> HookResult:
        added = event.model_copy(update={"id": "added", "metadata": {"note": True}})
        return HookResult.block("no", injected=(InjectedEvent(added),))

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, note)
    await ask(kit)
    assert other.got == other.told == []
    assert [event.id for event in await messages(kit)][-1] == "added"


async def test_R142_of_several_agents_that_fail_the_caller_gets_the_first_error(
    kit: RoomKit,
) -> None:
    first, second = StoreDownError("first"), StoreDownError("second")
    go = asyncio.Event()
    asyncio.get_running_loop().call_later(1, go.set)
    await room_with(
        kit,
        Transport("sms"),
        Agent("late", lambda event, context: Stream(go, second)()),
        Agent("early", lambda event, context: Stream(first)()),
    )
    result = await ask(kit)
    assert result.error is first
    failed = [event for event in await timeline(kit) if event.type is EventType.SYSTEM]
    assert [event.metadata["channel_id"] for event in failed] == ["early", "late"]


class ProgramError(SalonError):
    """Quotes somebody's program, as the error of an agent's own function does."""

    where = "/home/ann/agent.py:7"


def broken() -> Exception:
    try:
        try:
            raise ValueError("password=secret")
        except ValueError as error:
            raise ProgramError("ValueError: password=secret (/home/ann/agent.py:7)") from error
    except ProgramError as error:
        return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreDownError("the disk is full"), "the disk is full"),
        (ValueError("password=secret"), "ValueError (see the log)"),
        (broken(), "ValueError (see the log)"),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
async def test_R142_a_failure_is_told_without_what_is_for_the_log(
    kit: RoomKit, error: Exception, told: str, begun: bool
) -> None:
    steps = ("I begin. ", error) if begun else (error,)
    other = Transport("other")
    bot = Agent(
        "bot", lambda event, ctx: Stream(*steps)() if event.source.channel_id == "sms" else None
    )
    await room_with(kit, Transport("sms"), other, bot)
    result = await ask(kit)
    assert result.error is error
    note = (await timeline(kit))[-1]
    what = "finish its answer" if begun else "answer"
    assert getattr(note.content, "body", "") == f"The agent could not {what}: {told}"
    assert other.got[-1].id == note.id
    everything = [event.model_dump_json() for event in await timeline(kit)]
    assert not any("secret" in text or "/home" in text for text in everything)
    if begun:
        answer = (await messages(kit))[1]
        assert answer.metadata == {"failed": True, "error": told}


@pytest.mark.parametrize("steps", [(42,), ("I begin. ", 42)])
async def test_R142_an_agent_that_yields_what_is_no_text_is_reported(
    kit: RoomKit, steps: tuple[Any, ...]
) -> None:
    async def odd() -> Any:
        for step in steps:
            yield step

    bot = Agent("bot", lambda event, ctx: odd() if event.source.channel_id == "sms" else None)
    await room_with(kit, Transport("sms"), bot)
    result = await ask(kit)
    assert result.error is not None
    note = (await timeline(kit))[-1]
    assert "an answer is made of text, not of int" in getattr(note.content, "body", "")
    assert len(await messages(kit)) == len(steps)


async def test_R196_a_duplicate_that_another_process_stored_first_is_no_error(
    kit: RoomKit, store: Fragile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    commit = store.commit_event

    async def second(event: RoomEvent, **more: Any) -> RoomEvent:
        if event.id != "first":
            await commit(event.model_copy(update={"id": "first"}), **more)
        return await commit(event, **more)

    await room_with(kit, Transport("sms"))
    monkeypatch.setattr(store, "commit_event", second)
    with caplog.at_level(logging.DEBUG, "salon.core.timeline"):
        result = await kit.process_inbound(message("sms", idempotency_key="k"), room_id=ROOM)
    assert result.event is not None
    assert (result.duplicate, result.event.id) == (True, "first")
    assert [item for item in caplog.records if item.levelno >= logging.WARNING] == []
    assert "was refused: idempotency key" in caplog.text


async def test_an_event_that_cannot_be_stored_is_an_error(
    kit: RoomKit, store: Fragile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def unfit(event: RoomEvent, **more: Any) -> RoomEvent:
        raise ValueError("unfit")

    await room_with(kit, Transport("sms"))
    monkeypatch.setattr(store, "commit_event", unfit)
    with pytest.raises(ValueError, match="unfit"):
        await kit.process_inbound(message("sms", idempotency_key="k"), room_id=ROOM)
    assert "was not stored" in caplog.text
