"""A looped background and its level (G135)."""

from __future__ import annotations

import numpy as np
import pytest

from salon.media.background import Background
from salon.media.frame import FRAME_SAMPLES, SILENCE, Samples

HUM: Samples = np.full(FRAME_SAMPLES * 3, 10_000, dtype=np.int16)


def test_G135_alone_it_is_heard_at_its_normal_level() -> None:
    background = Background(HUM)
    frame = background.mix(None)
    assert frame is not None
    assert frame.dtype == np.int16
    assert np.all(abs(frame.astype(int) - 3000) <= 1)


def test_G135_the_level_moves_by_its_speed_per_frame() -> None:
    background = Background(HUM)
    levels = []
    for _ in range(25):
        background.mix(SILENCE)
        levels.append(background.level)
    assert levels[:3] == pytest.approx([0.29, 0.28, 0.27])
    assert levels[19:] == pytest.approx([0.1] * 6)
    for _ in range(5):
        background.mix(None)
    assert background.level == pytest.approx(0.15)


def test_G135_within_a_frame_the_level_is_a_ramp() -> None:
    frame = Background(HUM, duck=0.0, normal=1.0, speed=1.0).mix(SILENCE)
    assert frame is not None
    assert frame[0] == 10_000
    assert frame[-1] == 0
    assert np.all(np.diff(frame.astype(int)) <= 0)


def test_G135_it_lies_under_what_is_said_and_too_loud_is_bent() -> None:
    background = Background(HUM, duck=0.5, normal=0.5)
    said = np.full(FRAME_SAMPLES, 1000, dtype=np.int16)
    frame = background.mix(said)
    assert frame is not None
    assert np.all(frame == 6000)
    loud = np.full(FRAME_SAMPLES, 32_000, dtype=np.int16)
    frame = background.mix(loud)
    assert frame is not None
    assert np.all((frame > 32_000) & (frame <= 32_767))


@pytest.mark.parametrize("size", [1, 100, 320, 333, 960])
def test_G135_it_begins_again_at_its_end(size: int) -> None:
    sound = np.arange(size, dtype=np.int16) * 10
    background = Background(sound, duck=1.0, normal=1.0)
    heard = [background.mix(None) for _ in range(5)]
    expected = np.resize(sound, 5 * FRAME_SAMPLES)
    assert np.array_equal(np.concatenate([part for part in heard if part is not None]), expected)


def test_at_level_0_nothing_is_added() -> None:
    background = Background(HUM, duck=0.0, normal=0.0)
    assert background.mix(None) is None
    assert background.mix(SILENCE) is SILENCE


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"duck": -0.1}, "duckLevel is -0.1"),
        ({"normal": 5.0}, "normalLevel is 5"),
        ({"speed": -1.0}, "transitionSpeed is -1"),
        ({"speed": float("nan")}, "transitionSpeed is nan"),
    ],
)
def test_levels_that_make_no_sense_are_refused(settings: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Background(HUM, **settings)


def test_an_empty_sound_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Background(HUM[:0])
