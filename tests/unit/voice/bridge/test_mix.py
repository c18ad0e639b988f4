from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest

from salon.media.frame import FRAME_SAMPLES, Samples
from salon.media.mixer import soft_limit
from salon.voice.bridge_mix import Voice, Window, mix_windows, mix_with
from salon.voice.pipeline.mixer import PythonMixerProvider

RANDOM = np.random.default_rng(7)


def noise(peak: int = 8000) -> Samples:
    return RANDOM.integers(-peak, peak, FRAME_SAMPLES, dtype=np.int16)


def expected(window: Window) -> dict[str, Samples]:
    """The rule, word by word."""
    heard = {}
    for key in window.listeners:
        others = [
            voice.samples
            for voice in window.voices
            if voice.key != key and (voice.audience is None or key in voice.audience)
        ]
        if len(others) == 1:
            heard[key] = others[0]
        elif others:
            heard[key] = soft_limit(np.sum(others, axis=0, dtype=np.int32))
    return heard


def window(
    speaking: int,
    listening: int,
    *,
    peak: int = 8000,
    private: Collection[int] = (),
    of: str = "",
) -> Window:
    keys = [f"{of}{at}" for at in range(max(speaking, listening))]
    voices = [
        Voice(
            keys[at],
            noise(peak),
            frozenset(keys[at + 1 : at + 3]) if at in private else None,
        )
        for at in range(speaking)
    ]
    return Window(voices, keys[:listening], {})


def check(windows: list[Window]) -> None:
    mix_windows(windows)
    for each in windows:
        rule = expected(each)
        assert each.heard.keys() == rule.keys()
        for key, samples in rule.items():
            assert np.array_equal(each.heard[key], samples), key
            assert each.heard[key].dtype == np.int16


@pytest.mark.parametrize("listening", [1, 2, 3, 6, 20])
@pytest.mark.parametrize("speaking", [0, 1, 2, 3, 6, 20])
def test_V139_each_hears_the_sum_of_all_others(speaking: int, listening: int) -> None:
    check([window(speaking, listening)])


@pytest.mark.parametrize("peak", [20_000, 32_767])
def test_V139_sums_beyond_full_scale_are_limited(peak: int) -> None:
    check([window(6, 8, peak=peak)])


def test_V139_full_scale_of_twenty_does_not_wrap() -> None:
    loud = Window(
        [Voice(str(at), np.full(FRAME_SAMPLES, -32768, np.int16)) for at in range(20)],
        [str(at) for at in range(20)],
        {},
    )
    check([loud])
    assert all((heard < -32000).all() for heard in loud.heard.values())


def test_many_rooms_at_once_do_not_mix() -> None:
    check([window(at % 5, 1 + at % 4, of=f"{at}-", peak=30_000) for at in range(30)])


def test_one_voice_passes_as_it_is() -> None:
    one = window(1, 3)
    mix_windows([one])
    assert one.heard["1"] is one.voices[0].samples
    assert "0" not in one.heard


@pytest.mark.parametrize("private", [{0}, {1}, {0, 1, 2}])
@pytest.mark.parametrize("speaking", [1, 2, 3, 5])
def test_private_speech_is_for_its_audience(speaking: int, private: set[int]) -> None:
    check([window(speaking, 6, private=private), window(3, 3, of="x")])


def test_listeners_who_hear_the_same_share_it() -> None:
    for private in ((), (0,)):
        one = window(3, 8, private=private)
        mix_windows([one])
        assert np.shares_memory(one.heard["6"], one.heard["7"])


def test_another_mixer_gets_the_others() -> None:
    one = window(3, 5, private={1})
    mix_with(PythonMixerProvider(), one)
    for key, samples in expected(one).items():
        assert np.array_equal(one.heard[key], samples)
    alone = window(1, 1)
    mix_with(PythonMixerProvider(), alone)
    assert alone.heard == {}
