"""What a voice activity detector promises (V72-V74, V239)."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from salon.media.frame import AudioFormat, AudioFrame
from salon.voice.vad.config import VADConfig

__all__ = ["VADConfig", "VADEvent", "VADEventType", "VADProvider"]

_log = logging.getLogger("salon.voice")


class VADEventType(StrEnum):
    """V73."""

    SPEECH_START = "speech_start"
    SPEECH_END = "speech_end"
    SILENCE = "silence"
    """Quiet has lasted for longer than ``silence_threshold_ms``; told once per quiet stretch."""
    AUDIO_LEVEL = "audio_level"
    """Periodic, at most ten times per second of sound."""


@dataclass(slots=True)
class VADEvent:
    """What a detector noticed (V72).

    `audio_bytes`, in the format of the frames: at SPEECH_END the whole segment with what was kept
    from before it, at SPEECH_START that part of it that is known already, so that a streaming
    recogniser can begin with it. `duration_ms`: at SPEECH_END from the beginning of the speech to
    now, the quiet that ended it included; at SILENCE the length of the quiet. `confidence` 0..1;
    `level_db` in dBFS.
    """

    type: VADEventType
    audio_bytes: bytes | None = None
    confidence: float | None = None
    duration_ms: float | None = None
    level_db: float | None = None


class VADProvider(ABC):
    """Finds speech in many streams at once (V40-V47).

    Frames of a stream come in order and keep one format until `reset`; `ValueError` for another
    format or one that the detector can't read. State is kept per stream; nothing of one stream
    shows in another. A stream's methods are called from one thread at a time, those of different
    streams from as many threads as the pipeline is driven from; they never block for long.
    """

    required_format: ClassVar[AudioFormat | None] = None
    """The only format it takes; None for any (V38)."""

    _told_unconfigurable = False

    @property
    @abstractmethod
    def name(self) -> str:
        """For logs and statistics."""

    @property
    def stream_count(self) -> int:
        """Streams that it keeps something of."""
        return 0

    @abstractmethod
    def process(self, frame: AudioFrame, stream: str) -> VADEvent | None:
        """The next frame of `stream`, of any length; an event when something changed.

        A call gives one event. When a frame makes several, the others come from the next calls, in
        order; levels give way to the rest.
        """

    def configure(self, config: VADConfig) -> None:
        """Apply the fields that are set, for streams that begin later (V239).

        A detector that can't be configured says so in the log, once. Others raise
        `ConfigurationError` for what they don't know.
        """
        if config.is_empty or self._told_unconfigurable:
            return
        self._told_unconfigurable = True
        _log.warning("%s takes no VADConfig: vad_config is ignored", self.name)

    def reset(self, stream: str) -> None:  # noqa: B027 - a detector without state has nothing to do
        """Forget everything of `stream`, known or not (V46)."""

    def close(self) -> None:  # noqa: B027
        """Free the state of all streams (V47); frames that still come make no event. Idempotent."""
