"""What every `TurnDetector` promises."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from salon.voice.pipeline.turn.base import TurnContext, TurnDecision, TurnDetector, TurnEntry

__all__ = ["TurnDetectorContract"]

TEXTS = ("", "hello there", "I would like to", "um", "what time is it?", "5 5 5", "ÄÖ 你好 …")


class TurnDetectorContract:
    """Subclass it, override `make`, and pytest runs the rules below."""

    sessions = 1000
    """How many come and go; fewer for a detector that takes its time."""

    def make(self) -> TurnDetector:
        """A fresh detector."""
        raise NotImplementedError

    @pytest.fixture
    def detector(self) -> Iterator[TurnDetector]:
        detector = self.make()
        yield detector
        detector.close()

    def context(self, text: str, session_id: str = "s") -> TurnContext:
        """A question; override it to add what the detector needs."""
        return TurnContext(
            conversation_history=[TurnEntry("hi", "assistant")],
            silence_duration_ms=300.0,
            transcript=text,
            is_final=True,
            speech_duration_ms=800.0,
            session_id=session_id,
        )

    def ask(self, detector: TurnDetector, session_id: str) -> list[TurnDecision]:
        return [detector.evaluate(self.context(text, session_id)) for text in TEXTS]

    def test_it_has_a_name(self, detector: TurnDetector) -> None:
        assert detector.name

    @pytest.mark.parametrize("text", TEXTS)
    def test_every_text_gets_a_decision_in_range(self, detector: TurnDetector, text: str) -> None:
        decision = detector.evaluate(self.context(text))
        assert isinstance(decision.is_complete, bool)
        assert 0.0 <= decision.confidence <= 1.0
        assert decision.suggested_wait_ms is None or decision.suggested_wait_ms >= 0

    def test_V119_sound_and_history_may_be_missing(self, detector: TurnDetector) -> None:
        detector.evaluate(TurnContext(transcript="hello"))
        detector.evaluate(TurnContext())

    def test_the_context_is_left_as_it_was(self, detector: TurnDetector) -> None:
        context = self.context("I would like to")
        before = copy.deepcopy(context)
        detector.evaluate(context)
        assert context == before

    def test_two_sessions_do_not_disturb_each_other(self, detector: TurnDetector) -> None:
        alone = self.ask(self.make(), "a")
        mixed: list[TurnDecision] = []
        for text in TEXTS:
            mixed.append(detector.evaluate(self.context(text, "a")))
            detector.evaluate(self.context(text[::-1] + " and", "b"))
        assert mixed == alone

    def test_reset_forgets(self, detector: TurnDetector) -> None:
        first = self.ask(detector, "a")
        detector.reset()
        assert self.ask(detector, "a") == first

    def test_release_forgets_a_session_and_may_come_twice(self, detector: TurnDetector) -> None:
        for number in range(self.sessions):
            detector.evaluate(self.context("and", f"s{number}"))
            detector.release(f"s{number}")
            detector.release(f"s{number}")

    def test_closing_twice_is_fine(self, detector: TurnDetector) -> None:
        detector.close()
        detector.close()
