"""Backchannel detectors and their word lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.base import ConfigurationError
from salon.testing.contracts.voice_backchannel import BackchannelDetectorContract
from salon.voice.pipeline.backchannel import (
    BackchannelContext,
    BackchannelDecision,
    BackchannelDetector,
    MockBackchannelDetector,
    PhraseBackchannelDetector,
)
from salon.voice.turns.backchannel import BACKCHANNELS_BY_LANGUAGE, Lexicon, words_of


class TestPhrases(BackchannelDetectorContract):
    def make(self) -> BackchannelDetector:
        return PhraseBackchannelDetector()


class TestMock(BackchannelDetectorContract):
    def make(self) -> BackchannelDetector:
        return MockBackchannelDetector([BackchannelDecision(True), BackchannelDecision(False)])


def classify(text: str | None, *, final: bool = True, **settings: object) -> BackchannelDecision:
    detector = PhraseBackchannelDetector(**settings)  # type: ignore[arg-type]
    return detector.classify(BackchannelContext(transcript=text, is_final=final))


@pytest.mark.parametrize(
    "text",
    ["Okay.", "mm-hmm", "Yeah, that makes sense.", "UH-HUH!", "I see", "d'accord", "tout à fait"],
)
def test_backchannels(text: str) -> None:
    decision = classify(text)
    assert (decision.is_backchannel, decision.label) == (True, "acknowledgement")


@pytest.mark.parametrize("text", ["no", "okay but", "stop", "yeah what about Paris", "你好"])
def test_wishes_to_speak(text: str) -> None:
    decision = classify(text)
    assert (decision.is_backchannel, decision.pending) == (False, False)
    assert decision.label == "interruption"


@pytest.mark.parametrize(
    ("text", "pending"),
    [
        ("that makes", True),
        ("okay abs", True),
        ("got", True),
        ("no", False),
        ("stop", False),
        ("got it and", False),
        ("weather", False),
        ("okay", False),
    ],
)
def test_interim_words_may_still_become_one(text: str, pending: bool) -> None:
    assert classify(text, final=False).pending is pending
    assert not classify(text).pending


def test_too_many_words_are_no_backchannel() -> None:
    assert classify("ok yeah sure", max_words=3).is_backchannel
    assert not classify("ok yeah sure", max_words=2).is_backchannel
    with pytest.raises(ConfigurationError, match="max_words"):
        PhraseBackchannelDetector(max_words=0)


def test_V119_without_words() -> None:
    assert not classify(None).is_backchannel
    assert classify(" … ", cut_without_words=False) == BackchannelDecision(True, 0.5, "no words")


def test_own_phrases() -> None:
    assert classify("hai hai", phrases=["hai", ""]).is_backchannel
    assert not classify("okay", phrases=["hai"]).is_backchannel
    assert not classify("okay", phrases=[]).is_backchannel


@pytest.mark.parametrize("language", sorted(BACKCHANNELS_BY_LANGUAGE))
def test_every_phrase_of_every_list_is_one(language: str) -> None:
    phrases = BACKCHANNELS_BY_LANGUAGE[language]
    lexicon = Lexicon(phrases)
    for phrase in phrases:
        assert phrase == phrase.lower()
        assert lexicon.consists(words_of(phrase)), phrase


WORDS = st.lists(st.sampled_from(["a", "b", "c", "ab"]), max_size=5)


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), max_size=5), WORDS)
def test_every_beginning_of_phrases_may_become_some(
    phrases: list[list[str]], tail: list[str]
) -> None:
    lexicon = Lexicon(" ".join(phrase) for phrase in phrases)
    whole = [word for phrase in phrases for word in phrase]
    assert lexicon.consists(whole) is bool(whole)
    for end in range(1, len(whole)):
        assert lexicon.consists(whole[:end]) or lexicon.may_become(whole[:end])
    if tail and not set(tail) & {word for phrase in phrases for word in phrase}:
        assert not lexicon.consists(whole + tail)


def test_the_mock_plays_its_script() -> None:
    hum = BackchannelDecision(True)
    mock = MockBackchannelDetector([hum])
    context = BackchannelContext(transcript="okay")
    assert [mock.classify(context), mock.classify(context)] == [hum, BackchannelDecision(False)]
    mock.reset()
    assert mock.classify(context) == hum
    mock.close()
    assert (mock.evaluations, mock.reset_count, mock.closed) == ([context] * 3, 1, True)
    assert mock.name == "MockBackchannelDetector"
