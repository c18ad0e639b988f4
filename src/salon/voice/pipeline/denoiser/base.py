"""What takes noise out of speech before it is detected and recognised (V54, V71)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from salon.media.frame import AudioFormat, AudioFrame


class DenoiserProvider(ABC):
    """Removes noise from many streams; what it learns of the noise belongs to the key (V42).

    A frame gives a frame of the same length. The sound in it may be late by a constant delay, with
    silence before the first of it; stamps are not moved. The input is not written to.
    """

    required_format: AudioFormat | None = None
    """The only format it takes; None: any rate, 16-bit mono (V38)."""

    @property
    @abstractmethod
    def name(self) -> str:
        """For logs and statistics."""

    @property
    def stream_count(self) -> int:
        """How many streams it holds state for."""
        return 0

    @abstractmethod
    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        """The frame without noise. Any length goes. `ValueError` for a format it cannot take."""

    def reset(self, stream: str) -> None:  # noqa: B027 - nothing to forget
        """Forget a stream, as if never heard (V46)."""

    def close(self) -> None:  # noqa: B027 - nothing to free
        """Forget every stream and free what is held (V47)."""
