"""The turn machine: speech probabilities in, turns and interruptions out.

Knows: probabilities of 32 ms windows, whether the agent is audible, words if someone has them.
Does not know: samples, clocks, recognisers, who routes the turn.

The caller's side, one row per transition; VOICED is a window above the threshold in force
(`threshold` before speech is confirmed, `end_threshold` after), QUIET at least one window without.

    phase     signal    next      what happens
    --------  --------  --------  ---------------------------------------------------------------
    IDLE      VOICED    ONSET     the onset is noted
    IDLE      QUIET     IDLE      `max_end_silence_ms` after a turn: it was a clean end
    ONSET     VOICED    SPEAKING  BeginUtterance; Interrupt if the strategy says so at once
    ONSET     QUIET     IDLE      a single loud window was nothing
    SPEAKING  VOICED    SPEAKING  Interrupt if the strategy says so by now
    SPEAKING  QUIET     PAUSED
    SPEAKING  LIMIT     IDLE      `max_turn_ms` reached: the verdict
    PAUSED    VOICED    SPEAKING  the pause is learned; Interrupt as above
    PAUSED    QUIET     PAUSED
    PAUSED    EXPIRED   IDLE      the end silence has passed: the verdict
    PAUSED    UNSURE    AWAITING  the same, but only the words can tell: AwaitWords
    AWAITING  VOICED    SPEAKING  GoesOn; Interrupt as above
    AWAITING  QUIET     AWAITING
    AWAITING  TOLD      IDLE      the words are all there: the verdict
    AWAITING  EXPIRED   IDLE      they did not come in time: the verdict
    IDLE      CANCEL    IDLE
    ONSET     CANCEL    IDLE
    SPEAKING  CANCEL    IDLE      FalseStart
    PAUSED    CANCEL    IDLE      FalseStart
    AWAITING  CANCEL    IDLE      FalseStart

The onset lies where the soft beginning of the speech does: windows that would continue speech, with
dips of one window, up to `LEAD_MS` before the first that is loud enough to start it.

A pause of `speculate_after_ms` that has not EXPIRED asks for an answer once (Speculate) if the turn
would count; VOICED and CANCEL take that back (Withdraw).

The agent's side is in `agent`, what the strategies say in `strategies`. The verdict: an utterance
with less than `min_turn_ms` voiced is a FalseStart; otherwise

    TURN     EndOfTurn
    QUEUED   EndOfTurn, marked `queued`
    CUTS     Interrupt, EndOfTurn
    DROPPED  FalseStart
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from salon.voice.turns.actions import (
    Action,
    AwaitWords,
    BeginUtterance,
    EndOfTurn,
    FalseStart,
    GoesOn,
    Interrupt,
    Speculate,
    Withdraw,
)
from salon.voice.turns.agent import Agent, AgentSide
from salon.voice.turns.config import WINDOW_MS, InterruptionStrategy, TurnConfig
from salon.voice.turns.endpointing import EndSilence
from salon.voice.turns.strategies import (
    Classify,
    Speech,
    Strategy,
    Verdict,
    false_start,
)

DIP_MS = 160
"""A dip up to this long (a stop consonant, a breath between syllables) counts as speech going on;
a longer one is neither counted nor held against the speaker."""

LEAD_MS = 128
"""A soft consonant at the beginning ("s", "f", "h") is speech though it alone starts none; one that
lasts longer is background."""


class Phase(Enum):
    """The caller's side."""

    IDLE = auto()
    ONSET = auto()
    SPEAKING = auto()
    PAUSED = auto()
    AWAITING = auto()
    """Silent; the words that decide are on their way."""


class Signal(Enum):
    """What can happen on the caller's side."""

    VOICED = auto()
    QUIET = auto()
    EXPIRED = auto()
    UNSURE = auto()
    TOLD = auto()
    LIMIT = auto()
    CANCEL = auto()


@dataclass(slots=True, kw_only=True)
class _Utterance(Speech):
    """Speech, confirmed or not. `lasted_ms` is voiced windows and the dips between them."""

    gap_ms: int | None
    """Since the speech of the turn before, when that may have been cut too early."""
    voiced_ms: int = 0
    """Voiced windows only."""
    surest: float = 0.0


class TurnMachine:
    """Decides when the caller's turn begins and ends and when it cuts the agent. One per call.

    Every method returns the actions to carry out, in order; mostly none. `window` takes instants of
    the sample clock, which must not go back. `tick` may run ahead of it. `classify` tells
    backchannels; None: by the words of `config.backchannels`. `finals`: whoever carries the actions
    out answers `AwaitWords` with `words_final`; otherwise none is asked for. `streams`: the words
    are recognised while they are spoken, so that those of long speech are worth a wait too.
    """

    def __init__(
        self,
        config: TurnConfig,
        classify: Classify | None = None,
        *,
        finals: bool = False,
        streams: bool = False,
    ) -> None:
        self.config = config
        self.phase = Phase.IDLE
        self.side = AgentSide(config.allow_during_first_ms)
        self._end_silence = EndSilence(config)
        self._strategy = Strategy(config, classify, streams=streams)
        self._finals = finals
        self._utterance: _Utterance | None = None
        self._hearing = False
        self._probability = 0.0
        """Of the newest voiced window."""
        self._voiced_end = 0
        """End of the last voiced window, counted or not."""
        self._soft: tuple[int, int] | None = None
        """Where windows begin and end that may be the soft beginning of speech."""
        self._awaited_ms = 0
        """Until when the words of AWAITING may come."""
        self._floor_ms = 0
        """No utterance begins before: the first window, then the end of the turn before."""
        self._unsettled_end: int | None = None
        """`speech_end_ms` of a turn that may still prove to have been cut too early."""
        self._speculated = False
        """`Speculate` is out and not taken back."""

    @property
    def agent(self) -> Agent:
        """Where the agent is."""
        return self.side.state

    @property
    def may_ask(self) -> bool:
        """Whether the open utterance may end in `AwaitWords`."""
        utterance = self._utterance
        semantic = self.config.strategy is InterruptionStrategy.SEMANTIC
        return self._finals and semantic and utterance is not None and utterance.over_agent

    @property
    def end_silence_ms(self) -> int:
        """The silence that would end a turn now."""
        return self._end_silence.ms

    @property
    def due_ms(self) -> int | None:
        """When the pause, if there is one and it goes on, brings the next thing: an early answer,
        or the end of the turn."""
        if self.phase is not Phase.PAUSED:
            return None
        after, end = self.config.speculate_after_ms, self._end_silence.ms
        if after is not None and after < end and self._may_speculate():
            end = after
        return self._voiced_end + end

    def window(self, probability: float, t_ms: int) -> tuple[Action, ...]:
        """One more window, which ended at `t_ms`, holds speech with this probability."""
        if not self._hearing:
            self._hearing = True
            self._voiced_end = self._floor_ms = t_ms - WINDOW_MS
        config = self.config
        started = self.phase in _STARTED
        voiced = probability >= (config.end_threshold if started else config.threshold)
        if not started and probability >= config.end_threshold:
            self._soften(t_ms)
        if not voiced:
            return self.tick(t_ms)
        out: list[Action] = []
        self._elapse(t_ms - WINDOW_MS, out)
        if self._utterance is None and probability < config.threshold:
            return tuple(out)
        self._probability = probability
        self._signal(Signal.VOICED, t_ms, out)
        utterance = self._utterance
        if utterance is not None and t_ms - utterance.onset_ms >= config.max_turn_ms:
            self._signal(Signal.LIMIT, t_ms, out)
        return tuple(out)

    def tick(self, t_ms: int) -> tuple[Action, ...]:
        """Until `t_ms` nothing more was heard. Ends an open turn whose windows stopped coming."""
        if self.phase is Phase.IDLE and self._unsettled_end is None:
            return ()
        out: list[Action] = []
        self._elapse(t_ms, out)
        return tuple(out)

    def agent_started(self, t_ms: int) -> tuple[Action, ...]:
        """The agent became audible. Speech that goes on now talks over it."""
        self.side.started(t_ms)
        return ()

    def agent_finished(self, t_ms: int) -> tuple[Action, ...]:
        """The agent fell silent, by itself or because it was cut. Speech that goes on now is talk
        to a silent agent, also if the agent begins something else before its end."""
        cut = self.side.state is Agent.CUT
        self.side.finished()
        if self._utterance is not None and (cut or self.phase is not Phase.AWAITING):
            self._utterance.over_agent = False
        return ()

    def transcript(self, text: str, t_ms: int) -> tuple[Action, ...]:
        """The words of the open utterance so far; the latest text counts (V245)."""
        utterance = self._utterance
        words = text.strip()
        if utterance is None or not words or self.phase not in _STARTED:
            return ()
        self._strategy.hear(utterance, words, self.side)
        out: list[Action] = []
        if self.config.strategy is InterruptionStrategy.SEMANTIC:
            self._maybe_interrupt(utterance, t_ms, out)
        return tuple(out)

    def words_final(self, text: str, t_ms: int) -> tuple[Action, ...]:
        """The answer to `AwaitWords`: all the words, if there are any. Later it means nothing."""
        utterance = self._utterance
        if utterance is None or self.phase is not Phase.AWAITING:
            return ()
        utterance.words = text.strip() or utterance.words
        out: list[Action] = []
        self._signal(Signal.TOLD, t_ms, out)
        return tuple(out)

    def cancel(self, t_ms: int) -> tuple[Action, ...]:
        """Give up what is open. The agent's side stays as it is."""
        out: list[Action] = []
        self._signal(Signal.CANCEL, t_ms, out)
        return tuple(out)

    def _elapse(self, t_ms: int, out: list[Action]) -> None:
        silence = t_ms - self._voiced_end
        if silence >= WINDOW_MS:
            self._signal(Signal.QUIET, t_ms, out)
            self._maybe_speculate(silence, out)
        if self.phase is Phase.PAUSED and silence >= self._end_silence.ms:
            self._signal(Signal.UNSURE if self._unsure() else Signal.EXPIRED, t_ms, out)
        elif self.phase is Phase.AWAITING and t_ms >= self._awaited_ms:
            self._signal(Signal.EXPIRED, t_ms, out)

    def _unsure(self) -> bool:
        utterance = self._opened()
        if not self._finals or utterance.voiced_ms < self.config.min_turn_ms:
            return False
        return self._strategy.undecided(utterance, self.side)

    def _soften(self, t_ms: int) -> None:
        """One more window, which ended at `t_ms`, that may be the soft beginning of speech."""
        start = t_ms - WINDOW_MS
        if self._soft is not None and start - self._soft[1] <= WINDOW_MS:
            start = self._soft[0]
        self._soft = start, t_ms

    def _signal(self, signal: Signal, t_ms: int, out: list[Action]) -> None:
        self.phase, effect = _TRANSITIONS[self.phase, signal]
        if effect is not None:
            effect(self, t_ms, out)

    # Effects of the caller's transitions.

    def _notice(self, t_ms: int, out: list[Action]) -> None:
        onset = first = t_ms - WINDOW_MS
        if self._soft is not None and first - self._soft[1] <= WINDOW_MS:
            onset = max(self._soft[0], first - LEAD_MS)
        over_agent = self.side.audible
        gap: int | None = None
        if self._unsettled_end is not None and not over_agent:
            gap = onset - self._unsettled_end
        utterance = _Utterance(onset, over_agent, gap_ms=gap)
        utterance.start_ms = max(onset - self.config.pre_roll_ms, self._floor_ms)
        utterance.lasted_ms = first - onset
        self._utterance = utterance
        self._count(utterance, t_ms)

    def _forget(self, t_ms: int, out: list[Action]) -> None:
        self._utterance = None

    def _begin(self, t_ms: int, out: list[Action]) -> None:
        utterance = self._opened()
        out.append(BeginUtterance(utterance.start_ms))
        self._unsettled_end = self._soft = None
        self._go_on(t_ms, out)

    def _resume(self, t_ms: int, out: list[Action]) -> None:
        self._withdraw(out)
        self._end_silence.paused(t_ms - WINDOW_MS - self._voiced_end)
        self._go_on(t_ms, out)

    def _await(self, t_ms: int, out: list[Action]) -> None:
        self._awaited_ms = t_ms + self._strategy.patience_ms(self._opened())
        self._withdraw(out)
        out.append(AwaitWords(self._opened().start_ms))

    def _reopen(self, t_ms: int, out: list[Action]) -> None:
        out.append(GoesOn())
        self._go_on(t_ms, out)

    def _go_on(self, t_ms: int, out: list[Action]) -> None:
        utterance = self._opened()
        self._count(utterance, t_ms)
        if utterance.gap_ms is not None and utterance.voiced_ms >= self.config.min_turn_ms:
            self._end_silence.resumed(utterance.gap_ms)
            utterance.gap_ms = None
        self._maybe_interrupt(utterance, t_ms, out)

    def _settle(self, t_ms: int, out: list[Action]) -> None:
        end = self._unsettled_end
        if end is not None and t_ms - end > self.config.max_end_silence_ms:
            self._unsettled_end = None
            self._end_silence.ended_cleanly()

    def _judge(self, t_ms: int, out: list[Action]) -> None:
        """The verdict of the table above."""
        verdict = Verdict.DROPPED
        utterance = self._opened()
        if utterance.voiced_ms >= self.config.min_turn_ms:
            verdict = self._strategy.verdict(utterance, self.side, t_ms)
        self._conclude(verdict, t_ms, out)

    def _judge_told(self, t_ms: int, out: list[Action]) -> None:
        self._conclude(self._strategy.told(self._opened(), self.side, t_ms), t_ms, out)

    def _conclude(self, verdict: Verdict, t_ms: int, out: list[Action]) -> None:
        utterance, self._utterance = self._opened(), None
        self._speculated = False
        if verdict is Verdict.DROPPED:
            out.append(false_start(utterance, self.side))
            return
        if verdict is Verdict.CUTS:
            self._interrupt(utterance, out)
        end = self._floor_ms = self._voiced_end
        queued = verdict is Verdict.QUEUED
        out.append(EndOfTurn(utterance.start_ms, end, t_ms - end, queued))
        if t_ms > end:
            self._unsettled_end = end

    def _drop(self, t_ms: int, out: list[Action]) -> None:
        self._withdraw(out)
        out.append(FalseStart(self._opened().start_ms))
        self._clear(t_ms, out)

    def _clear(self, t_ms: int, out: list[Action]) -> None:
        self._utterance = None
        self._unsettled_end = None

    # Shared by the effects.

    def _opened(self) -> _Utterance:
        utterance = self._utterance
        assert utterance is not None, f"no utterance in {self.phase}"
        return utterance

    def _count(self, utterance: _Utterance, t_ms: int) -> None:
        """One more voiced window, which ended at `t_ms`."""
        if utterance.voiced_ms:
            dip = t_ms - WINDOW_MS - self._voiced_end
            if 0 < dip <= DIP_MS:
                utterance.lasted_ms += dip
        utterance.voiced_ms += WINDOW_MS
        utterance.lasted_ms += WINDOW_MS
        utterance.surest = max(utterance.surest, self._probability)
        self._voiced_end = t_ms

    def _maybe_interrupt(self, utterance: _Utterance, t_ms: int, out: list[Action]) -> None:
        if utterance.voiced_ms < self.config.min_turn_ms:
            return  # what is too short for a turn cuts nobody
        if self.side.may_be_cut(t_ms) and self._strategy.cuts(utterance):
            self._interrupt(utterance, out)

    def _interrupt(self, utterance: _Utterance, out: list[Action]) -> None:
        self.side.interrupted()
        out.append(Interrupt(utterance.onset_ms, self.config.strategy))

    def _may_speculate(self) -> bool:
        utterance = self._utterance
        if utterance is None or self._speculated or self.phase is not Phase.PAUSED:
            return False
        over = utterance.over_agent and self.side.audible
        return not over and utterance.voiced_ms >= self.config.min_turn_ms

    def _maybe_speculate(self, silence_ms: int, out: list[Action]) -> None:
        after = self.config.speculate_after_ms
        if after is None or not after <= silence_ms < self._end_silence.ms:
            return
        if self._may_speculate():
            self._speculated = True
            out.append(Speculate(self._opened().start_ms, silence_ms))

    def _withdraw(self, out: list[Action]) -> None:
        if self._speculated:
            self._speculated = False
            out.append(Withdraw())


_STARTED = frozenset({Phase.SPEAKING, Phase.PAUSED, Phase.AWAITING})

_Effect = Callable[[TurnMachine, int, list[Action]], None]

_TRANSITIONS: Mapping[tuple[Phase, Signal], tuple[Phase, _Effect | None]] = {
    (Phase.IDLE, Signal.VOICED): (Phase.ONSET, TurnMachine._notice),
    (Phase.IDLE, Signal.QUIET): (Phase.IDLE, TurnMachine._settle),
    (Phase.ONSET, Signal.VOICED): (Phase.SPEAKING, TurnMachine._begin),
    (Phase.ONSET, Signal.QUIET): (Phase.IDLE, TurnMachine._forget),
    (Phase.SPEAKING, Signal.VOICED): (Phase.SPEAKING, TurnMachine._go_on),
    (Phase.SPEAKING, Signal.QUIET): (Phase.PAUSED, None),
    (Phase.SPEAKING, Signal.LIMIT): (Phase.IDLE, TurnMachine._judge),
    (Phase.PAUSED, Signal.VOICED): (Phase.SPEAKING, TurnMachine._resume),
    (Phase.PAUSED, Signal.QUIET): (Phase.PAUSED, None),
    (Phase.PAUSED, Signal.EXPIRED): (Phase.IDLE, TurnMachine._judge),
    (Phase.PAUSED, Signal.UNSURE): (Phase.AWAITING, TurnMachine._await),
    (Phase.AWAITING, Signal.VOICED): (Phase.SPEAKING, TurnMachine._reopen),
    (Phase.AWAITING, Signal.QUIET): (Phase.AWAITING, None),
    (Phase.AWAITING, Signal.TOLD): (Phase.IDLE, TurnMachine._judge_told),
    (Phase.AWAITING, Signal.EXPIRED): (Phase.IDLE, TurnMachine._judge_told),
    (Phase.IDLE, Signal.CANCEL): (Phase.IDLE, TurnMachine._clear),
    (Phase.ONSET, Signal.CANCEL): (Phase.IDLE, TurnMachine._clear),
    (Phase.SPEAKING, Signal.CANCEL): (Phase.IDLE, TurnMachine._drop),
    (Phase.PAUSED, Signal.CANCEL): (Phase.IDLE, TurnMachine._drop),
    (Phase.AWAITING, Signal.CANCEL): (Phase.IDLE, TurnMachine._drop),
}
