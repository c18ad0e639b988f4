"""What a stage on the way to the listener promises (V57)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from salon.media.frame import AudioFormat, AudioFrame


class AudioPostProcessor(ABC):
    """Changes outbound sound, in many streams at once (V40-V47); see `VADProvider` for frames and
    threads.

    The frame given back has the format, stamps and notes of the one that came, and as many samples
    unless the processor says otherwise; the one that came is not changed.
    """

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
    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        """The next frame of `stream`, of any length, as it should be heard."""

    def reset(self, stream: str) -> None:  # noqa: B027 - a processor without state has nothing to do
        """Forget everything of `stream`, known or not (V46)."""

    def close(self) -> None:  # noqa: B027
        """Free the state of all streams (V47); frames that still come need no state. Idempotent."""
