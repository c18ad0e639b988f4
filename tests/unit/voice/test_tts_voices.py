"""Voices and dialogues."""

from __future__ import annotations

import pytest

from salon.voice.tts import MockTextToSpeech
from salon.voice.voices import (
    DialogueTurn,
    VoiceInfo,
    check_dialogue,
    dialogue_transcript,
    filter_voices,
    refuse_styles,
)

VOICES = [
    VoiceInfo(id="1", name="Anna", language="en-US", gender="female", description="warm"),
    VoiceInfo(id="2", language="en", gender="Female"),
    VoiceInfo(id="3", language="multilingual"),
    VoiceInfo(id="4", language="eng-X"),
]
TURNS = [
    DialogueTurn(speaker="a", text="x"),
    DialogueTurn(speaker="b", text="y"),
    DialogueTurn(speaker="a", text="z"),
]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, "1234"),
        ({"language": "EN"}, "12"),
        ({"language": "en-us"}, "1"),
        ({"language": "fr"}, ""),
        ({"gender": "female"}, "12"),
        ({"query": "WARM"}, "1"),
        ({"query": "an", "gender": "male"}, ""),
        ({"query": "", "language": ""}, "1234"),
    ],
)
def test_V248_what_is_unknown_matches_nothing(asked: dict[str, str], found: str) -> None:
    assert "".join(voice.id for voice in filter_voices(VOICES, **asked)) == found


def test_V249_a_dialogue_is_checked_before_any_call() -> None:
    voices = {"a": "1", "b": "2"}
    assert check_dialogue(TURNS, voices, max_speakers=2, provider="P") == ["a", "b"]
    for turns, known, most, words in (
        (TURNS, voices, 1, "1 speakers"),
        (TURNS, {"a": "1"}, 2, "'b'"),
        ([], voices, 2, "at least one"),
    ):
        with pytest.raises(ValueError, match=words):
            check_dialogue(turns, known, max_speakers=most, provider="P")
    with pytest.raises(NotImplementedError, match="P makes no"):
        check_dialogue(TURNS, voices, max_speakers=0, provider="P")


async def test_V249_our_engines_make_no_dialogue() -> None:
    with pytest.raises(NotImplementedError):
        await MockTextToSpeech().synthesize_dialogue(TURNS, {"a": "1", "b": "2"})
    assert MockTextToSpeech().max_dialogue_speakers == 0


def test_V249_a_style_that_cannot_be_applied_is_refused() -> None:
    refuse_styles(TURNS, "P")
    with pytest.raises(ValueError, match="'sad'"):
        refuse_styles([DialogueTurn(speaker="a", text="x", style="sad")], "P")


def test_a_dialogue_as_text_has_a_line_a_turn() -> None:
    assert dialogue_transcript(TURNS[:2]) == "a: x\nb: y"
