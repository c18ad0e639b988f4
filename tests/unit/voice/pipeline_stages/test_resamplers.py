"""Resamplers: what is particular to ours."""

from __future__ import annotations

import numpy as np
import pytest

from salon.media.frame import AudioFrame
from salon.voice.pipeline.resampler import (
    LinearResamplerProvider,
    MockResamplerProvider,
    NumpyResamplerProvider,
    ResampleCall,
    ResamplerProvider,
    SincResamplerProvider,
)
from salon.voice.pipeline.resampler.streaming import MAX_CONVERSIONS


def frame(rate: int, *, channels: int = 1) -> AudioFrame:
    return AudioFrame(bytes(2 * channels * rate // 50), rate, channels)


def test_names() -> None:
    providers: list[ResamplerProvider] = [
        SincResamplerProvider(),
        NumpyResamplerProvider(),
        LinearResamplerProvider(),
    ]
    assert [provider.name for provider in providers] == ["sinc", "numpy", "linear"]


def test_taps_are_taken_but_not_any() -> None:
    SincResamplerProvider(taps=32)
    with pytest.raises(ValueError, match="taps is 0"):
        SincResamplerProvider(taps=0)


def test_V46_conversions_of_a_stream_are_bounded() -> None:
    provider = SincResamplerProvider()
    for rate in (8_000, 12_000, 24_000, 32_000, 44_100, 48_000, 48_000):
        provider.resample(frame(rate), 16_000, 1, 2, "a")
    assert provider.stream_count == 1
    assert len(provider._streams["a"]) == MAX_CONVERSIONS


def test_flush_leaves_the_other_direction_alone() -> None:
    provider = SincResamplerProvider()
    provider.resample(frame(8_000), 16_000, 1, 2, "a")
    provider.resample(frame(16_000), 8_000, 1, 2, "a")
    assert provider.flush(16_000, 1, 2, "a") is not None
    assert provider.stream_count == 1
    assert provider.flush(8_000, 1, 2, "a") is not None
    assert provider.stream_count == 0


def test_a_conversion_of_channels_alone_holds_nothing_back() -> None:
    for provider in (SincResamplerProvider(), LinearResamplerProvider()):
        out = provider.resample(frame(16_000, channels=2), 16_000, 1, 2, "a")
        assert len(out.samples) == 320
        assert provider.flush(16_000, 1, 2, "a") is None


def test_the_middle_of_eight_bits_is_silence_and_its_ends_are_loud() -> None:
    provider = SincResamplerProvider()
    sound = np.array([0, 32_767, -32_768, 127, -129], dtype=np.int16)
    eight = provider.resample(AudioFrame.of(sound), 16_000, 1, 1, "a")
    assert eight.data == bytes([128, 255, 0, 128, 127])
    back = provider.resample(eight, 16_000, 1, 2, "a")
    assert back.samples.tolist() == [0, 32_512, -32_768, 0, -256]


def test_an_impossible_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="500"):
        SincResamplerProvider().resample(frame(500), 16_000, 1, 2, "a")


def test_linear_interpolation_draws_lines() -> None:
    sound = np.array([0, 100, 200], dtype=np.int16)
    provider = LinearResamplerProvider()
    out = provider.resample(AudioFrame.of(sound, 8_000), 16_000, 1, 2, "a")
    assert out.samples.tolist() == [0, 0, 0, 50, 100, 150]
    rest = provider.flush(16_000, 1, 2, "a")
    assert rest is not None
    assert rest.samples.tolist() == [200, 200]


def test_the_mock_remembers() -> None:
    mock = MockResamplerProvider()
    sound = frame(8_000)
    assert mock.name == "mock"
    assert mock.resample(sound, 16_000, 1, 2, "a") is sound
    assert mock.calls == [ResampleCall(sound, 16_000, 1, 2, "a")]
    assert mock.flush(16_000, 1, 2, "a") is None
    mock.reset("a")
    mock.reset()
    mock.close()
    assert (mock.reset_count, mock.reset_streams, mock.closed) == (2, ["a", None], True)
    assert mock.stream_count == 0


def test_an_own_resampler_needs_one_method() -> None:
    class Same(ResamplerProvider):
        @property
        def name(self) -> str:
            return "same"

        def resample(
            self,
            frame: AudioFrame,
            target_rate: int,
            target_channels: int,
            target_width: int,
            stream: str,
        ) -> AudioFrame:
            return frame

    same = Same()
    same.reset()
    same.close()
    assert same.flush(1, 1, 2, "a") is None
