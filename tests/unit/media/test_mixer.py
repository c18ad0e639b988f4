"""Mixing: everyone but oneself, once per window, never wrapping around."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from salon.media import Mixer, Samples, soft_limit, to_mono

quiet_frames = npst.arrays(np.int16, 320, elements=st.integers(-2000, 2000))
any_frames = npst.arrays(np.int16, 320)


def flat(value: int) -> Samples:
    return np.full(320, value, np.int16)


@given(st.lists(quiet_frames, min_size=2, max_size=8))
def test_V139_each_hears_the_exact_sum_of_the_others(frames: list[Samples]) -> None:
    sources = dict(enumerate(frames))
    mixed = Mixer[int]().mix(sources)
    total = sum(frame.astype(int) for frame in frames)
    assert set(mixed) == set(sources)
    for key, frame in sources.items():
        heard = mixed[key]
        assert heard is not None
        assert heard.dtype == np.int16
        assert np.array_equal(heard, total - frame)


@given(st.lists(any_frames, min_size=2, max_size=6))
def test_V139_loud_sums_keep_their_sign_and_never_wrap(frames: list[Samples]) -> None:
    sources = dict(enumerate(frames))
    for key, heard in Mixer[int]().mix(sources).items():
        others = sum(f.astype(int) for k, f in sources.items() if k != key)
        assert heard is not None
        assert (np.sign(heard) == np.sign(others)).all()
        assert (np.abs(heard.astype(int)) <= np.maximum(np.abs(others), 1)).all()


def test_V139_a_single_other_voice_passes_unchanged() -> None:
    loud = flat(-32768)
    mixed = Mixer[str]().mix({"a": loud, "b": None})
    assert mixed["b"] is loud


def test_V140_silent_sources_get_a_frame_and_add_nothing() -> None:
    mixed = Mixer[str]().mix({"a": flat(100), "b": flat(20), "c": flat(3), "d": None})
    heard = {key: None if frame is None else int(frame[0]) for key, frame in mixed.items()}
    assert heard == {"a": 23, "b": 103, "c": 120, "d": 123}


def test_V140_a_mix_of_silence_only_is_none() -> None:
    mixer = Mixer[str]()
    assert mixer.mix({"a": flat(5), "b": None}) == {"a": None, "b": pytest.approx(flat(5))}
    assert mixer.mix({"a": None, "b": None}) == {"a": None, "b": None}
    assert mixer.mix({}) == {}


def test_listeners_need_not_speak_nor_speakers_listen() -> None:
    sources = {"a": flat(100), "b": flat(20), "agent": flat(3)}
    mixed = Mixer[str]().mix(sources, listeners=["a", "recorder", "observer"])
    assert set(mixed) == {"a", "recorder", "observer"}
    assert mixed["a"] is not None
    assert int(mixed["a"][0]) == 23
    assert mixed["recorder"] is not None
    assert int(mixed["recorder"][0]) == 123
    assert mixed["observer"] is mixed["recorder"]


def test_two_loud_voices_are_limited_for_a_third() -> None:
    heard = Mixer[str]().mix({"a": flat(30000), "b": flat(30000), "c": None})["c"]
    assert heard is not None
    assert 30000 < int(heard[0]) <= 32767


def test_frames_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="'b' has 160 samples, not 320"):
        Mixer[str]().mix({"a": flat(1), "b": np.zeros(160, np.int16)})


def test_the_limiter_is_linear_below_its_knee_and_rises_above() -> None:
    ramp = np.arange(-200_000, 200_001)
    limited = soft_limit(ramp.astype(np.int32)).astype(int)
    linear = np.abs(ramp) <= 24576
    assert np.array_equal(limited[linear], ramp[linear])
    assert (np.diff(limited) >= 0).all()
    assert np.diff(limited).max() == 1
    assert (limited[0], limited[-1]) == (-32767, 32767)


def test_G130_interleaved_channels_become_one() -> None:
    both = np.array([10, 20, -30, -40, 7], np.int16)
    assert to_mono(both, 2).tolist() == [15, -35]
    assert to_mono(both, 1) is both
    with pytest.raises(ValueError, match="1 or more"):
        to_mono(both, 0)
