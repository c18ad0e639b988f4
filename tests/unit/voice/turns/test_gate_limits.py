"""How long a detector may hold a turn (V241)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from salon.base import ConfigurationError
from salon.voice.pipeline.turn import TurnDecision
from salon.voice.turns import GateConfig, Judge, Route, RouteReason, TurnGate, TurnIncomplete


@pytest.mark.parametrize(
    ("suggested", "kept"),
    [(None, 700), (-5.0, 0), (0.4, 0), (999.6, 1000), (4000.0, 4000), (1e9, 4000)],
)
def test_V241_a_suggested_wait_lies_within_bounds(suggested: float | None, kept: int) -> None:
    gate = TurnGate(GateConfig(incomplete_wait_ms=700, max_wait_ms=4000))
    gate.speech_started(0)
    gate.speech_ended(1000)
    (judge,) = gate.transcript("I would like", 1000)
    assert isinstance(judge, Judge)
    decision = TurnDecision(is_complete=False, suggested_wait_ms=suggested)
    told, *rest = gate.decision(judge.id, decision, 1000)
    assert isinstance(told, TurnIncomplete)
    assert told.wait_ms == kept
    if kept:
        assert (rest, gate.due_ms, gate.tick(999 + kept)) == ([], 1000 + kept, ())
        rest = list(gate.tick(1000 + kept))
    assert [type(action) for action in rest] == [Route]


def test_V241_unless_said_otherwise_ten_seconds_are_the_most() -> None:
    gate = TurnGate()
    (judge,) = gate.transcript("so", 0)
    assert isinstance(judge, Judge)
    gate.decision(judge.id, TurnDecision(is_complete=False, suggested_wait_ms=60_000), 10)
    assert gate.due_ms == 10_000


@pytest.mark.parametrize(
    "answer",
    [
        TurnDecision(is_complete=False, suggested_wait_ms=math.nan),
        TurnDecision(is_complete=False, suggested_wait_ms="500"),  # type: ignore[arg-type]
        TurnDecision(is_complete=False, confidence=math.nan),
        TurnDecision(is_complete=True, confidence=None),  # type: ignore[arg-type]
        True,
    ],
)
def test_V241_an_answer_that_makes_no_sense_is_a_failure_and_holds_nothing(answer: Any) -> None:
    gate = TurnGate()
    (judge,) = gate.transcript("so", 0)
    assert isinstance(judge, Judge)
    (route,) = gate.decision(judge.id, answer, 10)
    assert isinstance(route, Route)
    assert (route.text, route.confidence, route.reason) == ("so", 0.0, RouteReason.FAILED)


def test_V241_a_wait_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="incomplete_wait_ms"):
        GateConfig(incomplete_wait_ms=math.nan)
