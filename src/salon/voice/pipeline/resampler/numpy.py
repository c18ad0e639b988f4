"""The band-limited resampler under the name that existing configurations use."""

from __future__ import annotations

from salon.voice.pipeline.resampler.sinc import SincResamplerProvider


class NumpyResamplerProvider(SincResamplerProvider):
    """`SincResamplerProvider`; all filters here are numpy's work."""

    def __init__(self) -> None:
        super().__init__()

    @property
    def name(self) -> str:
        return "numpy"
