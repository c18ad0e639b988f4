"""V38-V67, V71: resamplers, echo cancellers, gain controls and denoisers keep their contracts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from salon.base import ConfigurationError
from salon.testing.contracts.voice_aec import AECContract
from salon.testing.contracts.voice_agc import AGCContract
from salon.testing.contracts.voice_denoiser import DenoiserContract
from salon.testing.contracts.voice_resampler import ResamplerContract
from salon.voice.pipeline.aec import (
    AECProvider,
    MockAECProvider,
    SpeexAECProvider,
    WebRTCAECProvider,
)
from salon.voice.pipeline.agc import AGCConfig, AGCProvider, MockAGCProvider, SimpleAGCProvider
from salon.voice.pipeline.denoiser import (
    DenoiserProvider,
    MockDenoiserProvider,
    SpectralDenoiserProvider,
    WebRTCNoiseSuppressorProvider,
)
from salon.voice.pipeline.resampler import (
    LinearResamplerProvider,
    NumpyResamplerProvider,
    ResamplerProvider,
    SincResamplerProvider,
)


class TestSincResampler(ResamplerContract):
    @pytest.fixture
    def make(self) -> Callable[[], ResamplerProvider]:
        return SincResamplerProvider


class TestNumpyResampler(ResamplerContract):
    @pytest.fixture
    def make(self) -> Callable[[], ResamplerProvider]:
        return NumpyResamplerProvider


class TestLinearResampler(ResamplerContract):
    TONE_HZ = 200.0
    band_limited = False

    @pytest.fixture
    def make(self) -> Callable[[], ResamplerProvider]:
        return LinearResamplerProvider


class TestSimpleAGC(AGCContract):
    @pytest.fixture
    def make(self) -> Callable[[int], AGCProvider]:
        return lambda rate: SimpleAGCProvider()


class TestMockAGC(AGCContract):
    works = refuses = counts = False

    @pytest.fixture
    def make(self) -> Callable[[int], AGCProvider]:
        return lambda rate: MockAGCProvider()


class TestSpectralDenoiser(DenoiserContract):
    DELAY = 320
    ERROR_DB = 2.5

    @pytest.fixture
    def make(self) -> Callable[[int], DenoiserProvider]:
        return lambda rate: SpectralDenoiserProvider()


class TestWebRTCNoiseSuppressor(DenoiserContract):
    @pytest.fixture
    def make(self) -> Callable[[int], DenoiserProvider]:
        pytest.importorskip("webrtc_noise_gain")
        pytest.importorskip("livekit.rtc")
        return WebRTCNoiseSuppressorProvider


class TestMockDenoiser(DenoiserContract):
    GAIN_DB = None
    refuses = counts = False

    @pytest.fixture
    def make(self) -> Callable[[int], DenoiserProvider]:
        return lambda rate: MockDenoiserProvider()


class TestSpeexAEC(AECContract):
    @pytest.fixture
    def make(self) -> Callable[[int], AECProvider]:
        try:
            SpeexAECProvider()
        except ConfigurationError as error:
            pytest.skip(str(error))
        return lambda rate: SpeexAECProvider(rate // 50, rate // 5, rate)


class TestWebRTCAEC(AECContract):
    @pytest.fixture
    def make(self) -> Callable[[int], AECProvider]:
        pytest.importorskip("livekit.rtc")
        return WebRTCAECProvider


class TestMockAEC(AECContract):
    ERLE_DB = None
    refuses = counts = False

    @pytest.fixture
    def make(self) -> Callable[[int], AECProvider]:
        return lambda rate: MockAECProvider()


def test_V67_a_gain_control_is_built_in_with_the_defaults_of_the_specification() -> None:
    config = SimpleAGCProvider().config
    assert config == AGCConfig(-3.0, 30.0, 10.0, 100.0, {})
