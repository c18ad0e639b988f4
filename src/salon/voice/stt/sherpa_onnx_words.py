"""What a sherpa-onnx recogniser answers, as text with the times of its words."""

from __future__ import annotations

import math
from typing import Any, Final

from salon.media.timing import WordTime
from salon.voice.stt.base import Transcription

_LAST_MS: Final = 80.0
"""A token is told with its beginning only; the last of a word is taken to be this long."""


def segment_of(result: Any, since_ms: float) -> Transcription:
    """`result` of a segment that begins at `since_ms`, not final."""
    text = str(result.text).strip()
    tokens = [str(token) for token in getattr(result, "tokens", ())]
    times = [float(time) for time in getattr(result, "timestamps", ())]
    words = _words(text, tokens, times, since_ms) if len(tokens) == len(times) else ()
    return Transcription(text, False, _confidence(getattr(result, "ys_probs", ())), None, words)


def _words(
    text: str, tokens: list[str], times: list[float], since_ms: float
) -> tuple[WordTime, ...]:
    """Each word of the text lies where its letters begin and end among those of the tokens."""
    letters: list[float] = []
    spelled = ""
    for token, time in zip(tokens, times, strict=True):
        plain = token.replace("\u2581", " ").replace("@@", "")
        for letter in plain:
            if not letter.isspace():
                spelled += letter
                letters.append(since_ms + time * 1000)
    words: list[WordTime] = []
    at = first = 0
    for word in text.split():
        offset = text.index(word, at)
        at = offset + len(word)
        if spelled[first : first + len(word)].casefold() != word.casefold():
            return ()  # The text was changed after the tokens: normalised numbers, for example.
        begin, end = letters[first], letters[first + len(word) - 1] + _LAST_MS
        first += len(word)
        if first < len(letters):
            end = max(begin, min(end, letters[first]))
        words.append(WordTime(word, round(begin), round(end), offset, len(word)))
    return tuple(words)


def _confidence(logs: Any) -> float | None:
    """The geometric mean of what the model gave its tokens."""
    values = [float(value) for value in logs or ()]
    if not values or any(value > 0 or math.isnan(value) for value in values):
        return None
    return math.exp(sum(values) / len(values))
