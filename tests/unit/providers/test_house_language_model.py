"""What the house agent hears and how sure of it it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pytest

from salon.providers.house.definition import load
from salon.providers.house.understanding import Understander
from salon.voice.stt.language_model import BEGIN, END, build_language_model

SAID = {
    "open": ["OW P AH N"],
    "the": ["DH AH"],
    "door": ["D AO R"],
    "dog": ["D AO G"],
    "barks": ["B AA R K S"],
    "quaint": ["K W EY N T"],
}
COMMON = {"the": 4.0, "dog": 2.0, "barks": 1.0, "open": 1.0, "door": 1.0}
USUAL = {("the", "dog"): 0.6, ("dog", "barks"): 0.7, ("open", "the", "dog"): 0.9, ("the",): 0.2}


def general(words: Sequence[str]) -> float:
    return USUAL.get(tuple(words), 0.05)


def tables(arpa: str) -> dict[tuple[str, ...], tuple[float, float]]:
    found = {}
    for line in arpa.splitlines():
        parts = line.split("\t")
        if len(parts) > 1:
            backoff = float(parts[2]) if len(parts) > 2 else 0.0
            found[tuple(parts[1].split())] = (10 ** float(parts[0]), 10**backoff)
    return found


def chance(table: dict[tuple[str, ...], tuple[float, float]], *words: str) -> float:
    if words in table:
        return table[words][0]
    return table.get(words[:-1], (0.0, 1.0))[1] * chance(table, *words[1:])


MIXED = tables(build_language_model(["open the door", "quaint door"], COMMON, SAID, general).arpa)
PLAIN = tables(build_language_model(["open the door", "quaint door"], COMMON, SAID).arpa)


def test_what_the_language_says_often_is_likelier_than_without_it() -> None:
    assert chance(MIXED, "the", "dog") > 2 * chance(PLAIN, "the", "dog")
    assert chance(MIXED, "open", "the", "dog") > chance(PLAIN, "open", "the", "dog")
    assert ("dog", "barks") in MIXED
    assert ("dog", "barks") not in PLAIN


def test_the_phrases_stay_likeliest() -> None:
    assert chance(MIXED, BEGIN, "open", "the") > chance(MIXED, BEGIN, "dog", "the")
    assert chance(MIXED, "the", "door") > chance(MIXED, "the", "barks")


@pytest.mark.parametrize("history", [(BEGIN,), ("the",), ("dog",), ("open", "the"), ("quaint",)])
def test_what_follows_a_history_adds_up_to_one(history: tuple[str, ...]) -> None:
    follow = defaultdict(float)
    for word in (*SAID, END):
        follow[word] = chance(MIXED, *history, word)
    assert sum(follow.values()) == pytest.approx(1.0, abs=0.02)


def test_what_was_probably_misheard_must_fit_better() -> None:
    by = Understander(load())
    assert by.understand("what is there to eat").intent == "menu"
    assert by.understand("him what is food there", {}, 0.9).intent == "menu"
    assert by.understand("him what is food there", {}, 0.02).intent is None
