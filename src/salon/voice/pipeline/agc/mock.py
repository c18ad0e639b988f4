"""A gain control that changes nothing and remembers what it was given."""

from __future__ import annotations

from salon.media.frame import AudioFrame
from salon.voice.pipeline.agc.base import AGCProvider


class MockAGCProvider(AGCProvider):
    """Gives each frame back unchanged; for tests, as its list grows with every call."""

    def __init__(self) -> None:
        self.frames: list[AudioFrame] = []
        self.reset_count = 0
        self.closed = False

    @property
    def name(self) -> str:
        return "MockAGCProvider"

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        self.frames.append(frame)
        return frame

    def reset(self, stream: str) -> None:
        self.reset_count += 1

    def close(self) -> None:
        self.closed = True
