"""A detector that plays a script."""

from __future__ import annotations

from collections.abc import Sequence

from salon.media.frame import AudioFrame
from salon.voice.pipeline.dtmf.base import DTMFDetector, DTMFEvent


class MockDTMFDetector(DTMFDetector):
    """Each stream gets `events` from the first on, one per frame, then None.

    `frames` has every frame; streams in `sounding` hold a tone.
    """

    def __init__(self, events: list[DTMFEvent | None] | None = None) -> None:
        self._events: Sequence[DTMFEvent | None] = tuple(events or ())
        self._next: dict[str, int] = {}
        self.frames: list[AudioFrame] = []
        self.sounding: set[str] = set()
        self.reset_count = 0
        self.closed = False

    @property
    def name(self) -> str:
        return "MockDTMFDetector"

    @property
    def stream_count(self) -> int:
        return len(self._next)

    def process(self, frame: AudioFrame, stream: str) -> DTMFEvent | None:
        self.frames.append(frame)
        place = self._next.get(stream, 0)
        self._next[stream] = place + 1
        return self._events[place] if place < len(self._events) else None

    def tone_active(self, stream: str) -> bool:
        return stream in self.sounding

    def reset(self, stream: str) -> None:
        """`stream` starts from the first event again."""
        self.reset_count += 1
        self._next.pop(stream, None)
        self.sounding.discard(stream)

    def close(self) -> None:
        self.closed = True
        self._next.clear()
        self.sounding.clear()
