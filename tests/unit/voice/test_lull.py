"""Pauses within speech, by loudness, and what lines with a detector of their own do in them."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.voice.scripted_call import Call, calling

from salon.media.frame import FRAME_SAMPLES, Samples
from salon.testing import silence, tone, virtual_time
from salon.voice.events import Final, Guess, Withdrawn
from salon.voice.hearing import HearingConfig
from salon.voice.lull import Lull, Pauses
from salon.voice.pipeline.vad.base import VADEvent, VADEventType
from salon.voice.turns import SegmentMachine, SegmentPhase, Speculate, TurnConfig, Withdraw

WORDS = " ".join(f"w{number}" for number in range(200))


def sound(*parts: tuple[int, float]) -> Samples:
    """So many ms at such a level, in dBFS."""
    return np.concatenate(
        [
            np.tile([1, -1], ms * 8).astype(np.float32) * 10 ** (level / 20) * 32_000
            for ms, level in parts
        ]
    ).astype(np.int16)


def after(*parts: tuple[int, float]) -> int:
    lull = Lull()
    return lull.push(sound(*parts))


def test_what_is_far_quieter_than_the_speech_is_a_pause() -> None:
    assert after((400, -20)) == 0
    assert after((400, -20), (100, -60)) == 100
    assert after((400, -40), (100, -70)) == 100, "in any room"
    assert after((400, -20), (100, -30)) == 0
    assert after((100, -96)) == 0, "nothing was said yet"


def test_a_loud_background_leaves_no_pause() -> None:
    assert after((400, -20), (500, -32)) == 0


def test_between_the_two_levels_it_is_what_it_was() -> None:
    assert after((400, -20), (100, -37)) == 0
    assert after((400, -20), (100, -50), (100, -37)) == 200
    assert after((400, -20), (100, -50), (100, -30)) == 0


def test_a_shout_is_forgotten() -> None:
    assert after((100, 0), (100, -25)) > 0
    assert after((100, 0), (3000, -18), (100, -25)) == 0


def test_another_stretch_begins_anew() -> None:
    lull = Lull()
    lull.push(sound((400, -10), (100, -60)))
    assert lull.ms == 100
    lull.begin()
    assert lull.push(sound((100, -60))) == 0


@given(st.lists(st.integers(1, 700), max_size=20))
def test_however_it_comes_a_pause_is_no_longer_than_the_sound(lengths: list[int]) -> None:
    lull, heard = Lull(), 0
    lull.push(sound((100, -10)))
    for length in lengths:
        heard += length
        assert lull.push(np.zeros(length, dtype=np.int16)) == heard // 16


# -- with the machine ------------------------------------------------------------------------------


def machine() -> tuple[SegmentMachine, Pauses]:
    made = SegmentMachine(TurnConfig(speculate_after_ms=100))
    return made, Pauses(made, 100)


def test_a_pause_is_told_once_and_taken_back() -> None:
    made, pauses = machine()
    assert pauses.started(0) == ()
    assert pauses.heard(sound((200, -20)), 0) == (), "nobody speaks"
    made.speech_started(0)
    assert pauses.heard(sound((200, -20)), 200) == ()
    assert pauses.heard(sound((80, -60)), 280) == ()
    (guess,) = pauses.heard(sound((20, -60)), 300)
    assert isinstance(guess, Speculate)
    assert guess.silence_ms == 100
    assert pauses.heard(sound((20, -60)), 320) == ()
    assert pauses.heard(sound((20, -20)), 340) == (Withdraw(),)
    assert pauses.heard(sound((20, -20)), 360) == ()
    (again,) = pauses.heard(sound((100, -60)), 460)
    assert isinstance(again, Speculate)


def test_what_the_detector_says_counts_too() -> None:
    made, pauses = machine()
    made.speech_started(0)
    assert pauses.told(60, 260) == ()
    (guess,) = pauses.told(120, 320)
    assert isinstance(guess, Speculate)
    assert pauses.heard(sound((20, -20)), 340) == (), "it knows better"
    assert pauses.started(360) == (Withdraw(),)
    assert made.phase is SegmentPhase.SPEAKING


# -- on a line -------------------------------------------------------------------------------------


def vad(kind: VADEventType, **more: Any) -> VADEvent:
    return VADEvent(kind, **more)


def listen(call: Call, **turns: Any) -> None:
    call.session.listen(
        HearingConfig(
            turns=TurnConfig(**turns),
            recognizer=call.engine.recognizers[""],
            external_vad=True,
        )
    )


async def talk(call: Call, *parts: Samples) -> None:
    for part in parts:
        for frame in part.reshape(-1, FRAME_SAMPLES):
            call.session.hear(frame)
            await asyncio.sleep(0.02)


@virtual_time
async def test_a_line_with_another_detector_guesses_in_pauses() -> None:
    async with calling([WORDS]) as call:
        listen(call, speculate_after_ms=100)
        await talk(call, silence(100))
        call.session.hearing.vad_event(vad(VADEventType.SPEECH_START))
        await talk(call, tone(400), silence(80))
        assert not call.of(Guess)
        await talk(call, silence(40))
        (guess,) = call.of(Guess)
        assert guess.text
        assert not call.of(Withdrawn)
        await talk(call, tone(100))
        assert [event.index for event in call.of(Withdrawn)] == [guess.index]
        await talk(call, silence(140))
        assert len(call.of(Guess)) == 2
        call.session.hearing.vad_event(vad(VADEventType.SPEECH_END, duration_ms=740.0))
        await asyncio.sleep(0.1)
        assert call.of(Final)
        assert len(call.of(Withdrawn)) == 1


@virtual_time
async def test_silence_that_its_detector_tells_is_a_pause_and_speech_ends_it() -> None:
    async with calling([WORDS]) as call:
        listen(call, speculate_after_ms=100)
        call.session.hearing.vad_event(vad(VADEventType.SPEECH_START))
        await talk(call, tone(400))
        call.session.hearing.vad_event(vad(VADEventType.SILENCE, duration_ms=120.0))
        await asyncio.sleep(0)
        assert len(call.of(Guess)) == 1
        call.session.hearing.vad_event(vad(VADEventType.SPEECH_START))
        await asyncio.sleep(0)
        assert len(call.of(Withdrawn)) == 1


@pytest.mark.parametrize("after_ms", [None, 100])
@virtual_time
async def test_words_that_first_come_in_the_pause_are_guessed_then(after_ms: int | None) -> None:
    async with calling([WORDS]) as call:
        ears: Any = call.engine.recognizers[""]
        script, ears._script = ears._script, type(ears._script)()
        listen(call, speculate_after_ms=after_ms)
        call.session.hearing.vad_event(vad(VADEventType.SPEECH_START))
        await talk(call, tone(400), silence(140))
        assert not call.of(Guess)
        ears._script = script
        await talk(call, silence(60))
        assert len(call.of(Guess)) == (0 if after_ms is None else 1)
