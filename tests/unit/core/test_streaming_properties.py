"""Streamed answers, whatever the listeners do (R63, V240)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salon.core.kit import RoomKit
from salon.core.ports.channel import StreamOutcome
from salon.models import EventFilter, EventType
from salon.testing import run_virtual

from .helpers import ROOM, Agent, Screen, Stream, Transport, message, messages, room_with

PARTS = st.lists(st.sampled_from(["a", "b ", "", "cd", " "]), min_size=1, max_size=6)
BEHAVIOURS = st.lists(
    st.sampled_from(["reads", "fails", "stops", "interrupts", "slow"]), max_size=4
)


def behaviour(kind: str, heard: str) -> Any:
    async def behave(text: AsyncIterator[str]) -> StreamOutcome:
        if kind in ("fails", "stops", "interrupts"):
            async for _ in text:
                break
        if kind == "fails":
            raise ConnectionError("gone")
        if kind == "stops":
            return StreamOutcome()
        if kind == "interrupts":
            return StreamOutcome(heard, interrupted=True, metadata={"by": "voice"})
        async for _ in text:
            await asyncio.sleep(0.1 if kind == "slow" else 0)
        return StreamOutcome()

    return behave


async def scene(parts: list[str], kinds: list[str]) -> None:
    heard = next((part for part in parts if part), "")
    async with RoomKit(shutdown_timeout=0) as kit:
        screens = []
        for number, kind in enumerate(kinds):
            screen = Screen(f"{kind}{number}")
            screen.behave = behaviour(kind, heard)
            screens.append(screen)
        plain, stream = Transport("plain"), Stream(*parts)
        bot = Agent("bot", lambda event, context: stream())
        await room_with(kit, Transport("sms"), plain, *screens, bot)
        result = await kit.process_inbound(message("sms"), room_id=ROOM)
        assert result.error is None
        answers = [event for event in await messages(kit) if event.source.channel_id == "bot"]
        interrupted = "interrupts" in kinds and bool(heard)
        expected = heard if interrupted else "".join(parts)
        assert [event.text for event in answers] == ([expected] if expected.strip() else [])
        assert stream.closed
        for answer in answers:
            assert bool(answer.metadata.get("interrupted")) is interrupted
            assert plain.bodies == ["hi", expected]
        for screen in screens:
            announced = [event.id for event in screen.announced]
            assert len(announced) == bool("".join(parts))
            ended = [(event_id, stored) for event_id, stored, _ in screen.finished]
            whole = screen.bodies[1:]
            if answers:
                # each listener learns of the stored event exactly once, by one of the two ways
                assert announced == [answers[0].id]
                assert len(ended) + len(whole) == 1
                assert ended in ([], [(answers[0].id, answers[0])])
                assert whole in ([], [expected])
            else:
                assert whole == []


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=PARTS, kinds=BEHAVIOURS)
def test_R63_V240_every_listener_learns_of_the_answer_once(
    parts: list[str], kinds: list[str]
) -> None:
    run_virtual(scene(parts, kinds))


async def test_an_answer_is_committed_when_the_last_listener_has_heard_it(kit: RoomKit) -> None:
    """Until then it has no index: who interrupts decides what is stored, and what is said meanwhile
    comes before it."""
    screen, voice, sms = Screen("screen"), Screen("voice"), Transport("sms")
    heard, playing = asyncio.Event(), asyncio.Event()

    async def play(text: AsyncIterator[str]) -> StreamOutcome:
        async for _ in text:
            pass
        playing.set()
        await heard.wait()
        return StreamOutcome(metadata={"played_ms": 1200})

    voice.behave = play
    bot = Agent("bot", lambda event, context: Stream("all of it")())
    await room_with(kit, sms, screen, voice, bot)
    call = asyncio.create_task(
        kit.process_inbound(message("sms", addressed_to=["bot"]), room_id=ROOM)
    )
    await playing.wait()
    assert screen.heard == ["all of it"]
    await kit.process_inbound(message("sms", "meanwhile", addressed_to=[]), room_id=ROOM)
    assert [event.text for event in await messages(kit)] == ["hi", "meanwhile"]
    assert screen.finished == []
    heard.set()
    await call
    texts = [event.text for event in await messages(kit)]
    assert texts == ["hi", "meanwhile", "all of it"]
    assert sms.bodies == ["all of it"]
    assert screen.finished[0][1] == (await messages(kit))[-1]


@pytest.mark.parametrize("moment", ["during", "after"])
async def test_V240_who_is_interrupted_late_still_decides(kit: RoomKit, moment: str) -> None:
    """An interruption counts to the end of the playback, also after the last word was made."""
    voice, more = Screen("voice"), asyncio.Event()

    async def play(text: AsyncIterator[str]) -> StreamOutcome:
        said = [await anext(text)]
        if moment == "after":
            said += [delta async for delta in text]
        return StreamOutcome(said[0], interrupted=True, metadata={"played_ms": 300})

    voice.behave = play
    steps: list[Any] = ["one ", "two"] if moment == "after" else ["one ", more, "two"]
    stream = Stream(*steps)
    plain = Transport("plain")
    bot = Agent("bot", lambda event, context: stream())
    await room_with(kit, Transport("sms"), plain, voice, bot)
    await kit.process_inbound(message("sms"), room_id=ROOM)
    answer = (await messages(kit))[-1]
    assert (answer.text, answer.metadata["interrupted"]) == ("one ", True)
    assert answer.metadata["played_ms"] == 300
    assert plain.bodies == ["hi", "one "]
    assert stream.closed
    assert stream.given == (["one ", "two"] if moment == "after" else ["one "])


async def test_R94_the_announced_id_is_the_stored_one_among_other_commits(kit: RoomKit) -> None:
    screen = Screen("screen")
    go = asyncio.Event()
    bot = Agent("bot", lambda event, context: Stream("a", go, "b")())
    await room_with(kit, Transport("sms"), screen, bot)
    call = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
    await asyncio.sleep(0.1)
    for number in range(5):
        await kit.process_inbound(message("sms", f"n{number}", addressed_to=[]), room_id=ROOM)
    go.set()
    await call
    answer = (await messages(kit))[-1]
    assert [event.id for event in screen.announced] == [answer.id]
    room = await kit.get_room(ROOM)
    events = await kit.store.list_events(
        ROOM, limit=100, event_filter=EventFilter(include_blocked=True)
    )
    assert room is not None
    assert [event.index for event in events] == list(range(len(events)))
    assert (room.event_count, room.latest_index) == (len(events), len(events) - 1)
    assert room.timers.last_activity_at == room.updated_at
    assert EventType.CHANNEL_ATTACHED in {event.type for event in events}


async def test_V240_nothing_more_is_generated_after_an_interruption(kit: RoomKit) -> None:
    """Not even while another listener still takes its time to end."""
    voice, slow = Screen("voice"), Screen("slow")
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(1, later.set)

    async def interrupt(text: AsyncIterator[str]) -> StreamOutcome:
        return StreamOutcome(await anext(text), interrupted=True)

    async def linger(text: AsyncIterator[str]) -> StreamOutcome:
        async for _ in text:
            pass
        await asyncio.sleep(5)
        return StreamOutcome()

    voice.behave, slow.behave = interrupt, linger
    stream = Stream("one ", later, "two")
    bot = Agent("bot", lambda event, context: stream())
    await room_with(kit, Transport("sms"), voice, slow, bot)
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert (stream.given, stream.closed) == (["one "], True)
    assert asyncio.get_running_loop().time() >= 5
    assert slow.finished[0][1] == (await messages(kit))[-1]


async def test_a_generation_that_was_cut_off_is_closed(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salon.core.streaming.MAX_ANSWER_CHARS", 3)
    source = Stream("ab", "cd", "ef", "gh")
    kept = source()  # held, so that the end of the test is not what closes it
    await room_with(kit, Transport("sms"), Agent("bot", lambda event, context: kept))
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert [event.text for event in await messages(kit)] == ["hi", "abc"]
    assert (source.given, source.closed) == (["ab", "cd"], True)
