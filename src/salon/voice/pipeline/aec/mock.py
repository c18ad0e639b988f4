"""An echo canceller that changes nothing and remembers what it was given."""

from __future__ import annotations

from salon.media.frame import AudioFrame
from salon.voice.pipeline.aec.base import AECProvider


class MockAECProvider(AECProvider):
    """Gives each frame back unchanged; for tests, as its lists grow with every call.

    `streams` and `reference_streams` hold the keys beside `frames` and `reference_frames`;
    `active_changes` holds ``(stream, active)``, with None for every stream.
    """

    def __init__(self) -> None:
        self.frames: list[AudioFrame] = []
        self.reference_frames: list[AudioFrame] = []
        self.streams: list[str] = []
        self.reference_streams: list[str] = []
        self.active_changes: list[tuple[str | None, bool]] = []
        self.reset_streams: list[str] = []
        self.reset_count = 0
        self.closed = False

    @property
    def name(self) -> str:
        return "MockAECProvider"

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        self.frames.append(frame)
        self.streams.append(stream)
        return frame

    def feed_reference(self, frame: AudioFrame, stream: str) -> None:
        self.reference_frames.append(frame)
        self.reference_streams.append(stream)

    def set_active(self, active: bool) -> None:
        self.active_changes.append((None, active))

    def set_stream_active(self, stream: str, active: bool) -> None:
        self.active_changes.append((stream, active))

    def reset(self, stream: str) -> None:
        self.reset_count += 1
        self.reset_streams.append(stream)

    def close(self) -> None:
        self.closed = True
