"""Sound for one alone: beside what others hear, and in nobody's way."""

from __future__ import annotations

import asyncio

from tests.conformance.voice.stage import CHAR_MS, ROOM, stage
from tests.conformance.voice.test_channel_rooms import ANSWER, LONG, now, typed

from salon.models import HookTrigger
from salon.testing import virtual_time
from salon.voice.interruption import InterruptionConfig, InterruptionStrategy

T = HookTrigger
WORDS = "For your ears only, and nobody else is to know of it at all."


@virtual_time
async def test_what_one_says_does_not_cut_what_another_hears_alone() -> None:
    async with stage(transcripts=["hello there"]) as room:
        room.watch(T.ON_BARGE_IN, T.ON_TTS_CANCELLED)
        bob = await room.join("bob")
        saying = asyncio.create_task(room.channel.say(bob, WORDS))
        await room.quiet(200)
        await room.speak(600)  # Ann
        await room.quiet(3000)
        await saying
        assert room.played_ms(bob) == len(WORDS) * CHAR_MS
        assert room.fired == []
        assert await room.said() == ["hello there"]


@virtual_time
async def test_what_somebody_types_does_not_cut_what_another_hears_alone() -> None:
    async with stage() as room:
        bob = await room.join("bob")
        sayings = [asyncio.create_task(room.channel.say(who, WORDS)) for who in (bob, room.session)]
        await room.quiet(200)
        await typed(room, "wait", sender="ann")
        await sayings[1]
        assert room.played_ms() < 400
        await sayings[0]
        await room.quiet(500)
        assert room.played_ms(bob) == len(WORDS + "wait") * CHAR_MS


@virtual_time
async def test_its_own_listener_cuts_it_for_themselves() -> None:
    async with stage(transcripts=["stop"]) as room:
        room.watch(T.ON_BARGE_IN, T.ON_TTS_CANCELLED)
        bob = await room.join("bob")
        sayings = [asyncio.create_task(room.channel.say(who, WORDS)) for who in (bob, room.session)]
        await room.quiet(300)
        await room.speak(600, bob)
        await asyncio.gather(*sayings)
        await room.quiet(100)
        assert room.played_ms() == len(WORDS) * CHAR_MS
        assert room.played_ms(bob) < 1000
        assert [event.session for event in room.given(T.ON_BARGE_IN)] == [bob]
        assert [event.session for event in room.given(T.ON_TTS_CANCELLED)] == [bob]
        assert room.given(T.ON_TTS_CANCELLED)[0].reason == "barge_in"


@virtual_time
async def test_an_answer_for_the_room_waits_for_it_and_it_for_the_answer() -> None:
    async with stage(transcripts=["hello"], answers=[ANSWER]) as room:
        bob = await room.join("bob")
        began = now()
        first = asyncio.create_task(room.channel.say(bob, "x" * 100))
        await room.speak()
        await room.quiet(100)
        second = asyncio.create_task(room.channel.say(bob, "y" * 20))
        await first
        heard = room.played_ms(bob)
        assert 100 * CHAR_MS <= heard <= 100 * CHAR_MS + 20
        assert room.played_ms() <= 20, "the answer is for both, and one of them listens"
        await second
        assert now() - began >= (100 + len(ANSWER) + 20) * CHAR_MS / 1000
        assert room.played_ms(bob) == (100 + len(ANSWER) + 20) * CHAR_MS
        assert room.played_ms() == len(ANSWER) * CHAR_MS


@virtual_time
async def test_V243_who_speaks_holds_up_what_is_for_the_room_but_nothing_of_others() -> None:
    async with stage(transcripts=["hello"]) as room:
        bob = await room.join("bob")
        await room.begin()  # Ann speaks on and on
        await room.channel.say(bob, "x" * 20)
        assert room.played_ms(bob) == 20 * CHAR_MS
        mine = asyncio.create_task(room.channel.say(room.session, "y" * 20))
        await room.quiet(200)
        assert not room.sound()
        await room.fall_silent(ms=600)
        await mine
        assert room.played_ms() == 20 * CHAR_MS


@virtual_time
async def test_one_who_leaves_takes_along_what_waits_for_them() -> None:
    async with stage(transcripts=["hello"], answers=[LONG]) as room:
        bob = await room.join("bob")
        await room.ask()
        saying = asyncio.create_task(room.channel.say(bob, WORDS))
        await room.quiet(200)
        began = now()
        await room.channel.disconnect_session(bob, ROOM)
        await saying
        assert now() - began < 0.5


@virtual_time
async def test_interrupt_stops_what_its_session_hears_and_interrupt_all_everything() -> None:
    async with stage() as room:
        bob = await room.join("bob")

        def both() -> list[asyncio.Task[None]]:
            return [asyncio.create_task(room.channel.say(who, LONG)) for who in (room.session, bob)]

        mine, his = both()
        await room.quiet(300)
        assert await room.channel.interrupt(room.session)
        await mine
        assert not his.done()
        assert await room.channel.interrupt_all(ROOM) == 1
        await his
        sayings = both()
        await room.quiet(300)
        assert await room.channel.interrupt_all(ROOM) == 2
        await asyncio.gather(*sayings)
        assert not await room.channel.interrupt(bob)


@virtual_time
async def test_V125_what_is_said_over_a_private_word_waits_for_that_alone() -> None:
    rules = InterruptionConfig(strategy=InterruptionStrategy.DISABLED)
    async with stage(transcripts=["hello"], interruption=rules) as room:
        bob = await room.join("bob")
        mine = asyncio.create_task(room.channel.say(room.session, "x" * 50))
        his = asyncio.create_task(room.channel.say(bob, "y" * 250))
        await room.quiet(200)
        await room.speak(400)
        assert await room.said() == []
        await mine
        await room.quiet(100)
        assert await room.said() == ["hello"]
        assert not his.done()
        await his
        assert room.played_ms(bob) == 250 * CHAR_MS


@virtual_time
async def test_wait_playback_done_waits_for_what_one_hears_alone_too() -> None:
    async with stage() as room:
        saying = asyncio.create_task(room.channel.say(room.session, "x" * 50))
        await room.quiet(100)
        await room.channel.wait_playback_done(ROOM, timeout=5)
        assert room.played_ms() == 50 * CHAR_MS
        await saying


@virtual_time
async def test_a_false_interruption_goes_on_for_its_listener_alone() -> None:
    rules = InterruptionConfig(resume_false_interruption_ms=300)
    async with stage(transcripts=[""], interruption=rules) as room:
        bob = await room.join("bob")
        sayings = [
            asyncio.create_task(room.channel.say(who, "x" * 100)) for who in (bob, room.session)
        ]
        began = now()
        await room.quiet(300)
        await room.speak(600, bob)
        await sayings[1]
        assert now() - began < 2.2, "nothing of Bob's held it"
        await sayings[0]
        assert now() - began > 2.3
        assert room.played_ms(bob) == room.played_ms() == 100 * CHAR_MS
