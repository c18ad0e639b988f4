"""A turn detector that looks at how the words end and learns how long the speaker pauses."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass

from salon.base import ConfigurationError
from salon.voice.pipeline.turn.base import TurnContext, TurnDecision, TurnDetector
from salon.voice.pipeline.turn.wording import BY_LANGUAGE, Wording

MAX_SESSIONS = 10_000
"""Speakers that are remembered; the one not heard for longest is forgotten."""

LEARN = 0.4
"""How much of a new pause goes into the speaker's usual pause."""

PHONE_DIGITS = 10
"""A dictated number this long is no longer expected to go on."""

_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_TRAILING_OPEN = re.compile(r"(?:,|;|:|-|–|—|\.\.\.|…)\s*$")


@dataclass(slots=True)
class _Speaker:
    pause_ms: float = 0.0
    """The usual pause inside a turn; 0: none seen."""
    incomplete: str = ""
    """The last text judged incomplete."""


class SilenceAdaptiveTurnDetector(TurnDetector):
    """Judges by the ending of the words, first row that fits:

    ending                                                confidence  complete  wait
    ----------------------------------------------------  ----------  --------  -----------
    no words                                              0.5         yes
    a question mark                                       0.95        yes
    a short answer ("yes", "thank you", "I think so")     0.9         yes
    a filler ("um")                                       0.9         no        long
    comma, dash, ellipsis                                 0.8         no        usual
    a word nobody stops at ("and", "the", "I'd like")     0.85        no        usual
    a number being dictated: 2 to 9 single digits         0.6         no        long
    words that begin a question                           0.85        yes
    a full stop or exclamation mark                       0.8         yes
    anything else                                         0.7         yes

    The usual wait is `wait_ms`, the long one half as much again. A speaker who goes on after an
    incomplete turn teaches how long they pause: the wait becomes one and a half times that pause,
    within ``min_wait_ms..max_wait_ms``. The pause is taken from
    ``metadata["resumed_after_ms"]`` (`TurnGate` gives it), speakers are told apart by `session_id`.

    `language` is a BCP-47 tag: de, en, es or fr; None: English. Takes well below 1 ms.
    """

    def __init__(
        self,
        *,
        language: str | None = None,
        wait_ms: float = 1200.0,
        min_wait_ms: float = 600.0,
        max_wait_ms: float = 3000.0,
    ) -> None:
        tag = (language or "en").split("-")[0].lower()
        if tag not in BY_LANGUAGE:
            raise ConfigurationError(
                f"language is {language!r}; known are {', '.join(sorted(BY_LANGUAGE))}"
            )
        if not 0 < min_wait_ms <= wait_ms <= max_wait_ms:
            raise ConfigurationError(
                f"wait_ms is {wait_ms}; it must lie between min_wait_ms ({min_wait_ms}) and "
                f"max_wait_ms ({max_wait_ms})"
            )
        self._wording = BY_LANGUAGE[tag]
        self._wait_ms = wait_ms
        self._min_wait_ms = min_wait_ms
        self._max_wait_ms = max_wait_ms
        self._speakers: OrderedDict[str, _Speaker] = OrderedDict()

    @property
    def name(self) -> str:
        return "SilenceAdaptiveTurnDetector"

    def evaluate(self, context: TurnContext) -> TurnDecision:
        speaker = self._speaker(context.session_id)
        self._learn(speaker, context)
        complete, confidence, reason, factor = judge_ending(context.transcript, self._wording)
        speaker.incomplete = "" if complete else context.transcript
        if complete:
            return TurnDecision(is_complete=True, confidence=confidence, reason=reason)
        return TurnDecision(
            is_complete=False,
            confidence=confidence,
            reason=reason,
            suggested_wait_ms=self._wait(speaker, factor),
        )

    def reset(self) -> None:
        self._speakers.clear()

    def release(self, session_id: str) -> None:
        self._speakers.pop(session_id, None)

    def _speaker(self, session_id: str) -> _Speaker:
        speaker = self._speakers.setdefault(session_id, _Speaker())
        self._speakers.move_to_end(session_id)
        if len(self._speakers) > MAX_SESSIONS:
            self._speakers.popitem(last=False)
        return speaker

    def _learn(self, speaker: _Speaker, context: TurnContext) -> None:
        before = speaker.incomplete
        pause = context.metadata.get("resumed_after_ms")
        if not before or not context.transcript.startswith(before):
            return
        if not isinstance(pause, int | float) or pause <= 0:
            return
        usual = speaker.pause_ms or float(pause)
        speaker.pause_ms = usual + LEARN * (pause - usual)

    def _wait(self, speaker: _Speaker, factor: float) -> float:
        usual = 1.5 * speaker.pause_ms if speaker.pause_ms else self._wait_ms
        return min(max(usual * factor, self._min_wait_ms), self._max_wait_ms)


def judge_ending(text: str, wording: Wording) -> tuple[bool, float, str, float]:
    """``(complete, confidence, reason, factor of the wait)``, by the table of the class above."""
    text = text.strip()
    words = [word.replace("’", "'") for word in _TOKEN.findall(text.casefold())]
    if not words:
        return True, 0.5, "no words", 1.0
    if text.endswith("?"):
        return True, 0.95, "question", 1.0
    cut = _TRAILING_OPEN.search(text) is not None
    if _ends_in(words, wording.closings) and not cut:
        return True, 0.9, "short answer", 1.0
    if _ends_in(words, wording.fillers):
        return False, 0.9, "filler", 1.5
    if cut:
        return False, 0.8, "punctuation", 1.0
    question = words[0] in wording.questions and len(words) >= 3
    if _ends_in(words, wording.open_words):
        return False, 0.85, "unfinished", 1.0
    if 2 <= _dictated(words, wording) < PHONE_DIGITS:
        return False, 0.6, "number", 1.5
    if question:
        return True, 0.85, "question", 1.0
    if text.endswith((".", "!")):
        return True, 0.8, "sentence", 1.0
    return True, 0.7, "nothing open", 1.0


def _ends_in(words: list[str], known: frozenset[str]) -> bool:
    return any(" ".join(words[-length:]) in known for length in (1, 2, 3, 4))


def _dictated(words: list[str], wording: Wording) -> int:
    """How many digits the words end with, when in several groups: said one by one, or written as
    one or two at a time or with hyphens. A single figure is no dictation."""
    count = groups = 0
    for word in reversed(words):
        parts = word.split("-")
        if all(part in wording.digits for part in parts):
            count += len(parts)
        elif all(part.isdecimal() for part in parts) and (len(parts) > 1 or len(word) <= 2):
            count += sum(map(len, parts))
        else:
            break
        groups += len(parts)
    return count if groups > 1 else 0
