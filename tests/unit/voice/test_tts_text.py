"""Text on its way to an engine (G81)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.voice.tts import blank, is_speakable, remove_emoji, split_text, to_ascii


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello 🙂 there", "Hello there"),
        ("Hello🙂there", "Hellothere"),
        ("Hi 🙂🙂 you", "Hi you"),
        ("Hi 🙂 🎉 you", "Hi you"),
        ("Hi🙂 🎉you", "Hi you"),
        ("Great! 🎉", "Great!"),
        ("🎉 Great!", "Great!"),
        ("Family 👩‍👩‍👧‍👦.", "Family."),
        ("thumbs 👍🏽 up", "thumbs up"),
        ("flag 🇩🇪 here", "flag here"),
        ("England 🏴󠁧󠁢󠁥󠁮󠁧󠁿 too", "England too"),
        ("I ❤️ it", "I it"),
        ("press 1️⃣ now", "press 1 now"),
        ("Brand® and Brand®️", "Brand® and Brand"),
        ("🙂", ""),
        ("🙂 🎉", ""),
        ("", ""),
    ],
)
def test_G81_emoji_are_removed_with_their_space(text: str, expected: str) -> None:
    assert remove_emoji(text) == expected


@pytest.mark.parametrize(
    "text",
    ["plain text", "  spaces  stay ", "naïve 你好 مرحبا", "10 € & 5 %", "می‌خواهم", "क्‍ष", "a\nb"],
)
def test_G81_text_without_emoji_is_unchanged(text: str) -> None:
    assert remove_emoji(text) == text
    assert len(blank(text)) == len(text)


def test_G81_long_white_space_takes_no_longer_than_other_text() -> None:
    """In time quadratic in its length, these would take hours, and every call wait meanwhile."""
    for text in (" " * 1_000_000, "." * 200_000, "?!," * 200_000, "\n \t" * 200_000):
        assert remove_emoji(text) == text
        assert "".join(part for _, part in split_text(text, 100_000)) == text
    assert remove_emoji(" " * 500_000 + "🙂 " * 1000 + "x") == "x"


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("🙂🎉❤️👩‍👧🇩🇪 1⃣\ud800\0\n"))))
def test_engine_text_keeps_every_place(text: str) -> None:
    visible = blank(text)
    assert len(visible) == len(text)
    assert "\0" not in visible
    visible.encode()
    plain = to_ascii(visible)
    assert len(plain) == len(text)
    assert plain.isascii()
    assert "🙂" not in remove_emoji(text)


@given(st.text(alphabet="ab .,!?\n;。", max_size=300), st.integers(1, 50), st.integers(1, 50))
def test_parts_add_up_and_keep_the_limit(text: str, limit: int, first: int) -> None:
    parts = split_text(text, limit, min(first, limit))
    assert "".join(part for _, part in parts) == text
    assert all(len(part) <= limit for _, part in parts)
    at = 0
    for offset, part in parts:
        assert offset == at
        at += len(part)


def test_cuts_fall_where_a_speaker_pauses() -> None:
    assert [part for _, part in split_text("One two. Three, four five", 12)] == [
        "One two. ",
        "Three, ",
        "four five",
    ]
    assert [part for _, part in split_text("one two three", 9)] == ["one two ", "three"]
    assert [part for _, part in split_text("abcdefgh", 5)] == ["abcde", "fgh"]


def test_first_part_is_short_only_at_a_pause() -> None:
    assert [part for _, part in split_text("Well, then let us go", 40, 8)] == [
        "Well, ",
        "then let us go",
    ]
    assert split_text("Well then let us go", 40, 8) == [(0, "Well then let us go")]


def test_accents_and_quotes_become_ascii() -> None:
    assert to_ascii("“Ünïcode”, naïve café — œuvre…") == '"Unicode", naive cafe - euvre.'
    assert to_ascii("日本") == "  "


@pytest.mark.parametrize("text", ["a", "é", "你", "7", "€", "50%", "C# & D"])
def test_speakable(text: str) -> None:
    assert is_speakable(text)


@pytest.mark.parametrize("text", ["", " ", "...", "—", "?!", "(*)", "\u200d"])
def test_unspeakable(text: str) -> None:
    assert not is_speakable(text)
