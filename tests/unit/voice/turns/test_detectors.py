"""Turn detectors that judge the words."""

from __future__ import annotations

import pytest

from salon.base import ConfigurationError
from salon.testing.contracts.voice_turn import TurnDetectorContract
from salon.voice.pipeline.turn import (
    MockTurnDetector,
    SilenceAdaptiveTurnDetector,
    TurnContext,
    TurnDecision,
    TurnDetector,
)
from salon.voice.pipeline.turn.silence import MAX_SESSIONS
from salon.voice.turns import GateConfig, Judge, Route, TurnGate


class TestMock(TurnDetectorContract):
    def make(self) -> TurnDetector:
        return MockTurnDetector()


class TestSilenceAdaptive(TurnDetectorContract):
    def make(self) -> TurnDetector:
        return SilenceAdaptiveTurnDetector()


def judge(text: str, language: str | None = None) -> TurnDecision:
    return SilenceAdaptiveTurnDetector(language=language).evaluate(TurnContext(transcript=text))


@pytest.mark.parametrize(
    "text",
    [
        "What time is it?",
        "what is the capital of France",
        "yes",
        "Yes, please.",
        "I think so.",
        "no thank you",
        "I would like a coffee.",
        "book the second one",
        "it is",
        "I am 25",
        "room five",
        "at half past seven",
        "",
    ],
)
def test_complete(text: str) -> None:
    decision = judge(text)
    assert decision.is_complete, decision
    assert decision.suggested_wait_ms is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I would like to", "unfinished"),
        ("my number is", "unfinished"),
        ("it's for the", "unfinished"),
        ("I'd like a coffee and", "unfinished"),
        ("I’d like", "unfinished"),
        ("can you", "unfinished"),
        ("um", "filler"),
        ("I want a, uh", "filler"),
        ("first the weather,", "punctuation"),
        ("well I was thinking...", "punctuation"),
        ("zero three four", "number"),
        ("my number is oh two oh", "number"),
        ("it's 55 12 3", "number"),
        ("it's 555-12", "number"),
    ],
)
def test_incomplete(text: str, reason: str) -> None:
    decision = judge(text)
    assert (decision.is_complete, decision.reason) == (False, reason)
    assert decision.suggested_wait_ms
    assert 600 <= decision.suggested_wait_ms <= 3000


def test_a_whole_number_is_complete() -> None:
    assert judge("oh one seven six five five four three two one").is_complete


@pytest.mark.parametrize(
    ("language", "open_text", "closed_text"),
    [
        ("de-AT", "ich möchte einen", "Ich möchte einen Kaffee."),
        ("fr", "je voudrais un", "Je voudrais un café."),
        ("es-MX", "quiero una", "Quiero una mesa."),
        ("en-GB", "I want the", "I want the red one."),
    ],
)
def test_other_languages(language: str, open_text: str, closed_text: str) -> None:
    assert not judge(open_text, language).is_complete
    assert judge(closed_text, language).is_complete


def test_an_unknown_language() -> None:
    with pytest.raises(ConfigurationError, match="language"):
        SilenceAdaptiveTurnDetector(language="tlh")
    with pytest.raises(ConfigurationError, match="wait_ms"):
        SilenceAdaptiveTurnDetector(wait_ms=100)


def ask(detector: TurnDetector, text: str, gap_ms: object = None) -> TurnDecision:
    metadata = {} if gap_ms is None else {"resumed_after_ms": gap_ms}
    return detector.evaluate(TurnContext(transcript=text, session_id="s", metadata=metadata))


def test_the_wait_follows_the_speakers_pauses() -> None:
    detector = SilenceAdaptiveTurnDetector()
    assert ask(detector, "I would").suggested_wait_ms == 1200
    assert ask(detector, "I would like to", 1800).suggested_wait_ms == 2700
    assert ask(detector, "I would like to go to", 800).suggested_wait_ms == 2100
    detector.release("s")
    assert ask(detector, "and").suggested_wait_ms == 1200


def test_only_a_pause_inside_a_turn_teaches() -> None:
    detector = SilenceAdaptiveTurnDetector()
    ask(detector, "hello.")
    assert ask(detector, "and", 5000).suggested_wait_ms == 1200
    assert ask(detector, "something else and", 5000).suggested_wait_ms == 1200
    assert ask(detector, "something else and the", "long").suggested_wait_ms == 1200


def test_the_speakers_remembered_are_bounded() -> None:
    detector = SilenceAdaptiveTurnDetector()
    for number in range(MAX_SESSIONS + 5):
        detector.evaluate(TurnContext(transcript="and", session_id=str(number)))
    assert len(detector._speakers) == MAX_SESSIONS


def test_with_the_gate_a_hesitant_speaker_gets_one_answer() -> None:
    detector = SilenceAdaptiveTurnDetector()
    gate = TurnGate(GateConfig(session_id="s"))
    routes: list[str] = []
    now = 0
    for text in ("I would like to", "go to", "Paris."):
        gate.speech_started(now)
        now += 600
        gate.speech_ended(now)
        now += 150
        for action in gate.transcript(text, now, 600):
            assert isinstance(action, Judge)
            for told in gate.decision(action.id, detector.evaluate(action.context), now + 1):
                if isinstance(told, Route):
                    routes.append(told.text)
        now += 700
        assert not gate.tick(now)
    assert routes == ["I would like to go to Paris."]


def test_the_mock_plays_its_script() -> None:
    no = TurnDecision(is_complete=False)
    mock = MockTurnDetector([no])
    context = TurnContext(transcript="a")
    assert [mock.evaluate(context), mock.evaluate(context)] == [no, TurnDecision(True)]
    mock.reset()
    assert mock.evaluate(context) == no
    mock.release("s")
    mock.close()
    assert (mock.reset_count, mock.released, mock.closed) == (1, ["s"], True)
    assert mock.evaluations == [context] * 3
    assert mock.name == "MockTurnDetector"
