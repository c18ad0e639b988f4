"""Denoisers, between the gain control and speech detection (V54, V71)."""

from salon.voice.pipeline.denoiser.base import DenoiserProvider
from salon.voice.pipeline.denoiser.mock import MockDenoiserProvider
from salon.voice.pipeline.denoiser.spectral import SpectralDenoiserProvider
from salon.voice.pipeline.denoiser.webrtc import WebRTCNoiseSuppressorProvider

__all__ = [
    "DenoiserProvider",
    "MockDenoiserProvider",
    "SpectralDenoiserProvider",
    "WebRTCNoiseSuppressorProvider",
]
