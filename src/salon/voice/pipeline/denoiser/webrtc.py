"""The noise suppressor of WebRTC, from whichever wheel brings it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from salon.base import MissingExtraError
from salon.media.frame import AudioFormat, AudioFrame, Samples
from salon.voice.pipeline.denoiser.base import DenoiserProvider
from salon.voice.pipeline.denoiser.blocks import Blocks, BlockWork

RATES: Final = (8_000, 16_000, 32_000, 48_000)
_STRENGTH: Final = 3
"""Of 1 to 4: about 15 dB."""


class _Stream:
    __slots__ = ("blocks", "work")

    def __init__(self, size: int, work: BlockWork) -> None:
        self.blocks = Blocks(size)
        self.work = work


class WebRTCNoiseSuppressorProvider(DenoiserProvider):
    """One native suppressor per stream (V44), made on its first frame.

    At 16 kHz mono it takes the small wheel of the extra "denoise" if that is installed, else, and
    for 8, 32 and 48 kHz, that of the extra "echo". Frames that are whole multiples of 10 ms are
    not cut anew. The suppressor itself is 3 to 6 ms late. `MissingExtraError` here if there is
    none, `ValueError` for formats it cannot do.
    """

    def __init__(self, sample_rate: int = 16_000, channels: int = 1) -> None:
        if sample_rate not in RATES:
            raise ValueError(f"sample_rate is {sample_rate}, not one of {RATES}")
        if channels != 1:
            raise ValueError(f"channels is {channels}, not 1")
        self.required_format = AudioFormat(sample_rate, channels, 2)
        self._size = sample_rate // 100
        self._make = _maker(sample_rate)
        self._streams: dict[str, _Stream] = {}
        self._closed = False

    @property
    def name(self) -> str:
        return "webrtc_ns"

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    def process(self, frame: AudioFrame, stream: str) -> AudioFrame:
        form = self.required_format
        if (
            form is None
            or frame.sample_rate != form.sample_rate
            or frame.channels != form.channels
            or frame.sample_width != form.sample_width
        ):
            raise ValueError(
                f"{self.name} was made for {form}, not {frame.sample_rate} Hz, {frame.channels} "
                f"channels, {frame.sample_width} bytes"
            )
        if self._closed or not frame.data:
            return frame
        state = self._streams.get(stream)
        if state is None:
            state = self._streams[stream] = _Stream(self._size, self._make())
        return frame.with_samples(state.blocks.process(frame.samples, state.work))

    def reset(self, stream: str) -> None:
        self._streams.pop(stream, None)

    def close(self) -> None:
        self._closed = True
        self._streams.clear()


def _maker(rate: int) -> Callable[[], BlockWork]:
    """What makes the suppressor of one stream."""
    if rate == 16_000:
        try:
            small = importlib.import_module("webrtc_noise_gain")
        except ImportError:
            pass
        else:
            return lambda: _small(small)
    try:
        rtc = importlib.import_module("livekit.rtc")
    except ImportError as error:
        extra = "denoise" if rate == 16_000 else "echo"
        raise MissingExtraError(extra, f"WebRTCNoiseSuppressorProvider at {rate} Hz") from error
    return lambda: _large(rtc, rate)


def _small(library: Any) -> BlockWork:
    processor = library.AudioProcessor(0, _STRENGTH)

    def work(block: Samples) -> Samples:
        return np.frombuffer(processor.Process10ms(block.tobytes()).audio, dtype="<i2")

    return work


def _large(rtc: Any, rate: int) -> BlockWork:
    module = rtc.AudioProcessingModule(noise_suppression=True)

    def work(block: Samples) -> Samples:
        frame = rtc.AudioFrame(bytearray(block.tobytes()), rate, 1, len(block))
        module.process_stream(frame)
        return np.frombuffer(frame.data, dtype=np.int16)

    return work
