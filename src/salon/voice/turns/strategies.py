"""What speech over the agent does, for every kind of turn machine (V115).

While the speech lasts (`Strategy.cuts`), the agent being audible and past its first
`allow_during_first_ms`:

    strategy   cuts
    ---------  -----------------------------------------------------------------------------------
    IMMEDIATE  at once: as soon as there is enough of it to be a turn (`min_turn_ms`) and one window
               of it is beyond doubt (`SURE`), or else when it has lasted `UNSURE_MS`
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

Words come later than the sound they were made of. Where somebody can be asked for the last of them
(`finals` of the machines), `SEMANTIC` drops nothing before it has them: what the table would judge
by interim words, or drop for its shortness without any, is undecided (`Strategy.undecided`) until
they are there or `AWAIT_WORDS_MS` have passed. So is speech long enough to cut without words, where
the recogniser heard it while it was spoken (`streams`): its words may come only with its end, and
are waited for as long as words are anyway, `transcript_wait_ms` (V244). Then:

    the agent was cut meanwhile                                         TURN
    no words and less than `min_speech_ms`, or a backchannel            DROPPED
    otherwise, the agent may be cut                                     CUTS
    otherwise, and the agent has fallen silent meanwhile                TURN
    otherwise, too early in the agent's utterance (V124)                DROPPED

The classifier is never asked about nothing: with neither words nor duration (V244). It is asked
once per text, plus once when the speech is over if it had left that open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from salon.voice.pipeline.backchannel.base import BackchannelDecision
from salon.voice.turns.actions import FalseStart
from salon.voice.turns.agent import Agent, AgentSide
from salon.voice.turns.backchannel import is_backchannel, may_become_backchannel
from salon.voice.turns.config import InterruptionStrategy, TurnConfig

Classify = Callable[[str, int, bool], BackchannelDecision]
"""``(words, speech_ms, final)``: the words so far (perhaps none), for how long the caller has been
speaking, whether the words are all there will be. Must answer at once."""


SURE = 0.8
"""What a detector says of some window of almost any word, and hardly of noise that sets in or ends,
which it may take for faint speech for a moment."""
UNSURE_MS = 200
"""Speech that it is not sure of has to last this long to be no such moment."""

AWAIT_WORDS_MS = 3000
"""How long undecided speech waits for its words after its end, at most."""


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
    surest: float = 1.0
    """The probability of its most probable window; a detector that tells none is sure."""


class Strategy:
    """The tables above for one configuration. Keeps nothing of the speech it is asked about but
    what it writes into the `Speech`."""

    def __init__(
        self, config: TurnConfig, classify: Classify | None = None, *, streams: bool = False
    ) -> None:
        self._config = config
        self._kind = config.strategy
        self._late_ms = min(config.transcript_wait_ms, AWAIT_WORDS_MS) if streams else 0
        self._classify = classify or _by_words(config.backchannels)
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
                return speech.surest >= SURE or speech.lasted_ms >= UNSURE_MS
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
        if speech.words or (semantic and self._long_enough(speech)):
            meant = not self._judge(speech, final=True).is_backchannel
            if semantic and meant and agent.may_be_cut(t_ms):
                return Verdict.CUTS
        return Verdict.DROPPED

    def undecided(self, speech: Speech, agent: AgentSide) -> bool:
        """Whether only the last words of the speech, which is over, can tell what it was."""
        if self._kind is not InterruptionStrategy.SEMANTIC:
            return False
        if not (speech.over_agent and agent.audible):
            return False
        return self.patience_ms(speech) > 0

    def patience_ms(self, speech: Speech) -> int:
        """How long undecided speech, which is over, waits for its words."""
        decisive = bool(speech.words) or not self._long_enough(speech)
        return AWAIT_WORDS_MS if decisive else self._late_ms

    def told(self, speech: Speech, agent: AgentSide, t_ms: int) -> Verdict:
        """What becomes of speech that was undecided: its words are all there, or none in time."""
        if agent.state is Agent.CUT or not speech.over_agent:
            return Verdict.TURN
        if not speech.words and not self._long_enough(speech):
            return Verdict.DROPPED
        if self._judge(speech, final=True).is_backchannel:
            return Verdict.DROPPED
        if agent.may_be_cut(t_ms):
            return Verdict.CUTS
        return Verdict.DROPPED if agent.audible else Verdict.TURN

    def _long_enough(self, speech: Speech) -> bool:
        return 0 < speech.lasted_ms >= self._config.min_speech_ms

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


def _by_words(known: frozenset[str]) -> Classify:
    """Backchannels are these words and no others."""

    def classify(words: str, _speech_ms: int, final: bool) -> BackchannelDecision:
        if is_backchannel(words, known):
            return BackchannelDecision(is_backchannel=True)
        pending = not final and may_become_backchannel(words, known)
        return BackchannelDecision(is_backchannel=False, pending=pending)

    return classify


def false_start(speech: Speech, agent: AgentSide) -> FalseStart:
    """How speech that was dropped is reported."""
    decision = speech.decision
    if decision is None or not decision.is_backchannel or not (speech.over_agent and agent.audible):
        return FalseStart(speech.start_ms)
    return FalseStart(
        speech.start_ms, speech.words, decision.confidence, not speech.words, decision.label
    )
