"""The segment machine: every transition, the strategies, then any course of events."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.voice.turns.drive import BASE, Segments, kinds

from salon.voice.pipeline.backchannel import BackchannelDecision
from salon.voice.turns import (
    Action,
    BeginUtterance,
    EndOfTurn,
    FalseStart,
    Interrupt,
    InterruptionStrategy,
    SegmentPhase,
    Speculate,
    Withdraw,
)
from salon.voice.turns.segments import _TRANSITIONS, CLAIM_MS, SegmentSignal

IMMEDIATE = InterruptionStrategy.IMMEDIATE
CONFIRMED = InterruptionStrategy.CONFIRMED
SEMANTIC = InterruptionStrategy.SEMANTIC
DISABLED = InterruptionStrategy.DISABLED


def over_agent(**settings: object) -> Segments:
    call = Segments(**settings)  # type: ignore[arg-type]
    call.agent(True)
    call.wait(1000)
    return call


REACH: dict[SegmentPhase, Callable[[Segments], object]] = {
    SegmentPhase.IDLE: lambda call: None,
    SegmentPhase.ALLEGED: lambda call: call.claim(),
    SegmentPhase.SPEAKING: lambda call: call.start(),
}

PROVOKE: dict[SegmentSignal, Callable[[Segments], list[Action]]] = {
    SegmentSignal.STARTED: lambda call: call.start(),
    SegmentSignal.ENDED: lambda call: call.end(),
    SegmentSignal.CLAIMED: lambda call: call.claim(),
    SegmentSignal.EXPIRED: lambda call: call.wait(CLAIM_MS),
    SegmentSignal.LIMIT: lambda call: call.wait(2000),
    SegmentSignal.CANCEL: lambda call: call.cancel(),
}

IDLE, ALLEGED, SPEAKING = SegmentPhase.IDLE, SegmentPhase.ALLEGED, SegmentPhase.SPEAKING
WALK: list[tuple[SegmentPhase, SegmentSignal, SegmentPhase, list[type[Action]]]] = [
    (IDLE, SegmentSignal.STARTED, SPEAKING, [BeginUtterance]),
    (IDLE, SegmentSignal.ENDED, IDLE, []),
    (IDLE, SegmentSignal.CLAIMED, ALLEGED, [BeginUtterance]),
    (IDLE, SegmentSignal.CANCEL, IDLE, []),
    (ALLEGED, SegmentSignal.STARTED, SPEAKING, []),
    (ALLEGED, SegmentSignal.ENDED, IDLE, [EndOfTurn]),
    (ALLEGED, SegmentSignal.CLAIMED, ALLEGED, []),
    (ALLEGED, SegmentSignal.EXPIRED, IDLE, [FalseStart]),
    (ALLEGED, SegmentSignal.CANCEL, IDLE, [FalseStart]),
    (SPEAKING, SegmentSignal.STARTED, SPEAKING, []),
    (SPEAKING, SegmentSignal.ENDED, IDLE, [EndOfTurn]),
    (SPEAKING, SegmentSignal.CLAIMED, SPEAKING, []),
    (SPEAKING, SegmentSignal.LIMIT, SPEAKING, [EndOfTurn, BeginUtterance]),
    (SPEAKING, SegmentSignal.CANCEL, IDLE, [FalseStart]),
]


@pytest.mark.parametrize(("phase", "signal", "after", "actions"), WALK)
def test_every_transition(
    phase: SegmentPhase, signal: SegmentSignal, after: SegmentPhase, actions: list[type[Action]]
) -> None:
    call = over_agent(strategy=DISABLED, max_turn_ms=2000)
    REACH[phase](call)
    assert call.machine.phase is phase
    assert kinds(PROVOKE[signal](call)) == actions
    assert call.machine.phase is after


def test_the_walk_covers_the_table() -> None:
    waiting = {
        key for key in _TRANSITIONS if SegmentPhase.AWAITING in (key[0], _TRANSITIONS[key][0])
    }
    assert {(phase, signal) for phase, signal, _, _ in WALK} == set(_TRANSITIONS) - waiting


# Turns.


def test_V155_the_utterance_begins_before_the_onset() -> None:
    call = Segments()
    assert call.start(pre_roll_ms=300) == [BeginUtterance(BASE - 300)]
    call.wait(500)
    assert call.end() == [EndOfTurn(BASE - 300, BASE + 500, 0)]


def test_V155_the_pre_roll_is_the_configured_one_unless_told() -> None:
    assert Segments(pre_roll_ms=120).start() == [BeginUtterance(BASE - 120)]


def test_the_utterance_begins_at_the_earliest_where_the_turn_before_ended() -> None:
    call = Segments()
    call.speak(400)
    call.wait(50)
    assert call.start(pre_roll_ms=1000) == [BeginUtterance(BASE + 400)]


def test_the_end_of_speech_lies_before_the_event_that_reports_it() -> None:
    call = Segments()
    call.start(0)
    call.wait(900)
    assert call.end(duration_ms=400) == [EndOfTurn(BASE, BASE + 400, 500)]


def test_a_duration_beyond_the_event_ends_there() -> None:
    call = Segments()
    call.start(0)
    call.wait(300)
    assert call.end(duration_ms=800) == [EndOfTurn(BASE, BASE + 300, 0)]


def test_the_duration_counts_from_the_detectors_onset_not_the_transports() -> None:
    call = over_agent(strategy=IMMEDIATE)
    call.claim()
    call.wait(200)
    call.start()
    heard = call.now
    call.wait(900)
    (end,) = call.end(duration_ms=400)
    assert isinstance(end, EndOfTurn)
    assert end.speech_end_ms == heard + 400


def test_speech_without_an_end_is_cut_into_turns() -> None:
    call = Segments(max_turn_ms=1000)
    call.start(0)
    assert call.wait(2500) == [
        EndOfTurn(BASE, BASE + 1000, 0),
        BeginUtterance(BASE + 1000),
        EndOfTurn(BASE + 1000, BASE + 2000, 0),
        BeginUtterance(BASE + 2000),
    ]


# Strategies.


def test_V116_the_second_look_needs_only_a_tick() -> None:
    call = over_agent()
    onset = call.now
    assert kinds(call.start()) == [BeginUtterance]
    assert call.wait(299) == []
    assert call.machine.due_ms(call.now) == onset + 300
    assert call.wait(1) == [Interrupt(onset, CONFIRMED)]


@pytest.mark.parametrize(("ms", "cut"), [(299, False), (300, True), (301, True)])
def test_X13_sustained_speech_does_not_depend_on_ticks(ms: int, cut: bool) -> None:
    call = over_agent()
    call.start()
    call.now += ms
    assert (Interrupt in kinds(call.end())) is cut


def test_V117_what_is_too_short_is_dropped_and_the_agent_goes_on() -> None:
    call = over_agent()
    assert kinds(call.speak(200)) == [BeginUtterance, FalseStart]
    assert call.machine.side.audible


def test_V124_the_agent_is_spared_in_its_first_words() -> None:
    call = Segments(strategy=IMMEDIATE, allow_during_first_ms=500)
    call.agent(True)
    began = call.now
    call.start()
    assert call.wait(400) == []
    assert call.machine.due_ms(call.now) == began + 500
    assert call.wait(99) == []
    assert kinds(call.wait(1)) == [Interrupt]


def test_V125_over_a_protected_agent_the_turn_is_queued() -> None:
    call = over_agent(strategy=DISABLED)
    (*_, end) = call.speak(700)
    assert isinstance(end, EndOfTurn)
    assert end.queued
    call.agent(False)
    (*_, end) = call.speak(700)
    assert isinstance(end, EndOfTurn)
    assert not end.queued


def test_V125_a_turn_that_outlasts_the_agent_is_not_queued() -> None:
    call = over_agent(strategy=DISABLED)
    call.start()
    call.wait(200)
    call.agent(False)
    call.wait(200)
    assert not any(isinstance(action, EndOfTurn) and action.queued for action in call.end())


def test_the_agent_that_starts_over_the_caller_is_cut_but_the_turn_counts() -> None:
    call = Segments()
    call.start()
    call.wait(400)
    call.agent(True)
    assert kinds(call.wait(20)) == [Interrupt]
    assert kinds(call.end()) == [EndOfTurn]


# The transport's own detection.


def test_V122_the_transport_comes_first_and_the_segment_follows() -> None:
    call = over_agent(strategy=IMMEDIATE)
    assert kinds(call.claim()) == [BeginUtterance, Interrupt]
    call.wait(150)
    assert call.start() == []
    call.wait(500)
    assert kinds(call.end()) == [EndOfTurn]


def test_a_transport_is_not_believed_when_nobody_hears_the_agent() -> None:
    assert Segments(strategy=IMMEDIATE).claim() == []


def test_V115_confirmed_waits_for_the_detector_to_agree() -> None:
    call = over_agent()
    assert kinds(call.claim()) == [BeginUtterance]
    assert call.wait(600) == []
    assert kinds(call.start()) == [Interrupt]


def test_V115_without_a_detector_the_transport_is_enough() -> None:
    call = over_agent(detector=False)
    call.claim()
    assert kinds(call.wait(300)) == [Interrupt]
    call.words("wait a moment")
    assert kinds(call.wait(2000)) == [EndOfTurn]


def test_without_a_detector_a_claim_without_words_is_a_false_start() -> None:
    call = over_agent(detector=False)
    call.claim()
    assert kinds(call.wait(2000)) == [Interrupt, FalseStart]


def test_V115_disabled_holds_against_the_transport_too() -> None:
    call = over_agent(strategy=DISABLED)
    assert kinds(call.claim()) == [BeginUtterance]
    assert kinds(call.wait(CLAIM_MS)) == [FalseStart]


# Semantics.


class Classifier:
    """Says what it is told to and keeps what it was asked."""

    def __init__(self, *decisions: BackchannelDecision) -> None:
        self.decisions = list(decisions)
        self.asked: list[tuple[str, int, bool]] = []

    def __call__(self, words: str, speech_ms: int, final: bool) -> BackchannelDecision:
        self.asked.append((words, speech_ms, final))
        return self.decisions.pop(0) if self.decisions else BackchannelDecision(False)


HUM = BackchannelDecision(True, 0.7)
OPEN = BackchannelDecision(False, 0.5, pending=True)


def test_V244_the_classifier_is_not_asked_about_nothing() -> None:
    ask = Classifier()
    call = over_agent(classify=ask, strategy=SEMANTIC)
    call.start()
    call.wait(980)
    assert ask.asked == []
    assert kinds(call.wait(20)) == [Interrupt]
    assert ask.asked == [("", 1000, False)]


def test_V244_without_partials_it_waits_only_for_min_speech() -> None:
    ask = Classifier()
    call = over_agent(classify=ask, strategy=SEMANTIC, transcript_wait_ms=0)
    call.start()
    call.wait(280)
    assert ask.asked == []
    assert kinds(call.wait(20)) == [Interrupt]


def test_V244_the_first_words_decide_before_the_wait_is_over() -> None:
    call = over_agent(strategy=SEMANTIC)
    call.start()
    call.wait(100)
    assert kinds(call.words("hold on please")) == [Interrupt]


def test_V118_V244_a_backchannel_is_told_once_and_dropped() -> None:
    call = over_agent(strategy=SEMANTIC)
    call.start()
    call.wait(200)
    assert call.words("okay") == []
    assert call.wait(3000) == []
    assert call.words("okay yeah") == []
    (dropped,) = call.end()
    assert isinstance(dropped, FalseStart)
    assert (dropped.backchannel, dropped.is_backchannel) == ("okay yeah", True)


def test_V245_later_words_cut_what_began_as_a_backchannel() -> None:
    call = over_agent(strategy=SEMANTIC)
    call.start()
    call.words("okay")
    call.wait(2000)
    assert kinds(call.words("okay but not tomorrow")) == [Interrupt]


def test_V119_a_hum_is_known_by_its_length_alone() -> None:
    ask = Classifier(HUM)
    call = over_agent(classify=ask, strategy=SEMANTIC)
    call.start()
    assert call.wait(3000) == []
    assert call.end() == [FalseStart(BASE + 800, "", 0.7, wordless=True)]
    assert len(ask.asked) == 1


def test_open_words_hold_the_cut_until_the_wait_is_over() -> None:
    ask = Classifier(OPEN)
    call = over_agent(classify=ask, strategy=SEMANTIC)
    call.start()
    call.wait(100)
    assert call.words("that's") == []
    assert call.wait(880) == []
    assert kinds(call.wait(40)) == [Interrupt]


def test_open_words_are_asked_about_again_when_the_speech_is_over() -> None:
    ask = Classifier(OPEN, HUM)
    call = over_agent(classify=ask, strategy=SEMANTIC)
    call.start()
    call.wait(100)
    call.words("all")
    call.wait(100)
    (dropped,) = call.end()
    assert isinstance(dropped, FalseStart)
    assert dropped.backchannel == "all"
    assert [final for _, _, final in ask.asked] == [False, True]


def test_open_words_that_were_meant_cut_when_the_speech_is_over() -> None:
    call = over_agent(classify=Classifier(OPEN), strategy=SEMANTIC)
    call.start()
    call.wait(100)
    call.words("no")
    call.wait(100)
    assert kinds(call.end()) == [Interrupt, EndOfTurn]


def test_words_while_nobody_is_talked_over_are_not_classified() -> None:
    ask = Classifier()
    call = Segments(classify=ask, strategy=SEMANTIC)
    call.start()
    call.words("okay")
    call.wait(100)
    assert kinds(call.end()) == [EndOfTurn]
    assert ask.asked == []


def test_words_without_speech_are_nothing() -> None:
    call = over_agent(strategy=SEMANTIC)
    assert call.words("stop that now") == []
    assert call.machine.due_ms(call.now) is None


# Early answers.


def test_a_pause_asks_for_an_answer_once_and_more_speech_takes_it_back() -> None:
    call = Segments(speculate_after_ms=100)
    call.start(0)
    call.wait(500)
    assert call.keep(call.machine.paused(call.now, 90)) == []
    assert call.keep(call.machine.paused(call.now, 120)) == [Speculate(BASE, 120)]
    assert call.keep(call.machine.paused(call.now, 150)) == []
    assert call.keep(call.machine.resumed(call.now)) == [Withdraw()]
    assert call.keep(call.machine.resumed(call.now)) == []
    call.keep(call.machine.paused(call.now, 120))
    assert kinds(call.end()) == [EndOfTurn]


def test_no_early_answer_over_the_agent_nor_when_off() -> None:
    call = over_agent(speculate_after_ms=100)
    call.start()
    assert call.machine.paused(call.now, 150) == ()
    off = Segments()
    off.start()
    assert off.machine.paused(off.now, 150) == ()


def test_an_early_answer_is_withdrawn_when_the_utterance_is_given_up() -> None:
    call = Segments(speculate_after_ms=100)
    call.start()
    call.keep(call.machine.paused(call.now, 120))
    assert kinds(call.cancel()) == [Withdraw, FalseStart]


# Any course of events.

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 1500)),
        st.tuples(st.just("agent"), st.booleans()),
        st.tuples(st.just("words"), st.sampled_from(["okay", "no", "tell me more", " "])),
        st.tuples(
            st.sampled_from(["start", "end", "claim", "cancel", "pause", "resume"]), st.none()
        ),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(EVENTS, st.sampled_from(list(InterruptionStrategy)), st.booleans(), st.integers(0, 800))
def test_the_brackets_hold_whatever_happens(
    events: list[tuple[str, int | bool | str | None]],
    strategy: InterruptionStrategy,
    detector: bool,
    spared_ms: int,
) -> None:
    call = Segments(
        strategy=strategy,
        detector=detector,
        allow_during_first_ms=spared_ms,
        speculate_after_ms=100,
        max_turn_ms=5000,
    )
    for what, value in events:
        match what, value:
            case "wait", int():
                call.wait(value, step=200)
            case "agent", bool():
                call.agent(value)
            case "words", str():
                call.words(value)
            case "pause", _:
                call.keep(call.machine.paused(call.now, 150))
            case "resume", _:
                call.keep(call.machine.resumed(call.now))
            case _:
                getattr(call, what)()
        assert (call.machine.phase is IDLE) == (call.referee.open is None)
        due = call.machine.due_ms(call.now)
        assert (due is None) == (call.machine.phase is IDLE)
        assert due is None or due > call.now
    call.cancel()
    assert call.referee.open is None


@settings(max_examples=200, deadline=None)
@given(EVENTS, st.sampled_from(list(InterruptionStrategy)))
def test_ticking_at_due_ms_is_as_good_as_ticking_always(
    events: list[tuple[str, int | bool | str | None]], strategy: InterruptionStrategy
) -> None:
    often, rarely = Segments(strategy=strategy), Segments(strategy=strategy)
    for what, value in events:
        if what == "wait":
            assert isinstance(value, int)
            often.wait(value, step=1)
            until = rarely.now + value
            while (due := rarely.machine.due_ms(rarely.now)) is not None and due <= until:
                rarely.now = due
                rarely.keep(rarely.machine.tick(due))
            rarely.now = until
            continue
        for call in (often, rarely):
            if what in ("agent", "words"):
                getattr(call, what)(value)
            elif what not in ("pause", "resume"):
                getattr(call, what)()
        assert often.log == rarely.log
