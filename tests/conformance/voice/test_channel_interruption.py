"""Who cuts the agent off, seen from outside (part 14; test 22 of part 24)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conformance.voice.stage import ScriptSTT, Stage, stage

from salon.media.frame import AudioChunk
from salon.models import HookTrigger, TextContent
from salon.testing import MockAIProvider, virtual_time
from salon.voice.backends.base import VoiceCapability
from salon.voice.backends.mock import MockVoiceBackend
from salon.voice.errors import SpeechError
from salon.voice.interruption import InterruptionConfig, InterruptionStrategy
from salon.voice.pipeline.backchannel.base import BackchannelDecision
from salon.voice.pipeline.backchannel.mock import MockBackchannelDetector
from salon.voice.stt.mock import MockSpeechToText
from salon.voice.stt.result import TranscriptionResult

T = HookTrigger
S = InterruptionStrategy

ANSWER = "There are many things to tell about this town and its people."  # 61 characters, 1220 ms
LONG = " ".join([ANSWER] * 4)
ALL = (T.ON_BARGE_IN, T.ON_TTS_CANCELLED, T.ON_BACKCHANNEL, T.AFTER_TTS, T.ON_TRANSCRIPTION)


def able() -> MockVoiceBackend:
    return MockVoiceBackend(capabilities=VoiceCapability.INTERRUPTION | VoiceCapability.BARGE_IN)


async def over_the_agent(room: Stage, trigger: str, ms: int) -> None:
    """Ann asks, the agent answers, and 400 ms into it she speaks for `ms`."""
    await room.ask()
    await room.quiet(400)
    room.watch(*ALL)
    if trigger == "transport":
        await room.backend.simulate_barge_in(room.session)
    await room.speak(ms)
    await room.quiet(9000)


def expected(strategy: S, ms: int) -> str:
    """What becomes of speech over the agent."""
    if strategy is S.DISABLED:
        return "queued"
    if strategy in (S.IMMEDIATE, S.SEMANTIC) or ms >= 300:
        return "cuts"
    return "dropped"


@pytest.mark.parametrize("ms", [100, 299, 301, 1000])
@pytest.mark.parametrize("trigger", ["vad", "transport"])
@pytest.mark.parametrize("strategy", [S.IMMEDIATE, S.CONFIRMED, S.SEMANTIC, S.DISABLED])
@virtual_time
async def test_V115_V116_V117_V120_V122_V125_the_strategy_decides_whoever_noticed(
    strategy: S, trigger: str, ms: int
) -> None:
    """SEMANTIC has a detector that says "no backchannel", and a recogniser without partials, so
    that it asks after `min_speech_ms` (V244), or at the end of shorter speech with its words."""
    interruption = InterruptionConfig(
        strategy=strategy, backchannel_detector=MockBackchannelDetector()
    )
    async with stage(
        transcripts=["tell me", "wait a moment"],
        answers=[LONG, "Yes."],
        backend=able(),
        interruption=interruption,
    ) as room:
        await over_the_agent(room, trigger, ms)
        what = expected(strategy, ms)
        said = await room.said()
        if what == "cuts":
            assert room.order().count(T.ON_BARGE_IN) == 1
            assert room.order().count(T.ON_TTS_CANCELLED) == 1
            (barge_in,) = room.given(T.ON_BARGE_IN)
            assert barge_in.session is room.session
            assert LONG.startswith(barge_in.interrupted_text)
            assert 300 <= barge_in.audio_position_ms <= 1500
            (cancelled,) = room.given(T.ON_TTS_CANCELLED)
            assert cancelled.session is room.session
            assert cancelled.reason == "barge_in"
            assert cancelled.audio_position_ms >= barge_in.audio_position_ms
            assert (said[0], said[-1], len(said)) == ("tell me", "Yes.", 4)
            assert said[2] == "wait a moment", "after what it cut"
            assert any(call.method == "cancel_audio" for call in room.backend.calls)
        elif what == "dropped":
            assert T.ON_BARGE_IN not in room.order()
            assert T.ON_TTS_CANCELLED not in room.order()
            assert T.ON_TRANSCRIPTION not in room.order()
            assert said == ["tell me", LONG]
            assert room.order().count(T.AFTER_TTS) == 1
        else:
            assert T.ON_BARGE_IN not in room.order()
            assert T.ON_TTS_CANCELLED not in room.order()
            assert said == ["tell me", LONG, "wait a moment", "Yes."]
            assert room.order()[:2] == [T.AFTER_TTS, T.ON_TRANSCRIPTION]


class LateWords(ScriptSTT):
    """Hears the sound while it is spoken and tells the words once it is over."""

    @property
    def supports_streaming(self) -> bool:
        return True

    async def transcribe_stream(
        self, audio_stream: AsyncIterator[AudioChunk], *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        heard = b"".join([chunk.data async for chunk in audio_stream])
        yield await self.transcribe(AudioChunk(heard), language=language)


@pytest.mark.parametrize("ms", [200, 400, 700])
@pytest.mark.parametrize("words", ["uh huh", "stop"])
@virtual_time
async def test_V118_V244_words_that_come_with_the_end_decide(words: str, ms: int) -> None:
    stt = LateWords(["tell me", words], delay=0.15)
    interruption = InterruptionConfig(strategy=S.SEMANTIC)
    async with stage(stt=stt, answers=[LONG, "Yes."], interruption=interruption) as room:
        await over_the_agent(room, "vad", ms)
        if words == "stop":
            assert room.order().count(T.ON_BARGE_IN) == 1
            assert (await room.said()).count("stop") == 1
        else:
            assert T.ON_BARGE_IN not in room.order()
            assert [told.text for told in room.given(T.ON_BACKCHANNEL)] == ["uh huh"]
            assert await room.said() == ["tell me", LONG]


@pytest.mark.parametrize("late", [SpeechError("x", "broken"), 60.0])
@virtual_time
async def test_V96_short_words_that_are_lost_are_told(late: Exception | float) -> None:
    stt = ScriptSTT(["tell me", late if isinstance(late, Exception) else "stop"])
    interruption = InterruptionConfig(strategy=S.SEMANTIC)
    async with stage(stt=stt, answers=[LONG], interruption=interruption) as room:
        room.watch_framework("stt_error")
        await room.ask()
        stt.delay = 0.0 if isinstance(late, Exception) else late
        await room.quiet(400)
        await room.speak(200)
        await room.quiet(9000)
        assert await room.said() == ["tell me", LONG]
        assert len(room.framework) == 1


@virtual_time
async def test_V125_what_was_queued_is_replayed_in_the_order_spoken() -> None:
    interruption = InterruptionConfig(strategy=S.DISABLED)
    async with stage(
        transcripts=["tell me", "one", "two", "three"],
        answers=[LONG, "a", "b", "c"],
        interruption=interruption,
    ) as room:
        await room.ask()
        await room.quiet(200)
        for _ in range(3):
            await room.speak(400)
            await room.quiet(200)
        assert await room.said() == ["tell me"]
        await room.quiet(12_000)
        said = await room.said()
        assert [text for text in said if text in ("one", "two", "three")] == ["one", "two", "three"]


@virtual_time
async def test_V125_what_was_queued_is_stored_after_the_answer_it_was_said_over() -> None:
    async with stage(
        transcripts=["tell me", "one"], answers=[LONG, "a"], enable_barge_in=False
    ) as room:
        await room.ask()
        await room.speak(400)
        await room.quiet(12_000)
        assert await room.said() == ["tell me", LONG, "one", "a"]


@virtual_time
async def test_V115_disabled_holds_against_the_transport_alone() -> None:
    async with stage(
        transcripts=["tell me"], answers=[LONG], backend=able(), enable_barge_in=False
    ) as room:
        room.watch(*ALL)
        await room.ask()
        await room.backend.simulate_barge_in(room.session)
        await room.quiet(8000)
        assert T.ON_BARGE_IN not in room.order()
        assert T.AFTER_TTS in room.order()


@virtual_time
async def test_V116_a_confirmed_cut_comes_when_the_time_has_passed_not_at_the_end() -> None:
    async with stage(transcripts=["tell me", "stop"], answers=[LONG, "ok"]) as room:
        await room.ask()
        await room.quiet(400)
        room.watch(*ALL)
        await room.begin()
        await room.quiet(240)
        assert not room.fired
        await room.quiet(100)
        assert T.ON_BARGE_IN in room.order()


@virtual_time
async def test_V116_it_comes_even_if_the_frames_stop() -> None:
    async with stage(transcripts=["tell me", "stop"], answers=[LONG, "ok"]) as room:
        await room.ask()
        await room.quiet(400)
        room.watch(*ALL)
        await room.begin()
        await asyncio.sleep(0.6)
        assert T.ON_BARGE_IN in room.order()


@virtual_time
async def test_V118_a_backchannel_is_told_and_the_agent_goes_on() -> None:
    detector = MockBackchannelDetector(
        [BackchannelDecision(is_backchannel=True, confidence=0.9, label="ack")]
    )
    interruption = InterruptionConfig(strategy=S.SEMANTIC, backchannel_detector=detector)
    async with stage(
        transcripts=["tell me", "uh huh"], answers=[LONG], interruption=interruption
    ) as room:
        await over_the_agent(room, "vad", 400)
        assert room.order().count(T.ON_BACKCHANNEL) == 1
        assert T.ON_BARGE_IN not in room.order()
        assert await room.said() == ["tell me", LONG]
        assert len(detector.evaluations) >= 1
        assert all((asked.transcript or asked.speech_duration_ms) for asked in detector.evaluations)


@virtual_time
async def test_V244_with_partials_the_words_decide_at_once() -> None:
    detector = MockBackchannelDetector()
    interruption = InterruptionConfig(strategy=S.SEMANTIC, backchannel_detector=detector)
    stt = MockSpeechToText(["tell me", "stop it now"])
    async with stage(stt=stt, answers=[LONG, "ok"], interruption=interruption) as room:
        await over_the_agent(room, "vad", 200)
        assert room.order().count(T.ON_BARGE_IN) == 1
        assert detector.evaluations[0].transcript
        assert (await room.said())[2:] == ["stop it now", "ok"]


@virtual_time
async def test_V244_with_partials_but_no_words_it_waits_for_them_so_long() -> None:
    detector = MockBackchannelDetector()
    interruption = InterruptionConfig(
        strategy=S.SEMANTIC, backchannel_detector=detector, transcript_wait_ms=800
    )
    stt = MockSpeechToText(["tell me", ""])
    async with stage(stt=stt, answers=[LONG], interruption=interruption) as room:
        await room.ask()
        await room.quiet(400)
        room.watch(T.ON_BARGE_IN)
        await room.begin()
        await room.quiet(740)
        assert not room.fired
        assert not detector.evaluations
        await room.quiet(100)
        assert room.order() == [T.ON_BARGE_IN]


@virtual_time
async def test_V118_a_backchannel_of_streamed_words_is_told_once() -> None:
    interruption = InterruptionConfig(strategy=S.SEMANTIC)
    stt = MockSpeechToText(["tell me", "uh huh"])
    async with stage(stt=stt, answers=[LONG], interruption=interruption) as room:
        await over_the_agent(room, "vad", 500)
        assert room.order().count(T.ON_BACKCHANNEL) == 1
        (told,) = room.given(T.ON_BACKCHANNEL)
        assert told.session is room.session
        assert T.ON_BARGE_IN not in room.order()
        assert await room.said() == ["tell me", LONG]


@virtual_time
async def test_V120_without_the_capability_nothing_is_cancelled_at_the_backend() -> None:
    async with stage(transcripts=["tell me", "stop"], answers=[LONG, "ok"]) as room:
        await over_the_agent(room, "vad", 600)
        assert room.order().count(T.ON_BARGE_IN) == 1
        assert not any(call.method == "cancel_audio" for call in room.backend.calls)


@virtual_time
async def test_V120_V242_what_is_stored_is_what_was_heard() -> None:
    async with stage(transcripts=["tell me", "stop"], answers=[LONG, "ok"]) as room:
        await over_the_agent(room, "vad", 600)
        answer = (await room.messages())[1]
        assert isinstance(answer.content, TextContent)
        assert LONG.startswith(answer.content.body)
        assert 0 < len(answer.content.body) < len(LONG)
        assert answer.metadata["interrupted"] is True
        assert 300 <= answer.metadata["played_ms"] <= 1500


@virtual_time
async def test_V120_V242_a_partial_answer_need_not_be_kept() -> None:
    interruption = InterruptionConfig(keep_partial_transcript=False)
    async with stage(
        transcripts=["tell me", "stop"], answers=[LONG, "ok"], interruption=interruption
    ) as room:
        await over_the_agent(room, "vad", 600)
        bodies = await room.said()
        assert bodies[0] == "tell me"
        assert bodies[-2:] == ["stop", "ok"]
        assert not any(body and LONG.startswith(body) for body in bodies)


@virtual_time
async def test_V120_unflushed_the_sentence_in_the_buffer_plays_out() -> None:
    interruption = InterruptionConfig(flush_partial_tts=False)
    async with stage(
        transcripts=["tell me", "stop"], answers=[ANSWER, "ok"], interruption=interruption
    ) as room:
        await over_the_agent(room, "vad", 600)
        assert room.order().count(T.ON_BARGE_IN) == 1
        assert room.played_ms() >= len(ANSWER) * 20
        assert await room.said() == ["tell me", "stop", ANSWER, "ok"]


@virtual_time
async def test_V121_V155_a_late_cut_gives_the_whole_speech_to_recognition() -> None:
    async with stage(transcripts=["tell me", "stop"], answers=[LONG, "ok"]) as room:
        await room.ask()
        await room.quiet(400)
        await room.speak(600)
        await room.quiet(100)
        assert len(room.stt.heard[1]) // 32 >= 600


@virtual_time
async def test_V155_with_a_streaming_recogniser_too() -> None:
    stt = MockSpeechToText(["tell me", "stop"])
    async with stage(stt=stt, answers=[LONG, "ok"]) as room:
        await room.ask()
        await room.quiet(400)
        pre_roll = b"\x02\x00" * 3200
        await room.begin(audio=pre_roll)
        await room.quiet(580)
        await room.fall_silent(ms=600)
        await room.quiet(100)
        assert len(stt.heard[1].samples) // 16 >= 800


@virtual_time
async def test_V116_a_cut_also_comes_after_a_gap_in_the_frames() -> None:
    """Silence suppression, push to talk: nothing arrives while nothing is said, and the answer
    begins meanwhile."""
    provider = MockAIProvider([LONG, "ok"], delay=2.0)
    async with stage(transcripts=["tell me", "stop"], provider=provider) as room:
        await room.speak(400)
        async with asyncio.timeout(20):
            while not room.sound():
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.4)
        room.watch(T.ON_BARGE_IN)
        await room.begin()
        await room.quiet(1000)
        assert room.order() == [T.ON_BARGE_IN]


@virtual_time
async def test_V124_nothing_cuts_before_that_much_was_heard() -> None:
    async with stage(
        transcripts=["tell me", "stop"], answers=[LONG, "ok"], barge_in_threshold_ms=1500
    ) as room:
        await room.ask()
        room.watch(*ALL)
        await room.begin()
        await room.quiet(1300)
        assert not room.fired
        await room.quiet(400)
        assert T.ON_BARGE_IN in room.order()


@pytest.mark.parametrize(
    ("options", "strategy", "spared"),
    [
        ({}, S.CONFIRMED, 0),
        ({"enable_barge_in": False}, S.DISABLED, 0),
        ({"barge_in_threshold_ms": 700}, S.CONFIRMED, 700),
        (
            {"interruption": InterruptionConfig(strategy=S.IMMEDIATE), "enable_barge_in": False},
            S.IMMEDIATE,
            0,
        ),
    ],
)
@virtual_time
async def test_V247_the_older_names_mean(options: dict[str, Any], strategy: S, spared: int) -> None:
    async with stage(**options) as room:
        assert room.channel.interruption.strategy is strategy
        assert room.channel.interruption.allow_during_first_ms == spared


@virtual_time
async def test_V126_a_muted_agent_is_not_heard() -> None:
    async with stage(transcripts=["tell me"], answers=[LONG]) as room:
        await room.kit.mute("room", "agent")
        await room.speak()
        await room.quiet(3000)
        assert not room.sound()
        assert await room.said() == ["tell me"]


@virtual_time
async def test_V126_a_streamed_answer_falls_silent_when_the_voice_is_muted() -> None:
    async with stage(transcripts=["tell me"], answers=[LONG]) as room:
        await room.ask()
        await room.quiet(200)
        await room.kit.mute_output("room", "voice")
        await room.quiet(300)
        before = room.played_ms()
        await room.quiet(2000)
        assert room.played_ms() == before


@virtual_time
async def test_X14_speech_right_after_the_agent_is_heard() -> None:
    async with stage(transcripts=["hello", "right"], answers=["Well.", "ok"]) as room:
        await room.ask()
        await room.channel.wait_playback_done("room")
        await room.quiet(200)
        await room.speak(400)
        await room.quiet(1000)
        assert await room.said() == ["hello", "Well.", "right", "ok"]


@virtual_time
async def test_V126_of_a_muted_agent_nothing_is_spoken_not_even_synthesized() -> None:
    async with stage(transcripts=["tell me", "again"], answers=[LONG, "Yes."]) as room:
        await room.kit.mute("room", "agent")
        await room.speak()
        await room.quiet(1000)
        assert not room.tts.spoken
        await room.kit.unmute("room", "agent")
        await room.ask()
        assert room.tts.spoken
