"""The language model: probabilities that add up, open vocabulary, pronunciations."""

from __future__ import annotations

import logging
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.voice.stt.language_model import build_language_model, spell_out, words_of

SAID = {"open": ["OW P AH N"], "the": ["DH AH", "DH IY"], "door": ["D AO R"], "cat": ["K AE T"]}
COMMON = {"the": 0.7, "cat": 0.3}
Grams = dict[tuple[str, ...], tuple[float, float]]


def parse(arpa: str) -> list[Grams]:
    tables: list[Grams] = [{}, {}, {}]
    order = 0
    for line in arpa.splitlines():
        if line.endswith("-grams:"):
            order = int(line[1])
        elif line and line[0] == "-":
            fields = line.split("\t")
            backoff = 10 ** float(fields[2]) if len(fields) > 2 else 1.0
            tables[order - 1][tuple(fields[1].split())] = (10 ** float(fields[0]), backoff)
    return tables


def probability(tables: list[Grams], history: tuple[str, ...], word: str) -> float:
    found = tables[len(history)].get((*history, word))
    if found is not None:
        return found[0]
    if not history:
        return 0.0
    weight = tables[len(history) - 1].get(history, (0.0, 1.0))[1]
    return weight * probability(tables, history[1:], word)


def test_probabilities_after_every_history_add_up_to_one() -> None:
    tables = parse(build_language_model(["open the door", "the cat"], COMMON, SAID).arpa)
    words = [gram[0] for gram in tables[0] if gram != ("<s>",)]
    histories = [(), *(g for g in tables[0] if g != ("</s>",)), *(g for g in tables[1])]
    for history in histories:
        if history[-1:] != ("</s>",):
            total = sum(probability(tables, history, word) for word in words)
            assert total == pytest.approx(1, abs=0.01), history


def test_a_phrase_is_far_likelier_than_other_words_but_those_are_possible() -> None:
    tables = parse(build_language_model(["open the door"], COMMON, SAID).arpa)
    assert probability(tables, ("open", "the"), "door") > 0.4
    assert 0 < probability(tables, ("open", "the"), "cat") < 0.1


def test_background_words_without_pronunciation_are_left_out() -> None:
    model = build_language_model(["open"], {"zyx": 1.0}, SAID)
    assert "zyx" not in model.arpa
    assert "zyx" not in model.dictionary


def test_dictionary_holds_all_pronunciations_of_exactly_the_models_words() -> None:
    model = build_language_model(["open the salonette"], {}, SAID)
    assert model.dictionary.splitlines() == [
        "open OW P AH N",
        "salonette S AE L AA N EH T",
        "the DH AH",
        "the(2) DH IY",
    ]


def test_phrases_with_digits_are_dropped_with_a_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        model = build_language_model(["open", "room 101", "", "..."], {}, SAID)
    assert "101" not in model.arpa
    assert "room 101" in caplog.text


def test_more_phrases_than_the_bound_are_dropped_with_a_log_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salon.voice.stt.language_model.MAX_PHRASES", 1)
    model = build_language_model(["open", "door"], {}, SAID)
    assert "door" not in model.arpa
    assert "first 1 phrases" in caplog.text


def test_a_model_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="neither phrases nor background"):
        build_language_model(["42"], {}, SAID)


def test_background_alone_makes_a_model() -> None:
    tables = parse(build_language_model([], COMMON, SAID).arpa)
    assert probability(tables, (), "the") > probability(tables, (), "cat") > 0


def test_words_are_lower_case_and_marks_part_them() -> None:
    assert words_of("Don\u2019t re-open the “Door”, please!") == [
        "don't", "re", "open", "the", "door", "please",
    ]  # fmt: skip
    assert words_of("at 7 pm") == []


@pytest.mark.parametrize(
    ("word", "sounds"),
    [
        ("ship", "SH IH P"),
        ("gate", "G EY T"),
        ("city", "S IH T IY"),
        ("yellow", "Y EH L OW"),
        ("nation", "N AE SH AH N"),
        ("pass", "P AE S"),
        ("o'tick", "AA T IH K"),
        ("coffee", "K AA F IY"),
    ],
)
def test_unknown_words_are_spelled_out(word: str, sounds: str) -> None:
    assert spell_out(word) == sounds


@given(st.text("abcdefghijklmnopqrstuvwxyz'", min_size=1).filter(lambda w: w.strip("'")))
def test_spelling_out_always_gives_sounds_of_the_models_alphabet(word: str) -> None:
    vowels = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UW"}
    hard = {"B", "CH", "D", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH"}
    known = vowels | hard | {"T", "TH", "V", "W", "Y", "Z", "ZH"}
    sounds = spell_out(word).split()
    assert sounds
    assert set(sounds) <= known


@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=5).map(" ".join)))
def test_equal_histories_never_hold_more_than_certainty(phrases: list[str]) -> None:
    tables = parse(build_language_model(phrases, {"the": 1.0}, SAID).arpa)
    for table in tables[1:]:
        sums: dict[tuple[str, ...], float] = defaultdict(float)
        for gram, (value, _) in table.items():
            sums[gram[:-1]] += value
        assert all(total < 1.01 for total in sums.values())
