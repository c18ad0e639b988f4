"""A resampler that converts nothing and remembers what it was asked."""

from __future__ import annotations

from dataclasses import dataclass

from salon.media.frame import AudioFrame
from salon.voice.pipeline.resampler.base import ResamplerProvider


@dataclass
class ResampleCall:
    """One call of `MockResamplerProvider.resample`."""

    frame: AudioFrame
    target_rate: int
    target_channels: int
    target_width: int
    stream: str


class MockResamplerProvider(ResamplerProvider):
    """Gives each frame back unchanged; for tests, as its lists grow with every call."""

    def __init__(self) -> None:
        self.calls: list[ResampleCall] = []
        self.reset_count = 0
        self.reset_streams: list[str | None] = []
        self.closed = False

    @property
    def name(self) -> str:
        return "mock"

    def resample(
        self,
        frame: AudioFrame,
        target_rate: int,
        target_channels: int,
        target_width: int,
        stream: str,
    ) -> AudioFrame:
        self.calls.append(ResampleCall(frame, target_rate, target_channels, target_width, stream))
        return frame

    def reset(self, stream: str | None = None) -> None:
        self.reset_count += 1
        self.reset_streams.append(stream)

    def close(self) -> None:
        self.closed = True
