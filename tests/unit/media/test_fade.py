"""Fades: straight lines, over frames of any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from salon.media import Fade, Samples, fade_in, fade_out

from .signals import cut, cut_sizes, int16_arrays

FLAT = np.full(320, 10000, np.int16)


def test_a_fade_out_falls_in_a_straight_line_to_zero() -> None:
    faded = fade_out(FLAT)
    assert np.array_equal(faded, np.rint(10000 * (1 - np.arange(1, 321) / 320)).astype(np.int16))
    assert FLAT[0] == 10000


def test_a_fade_may_cover_only_the_end_or_the_start() -> None:
    tail = fade_out(FLAT, 100)
    assert (tail[:220] == 10000).all()
    assert tail[-1] == 0
    head = fade_in(FLAT, 100)
    assert (head[99:] == 10000).all()
    assert head[0] == 100


def test_a_length_beyond_the_sound_covers_all_of_it() -> None:
    assert np.array_equal(fade_out(FLAT, 1000), fade_out(FLAT))
    assert np.array_equal(fade_in(FLAT, 1000), fade_in(FLAT))
    assert len(fade_out(FLAT[:0])) == 0


@given(int16_arrays, cut_sizes)
def test_frames_of_any_size_give_the_same_fade(samples: Samples, sizes: list[int]) -> None:
    expected = Fade(512, start=0.25, end=0.75).apply(samples)
    fade = Fade(512, start=0.25, end=0.75)
    heard = np.concatenate([fade.apply(piece) for piece in cut(samples, sizes)])
    assert np.array_equal(heard, expected)
    assert fade.done == (len(samples) >= 512)


def test_the_last_sample_of_a_fade_has_exactly_the_gain_of_its_end() -> None:
    loud = np.full(700, -32755, np.int16)
    whole = Fade(500, start=0.2, end=0.9).apply(loud)
    fade = Fade(500, start=0.2, end=0.9)
    heard = np.concatenate([fade.apply(loud[:500]), fade.apply(loud[500:])])
    assert np.array_equal(heard, whole)


def test_the_gain_stays_at_the_end() -> None:
    fade = Fade(480)
    assert (fade.gain, fade.done) == (1.0, False)
    fade.apply(FLAT)
    assert fade.gain == pytest.approx(1 / 3)
    assert not fade.done
    assert fade.apply(FLAT)[160:].tolist() == [0] * 160
    assert (fade.gain, fade.done) == (0.0, True)
    assert not fade.apply(FLAT).any()


def test_a_fade_of_no_length_is_at_its_end_at_once() -> None:
    assert np.array_equal(Fade(0, end=0.5).apply(FLAT), FLAT // 2)
    with pytest.raises(ValueError, match="-1"):
        Fade(-1)
