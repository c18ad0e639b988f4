"""A backchannel detector over word lists."""

from __future__ import annotations

from collections.abc import Iterable

from salon.base import ConfigurationError
from salon.voice.pipeline.backchannel.base import (
    BackchannelContext,
    BackchannelDecision,
    BackchannelDetector,
)
from salon.voice.turns.backchannel import (
    ENGLISH_BACKCHANNELS,
    FRENCH_BACKCHANNELS,
    Lexicon,
    words_of,
)


class PhraseBackchannelDetector(BackchannelDetector):
    """Speech is a backchannel when it is made of nothing but `phrases` and has at most `max_words`
    words. Words of which more may still make a phrase are `pending` while `is_final` is False.

    Speech without words cuts if `cut_without_words`, otherwise it counts as a hum. Stateless.
    """

    def __init__(
        self,
        phrases: Iterable[str] = (*ENGLISH_BACKCHANNELS, *FRENCH_BACKCHANNELS),
        *,
        max_words: int = 4,
        cut_without_words: bool = True,
    ) -> None:
        if max_words < 1:
            raise ConfigurationError(f"max_words is {max_words}; it must be 1 or more")
        self._lexicon = Lexicon(phrases)
        self._max_words = max_words
        self._cut_without_words = cut_without_words

    @property
    def name(self) -> str:
        return "PhraseBackchannelDetector"

    def classify(self, context: BackchannelContext) -> BackchannelDecision:
        words = words_of(context.transcript or "")
        if not words:
            return BackchannelDecision(
                is_backchannel=not self._cut_without_words, confidence=0.5, label="no words"
            )
        if len(words) <= self._max_words:
            if self._lexicon.consists(words):
                return BackchannelDecision(is_backchannel=True, label="acknowledgement")
            if not context.is_final and self._lexicon.may_become(words):
                return BackchannelDecision(
                    is_backchannel=False, confidence=0.5, label="unfinished", pending=True
                )
        return BackchannelDecision(is_backchannel=False, label="interruption")
