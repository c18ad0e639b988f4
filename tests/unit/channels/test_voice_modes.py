"""The ears of sessions without a detector: bounds, streams that end, words over the agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from tests.conformance.voice.listening import ScriptedStreams, by, final, interim

from salon.channels.voice_modes import (
    MAX_BATCH_BYTES,
    MAX_HELD_BYTES,
    BatchEar,
    ContinuousEar,
    RecognitionModes,
    provider_of,
)
from salon.channels.voice_people import Caller
from salon.channels.voice_stretches import QUIET_S
from salon.media.frame import AudioFrame, Samples
from salon.testing import MockSpeechToText, scripted_engine, silence, tone, virtual_time
from salon.voice.errors import SpeechError
from salon.voice.events import (
    BargeIn,
    Final,
    MediaEvent,
    Partial,
    Paused,
    RecognitionFailed,
    TurnDropped,
    TurnEnded,
    TurnStarted,
)
from salon.voice.interruption import (
    InterruptionConfig,
    InterruptionHandler,
    InterruptionStrategy,
)
from salon.voice.leg import SilentLeg
from salon.voice.pipeline.backchannel.base import BackchannelDecision, BackchannelDetector
from salon.voice.playback import Playback, SoundTrack
from salon.voice.session import MediaSession
from salon.voice.speakers import LabelEpochs, SpokenBy, speaker_name
from salon.voice.stt.adapt import recognizer_of
from salon.voice.stt.mock import MockSTTProvider
from salon.voice.stt.provider import STTProvider
from salon.voice.stt.result import TranscriptionResult

FRAME: Samples = np.ones(320, dtype=np.int16)
CONFIRMED = InterruptionHandler(InterruptionConfig())


class Line:
    """A session, its ear, and what it posted."""

    def __init__(self, session: MediaSession, ear: Any) -> None:
        self.session = session
        self.ear = ear
        self.events: list[MediaEvent] = []
        session.scope.spawn(self._read(), name="reader")

    async def _read(self) -> None:
        async for event in self.session.events:
            self.events.append(event)

    async def feed(self, frames: int) -> None:
        for _ in range(frames):
            self.session.hear(FRAME)
            await asyncio.sleep(0.02)

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    def texts(self) -> list[str]:
        return [event.text for event in self.of(Final)]

    def agent_speaks(self, ms: int = 5000) -> None:
        self.session.play(Playback(SoundTrack(tone(ms)), "agent"))


@asynccontextmanager
async def line(
    provider: STTProvider, *, batch: bool = False, handler: InterruptionHandler = CONFIRMED
) -> AsyncIterator[Line]:
    async with scripted_engine() as engine:
        session = MediaSession("call", engine, leg=SilentLeg())
        ear = BatchEar(session, provider) if batch else ContinuousEar(session, provider, handler)
        try:
            yield Line(session, ear)
        finally:
            ear.close()
            ear.close()
            assert session.taps == []
            await session.close()


# -- batch ----------------------------------------------------------------------------------------


@virtual_time
async def test_a_batch_is_bounded_and_counts_what_is_beyond() -> None:
    async with line(MockSTTProvider(), batch=True) as held:
        big = silence(1000)
        for _ in range(MAX_BATCH_BYTES // (2 * len(big)) + 3):
            held.session.hear(big)
        assert len(held.ear) <= MAX_BATCH_BYTES
        assert held.ear.dropped_bytes == 3 * 2 * len(big)


@virtual_time
async def test_sound_heard_during_a_flush_belongs_to_the_next() -> None:
    class Slow(MockSTTProvider):
        async def transcribe(self, audio: Any, *, language: str | None = None) -> Any:
            await asyncio.sleep(1)
            return await super().transcribe(audio, language=language)

    stt = Slow(["one", "two"])
    async with line(stt, batch=True) as held:
        await held.feed(2)
        flushing = asyncio.create_task(held.ear.flush())
        await asyncio.sleep(0)
        await held.feed(3)
        result, words = await flushing
        assert result.text == words.text == "one"
        assert (await held.ear.flush())[0].text == "two"
        sizes = [len(call.data) for call in stt.calls if isinstance(call, AudioFrame)]
        assert sizes == [2 * 640, 3 * 640]


@virtual_time
@pytest.mark.parametrize("answer", [None, TranscriptionResult(3)])  # type: ignore[arg-type]
async def test_a_garbage_answer_is_a_speech_error(answer: Any) -> None:
    class Garbage(MockSTTProvider):
        async def transcribe(self, audio: Any, *, language: str | None = None) -> Any:
            return answer

    async with line(Garbage(), batch=True) as held:
        await held.feed(1)
        with pytest.raises(SpeechError, match="no transcription"):
            await held.ear.flush()


@virtual_time
async def test_a_batch_without_words_is_no_turn() -> None:
    async with line(MockSTTProvider([" "]), batch=True) as held:
        await held.feed(1)
        assert (await held.ear.flush())[1] is None


@virtual_time
async def test_a_batch_that_is_never_answered_fails() -> None:
    class Silent(MockSTTProvider):
        async def transcribe(self, audio: Any, *, language: str | None = None) -> Any:
            await asyncio.Event().wait()

    async with line(Silent(), batch=True) as held:
        await held.feed(1)
        with pytest.raises(SpeechError):
            await held.ear.flush()


# -- the ears of a channel ------------------------------------------------------------------------


@virtual_time
async def test_ears_come_and_go_with_their_callers() -> None:
    async with scripted_engine() as engine:
        session = MediaSession("call", engine, leg=SilentLeg())
        caller, other = Caller(session, "room", "ann"), Caller(session, "room", "ben")
        recognizer = recognizer_of(MockSTTProvider())
        config = InterruptionConfig()
        none = RecognitionModes(recognizer, config, None, batch=False, continuous=False)
        none.attach(caller, None)
        assert session.taps == []
        deaf = RecognitionModes(None, config, None, batch=True, continuous=False)
        deaf.attach(caller, None)
        assert session.taps == []
        with pytest.raises(RuntimeError, match="no recogniser"):
            deaf.set_language("call", "de")
        modes = RecognitionModes(recognizer, config, None, batch=True, continuous=False)
        modes.attach(caller, None)
        modes.attach(caller, None)
        assert len(session.taps) == 1
        modes.detach(other)
        assert len(session.taps) == 1
        modes.detach(caller)
        modes.detach(caller)
        assert session.taps == []
        await session.close()


def test_the_provider_behind_a_recogniser() -> None:
    provider, own = MockSTTProvider(), MockSpeechToText()
    assert provider_of(recognizer_of(provider)) is provider
    assert provider_of(recognizer_of(own)) is own


# -- streams --------------------------------------------------------------------------------------


class Refusing(ScriptedStreams):
    """Fails at once."""

    async def transcribe_stream(
        self, audio_stream: Any, *, language: str | None = None
    ) -> AsyncIterator[TranscriptionResult]:
        self.opened.append(asyncio.get_running_loop().time())
        if self.opened:
            raise OSError("refused")
        yield TranscriptionResult("")


@virtual_time
async def test_a_stream_is_reopened_after_a_delay_that_doubles_up_to_30_s() -> None:
    stt = Refusing()
    async with line(stt) as held:
        await held.feed(50 * 100)
        gaps = np.diff(stt.opened)
        assert np.allclose(gaps[:7], [0.5, 1, 2, 4, 8, 16, 30], atol=0.1)
        assert np.allclose(gaps[7:], 30, atol=0.1)
        assert len(held.of(RecognitionFailed)) == len(stt.opened)
        assert held.of(TurnStarted) == []
        assert held.ear.dropped_bytes == pytest.approx(50 * 100 * 640 - MAX_HELD_BYTES)
        assert held.ear.epochs.epoch == len(stt.opened) - 1


@virtual_time
async def test_the_delay_begins_anew_after_words() -> None:
    words, failing = [(20, final("hello"))], [(20, OSError("gone"))]
    stt = ScriptedStreams(*[failing] * 3, words, *[failing] * 2, ends=True)
    async with line(stt) as held:
        await held.feed(50 * 10)
        assert held.texts() == ["hello"]
        gaps = np.diff(stt.opened)
        assert np.allclose(gaps, [0.5, 1, 2, 0.5, 1, 2], atol=0.1)


@virtual_time
async def test_without_sound_no_stream_is_opened() -> None:
    stt = ScriptedStreams([(20, final("a"))], ends=True)
    async with line(stt) as held:
        await asyncio.sleep(60)
        assert stt.opened == []
        await held.feed(1)
        await asyncio.sleep(60)
        assert len(stt.opened) == 1


@virtual_time
async def test_words_left_interim_by_an_ended_stream_count_as_said() -> None:
    class Ending(ScriptedStreams):
        async def transcribe_stream(self, audio_stream: Any, **_: Any) -> Any:
            self.opened.append(0)
            async for _chunk in audio_stream:
                if len(self.opened) == 1:
                    yield interim("hello")
                    return

    async with line(Ending()) as held:
        await held.feed(5)
        assert held.texts() == ["hello"]


@virtual_time
async def test_words_of_a_failed_stream_are_lost_and_told() -> None:
    stt = ScriptedStreams([(20, interim("hel")), (40, OSError("gone"))])
    async with line(stt) as held:
        await held.feed(5)
        (ended,) = held.of(TurnEnded)
        (failed,) = held.of(RecognitionFailed)
        assert failed.index == ended.index == 0
        assert held.texts() == []
        assert stt.closed == 1


@virtual_time
async def test_an_answer_that_is_none_is_a_failure() -> None:
    class Wrong(MockSTTProvider):
        supports_streaming = True

        def transcribe_stream(self, audio_stream: Any, **_: Any) -> Any:
            return [TranscriptionResult("hello")]

    stt = ScriptedStreams([(20, "words")])  # type: ignore[list-item]
    for provider in (Wrong(), stt):
        async with line(provider) as held:
            await held.feed(2)
            assert len(held.of(RecognitionFailed)) == 1


@virtual_time
async def test_a_stream_that_does_not_end_is_given_up() -> None:
    class Endless(ScriptedStreams):
        async def transcribe_stream(
            self, audio_stream: Any, *, language: str | None = None
        ) -> AsyncIterator[TranscriptionResult]:
            async for result in super().transcribe_stream(audio_stream, language=language):
                yield result
            await asyncio.Event().wait()

    stt = Endless([(20, interim("hel"))], keeps=False)
    async with line(stt) as held:
        await held.feed(2)
        await asyncio.sleep(10)
        (failed,) = held.of(RecognitionFailed)
        assert "did not end within 5 s" in failed.message


@virtual_time
async def test_the_same_language_does_not_end_the_stream() -> None:
    stt = ScriptedStreams()
    async with line(stt) as held:
        held.ear.language = "de"
        await held.feed(2)
        held.ear.language = "de"
        await held.feed(2)
        assert held.ear.language == "de"
        assert stt.languages == ["de"]
        held.ear.language = "fr"
        held.ear.language = "es"
        await held.feed(2)
        assert stt.languages == ["de", "es"]


@virtual_time
async def test_an_engine_that_finds_no_words_begins_anew_every_20_s() -> None:
    stt = MockSpeechToText()
    async with line(stt) as held:
        await held.feed(50 * 50)
        assert [len(heard.samples) // 16000 for heard in stt.heard] == [20, 20, 9]
        assert held.events == []


# -- speech ---------------------------------------------------------------------------------------


@virtual_time
async def test_a_sign_of_speech_without_words_comes_to_nothing() -> None:
    sign = TranscriptionResult("", is_final=False, is_speech_start=True)
    stt = ScriptedStreams([(20, sign), (40, interim("")), (60, final(""))])
    async with line(stt) as held:
        await held.feed(5)
        assert [type(event) for event in held.events] == [TurnStarted, TurnDropped]


@virtual_time
async def test_V96_words_that_never_become_final_are_told_and_a_late_text_still_counts() -> None:
    stt = ScriptedStreams([(20, interim("hel")), (20_000, final("hello"))])
    async with line(stt) as held:
        await held.feed(int(QUIET_S * 50) + 10)
        (ended,) = held.of(TurnEnded)
        (failed,) = held.of(RecognitionFailed)
        assert failed.index == ended.index == 0
        assert failed.message == f"{stt.name}: its words did not become final within 10 s"
        await held.feed(550)
        assert held.texts() == ["hello"]


@virtual_time
async def test_an_unchanged_interim_text_is_told_once() -> None:
    stt = ScriptedStreams([(20, interim("hel")), (40, interim("hel")), (60, interim("hello"))])
    async with line(stt) as held:
        await held.feed(5)
        assert [event.text for event in held.of(Partial)] == ["hel", "hello"]


# -- over the agent -------------------------------------------------------------------------------


@virtual_time
async def test_V116_words_are_looked_at_again_when_they_have_lasted() -> None:
    async with line(ScriptedStreams([(100, interim("a"))])) as held:
        held.agent_speaks()
        await held.feed(12)
        assert held.of(BargeIn) == []
        await held.feed(20)
        assert len(held.of(BargeIn)) == 1
        assert held.session.player.current is None


@virtual_time
async def test_an_agent_that_is_only_held_goes_on_later() -> None:
    async with line(ScriptedStreams([(100, interim("wait please"))])) as held:
        held.session.holds = True
        held.agent_speaks()
        await held.feed(12)
        assert len(held.of(Paused)) == 1
        assert held.of(BargeIn) == []
        assert held.session.player.current is not None


@virtual_time
async def test_V120_an_agent_that_plays_out_is_not_cut() -> None:
    stt = ScriptedStreams([(100, interim("wait please")), (300, final("wait please now"))])
    async with line(stt) as held:
        held.session.cuts = False
        held.agent_speaks()
        await held.feed(20)
        assert len(held.of(BargeIn)) == 1
        assert held.session.player.audible
        assert held.texts() == ["wait please now"]


@virtual_time
async def test_V117_what_was_too_short_to_count_is_no_turn() -> None:
    async with line(ScriptedStreams([(100, final("a"))])) as held:
        held.agent_speaks()
        await held.feed(12)
        (dropped,) = held.of(TurnDropped)
        assert (dropped.backchannel, dropped.words) == (False, "")


@virtual_time
async def test_words_tell_how_long_they_took() -> None:
    async with line(ScriptedStreams([(100, final("please stop"))])) as held:
        held.agent_speaks()
        await held.feed(12)
        assert len(held.of(BargeIn)) == 1
        (said,) = held.of(Final)
        assert said.end_ms - said.start_ms >= 80  # no more than the stream is long


@virtual_time
async def test_words_begun_before_the_agent_are_a_turn() -> None:
    stt = ScriptedStreams([(20, interim("a")), (80, final("a"))])
    async with line(stt) as held:
        await held.feed(2)
        held.agent_speaks()
        await held.feed(6)
        assert held.texts() == ["a"]


@virtual_time
async def test_the_first_part_of_an_answer_may_be_protected() -> None:
    handler = InterruptionHandler(InterruptionConfig(allow_during_first_ms=1000))
    async with line(ScriptedStreams([(100, interim("stop that now"))]), handler=handler) as held:
        held.agent_speaks()
        await held.feed(45)
        assert held.of(BargeIn) == []
        await held.feed(15)
        assert len(held.of(BargeIn)) == 1


class Undecided(BackchannelDetector):
    """Never knows."""

    name = "undecided"

    def classify(self, context: Any) -> BackchannelDecision:
        return BackchannelDecision(is_backchannel=False, pending=True)


@virtual_time
async def test_words_that_nobody_can_place_are_meant_once_they_are_final() -> None:
    config = InterruptionConfig(
        strategy=InterruptionStrategy.SEMANTIC, backchannel_detector=Undecided()
    )
    stt = ScriptedStreams([(100, interim("well")), (400, final("well"))])
    async with line(stt, handler=InterruptionHandler(config)) as held:
        held.agent_speaks()
        await held.feed(18)
        assert held.of(BargeIn) == []
        await held.feed(10)
        assert len(held.of(BargeIn)) == 1
        assert held.texts() == ["well"]


# -- speakers -------------------------------------------------------------------------------------


def test_V235_names_of_speakers() -> None:
    assert speaker_name("1", 0) == "Speaker 1"
    assert speaker_name("1", 2) == "Speaker 1#2"
    assert speaker_name(None, 0) == speaker_name(None, 3) == "Unknown speaker"


def test_V235_labels_mean_something_in_one_epoch_only() -> None:
    epochs = LabelEpochs()
    assert epochs.epoch == -1
    assert epochs.opened() == 0
    assert epochs.heard("1") == (True, True)
    assert epochs.heard("1") == (False, False)
    assert epochs.heard("2") == (True, True)
    assert epochs.heard(None) == (False, False)
    assert epochs.heard("2") == (False, False)
    assert epochs.heard("1") == (True, False)
    assert epochs.opened() == 1
    assert epochs.heard("1") == (True, True)


@virtual_time
@pytest.mark.parametrize("spelling", ["UU", "PENDING", "Unknown", "unknown", ""])
async def test_V233_a_service_that_names_nobody_names_nobody(spelling: str) -> None:
    stt = ScriptedStreams([(20, by((spelling, "hello"), ("1", " ")))], diarizes=True)
    async with line(stt) as held:
        await held.feed(3)
        (said,) = held.of(SpokenBy)
        assert (said.label, said.name, said.changed) == (None, "Unknown speaker", False)


@virtual_time
async def test_V233_words_without_segments_are_nobodys() -> None:
    stt = ScriptedStreams([(20, final("hello"))], diarizes=True)
    async with line(stt) as held:
        await held.feed(3)
        (said,) = held.of(SpokenBy)
        assert (said.text, said.label) == ("hello", None)


@virtual_time
async def test_V235_a_segment_has_its_own_place_in_time() -> None:
    from salon.voice.stt.result import SpeakerSegment

    segments = [SpeakerSegment("1", "one", 10, 30), SpeakerSegment("1", "two")]
    stt = ScriptedStreams([(60, final("one two", segments=segments))], diarizes=True)
    async with line(stt) as held:
        await held.feed(5)
        first, second = held.of(SpokenBy)
        assert first.end_ms - first.start_ms == 20
        assert second.end_ms > first.end_ms
        assert (first.changed, second.changed) == (True, False)
