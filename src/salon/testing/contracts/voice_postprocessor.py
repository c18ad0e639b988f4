"""The contract of `AudioPostProcessor`."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from salon.media.frame import AudioFrame
from salon.testing.contracts.voice_sound_stage import SoundStageContract, talk, through


class PostProcessorContract(SoundStageContract):
    """See `SoundStageContract`."""

    def test_V57_two_channels_stay_apart(self, make: Callable[[int], Any]) -> None:
        stage = make(16_000)
        left = talk()[:16_000]
        both = np.zeros(32_000, dtype=np.int16)
        both[::2] = left
        for at in range(0, len(both), 640):
            frame = AudioFrame(both[at : at + 640].tobytes(), channels=2)
            out = stage.process(frame, "a")
            assert out.channels == 2
            assert len(out.data) == len(frame.data)
            assert not out.samples[1::2].any()

    def test_V57_nothing_runs_over(self, make: Callable[[int], Any]) -> None:
        loud = np.clip(talk().astype(np.int32) * 8, -32_768, 32_767).astype(np.int16)[:32_000]
        out = through(make(16_000), loud)
        agree = np.sign(out.astype(np.int32)) * np.sign(loud.astype(np.int32))
        assert agree.min() >= 0
