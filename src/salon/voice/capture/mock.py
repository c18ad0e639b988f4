"""A microphone that hears what a test gives it."""

from __future__ import annotations

from salon.base import SYSTEM_CLOCK, Clock
from salon.media.frame import AudioFrame
from salon.voice.capture.base import DEFAULT_BACKLOG_SECONDS, AudioCaptureSource


class MockCaptureSource(AudioCaptureSource):
    """Publishes on the thread that feeds it, started or not. `started` counts the starts."""

    def __init__(
        self,
        *,
        sample_rate: int = 16_000,
        channels: int = 1,
        block_duration_ms: int = 20,
        backlog_seconds: float = DEFAULT_BACKLOG_SECONDS,
        max_backlog_bytes: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(
            sample_rate=sample_rate,
            channels=channels,
            block_duration_ms=block_duration_ms,
            backlog_seconds=backlog_seconds,
            max_backlog_bytes=max_backlog_bytes,
            clock=clock,
        )
        self.running = False
        self.started = 0

    @property
    def block_bytes(self) -> int:
        """Of one frame."""
        samples = self.sample_rate * self.block_duration_ms // 1000
        return samples * self.channels * self.sample_width

    def start(self) -> None:
        self.started += not self.running
        self.running = True

    def stop(self) -> None:
        self.running = False

    def feed(self, data: bytes | AudioFrame) -> None:
        """Capture one frame. `ValueError` if it is misaligned, or of another format."""
        if not isinstance(data, AudioFrame):
            data = AudioFrame(data, self.sample_rate, self.channels, self.sample_width)
        self.publish(data)

    def feed_blocks(self, count: int, *, fill: int = 0) -> list[bytes]:
        """Capture `count` frames whose every byte is `fill`; what they hold."""
        blocks = [bytes([fill]) * self.block_bytes for _ in range(count)]
        for block in blocks:
            self.feed(block)
        return blocks
