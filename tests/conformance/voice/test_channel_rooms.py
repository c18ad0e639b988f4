"""Several listeners and several agents in one room; sound for one alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
from tests.conformance.voice.stage import CHAR_MS, ROOM, Stage, stage
from tests.conformance.voice.test_channel_stt import (
    Texts,
)

from salon.channels.ai import AIChannel
from salon.core.ports.ai import AIContext, AIStreamPart
from salon.media.wav import wav_bytes
from salon.models import (
    HookTrigger,
    InboundMessage,
    TextContent,
)
from salon.testing import MockAIProvider, virtual_time

T = HookTrigger
ANSWER = "There are many things to tell about this town and its people."
LONG = " ".join([ANSWER] * 4)


class Counting(MockAIProvider):
    """Counts what it has made so far."""

    made = 0

    async def generate_stream(self, context: AIContext) -> AsyncGenerator[AIStreamPart, None]:
        async for part in super().generate_stream(context):
            self.made += 1
            yield part


def now() -> float:
    return asyncio.get_running_loop().time()


async def typed(room: Stage, text: str, sender: str = "carl") -> Any:
    """Somebody types into the room, on another channel."""
    if room.kit.get_channel("texts") is None:
        room.kit.register_channel(Texts())
        await room.kit.attach_channel(ROOM, "texts")
    return await room.kit.process_inbound(
        InboundMessage(channel_id="texts", sender_id=sender, content=TextContent(body=text)),
        room_id=ROOM,
    )


def _wav(ms: int) -> bytes:
    return wav_bytes(np.full(16 * ms, 0x1010, dtype=np.int16))


@virtual_time
async def test_V240_everybody_hears_the_answer_and_it_is_made_once() -> None:
    async with stage(transcripts=["hello"], answers=[ANSWER]) as room:
        others = [await room.join(name) for name in ("bob", "cid")]
        await room.ask()
        await room.quiet(3000)
        assert [text for text, _ in room.tts.spoken] == [ANSWER]
        for session in (room.session, *others):
            assert room.played_ms(session) == len(ANSWER) * CHAR_MS
        assert room.sound(others[0]) == room.sound()


@virtual_time
async def test_V240_one_that_leaves_does_not_cut_the_others() -> None:
    async with stage(transcripts=["hello"], answers=[ANSWER]) as room:
        room.watch(T.ON_TTS_CANCELLED, T.AFTER_TTS)
        bob = await room.join("bob")
        await room.ask()
        await room.quiet(400)
        await room.channel.disconnect_session(bob, ROOM)
        await room.quiet(3000)
        assert room.played_ms() == len(ANSWER) * CHAR_MS
        assert room.played_ms(bob) < len(ANSWER) * CHAR_MS
        assert room.order() == [T.AFTER_TTS]


@virtual_time
async def test_V240_when_all_leave_generation_stops_and_what_was_heard_is_stored() -> None:
    provider = Counting([[f"This is sentence {n}. " for n in range(50)]], delay=0.2)
    async with stage(transcripts=["hello"], provider=provider) as room:
        await room.ask()
        await room.quiet(1000)
        await room.channel.disconnect_session(room.session, ROOM)
        made = provider.made
        await asyncio.sleep(3)
        assert provider.made <= made + 1
        stored = (await room.messages())[1]
        assert isinstance(stored.content, TextContent)
        assert stored.content.body.startswith("This is sentence 0.")
        assert len(stored.content.body) < 300


@virtual_time
async def test_V120_V240_a_cut_stops_generation() -> None:
    provider = Counting([[f"This is sentence {n}. " for n in range(50)], "ok"], delay=0.2)
    async with stage(transcripts=["hello", "stop"], provider=provider) as room:
        await room.ask()
        await room.quiet(1000)
        await room.speak(600)
        made = provider.made
        await room.quiet(3000)
        assert provider.made <= made + 1 + 1  # the next answer
        stored = (await room.messages())[1]
        assert stored.metadata["interrupted"] is True


@virtual_time
async def test_V115_whoever_cuts_it_it_stops_for_all() -> None:
    async with stage(transcripts=["hello", "stop"], answers=[LONG, "ok"]) as room:
        room.watch(T.ON_BARGE_IN, T.ON_TTS_CANCELLED)
        bob = await room.join("bob")
        await room.ask()
        await room.quiet(400)
        await room.speak(600, bob)
        await room.quiet(600)
        (barge_in,) = room.given(T.ON_BARGE_IN)
        assert barge_in.session is bob
        assert {event.session.id for event in room.given(T.ON_TTS_CANCELLED)} == {
            bob.id,
            room.session.id,
        }
        assert room.played_ms() < 1500


@virtual_time
async def test_say_and_play_are_heard_by_one_session_only() -> None:
    async with stage() as room:
        bob = await room.join("bob")
        room.watch(T.BEFORE_TTS, T.AFTER_TTS)
        await room.channel.say(bob, "For you only.", voice="alto")
        assert room.played_ms(bob) == len("For you only.") * CHAR_MS
        assert not room.sound()
        assert room.tts.spoken[-1][1].voice == "alto"
        await room.channel.play(bob, _wav(300), text="ding")
        assert room.played_ms(bob) == len("For you only.") * CHAR_MS + 300
        assert not room.sound()
        assert await room.said() == []
        await asyncio.sleep(0.1)
        assert room.given(T.BEFORE_TTS) == ["For you only."]


@virtual_time
async def test_say_to_two_at_once_does_not_queue() -> None:
    async with stage() as room:
        bob = await room.join("bob")
        began = now()
        await asyncio.gather(
            room.channel.say(room.session, "x" * 50), room.channel.say(bob, "y" * 50)
        )
        assert now() - began < 1.5


@virtual_time
async def test_an_interrupted_say_returns() -> None:
    async with stage() as room:
        room.watch(T.ON_TTS_CANCELLED)
        task = asyncio.create_task(room.channel.say(room.session, LONG))
        await room.quiet(500)
        result: Any = room.channel.interrupt(room.session)
        if asyncio.iscoroutine(result) or hasattr(result, "__await__"):
            result = await result
        assert result
        await task
        await asyncio.sleep(0.1)
        (cancelled,) = room.given(T.ON_TTS_CANCELLED)
        assert cancelled.reason == "explicit"
        assert 400 <= cancelled.audio_position_ms <= 600


@virtual_time
async def test_wait_playback_done_waits() -> None:
    async with stage(transcripts=["hello"], answers=[ANSWER]) as room:
        await room.ask()
        await room.channel.wait_playback_done(ROOM, timeout=5)
        assert room.played_ms() >= len(ANSWER) * CHAR_MS
        await room.channel.wait_playback_done(ROOM, timeout=5)


@virtual_time
async def test_wait_playback_done_gives_up() -> None:
    """Its users do not expect it to raise."""
    async with stage(transcripts=["hello"], answers=[LONG]) as room:
        await room.ask()
        began = now()
        await room.channel.wait_playback_done(ROOM, timeout=0.5)
        assert now() - began < 0.6


@virtual_time
async def test_two_agents_take_the_floor_in_turn_each_with_its_voice() -> None:
    async with stage(
        transcripts=["hello"], answers=[ANSWER], voice_map={"agent": "alto", "second": "bass"}
    ) as room:
        second = AIChannel("second", provider=MockAIProvider(["I am the second one."]))
        room.kit.register_channel(second)
        await room.kit.attach_channel(ROOM, "second")
        await room.speak()
        await room.quiet(6000)
        spoken = {text: settings.voice for text, settings in room.tts.spoken}
        assert spoken[ANSWER] == "alto"
        assert spoken["I am the second one."] == "bass"
        total = len(ANSWER) + len("I am the second one.")
        assert room.played_ms() == total * CHAR_MS


@virtual_time
async def test_update_voice_map_counts_from_the_next_thing_said() -> None:
    async with stage(transcripts=["one", "two"], answers=["Yes.", "No."]) as room:
        await room.ask()
        room.channel.update_voice_map({"agent": "alto"})
        await room.quiet(500)
        await room.ask()
        await room.quiet(500)
        first, second = (settings.voice for _, settings in room.tts.spoken)
        assert first != "alto"
        assert second == "alto"


@virtual_time
async def test_typing_cuts_the_agent_too() -> None:
    async with stage(transcripts=["hello"], answers=[LONG, "ok"]) as room:
        await room.ask()
        await room.quiet(500)
        await typed(room, "wait")
        await room.quiet(1000)
        (stored,) = [e for e in await room.messages() if e.source.channel_id == "agent"][:1]
        assert stored.metadata["interrupted"] is True
        assert room.played_ms() < 1000
