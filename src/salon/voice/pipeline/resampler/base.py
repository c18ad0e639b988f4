"""What converts sound between formats, at the pipeline's entrance and exit (V49, V61-V63)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from salon.media.frame import AudioFrame


class ResamplerProvider(ABC):
    """Changes rate, channel count and sample width of many streams at once.

    State (the filter's delay line) belongs to the key `stream` and to the conversion asked for, so
    one provider serves both directions of a call. Over a stream's life, 20 ms in give 20 ms out;
    what the filter's constant delay still holds at the end comes from `flush`.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """For logs and statistics."""

    @property
    def stream_count(self) -> int:
        """How many streams it holds state for."""
        return 0

    @abstractmethod
    def resample(
        self,
        frame: AudioFrame,
        target_rate: int,
        target_channels: int,
        target_width: int,
        stream: str,
    ) -> AudioFrame:
        """`frame` in the target format: Hz, 1 or 2 channels, 1 (unsigned), 2 or 4 bytes a sample.

        `timestamp_ms` stays; ``metadata["original_sample_rate"]`` and
        ``metadata["original_channels"]`` are set (V62). A frame that has the format already comes
        back as it is, noted. Any length goes, an empty frame too; fewer samples than the ratio
        says, even none, may come out while a filter fills. `ValueError` for a format that cannot
        be converted.
        """

    def flush(
        self, target_rate: int, target_channels: int, target_width: int, stream: str
    ) -> AudioFrame | None:
        """The rest of the stream's sound in this format, None if there is none; starts anew."""
        return None

    def reset(self, stream: str | None = None) -> None:  # noqa: B027 - nothing to forget
        """Forget a stream, as if never heard (V46); None: every stream."""

    def close(self) -> None:  # noqa: B027 - nothing to free
        """Forget every stream and free what is held (V47)."""
