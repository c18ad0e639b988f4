"""The public audio units of the pipeline, and the one format that travels inside (V7-V12, G130).

Inside Salon sound is always 16 kHz mono signed 16 bit, cut into 20 ms: one ``int16[320]`` numpy
view. `AudioFrame` and `AudioChunk` are what user code sees at the edges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Hz of everything inside."""
FRAME_MS = 20
FRAME_SAMPLES = SAMPLE_RATE * FRAME_MS // 1000
"""320 samples, 640 bytes."""
FRAME_BYTES = FRAME_SAMPLES * 2

Samples = NDArray[np.int16]
"""``int16[n]``, mono, 16 kHz unless said otherwise."""

SILENCE: Samples = np.zeros(FRAME_SAMPLES, dtype=np.int16)
SILENCE.flags.writeable = False


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Rate in Hz, channel count, bytes per sample and codec name (V11)."""

    sample_rate: int = SAMPLE_RATE
    channels: int = 1
    sample_width: int = 2
    codec: str = "pcm_s16le"


@dataclass(slots=True)
class AudioFrame:
    """One piece of inbound sound (V7).

    `data` holds whole samples: a length not divisible by ``sample_width * channels`` raises
    `ValueError` here (V8). `timestamp_ms` counts from the start of the session. Stages leave notes
    in `metadata`.
    """

    data: bytes
    sample_rate: int = SAMPLE_RATE
    channels: int = 1
    sample_width: int = 2
    timestamp_ms: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.sample_rate <= 0 or self.channels <= 0 or self.sample_width <= 0:
            raise ValueError("sample_rate, channels and sample_width must be positive")
        step = self.sample_width * self.channels
        if len(self.data) % step:
            raise ValueError(
                f"{len(self.data)} bytes are not a whole number of samples of {step} bytes"
            )

    @property
    def duration_ms(self) -> float:
        """Length in milliseconds."""
        samples = len(self.data) // (self.sample_width * self.channels)
        return samples * 1000 / self.sample_rate

    def to_chunk(self, *, is_final: bool = False) -> AudioChunk:
        """The same sound as a chunk; metadata is dropped (V10)."""
        stamp = None if self.timestamp_ms is None else int(self.timestamp_ms)
        return AudioChunk(
            self.data, self.sample_rate, self.channels, timestamp_ms=stamp, is_final=is_final
        )


@dataclass(slots=True)
class AudioChunk:
    """One piece of outbound sound of any size; not validated, may be empty when final (V9, V12)."""

    data: bytes
    sample_rate: int = SAMPLE_RATE
    channels: int = 1
    format: str = "pcm_s16le"
    timestamp_ms: int | None = None
    is_final: bool = False

    def to_frame(self, *, sample_width: int = 2) -> AudioFrame:
        """The same sound as a frame with empty metadata; `ValueError` if misaligned (V10)."""
        stamp = None if self.timestamp_ms is None else float(self.timestamp_ms)
        return AudioFrame(self.data, self.sample_rate, self.channels, sample_width, stamp)
