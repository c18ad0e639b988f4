"""What of a text is spoken: emoji out (G81), characters no engine knows out, long texts cut.

`blank` and `to_ascii` keep every character's place, so that the word offsets an engine reports hold
for the text as it was given.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_PICTURE: Final = (
    "\u203c\u2049\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa"
    "\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c"
    "\u2b50\u2b55\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
# A picture, or a sign that the selector U+FE0F makes one; with skin tones, and joined to others.
# The digit of a keycap stays. U+200D alone stays: Indic scripts and Persian need it.
_ONE: Final = (
    f"(?:[{_PICTURE}]|[\u00a9\u00ae\u2122](?=\ufe0f))[\ufe0e\ufe0f\u20e3\U000e0020-\U000e007f]*"
)
_EMOJI: Final = re.compile(f"{_ONE}(?:\u200d{_ONE})*|\ufe0f?\u20e3|\ufe0f")
_EMOJI_AND_SPACE: Final = re.compile(
    f"(?<!\\s)(\\s*)(?:{_EMOJI.pattern})((?:\\s*(?:{_EMOJI.pattern}))*)(\\s*)"
)
_SENTENCE_END: Final = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’)\]]*\s+|[。！？]+|\n+")
_CLAUSE_END: Final = re.compile(r"(?<![,;:–—])[,;:–—]+\s+|[，；：、]+")
_NATURAL: Final = (_SENTENCE_END, _CLAUSE_END)
_SPACE: Final = re.compile(r"\s+")
_SPOKEN_SIGNS: Final = frozenset("%&@#+=°$")
_PLAIN: Final = {
    "‘": "'", "’": "'", "‚": ",", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"',
    "–": "-", "—": "-", "‐": "-", "‑": "-", "−": "-", "…": ".", "·": ".",
    "ß": "s", "æ": "e", "Æ": "E", "œ": "e", "Œ": "E", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
    "đ": "d", "Đ": "D", "ı": "i", "þ": "t", "Þ": "T", "ð": "d",
}  # fmt: skip


def remove_emoji(text: str) -> str:
    """The text without emoji, and without the spaces that only surrounded them (G81).

    Text without emoji comes back unchanged. What becomes empty counts as empty.
    """

    def joined(match: re.Match[str]) -> str:
        if match.start() == 0 or match.end() == len(text):
            return ""
        between = match.group(1) or match.group(3)
        if not match.group(3) and text[match.end()] in ".,;:!?":
            return ""
        if not between and _SPACE.search(match.group(2)):
            return " "
        return between

    return _EMOJI_AND_SPACE.sub(joined, text)


def blank(text: str) -> str:
    """Emoji, control characters and lone surrogates as spaces, one for one."""
    text = _EMOJI.sub(lambda match: " " * len(match.group()), text)
    if text.isprintable():
        return text
    # Format characters (Cf) stay: U+200C and U+200D matter to some scripts.
    return "".join(
        " " if unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn") else character
        for character in text
    )


def to_ascii(text: str) -> str:
    """Each character as one of ASCII: é as e, curly quotes as straight, others as a space."""
    if text.isascii():
        return text
    return "".join(character if character.isascii() else _plain(character) for character in text)


def _plain(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    base = unicodedata.normalize("NFKD", character)[0]
    return base if base.isascii() and base.isprintable() else " "


def is_speakable(text: str) -> bool:
    """Whether there is anything to say: a letter, a digit, a currency or a spoken sign."""
    return any(
        character.isalnum()
        or character in _SPOKEN_SIGNS
        or unicodedata.category(character) in ("Sc", "Mn", "Mc")
        for character in text
    )


def split_text(text: str, limit: int, first: int | None = None) -> list[tuple[int, str]]:
    """Cut into parts of at most `limit` characters, each with its offset; they add up to `text`.

    Cuts fall after a sentence if there is one to end in the part, else after a clause, else at a
    space, else anywhere. If a sentence or clause ends within the `first` characters the first part
    is no longer than that.
    """
    parts: list[tuple[int, str]] = []
    start = 0
    if first is not None and len(text) > first:
        start = _boundary(text, 0, first, _NATURAL) or 0
        parts.extend([(0, text[:start])] if start else [])
    while len(text) - start > limit:
        end = _boundary(text, start, start + limit, (*_NATURAL, _SPACE)) or start + limit
        parts.append((start, text[start:end]))
        start = end
    parts.append((start, text[start:]))
    return parts


def _boundary(text: str, start: int, end: int, kinds: tuple[re.Pattern[str], ...]) -> int | None:
    """The last end of the first kind of boundary that is found."""
    for kind in kinds:
        ends = [match.end() for match in kind.finditer(text, start, end)]
        if ends:
            return ends[-1]
    return None
