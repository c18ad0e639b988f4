"""The built-in denoiser (V71)."""

from __future__ import annotations

from typing import Final

from salon.media.frame import AudioFrame
from salon.voice.pipeline.denoiser.base import DenoiserProvider
from salon.voice.pipeline.denoiser.blocks import Blocks
from salon.voice.pipeline.denoiser.suppressor import Suppressor

LEAST_RATE: Final = 4_000


class _Stream:
    __slots__ = ("blocks", "rate", "suppressor")

    def __init__(self, rate: int) -> None:
        self.rate = rate
        hop = rate // 100
        self.blocks = Blocks(hop)
        self.suppressor = Suppressor(hop)


class SpectralDenoiserProvider(DenoiserProvider):
    """Takes out steady noise (fans, hiss, hum) with numpy alone, at any rate from 4 kHz on.

    The sound is 20 ms late; 30 ms if frames are not whole multiples of 10 ms. The first 60 ms of a
    stream are taken for noise, and it follows changes of the noise within about a second. Voices in
    the background are speech to it. 16-bit mono; `ValueError` for anything else. A stream whose
    rate changes starts anew.
    """

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._closed = False

    @property
    def name(self) -> str:
        return "spectral"

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        if frame.channels != 1 or frame.sample_width != 2 or frame.sample_rate < LEAST_RATE:
            raise ValueError(
                f"{self.name} takes 16-bit mono from {LEAST_RATE} Hz on, not {frame.channels} "
                f"channels of {8 * frame.sample_width} bits at {frame.sample_rate} Hz"
            )
        if self._closed or not frame.data:
            return frame
        state = self._streams.get(stream)
        if state is None or state.rate != frame.sample_rate:
            state = self._streams[stream] = _Stream(frame.sample_rate)
        return frame.with_samples(state.blocks.process(frame.samples, state.suppressor.process))

    def reset(self, stream: str) -> None:
        self._streams.pop(stream, None)

    def close(self) -> None:
        self._closed = True
        self._streams.clear()
