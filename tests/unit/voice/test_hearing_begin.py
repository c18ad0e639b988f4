"""Recognition that begins later than the call, a detector that asks nothing, and measurements."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.voice.scripted_call import calling, ears

from salon.testing import silence, tone, virtual_time
from salon.voice.events import Final, Partial, Recognized, Silence, Speaking, TurnStarted
from salon.voice.hearing import HearingConfig
from salon.voice.turns import InterruptionStrategy, TurnConfig
from salon.voice.vad.segmenter import SegmenterConfig

TURNS = TurnConfig(strategy=InterruptionStrategy.DISABLED)


@virtual_time
async def test_G64_speech_before_the_beginning_is_told_but_not_recognised() -> None:
    async with calling(["first words", "second words"]) as call:
        begun = False
        recognizer = ears(call)
        call.session.listen(
            HearingConfig(
                segments=SegmenterConfig(),
                turns=TURNS,
                recognizer=recognizer,
                begin_at=lambda: begun,
            )
        )
        await call.talk(np.concatenate((silence(300), tone(800), silence(1500))))
        assert len(call.of(Speaking)) == 1
        assert not call.of(TurnStarted)
        begun = True
        await call.talk(np.concatenate((silence(300), tone(800), silence(1500))))
        assert [final.text for final in call.of(Final)] == ["first words"]
        begun = False  # it has begun, and does not end
        await call.talk(np.concatenate((tone(800), silence(1500))))
        assert [final.text for final in call.of(Final)] == ["first words", "second words"]


@virtual_time
async def test_G64_of_a_sentence_only_what_is_said_from_the_beginning_on_is_recognised() -> None:
    async with calling(["words"]) as call:
        begun = False
        recognizer = ears(call)
        call.session.listen(
            HearingConfig(turns=TURNS, recognizer=recognizer, begin_at=lambda: begun)
        )
        await call.talk(tone(500))
        begun = True
        await call.talk(np.concatenate((tone(500), silence(1500))))
        assert len(call.of(Final)) == 1
        (heard,) = recognizer.heard
        sound = np.concatenate(heard.chunks)
        # 500 ms of the tone, to a window of the detector that was still to be looked at
        assert np.count_nonzero(sound) == pytest.approx(8000, abs=700)


@virtual_time
async def test_G62_any_sound_is_speech_but_no_turn() -> None:
    async with calling(["words"]) as call:
        call.session.listen(
            HearingConfig(
                segments=SegmenterConfig(), turns=TURNS, recognizer=ears(call), any_sound=True
            )
        )
        faint = np.full(8000, 1, dtype=np.int16)
        await call.talk(np.concatenate((silence(200), faint, silence(500))))
        (speaking,), (quiet,) = call.of(Speaking), call.of(Silence)
        assert quiet.duration_ms == pytest.approx(500, abs=64)
        assert speaking.start_ms == quiet.start_ms
        assert not call.of(TurnStarted)


@virtual_time
async def test_G62_any_sound_needs_no_detector() -> None:
    async with calling() as call:
        call.session.listen(HearingConfig(segments=SegmenterConfig(), any_sound=True))
        await call.talk(np.concatenate((np.full(8000, 1, dtype=np.int16), silence(300))))
        assert len(call.of(Speaking)) == 1
        call.session.listen(HearingConfig(any_sound=True))
        await call.talk(np.concatenate((np.full(8000, 1, dtype=np.int16), silence(300))))
        assert len(call.of(Speaking)) == 1


@virtual_time
async def test_G116_first_and_last_words_are_measured() -> None:
    async with calling(["hello there"]) as call:
        call.listen()
        await call.talk(np.concatenate((silence(500), tone(640), silence(800))))
        first, last = call.of(Recognized)
        assert (first.engine, first.index, first.final) == ("mock", 0, False)
        assert (last.engine, last.index, last.final) == ("mock", 0, True)
        (final,) = call.of(Final)
        assert last.duration_ms == round(final.recognition_ms)
        kinds = [event for event in call.events if isinstance(event, Partial | Recognized | Final)]
        assert kinds[:2] == [call.of(Partial)[0], first]  # also where they wait for `Speaking`
        assert kinds[-2:] == [final, last]


@virtual_time
async def test_G125_what_the_detector_makes_of_it_is_known_without_turns() -> None:
    for any_sound in (False, True):
        async with calling([]) as call:
            call.session.listen(HearingConfig(segments=SegmenterConfig(), any_sound=any_sound))
            hearing = call.session.hearing
            assert hearing.is_speech is False
            await call.talk(np.concatenate((silence(200), tone(100))))
            assert hearing.is_speech is True  # before it is long enough to be told
            assert not call.of(Speaking)
            await call.talk(silence(200))
            assert hearing.is_speech is False


@virtual_time
async def test_without_a_detector_nothing_is_known() -> None:
    async with calling([]) as call:
        call.session.listen(HearingConfig())
        await call.talk(tone(500))
        assert call.session.hearing.is_speech is None


@virtual_time
async def test_G62_the_threshold_of_the_segments_says_what_is_speech() -> None:
    async with calling([]) as call:
        call.session.listen(HearingConfig(segments=SegmenterConfig(voice_threshold=1.0)))
        await call.talk(tone(500))
        assert call.session.hearing.is_speech is False
