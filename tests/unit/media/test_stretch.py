"""Time stretching: right lengths, no clicks, unchanged pitch, nothing where it would be heard."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.media import Samples, from_dbfs
from salon.media.stretch import (
    MAX_PERIOD,
    MIN_PERIOD,
    OVERLAP,
    SHORTEST,
    Stretcher,
    cross_fade,
    likeness,
)

from .signals import int16_arrays, peak_frequency, speechlike, tone


def noise(n: int, dbfs: float) -> Samples:
    rng = np.random.default_rng(5)
    return np.rint(rng.standard_normal(n) * from_dbfs(dbfs)).astype(np.int16)


def learnt(dbfs: float) -> Stretcher:
    """A stretcher that has heard background noise of that level."""
    stretcher = Stretcher()
    for _ in range(200):
        stretcher.quiet(noise(320, dbfs))
    return stretcher


@pytest.mark.parametrize("frequency", [80, 140, 250, 390])
@pytest.mark.parametrize("size", [320, 640, 960])
def test_a_tone_loses_and_gains_whole_periods(frequency: int, size: int) -> None:
    sound = tone(frequency, size, 16_000)
    period = 16_000 / frequency
    for changed in (
        Stretcher().shorten(sound, MAX_PERIOD, 0.9),
        Stretcher().lengthen(sound, MAX_PERIOD, 0.9),
    ):
        assert changed is not None
        moved = abs(len(changed) - size)
        assert MIN_PERIOD <= moved <= MAX_PERIOD
        assert abs(moved / period - round(moved / period)) < 0.06
        assert np.abs(np.diff(changed)).max() <= np.abs(np.diff(sound)).max() * 1.1


def test_many_changes_leave_the_pitch_as_it_was() -> None:
    sound = tone(200, 32_000, 16_000)
    for change in ("shorten", "lengthen"):
        stretcher = Stretcher()
        out = []
        for start in range(0, len(sound), 320):
            piece = sound[start : start + 320]
            out.append(getattr(stretcher, change)(piece, MAX_PERIOD, 0.9))
        whole = np.concatenate(out)
        assert abs(len(whole) - len(sound)) > 8000
        assert peak_frequency(whole, 16_000) == pytest.approx(200, abs=1)


def test_the_ends_stay_so_that_neighbours_fit() -> None:
    sound = speechlike(16_000)
    stretcher = Stretcher()
    done = 0
    for start in range(0, 15_000, 320):
        piece = sound[start : start + 320]
        shorter = stretcher.shorten(piece, 160, 0.9)
        longer = stretcher.lengthen(piece, 160, 0.9)
        if shorter is not None:
            done += 1
            np.testing.assert_array_equal(shorter[OVERLAP:], piece[-(len(shorter) - OVERLAP) :])
            assert abs(int(shorter[0]) - int(piece[0])) <= 0.02 * np.abs(piece).max() + 50
        if longer is not None:
            done += 1
            np.testing.assert_array_equal(longer[:MIN_PERIOD], piece[:MIN_PERIOD])
            np.testing.assert_array_equal(longer[-(320 - OVERLAP) :], piece[OVERLAP:])
    assert done > 20


def test_silence_takes_any_length() -> None:
    quiet = noise(320, -60)
    for most in (1, 17, 100, 240):
        shorter = Stretcher().shorten(quiet, most, 1.1)
        longer = Stretcher().lengthen(quiet, most, 1.1)
        assert shorter is not None
        assert len(shorter) == 320 - most
        assert longer is not None
        assert len(longer) == 320 + most


def test_loud_noise_is_left_alone_unless_it_is_the_background() -> None:
    loud = noise(320, -40)
    fresh = Stretcher()
    for _ in range(3):
        fresh.quiet(noise(320, -60))
    assert fresh.shorten(loud, 160, 0.9) is None
    assert fresh.lengthen(loud, 160, 0.9) is None
    assert learnt(-42).shorten(loud, 160, 0.9) is not None
    assert learnt(-20).shorten(noise(320, -20), 160, 0.9) is None  # too loud for silence, ever


def test_speech_in_a_quiet_room_is_not_silence() -> None:
    stretcher = learnt(-60)
    assert not stretcher.quiet(tone(150, 320, 16_000, 1000))
    assert stretcher.quiet(noise(320, -60))
    assert stretcher.quiet(noise(0, -60))


def test_short_pieces_stay_as_they_are() -> None:
    stretcher = Stretcher()
    tiny = np.zeros(SHORTEST - 1, dtype=np.int16)
    for change in (stretcher.shorten, stretcher.lengthen):
        assert change(tiny, 100, 0.0) is None
        assert change(np.zeros(320, dtype=np.int16), 0, 0.0) is None
    assert likeness(tiny, 100) == (0, 0.0)
    assert stretcher.shorten(tone(200, 320, 16_000), MIN_PERIOD - 1, 0.0) is None


@pytest.mark.parametrize("size", [0, 1, 30, OVERLAP, 320])
def test_cross_fade_begins_with_the_one_and_ends_with_the_other(size: int) -> None:
    fading = np.full(size, 1000, dtype=np.int16)
    rising = np.full(320, -1000, dtype=np.int16)
    out = cross_fade(fading, rising)
    assert len(out) == 320
    assert (np.diff(out[: min(size, OVERLAP)]) <= 0).all()
    assert (out[min(size, OVERLAP) :] == -1000).all()
    if size >= 30:
        assert out[0] > 900
    np.testing.assert_array_equal(rising, np.full(320, -1000))


@given(int16_arrays, st.integers(-5, 1000), st.floats(-1, 1))
def test_any_sound_keeps_its_bounds(sound: Samples, most: int, alike: float) -> None:
    before = sound.copy()
    stretcher = Stretcher()
    shorter = stretcher.shorten(sound, most, alike)
    longer = stretcher.lengthen(sound, most, alike)
    if shorter is not None:
        assert shorter.dtype == np.int16
        assert len(sound) - most <= len(shorter) < len(sound)
    if longer is not None:
        assert longer.dtype == np.int16
        assert len(sound) < len(longer) <= 2 * len(sound)
    np.testing.assert_array_equal(before, sound)
