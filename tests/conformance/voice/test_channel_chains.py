"""Agents who answer each other, and people who ask something new before they have heard it."""

from __future__ import annotations

import asyncio

import pytest
from tests.conformance.voice.stage import CHAR_MS, ROOM, Stage, stage

from salon.channels.ai import AIChannel
from salon.models import HookTrigger
from salon.testing import MockAIProvider, MockTextToSpeech, VirtualClock, virtual_time

CALLS = "Second, what do you say?"
CALLS_BACK = "First, and what do you say?"
REPLY = "That is a long story which I like to tell."
NEW = "Tea it is."
ASKED = ["First, what is it?", "First, I would like tea."]
"""What people say, in this order."""


def slow_voice() -> MockTextToSpeech:
    return MockTextToSpeech(char_ms=CHAR_MS, delay_s=1.0, clock=VirtualClock())


async def agent(room: Stage, name: str, *answers: str, delay: float = 0.0) -> None:
    """Somebody who answers whoever calls them."""
    provider = MockAIProvider(answers, delay=delay, clock=VirtualClock())
    room.kit.register_channel(AIChannel(name, provider=provider, respond="addressed"))
    await room.kit.attach_channel(ROOM, name)


def ms(*texts: str) -> int:
    """How long it takes to say them."""
    return sum(map(len, texts)) * CHAR_MS


async def until_played(room: Stage, *texts: str) -> None:
    """Wait until all but the last bit of them was heard."""
    async with asyncio.timeout(30):
        while room.played_ms() < ms(*texts) - 60:
            await room.feed()


async def kept(room: Stage) -> list[str | None]:
    """The words of the room without what was superseded, all of which says so."""
    found = []
    for event in await room.messages():
        if event.metadata.get("cancellation_reason") != "superseded":
            found.append(event.text)
        else:
            assert event.metadata["cancelled"] is True
    return found


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("delay", [0.0, 3.0], ids=["synthesized", "generated"])
@virtual_time
async def test_V243_who_asks_anew_is_answered_before_agents_answer_each_other(
    streaming: bool, delay: float
) -> None:
    """Also when the reply was not even generated."""
    async with stage(transcripts=ASKED, tts=slow_voice(), streaming=streaming) as room:
        room.watch(HookTrigger.ON_TTS_CANCELLED, HookTrigger.ON_BARGE_IN)
        await agent(room, "first", CALLS, NEW)
        await agent(room, "second", REPLY, delay=delay)
        await room.speak()
        await until_played(room, CALLS)
        await room.speak(700)
        await room.quiet(10_000)
        assert room.played_ms() == ms(CALLS, NEW)
        assert await kept(room) == [ASKED[0], CALLS, ASKED[1], NEW]
        assert room.order() == ([] if delay else [HookTrigger.ON_TTS_CANCELLED])
        assert all(told.reason == "superseded" for told in room.given(HookTrigger.ON_TTS_CANCELLED))


@virtual_time
async def test_V243_however_long_agents_have_answered_each_other() -> None:
    async with stage(transcripts=ASKED, tts=slow_voice()) as room:
        await agent(room, "first", CALLS, REPLY, NEW)
        await agent(room, "second", CALLS_BACK)
        await room.speak()
        await until_played(room, CALLS, CALLS_BACK)
        await room.speak(700)
        await room.quiet(10_000)
        assert room.played_ms() == ms(CALLS, CALLS_BACK, NEW)
        assert await kept(room) == [ASKED[0], CALLS, CALLS_BACK, ASKED[1], NEW]


@pytest.mark.parametrize("delay", [0.0, 3.0], ids=["waited", "generated"])
@virtual_time
async def test_V243_whichever_of_several_answers_the_reply_is_to(delay: float) -> None:
    both = ["@first @second hello", ASKED[1]]
    async with stage(transcripts=both, tts=slow_voice()) as room:
        await agent(room, "first", "Hello.", REPLY, NEW)
        await agent(room, "second", CALLS_BACK, delay=delay)
        await room.speak()
        await until_played(room, "Hello.", CALLS_BACK)
        await room.speak(700)
        await room.quiet(10_000)
        assert room.played_ms() == ms("Hello.", CALLS_BACK, NEW)
        assert await kept(room) == [both[0], "Hello.", CALLS_BACK, ASKED[1], NEW]


@pytest.mark.parametrize("streaming", [False, True])
@virtual_time
async def test_V243_one_reply_was_heard_and_another_was_not(streaming: bool) -> None:
    calls = "@second @third what do you say?"
    async with stage(transcripts=ASKED, tts=slow_voice(), streaming=streaming) as room:
        await agent(room, "first", calls, NEW)
        await agent(room, "second", REPLY)
        await agent(room, "third", "I know another one.", delay=4.0)
        await room.speak()
        await until_played(room, calls, REPLY)
        await room.speak(700)
        await room.quiet(10_000)
        assert room.played_ms() == ms(calls, REPLY, NEW)
        assert await kept(room) == [ASKED[0], calls, REPLY, ASKED[1], NEW]


@pytest.mark.parametrize("streaming", [False, True])
@virtual_time
async def test_V243_who_cuts_an_agent_short_hears_no_reply_to_it(streaming: bool) -> None:
    long = f"{CALLS} {REPLY}"
    async with stage(transcripts=ASKED, tts=slow_voice(), streaming=streaming) as room:
        await agent(room, "first", long, NEW)
        await agent(room, "second", REPLY, delay=3.0)
        await room.speak()
        await until_played(room, CALLS)
        await room.quiet(400)
        await room.speak(700)
        await room.quiet(10_000)
        assert ms(CALLS, NEW) < room.played_ms() < ms(long, NEW)
        _, cut, *later = await kept(room)
        assert str(cut).startswith(CALLS)
        assert later == [ASKED[1], NEW]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("delay", [0.0, 3.0], ids=["synthesized", "generated"])
@virtual_time
async def test_V243_nobody_hears_a_reply_to_what_was_superseded(
    streaming: bool, delay: float
) -> None:
    async with stage(transcripts=ASKED, tts=slow_voice(), streaming=streaming) as room:
        await agent(room, "first", CALLS, NEW, delay=delay)
        await agent(room, "second", REPLY, delay=3.0)
        await room.speak()
        await room.quiet(300)
        await room.speak(700)
        await room.quiet(10_000)
        assert room.played_ms() == ms(NEW)
        assert await kept(room) == [*ASKED, NEW]


@virtual_time
async def test_V243_who_asks_after_somebody_else_is_answered_in_turn() -> None:
    async with stage(transcripts=ASKED, tts=slow_voice()) as room:
        bob = await room.join("bob")
        await agent(room, "first", CALLS, NEW)
        await agent(room, "second", REPLY)
        await room.speak()
        await until_played(room, CALLS)
        await room.speak(700, bob)
        await until_played(room, CALLS, REPLY)
        await room.quiet(10_000)
        assert room.played_ms() == ms(CALLS, REPLY, NEW)
        texts = await kept(room)
        assert sorted(map(str, texts)) == sorted([*ASKED, CALLS, REPLY, NEW])
        spoken = [text for text, _ in room.tts.spoken]
        assert spoken == [CALLS, REPLY, NEW]


@virtual_time
async def test_V243_short_speech_supersedes_no_reply() -> None:
    async with stage(transcripts=ASKED, tts=slow_voice()) as room:
        await agent(room, "first", CALLS, NEW)
        await agent(room, "second", REPLY)
        await room.speak()
        await until_played(room, CALLS)
        await room.speak(100)
        await room.quiet(10_000)
        assert room.played_ms() == ms(CALLS, REPLY, NEW)
