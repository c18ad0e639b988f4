"""A failed agent is told of by the framework's event `agent_failed`, once and whatever becomes of
its room (R142, R211): nobody reads the timeline of a room that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from salon.core.kit import RoomKit
from salon.core.ports.channel import StreamOutcome
from salon.models import EventType, HookTrigger, RoomContext, RoomEvent

from .helpers import (
    PATIENCE,
    ROOM,
    Agent,
    Screen,
    Stream,
    Transport,
    listen,
    message,
    room_with,
    timeline,
)

ERROR = ValueError("for the log only")


@pytest.fixture
async def kit() -> Any:
    async with RoomKit(shutdown_timeout=0) as kit:
        yield kit


async def ask(kit: RoomKit) -> Any:
    return await asyncio.wait_for(kit.process_inbound(message("sms"), room_id=ROOM), PATIENCE)


def shown(kit: RoomKit) -> list[RoomEvent]:
    """What ON_ERROR hooks get."""
    notes: list[RoomEvent] = []

    async def keep(note: RoomEvent, _context: RoomContext) -> None:
        notes.append(note)

    kit.hook(HookTrigger.ON_ERROR, name="keep")(keep)
    return notes


def at_once(event: RoomEvent, context: RoomContext) -> Any:
    raise ERROR


@pytest.mark.parametrize(
    "script",
    [at_once, lambda *_: Stream(ERROR)(), lambda *_: Stream("so far so good", ERROR)()],
    ids=["not asked", "before words", "in mid-answer"],
)
async def test_R142_a_failure_is_one_event_of_the_framework_and_one_of_the_room(
    kit: RoomKit, script: Any
) -> None:
    told, notes = listen(kit, "agent_failed"), shown(kit)
    await room_with(kit, Transport("sms"), Screen("screen"), Agent("bot", script))
    await ask(kit)
    (event,) = told
    question = next(item for item in await timeline(kit) if item.type is EventType.MESSAGE)
    assert (event.room_id, event.channel_id, event.event_id) == (ROOM, "bot", question.id)
    assert event.data == {
        "error": "ValueError (see the log)",
        "error_type": "ValueError",
        "error_category": "internal",
    }
    assert [note.metadata["channel_id"] for note in notes] == ["bot"]


async def test_R142_an_answer_that_broke_off_is_told_of_if_the_room_ends_while_it_is_played(
    kit: RoomKit, caplog: pytest.LogCaptureFixture
) -> None:
    told, notes = listen(kit, "agent_failed"), shown(kit)
    screen, playing = Screen("screen"), asyncio.Event()

    async def play(text: AsyncIterator[str]) -> StreamOutcome:
        async for _ in text:
            pass
        playing.set()
        await asyncio.Event().wait()
        raise AssertionError

    screen.behave = play
    bot = Agent("bot", lambda *_: Stream("so far so good", ERROR)())
    await room_with(kit, Transport("sms"), screen, bot)
    call = asyncio.create_task(ask(kit))
    async with asyncio.timeout(PATIENCE):
        await playing.wait()
        await kit.delete_room(ROOM)
        await call
    assert [(event.room_id, event.channel_id) for event in told] == [(ROOM, "bot")]
    assert notes == []
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        f"agent bot failed in room {ROOM}"
    ]


async def test_R142_an_agent_that_fails_in_a_room_that_is_gone_is_told_of(kit: RoomKit) -> None:
    told, notes = listen(kit, "agent_failed"), shown(kit)

    async def fail() -> AsyncIterator[str]:
        words: list[str] = []
        for word in words:
            yield word
        await kit.store.delete_room(ROOM)  # as another process does
        raise ERROR

    await room_with(kit, Transport("sms"), Agent("bot", lambda *_: fail()))
    await ask(kit)
    assert [event.channel_id for event in told] == ["bot"]
    assert notes == []


async def test_R211_an_answer_that_went_well_until_the_room_was_deleted_has_not_failed(
    kit: RoomKit,
) -> None:
    told = listen(kit, "agent_failed")
    screen, playing = Screen("screen"), asyncio.Event()

    async def play(text: AsyncIterator[str]) -> StreamOutcome:
        async for _ in text:
            playing.set()
        raise AssertionError

    screen.behave = play
    bot = Agent("bot", lambda *_: Stream("so far so good", asyncio.Event())())
    await room_with(kit, Transport("sms"), screen, bot)
    call = asyncio.create_task(ask(kit))
    async with asyncio.timeout(PATIENCE):
        await playing.wait()
        await kit.delete_room(ROOM)
        await call
    assert told == []
