"""A processor that only listens."""

from __future__ import annotations

from salon.media.frame import AudioFrame
from salon.voice.pipeline.postprocessor.base import AudioPostProcessor


class MockAudioPostProcessor(AudioPostProcessor):
    """Passes every frame on as it is; `frames` has them."""

    def __init__(self) -> None:
        self.frames: list[AudioFrame] = []
        self.reset_count = 0
        self.closed = False

    @property
    def name(self) -> str:
        return "MockAudioPostProcessor"

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        del stream
        self.frames.append(frame)
        return frame

    def reset(self, stream: str) -> None:
        del stream
        self.reset_count += 1

    def close(self) -> None:
        self.closed = True
