"""The turn machine over somebody else's voice activity detector: its events in, the same actions
out.

Knows: when the detector says that speech starts and ends, what the transport noticed by itself,
whether the agent is audible, words if someone has them.
Does not know: samples, clocks, recognisers, who routes the turn.

The caller's side, one row per transition. STARTED and ENDED are the detector's, CLAIMED is the
transport's (V122): it comes first and names no end, so the detector's segment takes the utterance
over.

    phase     signal    next      what happens
    --------  --------  --------  ---------------------------------------------------------------
    IDLE      STARTED   SPEAKING  BeginUtterance; Interrupt if the strategy says so at once
    IDLE      ENDED     IDLE
    IDLE      CLAIMED   ALLEGED   BeginUtterance; Interrupt if the strategy says so at once
    ALLEGED   STARTED   SPEAKING  Interrupt if the strategy says so by now
    ALLEGED   ENDED     IDLE      the verdict
    ALLEGED   CLAIMED   ALLEGED
    ALLEGED   EXPIRED   IDLE      FalseStart: the detector heard no speech for `CLAIM_MS`. Without
                                  a detector: the verdict if words came
    SPEAKING  STARTED   SPEAKING
    SPEAKING  ENDED     IDLE      the verdict
    SPEAKING  UNSURE    AWAITING  the same, but only the words can tell: AwaitWords
    SPEAKING  CLAIMED   SPEAKING
    SPEAKING  LIMIT     SPEAKING  `max_turn_ms` reached: the verdict, then BeginUtterance
    AWAITING  STARTED   SPEAKING  GoesOn; Interrupt if the strategy says so by now
    AWAITING  ENDED     AWAITING
    AWAITING  CLAIMED   AWAITING
    AWAITING  TOLD      IDLE      the words are all there: the verdict
    AWAITING  EXPIRED   IDLE      they did not come in time: the verdict
    any       CANCEL    IDLE      FalseStart if one was open

A claim without an audible agent is nothing. As time goes by, the strategy looks again (V116):
speech is sustained while the detector has not said that it ended (X13). What only the transport
noticed is not sustained before the detector agrees, unless there is no detector.

The verdict is that of `TurnMachine`, but for `min_turn_ms`: what counts as speech at all is for
the detector to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto

from salon.voice.turns.actions import (
    Action,
    AwaitWords,
    BeginUtterance,
    EndOfTurn,
    GoesOn,
    Interrupt,
    Speculate,
    Withdraw,
)
from salon.voice.turns.agent import Agent, AgentSide
from salon.voice.turns.config import InterruptionStrategy, TurnConfig
from salon.voice.turns.strategies import Classify, Speech, Strategy, Verdict, false_start

CLAIM_MS = 1000
"""How long a transport's claim stands without speech from the detector."""


class SegmentPhase(Enum):
    """The caller's side."""

    IDLE = auto()
    ALLEGED = auto()
    """Only the transport has noticed speech."""
    SPEAKING = auto()
    AWAITING = auto()
    """The speech has ended; the words that decide are on their way."""


class SegmentSignal(Enum):
    """What can happen on the caller's side."""

    STARTED = auto()
    ENDED = auto()
    UNSURE = auto()
    TOLD = auto()
    CLAIMED = auto()
    EXPIRED = auto()
    LIMIT = auto()
    CANCEL = auto()


class SegmentMachine:
    """Decides when the caller's turn begins and ends and when it cuts the agent. One per call.

    Every method returns the actions to carry out, in order; mostly none. Instants must not go back.
    `tick` must come at `due_ms`, or every few ten ms. ``detector=False``: there is none, and what
    the transport notices lasts until somebody says `speech_ended`, at most `CLAIM_MS` after the
    onset or the cut. `finals` and `streams` as for `TurnMachine`.
    """

    def __init__(
        self,
        config: TurnConfig,
        classify: Classify | None = None,
        *,
        detector: bool = True,
        finals: bool = False,
        streams: bool = False,
    ) -> None:
        self.config = config
        self.phase = SegmentPhase.IDLE
        self.side = AgentSide(config.allow_during_first_ms)
        self._strategy = Strategy(config, classify, streams=streams)
        self._detector = detector
        self._finals = finals
        self._speech: Speech | None = None
        self._pre_roll_ms = 0
        self._floor_ms: int | None = None
        """No utterance begins before the end of the turn before."""
        self._heard_ms = 0
        """Since when the detector has heard the open utterance."""
        self._ended_ms: int | None = None
        """Where the speech of the open utterance ended, once it has."""
        self._awaited_ms = 0
        """Until when the words of AWAITING may come."""
        self._silent_ms = 0
        """How long the open utterance waited for words before it went on: no speech."""
        self._speculated = False
        self._unseen = False
        """The agent became audible while somebody spoke; the strategy has not looked since."""

    @property
    def agent(self) -> Agent:
        """Where the agent is."""
        return self.side.state

    @property
    def may_ask(self) -> bool:
        """Whether the open utterance may end in `AwaitWords`."""
        speech = self._speech
        semantic = self.config.strategy is InterruptionStrategy.SEMANTIC
        return self._finals and semantic and speech is not None and speech.over_agent

    def due_ms(self, t_ms: int) -> int | None:
        """The next instant after `t_ms` at which `tick` may bring something; None: none will."""
        speech, config = self._speech, self.config
        if speech is None:
            return None
        if self.phase is SegmentPhase.AWAITING:
            return max(self._awaited_ms, t_ms + 1)
        bound = config.max_turn_ms if self.phase is SegmentPhase.SPEAKING else self._claim_ms
        due = [max(speech.onset_ms + bound, t_ms + 1)]
        if self._unseen:
            due.append(t_ms + 1)
        if self.side.audible:
            look = config.min_speech_ms
            if config.strategy is InterruptionStrategy.SEMANTIC:
                look = max(look, config.transcript_wait_ms)
            spared = self.side.since_ms + config.allow_during_first_ms
            sustained = speech.onset_ms + self._silent_ms + look
            due += [at for at in (sustained, spared) if at > t_ms]
        return min(due)

    def speech_started(self, t_ms: int, pre_roll_ms: int | None = None) -> tuple[Action, ...]:
        """The detector noticed speech. The utterance begins `pre_roll_ms` (None: as configured)
        before `t_ms` (V155), though not before the end of the one before."""
        self._pre_roll_ms = self.config.pre_roll_ms if pre_roll_ms is None else pre_roll_ms
        return self._handle(SegmentSignal.STARTED, t_ms)

    def speech_ended(self, t_ms: int, duration_ms: int | None = None) -> tuple[Action, ...]:
        """The detector says that the speech is over. With `duration_ms` it ended that long after
        its onset, and the rest until `t_ms` was silence; None: it ended now."""
        out = self._elapse(t_ms)
        speech = self._speech
        lasts = self.phase is not SegmentPhase.AWAITING
        if speech is not None and duration_ms is not None and lasts:
            self._ended_ms = min(t_ms, self._heard_ms + duration_ms)
        self._signal(SegmentSignal.UNSURE if self._unsure() else SegmentSignal.ENDED, t_ms, out)
        return tuple(out)

    def transport_barge_in(self, t_ms: int) -> tuple[Action, ...]:
        """The transport noticed speech over the agent by itself. The strategy decides (V115)."""
        if self.phase is SegmentPhase.IDLE and not self.side.audible:
            return ()
        self._pre_roll_ms = self.config.pre_roll_ms
        return self._handle(SegmentSignal.CLAIMED, t_ms)

    def paused(self, t_ms: int, silence_ms: int) -> tuple[Action, ...]:
        """The detector hears silence but has not ended the speech. For `Speculate`."""
        out = self._elapse(t_ms)
        after, speech = self.config.speculate_after_ms, self._speech
        if after is None or speech is None or self.phase is not SegmentPhase.SPEAKING:
            return tuple(out)
        over = speech.over_agent and self.side.audible
        if not self._speculated and not over and silence_ms >= after:
            self._speculated = True
            out.append(Speculate(speech.start_ms, silence_ms))
        return tuple(out)

    def resumed(self, t_ms: int) -> tuple[Action, ...]:
        """After `paused`: the speech goes on."""
        out = self._elapse(t_ms)
        self._withdraw(out)
        return tuple(out)

    def tick(self, t_ms: int) -> tuple[Action, ...]:
        """Nothing else happened until `t_ms`."""
        return tuple(self._elapse(t_ms))

    def agent_started(self, t_ms: int) -> tuple[Action, ...]:
        """The agent became audible. Speech that goes on now talks over it."""
        out = self._elapse(t_ms)
        self.side.started(t_ms)
        self._unseen = True
        return tuple(out)

    def agent_finished(self, t_ms: int) -> tuple[Action, ...]:
        """The agent fell silent, by itself or because it was cut. Speech that goes on now is talk
        to a silent agent, also if the agent begins something else before its end."""
        out = self._elapse(t_ms)
        cut = self.side.state is Agent.CUT
        self.side.finished()
        if self._speech is not None and (cut or self.phase is not SegmentPhase.AWAITING):
            self._speech.over_agent = False
        return tuple(out)

    def transcript(self, text: str, t_ms: int) -> tuple[Action, ...]:
        """The words of the open utterance so far; the latest text counts (V245)."""
        out = self._elapse(t_ms)
        speech, words = self._speech, text.strip()
        if speech is not None and words:
            self._strategy.hear(speech, words, self.side)
            if self.config.strategy is InterruptionStrategy.SEMANTIC:
                self._look(speech, t_ms, out)
        return tuple(out)

    def words_final(self, text: str, t_ms: int) -> tuple[Action, ...]:
        """The answer to `AwaitWords`: all the words, if there are any. Later it means nothing."""
        out = self._elapse(t_ms)
        if self.phase is SegmentPhase.AWAITING:
            speech = self._opened()
            speech.words = text.strip() or speech.words
            self._signal(SegmentSignal.TOLD, t_ms, out)
        return tuple(out)

    def cancel(self, t_ms: int) -> tuple[Action, ...]:
        """Give up what is open. The agent's side stays as it is."""
        out: list[Action] = []
        self._signal(SegmentSignal.CANCEL, t_ms, out)
        return tuple(out)

    def _handle(self, signal: SegmentSignal, t_ms: int) -> tuple[Action, ...]:
        out = self._elapse(t_ms)
        self._signal(signal, t_ms, out)
        return tuple(out)

    def _elapse(self, t_ms: int) -> list[Action]:
        out: list[Action] = []
        speech = self._speech
        if speech is None:
            return out
        if self.phase is SegmentPhase.AWAITING:
            if t_ms >= self._awaited_ms:
                self._signal(SegmentSignal.EXPIRED, t_ms, out)
            return out
        self._look(speech, t_ms, out)
        if self.phase is SegmentPhase.SPEAKING:
            if t_ms - speech.onset_ms >= self.config.max_turn_ms:
                self._signal(SegmentSignal.LIMIT, t_ms, out)
        elif t_ms - speech.onset_ms >= self._claim_ms:
            self._signal(SegmentSignal.EXPIRED, t_ms, out)
        return out

    def _unsure(self) -> bool:
        speech = self._speech
        if speech is None or not self._finals or self.phase is not SegmentPhase.SPEAKING:
            return False
        return self._strategy.undecided(speech, self.side)

    @property
    def _claim_ms(self) -> int:
        """A claim stands long enough for the strategy to have looked."""
        if self._detector:
            return CLAIM_MS
        return max(CLAIM_MS, self.config.min_speech_ms, self.config.transcript_wait_ms) + 1

    def _signal(self, signal: SegmentSignal, t_ms: int, out: list[Action]) -> None:
        self.phase, effect = _TRANSITIONS[self.phase, signal]
        if effect is not None:
            effect(self, t_ms, out)

    # Effects.

    def _begin(self, t_ms: int, out: list[Action]) -> None:
        start = t_ms - self._pre_roll_ms
        if self._floor_ms is not None:
            start = min(max(start, self._floor_ms), t_ms)
        speech = self._speech = Speech(t_ms, self.side.audible, start)
        self._heard_ms, self._ended_ms, self._silent_ms = t_ms, None, 0
        out.append(BeginUtterance(start))
        self._look(speech, t_ms, out)

    def _take_over(self, t_ms: int, out: list[Action]) -> None:
        self._heard_ms = t_ms
        self._look(self._opened(), t_ms, out)

    def _await(self, t_ms: int, out: list[Action]) -> None:
        speech = self._opened()
        if self._ended_ms is None:
            self._ended_ms = t_ms
        self._awaited_ms = t_ms + self._strategy.patience_ms(speech)
        self._withdraw(out)
        out.append(AwaitWords(speech.start_ms))

    def _reopen(self, t_ms: int, out: list[Action]) -> None:
        if self._ended_ms is not None:
            self._silent_ms += t_ms - self._ended_ms
        self._heard_ms, self._ended_ms = t_ms, None
        out.append(GoesOn())
        self._look(self._opened(), t_ms, out)

    def _expire(self, t_ms: int, out: list[Action]) -> None:
        if self._detector or not self._opened().words:
            self._drop(t_ms, out)
        else:
            self._judge(t_ms, out)

    def _judge(self, t_ms: int, out: list[Action]) -> None:
        speech, self._speech = self._opened(), None
        self._speculated = False
        self._conclude(speech, self._strategy.verdict(speech, self.side, t_ms), t_ms, out)

    def _judge_told(self, t_ms: int, out: list[Action]) -> None:
        speech, self._speech = self._opened(), None
        self._conclude(speech, self._strategy.told(speech, self.side, t_ms), t_ms, out)

    def _conclude(self, speech: Speech, verdict: Verdict, t_ms: int, out: list[Action]) -> None:
        if verdict is Verdict.DROPPED:
            out.append(false_start(speech, self.side))
            return
        if verdict is Verdict.CUTS:
            self._interrupt(speech, out)
        end = self._floor_ms = t_ms if self._ended_ms is None else self._ended_ms
        out.append(EndOfTurn(speech.start_ms, end, t_ms - end, verdict is Verdict.QUEUED))

    def _split(self, t_ms: int, out: list[Action]) -> None:
        self._judge(t_ms, out)
        self._pre_roll_ms = 0
        self._begin(t_ms, out)

    def _drop(self, t_ms: int, out: list[Action]) -> None:
        speech, self._speech = self._opened(), None
        self._withdraw(out)
        out.append(false_start(speech, self.side))

    # Shared by the effects.

    def _opened(self) -> Speech:
        speech = self._speech
        assert speech is not None, f"no utterance in {self.phase}"
        return speech

    def _look(self, speech: Speech, t_ms: int, out: list[Action]) -> None:
        """The strategy's look at speech that still lasts."""
        self._unseen = False
        if self.phase is SegmentPhase.SPEAKING or not self._detector:
            speech.lasted_ms = t_ms - speech.onset_ms - self._silent_ms
        if self.side.may_be_cut(t_ms) and self._strategy.cuts(speech):
            self._interrupt(speech, out)

    def _interrupt(self, speech: Speech, out: list[Action]) -> None:
        self.side.interrupted()
        out.append(Interrupt(speech.onset_ms, self.config.strategy))

    def _withdraw(self, out: list[Action]) -> None:
        if self._speculated:
            self._speculated = False
            out.append(Withdraw())


_Effect = Callable[[SegmentMachine, int, list[Action]], None]

_IDLE, _ALLEGED, _SPEAKING = SegmentPhase.IDLE, SegmentPhase.ALLEGED, SegmentPhase.SPEAKING
_AWAITING = SegmentPhase.AWAITING

_TRANSITIONS: Mapping[tuple[SegmentPhase, SegmentSignal], tuple[SegmentPhase, _Effect | None]] = {
    (_IDLE, SegmentSignal.STARTED): (_SPEAKING, SegmentMachine._begin),
    (_IDLE, SegmentSignal.ENDED): (_IDLE, None),
    (_IDLE, SegmentSignal.CLAIMED): (_ALLEGED, SegmentMachine._begin),
    (_IDLE, SegmentSignal.CANCEL): (_IDLE, None),
    (_ALLEGED, SegmentSignal.STARTED): (_SPEAKING, SegmentMachine._take_over),
    (_ALLEGED, SegmentSignal.ENDED): (_IDLE, SegmentMachine._judge),
    (_ALLEGED, SegmentSignal.CLAIMED): (_ALLEGED, None),
    (_ALLEGED, SegmentSignal.EXPIRED): (_IDLE, SegmentMachine._expire),
    (_ALLEGED, SegmentSignal.CANCEL): (_IDLE, SegmentMachine._drop),
    (_SPEAKING, SegmentSignal.STARTED): (_SPEAKING, None),
    (_SPEAKING, SegmentSignal.ENDED): (_IDLE, SegmentMachine._judge),
    (_SPEAKING, SegmentSignal.CLAIMED): (_SPEAKING, None),
    (_SPEAKING, SegmentSignal.LIMIT): (_SPEAKING, SegmentMachine._split),
    (_SPEAKING, SegmentSignal.CANCEL): (_IDLE, SegmentMachine._drop),
    (_SPEAKING, SegmentSignal.UNSURE): (_AWAITING, SegmentMachine._await),
    (_AWAITING, SegmentSignal.STARTED): (_SPEAKING, SegmentMachine._reopen),
    (_AWAITING, SegmentSignal.ENDED): (_AWAITING, None),
    (_AWAITING, SegmentSignal.CLAIMED): (_AWAITING, None),
    (_AWAITING, SegmentSignal.TOLD): (_IDLE, SegmentMachine._judge_told),
    (_AWAITING, SegmentSignal.EXPIRED): (_IDLE, SegmentMachine._judge_told),
    (_AWAITING, SegmentSignal.CANCEL): (_IDLE, SegmentMachine._drop),
}
