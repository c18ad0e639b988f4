"""Steady noise is taken out, speech stays, and nothing is lost on the way."""

from __future__ import annotations

import numpy as np
import pytest

from salon.voice.noise import LEAST_GAIN, WINDOW, NoiseReducer


def noise(samples: int, level: float = 300.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, samples).astype(np.int16)


def tones(samples: int) -> np.ndarray:
    at = np.arange(samples) / 16_000
    sound = 4000 * np.sin(2 * np.pi * 440 * at) + 3000 * np.sin(2 * np.pi * 1500 * at)
    return (sound * (np.sin(2 * np.pi * 3 * at) > 0)).astype(np.int16)


def through(reducer: NoiseReducer, sound: np.ndarray, size: int) -> np.ndarray:
    parts = [reducer.reduce(sound[at : at + size]) for at in range(0, len(sound), size)]
    return np.concatenate([*parts, reducer.flush()])


@pytest.mark.parametrize("samples", [0, 1, 127, 128, 129, 511, 512, 513, 700, 16_000])
def test_without_knowledge_it_changes_nothing_and_loses_no_sample(samples: int) -> None:
    sound = noise(samples, 3000)
    out = through(NoiseReducer(), sound, 160)
    assert len(out) == samples
    assert not samples or np.abs(out.astype(int) - sound).max() <= 1


def test_the_pieces_do_not_matter() -> None:
    sound = tones(16_000) + noise(16_000)
    results = []
    for size in (7, 160, 320, 16_000):
        reducer = NoiseReducer()
        reducer.learn(sound)
        results.append(through(reducer, sound, size))
    assert all(np.array_equal(results[0], other) for other in results)


def test_it_is_late_by_a_window_at_most() -> None:
    assert len(NoiseReducer().reduce(noise(16_000))) >= 16_000 - WINDOW


def test_noise_alone_becomes_quieter() -> None:
    sound = noise(16_000)
    reducer = NoiseReducer()
    reducer.learn(sound)
    out = through(reducer, sound, 320)
    assert LEAST_GAIN * 0.9 * sound.std() < out.std() < 0.6 * sound.std()


def test_sound_in_noise_comes_nearer_to_the_sound() -> None:
    clean = tones(32_000)
    noisy = clean + noise(32_000)
    reducer = NoiseReducer()
    reducer.learn(noisy)
    out = through(reducer, noisy, 320)
    error_before = (noisy.astype(float) - clean).std()
    error_after = (out.astype(float) - clean).std()
    assert error_after < 0.6 * error_before


def test_too_little_sound_teaches_nothing() -> None:
    reducer = NoiseReducer()
    reducer.learn(noise(WINDOW - 1))
    sound = noise(1000)
    assert np.abs(through(reducer, sound, 320).astype(int) - sound).max() <= 1


def test_digital_silence_stays_silent() -> None:
    reducer = NoiseReducer()
    silence = np.zeros(16_000, dtype=np.int16)
    reducer.learn(silence)
    assert not through(reducer, silence, 320).any()
