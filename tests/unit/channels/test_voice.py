"""The channel ``voice``: what callers say, and what they have heard when they cut in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from salon.core import RoomKit
from salon.core.ports.ai import AIProvider
from salon.media import Samples
from salon.models import HookResult, HookTrigger
from salon.testing import (
    CallPair,
    MockAIProvider,
    MockTextToSpeech,
    ScriptedRooms,
    scripted_engine,
    scripted_rooms,
    silence,
    tone,
    virtual_time,
)
from salon.voice.hook_payloads import TranscriptionEvent
from salon.voice.stt.mock import Scripted
from salon.voice.turns import InterruptionStrategy, TurnConfig

CONFIRMED = InterruptionStrategy.CONFIRMED
IMMEDIATE = InterruptionStrategy.IMMEDIATE
DISABLED = InterruptionStrategy.DISABLED

ANSWER = "one two three four five six seven eight nine ten"
WORD_MS = 60
"""Of each character of an answer."""
SERVER = "server-side-track"


def said(ms: int, *, before: int = 320, after: int = 700) -> Samples:
    return np.concatenate((silence(before), tone(ms), silence(after)))


@asynccontextmanager
async def room(
    heard: Sequence[Scripted] = (),
    answers: AIProvider | Sequence[Any] = (ANSWER, "fine"),
    strategy: InterruptionStrategy = CONFIRMED,
    **parts: Any,
) -> AsyncIterator[ScriptedRooms]:
    async with scripted_engine(heard, **parts) as engine:
        agent = (
            answers
            if isinstance(answers, AIProvider)
            else MockAIProvider(answers, clock=engine.clock)
        )
        async with scripted_rooms(engine, agent, turns=TurnConfig(strategy=strategy)) as rooms:
            yield rooms


async def enter(rooms: ScriptedRooms, participant: str = "ann", **query: str) -> CallPair:
    call = rooms.call(participant=participant, **query)
    await call.invite()
    return call


async def ask(call: CallPair, text: str = "tell me") -> None:
    """Type, and wait for the answer to be heard."""
    call.send({"command": "chat", "text": text})
    await call.expect("trackStart", trackId=SERVER)


# -- answers --------------------------------------------------------------------------------------


@virtual_time
async def test_V240_an_answer_is_stored_when_it_was_heard() -> None:
    async with room() as rooms:
        call = await enter(rooms)
        await ask(call)
        await asyncio.sleep(1)
        assert await rooms.said() == ["tell me"]
        await call.expect("trackEnd", trackId=SERVER)
        await asyncio.sleep(0.05)
        assert await rooms.said() == ["tell me", ANSWER]
        _, answer = await rooms.messages()
        assert not answer.metadata.get("interrupted")


@virtual_time
async def test_V98_the_first_sentence_is_spoken_while_the_rest_is_produced() -> None:
    parts = ["One sentence. ", "And a ", "second one."]
    async with scripted_engine() as engine:
        agent = MockAIProvider([parts], delay=1.0, clock=engine.clock)
        async with scripted_rooms(engine, agent) as rooms:
            call = await enter(rooms)
            await ask(call)
            await asyncio.sleep(2.5)
            assert len(call.audio) > 30
            await call.expect("trackEnd", trackId=SERVER)
            voice = engine.synthesizer()
            assert isinstance(voice, MockTextToSpeech)
            assert [text for text, _ in voice.spoken] == ["One sentence.", "And a second one."]
            await asyncio.sleep(0.05)
            assert (await rooms.said())[1] == "One sentence. And a second one."


@virtual_time
async def test_an_answer_without_words_makes_no_sound() -> None:
    async with room(answers=["... \N{GRINNING FACE}"]) as rooms:
        call = await enter(rooms)
        call.send({"command": "chat", "text": "hm"})
        await call.expect("trackEnd", trackId=SERVER)
        assert call.audio == []


@virtual_time
async def test_an_agent_that_fails_leaves_the_call_alive() -> None:
    async with room(["hello"], answers=[[LookupError("defect")], "fine"]) as rooms:
        call = await enter(rooms)
        call.send({"command": "chat", "text": "one"})
        await asyncio.sleep(2)
        call.send({"command": "chat", "text": "two"})
        await asyncio.sleep(2)
        assert (await rooms.said())[-1] == "fine"


@virtual_time
async def test_V106_a_voice_that_fails_loses_no_text() -> None:
    voice = MockTextToSpeech(failures={ANSWER: "no sound"})
    async with room(synthesizer=voice) as rooms:
        call = await enter(rooms)
        call.send({"command": "chat", "text": "one"})
        error = await call.expect("error", sender="tts")
        assert "no sound" in error["error"]
        await call.expect("trackEnd", trackId=SERVER)
        await asyncio.sleep(1)
        assert await rooms.said() == ["one", ANSWER]
        call.send({"command": "chat", "text": "two"})
        await call.expect("trackEnd", trackId=SERVER)
        assert call.audio


@virtual_time
async def test_nobody_there_to_listen_is_no_reason_to_wait() -> None:
    async with room() as rooms:
        call = await enter(rooms)
        call.send({"command": "chat", "text": "tell me"})
        await asyncio.sleep(0)
        call.vanish()
        await asyncio.sleep(5)
        assert not rooms.voice.stop_speaking("room")
        assert rooms.gateway.calls == 0


# -- barge-in -------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [IMMEDIATE, CONFIRMED])
@virtual_time
async def test_V242_what_is_stored_is_what_was_heard_to_the_word(
    strategy: InterruptionStrategy,
) -> None:
    async with room(["wait a moment"], strategy=strategy) as rooms:
        call = await enter(rooms)
        await call.send_audio(silence(320))
        await ask(call)
        await call.send_audio(said(640))
        cut = await call.expect("interruption", trackId=SERVER)
        heard = ANSWER[: cut["current"] // WORD_MS]
        whole = heard if ANSWER[len(heard)] == " " else heard.rpartition(" ")[0]
        await asyncio.sleep(0.1)
        words = await rooms.said()
        assert words[1] == whole.strip()
        assert words[2] == "wait a moment"
        answer = (await rooms.messages())[1]
        assert answer.metadata["interrupted"] is True
        assert answer.metadata["played_ms"] == pytest.approx(cut["current"], abs=20)
        limit = 320 + 2 * 32 + 100 if strategy is IMMEDIATE else 320 + 320 + 140
        assert cut["current"] <= limit


@virtual_time
async def test_V115_immediate_cuts_sooner_than_confirmed() -> None:
    cuts = []
    for strategy in (IMMEDIATE, CONFIRMED):
        async with room(["wait"], strategy=strategy) as rooms:
            call = await enter(rooms)
            await call.send_audio(silence(320))
            await ask(call)
            await call.send_audio(said(640))
            cuts.append((await call.expect("interruption"))["current"])
    immediate, confirmed = cuts
    assert confirmed - immediate == pytest.approx(256, abs=64)


@virtual_time
async def test_V117_a_false_start_changes_nothing() -> None:
    async with room(["mhm"], strategy=CONFIRMED) as rooms:
        call = await enter(rooms)
        await call.send_audio(silence(320))
        await ask(call)
        await call.send_audio(said(160))
        end = await call.expect("trackEnd", trackId=SERVER)
        await asyncio.sleep(0.05)
        assert not call.of("interruption")
        assert not call.of("asrFinal")
        assert end["duration"] == pytest.approx(len(ANSWER) * WORD_MS, abs=80)
        assert await rooms.said() == ["tell me", ANSWER]


@virtual_time
async def test_V125_disabled_hears_what_is_said_after_the_answer() -> None:
    async with room(["and then"], strategy=DISABLED) as rooms:
        call = await enter(rooms)
        await call.send_audio(silence(320))
        await ask(call)
        await call.send_audio(said(640))
        assert not call.of("interruption")
        await call.expect("trackEnd", trackId=SERVER)
        await call.expect("trackEnd", trackId=SERVER)
        await asyncio.sleep(0.05)
        words = await rooms.said()
        assert sorted(words) == sorted(["tell me", ANSWER, "and then", "fine"])
        assert not call.of("interruption")


@virtual_time
async def test_typed_words_stop_the_agent_for_everybody() -> None:
    async with room() as rooms:
        ann, ben = await enter(rooms), await enter(rooms, "ben")
        await ask(ann)
        await ben.expect("trackStart", trackId=SERVER)
        await asyncio.sleep(0.5)
        ben.send({"command": "chat", "text": "stop"})
        for call in (ann, ben):
            await call.expect("interruption", timeout=1)
            await call.expect("trackStart", trackId=SERVER)
            await call.expect("trackEnd", trackId=SERVER)
        await asyncio.sleep(0.1)
        assert sorted(await rooms.said()) == sorted(["tell me", "one two", "stop", "fine"])


@virtual_time
async def test_one_voice_stops_the_agent_for_all() -> None:
    async with room(["stop it"], strategy=IMMEDIATE) as rooms:
        ann, ben = await enter(rooms), await enter(rooms, "ben")
        await ann.send_audio(silence(320))
        await ask(ben)
        await ann.send_audio(said(640))
        for call in (ann, ben):
            assert call.of("interruption")
        assert ann.of("interruption")[0]["current"] == pytest.approx(
            ben.of("interruption")[0]["current"], abs=40
        )


@virtual_time
async def test_the_call_that_ends_during_its_answer_leaves_what_was_heard() -> None:
    async with room() as rooms:
        call = await enter(rooms)
        await ask(call)
        await asyncio.sleep(1)
        call.send({"command": "hangup"})
        await call.closed()
        await asyncio.sleep(0.2)
        assert await rooms.said() == ["tell me", "one two three"]
        (_, answer) = await rooms.messages()
        assert answer.metadata["interrupted"] is True


@virtual_time
async def test_an_unanswered_call_ends_without_a_trace() -> None:
    async with room() as rooms:
        call = rooms.call()
        call.send({"command": "hangup"})
        assert await call.closed() == 1000
        await asyncio.sleep(0.1)
        assert await rooms.kit.store.get_room("room") is None
        assert call.names == ["hangup"]


@virtual_time
async def test_a_caller_who_vanishes_before_the_agent_has_thought() -> None:
    async with scripted_engine(["hello"]) as engine:
        agent = MockAIProvider([[ANSWER]], delay=3.0, clock=engine.clock)
        async with scripted_rooms(engine, agent) as rooms:
            call = await enter(rooms)
            await call.send_audio(said(640))
            call.vanish()
            await asyncio.sleep(10)
            assert (await rooms.said())[0] == "hello"
            assert engine.vad.statistics().streams == 0


# -- hooks ----------------------------------------------------------------------------------------


def hook(kit: RoomKit, trigger: HookTrigger, answer: HookResult) -> list[Any]:
    """Register a hook that gives this answer; what it was called with."""
    seen: list[Any] = []

    async def run(payload: Any, _context: Any) -> HookResult:
        seen.append(payload)
        return answer

    kit.hook(trigger)(run)
    return seen


@virtual_time
async def test_V92_a_blocked_transcription_goes_nowhere() -> None:
    async with room(["a secret"]) as rooms:
        seen = hook(rooms.kit, HookTrigger.ON_TRANSCRIPTION, HookResult.block("private"))
        call = await enter(rooms)
        await call.send_audio(said(640))
        await asyncio.sleep(1)
        assert [event.text for event in seen] == ["a secret"]
        assert seen[0].session.participant_id == "ann"
        assert await rooms.said() == []


@virtual_time
async def test_V93_a_transcription_may_be_changed() -> None:
    async with room(["my number is 5"]) as rooms:

        @rooms.kit.hook(HookTrigger.ON_TRANSCRIPTION)
        async def mask(event: TranscriptionEvent, _context: Any) -> HookResult:
            return HookResult.modify(replace(event, text="my number is *"))

        call = await enter(rooms, name="Ann")
        await call.send_audio(said(640))
        await asyncio.sleep(0.5)
        (message, *_) = await rooms.messages()
        assert (await rooms.said())[0] == "my number is *"
        assert message.metadata["spoken"] is True
        assert message.metadata["confidence"] == 1.0
        assert message.metadata["end_ms"] > message.metadata["start_ms"]


@virtual_time
async def test_V102_before_tts_changes_or_blocks_what_is_spoken() -> None:
    async with room() as rooms:
        seen = hook(rooms.kit, HookTrigger.BEFORE_TTS, HookResult.modify("other words"))
        call = await enter(rooms)
        await ask(call)
        await call.expect("trackEnd", trackId=SERVER)
        assert seen == [ANSWER]
        assert len(call.audio) == 11 * WORD_MS // 20


@virtual_time
async def test_V102_a_blocked_answer_is_not_spoken() -> None:
    async with room() as rooms:
        hook(rooms.kit, HookTrigger.BEFORE_TTS, HookResult.block("hush"))
        call = await enter(rooms)
        call.send({"command": "chat", "text": "tell me"})
        await asyncio.sleep(2)
        assert call.audio == []
        assert await rooms.said() == ["tell me", ANSWER]


@virtual_time
async def test_V122_a_barge_in_is_observed() -> None:
    async with room(["stop"], strategy=IMMEDIATE) as rooms:
        seen = hook(rooms.kit, HookTrigger.ON_BARGE_IN, HookResult.allow())
        call = await enter(rooms)
        await call.send_audio(silence(320))
        await ask(call)
        await call.send_audio(said(320))
        (event,) = seen
        assert event.session.participant_id == "ann"
        assert event.interrupted_text in ANSWER
        assert event.audio_position_ms > 0


# -- the channel itself ---------------------------------------------------------------------------


@virtual_time
async def test_captions_are_shown_while_somebody_speaks() -> None:
    shown: list[tuple[str, str, bool]] = []
    async with room(["one two three"]) as rooms:
        rooms.voice._events._caption = lambda _room, person, _name, text, final: shown.append(
            (person, text, final)
        )
        call = await enter(rooms)
        await call.send_audio(said(640))
        assert ("ann", "one two three", False) in shown
        assert shown[-1] == ("ann", "", True)


@virtual_time
async def test_the_channel_says_what_it_is() -> None:
    async with room() as rooms:
        voice = rooms.voice
        assert voice.provider_name == "WebSocketVoiceBackend"
        assert voice.capabilities().supports_audio
        assert voice.supports_streaming_delivery
        assert not voice.stop_speaking("room")
        await voice.close()
        await voice.close()


@virtual_time
async def test_close_stops_what_is_being_said() -> None:
    async with room() as rooms:
        call = await enter(rooms)
        await ask(call)
        await asyncio.sleep(0.5)
        await rooms.voice.close()
        await asyncio.sleep(0.1)
        frames = len(call.audio)
        await asyncio.sleep(1)
        assert len(call.audio) == frames
