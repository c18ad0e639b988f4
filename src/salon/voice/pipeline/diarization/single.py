"""One speaker per stream, which is what a line of one's own has."""

from __future__ import annotations

from typing import Final

from salon.media.frame import AudioFrame
from salon.media.level import rms_dbfs
from salon.voice.pipeline.diarization.base import DiarizationProvider, DiarizationResult

SPEECH_NOTE: Final = "vad_is_speech"
"""The pipeline's mark on frames of speech."""


class SingleSpeakerDiarizationProvider(DiarizationProvider):
    """Whoever speaks in a stream is `speaker_id`, new with the first frame of speech.

    Speech is what the detector before it has marked (V55) and, with `level_dbfs`, whatever is as
    loud as that. Frames without speech have no result. Two streams may give the same label: it
    means nothing outside its stream (V233).
    """

    def __init__(self, *, speaker_id: str = "speaker_0", level_dbfs: float | None = None) -> None:
        if not speaker_id:
            raise ValueError("speaker_id must not be empty")
        self._level = level_dbfs
        self._first = DiarizationResult(speaker_id, None, True)
        self._again = DiarizationResult(speaker_id, None, False)
        self._known: set[str] = set()
        self._closed = False

    @property
    def name(self) -> str:
        return "SingleSpeakerDiarizationProvider"

    @property
    def stream_count(self) -> int:
        return len(self._known)

    def process(self, frame: AudioFrame, stream: str) -> DiarizationResult | None:
        if self._closed or not (frame.metadata.get(SPEECH_NOTE) or self._is_loud(frame)):
            return None
        if stream in self._known:
            return self._again
        self._known.add(stream)
        return self._first

    def _is_loud(self, frame: AudioFrame) -> bool:
        return self._level is not None and rms_dbfs(frame.samples) >= self._level

    def reset(self, stream: str) -> None:
        self._known.discard(stream)

    def close(self) -> None:
        self._closed = True
        self._known.clear()
