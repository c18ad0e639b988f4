"""Words as they were heard: normalised, compared by spelling and by sound."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_CONTRACTIONS = {
    "what's": "what is", "that's": "that is", "it's": "it is", "who's": "who is",
    "where's": "where is", "how's": "how is", "when's": "when is", "there's": "there is",
    "let's": "let us", "i'm": "i am", "you're": "you are", "we're": "we are",
    "they're": "they are", "i'd": "i would", "we'd": "we would", "you'd": "you would",
    "i'll": "i will", "we'll": "we will", "i've": "i have", "we've": "we have",
    "you've": "you have", "can't": "can not", "cannot": "can not", "don't": "do not",
    "doesn't": "does not", "didn't": "did not", "isn't": "is not", "aren't": "are not",
    "won't": "will not", "o'clock": "oclock", "gonna": "going to", "wanna": "want to",
    "a.m.": "am", "p.m.": "pm", "licence": "license", "websocket": "web socket",
    "websockets": "web socket", "favourite": "favorite", "colour": "color",
    "programme": "program", "anymore": "any more", "webrtc": "web r t c", "gpt": "g p t",
    "chatgpt": "chat g p t", "openai": "open ai", "llm": "language model",
    "llms": "language models",
}  # fmt: skip
_FILLERS = frozenset({"um", "uh", "er", "erm", "hm", "hmm", "ah", "oh", "well", "please"})
_TOKEN = re.compile(r"\d{1,2}:\d{2}|\d{1,2}\.\d{2}(?!\d)|[ap]\.m\.|[a-z]+(?:'[a-z]+)?|\d+")

_LONGEST = 40
"""Letters; what is longer is no word."""
_CLOSE = 0.72
"""How much of a word must be as in the other."""
_SOUND = {
    **dict.fromkeys("bfpv", "1"), **dict.fromkeys("cgjkqsxz", "2"), **dict.fromkeys("dt", "3"),
    "l": "4", **dict.fromkeys("mn", "5"), "r": "6",
}  # fmt: skip


_DOUBTS = frozenset(
    {"not", "no", "nope", "nah", "never", "unsure", "uncertain", "undecided", "maybe", "perhaps",
     "wait", "hold", "doubt", "doubtful", "hesitate", "hesitant", "guess", "depends", "wrong",
     "later"}
)  # fmt: skip
_HUM = re.compile(r"\bh+m+\b", re.IGNORECASE)
_AGREED = (("why", "not"),)
_ASKING = frozenset(
    {"is", "are", "was", "did", "does", "has", "what", "when", "where", "how", "who"}
)


def hedged(text: str) -> bool:
    """Whether `text` denies, doubts, puts off or asks: it is no yes, whatever else is in it."""
    words = tokens(text)
    after = zip(("", *words), words, strict=False)
    if _HUM.search(text) or not _ASKING.isdisjoint(words[:1]):
        return True
    return any(word in _DOUBTS and (before, word) not in _AGREED for before, word in after)


def tokens(text: str) -> tuple[str, ...]:
    """The words of `text`: lower case, without accents, contractions written out, no fillers."""
    plain = unicodedata.normalize("NFKD", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    found: list[str] = []
    for word in _TOKEN.findall(plain.encode("ascii", "ignore").decode().lower()):
        if len(word) > _LONGEST:
            continue
        for part in _CONTRACTIONS.get(word, word.removesuffix("'s")).replace("'", "").split():
            if part not in _FILLERS:
                found.append(part)
    return tuple(found)


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """`word` without its commonest English endings."""
    for ending, replacement, least in (
        ("ies", "y", 5), ("sses", "ss", 6), ("ings", "", 7), ("ing", "", 6), ("ed", "", 5),
        ("es", "e", 5), ("s", "", 4),
    ):  # fmt: skip
        if len(word) >= least and word.endswith(ending) and not word.endswith("ss"):
            word = word[: -len(ending)] + replacement
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lse":
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


@lru_cache(maxsize=8192)
def sound(word: str) -> str:
    """A rough key: words that sound alike share it."""
    for written, heard in (("ph", "f"), ("kn", "n"), ("wr", "r"), ("ght", "t"), ("gh", "")):
        word = word.replace(written, heard)
    codes: list[str] = []
    for letter in word:
        code = _SOUND.get(letter, "")
        if code and (not codes or codes[-1] != code):
            codes.append(code)
        elif not code and letter not in "hw":
            codes.append("")
    return "".join(codes)


@lru_cache(maxsize=65536)
def likeness(one: str, other: str) -> float:
    """How alike two words are: 1 the same stem, 0 nothing in common."""
    a, b = stem(one), stem(other)
    if a == b:
        return 1.0
    if one.startswith("<") or other.startswith("<") or min(len(a), len(b)) < 3:
        return 0.0
    longest = max(len(a), len(b))
    key = sound(a)
    sounds_same = len(key) >= 2 and key == sound(b)
    if not sounds_same and not _may_be_close(a, b, longest):
        return 0.0
    close = 1.0 - _distance(a, b) / longest
    if sounds_same and (a[0] == b[0] or close >= 0.5):
        return 0.6 + 0.3 * close
    return close if close >= _CLOSE and longest >= 5 else 0.0


def _may_be_close(a: str, b: str, longest: int) -> bool:
    """Whether it is worth to count the distance: each letter that the other has not is a step."""
    most = (1 - _CLOSE) * longest
    if longest < 5 or abs(len(a) - len(b)) > most:
        return False
    ours, theirs = _letters(a), _letters(b)
    return len(ours - theirs) <= most and len(theirs - ours) <= most


@lru_cache(maxsize=8192)
def _letters(word: str) -> frozenset[str]:
    return frozenset(word)


def _distance(a: str, b: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]
