"""G121-G126: probabilities in, speech and silence out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.voice.vad import (
    Segmenter,
    SegmenterConfig,
    SegmentEvent,
    SilenceLasted,
    SpeechEnded,
    SpeechStarted,
)

FRAME = 32


def feed(pattern: str, config: SegmenterConfig | None = None) -> list[tuple[int, SegmentEvent]]:
    """One window per character, ``#`` is speech; the events with the time that brought them."""
    segmenter = Segmenter(config or SegmenterConfig())
    found = []
    for index, letter in enumerate(pattern):
        t = (index + 1) * FRAME
        for event in segmenter.feed(0.9 if letter == "#" else 0.1, t):
            found.append((t, event))
    return found


def test_G62_defaults() -> None:
    config = SegmenterConfig()
    assert (config.speech_padding_ms, config.silence_padding_ms) == (250, 100)
    assert (config.voice_threshold, config.silence_timeout_ms) == (0.5, None)


def test_G124_speaking_comes_with_the_ninth_window_and_starts_at_the_first() -> None:
    assert feed("..." + "#" * 9) == [(12 * FRAME, SpeechStarted(4 * FRAME))]
    assert feed("..." + "#" * 8) == []


def test_G122_speaking_comes_once() -> None:
    assert [event for _, event in feed("#" * 100)] == [SpeechStarted(FRAME)]


def test_G123_the_silence_after_a_turn_has_start_and_length_of_the_speech() -> None:
    # tempEnd is window 21; four windows later 128 ms >= 100 ms have passed
    assert feed("#" * 20 + "." * 10) == [
        (9 * FRAME, SpeechStarted(FRAME)),
        (25 * FRAME, SpeechEnded(FRAME, 20 * FRAME)),
    ]


def test_G123_a_pause_shorter_than_the_padding_does_not_end_a_turn() -> None:
    assert feed("#" * 20 + "...." + "#" * 20 + "." * 5) == [
        (9 * FRAME, SpeechStarted(FRAME)),
        (49 * FRAME, SpeechEnded(FRAME, 44 * FRAME)),
    ]


def test_G122_a_short_pause_inside_the_padding_still_counts_as_speech() -> None:
    assert feed("####..###")[0] == (9 * FRAME, SpeechStarted(FRAME))


@pytest.mark.parametrize("voiced", [1, 4, 7, 8])
def test_G124_too_short_speech_gives_neither_event(voiced: int) -> None:
    assert feed("#" * voiced + "." * 10) == []


def test_G124_a_turn_after_a_too_short_one_is_its_own() -> None:
    assert feed("####" + "." * 5 + "#" * 9) == [(18 * FRAME, SpeechStarted(10 * FRAME))]


def test_G122_two_turns_have_their_own_starts() -> None:
    events = [event for _, event in feed(("#" * 10 + "." * 5) * 2)]
    assert events == [
        SpeechStarted(FRAME),
        SpeechEnded(FRAME, 10 * FRAME),
        SpeechStarted(16 * FRAME),
        SpeechEnded(16 * FRAME, 10 * FRAME),
    ]


def test_G62_a_window_is_speech_only_above_the_threshold() -> None:
    config = SegmenterConfig(voice_threshold=0.7, speech_padding_ms=0)
    segmenter = Segmenter(config)
    assert segmenter.feed(0.7, 32) == segmenter.feed(0.7, 64) == ()
    assert segmenter.feed(0.71, 96) == ()
    assert segmenter.feed(0.71, 128) == (SpeechStarted(96),)


def test_T55_silence_timeout_repeats_with_start_and_length_of_the_silence() -> None:
    config = SegmenterConfig(silence_timeout_ms=1000)
    events = [event for _, event in feed("." * (3500 // FRAME), config)]
    assert events == [
        SilenceLasted(32, 1024),
        SilenceLasted(1056, 1024),
        SilenceLasted(2080, 1024),
    ]


def test_G122_silence_timeout_counts_anew_from_the_end_of_a_turn() -> None:
    config = SegmenterConfig(silence_timeout_ms=500)
    assert feed("#" * 10 + "." * 21, config) == [
        (9 * FRAME, SpeechStarted(FRAME)),
        (15 * FRAME, SpeechEnded(FRAME, 10 * FRAME)),
        (31 * FRAME, SilenceLasted(15 * FRAME, 16 * FRAME)),
    ]


def test_G122_voice_restarts_the_silence() -> None:
    config = SegmenterConfig(silence_timeout_ms=500)
    assert feed("." * 15 + "#" + "." * 15, config) == []


def test_G122_one_window_may_end_a_turn_and_report_silence() -> None:
    config = SegmenterConfig(silence_timeout_ms=0)
    segmenter = Segmenter(SegmenterConfig(0, 0, silence_timeout_ms=0))
    assert feed(".", config) == [(FRAME, SilenceLasted(FRAME, 0))]
    segmenter.feed(1.0, 32)
    assert segmenter.feed(1.0, 64) == (SpeechStarted(32),)
    assert segmenter.feed(0.0, 96) == (SpeechEnded(32, 64), SilenceLasted(96, 0))


@given(
    st.text(alphabet="#.", max_size=200),
    st.integers(0, 400),
    st.integers(0, 400),
    st.none() | st.integers(400, 2000),
)
def test_G122_starts_and_ends_alternate_and_agree(
    pattern: str, speech: int, silence: int, timeout: int | None
) -> None:
    config = SegmenterConfig(speech, silence, 0.5, timeout)
    events = feed(pattern, config)
    turns = [event for _, event in events if not isinstance(event, SilenceLasted)]
    for first, second in pairwise(turns):
        assert isinstance(first, SpeechStarted) is not isinstance(second, SpeechStarted)
        if isinstance(second, SpeechEnded):
            assert second.start_ms == first.start_ms
            assert second.duration_ms >= speech
    assert not turns or isinstance(turns[0], SpeechStarted)
    if timeout is None:
        assert len(turns) == len(events)
    for t, event in events:
        if isinstance(event, SilenceLasted):
            assert event.start_ms + event.duration_ms == t
            assert timeout is not None
            assert event.duration_ms >= timeout
