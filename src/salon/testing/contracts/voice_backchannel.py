"""What every `BackchannelDetector` promises."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from salon.voice.pipeline.backchannel.base import (
    BackchannelContext,
    BackchannelDecision,
    BackchannelDetector,
)

__all__ = ["BackchannelDetectorContract"]

TEXTS = (None, "", "okay", "that's", "no", "stop talking please", "ÄÖ 你好 …")


class BackchannelDetectorContract:
    """Subclass it, override `make`, and pytest runs the rules below."""

    def make(self) -> BackchannelDetector:
        """A fresh detector."""
        raise NotImplementedError

    @pytest.fixture
    def detector(self) -> Iterator[BackchannelDetector]:
        detector = self.make()
        yield detector
        detector.close()

    def ask(self, detector: BackchannelDetector) -> list[BackchannelDecision]:
        return [
            detector.classify(
                BackchannelContext(transcript=text, speech_duration_ms=400.0, is_final=final)
            )
            for text in TEXTS
            for final in (False, True)
        ]

    def test_it_has_a_name(self, detector: BackchannelDetector) -> None:
        assert detector.name

    def test_every_decision_is_in_range(self, detector: BackchannelDetector) -> None:
        for decision in self.ask(detector):
            assert 0.0 <= decision.confidence <= 1.0
            assert not (decision.pending and decision.is_backchannel)

    def test_V119_duration_and_sound_are_enough(self, detector: BackchannelDetector) -> None:
        for duration in (0.0, 150.0, 4000.0):
            detector.classify(BackchannelContext(speech_duration_ms=duration))
        detector.classify(BackchannelContext(speech_duration_ms=300.0, audio_bytes=b"\0\0" * 4800))

    def test_the_context_is_left_as_it_was(self, detector: BackchannelDetector) -> None:
        context = BackchannelContext(transcript="okay", metadata={"a": [1]})
        before = copy.deepcopy(context)
        detector.classify(context)
        assert context == before

    def test_reset_forgets(self, detector: BackchannelDetector) -> None:
        first = self.ask(detector)
        detector.reset()
        assert self.ask(detector) == first

    def test_closing_twice_is_fine(self, detector: BackchannelDetector) -> None:
        detector.close()
        detector.close()
