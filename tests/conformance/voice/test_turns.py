"""Turns and interruption: the rules, on the decisions alone (no sound, no call)."""

from __future__ import annotations

import pytest

from salon.voice.interruption import (
    InterruptionConfig,
    InterruptionHandler,
    InterruptionStrategy,
    classifier_of,
    interruption_of,
    turn_config_of,
)
from salon.voice.pipeline.backchannel import (
    BackchannelDecision,
    MockBackchannelDetector,
    PhraseBackchannelDetector,
)
from salon.voice.pipeline.turn import MockTurnDetector, TurnDecision
from salon.voice.turns import (
    Action,
    BeginUtterance,
    EndOfTurn,
    FalseStart,
    Interrupt,
    Judge,
    Route,
    RouteReason,
    SegmentMachine,
    TurnConfig,
    TurnGate,
    TurnIncomplete,
    TurnMachine,
)

IMMEDIATE = InterruptionStrategy.IMMEDIATE
CONFIRMED = InterruptionStrategy.CONFIRMED
SEMANTIC = InterruptionStrategy.SEMANTIC
DISABLED = InterruptionStrategy.DISABLED

ONSET = 10_000

CUT, DROPPED, QUEUED = "cut and routed", "dropped", "queued"


def run(
    strategy: InterruptionStrategy, trigger: str, speech_ms: int, words: str = ""
) -> list[Action]:
    """A segment of speech over an audible agent, noticed by the detector or by the transport as
    well; words come after 90 ms."""
    config = turn_config_of(InterruptionConfig(strategy=strategy), partials=bool(words))
    machine = SegmentMachine(config, classifier_of(PhraseBackchannelDetector()))
    out: list[Action] = [*machine.agent_started(ONSET - 2000)]
    if trigger == "transport":
        out += machine.transport_barge_in(ONSET)
    out += machine.speech_started(ONSET, 200)
    for t_ms in range(ONSET + 10, ONSET + speech_ms, 10):
        if words and t_ms == ONSET + 90:
            out += machine.transcript(words, t_ms)
        out += machine.tick(t_ms)
    return [*out, *machine.speech_ended(ONSET + speech_ms)]


def outcome(actions: list[Action]) -> str:
    assert isinstance(actions[0], BeginUtterance)
    assert actions[0].start_ms == ONSET - 200
    match actions[1:]:
        case [Interrupt(), EndOfTurn(queued=False)]:
            return CUT
        case [FalseStart()]:
            return DROPPED
        case [EndOfTurn(queued=True)]:
            return QUEUED
    raise AssertionError(actions)


MATRIX = [
    (IMMEDIATE, {100: CUT, 299: CUT, 301: CUT, 1000: CUT}),
    (CONFIRMED, {100: DROPPED, 299: DROPPED, 301: CUT, 1000: CUT}),
    (SEMANTIC, {100: DROPPED, 299: DROPPED, 301: CUT, 1000: CUT}),
    (DISABLED, {100: QUEUED, 299: QUEUED, 301: QUEUED, 1000: QUEUED}),
]


@pytest.mark.parametrize("trigger", ["vad", "transport"])
@pytest.mark.parametrize(
    ("strategy", "speech_ms", "expected"),
    [(strategy, ms, result) for strategy, row in MATRIX for ms, result in row.items()],
)
def test_V115_V116_V117_V125_the_strategy_matrix(
    strategy: InterruptionStrategy, trigger: str, speech_ms: int, expected: str
) -> None:
    assert outcome(run(strategy, trigger, speech_ms)) == expected


@pytest.mark.parametrize("trigger", ["vad", "transport"])
@pytest.mark.parametrize("speech_ms", [100, 299, 301, 1000])
@pytest.mark.parametrize(("words", "expected"), [("okay", DROPPED), ("tell me more", CUT)])
def test_V118_V244_the_matrix_with_words(
    trigger: str, speech_ms: int, words: str, expected: str
) -> None:
    actions = run(SEMANTIC, trigger, speech_ms, words)
    assert outcome(actions) == expected
    backchannels = [a for a in actions if isinstance(a, FalseStart) and a.is_backchannel]
    assert len(backchannels) == (expected == DROPPED)


def test_V121_V155_late_confirmation_keeps_the_whole_speech() -> None:
    actions = run(CONFIRMED, "vad", 900)
    begin, interrupt, end = actions
    assert isinstance(begin, BeginUtterance)
    assert isinstance(interrupt, Interrupt)
    assert isinstance(end, EndOfTurn)
    assert (begin.start_ms, interrupt.onset_ms, end.start_ms) == (ONSET - 200, ONSET, ONSET - 200)
    assert end.speech_end_ms == ONSET + 900


def test_V124_X12_no_barge_in_before_so_much_was_heard() -> None:
    config = turn_config_of(InterruptionConfig(strategy=IMMEDIATE, allow_during_first_ms=500))
    machine = SegmentMachine(config)
    machine.agent_started(ONSET)
    assert [type(a) for a in machine.speech_started(ONSET + 100, 0)] == [BeginUtterance]
    assert machine.tick(ONSET + 499) == ()
    assert [type(a) for a in machine.tick(ONSET + 500)] == [Interrupt]


def test_V119_V244_the_detector_is_never_asked_at_onset_with_nothing() -> None:
    mock = MockBackchannelDetector([BackchannelDecision(is_backchannel=True)])
    handler = InterruptionHandler(InterruptionConfig(strategy=SEMANTIC), backchannel_detector=mock)
    first = handler.evaluate(playback_position_ms=2000, transcript_expected=True)
    assert (first.awaiting_transcript, first.confirm_after_ms) == (True, 1000)
    assert mock.evaluations == []
    assert handler.evaluate(playback_position_ms=3000, speech_duration_ms=1000).is_backchannel


def test_V245_in_a_long_stretch_the_latest_words_count() -> None:
    machine = SegmentMachine(TurnConfig(strategy=SEMANTIC))
    machine.agent_started(ONSET - 2000)
    machine.speech_started(ONSET)
    assert machine.transcript("mm-hmm", ONSET + 300) == ()
    assert machine.tick(ONSET + 9000) == ()
    (cut,) = machine.transcript("mm-hmm but I meant Rome", ONSET + 9100)
    assert isinstance(cut, Interrupt)


def test_X1_V247_the_legacy_settings() -> None:
    default = interruption_of(None)
    assert (default.strategy, default.min_speech_ms) == (CONFIRMED, 300)
    assert default.allow_during_first_ms == 0
    assert interruption_of(None, enable_barge_in=False).strategy is DISABLED


def test_X13_speech_is_sustained_until_the_detector_says_otherwise() -> None:
    machine = SegmentMachine(TurnConfig())
    machine.agent_started(ONSET - 2000)
    machine.speech_started(ONSET)
    assert [type(a) for a in machine.tick(ONSET + 300)] == [Interrupt]


def test_X14_no_speech_is_dropped_for_coming_soon_after_the_agent() -> None:
    for machine in (SegmentMachine(TurnConfig()), TurnMachine(TurnConfig())):
        machine.agent_started(ONSET)
        machine.agent_finished(ONSET + 2000)
        out: list[Action] = []
        if isinstance(machine, SegmentMachine):
            out += machine.speech_started(ONSET + 2200)
            out += machine.speech_ended(ONSET + 2600)
        else:
            for index in range(40):
                out += machine.window(0.9 if index < 13 else 0.1, ONSET + 2200 + 32 * index)
        assert [type(a) for a in out] == [BeginUtterance, EndOfTurn]


# Turn detection.


def ask(gate: TurnGate, detector: MockTurnDetector, text: str, t_ms: int) -> list[object]:
    out: list[object] = []
    for action in gate.transcript(text, t_ms):
        out.append(action)
        if isinstance(action, Judge):
            out += gate.decision(action.id, detector.evaluate(action.context), t_ms)
    return out


def test_V110_V111_incomplete_then_complete_is_one_event() -> None:
    gate = TurnGate()
    detector = MockTurnDetector([TurnDecision(is_complete=False)])
    first = ask(gate, detector, "I would like", 1000)
    assert [type(a) for a in first] == [Judge, TurnIncomplete]
    *_, route = ask(gate, detector, "a coffee", 1800)
    assert isinstance(route, Route)
    assert route.text == "I would like a coffee"
    assert detector.evaluations[1].transcript == "I would like a coffee"


def test_V241_incomplete_then_silence_is_routed_with_confidence_0() -> None:
    gate = TurnGate()
    ask(gate, MockTurnDetector([TurnDecision(is_complete=False)]), "I would like", 1000)
    assert gate.tick(2499) == ()
    (route,) = gate.tick(2500)
    assert isinstance(route, Route)
    assert (route.text, route.confidence) == ("I would like", 0.0)


def test_V113_a_detector_beyond_200_ms_is_flagged() -> None:
    gate = TurnGate()
    (judge,) = gate.transcript("hello", 1000)
    assert isinstance(judge, Judge)
    (route,) = gate.decision(judge.id, TurnDecision(is_complete=True), 1201)
    assert isinstance(route, Route)
    assert route.slow
    assert route.reason is RouteReason.COMPLETE
