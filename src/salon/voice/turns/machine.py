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
    IDLE      CANCEL    IDLE
    ONSET     CANCEL    IDLE
    SPEAKING  CANCEL    IDLE      FalseStart
    PAUSED    CANCEL    IDLE      FalseStart

The agent's side:

    agent     signal       next
    --------  -----------  --------
    SILENT    STARTED      AUDIBLE
    SILENT    FINISHED     SILENT
    AUDIBLE   STARTED      AUDIBLE
    AUDIBLE   FINISHED     SILENT
    AUDIBLE   INTERRUPTED  CUT       this is why there is one Interrupt per agent utterance
    CUT       STARTED      CUT
    CUT       FINISHED     SILENT

The verdict, first row that fits:

    less than `min_turn_ms` voiced                           FalseStart
    the utterance did not begin over the agent, or the
    agent is not audible now, or DISABLED                    EndOfTurn
    SEMANTIC, no words came, at least `min_speech_ms`        Interrupt, EndOfTurn (V119)
    otherwise (too short, or a backchannel)                  FalseStart (V117)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from salon.voice.turns.actions import Action, BeginUtterance, EndOfTurn, FalseStart, Interrupt
from salon.voice.turns.backchannel import is_backchannel
from salon.voice.turns.config import WINDOW_MS, InterruptionStrategy, TurnConfig
from salon.voice.turns.endpointing import EndSilence

DIP_MS = 160
"""A dip up to this long (a stop consonant, a breath between syllables) counts as speech going on;
a longer one is neither counted nor held against the speaker."""


class Phase(Enum):
    """The caller's side."""

    IDLE = auto()
    ONSET = auto()
    SPEAKING = auto()
    PAUSED = auto()


class Agent(Enum):
    """The agent's side, as heard by the caller."""

    SILENT = auto()
    AUDIBLE = auto()
    CUT = auto()
    """Interrupted, not yet reported as finished."""


class Signal(Enum):
    """What can happen on the caller's side."""

    VOICED = auto()
    QUIET = auto()
    EXPIRED = auto()
    LIMIT = auto()
    CANCEL = auto()


class AgentSignal(Enum):
    """What can happen on the agent's side."""

    STARTED = auto()
    FINISHED = auto()
    INTERRUPTED = auto()


@dataclass(slots=True)
class _Utterance:
    """Speech from its onset on, confirmed or not."""

    onset_ms: int
    over_agent: bool
    gap_ms: int | None
    """Since the speech of the turn before, when that may have been cut too early."""
    start_ms: int = 0
    voiced_ms: int = 0
    """Voiced windows only."""
    lasted_ms: int = 0
    """Voiced windows and the dips between them."""
    words: str = ""
    backchannel: bool = False


class TurnMachine:
    """Decides when the caller's turn begins and ends and when it cuts the agent. One per call.

    Every method returns the actions to carry out, in order; mostly none. `window` takes instants of
    the sample clock, which must not go back. `tick` may run ahead of it.
    """

    def __init__(self, config: TurnConfig) -> None:
        self.config = config
        self.phase = Phase.IDLE
        self.agent = Agent.SILENT
        self._end_silence = EndSilence(config)
        self._interrupts = _STRATEGIES[config.strategy]
        self._utterance: _Utterance | None = None
        self._hearing = False
        self._voiced_end = 0
        """End of the last voiced window, counted or not."""
        self._floor_ms = 0
        """No utterance begins before: the first window, then the end of the turn before."""
        self._unsettled_end: int | None = None
        """`speech_end_ms` of a turn that may still prove to have been cut too early."""
        self._agent_since = 0

    @property
    def end_silence_ms(self) -> int:
        """The silence that would end a turn now."""
        return self._end_silence.ms

    def window(self, probability: float, t_ms: int) -> tuple[Action, ...]:
        """One more window, which ended at `t_ms`, holds speech with this probability."""
        if not self._hearing:
            self._hearing = True
            self._voiced_end = self._floor_ms = t_ms - WINDOW_MS
        config = self.config
        started = self.phase in _STARTED
        voiced = probability >= (config.end_threshold if started else config.threshold)
        if not voiced:
            return self.tick(t_ms)
        out: list[Action] = []
        self._elapse(t_ms - WINDOW_MS, out)
        if self._utterance is None and probability < config.threshold:
            return tuple(out)
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
        if self.agent is Agent.SILENT:
            self._agent_since = t_ms
        self._agent_signal(AgentSignal.STARTED)
        return ()

    def agent_finished(self, t_ms: int) -> tuple[Action, ...]:
        """The agent fell silent, by itself or because it was cut. Speech that goes on now is talk
        to a silent agent, also if the agent begins something else before its end."""
        self._agent_signal(AgentSignal.FINISHED)
        if self._utterance is not None:
            self._utterance.over_agent = False
        return ()

    def transcript(self, text: str, t_ms: int) -> tuple[Action, ...]:
        """The words of the open utterance so far; the latest text counts (V245)."""
        utterance = self._utterance
        words = text.strip()
        if utterance is None or not words or self.phase not in _STARTED:
            return ()
        utterance.words = words
        utterance.backchannel = is_backchannel(words, self.config.backchannels)
        out: list[Action] = []
        if self.config.strategy is InterruptionStrategy.SEMANTIC:
            self._maybe_interrupt(utterance, t_ms, out)
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
        if self.phase is Phase.PAUSED and silence >= self._end_silence.ms:
            self._signal(Signal.EXPIRED, t_ms, out)

    def _signal(self, signal: Signal, t_ms: int, out: list[Action]) -> None:
        self.phase, effect = _TRANSITIONS[self.phase, signal]
        if effect is not None:
            effect(self, t_ms, out)

    def _agent_signal(self, signal: AgentSignal) -> None:
        self.agent = _AGENT_TRANSITIONS[self.agent, signal]

    # Effects of the caller's transitions.

    def _notice(self, t_ms: int, out: list[Action]) -> None:
        onset = t_ms - WINDOW_MS
        over_agent = self.agent is Agent.AUDIBLE
        gap: int | None = None
        if self._unsettled_end is not None and not over_agent:
            gap = onset - self._unsettled_end
        utterance = _Utterance(onset, over_agent, gap)
        utterance.start_ms = max(onset - self.config.pre_roll_ms, self._floor_ms)
        self._utterance = utterance
        self._count(utterance, t_ms)

    def _forget(self, t_ms: int, out: list[Action]) -> None:
        self._utterance = None

    def _begin(self, t_ms: int, out: list[Action]) -> None:
        utterance = self._opened()
        out.append(BeginUtterance(utterance.start_ms))
        self._unsettled_end = None
        self._go_on(t_ms, out)

    def _resume(self, t_ms: int, out: list[Action]) -> None:
        self._end_silence.paused(t_ms - WINDOW_MS - self._voiced_end)
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
        utterance, self._utterance = self._opened(), None
        config = self.config
        over = utterance.over_agent and self.agent is Agent.AUDIBLE
        turn = utterance.voiced_ms >= config.min_turn_ms
        if turn and over and config.strategy is not InterruptionStrategy.DISABLED:
            turn = (
                config.strategy is InterruptionStrategy.SEMANTIC
                and not utterance.words
                and utterance.lasted_ms >= config.min_speech_ms
                and self._may_interrupt(t_ms)
            )
            if turn:
                self._interrupt(utterance, out)
        if turn:
            end = self._floor_ms = self._voiced_end
            out.append(EndOfTurn(utterance.start_ms, end, t_ms - end))
            if t_ms > end:
                self._unsettled_end = end
        else:
            words = utterance.words if utterance.backchannel and over else ""
            out.append(FalseStart(utterance.start_ms, words))

    def _drop(self, t_ms: int, out: list[Action]) -> None:
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
        self._voiced_end = t_ms

    def _may_interrupt(self, t_ms: int) -> bool:
        played = t_ms - self._agent_since
        return self.agent is Agent.AUDIBLE and played >= self.config.allow_during_first_ms

    def _maybe_interrupt(self, utterance: _Utterance, t_ms: int, out: list[Action]) -> None:
        if self._may_interrupt(t_ms) and self._interrupts(self.config, utterance):
            self._interrupt(utterance, out)

    def _interrupt(self, utterance: _Utterance, out: list[Action]) -> None:
        self._agent_signal(AgentSignal.INTERRUPTED)
        out.append(Interrupt(utterance.onset_ms, self.config.strategy))


_STARTED = frozenset({Phase.SPEAKING, Phase.PAUSED})

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
    (Phase.IDLE, Signal.CANCEL): (Phase.IDLE, TurnMachine._clear),
    (Phase.ONSET, Signal.CANCEL): (Phase.IDLE, TurnMachine._clear),
    (Phase.SPEAKING, Signal.CANCEL): (Phase.IDLE, TurnMachine._drop),
    (Phase.PAUSED, Signal.CANCEL): (Phase.IDLE, TurnMachine._drop),
}

_AGENT_TRANSITIONS: Mapping[tuple[Agent, AgentSignal], Agent] = {
    (Agent.SILENT, AgentSignal.STARTED): Agent.AUDIBLE,
    (Agent.SILENT, AgentSignal.FINISHED): Agent.SILENT,
    (Agent.AUDIBLE, AgentSignal.STARTED): Agent.AUDIBLE,
    (Agent.AUDIBLE, AgentSignal.FINISHED): Agent.SILENT,
    (Agent.AUDIBLE, AgentSignal.INTERRUPTED): Agent.CUT,
    (Agent.CUT, AgentSignal.STARTED): Agent.CUT,
    (Agent.CUT, AgentSignal.FINISHED): Agent.SILENT,
}


def _at_once(config: TurnConfig, utterance: _Utterance) -> bool:
    return True


def _lasted(config: TurnConfig, utterance: _Utterance) -> bool:
    return utterance.lasted_ms >= config.min_speech_ms


def _meant(config: TurnConfig, utterance: _Utterance) -> bool:
    if utterance.words:
        return not utterance.backchannel
    return utterance.lasted_ms >= max(config.min_speech_ms, config.transcript_wait_ms)


def _never(config: TurnConfig, utterance: _Utterance) -> bool:
    return False


_STRATEGIES: Mapping[InterruptionStrategy, Callable[[TurnConfig, _Utterance], bool]] = {
    InterruptionStrategy.IMMEDIATE: _at_once,
    InterruptionStrategy.CONFIRMED: _lasted,
    InterruptionStrategy.SEMANTIC: _meant,
    InterruptionStrategy.DISABLED: _never,
}
