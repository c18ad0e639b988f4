"""Loudness in dBFS and the throttled meter."""

from __future__ import annotations

import numpy as np
import pytest

from salon.media import (
    FLOOR_DBFS,
    SILENCE,
    LevelMeter,
    from_dbfs,
    peak_dbfs,
    rms_dbfs,
    to_dbfs,
)

from .signals import tone


def test_a_sine_has_an_rms_3_db_below_its_peak() -> None:
    sound = tone(1000, 16000, 16000, 16384)
    assert rms_dbfs(sound) == pytest.approx(-9.03, abs=0.01)
    assert peak_dbfs(sound) == pytest.approx(-6.02, abs=0.01)


def test_full_scale_is_zero_and_the_lowest_sample_does_not_overflow() -> None:
    lowest = np.full(320, -32768, np.int16)
    assert rms_dbfs(lowest) == pytest.approx(0)
    assert peak_dbfs(lowest) == 0
    assert peak_dbfs(np.array([32767, 0], np.int16)) == pytest.approx(0, abs=0.001)


@pytest.mark.parametrize("sound", [SILENCE, np.zeros(0, np.int16)])
def test_silence_is_at_the_floor(sound: np.ndarray) -> None:
    assert rms_dbfs(sound) == peak_dbfs(sound) == FLOOR_DBFS


def test_levels_and_amplitudes_convert_both_ways() -> None:
    assert to_dbfs(from_dbfs(-20)) == pytest.approx(-20)
    assert to_dbfs(0.0001) == FLOOR_DBFS


@pytest.mark.parametrize("frame", [160, 320, 512])
def test_the_meter_reports_at_most_10_times_a_second(frame: int) -> None:
    meter = LevelMeter()
    sound = tone(500, frame * 500, 16000)
    reports = [level for f in sound.reshape(500, -1) if (level := meter.push(f))]
    seconds = frame * 500 / 16000
    assert 0.7 * 10 * seconds <= len(reports) <= 10 * seconds
    gaps = np.diff([0, *(level.position for level in reports)])
    assert gaps.min() >= 1600


def test_the_meter_misses_nothing_between_reports() -> None:
    meter = LevelMeter()
    click = np.zeros(320, np.int16)
    click[100] = 32767
    levels = [meter.push(frame) for frame in (click, *[SILENCE] * 4)]
    assert levels[:4] == [None] * 4
    assert levels[4] is not None
    assert levels[4].peak_dbfs == pytest.approx(0, abs=0.01)
    assert levels[4].rms_dbfs == pytest.approx(10 * np.log10(1 / 1600), abs=0.01)
    assert levels[4].position == 1600
    after = [meter.push(SILENCE) for _ in range(5)][-1]
    assert after is not None
    assert after.peak_dbfs == FLOOR_DBFS


@pytest.mark.parametrize("wrong", [{"sample_rate": 0}, {"per_second": 0}])
def test_the_meter_needs_positive_settings(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        LevelMeter(**wrong)
