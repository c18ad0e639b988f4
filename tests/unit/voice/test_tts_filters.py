"""What is taken out of a streaming text."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator

import pytest

from salon.voice.tts import (
    StripBrackets,
    StripEmoji,
    StripInternalTags,
    StripTechnicalText,
    TTSFilterChain,
    TTSStreamFilter,
    filtered_stream,
)

LETTERS = "a\u2122 \u2192 \u00e9 \u2460 \u0645\u06cc\u200c\u0631 \u0915\u094d\u200d\u0937"
NO_OBJECTS = "{} {{x}} {1: 2} {a b} a - b -- c {"
CASES: list[tuple[TTSStreamFilter, str, str]] = [
    (StripBrackets(), "Hello [laughs] you [x] there [open", "Hello  you  there "),
    (StripBrackets(["Laughs"]), "[laughs] [ LAUGHS ] [laughs hard]", "[laughs] [ LAUGHS ] "),
    (StripBrackets(), "nested [a [b] c] (aside) {x}", "nested  c] (aside) {x}"),
    (StripBrackets(), f"a [{'x' * 500}] b", "a  b"),
    (StripEmoji(), "Hi \U0001f600 \u2764\ufe0f 1\ufe0f\u20e3 \U0001f1eb\U0001f1f7.", "Hi   1 ."),
    (StripEmoji(), "\U0001f44d\U0001f3fd\u200d\U0001f4a8.", "."),
    (StripEmoji(), LETTERS, LETTERS),
    (StripInternalTags(), "a [internal]secret[/internal] b", "a  b"),
    (StripInternalTags(), "a [x] [INTERNAL]k[/Internal] c[", "a [x]  c["),
    (StripInternalTags(), "[internal] x [internal] y [/internal] z", " z"),
    (StripInternalTags(), "a [/internal] b [internal]open", "a  b "),
    (StripInternalTags(), "a \u0130 [inter", "a \u0130 [inter"),
    (StripTechnicalText(), 'x {"a": {"b": "}\\""}} y', "x y"),
    (StripTechnicalText(), "x{a: 1}y { b : 2} z", "x y z"),
    (StripTechnicalText(), '{"tool": "x"} then {"b":2}', "then "),
    (StripTechnicalText(), '{"a": 1}{"b": 2}.', "."),
    (StripTechnicalText(), 'text {"a" never closed', "text "),
    (StripTechnicalText(), NO_OBJECTS, NO_OBJECTS),
    (StripTechnicalText(), "--- x --- y---z", "x y z"),
    (StripTechnicalText(), "one\n---\ntwo", "one\ntwo"),
    (StripTechnicalText(), "-", "-"),
    (StripTechnicalText(), f"{{ {'k' * 300}", f"{{ {'k' * 300}"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "text", "said"), CASES)
def test_the_outcome_does_not_depend_on_how_the_text_is_cut(
    one: TTSStreamFilter, text: str, said: str
) -> None:
    assert one.feed(text) + one.flush() == said
    assert "".join(one.feed(character) for character in text) + one.flush() == said
    cuts = itertools.pairwise([0, *range(2, len(text), 3), len(text)])
    assert "".join(one.feed(text[a:b]) for a, b in cuts) + one.flush() == said


@pytest.mark.parametrize("one", [StripBrackets(), StripInternalTags(), StripTechnicalText()])
def test_reset_forgets(one: TTSStreamFilter) -> None:
    one.feed('a [internal] {"x')
    assert one.end_segment() == ""
    one.reset()
    assert one.feed("ok ") + one.flush() == "ok "


def test_a_chain_passes_what_each_lets_go() -> None:
    chain = TTSFilterChain(StripInternalTags(), StripTechnicalText(), StripEmoji())
    assert chain.feed("a [inter") == "a "
    assert chain.end_segment() == ""
    assert chain.flush() == "[inter"
    assert chain.feed("x - ") + chain.feed("\U0001f44d y {") == "x -  y "
    assert chain.flush() == "{"
    chain.feed("[internal]")
    chain.reset()
    assert chain.feed("b") == "b"


def test_a_chain_gives_what_a_filter_lets_go_to_the_next() -> None:
    class Holds(TTSStreamFilter):
        kept = ""

        def feed(self, chunk: str) -> str:
            self.kept += chunk
            return ""

        def flush(self) -> str:
            return self.end_segment()

        def end_segment(self) -> str:
            kept, self.kept = self.kept, ""
            return kept

        def reset(self) -> None:
            self.kept = ""

    chain = TTSFilterChain(Holds(), StripBrackets())
    assert chain.feed("a [b] c") == ""
    assert chain.end_segment() == "a  c"
    chain.feed("d [e]")
    assert chain.flush() == "d "


async def test_a_stream_is_filtered_and_other_things_pass() -> None:
    async def source() -> AsyncIterator[object]:
        for piece in ("Hi [la", "ughs", "]", 7, "there [", "x", "- "):
            yield piece

    said = [piece async for piece in filtered_stream(source(), StripBrackets())]
    assert said == ["Hi ", 7, "there "]

    async def dash() -> AsyncIterator[str]:
        yield "a -"

    assert [p async for p in filtered_stream(dash(), StripTechnicalText())] == ["a ", "-"]


async def test_a_marker_lets_go_what_need_not_be_kept() -> None:
    class Marks(StripBrackets):
        def end_segment(self) -> str:
            return "."

    async def source() -> AsyncIterator[object]:
        yield None

    assert [p async for p in filtered_stream(source(), Marks())] == [".", None]


def test_what_was_not_spoken_is_logged_without_its_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "salon.voice.tts")
    StripTechnicalText().feed('{"password": 1}')
    assert "15 characters" in caplog.text
    assert "password" not in caplog.text
