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


MAX_RATE = 192_000


@dataclass(slots=True)
class AudioFrame:
    """One piece of inbound sound (V7).

    `data` holds whole samples of `sample_width` bytes (1, 2 or 4), interleaved, at a rate of 1 to
    192,000 Hz, of 1 or 2 channels; anything else raises `ValueError` here (V8). `timestamp_ms`
    counts from the start of the session. Stages leave notes in `metadata`.
    """

    data: bytes
    sample_rate: int = SAMPLE_RATE
    channels: int = 1
    sample_width: int = 2
    timestamp_ms: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    _samples: Samples | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.data, bytes):
            raise ValueError(f"data is {type(self.data).__name__}, not bytes")
        if not 1 <= self.sample_rate <= MAX_RATE:
            raise ValueError(f"sample_rate is {self.sample_rate}, not within 1..{MAX_RATE}")
        if self.channels not in (1, 2):
            raise ValueError(f"channels is {self.channels}, not 1 or 2")
        if self.sample_width not in (1, 2, 4):
            raise ValueError(f"sample_width is {self.sample_width}, not 1, 2 or 4")
        step = self.sample_width * self.channels
        if len(self.data) % step:
            raise ValueError(
                f"{len(self.data)} bytes are not a whole number of samples of {step} bytes"
            )

    @classmethod
    def of(
        cls,
        samples: Samples,
        sample_rate: int = SAMPLE_RATE,
        timestamp_ms: float | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> AudioFrame:
        """A mono frame of ``int16[n]``."""
        frame = cls(
            samples.tobytes(), sample_rate, 1, 2, timestamp_ms, {} if metadata is None else metadata
        )
        frame._samples = samples
        return frame

    @property
    def samples(self) -> Samples:
        """The sound as ``int16[n * channels]``, not to be written to; `ValueError` unless
        `sample_width` is 2."""
        if self._samples is None:
            if self.sample_width != 2:
                raise ValueError(f"samples are {self.sample_width} bytes wide, not 2")
            self._samples = np.frombuffer(self.data, dtype="<i2")
        return self._samples

    def with_samples(self, samples: Samples) -> AudioFrame:
        """This frame's stamps and notes (the same dictionary) with other sound, ``int16[n]`` of
        the same rate and channel count."""
        frame = AudioFrame(
            samples.tobytes(), self.sample_rate, self.channels, 2, self.timestamp_ms, self.metadata
        )
        frame._samples = samples
        return frame

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
