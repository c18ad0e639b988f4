"""The contract of `DiarizationProvider`."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from salon.media.frame import AudioFrame, Samples
from salon.media.resample import resample
from salon.testing.contracts.voice_detector import DetectorContract
from salon.testing.speech import speak


class DiarizationContract(DetectorContract):
    """See `DetectorContract`; every frame is marked as speech, as a pipeline with a VAD does."""

    def sound(self, rate: int) -> Samples:
        return resample(speak("This is one person who speaks.", "en", "espeak"), 16_000, rate)

    def frame(self, samples: Samples, rate: int) -> AudioFrame:
        return AudioFrame.of(samples, rate, metadata={"vad_is_speech": True})

    def gist(self, result: Any) -> object:
        return result.speaker_id if result.is_new_speaker else None

    def test_V76_a_speaker_is_new_once(self, make: Callable[[], Any]) -> None:
        results = self.told(make())
        new = [result.speaker_id for result in results if result.is_new_speaker]
        assert len(new) == len(set(new))
        for result in results:
            assert result.speaker_id is None or isinstance(result.speaker_id, str)
            assert result.confidence is None or 0 <= result.confidence <= 1

    def test_V233_labels_belong_to_their_stream(self, make: Callable[[], Any]) -> None:
        stage = make()
        first = self.gists(self.told(stage, stream="a"))
        assert self.gists(self.told(stage, stream="b")) == first  # new there, too

    def test_V233_nobody_is_named_in_silence(self, make: Callable[[], Any]) -> None:
        if self.hears:
            stage = make()
            silence = AudioFrame.of(np.zeros(320, dtype=np.int16))
            found = [stage.process(silence, "a") for _ in range(50)]
            assert all(result is None or result.speaker_id is None for result in found)

    def test_V45_speakers_may_be_cleared(self, make: Callable[[], Any]) -> None:
        stage = make()
        stage.clear_speakers()
        assert self.told(stage)
