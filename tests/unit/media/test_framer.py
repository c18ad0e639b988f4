"""Re-cutting streams into frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salon.media import Framer, Samples

from .signals import cut, cut_sizes, int16_arrays


@given(int16_arrays, cut_sizes, st.integers(1, 400))
def test_V12_any_sizes_become_frames_of_one_size(
    samples: Samples, sizes: list[int], frame: int
) -> None:
    framer = Framer(frame)
    frames = [f for piece in cut(samples, sizes) for f in framer.push(piece)]
    assert framer.pending == len(samples) % frame
    last = framer.flush()
    assert (last is None) == (len(samples) % frame == 0)
    out = np.concatenate([samples[:0], *frames, *([] if last is None else [last])])
    assert all(len(f) == frame for f in frames)
    assert np.array_equal(out[: len(samples)], samples)
    assert not out[len(samples) :].any()


def test_G47_the_last_frame_is_padded_with_zeros() -> None:
    framer = Framer()
    assert framer.push(np.full(100, 7, np.int16)) == []
    last = framer.flush()
    assert last is not None
    assert last.tolist() == [7] * 100 + [0] * 220
    assert framer.flush() is None


def test_frames_keep_their_sound_when_the_framer_goes_on() -> None:
    framer = Framer(4)
    framer.push(np.array([1, 2], np.int16))
    (first,) = framer.push(np.array([3, 4, 5], np.int16))
    framer.push(np.array([6, 7, 8, 9], np.int16))
    assert first.tolist() == [1, 2, 3, 4]


def test_clear_drops_what_waits() -> None:
    framer = Framer(4)
    framer.push(np.array([1, 2], np.int16))
    framer.clear()
    assert framer.pending == 0
    assert framer.push(np.array([5, 6, 7, 8], np.int16))[0].tolist() == [5, 6, 7, 8]


def test_the_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        Framer(0)
