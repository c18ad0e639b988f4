"""The contract of `AGCProvider`."""

# ruff: noqa: N802, T201 - tests are named for the rule they hold and say what they measured

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from salon.media.frame import AudioFrame, Samples
from salon.testing.contracts.voice_sound_stage import SoundStageContract, pieces, talk, through


class AGCContract(SoundStageContract):
    """See `SoundStageContract`; the stages are made with the default settings.

    Set `works` to False for one that changes nothing.
    """

    works: ClassVar[bool] = True

    def test_V67_the_gain_is_noted(self, make: Callable[[int], Any]) -> None:
        if not self.works:
            return
        gains = self._gains(make(16_000), talk(peak=0.05))
        assert all(isinstance(gain, float) for gain in gains)
        assert max(gains) > 10.0

    def test_V67_speech_of_any_level_comes_to_the_target(self, make: Callable[[int], Any]) -> None:
        if not self.works:
            return
        for peak in (0.03, 0.1, 0.5, 0.99):
            sound = talk(peak=peak)
            out = through(make(16_000), sound)
            half = out[len(out) // 2 :].astype(np.float64)
            reached = 20.0 * float(np.log10(np.abs(half).max() / 32_768))
            print(f"speech at {20 * np.log10(peak):.0f} dBFS comes to {reached:.1f} dBFS")
            assert -7.0 <= reached < 0.0

    def test_the_gain_is_limited(self, make: Callable[[int], Any]) -> None:
        assert max(self._gains(make(16_000), talk(peak=0.003)), default=0.0) <= 30.0

    def test_noise_alone_is_not_amplified(self, make: Callable[[int], Any]) -> None:
        random = np.random.default_rng(1)
        for level in (30, 300, 2_000):
            noise = (random.standard_normal(160_000) * level).astype(np.int16)
            noise[80_000:] *= 4
            assert max(self._gains(make(16_000), noise), default=0.0) <= 1.0

    def test_the_gain_is_held_in_pauses(self, make: Callable[[int], Any]) -> None:
        noise = (np.random.default_rng(2).standard_normal(80_000) * 10).astype(np.int16)
        gains = self._gains(make(16_000), np.concatenate([talk(peak=0.1), noise]))
        pause = gains[-230:]
        assert not pause or max(pause) - min(pause) < 1.0

    def test_a_shout_does_not_clip(self, make: Callable[[int], Any]) -> None:
        if not self.works:
            return
        out = through(make(16_000), np.concatenate([talk(peak=0.03), talk(peak=0.9)]))
        assert np.count_nonzero(np.abs(out.astype(np.int32)) >= 32_767) == 0

    @staticmethod
    def _gains(stage: Any, samples: Samples) -> list[float]:
        out = (stage.process(AudioFrame.of(piece), "a") for piece in pieces(samples, (320,)))
        return [f.metadata["gain_applied_db"] for f in out if "gain_applied_db" in f.metadata]
