"""The contract of `ResamplerProvider`."""

# ruff: noqa: N802, T201 - tests are named for the rule they hold and say what they measured

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from salon.media.frame import AudioFrame, Samples
from salon.media.pcm import decode_pcm
from salon.testing.contracts.voice_sound_stage import Floats, pieces

PAIRS = [
    (8_000, 16_000),
    (16_000, 8_000),
    (48_000, 16_000),
    (16_000, 48_000),
    (24_000, 16_000),
    (44_100, 16_000),
    (16_000, 24_000),
]


def tone(rate: int, hertz: float, seconds: float = 1.0, level: float = 12_000) -> Samples:
    """A sine."""
    time = np.arange(int(rate * seconds)) / rate
    return np.rint(level * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def signal_to_error(samples: Samples, rate: int, hertz: float) -> float:
    """How far a sine of this frequency, of any level and phase, lies above the rest, in dB."""
    sound = samples.astype(np.float64)
    angle = 2 * np.pi * hertz * np.arange(len(sound)) / rate
    basis: Floats = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    found = basis @ np.linalg.lstsq(basis, sound, rcond=None)[0]
    return 10 * float(np.log10(np.sum(found**2) / (np.sum((sound - found) ** 2) + 1e-9)))


class ResamplerContract:
    """Give it a `make` fixture: a function that makes a new provider.

    `TONE_HZ` is the frequency at which it must keep `CLEAN_DB` to its errors; set `band_limited` to
    False for one that lets through what lies above half the lower rate.
    """

    TONE_HZ: ClassVar[float] = 1_000.0
    CLEAN_DB: ClassVar[float] = 40.0
    band_limited: ClassVar[bool] = True

    @pytest.fixture
    def make(self) -> Callable[[], Any]:
        raise NotImplementedError("a `make` fixture")

    @staticmethod
    def convert(
        provider: Any, samples: Samples, rate: int, target: int, sizes: tuple[int, ...] = ()
    ) -> Samples:
        """Mono sound through stream "a", in frames of 20 ms or of `sizes`."""
        out = [
            provider.resample(AudioFrame.of(piece, rate), target, 1, 2, "a").samples
            for piece in pieces(samples, sizes or (rate // 50,))
        ]
        return np.concatenate(out)

    def test_V41_a_stream_must_be_named(self, make: Callable[[], Any]) -> None:
        provider = make()
        with pytest.raises(TypeError):
            provider.resample(AudioFrame(bytes(640)), 8_000, 1, 2)
        with pytest.raises(TypeError):
            provider.flush(8_000, 1, 2)
        assert provider.name

    @pytest.mark.parametrize(("rate", "target"), PAIRS)
    def test_V63_a_tone_stays_clean_over_the_borders_of_frames(
        self, make: Callable[[], Any], rate: int, target: int
    ) -> None:
        for sizes in ((), (rate // 50, 33, 1, 160)):
            out = self.convert(make(), tone(rate, self.TONE_HZ), rate, target, sizes)
            clean = signal_to_error(out[target // 10 :], target, self.TONE_HZ)
            print(f"{rate} to {target} Hz: {clean:.0f} dB")
            assert clean >= self.CLEAN_DB

    @pytest.mark.parametrize(("rate", "target"), PAIRS)
    def test_V63_what_the_target_cannot_hold_is_removed(
        self, make: Callable[[], Any], rate: int, target: int
    ) -> None:
        if not self.band_limited or target >= rate:
            return
        out = self.convert(make(), tone(rate, 0.6 * target), rate, target)
        assert np.abs(out[target // 10 :]).max() <= 12_000 / 300

    @pytest.mark.parametrize(("rate", "target"), PAIRS)
    def test_as_much_time_comes_out_as_goes_in(
        self, make: Callable[[], Any], rate: int, target: int
    ) -> None:
        provider, late = make(), 0
        for turn, piece in enumerate(pieces(tone(rate, self.TONE_HZ, 2.0), (rate // 50,))):
            out = provider.resample(AudioFrame.of(piece, rate), target, 1, 2, "a")
            late += len(out.samples)
            assert abs(late - (turn + 1) * target / 50) <= target / 50
        assert abs(late - 2 * target) <= target / 100

    @pytest.mark.parametrize(("rate", "target"), PAIRS)
    def test_flush_gives_the_rest(self, make: Callable[[], Any], rate: int, target: int) -> None:
        provider, sound = make(), np.zeros(rate, dtype=np.int16)
        sound[-2:] = 20_000  # at the very end: the delay still holds it
        out = self.convert(provider, sound, rate, target)
        rest = provider.flush(target, 1, 2, "a")
        assert rest is None or (rest.sample_rate, rest.channels) == (target, 1)
        tail = out[:0] if rest is None else rest.samples
        assert np.abs(np.concatenate([out, tail])[-target // 50 :]).max() > 4_000
        assert provider.flush(target, 1, 2, "a") is None

    def test_V62_stamps_stay_and_the_origin_is_noted(self, make: Callable[[], Any]) -> None:
        provider = make()
        for frame in (
            AudioFrame(bytes(1_764 * 2), 44_100, 2, 2, 12.5, {"kept": 1}),
            AudioFrame(bytes(640), 16_000, 1, 2, 12.5, {"kept": 1}),
        ):
            out = provider.resample(frame, 16_000, 1, 2, "a")
            assert out.timestamp_ms == 12.5
            assert out.metadata == {
                "kept": 1,
                "original_sample_rate": frame.sample_rate,
                "original_channels": frame.channels,
            }

    def test_a_frame_that_is_right_passes(self, make: Callable[[], Any]) -> None:
        frame = AudioFrame.of(tone(16_000, 440, 0.02))
        assert make().resample(frame, 16_000, 1, 2, "a").data == frame.data

    def test_channels_are_averaged_and_doubled(self, make: Callable[[], Any]) -> None:
        provider, left = make(), tone(16_000, 440)
        stereo = np.stack([left, np.zeros_like(left)], axis=1)
        frame = AudioFrame(stereo.tobytes(), 16_000, 2)
        mono = provider.resample(frame, 16_000, 1, 2, "a")
        assert np.abs(mono.samples.astype(np.int32) - left // 2).max() <= 1
        wide = provider.resample(mono, 16_000, 2, 2, "b").samples.reshape(-1, 2)
        assert np.array_equal(wide[:, 0], mono.samples)
        assert np.array_equal(wide[:, 1], mono.samples)

    def test_both_channels_are_kept(self, make: Callable[[], Any]) -> None:
        hertz = self.TONE_HZ, self.TONE_HZ / 2
        stereo = np.stack([tone(48_000, each) for each in hertz], axis=1)
        out = make().resample(AudioFrame(stereo.tobytes(), 48_000, 2), 16_000, 2, 2, "a")
        for channel, each in enumerate(hertz):
            kept = out.samples.reshape(-1, 2)[1_600:, channel]
            assert signal_to_error(kept, 16_000, each) >= self.CLEAN_DB

    @pytest.mark.parametrize("width", [1, 2, 4])
    def test_widths_are_converted(self, make: Callable[[], Any], width: int) -> None:
        provider, sound = make(), tone(8_000, self.TONE_HZ)
        there = provider.resample(AudioFrame.of(sound, 8_000), 16_000, 1, width, "a")
        assert (there.sample_width, len(there.data)) == (width, width * 16_000)
        back = provider.resample(there, 8_000, 1, 2, "b")
        heard = decode_pcm(there.data, sample_width=width)
        least = min(30.0, self.CLEAN_DB) if width == 1 else self.CLEAN_DB
        assert signal_to_error(heard[1_600:], 16_000, self.TONE_HZ) >= least
        assert signal_to_error(back.samples[800:], 8_000, self.TONE_HZ) >= least

    def test_loud_sound_is_clamped(self, make: Callable[[], Any]) -> None:
        square = np.where(tone(16_000, 300) >= 0, 32_767, -32_768).astype(np.int16)
        for width in (1, 2, 4):
            frame = make().resample(AudioFrame.of(square), 8_000, 1, width, "a")
            heard = decode_pcm(frame.data, sample_width=width)
            assert heard.max() > 30_000
            assert heard.min() < -30_000
            assert np.count_nonzero(np.diff(np.sign(heard[800:].astype(np.int32)))) < 800

    def test_V42_V43_another_stream_changes_nothing(self, make: Callable[[], Any]) -> None:
        sound = tone(48_000, 440)
        alone = self.convert(make(), sound, 48_000, 16_000)
        provider, mixed = make(), []
        for piece in pieces(sound, (960,)):
            frame = AudioFrame.of(piece, 48_000)
            mixed.append(provider.resample(frame, 16_000, 1, 2, "a").samples)
            provider.resample(AudioFrame.of(piece[::-1].copy(), 48_000), 16_000, 1, 2, "b")
        assert np.array_equal(np.concatenate(mixed), alone)

    def test_V42_both_directions_of_a_stream_are_apart(self, make: Callable[[], Any]) -> None:
        sound = tone(48_000, 440)
        alone = self.convert(make(), sound, 48_000, 16_000)
        provider, mixed = make(), []
        for piece in pieces(sound, (960,)):
            frame = AudioFrame.of(piece, 48_000)
            mixed.append(provider.resample(frame, 16_000, 1, 2, "a").samples)
            provider.resample(AudioFrame.of(piece[:480]), 48_000, 1, 2, "a")
        assert np.array_equal(np.concatenate(mixed), alone)

    def test_V46_a_reset_stream_starts_anew(self, make: Callable[[], Any]) -> None:
        provider, sound = make(), tone(8_000, 440, 0.1)
        first = self.convert(provider, sound, 8_000, 16_000, (100,))
        provider.reset("a")
        provider.reset("never heard")
        assert np.array_equal(self.convert(provider, sound, 8_000, 16_000, (100,)), first)
        provider.reset()
        assert np.array_equal(self.convert(provider, sound, 8_000, 16_000, (100,)), first)
        assert provider.flush(8_000, 1, 2, "never heard") is None

    def test_V46_a_thousand_streams_leave_nothing(self, make: Callable[[], Any]) -> None:
        provider, frame = make(), AudioFrame.of(tone(8_000, 440, 0.02), 8_000)
        for key in range(1_000):
            provider.resample(frame, 16_000, 1, 2, str(key))
        for key in range(1_000):
            provider.reset(str(key))
        assert provider.stream_count == 0

    def test_V47_close_frees_every_stream(self, make: Callable[[], Any]) -> None:
        provider, frame = make(), AudioFrame.of(tone(8_000, 440, 0.02), 8_000)
        provider.resample(frame, 16_000, 1, 2, "a")
        provider.close()
        provider.close()
        assert provider.stream_count == 0

    def test_an_empty_frame_comes_back_empty(self, make: Callable[[], Any]) -> None:
        out = make().resample(AudioFrame(b"", 8_000), 16_000, 1, 2, "a")
        assert (out.data, out.sample_rate) == (b"", 16_000)

    def test_the_input_is_not_written_to(self, make: Callable[[], Any]) -> None:
        sound = tone(48_000, 440, 0.1)
        kept = sound.copy()
        self.convert(make(), sound, 48_000, 16_000)
        assert np.array_equal(sound, kept)

    @pytest.mark.parametrize("target", [(0, 1, 2), (16_000, 3, 2), (16_000, 1, 3)])
    def test_a_format_that_is_none_is_refused(
        self, make: Callable[[], Any], target: tuple[int, int, int]
    ) -> None:
        provider = make()
        with pytest.raises(ValueError, match=r"."):
            provider.resample(AudioFrame(bytes(320), 8_000), *target, "a")
        assert provider.stream_count == 0
