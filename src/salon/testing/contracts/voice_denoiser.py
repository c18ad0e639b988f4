"""The contract of `DenoiserProvider`."""

# ruff: noqa: N802, T201 - tests are named for the rule they hold and say what they measured

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from salon.media.frame import Samples
from salon.testing.contracts.voice_sound_stage import (
    Floats,
    SoundStageContract,
    decibels,
    power,
    talk,
    through,
)

Mask = NDArray[np.bool_]

_FRAME = 320
_LEARNING = 150
"""Frames at the start that are not measured: three seconds."""


def noise_like(kind: str, count: int) -> Floats:
    """White noise, or pink noise from 20 Hz on, of power 1."""
    noise: Floats = np.random.default_rng(3).standard_normal(count)
    if kind == "pink":
        spectrum = np.fft.rfft(noise)
        hertz = np.arange(len(spectrum)) * 16_000 / count
        spectrum /= np.sqrt(np.maximum(20.0, hertz))
        spectrum[hertz < 20.0] = 0.0
        noise = np.fft.irfft(spectrum, count)
    noise /= np.sqrt(power(noise))
    return noise


def noisy(clean: Samples, kind: str, snr_db: float) -> Samples:
    """Speech with noise so many dB below it, measured over all."""
    level = np.sqrt(power(clean) / 10 ** (snr_db / 10))
    mixed = clean + level * noise_like(kind, len(clean))
    sound: Samples = np.clip(np.rint(mixed), -32_768, 32_767).astype(np.int16)
    return sound


def _masks(clean: Samples, delay: int) -> tuple[Mask, Mask]:
    """Frames that hold speech and frames that hold none, in output that is so many samples late."""
    late = np.concatenate([np.zeros(delay, dtype=np.int16), clean])
    whole = len(clean) // _FRAME
    levels = np.square(late[: whole * _FRAME].reshape(-1, _FRAME).astype(np.float64)).mean(axis=1)
    speech, pause = levels > 0.03 * power(clean), levels < 1.0
    # The frame after speech may still hold some, for a stage whose delay is not whole frames.
    pause[1:] &= pause[:-1]
    speech[:_LEARNING] = pause[:_LEARNING] = False
    return speech, pause


def _power_in(samples: Samples, mask: Mask) -> float:
    return power(samples[: len(mask) * _FRAME].reshape(-1, _FRAME)[mask])


def ratio_gained(before: Samples, after: Samples, clean: Samples, delay: int) -> float:
    """How much further speech lies above the noise in its pauses than before, in dB."""
    now, then = _masks(clean, delay), _masks(clean, 0)
    return decibels(_power_in(after, now[0]), _power_in(after, now[1])) - decibels(
        _power_in(before, then[0]), _power_in(before, then[1])
    )


def error_gained(before: Samples, after: Samples, clean: Samples, delay: int) -> float:
    """How much smaller the difference to the clean sound has become, in dB; what is removed from
    the speech counts as error too."""
    size = len(clean) - delay
    speech = clean[_LEARNING * _FRAME : size].astype(np.float64)
    late = after[delay:][_LEARNING * _FRAME : size]
    return decibels(power(before[_LEARNING * _FRAME : size] - speech), power(late - speech))


class DenoiserContract(SoundStageContract):
    """See `SoundStageContract`.

    `DELAY` is the delay in samples at 16 kHz and frames of 20 ms, `GAIN_DB` the least gain of the
    ratio of speech to noise in the four cases measured, None for a stage that changes nothing;
    `ERROR_DB` the same for the error against the clean sound, None if its phase is not kept.
    """

    DELAY: ClassVar[int] = 0
    GAIN_DB: ClassVar[float | None] = 8.0
    ERROR_DB: ClassVar[float | None] = None

    @pytest.mark.parametrize("kind", ["white", "pink"])
    @pytest.mark.parametrize("snr_db", [5, 10])
    def test_V71_noise_is_taken_out(
        self, make: Callable[[int], Any], kind: str, snr_db: int
    ) -> None:
        if self.GAIN_DB is None:
            return
        clean = np.concatenate([talk(), talk(voice="en-us+f3")])
        before = noisy(clean, kind, snr_db)
        after = through(make(16_000), before)
        ratio = ratio_gained(before, after, clean, self.DELAY)
        error = error_gained(before, after, clean, self.DELAY)
        print(f"{kind} noise at {snr_db} dB: ratio +{ratio:.1f} dB, error {-error:+.1f} dB")
        assert ratio >= self.GAIN_DB
        if self.ERROR_DB is not None:
            assert error >= self.ERROR_DB

    def test_V71_clean_speech_is_not_harmed(self, make: Callable[[int], Any]) -> None:
        clean = np.concatenate([talk(), talk(voice="en-us+f3")])
        after = through(make(16_000), clean)
        level = decibels(
            _power_in(after, _masks(clean, self.DELAY)[0]), _power_in(clean, _masks(clean, 0)[0])
        )
        print(f"clean speech changes by {level:+.2f} dB")
        assert abs(level) <= 1.0

    def test_silence_stays_silence(self, make: Callable[[int], Any]) -> None:
        assert power(through(make(16_000), np.zeros(32_000, dtype=np.int16))) <= 1.0
