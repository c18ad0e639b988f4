"""Noise for recognisers and tests; sines for probes."""

from __future__ import annotations

import numpy as np
import pytest

from salon.media import (
    SILENCE,
    Tone,
    add_low_noise,
    add_noise_at_snr,
    low_noise,
    peak_dbfs,
    rms_dbfs,
    sine,
)

from .signals import fit, peak_frequency, snr_db, speechlike


@pytest.mark.parametrize("dbfs", [-80.0, -66.0, -30.0])
def test_noise_has_the_level_asked_for(dbfs: float) -> None:
    rng = np.random.default_rng(1)
    assert rms_dbfs(low_noise(32000, dbfs, rng)) == pytest.approx(dbfs, abs=0.3)


def test_noise_is_white_and_without_offset() -> None:
    noise = low_noise(64000, -40, np.random.default_rng(2)).astype(float)
    assert abs(noise.mean()) < 5
    power = np.abs(np.fft.rfft(noise)) ** 2
    thirds = [part.mean() for part in np.array_split(power[1:], 3)]
    assert max(thirds) / min(thirds) < 1.1


def test_noise_repeats_only_without_a_generator() -> None:
    assert np.array_equal(low_noise(320), low_noise(320))
    rng = np.random.default_rng(3)
    assert not np.array_equal(low_noise(320, -60, rng), low_noise(320, -60, rng))


def test_low_noise_lifts_digital_silence() -> None:
    assert rms_dbfs(add_low_noise(SILENCE, -66, np.random.default_rng(4))) == pytest.approx(
        -66, abs=1
    )
    loud = np.full(320, 32767, np.int16)
    assert add_low_noise(loud, -40, np.random.default_rng(4)).min() > 30000


@pytest.mark.parametrize("snr", [0.0, 10.0, 20.0])
def test_noise_at_a_given_distance_from_speech(snr: float) -> None:
    speech = speechlike(32000)
    noisy = add_noise_at_snr(speech, snr, np.random.default_rng(5))
    assert snr_db(speech, noisy) == pytest.approx(snr, abs=0.2)
    assert len(add_noise_at_snr(speech[:0], snr, np.random.default_rng(5))) == 0


def test_a_tone_has_its_frequency_level_and_no_seams() -> None:
    tone = Tone(441, dbfs=-12)
    sound = np.concatenate([tone.read(n) for n in (320, 1, 0, 79, 8000)])
    assert peak_dbfs(sound) == pytest.approx(-12, abs=0.01)
    assert peak_frequency(sound, 16000) == pytest.approx(441, abs=0.1)
    assert fit(sound, 441, 16000)[1] > 70
    assert np.array_equal(sound, Tone(441, dbfs=-12).read(8400))


def test_a_sine_lasts_as_long_as_asked() -> None:
    assert len(sine(440, 0.5)) == 8000
    assert len(sine(440, 0.5, sample_rate=22050)) == 11025
    assert sine(440, 0.5, dbfs=0).max() == 32767


@pytest.mark.parametrize("frequency", [0, -1, 8000])
def test_impossible_tones_are_refused(frequency: float) -> None:
    with pytest.raises(ValueError, match="Hz"):
        Tone(frequency)
