"""The turn machine, on a clock of plain integers: every transition, then any course of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.voice.turns.test_last_words import COVERED

from salon.base import ConfigurationError
from salon.voice.turns import (
    WINDOW_MS,
    Action,
    Agent,
    BeginUtterance,
    EndOfTurn,
    FalseStart,
    Interrupt,
    InterruptionStrategy,
    Phase,
    TurnConfig,
    TurnMachine,
    is_backchannel,
)
from salon.voice.turns.agent import AGENT_TRANSITIONS, AgentSignal
from salon.voice.turns.endpointing import MARGIN_MS, EndSilence
from salon.voice.turns.machine import _TRANSITIONS, Signal

IMMEDIATE = InterruptionStrategy.IMMEDIATE
CONFIRMED = InterruptionStrategy.CONFIRMED
SEMANTIC = InterruptionStrategy.SEMANTIC
DISABLED = InterruptionStrategy.DISABLED

VOICE = 0.9
HUSH = 0.1
BASE = 1_000_000
SOME_SPEECH_MS = 4 * WINDOW_MS
CONFIRMED_MS = 320
"""The default `min_speech_ms` in whole windows."""


class Call:
    """A machine and its clock. Actions are kept with the instant at which they came."""

    def __init__(self, **settings: Any) -> None:
        self.machine = TurnMachine(TurnConfig(**settings))
        self.now = BASE
        self.log: list[tuple[int, Action]] = []

    def hear(self, probability: float, ms: int) -> list[Action]:
        """Windows of this probability, for `ms` rounded up to whole windows."""
        actions: list[Action] = []
        for _ in range(-(-ms // WINDOW_MS)):
            self.now += WINDOW_MS
            actions += self._keep(self.machine.window(probability, self.now))
        return actions

    def speak(self, ms: int) -> list[Action]:
        return self.hear(VOICE, ms)

    def hush(self, ms: int) -> list[Action]:
        return self.hear(HUSH, ms)

    def agent(self, audible: bool) -> None:
        machine = self.machine
        act = machine.agent_started if audible else machine.agent_finished
        assert act(self.now) == ()

    def words(self, text: str) -> list[Action]:
        return list(self._keep(self.machine.transcript(text, self.now)))

    def _keep(self, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        self.log += [(self.now, action) for action in actions]
        return actions

    def turn(self, speech_ms: int = 640, then_ms: int = 1500) -> EndOfTurn:
        """A whole turn and a long silence."""
        actions = self.speak(speech_ms) + self.hush(then_ms)
        (end,) = (action for action in actions if isinstance(action, EndOfTurn))
        return end


def kinds(actions: list[Action]) -> list[type[Action]]:
    return [type(action) for action in actions]


# Transitions. Each row brings a fresh machine into a phase; the table below walks all rows.


def _idle(call: Call) -> None:
    call.hush(WINDOW_MS)


def _onset(call: Call) -> None:
    call.hush(WINDOW_MS)
    call.speak(WINDOW_MS)


def _speaking(call: Call) -> None:
    call.hush(WINDOW_MS)
    call.speak(SOME_SPEECH_MS)


def _paused(call: Call) -> None:
    _speaking(call)
    call.hush(WINDOW_MS)


REACH: dict[Phase, Callable[[Call], None]] = {
    Phase.IDLE: _idle,
    Phase.ONSET: _onset,
    Phase.SPEAKING: _speaking,
    Phase.PAUSED: _paused,
}


def _limit(call: Call) -> list[Action]:
    return call.speak(1000 - SOME_SPEECH_MS)


PROVOKE: dict[Signal, Callable[[Call], list[Action]]] = {
    Signal.VOICED: lambda call: call.speak(WINDOW_MS),
    Signal.QUIET: lambda call: call.hush(WINDOW_MS),
    Signal.EXPIRED: lambda call: call.hush(300 - WINDOW_MS),
    Signal.LIMIT: _limit,
    Signal.CANCEL: lambda call: list(call.machine.cancel(call.now)),
}

WALK: list[tuple[Phase, Signal, Phase, list[type[Action]]]] = [
    (Phase.IDLE, Signal.VOICED, Phase.ONSET, []),
    (Phase.IDLE, Signal.QUIET, Phase.IDLE, []),
    (Phase.ONSET, Signal.VOICED, Phase.SPEAKING, [BeginUtterance]),
    (Phase.ONSET, Signal.QUIET, Phase.IDLE, []),
    (Phase.SPEAKING, Signal.VOICED, Phase.SPEAKING, []),
    (Phase.SPEAKING, Signal.QUIET, Phase.PAUSED, []),
    (Phase.SPEAKING, Signal.LIMIT, Phase.IDLE, [EndOfTurn]),
    (Phase.PAUSED, Signal.VOICED, Phase.SPEAKING, []),
    (Phase.PAUSED, Signal.QUIET, Phase.PAUSED, []),
    (Phase.PAUSED, Signal.EXPIRED, Phase.IDLE, [EndOfTurn]),
    (Phase.IDLE, Signal.CANCEL, Phase.IDLE, []),
    (Phase.ONSET, Signal.CANCEL, Phase.IDLE, []),
    (Phase.SPEAKING, Signal.CANCEL, Phase.IDLE, [FalseStart]),
    (Phase.PAUSED, Signal.CANCEL, Phase.IDLE, [FalseStart]),
]


@pytest.mark.parametrize("agent", list(Agent))
@pytest.mark.parametrize(("phase", "signal", "after", "actions"), WALK)
def test_every_transition(
    phase: Phase, signal: Signal, after: Phase, actions: list[type[Action]], agent: Agent
) -> None:
    call = Call(max_turn_ms=1000, strategy=DISABLED)
    call.machine.side.state = agent
    REACH[phase](call)
    assert call.machine.phase is phase
    assert kinds(PROVOKE[signal](call)) == actions
    assert call.machine.phase is after
    assert call.machine.agent is agent


def test_the_walk_covers_the_table() -> None:
    walked = {(phase, signal) for phase, signal, _, _ in WALK}
    assert walked | COVERED == set(_TRANSITIONS)
    assert not walked & COVERED


@pytest.mark.parametrize(("before", "signal"), list(AGENT_TRANSITIONS))
def test_every_transition_of_the_agent(before: Agent, signal: AgentSignal) -> None:
    call = Call(strategy=IMMEDIATE)
    call.machine.side.state = before
    if signal is AgentSignal.INTERRUPTED:
        assert Interrupt in kinds(call.speak(96))
    else:
        call.agent(signal is AgentSignal.STARTED)
    expected = {
        (Agent.SILENT, AgentSignal.STARTED): Agent.AUDIBLE,
        (Agent.SILENT, AgentSignal.FINISHED): Agent.SILENT,
        (Agent.AUDIBLE, AgentSignal.STARTED): Agent.AUDIBLE,
        (Agent.AUDIBLE, AgentSignal.FINISHED): Agent.SILENT,
        (Agent.AUDIBLE, AgentSignal.INTERRUPTED): Agent.CUT,
        (Agent.CUT, AgentSignal.STARTED): Agent.CUT,
        (Agent.CUT, AgentSignal.FINISHED): Agent.SILENT,
    }
    assert call.machine.agent is expected[before, signal]


# Turns.


def test_a_turn_tells_its_true_end_and_how_long_the_decision_took() -> None:
    call = Call()
    call.hush(960)
    onset = call.now
    assert call.speak(64) == [BeginUtterance(onset - 200)]
    call.speak(640)
    end = call.now
    assert call.hush(288) == []
    assert call.hush(32) == [EndOfTurn(onset - 200, end, 320)]


def test_V155_the_utterance_begins_before_the_onset_but_not_before_the_call() -> None:
    call = Call(pre_roll_ms=200)
    call.hush(64)
    assert call.speak(64) == [BeginUtterance(BASE)]


def test_the_utterance_begins_at_the_earliest_where_the_turn_before_ended() -> None:
    call = Call(pre_roll_ms=1000)
    end = call.turn(then_ms=480)
    assert call.speak(64) == [BeginUtterance(end.speech_end_ms)]


def test_a_noise_before_the_onset_does_not_shorten_the_pre_roll() -> None:
    call = Call(pre_roll_ms=200)
    call.hush(640)
    call.speak(32)
    call.hush(64)
    onset = call.now
    assert call.speak(64) == [BeginUtterance(onset - 200)]


def test_a_single_voiced_window_is_nothing() -> None:
    call = Call()
    for _ in range(10):
        assert call.speak(32) + call.hush(32) == []


def test_speech_below_min_turn_ms_is_a_false_start() -> None:
    call = Call(min_turn_ms=90)
    actions = call.speak(64) + call.hush(320)
    assert kinds(actions) == [BeginUtterance, FalseStart]
    assert actions[1] == FalseStart(BASE)
    assert kinds(call.speak(96) + call.hush(320)) == [BeginUtterance, EndOfTurn]


def test_hysteresis_starts_high_and_goes_on_low() -> None:
    call = Call(threshold=0.5, end_threshold=0.35)
    assert call.hear(0.4, 640) == []
    call.speak(32)
    assert call.hear(0.4, 32) == [], "the second window must reach the threshold too"
    call.speak(64)
    assert call.hear(0.4, 1600) == []
    assert kinds(call.hear(0.3, 320)) == [EndOfTurn]


def test_a_pause_shorter_than_the_end_silence_belongs_to_the_turn() -> None:
    call = Call()
    actions = call.speak(320) + call.hush(192) + call.speak(320)
    assert kinds(actions) == [BeginUtterance]
    end = call.now
    (action,) = call.hush(320)
    assert isinstance(action, EndOfTurn)
    assert action.speech_end_ms == end


def test_max_turn_ms_cuts_and_the_next_turn_begins_where_it_was_cut() -> None:
    call = Call(max_turn_ms=2000)
    actions = call.speak(3008)
    assert kinds(actions) == [BeginUtterance, EndOfTurn, BeginUtterance]
    _, end, begin = actions
    assert isinstance(end, EndOfTurn)
    assert isinstance(begin, BeginUtterance)
    assert (end.speech_end_ms, end.silence_ms) == (BASE + 2016, 0)
    assert begin.start_ms == end.speech_end_ms
    assert call.machine.end_silence_ms == 300, "being cut off is no pause"


def test_what_follows_a_turn_that_was_cut_off_teaches_nothing() -> None:
    call = Call(max_turn_ms=2000)
    assert EndOfTurn in kinds(call.speak(2016))
    call.hush(480)
    call.speak(640)
    assert call.machine.end_silence_ms == 300


def test_a_turn_ends_when_the_windows_stop_coming() -> None:
    call = Call()
    call.speak(640)
    machine, end = call.machine, call.now
    assert machine.tick(end + 20) == ()
    assert machine.tick(end + 299) == ()
    assert machine.tick(end + 300) == (EndOfTurn(BASE, end, 300),)
    assert machine.tick(end + 320) == ()


def test_ticks_between_windows_change_nothing() -> None:
    call = Call()
    for _ in range(3):
        call.machine.tick(call.now + 20)
        call.speak(32)
    assert kinds([action for _, action in call.log]) == [BeginUtterance]
    assert call.machine.phase is Phase.SPEAKING


def test_tick_before_anything_was_heard_is_harmless() -> None:
    assert Call().machine.tick(BASE) == ()


def test_a_tick_that_ran_ahead_of_the_sample_clock_does_no_harm() -> None:
    call = Call()
    call.speak(640)
    assert kinds(list(call.machine.tick(call.now + 5000))) == [EndOfTurn]
    assert kinds(call.speak(640) + call.hush(480)) == [BeginUtterance, EndOfTurn]


def test_a_hole_in_the_windows_is_silence() -> None:
    call = Call()
    call.speak(640)
    end = call.now
    call.now += 5000
    actions = call.speak(64)
    assert actions == [EndOfTurn(BASE, end, 5000), BeginUtterance(call.now - 64 - 200)]


def test_a_faint_window_after_a_hole_starts_nothing() -> None:
    call = Call()
    call.speak(640)
    call.now += 5000
    assert kinds(call.hear(0.4, 32)) == [EndOfTurn]
    assert call.machine.phase is Phase.IDLE


def test_a_small_hole_is_a_pause() -> None:
    call = Call()
    call.speak(640)
    call.now += 100
    assert call.speak(64) == []


def test_cancel_drops_what_is_open_and_leaves_the_agent() -> None:
    call = Call(strategy=DISABLED)
    call.agent(audible=True)
    call.speak(640)
    assert call.machine.cancel(call.now) == (FalseStart(BASE),)
    assert call.machine.agent is Agent.AUDIBLE
    assert call.machine.cancel(call.now) == ()
    assert call.hush(640) == []


# Barge-in.


def barge_in(strategy: InterruptionStrategy, **settings: Any) -> Call:
    """A call in which the agent has been speaking for a second."""
    call = Call(strategy=strategy, **settings)
    call.agent(audible=True)
    call.hush(992)
    return call


def first_interrupt(call: Call) -> tuple[int, Interrupt] | None:
    found = [(at, action) for at, action in call.log if isinstance(action, Interrupt)]
    assert len(found) < 2
    return found[0] if found else None


def test_V115_IMMEDIATE_cuts_as_soon_as_it_is_speech() -> None:
    call = barge_in(IMMEDIATE)
    onset = call.now
    assert call.speak(64) == [BeginUtterance(onset - 200)]
    assert call.speak(32) == [Interrupt(onset, IMMEDIATE)]
    assert kinds(call.speak(640) + call.hush(320)) == [EndOfTurn]


def test_V116_CONFIRMED_cuts_when_speech_has_lasted() -> None:
    call = barge_in(CONFIRMED, min_speech_ms=300)
    onset = call.now
    assert kinds(call.speak(288)) == [BeginUtterance]
    assert call.speak(32) == [Interrupt(onset, CONFIRMED)]
    assert kinds(call.speak(640) + call.hush(320)) == [EndOfTurn]


def test_CONFIRMED_counts_small_dips_as_speech() -> None:
    call = barge_in(CONFIRMED)
    onset = call.now
    call.speak(96)
    call.hush(96)
    call.speak(96)
    assert first_interrupt(call) is None
    call.speak(32)
    assert first_interrupt(call) == (onset + 320, Interrupt(onset, CONFIRMED))


def test_CONFIRMED_does_not_count_longer_pauses() -> None:
    call = barge_in(CONFIRMED)
    onset = call.now
    call.speak(96)
    call.hush(192)
    call.speak(192)
    assert first_interrupt(call) is None
    call.speak(32)
    assert first_interrupt(call) == (onset + 512, Interrupt(onset, CONFIRMED))


def test_V116_CONFIRMED_decides_only_while_speech_lasts() -> None:
    call = barge_in(CONFIRMED)
    call.speak(256)
    assert kinds(call.hush(640)) == [FalseStart]


def test_V117_speech_too_short_for_CONFIRMED_is_no_turn_and_the_agent_goes_on() -> None:
    call = barge_in(CONFIRMED)
    actions = call.speak(256) + call.hush(320)
    assert kinds(actions) == [BeginUtterance, FalseStart]
    assert call.machine.agent is Agent.AUDIBLE


def test_a_short_answer_over_the_last_syllable_of_the_agent_is_a_turn() -> None:
    call = barge_in(CONFIRMED)
    call.speak(256)
    call.agent(audible=False)
    assert kinds(call.hush(320)) == [EndOfTurn]


def test_speech_that_outlasts_the_agent_is_no_barge_in() -> None:
    call = barge_in(CONFIRMED)
    call.speak(256)
    call.agent(audible=False)
    assert kinds(call.speak(640) + call.hush(320)) == [EndOfTurn]


def test_the_agent_may_not_start_into_speech_that_goes_on() -> None:
    call = Call(strategy=CONFIRMED)
    call.speak(640)
    call.agent(audible=True)
    assert call.speak(32) == [Interrupt(BASE, CONFIRMED)]


def test_the_agent_may_start_while_the_caller_falls_silent() -> None:
    call = Call(strategy=CONFIRMED)
    call.speak(224)
    call.hush(32)
    call.agent(audible=True)
    assert kinds(call.hush(320)) == [EndOfTurn], "begun before the agent, so it is a turn"


def test_V115_DISABLED_never_cuts_but_reports_the_turn() -> None:
    call = barge_in(DISABLED)
    actions = call.speak(3200) + call.words("stop it now") + call.hush(320)
    assert kinds(actions) == [BeginUtterance, EndOfTurn]
    assert call.machine.agent is Agent.AUDIBLE


@pytest.mark.parametrize("strategy", [IMMEDIATE, CONFIRMED, SEMANTIC])
def test_one_interrupt_per_utterance_of_the_agent(strategy: InterruptionStrategy) -> None:
    call = barge_in(strategy)
    for _ in range(3):
        call.speak(1600)
        call.hush(640)
    assert first_interrupt(call) is not None
    call.agent(audible=False)
    call.agent(audible=True)
    assert Interrupt in kinds(call.speak(1600))


def test_V124_no_interruption_before_that_much_was_heard() -> None:
    call = Call(strategy=IMMEDIATE, allow_during_first_ms=500)
    call.agent(audible=True)
    assert kinds(call.speak(480)) == [BeginUtterance]
    assert call.speak(32) == [Interrupt(BASE, IMMEDIATE)]


def test_V124_counts_from_the_first_time_the_agent_was_said_to_start() -> None:
    call = Call(strategy=IMMEDIATE, allow_during_first_ms=500)
    call.agent(audible=True)
    call.hush(480)
    call.agent(audible=True)
    assert kinds(call.speak(96)) == [BeginUtterance, Interrupt]


def test_V124_speech_that_was_not_allowed_to_cut_is_dropped() -> None:
    call = Call(strategy=IMMEDIATE, allow_during_first_ms=5000)
    call.agent(audible=True)
    assert kinds(call.speak(480) + call.hush(320)) == [BeginUtterance, FalseStart]


def test_a_cough_does_not_cut_the_agent() -> None:
    call = barge_in(IMMEDIATE)
    actions = call.speak(64) + call.hush(320)
    assert kinds(actions) == [BeginUtterance, FalseStart]


# By meaning.


def test_V244_SEMANTIC_cuts_at_words_that_are_more_than_a_backchannel() -> None:
    call = barge_in(SEMANTIC)
    onset = call.now
    assert kinds(call.speak(320)) == [BeginUtterance]
    assert call.words("wait") == [Interrupt(onset, SEMANTIC)]
    assert call.words("wait a moment") == []
    assert kinds(call.hush(320)) == [EndOfTurn]


def test_V118_a_backchannel_leaves_the_agent_alone_and_is_told() -> None:
    call = barge_in(SEMANTIC)
    start = call.now - 200
    assert kinds(call.speak(320)) == [BeginUtterance]
    assert call.words("Uh-huh.") == []
    assert call.hush(320) == [FalseStart(start, backchannel="Uh-huh.")]


def test_V245_a_backchannel_is_not_cut_on_duration_but_on_later_words() -> None:
    call = barge_in(SEMANTIC)
    onset = call.now
    call.speak(320)
    call.words("yeah")
    assert call.speak(3200) == []
    assert call.words("yeah but no") == [Interrupt(onset, SEMANTIC)]


def test_V244_SEMANTIC_without_words_waits_and_then_goes_by_duration() -> None:
    call = barge_in(SEMANTIC, transcript_wait_ms=1000)
    onset = call.now
    assert kinds(call.speak(992)) == [BeginUtterance]
    assert call.speak(32) == [Interrupt(onset, SEMANTIC)]


def test_V244_SEMANTIC_without_partial_results_waits_for_min_speech_only() -> None:
    call = barge_in(SEMANTIC, transcript_wait_ms=0)
    assert kinds(call.speak(CONFIRMED_MS)) == [BeginUtterance, Interrupt]


def test_V119_SEMANTIC_judges_speech_that_ended_without_words_by_its_length() -> None:
    call = barge_in(SEMANTIC)
    assert kinds(call.speak(320) + call.hush(320)) == [BeginUtterance, Interrupt, EndOfTurn]
    call = barge_in(SEMANTIC)
    assert kinds(call.speak(256) + call.hush(320)) == [BeginUtterance, FalseStart]


def test_words_known_before_the_agent_spoke_count() -> None:
    call = Call(strategy=SEMANTIC)
    call.speak(320)
    assert call.words("and another thing") == []
    call.agent(audible=True)
    assert call.speak(32) == [Interrupt(BASE, SEMANTIC)]


@pytest.mark.parametrize("strategy", [IMMEDIATE, CONFIRMED, DISABLED])
def test_words_decide_nothing_under_the_other_strategies(strategy: InterruptionStrategy) -> None:
    call = Call(strategy=strategy)
    call.speak(96)
    call.agent(audible=True)
    assert call.words("stop") == []


def test_words_without_an_utterance_and_blank_words_are_ignored() -> None:
    call = barge_in(SEMANTIC)
    assert call.words("stop") == []
    call.speak(32)
    assert call.words("stop") == []
    call.speak(320)
    assert call.words("  ") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uh huh", True),
        ("Uh-huh!", True),
        ("Yeah, yeah, okay.", True),
        ("mhm", True),
        ("I see. Got it.", True),
        ("I", False),
        ("yeah but", False),
        ("no", False),
        ("stop", False),
        ("that's right", False),
        ("...", False),
        ("", False),
    ],
)
def test_what_a_backchannel_is(text: str, expected: bool) -> None:
    assert is_backchannel(text) is expected


def test_backchannels_can_be_given_for_another_language() -> None:
    call = barge_in(SEMANTIC, backchannels=frozenset({"genau"}))
    call.speak(320)
    assert call.words("Genau!") == []
    assert kinds(call.words("yeah")) == [Interrupt]


# The end silence adapts.


def test_the_end_silence_starts_where_it_is_told() -> None:
    assert Call().machine.end_silence_ms == 300
    assert Call(end_silence_ms=500).machine.end_silence_ms == 500


def test_a_pause_that_nearly_ended_the_turn_makes_it_longer() -> None:
    call = Call()
    call.speak(320)
    call.hush(288)
    call.speak(32)
    assert call.machine.end_silence_ms == 344, "half the way from 300 to 288 + 100"


def test_a_pause_with_time_to_spare_changes_nothing() -> None:
    call = Call()
    call.speak(320)
    call.hush(192)
    call.speak(32)
    assert call.machine.end_silence_ms == 300


def test_a_turn_cut_too_early_makes_it_longer_at_once() -> None:
    call = Call()
    call.turn(then_ms=480)
    assert call.machine.end_silence_ms == 300
    call.speak(96)
    assert call.machine.end_silence_ms == 480 + MARGIN_MS


def test_a_cough_after_a_turn_teaches_nothing() -> None:
    call = Call()
    for _ in range(10):
        call.turn(then_ms=480)
        call.speak(64)
        call.hush(1600)
    assert call.machine.end_silence_ms == 300


def test_speech_over_the_agent_soon_after_a_turn_teaches_nothing() -> None:
    call = Call()
    call.turn(then_ms=320)
    call.agent(audible=True)
    call.hush(96)
    call.speak(640)
    assert call.machine.end_silence_ms == 300


def test_speech_later_than_any_end_silence_is_a_new_turn() -> None:
    call = Call()
    call.turn(then_ms=736)
    call.speak(640)
    assert call.machine.end_silence_ms == 300


def test_clean_ends_bring_it_back_and_then_below_where_it_started() -> None:
    call = Call()
    call.turn(then_ms=480)
    seen = []
    for _ in range(40):
        call.turn()
        seen.append(call.machine.end_silence_ms)
    assert seen == sorted(seen, reverse=True)
    assert 300 in seen
    assert seen[-1] == 200
    assert call.turn().silence_ms == 224


def test_the_end_silence_stays_within_its_bounds() -> None:
    silence = EndSilence(TurnConfig())
    silence.resumed(5000)
    assert silence.ms == 700
    silence.paused(690)
    assert silence.ms == 700
    silence.resumed(0)
    assert silence.ms == 700, "a short gap is no reason to be quicker"
    for _ in range(100):
        silence.ended_cleanly()
    assert silence.ms == 200


def test_a_pause_ends_a_row_of_clean_ends() -> None:
    silence = EndSilence(TurnConfig())
    silence.ended_cleanly()
    silence.ended_cleanly()
    silence.resumed(0)
    silence.ended_cleanly()
    silence.ended_cleanly()
    assert silence.ms == 300
    silence.ended_cleanly()
    assert silence.ms == 290


def test_not_adaptive_never_changes() -> None:
    call = Call(adaptive=False)
    for _ in range(10):
        call.turn(then_ms=320)
    for _ in range(10):
        call.turn()
    assert call.machine.end_silence_ms == 300


# Configuration.


@pytest.mark.parametrize(
    ("settings_", "named"),
    [
        ({"strategy": "sometimes"}, "immediate, confirmed, semantic, disabled"),
        ({"threshold": 0.0}, "threshold is 0.0"),
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"end_threshold": 0.6}, "end_threshold is 0.6"),
        ({"end_threshold": 0.0}, "end_threshold is 0.0"),
        ({"min_speech_ms": -1}, "min_speech_ms is -1"),
        ({"transcript_wait_ms": -1}, "transcript_wait_ms is -1"),
        ({"allow_during_first_ms": -1}, "allow_during_first_ms is -1"),
        ({"min_turn_ms": -1}, "min_turn_ms is -1"),
        ({"pre_roll_ms": -1}, "pre_roll_ms is -1"),
        ({"pre_roll_ms": 2001}, "pre_roll_ms is 2001"),
        ({"min_end_silence_ms": 63}, "min_end_silence_ms is 63"),
        ({"end_silence_ms": 100}, "end_silence_ms is 100"),
        ({"end_silence_ms": 800}, "end_silence_ms is 800"),
        ({"max_turn_ms": 700}, "max_turn_ms is 700"),
    ],
)
def test_a_senseless_setting_is_named(settings_: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        TurnConfig(**settings_)


def test_a_strategy_may_be_given_by_its_name() -> None:
    config = TurnConfig(strategy="semantic")  # type: ignore[arg-type]
    assert config.strategy is SEMANTIC
    assert TurnConfig().strategy is CONFIRMED
    assert TurnConfig().min_speech_ms == 300


# Any course of events.

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("hear"), st.sampled_from([0.0, 0.4, 0.9, 0.9]), st.integers(1, 30)),
        st.tuples(st.just("agent"), st.booleans(), st.just(0)),
        st.tuples(st.just("words"), st.sampled_from(["", "yeah", "stop", "ok then"]), st.just(0)),
        st.tuples(st.just("hole"), st.just(0), st.integers(1, 1500)),
        st.tuples(st.just("tick"), st.just(0), st.integers(0, 1500)),
        st.tuples(st.just("cancel"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


class Referee:
    """Checks what a consumer may rely on."""

    def __init__(self) -> None:
        self.open: BeginUtterance | None = None
        self.audible = False
        self.interrupts = 0
        self.last_end = 0

    def agent(self, audible: bool) -> None:
        if audible and not self.audible:
            self.interrupts = 0
        self.audible = audible

    def see(self, action: Action, now: int) -> None:
        match action:
            case BeginUtterance():
                assert self.open is None
                assert self.last_end <= action.start_ms <= now
                self.open = action
            case Interrupt():
                assert self.open is not None
                assert self.audible
                assert self.open.start_ms <= action.onset_ms < now
                self.interrupts += 1
                assert self.interrupts == 1
            case FalseStart():
                assert self.open is not None
                assert action.start_ms == self.open.start_ms
                self.open = None
            case EndOfTurn():
                assert self.open is not None
                assert action.start_ms == self.open.start_ms < action.speech_end_ms
                assert action.silence_ms >= 0
                assert action.speech_end_ms + action.silence_ms <= now
                self.last_end = action.speech_end_ms
                self.open = None


@given(EVENTS, st.sampled_from(list(InterruptionStrategy)), st.booleans(), st.integers(800, 3000))
@settings(max_examples=300, deadline=None)
def test_actions_are_well_nested_whatever_happens(
    events: list[tuple[str, Any, int]],
    strategy: InterruptionStrategy,
    adaptive: bool,
    max_turn_ms: int,
) -> None:
    call = Call(strategy=strategy, adaptive=adaptive, max_turn_ms=max_turn_ms)
    machine, referee = call.machine, Referee()
    for what, value, amount in events:
        actions: tuple[Action, ...] = ()
        now = call.now
        match what:
            case "hear":
                for _ in range(amount):
                    call.hear(value, WINDOW_MS)
            case "agent":
                call.agent(value)
                referee.agent(value)
            case "words":
                call.words(value)
            case "hole":
                call.now += amount
            case "tick":
                now = call.now + amount
                actions = machine.tick(now)
            case _:
                actions = machine.cancel(now)
        for at, action in [*call.log, *((now, action) for action in actions)]:
            referee.see(action, at)
        call.log.clear()
        assert (machine.phase in (Phase.SPEAKING, Phase.PAUSED)) == (referee.open is not None)
        assert 200 <= machine.end_silence_ms <= 700
    call.hush(1600)
    for at, action in call.log:
        referee.see(action, at)
    assert referee.open is None


@pytest.mark.parametrize("strategy", [IMMEDIATE, CONFIRMED])
def test_what_was_said_into_another_answer_is_not_lost(strategy: InterruptionStrategy) -> None:
    """Somebody else ended the answer that was talked over, and the next answer begins within the
    silence at the end: it was talk to a silent agent all the same."""
    call = Call(strategy=strategy, allow_during_first_ms=5000)
    call.agent(True)
    call.hear(VOICE, 200)
    call.agent(False)
    call.hear(VOICE, 800)
    call.hear(HUSH, 100)
    call.agent(True)
    assert kinds(call.hear(HUSH, 600)) == [EndOfTurn]
