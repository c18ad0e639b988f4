"""Word times out of ElevenLabs' alignment, which times characters within one message's sound."""

from __future__ import annotations

from typing import Any, Final

from salon.media.timing import WordTime

_MOST_CHARACTERS: Final = 20_000
"""Of one message; more is no alignment."""


class WordTracker:
    """The words of one piece, in order, as messages with their characters arrive.

    Characters are matched against `text`, so that offsets hold for the text as it was given; what
    the service says otherwise (a number in words) has no time.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._word = ""
        self._start_ms = 0
        self._end_ms = 0

    @property
    def complete(self) -> bool:
        """Whether everything that can be said of the text has been timed."""
        rest = self._text[self._at :]
        return not any(character.isalnum() for character in rest)

    def feed(self, alignment: Any, base_ms: float) -> tuple[WordTime, ...]:
        """Words that end in this message, whose sound begins at `base_ms`.

        `ValueError` if it is no alignment.
        """
        characters, starts, lengths = _columns(alignment)
        found: list[WordTime] = []
        for character, start, length in zip(characters, starts, lengths, strict=True):
            if not character.strip():
                found += self.finish()
                continue
            begin = round(base_ms + start)
            if not self._word:
                self._start_ms = begin
            self._word += character
            self._end_ms = max(begin + round(length), self._start_ms)
        return tuple(found)

    def finish(self) -> tuple[WordTime, ...]:
        """The word that is open, if any."""
        said, self._word = self._word, ""
        word = _bare(said)
        offset = self._text.find(word, self._at) if word else -1
        if offset < 0:
            return ()
        self._at = offset + len(word)
        return (WordTime(word, self._start_ms, self._end_ms, offset, len(word)),)


def _bare(word: str) -> str:
    """Without the signs around it."""
    first, last = 0, len(word)
    while first < last and not word[first].isalnum():
        first += 1
    while last > first and not word[last - 1].isalnum():
        last -= 1
    return word[first:last]


def _columns(alignment: Any) -> tuple[list[str], list[float], list[float]]:
    try:
        characters = [str(character) for character in alignment["chars"]]
        starts = [float(start) for start in alignment["charStartTimesMs"]]
        # Older answers call them charDurationsMs, some charsDurationsMs.
        lengths = alignment.get("charDurationsMs") or alignment.get("charsDurationsMs") or ()
        durations = [float(length) for length in lengths]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError("the alignment is none") from error
    if not len(characters) == len(starts) == len(durations) <= _MOST_CHARACTERS:
        raise ValueError("the alignment has columns of different lengths")
    return characters, starts, durations
