"""The turn gate: what is gathered, what is routed and when."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.base import ConfigurationError
from salon.voice.pipeline.turn import TurnContext, TurnDecision
from salon.voice.turns import GateConfig, Judge, Route, RouteReason, TurnGate, TurnIncomplete
from salon.voice.turns.gate import MAX_AUDIO_S, MAX_TEXT_CHARS, GateState

DONE = TurnDecision(is_complete=True, confidence=0.9, reason="it ends")
OPEN = TurnDecision(is_complete=False, confidence=0.8)


def judged(gate: TurnGate, text: str, t_ms: int, speech_ms: float = 500.0) -> Judge:
    (judge,) = gate.transcript(text, t_ms, speech_ms)
    assert isinstance(judge, Judge)
    return judge


def held(wait: float | None = None) -> TurnGate:
    """A gate that holds "I would like" since 1000."""
    gate = TurnGate()
    gate.speech_started(0)
    gate.speech_ended(1000)
    judge = judged(gate, "I would like", 1100)
    decision = TurnDecision(is_complete=False, confidence=0.8, suggested_wait_ms=wait)
    (told,) = gate.decision(judge.id, decision, 1150)
    assert isinstance(told, TurnIncomplete)
    return gate


def test_V112_without_a_detector_each_utterance_is_routed_at_once() -> None:
    gate = TurnGate(GateConfig(detector=False))
    gate.speech_started(0)
    assert gate.transcript(" hello ", 100) == (Route("hello", 1.0, RouteReason.UTTERANCE),)
    assert gate.transcript("  ", 200) == ()
    assert gate.due_ms is None


def test_V110_a_complete_turn_is_routed() -> None:
    gate = TurnGate()
    judge = judged(gate, "hello there", 1000)
    assert judge.context.transcript == "hello there"
    assert judge.context.is_final
    assert gate.decision(judge.id, DONE, 1050) == (
        Route("hello there", 0.9, RouteReason.COMPLETE, "it ends", 50),
    )
    assert gate.state is GateState.EMPTY


def test_V111_an_incomplete_turn_is_added_to_and_judged_again() -> None:
    gate = held()
    gate.speech_started(1600)
    gate.speech_ended(2200)
    judge = judged(gate, "a coffee", 2300, 600)
    assert judge.context.transcript == "I would like a coffee"
    assert judge.context.speech_duration_ms == 1100
    assert judge.context.silence_duration_ms == 100
    assert judge.context.metadata == {"resumed_after_ms": 600}
    assert gate.decision(judge.id, DONE, 2310) == (
        Route("I would like a coffee", 0.9, RouteReason.COMPLETE, "it ends", 10, utterances=2),
    )


def test_V241_silence_routes_an_incomplete_turn_with_confidence_0() -> None:
    gate = held()
    assert gate.due_ms == 2500
    assert gate.tick(2499) == ()
    (route,) = gate.tick(2500)
    assert isinstance(route, Route)
    assert (route.text, route.confidence, route.reason) == ("I would like", 0.0, RouteReason.WAITED)
    assert gate.tick(9999) == ()


def test_V241_the_suggested_wait_counts() -> None:
    gate = held(wait=400)
    assert gate.tick(1399) == ()
    assert [type(action) for action in gate.tick(1400)] == [Route]


def test_V241_a_wait_that_is_over_when_it_is_suggested() -> None:
    gate = TurnGate()
    gate.speech_started(0)
    gate.speech_ended(100)
    judge = judged(gate, "and", 1500)
    decision = TurnDecision(is_complete=False, suggested_wait_ms=200)
    assert [type(action) for action in gate.decision(judge.id, decision, 1600)] == [
        TurnIncomplete,
        Route,
    ]


def test_V241_speech_restarts_the_count() -> None:
    gate = held()
    gate.speech_started(2000)
    assert gate.tick(4000) == ()
    gate.speech_ended(4000)
    judge = judged(gate, "a", 4100)
    gate.decision(judge.id, OPEN, 4110)
    assert gate.tick(5499) == ()
    assert [type(action) for action in gate.tick(5500)] == [Route]


def test_V241_speech_without_words_does_not_hold_it() -> None:
    gate = held()
    gate.speech_started(2400)
    assert gate.tick(2600) == ()
    gate.speech_ended(2700)
    assert gate.tick(2750) == ()
    assert [type(action) for action in gate.no_words(2800)] == [Route]


def test_V241_nor_does_speech_whose_words_never_come() -> None:
    gate = held()
    gate.speech_started(2400)
    gate.speech_ended(2700)
    assert gate.due_ms == 4700
    assert [type(action) for action in gate.tick(4700)] == [Route]


def test_V241_nor_speech_that_never_ends() -> None:
    gate = held()
    gate.speech_started(2000)
    assert gate.due_ms == 32_000
    assert gate.tick(31_999) == ()
    assert [type(action) for action in gate.tick(32_000)] == [Route]


def test_V241_a_complete_turn_is_not_routed_while_new_speech_is_going_on() -> None:
    gate = TurnGate()
    judge = judged(gate, "hello", 1000)
    gate.speech_started(1050)
    assert gate.decision(judge.id, DONE, 1100) == ()
    gate.speech_ended(1800)
    assert gate.tick(1900) == ()
    again = judged(gate, "there", 2000)
    assert again.context.transcript == "hello there"
    assert [type(action) for action in gate.decision(again.id, DONE, 2010)] == [Route]


def test_a_complete_turn_is_routed_when_the_new_speech_was_none() -> None:
    gate = TurnGate()
    judge = judged(gate, "hello", 1000)
    gate.speech_started(1050)
    gate.decision(judge.id, DONE, 1100)
    gate.speech_ended(1200)
    assert [type(action) for action in gate.no_words(1300)] == [Route]


def test_words_of_two_stretches_of_speech_are_both_awaited() -> None:
    gate = TurnGate()
    for start, end in ((0, 500), (600, 900)):
        gate.speech_started(start)
        gate.speech_ended(end)
    first = judged(gate, "one", 1000)
    assert gate.decision(first.id, DONE, 1010) == ()
    second = judged(gate, "two", 1100)
    assert gate.decision(second.id, DONE, 1110) != ()


def test_words_that_came_while_the_speech_lasted_are_not_awaited_again() -> None:
    gate = TurnGate()
    gate.speech_started(0)
    judge = judged(gate, "hello", 400)
    assert gate.decision(judge.id, DONE, 410) == ()
    assert [type(action) for action in gate.speech_ended(500)] == [Route]


def test_without_speech_events_the_silence_counts_from_the_words() -> None:
    gate = TurnGate()
    judge = judged(gate, "first", 1000)
    gate.decision(judge.id, DONE, 1010)
    judge = judged(gate, "and", 60_000)
    assert judge.context.silence_duration_ms == 0
    assert [type(a) for a in gate.decision(judge.id, OPEN, 60_010)] == [TurnIncomplete]
    assert gate.due_ms == 61_500


def test_V113_a_slow_detector_is_flagged() -> None:
    gate = TurnGate()
    for t_ms, took, slow in ((0, 200, False), (10_000, 201, True)):
        judge = judged(gate, "hello", t_ms)
        (route,) = gate.decision(judge.id, DONE, t_ms + took)
        assert isinstance(route, Route)
        assert (route.slow, route.judged_ms) == (slow, took)
    judge = judged(gate, "hello", 20_000)
    (told,) = gate.decision(judge.id, OPEN, 20_300)
    assert isinstance(told, TurnIncomplete)
    assert told.slow


def test_V113_a_detector_that_does_not_answer_is_not_waited_for() -> None:
    gate = TurnGate()
    judge = judged(gate, "hello", 1000)
    assert gate.due_ms == 3000
    (route,) = gate.tick(3000)
    assert isinstance(route, Route)
    assert (route.reason, route.slow, route.confidence) == (RouteReason.TIMEOUT, True, 0.0)
    assert gate.decision(judge.id, OPEN, 3100) == ()


def test_a_detector_that_failed_is_taken_for_complete() -> None:
    gate = TurnGate()
    judge = judged(gate, "hello", 1000)
    assert gate.decision(judge.id, None, 1010) == (
        Route("hello", 0.0, RouteReason.FAILED, judged_ms=10),
    )


def test_a_judgement_of_less_text_is_void() -> None:
    gate = TurnGate()
    first = judged(gate, "I would", 1000)
    second = judged(gate, "like tea", 1100)
    assert second.context.transcript == "I would like tea"
    assert gate.decision(first.id, DONE, 1110) == ()
    assert [type(action) for action in gate.decision(second.id, DONE, 1120)] == [Route]
    assert gate.decision(second.id, DONE, 1130) == ()


def test_a_turn_without_end_is_routed_unjudged() -> None:
    gate = TurnGate()
    (route,) = gate.transcript("a" * MAX_TEXT_CHARS, 1000)
    assert isinstance(route, Route)
    assert route.reason is RouteReason.TOO_LONG
    assert gate.text == ""


def test_flush_and_cancel() -> None:
    gate = held()
    gate.speech_started(1200)
    (route,) = gate.flush(1300)
    assert isinstance(route, Route)
    assert route.reason is RouteReason.FLUSHED
    assert gate.flush(1400) == ()
    gate = held()
    assert gate.cancel(1200) == ()
    assert (gate.text, gate.tick(99_999)) == ("", ())


def test_the_detector_is_told_the_conversation_and_the_sound() -> None:
    gate = TurnGate(GateConfig(session_id="s", history=2))
    judge = judged(gate, "hello", 1000)
    gate.decision(judge.id, DONE, 1010)
    gate.answered("Hi. What can I do?")
    context = told(gate, "tea", b"\x01\x00" * 100, 8000)
    assert [(e.role, e.text) for e in context.conversation_history] == [
        ("user", "hello"),
        ("assistant", "Hi. What can I do?"),
    ]
    assert (context.session_id, context.audio_sample_rate) == ("s", 8000)
    assert context.audio_bytes == b"\x01\x00" * 100
    context = told(gate, "please", b"\0\0" * 8000 * 20, 8000)
    assert len(context.audio_bytes or b"") == 2 * 8000 * MAX_AUDIO_S
    assert told(gate, "now", b"\0\0", 16000).audio_bytes == b"\0\0"


def told(gate: TurnGate, text: str, audio: bytes, rate: int) -> TurnContext:
    (judge,) = gate.transcript(text, 3000, audio=audio, sample_rate=rate)
    assert isinstance(judge, Judge)
    return judge.context


def test_a_config_that_makes_no_sense() -> None:
    with pytest.raises(ConfigurationError, match="slow_ms"):
        GateConfig(slow_ms=-1)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["text", "none", "done", "open", "fail", "stale", "start", "end", "tick"]),
        st.integers(0, 3000),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(EVENTS)
def test_every_word_is_routed_once_in_order_and_none_is_held_for_ever(
    events: list[tuple[str, int]],
) -> None:
    gate, now = TurnGate(), 0
    said: list[str] = []
    routed: list[str] = []
    asked: list[int] = []
    speaking: int | None = None

    def see(actions: tuple[object, ...]) -> None:
        for action in actions:
            match action:
                case Judge():
                    assert not asked or action.id > asked[-1]
                    asked.append(action.id)
                case Route():
                    free = speaking is None or now - speaking >= 30_000
                    assert free or action.reason is RouteReason.TOO_LONG
                    routed.extend(action.text.split())

    for what, ms in events:
        now += ms
        match what:
            case "text":
                said.append(f"w{len(said)}")
                see(gate.transcript(said[-1], now))
            case "none":
                see(gate.no_words(now))
            case "start":
                see(gate.speech_started(now))
                speaking = now if speaking is None else speaking
            case "end":
                speaking = None
                see(gate.speech_ended(now))
            case "tick":
                see(gate.tick(now))
            case _ if asked:
                decision = {"done": DONE, "open": OPEN}.get(what)
                see(gate.decision(asked[0 if what == "stale" else -1], decision, now))
        assert routed + gate.text.split() == said
        assert (gate.state is GateState.EMPTY) == (not gate.text)
    for _ in range(8):
        if gate.due_ms is None:
            break
        now = max(now, gate.due_ms)
        see(gate.tick(now))
    assert routed == said
