"""The detector for which every sound is speech."""

from __future__ import annotations

import numpy as np
import pytest

from salon.voice.vad.any_sound import AnySound


@pytest.mark.parametrize("step", [1, 160, 320, 512, 700, 4096])
def test_G62_any_sample_but_zero_is_speech(step: int) -> None:
    sound = np.zeros(4096, dtype=np.int16)
    sound[[600, 1023, 2048]] = 1, -1, 3
    windows: list[tuple[float, int]] = []
    detector = AnySound(lambda probability, end: windows.append((probability, end)))
    for start in range(0, len(sound), step):
        detector.push(sound[start : start + step])
    assert [end for _, end in windows] == list(range(512, 4097, 512))
    assert [probability for probability, _ in windows] == [0, 1, 0, 0, 1, 0, 0, 0]
