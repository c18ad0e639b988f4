"""Telephone sound is known by what it lacks, and gets it."""

from __future__ import annotations

import numpy as np
import pytest

from salon.media import make_codec
from salon.voice.stt.narrowband import MIRRORED, Folding, is_narrow

RATE = 16_000


def hiss(samples: int = RATE) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 2000, samples).astype(np.int16)


def through(sound: np.ndarray, codec: str) -> np.ndarray:
    there, here = make_codec(codec), make_codec(codec)
    frames = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    return np.concatenate([here.decode(there.encode(frame)) for frame in frames])


@pytest.mark.parametrize(("codec", "narrow"), [("pcmu", True), ("pcma", True), ("g722", False)])
def test_telephone_sound_is_known(codec: str, narrow: bool) -> None:
    assert is_narrow(through(hiss(), codec)) is narrow


@pytest.mark.parametrize("samples", [0, 100, RATE])
def test_silence_and_too_little_sound_are_not_narrow(samples: int) -> None:
    assert not is_narrow(np.zeros(samples, dtype=np.int16))


def test_the_upper_half_mirrors_the_lower() -> None:
    at = np.arange(RATE) / RATE
    tone = (8000 * np.sin(2 * np.pi * 1000 * at)).astype(np.int16)
    spectrum = np.abs(np.fft.rfft(Folding().add(tone)))
    assert np.argsort(spectrum)[-2:].tolist() == [7000, 1000]
    assert spectrum[7000] / spectrum[1000] == pytest.approx(MIRRORED, rel=0.02)


def test_the_pieces_do_not_matter_and_nothing_overflows() -> None:
    sound = np.full(1001, 32767, dtype=np.int16)
    whole = Folding().add(sound)
    folding = Folding()
    folding.add(sound[:1])
    folding.reset()
    pieces = [folding.add(sound[at : at + 7]) for at in range(0, len(sound), 7)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert whole.max() == 32767
