"""A provider that plays a script."""

from __future__ import annotations

from collections.abc import Sequence

from salon.media.frame import AudioFrame
from salon.voice.pipeline.diarization.base import DiarizationProvider, DiarizationResult


class MockDiarizationProvider(DiarizationProvider):
    """Each stream gets `results` from the first on, one per frame, then None.

    `frames` has every frame.
    """

    def __init__(self, results: list[DiarizationResult | None] | None = None) -> None:
        self._results: Sequence[DiarizationResult | None] = tuple(results or ())
        self._next: dict[str, int] = {}
        self.frames: list[AudioFrame] = []
        self.reset_count = 0
        self.cleared_count = 0
        self.closed = False

    @property
    def name(self) -> str:
        return "MockDiarizationProvider"

    @property
    def stream_count(self) -> int:
        return len(self._next)

    def process(self, frame: AudioFrame, stream: str) -> DiarizationResult | None:
        self.frames.append(frame)
        place = self._next.get(stream, 0)
        self._next[stream] = place + 1
        return self._results[place] if place < len(self._results) else None

    def clear_speakers(self) -> None:
        self.cleared_count += 1

    def reset(self, stream: str) -> None:
        """`stream` starts from the first result again."""
        self.reset_count += 1
        self._next.pop(stream, None)

    def close(self) -> None:
        self.closed = True
        self._next.clear()
