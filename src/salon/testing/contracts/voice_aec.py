"""The contract of `AECProvider`."""

# ruff: noqa: N802, T201 - tests are named for the rule they hold and say what they measured

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from salon.media.frame import AudioFrame, Samples
from salon.media.resample import resample
from salon.testing.contracts.voice_sound_stage import (
    Floats,
    SoundStageContract,
    decibels,
    pieces,
    power,
    talk,
)

PATH_MS = 80
"""Time from the reference to its echo."""


def echo_of(far: Samples, *, level_db: float = -4.0) -> Samples:
    """What a microphone hears of it: 80 ms later, with 50 ms of reverberation, some hiss."""
    random = np.random.default_rng(4)
    path = np.zeros(PATH_MS * 16 + 800)
    path[PATH_MS * 16 :] = random.standard_normal(800) * np.exp(-np.arange(800) / 120) * 0.2
    path[PATH_MS * 16] += 1.0
    path *= 10 ** (level_db / 20) / np.sqrt(np.sum(path**2))
    heard = np.convolve(far.astype(np.float64), path)[: len(far)]
    return np.rint(heard + random.standard_normal(len(far)) * 3).astype(np.int16)


def cancelled(
    stage: Any, far: Samples, captured: Samples, *, stream: str = "a", far_rate: int = 16_000
) -> Samples:
    """A call of 20 ms frames: the reference at `far_rate`, then what was captured meanwhile."""
    out = []
    played = pieces(far, (far_rate // 50,))
    for reference, piece in zip(played, pieces(captured, (320,)), strict=True):
        stage.feed_reference(AudioFrame.of(reference, far_rate), stream)
        out.append(stage.process(AudioFrame.of(piece), stream).samples)
    return np.concatenate(out)


def _spectra(samples: Samples) -> Floats:
    window = np.hanning(512)
    cuts = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), 512)[::128]
    spectra: Floats = np.abs(np.fft.rfft(cuts * window, axis=1)) ** 2
    return spectra


def near_kept(out: Samples, near: Samples, echo: Samples) -> float:
    """Level of the near talker in the output against what it was, in dB, where time and frequency
    belong to them rather than to the echo."""
    own, other = _spectra(near), _spectra(echo)
    theirs = (own > 10 * other) & (own > 1e-5 * own.max())
    return decibels(float(_spectra(out)[theirs].sum()), float(own[theirs].sum()))


class AECContract(SoundStageContract):
    """See `SoundStageContract`; the stages are made for mono.

    `ERLE_DB` is the least attenuation of the echo after ten seconds, None for a stage that changes
    nothing.
    """

    ERLE_DB: ClassVar[float | None] = 20.0

    def test_V64_the_reference_belongs_to_a_stream(self, make: Callable[[int], Any]) -> None:
        stage = make(16_000)
        with pytest.raises(TypeError):
            stage.feed_reference(AudioFrame.of(np.zeros(320, dtype=np.int16)))

    def test_V64_echo_is_cancelled(self, make: Callable[[int], Any]) -> None:
        if self.ERLE_DB is None:
            return
        far = np.concatenate([talk(), talk(voice="en-us+f3")])
        echo = echo_of(far)
        out = cancelled(make(16_000), far, echo)
        half = len(far) // 2
        erle = decibels(power(echo[half:]), power(out[half:]))
        early = decibels(power(echo[:32_000]), power(out[:32_000]))
        print(f"echo falls by {early:.1f} dB in the first two seconds, by {erle:.1f} dB later")
        assert erle >= self.ERLE_DB

    def test_V64_the_near_talker_is_kept(self, make: Callable[[int], Any]) -> None:
        far, speech = np.concatenate([talk(), talk()]), talk(voice="en-us+f3")
        echo = echo_of(far, level_db=-8.0)
        near = np.zeros(len(far), dtype=np.int16)
        at = len(talk())
        near[at : at + len(speech)] = speech[: len(near) - at]
        mixed = np.clip(echo.astype(np.int32) + near, -32_768, 32_767).astype(np.int16)
        out = cancelled(make(16_000), far, mixed)
        kept = near_kept(out[at:], near[at:], echo[at:])
        print(f"the near talker is kept at {kept:+.1f} dB while both talk")
        assert abs(kept) <= 3.0

    def test_V64_another_streams_reference_is_not_heard(self, make: Callable[[int], Any]) -> None:
        far, echo = talk()[:64_000], echo_of(talk()[:64_000])
        alone = cancelled(make(16_000), far, echo)
        stage = make(16_000)
        mixed = []
        for reference, piece in zip(pieces(far, (320,)), pieces(echo, (320,)), strict=True):
            stage.feed_reference(AudioFrame.of(reference), "a")
            stage.feed_reference(AudioFrame.of(piece), "b")
            mixed.append(stage.process(AudioFrame.of(piece), "a").samples)
            stage.process(AudioFrame.of(reference), "b")
        assert np.array_equal(np.concatenate(mixed), alone)

    def test_V65_a_reference_of_another_rate_serves_or_is_refused(
        self, make: Callable[[int], Any]
    ) -> None:
        whole = len(talk()) // 320 * 320
        far = talk()[:whole]
        echo, played = echo_of(far), resample(far, 16_000, 24_000)
        try:
            out = cancelled(make(16_000), played, echo, far_rate=24_000)
        except ValueError:
            return
        if self.ERLE_DB is not None:
            half = len(out) // 2
            assert decibels(power(echo[half:]), power(out[half:])) >= self.ERLE_DB / 2

    def test_V66_it_notes_what_it_did(self, make: Callable[[int], Any]) -> None:
        if self.ERLE_DB is None:
            return
        stage, sound = make(16_000), talk()[8_000:8_320]
        assert stage.process(AudioFrame.of(sound), "a").metadata["echo_cancelled"] is True

    def test_a_stream_can_be_switched_off(self, make: Callable[[int], Any]) -> None:
        stage, far = make(16_000), talk()[:64_000]
        echo = echo_of(far)
        stage.set_stream_active("a", False)
        assert np.array_equal(cancelled(stage, far, echo), echo)
        frame = stage.process(AudioFrame.of(echo[:320]), "a")
        assert "echo_cancelled" not in frame.metadata
        if self.ERLE_DB is None:
            return
        assert not np.array_equal(cancelled(stage, far, echo, stream="b"), echo)
        stage.set_stream_active("a", True)
        assert not np.array_equal(cancelled(stage, far, echo), echo)

    def test_everything_can_be_switched_off(self, make: Callable[[int], Any]) -> None:
        stage, far = make(16_000), talk()[:64_000]
        echo = echo_of(far)
        stage.set_active(False)
        assert np.array_equal(cancelled(stage, far, echo), echo)
        assert np.array_equal(cancelled(stage, far, echo, stream="b"), echo)
        if self.ERLE_DB is not None:
            stage.set_active(True)
            assert not np.array_equal(cancelled(stage, far, echo), echo)

    def test_a_switched_off_stream_is_forgotten_at_reset(self, make: Callable[[int], Any]) -> None:
        stage = make(16_000)
        stage.set_stream_active("a", False)
        stage.feed_reference(AudioFrame.of(talk()[:320]), "b")
        stage.reset("a")
        stage.reset("b")
        assert stage.stream_count == 0

    def test_a_reference_nobody_fetches_is_bounded(self, make: Callable[[int], Any]) -> None:
        stage, far = make(16_000), talk()
        for piece in pieces(np.concatenate([far, far]), (320,)):
            stage.feed_reference(AudioFrame.of(piece), "a")
        echo = echo_of(far)
        out = cancelled(stage, far, echo)
        assert len(out) == len(echo)
        if self.ERLE_DB is not None:
            half = len(far) // 2
            assert decibels(power(echo[half:]), power(out[half:])) >= self.ERLE_DB / 2
