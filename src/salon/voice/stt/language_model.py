"""A small open language model from what an agent understands.

The recogniser can only answer with words of its model, so a model of the agent's phrases alone
would force anything said into one of them. Here the phrases make a trigram model whose lowest
order is shared with common words of the language: what fits a phrase is found as that phrase,
anything else comes out as other words and is recognisably something else. Where a general model
of the language is at hand, the two are mixed, so that what nobody wrote down is heard as the
language has it and not as the nearest phrase.

Smoothing is interpolated Witten-Bell; written in ARPA form, an unseen n-gram costs the history's
backoff weight. Pure Python, no imports beyond the standard library: it runs in the workers.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_log = logging.getLogger("salon.voice.stt.language_model")

BEGIN: Final = "<s>"
END: Final = "</s>"
BACKGROUND_SHARE: Final = 0.5
"""Part of the lowest order's probability that belongs to the background words."""
BACKOFF: Final = 0.4
"""Weight of the lower order against Witten-Bell's; more makes the model more open."""

PHRASES_SHARE: Final = 0.6
"""Part of the phrases where they are mixed with a general model."""
TELLING: Final = 3.0
"""A general pair of words is kept if it is this much likelier than its second word alone."""
SURE: Final = 1e-5
"""A general pair is kept if its second word is at least this likely after the first."""

_LEAST: Final = 0.02
"""No history is without a way to what was never seen after it."""

MAX_PHRASES: Final = 5000
_WORD: Final = re.compile(r"[a-z]+(?:'[a-z]+)*")
_NUMERIC: Final = re.compile(r"\d")

Ngram = tuple[str, ...]
Pronunciations = Mapping[str, Sequence[str]]
"""A word's pronunciations, each as ARPAbet symbols separated by blanks."""
General = Callable[[Sequence[str]], float]
"""The probability of the last word after those before it, in a model of the language at large."""


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """`arpa` is the model file's text, `dictionary` the pronunciation file's for the same words."""

    arpa: str
    dictionary: str


def words_of(phrase: str) -> list[str]:
    """The phrase as lower-case words; hyphens part words, other marks vanish. Empty if it holds
    digits, which have no one reading."""
    if _NUMERIC.search(phrase):
        return []
    return _WORD.findall(phrase.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def build_language_model(
    phrases: Iterable[str],
    background: Mapping[str, float],
    pronunciations: Pronunciations,
    general: General | None = None,
) -> LanguageModel:
    """The model for `phrases` over `background` words (weights need not add up to 1).

    Words without a pronunciation get one by `spell_out`; phrases with digits are left out and
    logged. Raises `ValueError` if neither phrases nor background hold a word.
    """
    sentences = _sentences(phrases)
    share = {word: weight for word, weight in background.items() if word in pronunciations}
    if not sentences and not share:
        raise ValueError("there are neither phrases nor background words to build a model from")
    grams = _interpolate(sentences, share)
    if general is not None:
        _mix(grams, general, share)
    vocabulary = sorted({gram[0] for gram in grams[0]} - {BEGIN, END})
    return LanguageModel(_arpa(grams), _dictionary(vocabulary, pronunciations))


def _sentences(phrases: Iterable[str]) -> list[list[str]]:
    seen: dict[Ngram, None] = {}
    for phrase in phrases:
        words = words_of(phrase)
        if words:
            seen.setdefault(tuple(words))
        elif phrase.strip():
            _log.warning("phrase %r is not in plain words and is not listened for", phrase)
        if len(seen) >= MAX_PHRASES:
            _log.warning("only the first %d phrases are listened for", MAX_PHRASES)
            break
    return [list(words) for words in seen]


@dataclass(slots=True)
class _Gram:
    probability: float
    backoff: float = 1.0


def _interpolate(
    sentences: list[list[str]], background: Mapping[str, float]
) -> list[dict[Ngram, _Gram]]:
    """Uni-, bi- and trigrams. Each word of a history's continuations keeps its share, the rest
    goes to the next lower order."""
    counts: list[Counter[Ngram]] = [Counter(), Counter(), Counter()]
    for words in sentences:
        line = [BEGIN, *words, END]
        for order in range(3):
            for start in range(len(line) - order):
                counts[order][tuple(line[start : start + order + 1])] += 1
    grams: list[dict[Ngram, _Gram]] = [_unigrams(counts[0], background), {}, {}]
    for order in (1, 2):
        followers: dict[Ngram, list[tuple[Ngram, int]]] = defaultdict(list)
        for gram, count in counts[order].items():
            followers[gram[:-1]].append((gram, count))
        lower = grams[order - 1]
        for history, continuations in followers.items():
            total = sum(count for _, count in continuations)
            spread = BACKOFF * len(continuations)
            for gram, count in continuations:
                below = lower[gram[1:]].probability
                grams[order][gram] = _Gram((count + spread * below) / (total + spread))
            lower[history].backoff = spread / (total + spread)
    return grams


def _mix(
    grams: list[dict[Ngram, _Gram]], general: General, background: Mapping[str, float]
) -> None:
    """Pairs and triples get their part from `general`; all backoff weights are set anew."""
    single, pairs, triples = grams
    words = [gram[0] for gram in single if gram[0] != BEGIN]
    known = [word for word in words if word in background or word == END]
    mine: dict[str, dict[str, float]] = defaultdict(dict)
    for (first, word), entry in pairs.items():
        mine[first][word] = entry.probability
    followers: dict[str, dict[str, float]] = {}
    for first in (BEGIN, *words):
        if first == END or not (first in background or first == BEGIN):
            continue
        likely = {word: general((first, word)) for word in known}
        total = sum(likely.values())
        own, weight = mine.get(first, {}), single[first,].backoff
        share = PHRASES_SHARE if own else 0.0
        kept = followers[first] = {
            word: chance / total
            for word, chance in likely.items()
            if chance > total * max(SURE, TELLING * single[word,].probability)
        }
        for word in kept.keys() | own.keys():
            below = weight * single[word,].probability if own else 0.0
            chance = share * own.get(word, below) + (1 - share) * likely.get(word, 0.0) / total
            backoff = pairs[first, word].backoff if word in own else 1.0
            pairs[first, word] = _Gram(chance, backoff)
    _mix_triples(grams, general, background, followers)
    _settle(single, pairs)
    _settle(pairs, triples)


def _mix_triples(
    grams: list[dict[Ngram, _Gram]],
    general: General,
    background: Mapping[str, float],
    followers: Mapping[str, Mapping[str, float]],
) -> None:
    """After the pairs that occur in phrases."""
    _, pairs, triples = grams
    histories: dict[Ngram, list[str]] = defaultdict(list)
    for gram in triples:
        histories[gram[:2]].append(gram[2])
    for history, mine in histories.items():
        first, second = history
        if second not in followers or first not in followers:
            continue
        weight = pairs[history].backoff
        for word in followers[second].keys() | set(mine):
            known = (*history, word) in triples
            below = pairs[second, word].probability
            own = triples[*history, word].probability if known else weight * below
            theirs = general((first, second, word)) if word in background or word == END else 0.0
            if known or theirs > TELLING * below:
                chance = PHRASES_SHARE * own + (1 - PHRASES_SHARE) * theirs
                triples[*history, word] = _Gram(chance)


def _settle(lower: dict[Ngram, _Gram], upper: dict[Ngram, _Gram]) -> None:
    """Backoff weights so that what follows a history adds up to 1."""
    taken: dict[Ngram, float] = defaultdict(float)
    covered: dict[Ngram, float] = defaultdict(float)
    for gram, entry in upper.items():
        taken[gram[:-1]] += entry.probability
        covered[gram[:-1]] += lower[gram[1:]].probability
    for history, used in taken.items():
        left, open_to = max(_LEAST, 1 - used), max(_LEAST, 1 - covered[history])
        lower[history].backoff = min(1.0, left / open_to)


def _unigrams(counts: Counter[Ngram], background: Mapping[str, float]) -> dict[Ngram, _Gram]:
    domain = {gram[0]: count for gram, count in counts.items() if gram[0] != BEGIN}
    own, common = sum(domain.values()), sum(background.values())
    own_share = (1 - BACKGROUND_SHARE if common else 1.0) if own else 0.0
    mixed: dict[str, float] = defaultdict(float)
    for word, count in domain.items():
        mixed[word] += own_share * count / own
    for word, weight in background.items():
        mixed[word] += (1 - own_share) * weight / common
    mixed.setdefault(END, 0.1)
    grams: dict[Ngram, _Gram] = {(word,): _Gram(probability) for word, probability in mixed.items()}
    grams[(BEGIN,)] = _Gram(1e-20)
    return grams


def _arpa(grams: list[dict[Ngram, _Gram]]) -> str:
    lines = ["", "\\data\\"]
    lines += [f"ngram {order}={len(table)}" for order, table in enumerate(grams, 1)]
    for order, table in enumerate(grams, 1):
        lines += ["", f"\\{order}-grams:"]
        for gram, entry in sorted(table.items()):
            text = f"{math.log10(entry.probability):.4f}\t{' '.join(gram)}"
            lines.append(text if order == 3 else f"{text}\t{math.log10(entry.backoff):.4f}")
    return "\n".join([*lines, "", "\\end\\", ""])


def _dictionary(words: Iterable[str], pronunciations: Pronunciations) -> str:
    lines = []
    for word in words:
        known = pronunciations.get(word)
        if not known:
            known = (spell_out(word),)
            _log.info("no pronunciation of %r is known, %r is guessed", word, known[0])
        lines += [
            f"{word if number == 1 else f'{word}({number})'} {sounds}"
            for number, sounds in enumerate(known, 1)
        ]
    return "\n".join([*lines, ""])


_SOUNDS: Final = {
    "tion": "SH AH N",
    "sion": "ZH AH N",
    "ough": "AO",
    "eigh": "EY",
    "igh": "AY",
    "tch": "CH",
    "sch": "SH",
    "ing": "IH NG",
    "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "ck": "K", "ng": "NG", "wh": "W", "qu": "K W",
    "kn": "N", "wr": "R", "gh": "G", "ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW", "ow": "OW",
    "oi": "OY", "oy": "OY", "ai": "EY", "ay": "EY", "au": "AO", "aw": "AO", "ie": "IY", "ei": "EY",
    "ey": "IY", "oa": "OW", "ue": "UW", "ew": "UW", "ar": "AA R", "er": "ER", "ir": "ER",
    "or": "AO R", "ur": "ER",
    "a": "AE", "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH",
    "j": "JH", "k": "K", "l": "L", "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R",
    "s": "S", "t": "T", "u": "AH", "v": "V", "w": "W", "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip
_LONG: Final = {"a": "EY", "e": "IY", "i": "AY", "o": "OW", "u": "UW"}
_SOFT: Final = "eiy"
_SILENT_E: Final = re.compile(r"[bcdfghjklmnpqrstvz]e$")
_MAGIC_E: Final = re.compile(r"[aeiou][bcdfghjklmnpqrstvz]e$")


def spell_out(word: str) -> str:
    """A guess at how an unknown English word sounds, in ARPAbet: longest known spelling first."""
    letters = re.sub(r"([b-df-hj-np-tv-z])\1", r"\1", word.replace("'", ""))
    silent_e = len(letters) > 3 and _SILENT_E.search(letters) is not None
    long_at = len(letters) - 3 if silent_e and _MAGIC_E.search(word) else -1
    sounds: list[str] = []
    at = 0
    while at < len(letters):
        if at == long_at:
            sounds += [_LONG[letters[at]]]
            at += 1
            continue
        if silent_e and at == len(letters) - 1:
            break
        size = next(n for n in (4, 3, 2, 1) if letters[at : at + n] in _SOUNDS)
        piece = letters[at : at + size]
        if piece == "c" and letters[at + 1 : at + 2] in tuple(_SOFT):
            sounds.append("S")
        elif piece == "y" and at == 0:
            sounds.append("Y")
        else:
            sounds.append(_SOUNDS[piece])
        at += size
    return " ".join(sounds)
