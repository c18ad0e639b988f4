"""When a turn is complete, and what becomes of an answer nobody has heard yet (parts 13 and 21)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conformance.voice.stage import CHAR_MS, ScriptSTT, Stage, stage

from salon.models import HookResult, HookTrigger, TextContent
from salon.testing import MockAIProvider, virtual_time
from salon.voice.interruption import InterruptionConfig, InterruptionStrategy
from salon.voice.pipeline.diarization.base import DiarizationResult
from salon.voice.pipeline.diarization.mock import MockDiarizationProvider
from salon.voice.pipeline.turn.base import TurnContext, TurnDecision, TurnDetector
from salon.voice.pipeline.turn.mock import MockTurnDetector
from salon.voice.stt.mock import MockSpeechToText
from salon.voice.tts.mock import MockTextToSpeech

T = HookTrigger
ANSWER = "There are many things to tell about this town and its people."
LONG = " ".join([ANSWER] * 4)
MORE = TurnDecision(is_complete=False, confidence=0.4, suggested_wait_ms=2000)
DONE = TurnDecision(is_complete=True, confidence=0.9)


def judged(*decisions: TurnDecision) -> dict[str, Any]:
    return {"turn_detector": MockTurnDetector(decisions)}


async def one(room: Stage, ms: int = 400, quiet: int = 300) -> None:
    await room.speak(ms)
    await room.quiet(quiet)


def watch_turns(room: Stage) -> None:
    room.watch(T.ON_TURN_COMPLETE, T.ON_TURN_INCOMPLETE)


# -- the turn detector ----------------------------------------------------------------------------


@virtual_time
async def test_V112_without_a_detector_each_utterance_is_routed() -> None:
    async with stage(transcripts=["one", "two"]) as room:
        watch_turns(room)
        await one(room)
        await one(room)
        assert await room.said() == ["one", "two"]
        assert not room.fired


@virtual_time
async def test_V110_a_complete_turn_is_told_and_routed_once() -> None:
    async with stage(transcripts=["hello there"], pipeline=judged(DONE)) as room:
        watch_turns(room)
        await one(room)
        assert await room.said() == ["hello there"]
        (complete,) = room.given(T.ON_TURN_COMPLETE)
        assert complete.session is room.session
        assert (complete.text, complete.confidence) == ("hello there", 0.9)
        assert room.order() == [T.ON_TURN_COMPLETE]


@virtual_time
async def test_V111_an_incomplete_turn_is_joined_with_the_next_utterance() -> None:
    async with stage(
        transcripts=["my number is", "one two three"], pipeline=judged(MORE, DONE)
    ) as room:
        watch_turns(room)
        await one(room)
        assert await room.said() == []
        await one(room)
        assert await room.said() == ["my number is one two three"]
        assert room.order() == [T.ON_TURN_INCOMPLETE, T.ON_TURN_COMPLETE]
        (incomplete,) = room.given(T.ON_TURN_INCOMPLETE)
        assert (incomplete.text, incomplete.confidence) == ("my number is", 0.4)
        detector: Any = room.channel._transcripts._detector
        assert [context.transcript for context in detector.evaluations] == [
            "my number is",
            "my number is one two three",
        ]


@virtual_time
async def test_V111_the_hook_has_changed_what_the_detector_judges() -> None:
    detector = MockTurnDetector([DONE])
    async with stage(transcripts=["secret"], pipeline={"turn_detector": detector}) as room:

        @room.kit.hook(T.ON_TRANSCRIPTION)
        async def redact(event: Any, _context: Any) -> HookResult:
            import dataclasses

            return HookResult.modify(dataclasses.replace(event, text="[redacted]"))

        await one(room)
        assert [context.transcript for context in detector.evaluations] == ["[redacted]"]
        assert await room.said() == ["[redacted]"]


@virtual_time
async def test_V241_an_incomplete_turn_is_routed_after_the_silence() -> None:
    async with stage(transcripts=["my number is"], pipeline=judged(MORE)) as room:
        watch_turns(room)
        await one(room, quiet=1900)
        assert await room.said() == []
        await room.quiet(200)
        assert await room.said() == ["my number is"]
        (complete,) = room.given(T.ON_TURN_COMPLETE)
        assert complete.confidence == 0.0


@virtual_time
async def test_V241_or_after_the_configured_wait() -> None:
    more = TurnDecision(is_complete=False)
    parts = judged(more) | {"turn_incomplete_wait_ms": 700.0}
    async with stage(transcripts=["my number is"], pipeline=parts) as room:
        await one(room, quiet=600)
        assert await room.said() == []
        await room.quiet(200)
        assert await room.said() == ["my number is"]


@virtual_time
async def test_V241_also_when_no_frames_come() -> None:
    async with stage(transcripts=["my number is"], pipeline=judged(MORE)) as room:
        await room.speak()
        await asyncio.sleep(2.2)
        assert await room.said() == ["my number is"]


@virtual_time
async def test_V241_speech_restarts_the_wait() -> None:
    async with stage(transcripts=["my number is", "well"], pipeline=judged(MORE, MORE)) as room:
        await one(room, quiet=1500)
        await one(room, ms=1000, quiet=1500)
        assert await room.said() == []
        await room.quiet(700)
        assert await room.said() == ["my number is well"]


@virtual_time
async def test_V241_speech_without_words_does_not_hold_it() -> None:
    async with stage(transcripts=["my number is", ""], pipeline=judged(MORE)) as room:
        await one(room, quiet=1000)
        await one(room, ms=300, quiet=900)
        assert await room.said() == ["my number is"]


@virtual_time
async def test_V241_a_complete_turn_waits_for_speech_that_goes_on() -> None:
    class Slow(ScriptSTT):
        pass

    async with stage(stt=Slow(["one", "two"], delay=0.5), pipeline=judged(DONE, DONE)) as room:
        await room.speak(400)
        await room.quiet(200)
        await room.begin()
        await room.quiet(1000)
        assert await room.said() == []
        await room.fall_silent(ms=1000)
        await room.quiet(1000)
        assert await room.said() == ["one two"]


class Raising(TurnDetector):
    name = "raising"

    def evaluate(self, context: TurnContext) -> TurnDecision:
        raise RuntimeError("no")


@virtual_time
async def test_V241_a_detector_that_raises_holds_nothing() -> None:
    async with stage(transcripts=["one", "two"], pipeline={"turn_detector": Raising()}) as room:
        await one(room)
        await one(room)
        assert await room.said() == ["one", "two"]


@virtual_time
async def test_V110_each_line_has_a_turn_of_its_own() -> None:
    async with stage(
        transcripts=["I would", "hello", "like tea"], pipeline=judged(MORE, DONE, DONE)
    ) as room:
        bob = await room.join("bob")
        await one(room)
        await room.speak(400, bob)
        await room.quiet(200)
        await one(room)
        heard = [
            (e.source.participant_id, e.content.body)
            for e in await room.messages()
            if isinstance(e.content, TextContent)
        ]
        assert heard == [("bob", "hello"), ("ann", "I would like tea")]


@virtual_time
async def test_V241_what_is_held_is_routed_when_the_line_leaves() -> None:
    async with stage(transcripts=["my number is"], pipeline=judged(MORE)) as room:
        await one(room)
        await room.channel.disconnect_session(room.session, "room")
        await asyncio.sleep(0.5)
        assert await room.said() == ["my number is"]


@virtual_time
async def test_the_detector_is_told_the_conversation() -> None:
    detector = MockTurnDetector()
    async with stage(
        transcripts=["hello", "and you"],
        answers=["I am fine.", "ok"],
        pipeline={"turn_detector": detector},
    ) as room:
        await one(room, quiet=1500)
        await one(room)
        told = [(entry.role, entry.text) for entry in detector.evaluations[1].conversation_history]
        assert told == [("user", "hello"), ("assistant", "I am fine.")]


# -- an answer nobody has heard yet ---------------------------------------------------------------


def slow_voice() -> MockTextToSpeech:
    from salon.testing import VirtualClock

    return MockTextToSpeech(char_ms=CHAR_MS, delay_s=1.0, clock=VirtualClock())


@pytest.mark.parametrize("detector", [False, True])
@virtual_time
async def test_V243_one_answer_to_both_parts(detector: bool) -> None:
    provider = MockAIProvider([ANSWER, "Both."])
    async with stage(
        transcripts=["I would like", "tea and cake"],
        provider=provider,
        tts=slow_voice(),
        pipeline=judged(DONE, DONE) if detector else None,
    ) as room:
        room.watch(T.ON_BARGE_IN, T.ON_TTS_CANCELLED)
        await room.speak(400)
        await room.quiet(300)
        await room.speak(700)
        await room.quiet(3000)
        assert T.ON_BARGE_IN not in room.order()
        for cancelled in room.given(T.ON_TTS_CANCELLED):
            assert cancelled.reason == "superseded"
        assert room.played_ms() == len("Both.") * CHAR_MS
        heard = [text for text in await room.said() if text != ANSWER]
        assert heard == ["I would like", "tea and cake", "Both."]
        for event in await room.messages():
            if isinstance(event.content, TextContent) and event.content.body == ANSWER:
                assert event.metadata["cancelled"] is True
                assert event.metadata["cancellation_reason"] == "superseded"
        asked = str(provider.contexts[-1].messages)
        assert "I would like" in asked
        assert "tea and cake" in asked
        assert "many things" not in asked


@pytest.mark.parametrize("streaming", [False, True])
@virtual_time
async def test_V243_while_the_answer_is_still_being_generated(streaming: bool) -> None:
    provider = MockAIProvider([ANSWER, "Both."], delay=2.0)
    async with stage(
        transcripts=["I would like", "tea and cake"], provider=provider, streaming=streaming
    ) as room:
        room.watch(T.ON_BARGE_IN)
        await room.speak(400)
        await room.quiet(300)
        await room.speak(700)
        await room.quiet(8000)
        assert not room.fired
        assert room.played_ms() == len("Both.") * CHAR_MS


@virtual_time
async def test_V243_speech_without_words_lets_the_answer_play() -> None:
    async with stage(transcripts=["hello", ""], answers=[ANSWER], tts=slow_voice()) as room:
        await room.speak(400)
        await room.quiet(300)
        await room.begin()
        await room.quiet(1500)
        assert not room.sound()
        await room.fall_silent(ms=1500)
        await room.quiet(3000)
        assert room.played_ms() == len(ANSWER) * CHAR_MS
        assert await room.said() == ["hello", ANSWER]


@virtual_time
async def test_V243_short_speech_does_not_supersede() -> None:
    async with stage(
        transcripts=["hello", "hm"], answers=[ANSWER, "What?"], tts=slow_voice()
    ) as room:
        await room.speak(400)
        await room.quiet(300)
        await room.speak(100)
        await room.quiet(8000)
        assert (await room.said()).count(ANSWER) == 1
        assert room.played_ms() >= len(ANSWER) * CHAR_MS


@virtual_time
async def test_V243_blocked_words_let_the_answer_play() -> None:
    async with stage(transcripts=["hello", "damn"], answers=[ANSWER], tts=slow_voice()) as room:

        @room.kit.hook(T.ON_TRANSCRIPTION)
        async def gate(event: Any, _context: Any) -> HookResult:
            return HookResult.block("rude") if event.text == "damn" else HookResult.allow()

        await room.speak(400)
        await room.quiet(300)
        await room.speak(700)
        await room.quiet(4000)
        assert room.played_ms() == len(ANSWER) * CHAR_MS
        assert await room.said() == ["hello", ANSWER]


@virtual_time
async def test_V243_a_failed_recognition_lets_the_answer_play() -> None:
    async with stage(
        transcripts=["hello", RuntimeError("busy")], answers=[ANSWER], tts=slow_voice()
    ) as room:
        await room.speak(400)
        await room.quiet(300)
        await room.speak(700)
        await room.quiet(4000)
        assert room.played_ms() == len(ANSWER) * CHAR_MS


@virtual_time
async def test_V243_whoever_else_speaks_does_not_supersede() -> None:
    provider = MockAIProvider([ANSWER, "And Bob."])
    async with stage(
        transcripts=["I am Ann", "I am Bob"], provider=provider, tts=slow_voice()
    ) as room:
        bob = await room.join("bob")
        await room.speak(400)
        await room.quiet(300)
        await room.speak(700, bob)
        await room.quiet(8000)
        assert ANSWER in await room.said()
        assert not any(e.metadata.get("cancelled") for e in await room.messages())


@virtual_time
async def test_V243_a_line_that_leaves_while_it_speaks_holds_nothing() -> None:
    async with stage(transcripts=["hello"], answers=[ANSWER], tts=slow_voice()) as room:
        bob = await room.join("bob")
        await room.speak(400)
        await room.quiet(300)
        await room.begin(bob)
        await room.quiet(500)
        await room.channel.disconnect_session(bob, "room")
        await room.quiet(3000)
        assert room.played_ms() == len(ANSWER) * CHAR_MS


@virtual_time
async def test_V242_nothing_heard_is_stored_as_nothing() -> None:
    async with stage(
        transcripts=["hello", "stop"],
        answers=[ANSWER, "ok"],
        tts=slow_voice(),
    ) as room:
        await room.speak(400)
        await room.quiet(300)
        await room.channel.disconnect_session(room.session, "room")
        await asyncio.sleep(3)
        stored = [e for e in await room.messages() if e.source.channel_id == "agent"]
        assert all(e.metadata.get("played_ms", 0) == 0 for e in stored)


@virtual_time
async def test_V242_the_position_is_that_of_the_sound_sent() -> None:
    async with stage(transcripts=["hello", "stop"], answers=[LONG, "ok"]) as room:
        room.watch(T.ON_BARGE_IN)
        await room.ask()
        await room.quiet(600)
        played = room.played_ms()
        await room.speak(600)
        await room.quiet(300)
        stored = (await room.messages())[1]
        assert abs(stored.metadata["played_ms"] - (played + 300)) <= 60
        assert isinstance(stored.content, TextContent)
        spoken = stored.metadata["played_ms"] // CHAR_MS
        assert LONG[:spoken].startswith(stored.content.body)
        assert len(stored.content.body) >= spoken - 12


@virtual_time
async def test_V245_what_was_judged_a_backchannel_is_not_cut_by_duration() -> None:
    stt = MockSpeechToText(["hello", "uh huh"])
    interruption = InterruptionConfig(strategy=InterruptionStrategy.SEMANTIC)
    async with stage(stt=stt, answers=[LONG], interruption=interruption) as room:
        room.watch(T.ON_BARGE_IN)
        await room.ask()
        await room.quiet(400)
        await room.speak(2500)
        await room.quiet(300)
        assert not room.fired


@virtual_time
async def test_V245_later_words_cut() -> None:
    stt = MockSpeechToText(["hello", "uh huh but wait"])
    interruption = InterruptionConfig(strategy=InterruptionStrategy.SEMANTIC)
    async with stage(stt=stt, answers=[LONG, "ok"], interruption=interruption) as room:
        room.watch(T.ON_BARGE_IN)
        await room.ask()
        await room.quiet(400)
        await room.speak(800)
        await room.quiet(300)
        assert room.order() == [T.ON_BARGE_IN]


@virtual_time
async def test_V246_a_change_of_speaker_is_told_once() -> None:
    results = [
        DiarizationResult(speaker, 0.9, new)
        for speaker, new in (
            ("A", True),
            ("A", False),
            (None, False),
            ("A", False),
            ("B", True),
            (None, False),
            ("B", False),
            ("A", False),
        )
    ]
    async with stage(pipeline={"diarization": MockDiarizationProvider(list(results))}) as room:
        room.watch(T.ON_SPEAKER_CHANGE)
        await room.feed(len(results))
        await asyncio.sleep(0.1)
        changes = [
            (event.speaker_id, event.is_new_speaker) for event in room.given(T.ON_SPEAKER_CHANGE)
        ]
        assert changes == [("A", True), ("B", True), ("A", False)]
        assert {event.source for event in room.given(T.ON_SPEAKER_CHANGE)} == {"pipeline"}
        assert {event.session.id for event in room.given(T.ON_SPEAKER_CHANGE)} == {room.session.id}
