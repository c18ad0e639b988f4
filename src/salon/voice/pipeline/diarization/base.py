"""What a stage that tells speakers apart promises (V55, V76, V77, V233, V246)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from salon.media.frame import AudioFormat, AudioFrame


@dataclass(frozen=True, slots=True)
class DiarizationResult:
    """Who speaks (V76).

    `speaker_id` is the provider's own label, opaque, comparable only within one stream, and never a
    participant's id (V77, V233); None where the sound is nobody's in particular (V246).
    `confidence` is 0..1 or None. `is_new_speaker`: not heard in this stream before.
    """

    speaker_id: str | None
    confidence: float | None
    is_new_speaker: bool


class DiarizationProvider(ABC):
    """Tells speakers apart in many streams at once (V40-V47); see `VADProvider` for frames and
    threads. It comes after speech detection, which may have left notes in the frame (V55)."""

    required_format: ClassVar[AudioFormat | None] = None
    """The only format it takes; None for any (V38)."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For logs and statistics."""

    @property
    def stream_count(self) -> int:
        """Streams that it keeps something of."""
        return 0

    @abstractmethod
    def process(self, frame: AudioFrame, stream: str) -> DiarizationResult | None:
        """The next frame of `stream`; who speaks, when there is something to tell."""

    def clear_speakers(self) -> None:  # noqa: B027 - not every provider knows voices
        """Forget enrolled voices, which belong to all streams (V45); streams go on."""

    def reset(self, stream: str) -> None:  # noqa: B027
        """Forget everything of `stream`, known or not (V46); enrolled voices stay."""

    def close(self) -> None:  # noqa: B027
        """Free everything (V47); frames that still come make no result. Idempotent."""
