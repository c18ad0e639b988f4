"""Resamplers: the first stage inbound, the last one outbound (V49, V61-V63)."""

from salon.voice.pipeline.resampler.base import ResamplerProvider
from salon.voice.pipeline.resampler.linear import LinearResamplerProvider
from salon.voice.pipeline.resampler.mock import MockResamplerProvider, ResampleCall
from salon.voice.pipeline.resampler.numpy import NumpyResamplerProvider
from salon.voice.pipeline.resampler.sinc import SincResamplerProvider

__all__ = [
    "LinearResamplerProvider",
    "MockResamplerProvider",
    "NumpyResamplerProvider",
    "ResampleCall",
    "ResamplerProvider",
    "SincResamplerProvider",
]
