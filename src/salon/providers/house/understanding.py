"""What a person wants: the example sentence most like what was heard.

A sentence is compared by the weight of the words it shares with an example (rare words weigh
more), half of it in any order and half in the right order, words that look or sound alike counting
partly. Slots count as one word each. Where the words by themselves speak for another intent
(`evidence`), more likeness is asked for. Whatever is more like an off-topic example, or like
nothing, is not understood.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from salon.providers.house import slots
from salon.providers.house.definition import House, load
from salon.providers.house.evidence import Evidence
from salon.providers.house.slots import Found
from salon.providers.house.words import hedged, likeness, stem, tokens

_FUNCTION = frozenset(
    {"a", "an", "the", "is", "are", "am", "be", "i", "you", "it", "we", "me", "my", "your",
     "to", "of", "for", "on", "in", "at", "and", "or", "do", "does", "did", "can", "could",
     "would", "will", "what", "how", "that", "this", "there", "have", "has", "not", "with",
     "if", "so", "please", "just", "some", "any", "us",
     "okay", "actually", "exactly", "then", "now", "really", "also", "thing", "things", "kind"}
)  # fmt: skip
_SLOT = re.compile(r"(\{\w+\})")
_CANDIDATES = 80
_ALIKE = 0.72
_DOUBT = 0.12
"""How much surer it must be if the words themselves speak for another intent."""
_HEARD_WELL = 0.5
"""Below this confidence of the recogniser, what is missing to it is asked for in likeness."""
_FOREIGN = 1.4
"""A word that only off-topic examples have counts this much more."""
_MAX_WORDS = 40
_BOOKING = frozenset({"book", "change", "affirm", "deny", "inform"})

_REPLIES = frozenset({"change", "affirm", "deny"})
_BOOKED = frozenset({"booking", "reservation", "table"})
_ALONE = 0.8
"""How sure it must be of a reply to nothing that was asked."""
_ASKED = frozenset({"party", "day", "time", "name"})


@dataclass(frozen=True, slots=True)
class Understanding:
    """`intent` is None when nothing fits; `nearest` is then what came closest. `slots` are those
    found in any case, `score` is 0 to 1."""

    intent: str | None
    slots: Mapping[str, str] = field(default_factory=dict)
    score: float = 0.0
    nearest: str | None = None
    bare: str | None = None
    """The value of a number that may be a party or an hour."""


@dataclass(frozen=True, slots=True)
class _Example:
    intent: str
    words: tuple[str, ...]
    weight: float


class Understander:
    """The examples of one `House`, ready to be compared."""

    def __init__(self, house: House) -> None:
        self._house = house
        spread: dict[str, set[str]] = defaultdict(set)
        written: dict[tuple[str, tuple[str, ...]], None] = {}
        for intent in house.intents.values():
            for sentence in intent.sentences:
                words = _example_words(sentence)
                if words:
                    written[intent.name, words] = None
                    for word in words:
                        spread[word].add(intent.name)
        count = len(house.intents)
        self._weights = {w: self._weigh(w, len(names), count) for w, names in spread.items()}
        foreign = {name for name, intent in house.intents.items() if intent.off_topic}
        for word, names in spread.items():
            if names <= foreign:
                self._weights[word] *= _FOREIGN
        self._unknown = 0.8 * math.log(count + 1)
        self._spread = spread
        self._examples = [
            _Example(name, words, sum(self._weights[w] for w in words)) for name, words in written
        ]
        self._evidence = Evidence(written, self.weight)
        self._yes = {name for name, i in house.intents.items() if i.action == "affirm"}
        self._foreign = foreign
        self._where: dict[str, list[int]] = defaultdict(list)
        for number, example in enumerate(self._examples):
            for word in set(example.words):
                self._where[word].append(number)
        self._alike = lru_cache(maxsize=4096)(self._find_alike)

    def understand(
        self,
        text: str,
        state: Mapping[str, Any] | None = None,
        confidence: float | None = None,
    ) -> Understanding:
        """`state` is the dialogue state stored with the last answer; while a booking is open,
        slots alone are an answer. `confidence` is the recogniser's, None for what was typed: what
        was probably misheard must fit better."""
        words = self._joined(tokens(text)[:_MAX_WORDS])
        found = slots.find(words)
        booking = bool(state and state.get("topic") == "booking")
        asked = state.get("asked") if state and booking else None
        values = {f.slot: f.value for f in reversed(found) if f.sure}
        bare = next((f.value for f in found if not f.sure), None)
        intent, score = self._match(words, found, booking, hedged(text))
        doubt = not booking and self._evidence.strongest(_with_slots(words, found)) != intent
        sure = score - _DOUBT * doubt
        if confidence is not None:
            sure -= max(0.0, _HEARD_WELL - confidence)
        accepted = intent if self._accepts(intent, sure, booking, found) else None
        if accepted in _REPLIES and not booking and score < _ALONE and not _BOOKED & set(words):
            accepted = None
        if accepted in self._yes and asked in _ASKED and not found and score < _ALONE:
            accepted = None  # "fine" of a misheard "five" answers no question for a number
        if booking and found and (accepted is None or accepted in {"book", "inform"}):
            content = _rest_weight(words, found, self)
            accepted = "inform" if accepted or content <= 2.5 * len(found) else None
        elif not booking and accepted == "inform":
            accepted = (
                "book" if {"party", "day", "time"} & values.keys() and len(found) > 1 else None
            )
        return Understanding(accepted, values, round(score, 3), intent, bare)

    def _accepts(
        self, intent: str | None, score: float, booking: bool, found: tuple[Found, ...]
    ) -> bool:
        if intent is None or self._house.intents[intent].off_topic:
            return False
        threshold = self._house.threshold
        if booking and found and intent not in _BOOKING:
            threshold = max(threshold, 0.7)
        return score >= threshold

    def _match(
        self, words: tuple[str, ...], found: tuple[Found, ...], booking: bool, doubted: bool
    ) -> tuple[str | None, float]:
        """The best intent over the readings of `words`: with slots taken out, and as they are.
        What was `doubted` is no yes."""
        best: dict[str, float] = {}
        readings = {_with_slots(words, found), words} if found else {words}
        for reading in readings:
            for name, score in self._scores(reading).items():
                if doubted and name in self._yes:
                    continue
                if self._heard_need(name, words, found):
                    best[name] = max(best.get(name, 0.0), score)
        if booking:
            for name in _BOOKING & best.keys():
                best[name] += 0.03
        if not best:
            return None, 0.0
        name = max(best, key=lambda n: best[n])
        return name, min(best[name], 1.0)

    def _heard_need(self, name: str, words: tuple[str, ...], found: tuple[Found, ...]) -> bool:
        needs = self._house.intents[name].needs
        if not needs or any(likeness(w, need) >= 0.8 for w in words for need in needs):
            return True
        return name == "book" and len({f.slot for f in found}) > 1

    def _scores(self, words: tuple[str, ...]) -> dict[str, float]:
        """The score of every intent that has a word in common with `words`."""
        heard = sum(self.weight(w) for w in words)
        if not heard:
            return {}
        loose: Counter[int] = Counter()
        for word in dict.fromkeys(words):
            for other, alike in self._alike(word):
                gain = alike * min(self.weight(word), self._weights[other])
                for number in self._where[other]:
                    loose[number] += gain  # type: ignore[assignment]
        ranked = sorted(
            loose, key=lambda n: loose[n] / (heard + self._examples[n].weight), reverse=True
        )
        scores: dict[str, float] = {}
        for number in ranked[:_CANDIDATES]:
            example = self._examples[number]
            score = self._similarity(words, heard, example)
            scores[example.intent] = max(scores.get(example.intent, 0.0), score)
        return {
            name: 0.8 * s + 0.2 * self._topical(name, words, heard) for name, s in scores.items()
        }

    def _similarity(self, words: tuple[str, ...], heard: float, example: _Example) -> float:
        gains = [[self._gain(w, other) for other in example.words] for w in words]
        ordered = _aligned(gains)
        free = 0.0
        taken: set[int] = set()
        for row in gains:
            place = max(
                (i for i in range(len(row)) if i not in taken), key=lambda i: row[i], default=-1
            )
            if place >= 0 and row[place] > 0:
                taken.add(place)
                free += row[place]
        return (ordered + free) / (heard + example.weight)

    def _gain(self, word: str, other: str) -> float:
        if word == other:
            return self._weights[other]
        alike = dict(self._alike(word)).get(other, 0.0)
        return alike * min(self.weight(word), self._weights[other])

    def _topical(self, name: str, words: tuple[str, ...], heard: float) -> float:
        """The share of what was heard that occurs somewhere in the intent's examples."""
        return (
            sum(
                self.weight(w)
                for w in words
                if any(a > 0.9 and name in self._spread[other] for other, a in self._alike(w))
            )
            / heard
        )

    def own(self, intent: str, text: str) -> frozenset[str]:
        """The stems of the words of `text` that are in the examples of `intent`, slots included."""
        words = tokens(text)
        filled = {
            i
            for f in slots.find(words)
            if intent in self._spread.get(f"<{f.slot}>", ())
            for i in range(f.start, f.end)
        }
        return frozenset(
            stem(word)
            for i, word in enumerate(words)
            if i in filled
            or any(a > 0.9 and intent in self._spread[other] for other, a in self._alike(word))
        )

    def vocabulary(self) -> frozenset[str]:
        """The stems of every word in the examples of what is answered."""
        return frozenset(stem(w) for w, names in self._spread.items() if not names <= self._foreign)

    def weight(self, word: str) -> float:
        """How much it says that `word` was heard."""
        known = self._weights.get(word)
        if known is not None:
            return known
        return 0.4 if word in _FUNCTION else self._unknown

    def _weigh(self, word: str, spread: int, count: int) -> float:
        weight = math.log((count + 1) / spread)
        return max(0.4, 0.45 * weight) if word in _FUNCTION else max(0.9, weight)

    def _find_alike(self, word: str) -> tuple[tuple[str, float], ...]:
        """The known words like `word`. A word that is known itself was probably heard right, so
        the others count less."""
        known = word in self._weights
        found = []
        for other in self._weights:
            alike = 1.0 if other == word else likeness(word, other)
            if alike < 1.0 and known:
                alike *= 0.6
            if alike >= (0.4 if known else _ALIKE):
                found.append((other, alike))
        found.sort(key=lambda pair: -pair[1])
        return tuple(found[:6])

    def _joined(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Two words that make one known word (``in stall``) become that word."""
        joined: list[str] = []
        at = 0
        while at < len(words):
            pair = "".join(words[at : at + 2])
            strange = any(w not in self._weights for w in words[at : at + 2])
            if strange and at + 1 < len(words) and pair in self._weights:
                joined.append(pair)
                at += 2
            else:
                joined.append(words[at])
                at += 1
        return tuple(joined)


@lru_cache(maxsize=1)
def default_understander() -> Understander:
    """The file that comes with Salon."""
    return Understander(load())


def understand(text: str, state: Mapping[str, Any] | None = None) -> Understanding:
    """`Understander.understand` with the file that comes with Salon."""
    return default_understander().understand(text, state)


def _example_words(sentence: str) -> tuple[str, ...]:
    words: list[str] = []
    for part in _SLOT.split(sentence):
        words.extend([f"<{part[1:-1]}>"] if _SLOT.fullmatch(part) else tokens(part))
    if "{" not in sentence:
        return tuple(words)
    return tuple(_drop_people(words))


def _drop_people(words: list[str]) -> list[str]:
    """A party swallows the word for people after it, as in `slots.find`."""
    people = {"people", "persons", "guests", "seats", "of"}
    return [w for i, w in enumerate(words) if not (i and words[i - 1] == "<party>" and w in people)]


def _with_slots(words: tuple[str, ...], found: tuple[Found, ...]) -> tuple[str, ...]:
    marked: list[str] = []
    at = 0
    for slot in found:
        marked.extend(words[at : slot.start])
        marked.append(f"<{slot.slot}>")
        at = slot.end
    return (*marked, *words[at:])


def _rest_weight(words: tuple[str, ...], found: tuple[Found, ...], by: Understander) -> float:
    inside = {i for f in found for i in range(f.start, f.end)}
    return sum(by.weight(w) for i, w in enumerate(words) if i not in inside)


def _aligned(gains: list[list[float]]) -> float:
    """The greatest sum of `gains` with both sides in order."""
    row = [0.0] * (len(gains[0]) + 1)
    for line in gains:
        previous = 0.0
        for j, gain in enumerate(line, 1):
            kept = row[j]
            row[j] = max(row[j], row[j - 1], previous + gain)
            previous = kept
    return row[-1]
