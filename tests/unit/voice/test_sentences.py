"""Cutting a stream of text into sentences to be spoken."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from salon.base import ConfigurationError
from salon.voice.sentences import FIRST_CLAUSE_CHARS, SentenceSplitter

CLOSING_MARKS = 4


def split(*deltas: str, **limits: int) -> list[str]:
    splitter = SentenceSplitter(**limits)
    pieces = [piece for delta in deltas for piece in splitter.feed(delta)]
    return pieces + splitter.flush()


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "Hello there.| How are you?| Fine!| Good",
        "Dr. Smith and Mrs. Jones came.| They left.",
        "Take fruit, e.g. Apples or pears.| Enjoy.",
        "Open from 9 a.m. to 5 p.m. on weekdays.| Closed on Sunday.",
        "Come at 5 p.m.| The door is open.",
        "We sell tea, coffee, etc. all day.| We also sell cake, etc.| Come in.",
        "It costs 3.5 euros at 10:30.| Really.",
        "Room No. 5 is free.| Is it free?| No.| It is taken.",
        "J. R. R. Tolkien wrote it.| So did I.| Nobody else.",
        "The U.S. Army came.| It left.",
        "Well... maybe not.| Wait…| That was it.",
        "Really?!| Yes!!| Good.",
        'She said "Stop!" and left.| He said "Go."| Then he went.',
        "(This is one.)| This is two.| [Three!]| Four.",
        "**Bold.**| Plain.",
        "Visit salon.example.org today.| See version 1.2.3 now.",
        "你好。|今天天气很好！|你呢？|好",
        "他说：「走吧。」|然后走了。",
        "Here is a list:|\n1. Tea\n|2. Coffee\n|a. Milk\n|- Cake\n|\n|The end",
        "One line\n|another line",
        "The answer is 42.| That is all.",
        "Prices in Jan. 2025 rose.| They fell.",
        "The Ph.D. student slept.| She woke.",
        "At approx. Noon we met.| Good.",
        "He waited, etc.|          and then left.",
        "Buy milk, etc.|\n|Next",
    ],
)
def test_sentences_end_where_a_reader_pauses(text: str) -> None:
    expected = [part.strip() for part in text.split("|") if part.strip()]
    whole = text.replace("|", "")
    assert split(whole) == expected
    assert split(*whole) == expected


def test_a_sentence_comes_out_with_the_white_space_behind_it() -> None:
    splitter = SentenceSplitter()
    assert splitter.feed("I am here") == []
    assert splitter.feed(".") == []
    assert splitter.feed(" ") == ["I am here."]
    assert splitter.feed("So 3.") == []
    assert splitter.feed("5 is right!") == []
    assert splitter.flush() == ["So 3.5 is right!"]


def test_a_newline_is_certain_at_once() -> None:
    assert SentenceSplitter().feed("Tea\n") == ["Tea"]


@pytest.mark.parametrize(
    ("text", "following", "pieces"),
    [
        ("at 5 p.m. ", "T", ["at 5 p.m."]),
        ("at 5 p.m. ", "t", []),
        ("Oh... ", "T", ["Oh..."]),
        ("Oh... ", "t", []),
        ("No. ", "I", ["No."]),
        ("No. ", "5", []),
        ('"No!" ', "H", ['"No!"']),
        ('"No!" ', "h", []),
    ],
)
def test_an_undecided_mark_waits_for_the_next_word(
    text: str, following: str, pieces: list[str]
) -> None:
    splitter = SentenceSplitter()
    assert splitter.feed(text) == []
    assert splitter.feed(following) == pieces


def test_an_undecided_mark_at_the_end_is_settled_by_flush() -> None:
    assert split("Come at 5 p.m. ") == ["Come at 5 p.m."]


def test_a_long_first_clause_is_spoken_early_and_only_the_first() -> None:
    splitter = SentenceSplitter()
    clause = "Of all the many things that you could ask me,"
    assert len(clause) >= FIRST_CLAUSE_CHARS
    assert splitter.feed(clause) == []
    assert splitter.feed(" this") == [clause]
    assert splitter.feed(" was the one I liked the least of all, and so I will not answer") == []
    assert splitter.feed(". ") == [
        "this was the one I liked the least of all, and so I will not answer."
    ]


def test_a_short_first_clause_waits() -> None:
    assert SentenceSplitter().feed("Yes, of course, and then ") == []


def test_a_comma_inside_a_number_is_no_clause() -> None:
    text = "The house that you asked me about costs 1,250,000 euros"
    assert split(*text) == [text]


def test_flush_makes_the_next_text_a_first_one_again() -> None:
    splitter = SentenceSplitter()
    clause = "Of all the many things that you could ask me,"
    assert splitter.feed(clause + " no") == [clause]
    assert splitter.flush() == ["no"]
    assert splitter.feed(clause + " no") == [clause]


def test_a_long_sentence_is_divided_after_a_comma() -> None:
    pieces = split("one two three, four five six seven eight", max_chars=30)
    assert pieces == ["one two three,", "four five six seven eight"]


def test_a_long_sentence_without_a_comma_is_divided_between_words() -> None:
    assert split("alpha beta gamma delta", max_chars=12) == ["alpha beta", "gamma delta"]


def test_a_long_cjk_sentence_is_divided_after_its_comma() -> None:
    assert split("一二三四，五六七，八九十", max_chars=7) == ["一二三四，", "五六七，八九十"]
    assert split("一二三四五六，七，八九", max_chars=7) == ["一二三四五六，", "七，八九"]
    assert split("一二三，四五六七，八九", max_chars=8) == ["一二三，", "四五六七，八九"]


def test_a_word_longer_than_the_limit_is_divided() -> None:
    assert split("x" * 25, max_chars=10) == ["x" * 10, "x" * 10, "x" * 5]


def test_a_mark_beyond_the_limit_does_not_stretch_it() -> None:
    assert split("abc. d", max_chars=3) == ["abc", ".", "d"]
    assert split(*"abc. d", max_chars=3) == ["abc", ".", "d"]


def test_the_first_piece_has_its_own_limit() -> None:
    pieces = split("aa bb cc dd ee ff gg hh", max_chars=20, first_max_chars=8)
    assert pieces == ["aa bb cc", "dd ee ff gg hh"]


def test_nothing_in_nothing_out() -> None:
    assert split("", " \n ", "\n\n") == []
    assert SentenceSplitter().flush() == []


@pytest.mark.parametrize("name", ["max_chars", "first_max_chars"])
def test_a_limit_below_one_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        SentenceSplitter(**{name: 0})


TEXTS = st.lists(
    st.sampled_from(
        [
            *("a", "Bee", "I", "3", "Dr.", "e.g.", "etc.", "No.", "p.m.", "U.S.", "word", "1."),
            *(".", "!", "?", "...", "…", "。", "！", ",", ";", ":", "，", "—"),
            *('"', "”", ")", "(", "」", "**", " ", " ", " ", "  ", "\n", "\n\n", "          "),
        ]
    ),
    max_size=60,
).map("".join)
LIMITS = st.tuples(st.integers(1, 60), st.integers(1, 60))


@given(st.one_of(TEXTS, st.text(max_size=200)), st.lists(st.integers(1, 9)), LIMITS)
@settings(max_examples=400, deadline=None)
@example("", [], (1, 1))
def test_nothing_is_lost_and_division_on_the_way_makes_no_difference(
    text: str, sizes: list[int], limits: tuple[int, int]
) -> None:
    most, first = limits
    deltas = []
    at = 0
    for size in sizes:
        deltas.append(text[at : at + size])
        at += size
    deltas.append(text[at:])
    pieces = split(*deltas, max_chars=most, first_max_chars=first)
    assert squeezed("".join(pieces)) == squeezed(text)
    assert all(piece and piece == piece.strip() for piece in pieces)
    assert all(len(piece) <= most + CLOSING_MARKS for piece in pieces)
    assert pieces == split(text, max_chars=most, first_max_chars=first)


@given(TEXTS, LIMITS)
@settings(max_examples=150, deadline=None)
def test_what_is_kept_back_is_bounded(text: str, limits: tuple[int, int]) -> None:
    most, first = limits
    splitter = SentenceSplitter(max_chars=most, first_max_chars=first)
    fed = spoken = 0
    for letter in text * 3:
        fed += len(letter.strip())
        spoken += len(squeezed("".join(splitter.feed(letter))))
        assert fed - spoken <= most + 2 * CLOSING_MARKS
