"""Denoisers: delay, blocks, where WebRTC's comes from."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from salon.base import MissingExtraError
from salon.media.frame import AudioFormat, AudioFrame, Samples
from salon.voice.pipeline.denoiser import (
    MockDenoiserProvider,
    SpectralDenoiserProvider,
    WebRTCNoiseSuppressorProvider,
)
from salon.voice.pipeline.denoiser.blocks import Blocks
from salon.voice.pipeline.denoiser.suppressor import Floats, Suppressor


def count_up(size: int) -> Samples:
    return np.arange(1, size + 1).astype(np.int16)


def test_blocks_of_the_right_size_are_not_delayed() -> None:
    blocks = Blocks(160)
    sizes: list[int] = []

    def work(block: Samples) -> Samples:
        sizes.append(len(block))
        return -block

    for size in (160, 320, 0):
        assert np.array_equal(blocks.process(count_up(size), work), -count_up(size))
    assert (blocks.delay, sizes) == (0, [160] * 3)


def test_other_sizes_delay_by_one_block_for_good() -> None:
    blocks, sound = Blocks(160), count_up(3_000)
    out, at = [], 0
    for size in (320, 100, 1, 0, 160, 320, 500, 999, 600):
        out.append(blocks.process(sound[at : at + size], np.negative))
        assert len(out[-1]) == size
        at += size
    assert blocks.delay == 160
    heard = np.concatenate(out)
    assert np.array_equal(heard[:320], -sound[:320])
    assert not heard[320:480].any()
    assert np.array_equal(heard[480:], -sound[320 : 320 + len(heard) - 480])


def test_the_windows_add_up_to_the_sound_itself() -> None:
    class Open(Suppressor):
        def _gain(self, power: Floats) -> Floats:
            return np.ones(len(power))

    suppressor = Open(160)
    sound = (np.random.default_rng(1).standard_normal(3_200) * 3_000).astype(np.int16)
    out = np.concatenate([suppressor.process(sound[at : at + 160]) for at in range(0, 3_200, 160)])
    assert np.abs(out[320:].astype(int) - sound[:-320]).max() <= 1


def test_the_spectral_denoiser_follows_louder_noise() -> None:
    random = np.random.default_rng(2)
    noise = random.standard_normal(80_000) * 200
    noise[32_000:] *= 6
    provider = SpectralDenoiserProvider()
    out = np.concatenate(
        [
            provider.process(AudioFrame.of(noise[at : at + 320].astype(np.int16)), "a").samples
            for at in range(0, 80_000, 320)
        ]
    ).astype(np.float64)
    assert np.std(out[16_000:32_000]) < 0.2 * 200
    assert np.std(out[64_000:]) < 0.2 * 1_200


def test_the_spectral_denoiser_starts_anew_when_the_rate_changes() -> None:
    provider = SpectralDenoiserProvider()
    for rate in (16_000, 8_000, 44_100):
        out = provider.process(AudioFrame.of(np.ones(rate // 50, dtype=np.int16), rate), "a")
        assert (out.sample_rate, len(out.samples)) == (rate, rate // 50)
    assert provider.stream_count == 1


@pytest.mark.parametrize(
    "frame",
    [
        AudioFrame(bytes(640), 16_000, 2),
        AudioFrame(bytes(640), 2_000),
        AudioFrame(bytes(640), 16_000, 1, 4),
    ],
)
def test_the_spectral_denoiser_refuses_what_it_cannot_do(frame: AudioFrame) -> None:
    with pytest.raises(ValueError, match="takes 16-bit mono"):
        SpectralDenoiserProvider().process(frame, "a")


def test_the_names() -> None:
    assert SpectralDenoiserProvider().name == "spectral"
    assert SpectralDenoiserProvider().required_format is None


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (16_000, 2)])
def test_webrtc_refuses_formats(rate: int, channels: int) -> None:
    with pytest.raises(ValueError, match=r"sample_rate|channels"):
        WebRTCNoiseSuppressorProvider(rate, channels)


@pytest.mark.parametrize(("rate", "extra"), [(16_000, "denoise"), (48_000, "echo")])
def test_webrtc_names_the_extra_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, rate: int, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, "webrtc_noise_gain", None)
    monkeypatch.setitem(sys.modules, "livekit.rtc", None)
    with pytest.raises(MissingExtraError, match="WebRTCNoiseSuppressorProvider") as caught:
        WebRTCNoiseSuppressorProvider(rate)
    assert caught.value.extra == extra


@pytest.mark.parametrize("wheel", ["webrtc_noise_gain", "livekit.rtc"])
def test_webrtc_works_with_either_wheel(monkeypatch: pytest.MonkeyPatch, wheel: str) -> None:
    pytest.importorskip(wheel)
    other = {"webrtc_noise_gain": "livekit.rtc", "livekit.rtc": "webrtc_noise_gain"}[wheel]
    monkeypatch.setitem(sys.modules, other, None)
    provider = WebRTCNoiseSuppressorProvider()
    assert provider.required_format == AudioFormat(16_000, 1, 2)
    assert provider.name == "webrtc_ns"
    noise = (np.random.default_rng(3).standard_normal(48_000) * 1_000).astype(np.int16)
    out = np.concatenate(
        [
            provider.process(AudioFrame.of(noise[at : at + 320]), "a").samples
            for at in range(0, 48_000, 320)
        ]
    )
    assert np.std(out[32_000:]) < 0.3 * np.std(noise)


def test_the_mock_remembers() -> None:
    mock = MockDenoiserProvider()
    frame = AudioFrame.of(np.zeros(320, dtype=np.int16))
    assert mock.process(frame, "a") is frame
    assert mock.name == "MockDenoiserProvider"
    mock.reset("a")
    mock.close()
    assert (mock.frames, mock.reset_count, mock.closed) == ([frame], 1, True)
