"""The live resampler: quality, delay, exact rate, no dependence on how input is cut."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salon.media import PASS_BAND, Resampler, Samples, resample
from salon.media.resample import STOP_BAND

from .signals import cut, cut_sizes, fit, int16_arrays, peak_frequency, tone

RATES = (8000, 16000, 22050, 24000, 44100, 48000)
PAIRS = list(permutations(RATES, 2))
pairs = pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)


def stream(samples: Samples, in_rate: int, out_rate: int) -> Samples:
    """In 20 ms pieces, without the start."""
    worker = Resampler(in_rate, out_rate)
    step = in_rate // 50
    pieces = [worker.process(samples[at : at + step]) for at in range(0, len(samples), step)]
    return np.concatenate(pieces)[out_rate // 20 :]


@pairs
def test_V63_tones_in_the_pass_band_keep_50_db(in_rate: int, out_rate: int) -> None:
    for part in (0.02, 0.125, 0.3, PASS_BAND):
        frequency = part * min(in_rate, out_rate)
        heard = stream(tone(frequency, in_rate // 2, in_rate), in_rate, out_rate)
        amplitude, clean = fit(heard, frequency, out_rate)
        assert clean >= 55
        assert amplitude == pytest.approx(16000, rel=0.002)


@pairs
def test_V63_tones_above_the_stop_band_do_not_fold_back(in_rate: int, out_rate: int) -> None:
    frequencies = np.linspace(STOP_BAND * out_rate, 0.499 * in_rate, 9)
    if in_rate < out_rate or frequencies[-1] < frequencies[0]:
        frequencies = np.array([])
    levels = []
    for frequency in frequencies:
        heard = stream(tone(frequency, in_rate // 4, in_rate), in_rate, out_rate)
        levels.append(20 * np.log10(max(heard.astype(float).std(), 0.1) / (16000 / 2**0.5)))
    assert max(levels, default=-99) <= -50
    # Upward the images of a tone must stay away; `fit` counts them as error.
    if in_rate < out_rate:
        heard = stream(tone(0.4 * in_rate, in_rate // 2, in_rate), in_rate, out_rate)
        assert fit(heard, 0.4 * in_rate, out_rate)[1] >= 55


@pairs
def test_delay_is_at_most_3_ms_and_true(in_rate: int, out_rate: int) -> None:
    worker = Resampler(in_rate, out_rate)
    assert 0 < worker.delay_ms <= 3
    frequency = 0.05 * min(in_rate, out_rate)
    heard = np.concatenate(
        [worker.process(piece) for piece in tone(frequency, in_rate, in_rate).reshape(50, -1)]
    ).astype(float)
    time = np.arange(len(heard)) / out_rate - worker.delay_ms / 1000
    wanted = 16000 * np.sin(2 * np.pi * frequency * time)
    settled = slice(out_rate // 10, None)
    error = heard[settled] - wanted[settled]
    assert 10 * np.log10((wanted[settled] ** 2).mean() / (error**2).mean()) > 50


@pairs
def test_20_ms_in_are_20_ms_out_from_the_first_frame_on(in_rate: int, out_rate: int) -> None:
    worker = Resampler(in_rate, out_rate)
    piece = np.zeros(in_rate // 50, np.int16)
    assert {len(worker.process(piece)) for _ in range(50)} == {out_rate // 50}


@pytest.mark.parametrize(("in_rate", "out_rate"), [(44100, 16000), (16000, 22050), (48000, 44100)])
def test_ten_minutes_do_not_drift(in_rate: int, out_rate: int) -> None:
    worker = Resampler(in_rate, out_rate)
    piece = np.zeros(in_rate // 10 + 1, np.int16)  # not a whole number of frames
    total = given_samples = 0
    while given_samples < 600 * in_rate:
        total += len(worker.process(piece))
        given_samples += len(piece)
        assert total == -(-given_samples * out_rate // in_rate)


@pytest.mark.parametrize("piece_ms", [1, 5, 10, 32])
def test_output_comes_without_bursts(piece_ms: int) -> None:
    worker = Resampler(44100, 16000)
    edges = np.arange(0, 2001, piece_ms) * 44100 // 1000
    sizes = [len(worker.process(np.zeros(n, np.int16))) for n in np.diff(edges)]
    assert max(sizes) - min(sizes) <= 1


@settings(max_examples=60, deadline=None)
@given(int16_arrays, cut_sizes, st.sampled_from(PAIRS))
def test_output_does_not_depend_on_the_cuts(
    samples: Samples, sizes: list[int], pair: tuple[int, int]
) -> None:
    whole, pieces = Resampler(*pair), Resampler(*pair)
    expected = np.concatenate([whole.process(samples), whole.flush()])
    heard = [pieces.process(piece) for piece in cut(samples, sizes)]
    assert np.array_equal(np.concatenate([*heard, pieces.flush()]), expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(-32768, 32767), st.sampled_from(PAIRS))
def test_a_constant_stays_exactly_itself(value: int, pair: tuple[int, int]) -> None:
    worker = Resampler(*pair)
    heard = [worker.process(np.full(pair[0] // 50, value, np.int16)) for _ in range(3)]
    assert set(heard[-1].tolist()) == {value}


def test_full_scale_is_clamped_not_wrapped() -> None:
    square = np.where(np.arange(16000) // 20 % 2, 32767, -32768).astype(np.int16)
    heard = stream(square, 16000, 48000)
    settled = heard[20 * 3 * 10 :]
    assert settled.max() == 32767
    assert settled.min() == -32768
    assert np.corrcoef(settled[::3][:3000], np.roll(settled[::3], -40)[:3000])[0, 1] > 0.99


@pairs
def test_whole_recordings_keep_their_place_in_time(in_rate: int, out_rate: int) -> None:
    frequency = 0.1 * min(in_rate, out_rate)
    sound = tone(frequency, in_rate // 2, in_rate)
    heard = resample(sound, in_rate, out_rate)
    assert len(heard) == -(-len(sound) * out_rate // in_rate)
    wanted = tone(frequency, len(heard), out_rate).astype(float)
    middle = slice(out_rate // 50, -out_rate // 50)
    error = heard[middle] - wanted[middle]
    assert 10 * np.log10((wanted[middle] ** 2).mean() / (error**2).mean()) > 50


def test_T57_frequency_is_kept() -> None:
    heard = stream(tone(1000, 16000, 8000), 8000, 16000)
    assert peak_frequency(heard, 16000) == pytest.approx(1000, rel=0.0005)


def test_equal_rates_pass_the_same_array() -> None:
    worker = Resampler(16000, 16000)
    sound = tone(440, 320, 16000)
    assert worker.process(sound) is sound
    assert worker.delay_ms == 0
    assert len(worker.flush()) == 0
    assert resample(sound, 16000, 16000) is sound


def test_flush_and_reset_start_anew() -> None:
    sound = tone(440, 500, 16000)
    worker = Resampler(16000, 8000)
    first = np.concatenate([worker.process(sound), worker.flush()])
    assert len(first) >= 250 + 21
    assert np.array_equal(np.concatenate([worker.process(sound), worker.flush()]), first)
    worker.process(sound)
    worker.reset()
    assert not worker.process(np.zeros(320, np.int16)).any()


@pytest.mark.parametrize(
    ("in_rate", "out_rate"),
    [
        (11025, 16000),
        (32000, 16000),
        (16000, 11025),
        (96000, 16000),
        (15999, 16000),
        (12345, 16000),
    ],
)
def test_unusual_rates_of_files_work_too(in_rate: int, out_rate: int) -> None:
    heard = resample(tone(1000, in_rate, in_rate), in_rate, out_rate)
    assert len(heard) == out_rate
    assert fit(heard[1600:-1600], 1000, out_rate)[1] > 55


def test_empty_input_gives_empty_output() -> None:
    empty = np.zeros(0, np.int16)
    assert len(Resampler(8000, 16000).process(empty)) == 0
    assert len(resample(empty, 8000, 16000)) == 0


@pytest.mark.parametrize("rates", [(0, 16000), (16000, 999), (400_000, 16000), (383_999, 16_000)])
def test_impossible_rates_are_refused(rates: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="Hz"):
        Resampler(*rates)
