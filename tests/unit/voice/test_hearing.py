"""What one call hears: turns, texts, barge-in, on a scripted engine in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from tests.unit.voice.scripted_call import calling, ears

from salon.base import SalonError
from salon.testing import MockSpeechToText, silence, tone, virtual_time
from salon.voice.errors import SpeechError
from salon.voice.events import (
    BargeIn,
    Failed,
    Final,
    Interrupted,
    Partial,
    Recognized,
    Silence,
    Speaking,
    TurnDropped,
    TurnEnded,
    TurnStarted,
)
from salon.voice.hearing import HISTORY_SAMPLES, HearingConfig
from salon.voice.stt.base import Transcription
from salon.voice.turns import InterruptionStrategy
from salon.voice.vad.segmenter import SegmenterConfig

CONFIRMED = InterruptionStrategy.CONFIRMED
IMMEDIATE = InterruptionStrategy.IMMEDIATE
SEMANTIC = InterruptionStrategy.SEMANTIC
DISABLED = InterruptionStrategy.DISABLED


@virtual_time
async def test_V90_a_turn_from_onset_to_text() -> None:
    async with calling(["hello there"]) as call:
        call.listen()
        await call.talk(np.concatenate((silence(500), tone(640), silence(800))))
        kinds = [type(event) for event in call.events if not isinstance(event, Partial)]
        assert [kind for kind in kinds if kind is not Recognized] == [
            *(TurnStarted, Speaking, Silence, TurnEnded, Final)
        ]
        (final,) = call.of(Final)
        assert (final.index, final.text, final.confidence) == (0, "hello there", 1.0)
        (heard,) = ears(call).heard
        assert heard.finished
        assert not heard.cancelled


@virtual_time
async def test_V155_no_syllable_is_lost() -> None:
    """What the recogniser gets begins before the onset and holds the whole speech."""
    async with calling(["x"]) as call:
        call.listen()
        said = tone(640, 300.0)
        await call.talk(np.concatenate((silence(500), said, silence(600))))
        sound = ears(call).heard[0].samples
        first = int(np.flatnonzero(sound)[0])
        assert 16 * 150 <= first <= 16 * 300  # the pre-roll
        assert np.array_equal(sound[first - 1 : first - 1 + len(said)], said)


@virtual_time
async def test_V155_also_when_the_ring_of_history_has_gone_round() -> None:
    async with calling(["x"]) as call:
        call.listen()
        before = np.zeros(HISTORY_SAMPLES - 16 * 100, dtype=np.int16)
        said = tone(640, 300.0)
        await call.talk(np.concatenate((before, said, silence(600))))
        sound = ears(call).heard[0].samples
        first = int(np.flatnonzero(sound)[0])
        assert np.array_equal(sound[first - 1 : first - 1 + len(said)], said)


@virtual_time
async def test_a_packet_longer_than_the_history_is_heard() -> None:
    async with calling(["x"]) as call:
        call.listen()
        call.leg.receive(tone(4000).tobytes())
        await asyncio.sleep(0.1)
        await call.talk(silence(600))
        assert call.of(Final)


@virtual_time
async def test_G120_partial_words_wait_for_speaking() -> None:
    async with calling(["one two three four five"]) as call:
        call.listen()
        await call.talk(np.concatenate((silence(320), tone(960), silence(600))))
        kinds = [type(event) for event in call.events]
        assert kinds.index(Speaking) < kinds.index(Partial)
        partials = [event.text for event in call.of(Partial)]
        assert partials[-1] == "one two three four five"
        assert len(set(partials)) == len(partials)


@virtual_time
async def test_without_segments_partial_words_come_at_once() -> None:
    async with calling(["one two three"]) as call:
        call.listen(segments=False)
        await call.talk(np.concatenate((silence(320), tone(640), silence(600))))
        assert not call.of(Speaking)
        assert not call.of(Silence)
        assert call.of(Partial)[0].text == "one"


@virtual_time
async def test_a_false_start_is_dropped() -> None:
    async with calling(["x"]) as call:
        call.listen(min_turn_ms=200)
        await call.talk(np.concatenate((silence(320), tone(100), silence(600))))
        assert [type(event) for event in call.events] == [TurnStarted, TurnDropped]
        assert ears(call).heard[0].cancelled


@virtual_time
async def test_texts_come_in_the_order_of_the_turns() -> None:
    class Slow(MockSpeechToText):
        """Its first utterance takes three seconds to finish."""

        def recognize(self, *args: Any, **options: Any) -> Any:
            utterance = super().recognize(*args, **options)
            if len(self.heard) == 1:
                finish = utterance.finish

                async def late() -> Transcription:
                    result = await finish()
                    await asyncio.sleep(3)
                    return result

                utterance.finish = late  # type: ignore[method-assign]
            return utterance

    async with calling(recognizer=Slow(["first", "second"])) as call:
        call.listen()
        for _ in range(2):
            await call.talk(np.concatenate((silence(320), tone(320), silence(600))))
        assert not call.of(Final)
        await asyncio.sleep(5)
        assert [event.text for event in call.of(Final)] == ["first", "second"]


@virtual_time
async def test_a_turn_ends_also_when_the_packets_stop() -> None:
    async with calling(["x"]) as call:
        call.listen()
        await call.talk(np.concatenate((silence(320), tone(640))))
        await asyncio.sleep(1.5)
        assert call.of(Final)


@pytest.mark.parametrize("error", [SpeechError("mock", "broken"), SalonError("broken")])
@virtual_time
async def test_V96_recognition_that_fails_once(error: Exception) -> None:
    async with calling([error, "again"]) as call:
        call.listen()
        for _ in range(2):
            await call.talk(np.concatenate((silence(320), tone(320), silence(600))))
        (failed,) = call.of(Failed)
        assert failed.sender == ("mock" if isinstance(error, SpeechError) else "asr")
        assert [event.text for event in call.of(Final)] == ["again"]


@virtual_time
async def test_without_a_recogniser_turns_have_no_text() -> None:
    async with calling(recognition=False) as call:
        call.listen()
        await call.talk(np.concatenate((silence(320), tone(640), silence(600))))
        kinds = [TurnStarted, Speaking, Silence, TurnEnded]
        assert [type(event) for event in call.events] == kinds


@virtual_time
async def test_a_session_hears_without_listening_for_anything() -> None:
    async with calling(["x"]) as call:
        await call.talk(tone(1000))
        assert call.events == []
        assert call.session.frames_in == 50
        assert call.engine.vad.statistics().streams == 0


@virtual_time
async def test_listening_again_gives_an_open_turn_up() -> None:
    async with calling(["x", "y"]) as call:
        call.listen()
        await call.talk(np.concatenate((silence(320), tone(320))))
        call.listen()
        assert ears(call).heard[0].cancelled
        await call.talk(np.concatenate((silence(320), tone(320), silence(600))))
        assert [event.index for event in call.of(Final)] == [0]
        assert call.engine.vad.statistics().streams == 1


@virtual_time
async def test_V96_a_recogniser_that_cannot_begin_is_told() -> None:
    async with calling(["x"]) as call:
        call.listen()
        await ears(call).close()
        await call.talk(np.concatenate((silence(320), tone(320), silence(600))))
        (failed,) = call.of(Failed)
        assert (failed.sender, failed.code) == ("mock", 500)
        assert not call.of(Final)


@virtual_time
async def test_G123_lasting_silence_is_told() -> None:
    async with calling() as call:
        call.session.listen(HearingConfig(segments=SegmenterConfig(silence_timeout_ms=500)))
        await call.talk(silence(1200))
        assert [event.duration_ms for event in call.of(Silence)] == pytest.approx([500] * 2, abs=32)


@virtual_time
async def test_V155_packets_of_any_size_fill_the_ring_of_history() -> None:
    async with calling(["x"]) as call:
        call.listen()
        said = tone(640, 300.0)
        sound = np.concatenate((np.zeros(HISTORY_SAMPLES - 3000, np.int16), said, silence(800)))
        for at in range(0, len(sound), 700):
            call.leg.receive(sound[at : at + 700].tobytes())
            await asyncio.sleep(700 / 16_000)
        heard = ears(call).heard[0].samples
        first = int(np.flatnonzero(heard)[0])
        assert np.array_equal(heard[first - 1 : first - 1 + len(said)], said)


# -- barge-in --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "speech_ms", "cuts"),
    [
        (IMMEDIATE, 100, True),
        (IMMEDIATE, 1000, True),
        (CONFIRMED, 100, False),
        (CONFIRMED, 240, False),
        (CONFIRMED, 400, True),
        (SEMANTIC, 400, True),
        (DISABLED, 1000, False),
    ],
)
@virtual_time
async def test_V115_speech_over_the_agent(
    strategy: InterruptionStrategy, speech_ms: int, cuts: bool
) -> None:
    async with calling(["stop that please"]) as call:
        call.listen(strategy=strategy)
        await call.talk(silence(320))
        playback = call.speak("a long answer that goes on and on and on and on")
        await call.talk(silence(500))
        await call.talk(np.concatenate((tone(speech_ms), silence(800))))
        assert bool(call.of(BargeIn)) is cuts
        assert bool(call.of(Interrupted)) is cuts
        assert (call.session.player.current is playback) is not cuts
        dropped = strategy is CONFIRMED and not cuts
        assert bool(call.of(TurnDropped)) is dropped
        assert bool(call.of(Final)) is not dropped


@virtual_time
async def test_V119_semantic_words_that_mean_nothing_do_not_cut() -> None:
    async with calling(["mhm"]) as call:
        call.listen(strategy=SEMANTIC)
        await call.talk(silence(320))
        call.speak("a long answer that goes on and on and on and on")
        await call.talk(np.concatenate((silence(500), tone(400), silence(800))))
        assert not call.of(BargeIn)


@virtual_time
async def test_what_is_cut_is_silent_at_the_next_tick() -> None:
    async with calling(["x"]) as call:
        call.listen(strategy=IMMEDIATE)
        await call.talk(silence(320))
        call.speak("a long answer that goes on and on")
        await call.talk(silence(500))
        await call.talk(tone(100))
        frames = len(call.sent)
        await call.talk(tone(500))
        assert len(call.sent) == frames
        (cut,) = call.of(Interrupted)
        assert cut.current_ms == frames * 20
        assert call.of(BargeIn)[0].onset_ms <= call.session.hearing.now_ms()


@virtual_time
async def test_after_the_answer_speech_is_a_turn_and_no_barge_in() -> None:
    async with calling(["and then"]) as call:
        call.listen(strategy=IMMEDIATE)
        call.speak("short")
        await call.talk(silence(1000))
        await call.talk(np.concatenate((tone(320), silence(600))))
        assert not call.of(BargeIn)
        assert call.of(Final)


@virtual_time
async def test_G305_a_burst_is_heard_whole() -> None:
    """Two sentences that come at once, faster than any tick: both are turns."""
    async with calling(["one", "two"]) as call:
        call.listen()
        both = np.concatenate(
            [part for _ in range(2) for part in (silence(500), tone(1600), silence(1500))]
        )
        call.leg.receive(both.tobytes())
        await call.talk(silence(800))
        assert [final.text for final in call.of(Final)] == ["one", "two"]
        assert call.engine.vad.statistics().dropped_samples == 0
