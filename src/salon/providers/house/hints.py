"""What the house agent understands, as sentences for a recogniser."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import count, islice, pairwise

from salon.models.speech import SpeechHints
from salon.providers.house import slots
from salon.providers.house.definition import House, Intent

MAX_PHRASES = 4800
_PER_INTENT = 90
_OFF_TOPIC = 500
_MAX_HEADINGS = 200
_SLOT = re.compile(r"\{(\w+)\}")
_PLAIN = re.compile(r"[a-z']+(?: [a-z']+)*")


def speech_hints(house: House, headings: Iterable[str] = ()) -> SpeechHints:
    """At most `MAX_PHRASES` sentences in plain lower-case words. Each intent gives its share,
    spread evenly over its examples; off-topic ones are among them so that what is not for us is
    heard as what it is."""
    found: dict[str, None] = {}
    turn = count()
    for slot in slots.SLOTS:
        for value in slots.samples(slot):
            _add(found, value)
            _add(found, f"{_LEADS[slot]} {value}")
    for heading in islice(headings, _MAX_HEADINGS):
        for lead in ("", "what about ", "tell me about "):
            _add(found, lead + heading)
    for intent in house.intents.values():
        for sentence in _chosen(intent):
            _add(found, _filled(sentence, turn))
    return SpeechHints(phrases=tuple(found)[:MAX_PHRASES])


_LEADS = {"party": "for", "day": "on", "time": "at", "name": "my name is"}


def _chosen(intent: Intent) -> Iterator[str]:
    """The shortest sentences, then those with the most pairs of words that none before had, then
    evenly chosen ones."""
    most = _OFF_TOPIC if intent.off_topic else _PER_INTENT
    shortest = sorted(intent.sentences, key=lambda sentence: sentence.count(" "))
    chosen = dict.fromkeys(shortest[: most // 3])
    seen = {pair for sentence in chosen for pair in _pairs(sentence)}
    for least in (3, 2, 1):
        for sentence in intent.sentences:
            pairs = _pairs(sentence)
            if len(chosen) < most and len(pairs - seen) >= least:
                seen |= pairs
                chosen[sentence] = None
    total = len(intent.sentences)
    for number in range(most):
        if len(chosen) >= min(most, total):
            break
        chosen[intent.sentences[number * total // most]] = None
    return iter(chosen)


def _pairs(sentence: str) -> set[tuple[str, str]]:
    return set(pairwise(["", *sentence.split(), ""]))


def _filled(sentence: str, turn: Iterator[int]) -> str:
    """The sentence with sample values in its slots."""
    number = next(turn)

    def value(match: re.Match[str]) -> str:
        values = slots.samples(match[1])
        return values[(number * 7 + len(match[1])) % len(values)]

    return _SLOT.sub(value, sentence)


def _add(found: dict[str, None], phrase: str) -> None:
    plain = phrase.lower()
    if _PLAIN.fullmatch(plain):
        found[plain] = None
