"""Somebody else's detector, and speech over the agent that only its last words can tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.voice.turns.drive import BASE, Segments, kinds

from salon.voice.turns import (
    Action,
    AwaitWords,
    BeginUtterance,
    EndOfTurn,
    FalseStart,
    GoesOn,
    Interrupt,
    InterruptionStrategy,
    SegmentPhase,
)
from salon.voice.turns.segments import _TRANSITIONS, SegmentSignal
from salon.voice.turns.strategies import AWAIT_WORDS_MS

SEMANTIC = InterruptionStrategy.SEMANTIC
AWAITING, IDLE, SPEAKING = SegmentPhase.AWAITING, SegmentPhase.IDLE, SegmentPhase.SPEAKING


def asked(ms: int = 200, **config: object) -> Segments:
    """Speech over the agent, which has ended."""
    given = {"strategy": SEMANTIC, "finals": True, **config}
    call = Segments(**given)  # type: ignore[arg-type]
    call.agent(True)
    call.wait(1000)
    assert kinds(call.speak(ms)) == [BeginUtterance, AwaitWords]
    return call


PROVOKE: dict[
    SegmentSignal, tuple[Callable[[Segments], list[Action]], SegmentPhase, list[type[Action]]]
] = {
    SegmentSignal.STARTED: (lambda call: call.start(), SPEAKING, [GoesOn]),
    SegmentSignal.ENDED: (lambda call: call.end(100), AWAITING, []),
    SegmentSignal.CLAIMED: (lambda call: call.claim(), AWAITING, []),
    SegmentSignal.TOLD: (lambda call: call.told("stop"), IDLE, [Interrupt, EndOfTurn]),
    SegmentSignal.EXPIRED: (lambda call: call.wait(AWAIT_WORDS_MS), IDLE, [FalseStart]),
    SegmentSignal.CANCEL: (lambda call: call.cancel(), IDLE, [FalseStart]),
}


@pytest.mark.parametrize("signal", list(PROVOKE))
def test_every_transition_of_waiting_for_words(signal: SegmentSignal) -> None:
    call = asked()
    assert call.machine.phase is AWAITING
    provoke, after, actions = PROVOKE[signal]
    assert kinds(provoke(call)) == actions
    assert call.machine.phase is after


def test_those_are_all() -> None:
    assert {signal for phase, signal in _TRANSITIONS if phase is AWAITING} == set(PROVOKE)


def test_V244_a_short_word_cuts_and_ended_where_the_detector_said() -> None:
    call = asked()
    call.wait(500)
    cut, end = call.told("stop")
    assert cut == Interrupt(BASE + 1000, SEMANTIC)
    assert isinstance(end, EndOfTurn)
    assert (end.speech_end_ms, end.silence_ms) == (BASE + 1200, 500)


def test_V118_a_backchannel_is_dropped_with_its_words() -> None:
    (dropped,) = asked().told("uh huh")
    assert isinstance(dropped, FalseStart)
    assert dropped.backchannel == "uh huh"


@pytest.mark.parametrize("words", ["uh huh", "stop", ""])
def test_V244_long_speech_awaits_the_words_of_a_stream(words: str) -> None:
    said = kinds(asked(400, streams=True).told(words))
    assert said == ([FalseStart] if words == "uh huh" else [Interrupt, EndOfTurn])


def test_V244_and_cuts_when_they_do_not_come_in_time() -> None:
    call = asked(400, streams=True, transcript_wait_ms=600)
    assert call.machine.due_ms(call.now) == call.now + 600
    assert call.wait(580) == []
    assert kinds(call.wait(20)) == [Interrupt, EndOfTurn]
    assert call.told("uh huh") == []


def test_V244_without_a_stream_long_speech_cuts_at_once() -> None:
    call = Segments(strategy=SEMANTIC, finals=True)
    call.agent(True)
    call.wait(1000)
    assert kinds(call.speak(400)) == [BeginUtterance, Interrupt, EndOfTurn]


def test_the_wait_for_words_is_no_speech() -> None:
    call = asked(200, transcript_wait_ms=1000)
    call.wait(2000)
    call.start()
    assert call.machine.due_ms(call.now) == call.now + 800
    assert call.wait(780) == []
    assert kinds(call.wait(20)) == [Interrupt]


def test_words_after_the_agent_fell_silent_are_a_turn() -> None:
    for words, actions in (("stop", [EndOfTurn]), ("uh huh", [FalseStart])):
        call = asked()
        call.agent(False)
        assert kinds(call.told(words)) == actions


def test_interim_words_may_cut_while_the_last_ones_are_awaited() -> None:
    call = asked()
    assert kinds(call.words("stop")) == [Interrupt]
    call.agent(False)
    assert kinds(call.told("okay")) == [EndOfTurn]


def test_it_asks_only_about_speech_over_the_agent_with_a_recogniser() -> None:
    for finals in (True, False):
        call = Segments(strategy=SEMANTIC, finals=finals)
        assert kinds(call.speak(200)) == [BeginUtterance, EndOfTurn]
        call.agent(True)
        call.wait(1000)
        call.start()
        assert call.machine.may_ask is finals
        call.wait(100)
        assert kinds(call.end()) == [AwaitWords if finals else FalseStart]


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 1500)),
        st.tuples(st.just("agent"), st.booleans()),
        st.tuples(st.just("words"), st.sampled_from(["okay", "tell me more"])),
        st.tuples(st.just("told"), st.sampled_from(["", "okay", "tell me more"])),
        st.tuples(st.sampled_from(["start", "end", "claim", "cancel"]), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(EVENTS, st.booleans())
def test_the_brackets_hold_whatever_happens(
    events: list[tuple[str, int | bool | str | None]], streams: bool
) -> None:
    call = Segments(strategy=SEMANTIC, finals=True, streams=streams, max_turn_ms=4000)
    for what, value in events:
        act = getattr(call, what)
        act() if value is None else act(value)
        assert (call.machine.phase is not IDLE) == (call.referee.open is not None)
    call.cancel()
    assert call.referee.open is None
