"""What the machine over probability windows shares with the others: classifiers, early answers,
queued turns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.voice.turns.drive import BASE, Referee, kinds

from salon.base import ConfigurationError
from salon.voice.pipeline.backchannel import BackchannelDecision
from salon.voice.turns import (
    WINDOW_MS,
    Action,
    Agent,
    BeginUtterance,
    Classify,
    EndOfTurn,
    FalseStart,
    Interrupt,
    InterruptionStrategy,
    Phase,
    Speculate,
    TurnConfig,
    TurnMachine,
    Withdraw,
)

SEMANTIC = InterruptionStrategy.SEMANTIC
DISABLED = InterruptionStrategy.DISABLED


class Windows:
    """A machine, its clock and the referee."""

    def __init__(self, classify: Classify | None = None, **config: Any) -> None:
        settings = TurnConfig(**config)
        self.machine = TurnMachine(settings, classify)
        self.referee = Referee(settings.strategy)
        self.now = BASE

    def keep(self, actions: tuple[Action, ...]) -> list[Action]:
        self.referee.see(actions)
        return list(actions)

    def hear(self, probability: float, windows: int) -> list[Action]:
        out: list[Action] = []
        for _ in range(windows):
            self.now += WINDOW_MS
            out += self.keep(self.machine.window(probability, self.now))
        return out

    def speak(self, windows: int) -> list[Action]:
        return self.hear(0.9, windows)

    def hush(self, windows: int) -> list[Action]:
        return self.hear(0.1, windows)

    def words(self, text: str) -> list[Action]:
        return self.keep(self.machine.transcript(text, self.now))

    def agent(self, audible: bool) -> None:
        act = self.machine.agent_started if audible else self.machine.agent_finished
        assert act(self.now) == ()
        if audible != (self.machine.agent is Agent.CUT):
            self.referee.agent(audible)


# Early answers.


def test_a_pause_asks_for_an_answer_once() -> None:
    call = Windows(speculate_after_ms=100)
    call.speak(10)
    assert call.hush(3) == []
    assert call.hush(1) == [Speculate(BASE, 128)]
    assert call.hush(5) == []
    assert kinds(call.hush(3)) == [EndOfTurn]


def test_going_on_takes_it_back_and_the_next_pause_asks_again() -> None:
    call = Windows(speculate_after_ms=100)
    call.speak(10)
    call.hush(5)
    assert call.speak(1) == [Withdraw()]
    assert call.speak(5) == []
    assert kinds(call.hush(5)) == [Speculate]


def test_no_early_answer_when_the_turn_is_over_already() -> None:
    call = Windows(speculate_after_ms=100)
    call.speak(10)
    assert kinds(call.keep(call.machine.tick(call.now + 400))) == [EndOfTurn]
    assert call.hush(10) == []


def test_no_early_answer_to_a_noise_nor_over_the_agent() -> None:
    call = Windows(speculate_after_ms=100, min_turn_ms=400)
    call.speak(5)
    assert kinds(call.hush(12)) == [FalseStart]
    call = Windows(speculate_after_ms=100, strategy=DISABLED)
    call.agent(True)
    call.speak(10)
    assert kinds(call.hush(12)) == [EndOfTurn]


def test_the_speech_that_cut_the_agent_gets_its_early_answer() -> None:
    call = Windows(speculate_after_ms=100)
    call.agent(True)
    assert kinds(call.speak(20)) == [BeginUtterance, Interrupt]
    assert kinds(call.hush(5)) == [Speculate]


def test_what_is_given_up_is_withdrawn_first() -> None:
    call = Windows(speculate_after_ms=100)
    call.speak(10)
    call.hush(5)
    assert kinds(call.keep(call.machine.cancel(call.now))) == [Withdraw, FalseStart]


def test_off_there_are_no_early_answers() -> None:
    call = Windows()
    call.speak(10)
    assert kinds(call.hush(12)) == [EndOfTurn]
    with pytest.raises(ConfigurationError, match="speculate_after_ms"):
        TurnConfig(speculate_after_ms=31)


# Classifiers.

HUM = BackchannelDecision(True, 0.6)
OPEN = BackchannelDecision(False, 0.5, pending=True)


class Classifier:
    def __init__(self, *decisions: BackchannelDecision) -> None:
        self.decisions = list(decisions)
        self.asked: list[tuple[str, bool]] = []

    def __call__(self, words: str, speech_ms: int, final: bool) -> BackchannelDecision:
        assert words or speech_ms, "asked about nothing (V244)"
        self.asked.append((words, final))
        return self.decisions.pop(0) if self.decisions else BackchannelDecision(False)


def over_agent(ask: Classifier, **config: Any) -> Windows:
    call = Windows(ask, strategy=SEMANTIC, **config)
    call.agent(True)
    call.hush(20)
    return call


def cut_after(*probabilities: float) -> int | None:
    """With which of these windows the agent is cut at once, if it is."""
    call = Windows(strategy=InterruptionStrategy.IMMEDIATE)
    call.agent(True)
    call.hush(20)
    for number, probability in enumerate(probabilities, 1):
        if Interrupt in kinds(call.hear(probability, 1)):
            return number
    return None


def test_V115_at_once_means_speech_beyond_doubt_or_of_some_length() -> None:
    assert cut_after(0.5, 0.64, 0.59, 0.48, 0.36, 0.29, 0.22) is None, "noise that sets in"
    assert cut_after(0.6, 0.9, 0.6, 0.6) == 3
    assert cut_after(0.6, 0.6, 0.6, 0.8) == 4
    assert cut_after(*[0.6] * 10) == 7
    assert cut_after(0.95, 0.95) is None, "too short to be a turn"


def test_V118_a_classifier_decides_instead_of_the_words() -> None:
    ask = Classifier(HUM)
    call = over_agent(ask)
    call.speak(5)
    assert call.words("tell me more") == []
    (dropped,) = call.hush(12)
    assert isinstance(dropped, FalseStart)
    assert (dropped.backchannel, dropped.confidence) == ("tell me more", 0.6)
    assert ask.asked == [("tell me more", False)]


def test_V244_at_onset_nobody_is_asked_and_the_wait_ends_at_its_bound() -> None:
    ask = Classifier()
    call = over_agent(ask)
    assert kinds(call.speak(31)) == [BeginUtterance]
    assert ask.asked == []
    assert kinds(call.speak(1)) == [Interrupt]
    assert ask.asked == [("", False)]


def test_V245_a_hum_is_not_cut_for_its_length_but_for_words() -> None:
    ask = Classifier(HUM)
    call = over_agent(ask)
    assert kinds(call.speak(200)) == [BeginUtterance]
    assert ask.asked == [("", False)]
    assert kinds(call.words("but wait")) == [Interrupt]


def test_V119_a_wordless_backchannel_is_told() -> None:
    call = over_agent(Classifier(HUM))
    call.speak(12)
    (dropped,) = call.hush(12)
    assert isinstance(dropped, FalseStart)
    assert (dropped.backchannel, dropped.wordless, dropped.is_backchannel) == ("", True, True)


def test_open_words_are_settled_at_the_end() -> None:
    call = over_agent(Classifier(OPEN))
    call.speak(5)
    assert call.words("no") == []
    assert kinds(call.hush(12)) == [Interrupt, EndOfTurn]
    call = over_agent(Classifier(OPEN, HUM))
    call.speak(5)
    call.words("all")
    assert kinds(call.hush(12)) == [FalseStart]


def test_V124_words_that_were_meant_cut_as_soon_as_they_may() -> None:
    call = Windows(strategy=SEMANTIC, allow_during_first_ms=500)
    call.agent(True)
    call.speak(6)
    assert call.words("stop that") == []
    assert kinds(call.hush(12)) == [Interrupt, EndOfTurn]


def test_V125_over_a_protected_agent_the_turn_is_queued() -> None:
    call = Windows(strategy=DISABLED)
    call.agent(True)
    call.speak(10)
    (end,) = call.hush(12)
    assert isinstance(end, EndOfTurn)
    assert end.queued


# Any course of events.

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("speak"), st.integers(1, 40)),
        st.tuples(st.just("hush"), st.integers(1, 15)),
        st.tuples(st.just("agent"), st.booleans()),
        st.tuples(st.just("words"), st.sampled_from(["okay", "all", "tell me more"])),
        st.tuples(st.just("cancel"), st.none()),
        st.tuples(st.just("hole"), st.integers(1, 900)),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(
    EVENTS,
    st.sampled_from(list(InterruptionStrategy)),
    st.lists(st.sampled_from([HUM, OPEN, BackchannelDecision(False)]), max_size=10),
)
def test_the_brackets_hold_whatever_happens(
    events: list[tuple[str, Any]],
    strategy: InterruptionStrategy,
    decisions: list[BackchannelDecision],
) -> None:
    call = Windows(
        Classifier(*decisions), strategy=strategy, speculate_after_ms=64, max_turn_ms=4000
    )
    for what, value in events:
        match what:
            case "cancel":
                call.keep(call.machine.cancel(call.now))
            case "hole":
                call.now += value
            case _:
                getattr(call, what)(value)
        started = call.machine.phase in (Phase.SPEAKING, Phase.PAUSED)
        assert started == (call.referee.open is not None)
    call.keep(call.machine.cancel(call.now))
    assert call.referee.open is None
    assert not call.referee.speculated
