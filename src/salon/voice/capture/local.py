"""The microphone of this machine (extra ``local``)."""

from __future__ import annotations

from typing import Any

from salon.base import SYSTEM_CLOCK, Clock
from salon.media.frame import AudioFrame
from salon.voice.capture.base import DEFAULT_BACKLOG_SECONDS, AudioCaptureSource
from salon.voice.capture.device import DeviceModule, DeviceStream, opened, sound_device


class LocalMicSource(AudioCaptureSource):
    """A device of PortAudio, by number or part of its name; None for the default one.

    `overflows` counts the blocks before which the device lost sound. `module` stands in for
    `sounddevice`; else `MissingExtraError` at the making without it.
    """

    def __init__(
        self,
        *,
        input_device: int | str | None = None,
        sample_rate: int = 16_000,
        channels: int = 1,
        block_duration_ms: int = 20,
        backlog_seconds: float = DEFAULT_BACKLOG_SECONDS,
        max_backlog_bytes: int | None = None,
        module: DeviceModule | None = None,
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
        self._device = input_device
        self._module = sound_device() if module is None else module
        self._stream: DeviceStream | None = None
        self._began = 0.0
        self.overflows = 0

    @property
    def input_latency_ms(self) -> float | None:
        return None if self._stream is None else self._stream.latency * 1000

    def start(self) -> None:
        if self._stream is not None:
            return
        self._began = self._clock.monotonic()
        self._stream = opened(
            self._module.RawInputStream,
            "microphone",
            samplerate=self.sample_rate,
            blocksize=self.sample_rate * self.block_duration_ms // 1000,
            channels=self.channels,
            dtype="int16",
            device=self._device,
            callback=self._captured,
        )

    def stop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.stop()
            stream.close()

    def _captured(self, data: Any, frames: int, time: Any, status: Any) -> None:
        """On PortAudio's thread."""
        del frames, time
        if status and getattr(status, "input_overflow", True):
            self.overflows += 1
        stamp = (self._clock.monotonic() - self._began) * 1000
        self.publish(AudioFrame(bytes(data), self.sample_rate, self.channels, 2, stamp))
