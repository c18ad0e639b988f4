"""The detector's tail, trimmed by level."""

from __future__ import annotations

import numpy as np
import pytest

from salon.media.frame import Samples
from salon.voice.tail import SILENT_DB, SpeechTail, level_db


def window(dbfs: float) -> Samples:
    """A square wave of this level."""
    amplitude = round(10 ** (dbfs / 20) * 32_768)
    return (np.tile([1, -1], 256) * min(amplitude, 32_767)).astype(np.int16)


@pytest.mark.parametrize("dbfs", [-6.0, -30.0, -60.0])
def test_levels_are_dbfs(dbfs: float) -> None:
    assert level_db(window(dbfs)) == pytest.approx(dbfs, abs=0.2)


def test_nothing_is_silent() -> None:
    assert level_db(np.zeros(512, dtype=np.int16)) == SILENT_DB
    assert level_db(np.zeros(0, dtype=np.int16)) == SILENT_DB


def test_speech_stays_speech() -> None:
    tail = SpeechTail()
    assert tail.correct(0.01, window(-60)) == 0.01
    assert [tail.correct(0.9, window(level)) for level in (-20, -25, -40, -20)] == [0.9] * 4


def test_what_is_far_below_the_speech_is_silence_whatever_the_detector_says() -> None:
    tail = SpeechTail()
    assert tail.correct(0.9, window(-20)) == 0.9
    assert tail.correct(0.9, window(-55)) == 0.0


def test_what_is_as_loud_as_the_background_is_background() -> None:
    tail = SpeechTail()
    for _ in range(50):
        tail.correct(0.02, window(-40))
    assert tail.correct(0.9, window(-20)) == 0.9
    assert tail.correct(0.9, window(-39)) == 0.0
    assert tail.correct(0.9, window(-30)) == 0.9


def test_the_background_falls_at_once_and_rises_slowly() -> None:
    tail = SpeechTail()
    tail.correct(0.02, window(-60))
    tail.correct(0.02, window(-20))  # one loud breath
    assert tail.correct(0.9, window(-45)) == 0.9
    tail = SpeechTail()
    tail.correct(0.02, window(-20))
    tail.correct(0.02, window(-60))
    assert tail.correct(0.9, window(-45)) == 0.9


def test_a_loud_word_is_forgotten_within_seconds() -> None:
    tail = SpeechTail()
    tail.correct(0.9, window(0))
    assert tail.correct(0.9, window(-40)) == 0.0
    for _ in range(60):  # two seconds of silence
        tail.correct(0.01, window(-70))
    assert tail.correct(0.9, window(-40)) == 0.9
