"""What speech over the agent does, for every kind of turn machine (V115).

While the speech lasts (`Strategy.cuts`), the agent being audible and past its first
`allow_during_first_ms`:

    strategy   cuts
    ---------  -----------------------------------------------------------------------------------
    IMMEDIATE  at once: as soon as there is enough of it to be a turn (`min_turn_ms`)
    CONFIRMED  after `min_speech_ms` of it
    SEMANTIC   with words that are no backchannel; when no words came, or only words that may still
               become one, after ``max(min_speech_ms, transcript_wait_ms)`` (V244). After what was
               judged a backchannel only later words cut (V245)
    DISABLED   never

When it is over and has not cut (`Strategy.verdict`), first row that fits:

    it did not begin over the agent, or the agent is not audible now    TURN
    DISABLED                                                            QUEUED  (V125)
    SEMANTIC, no backchannel: words, or none at all but
    `min_speech_ms` of speech; the agent may be cut by now              CUTS    (V119)
    otherwise (too short, or a backchannel)                             DROPPED (V117)

The classifier is never asked about nothing: with neither words nor duration (V244). It is asked
once per text, plus once when the speech is over if it had left that open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from salon.voice.pipeline.backchannel.base import BackchannelDecision
from salon.voice.turns.actions import FalseStart
from salon.voice.turns.agent import AgentSide
from salon.voice.turns.backchannel import is_backchannel, may_become_backchannel
from salon.voice.turns.config import InterruptionStrategy, TurnConfig

Classify = Callable[[str, int, bool], BackchannelDecision]
"""``(words, speech_ms, final)``: the words so far (perhaps none), for how long the caller has been
speaking, whether the words are all there will be. Must answer at once."""


class Verdict(Enum):
    """What becomes of speech that is over."""

    TURN = auto()
    QUEUED = auto()
    CUTS = auto()
    DROPPED = auto()


@dataclass(slots=True)
class Speech:
    """Speech from its onset on, as far as the strategies need to know."""

    onset_ms: int
    over_agent: bool
    start_ms: int = 0
    lasted_ms: int = 0
    words: str = ""
    decision: BackchannelDecision | None = None
    """What the classifier said of `judged`."""
    judged: str | None = None


class Strategy:
    """The tables above for one configuration. Keeps nothing of the speech it is asked about but
    what it writes into the `Speech`."""

    def __init__(self, config: TurnConfig, classify: Classify | None = None) -> None:
        self._config = config
        self._kind = config.strategy
        self._classify = classify or self._by_words
        self._limit_ms = max(config.min_speech_ms, config.transcript_wait_ms)

    def hear(self, speech: Speech, words: str, agent: AgentSide) -> None:
        """The words of the speech so far; the latest text counts (V245)."""
        speech.words = words
        if agent.audible:
            self._judge(speech, final=False)

    def cuts(self, speech: Speech) -> bool:
        """Whether the speech, which still lasts, cuts the agent now."""
        match self._kind:
            case InterruptionStrategy.IMMEDIATE:
                return True
            case InterruptionStrategy.CONFIRMED:
                return speech.lasted_ms >= self._config.min_speech_ms
            case InterruptionStrategy.SEMANTIC:
                return self._meant(speech)
        return False

    def verdict(self, speech: Speech, agent: AgentSide, t_ms: int) -> Verdict:
        """What becomes of the speech, which is over."""
        if not (speech.over_agent and agent.audible):
            return Verdict.TURN
        if self._kind is InterruptionStrategy.DISABLED:
            return Verdict.QUEUED
        semantic = self._kind is InterruptionStrategy.SEMANTIC
        long_enough = 0 < speech.lasted_ms >= self._config.min_speech_ms
        if speech.words or (semantic and long_enough):
            meant = not self._judge(speech, final=True).is_backchannel
            if semantic and meant and agent.may_be_cut(t_ms):
                return Verdict.CUTS
        return Verdict.DROPPED

    def _meant(self, speech: Speech) -> bool:
        if not speech.words and not 0 < speech.lasted_ms >= self._limit_ms:
            return False
        decision = self._judge(speech, final=False)
        if decision.is_backchannel:
            return False
        return not decision.pending or speech.lasted_ms >= self._limit_ms

    def _judge(self, speech: Speech, *, final: bool) -> BackchannelDecision:
        decision = speech.decision
        known = decision is not None and speech.judged == speech.words
        if decision is None or not known or (final and decision.pending):
            decision = self._classify(speech.words, speech.lasted_ms, final)
            speech.decision, speech.judged = decision, speech.words
        return decision

    def _by_words(self, words: str, speech_ms: int, final: bool) -> BackchannelDecision:
        known = self._config.backchannels
        if is_backchannel(words, known):
            return BackchannelDecision(is_backchannel=True)
        pending = not final and may_become_backchannel(words, known)
        return BackchannelDecision(is_backchannel=False, pending=pending)


def false_start(speech: Speech, agent: AgentSide) -> FalseStart:
    """How speech that was dropped is reported."""
    decision = speech.decision
    if decision is None or not decision.is_backchannel or not (speech.over_agent and agent.audible):
        return FalseStart(speech.start_ms)
    return FalseStart(
        speech.start_ms, speech.words, decision.confidence, not speech.words, decision.label
    )
