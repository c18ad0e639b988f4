"""A detector that plays a script."""

from __future__ import annotations

from collections.abc import Sequence

from salon.media.frame import AudioFrame
from salon.voice.pipeline.vad.base import VADConfig, VADEvent, VADProvider


class MockVADProvider(VADProvider):
    """Each stream gets `events` from the first on, one per frame, then None.

    `frames` has every frame, `configured` every configuration, `reset_count` and `closed` the rest.
    """

    def __init__(self, events: list[VADEvent | None] | None = None) -> None:
        self._events: Sequence[VADEvent | None] = tuple(events or ())
        self._next: dict[str, int] = {}
        self.frames: list[AudioFrame] = []
        self.configured: list[VADConfig] = []
        self.reset_count = 0
        self.closed = False

    @property
    def name(self) -> str:
        return "MockVADProvider"

    @property
    def stream_count(self) -> int:
        return len(self._next)

    def configure(self, config: VADConfig) -> None:
        self.configured.append(config)

    def process(self, frame: AudioFrame, stream: str) -> VADEvent | None:
        self.frames.append(frame)
        place = self._next.get(stream, 0)
        self._next[stream] = place + 1
        return self._events[place] if place < len(self._events) else None

    def reset(self, stream: str) -> None:
        """`stream` starts from the first event again."""
        self.reset_count += 1
        self._next.pop(stream, None)

    def close(self) -> None:
        self.closed = True
        self._next.clear()
