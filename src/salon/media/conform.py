"""Frames from outside in any format become the one format inside (V62, V63, G130)."""

from __future__ import annotations

from salon.media.frame import SAMPLE_RATE, AudioFrame
from salon.media.pcm import decode_pcm
from salon.media.resample import Resampler


class FrameResampler:
    """Turns the frames of one stream into mono 16-bit frames at `out_rate`.

    Channels are averaged (G130). `timestamp_ms` stays; `metadata` gains `original_sample_rate` and
    `original_channels` (V62). A frame that is right already passes as it is. When the format of the
    stream changes, the filter starts anew.
    """

    __slots__ = ("_resampler", "out_rate")

    def __init__(self, out_rate: int = SAMPLE_RATE) -> None:
        self.out_rate = out_rate
        self._resampler = Resampler(out_rate, out_rate)

    @property
    def delay_ms(self) -> float:
        """Delay for the format of the newest frame."""
        return self._resampler.delay_ms

    def process(self, frame: AudioFrame) -> AudioFrame:
        """The same sound, converted. `ValueError` for sample widths other than 1 to 4 bytes."""
        if frame.sample_rate == self.out_rate and frame.channels == 1 and frame.sample_width == 2:
            return frame
        if frame.sample_rate != self._resampler.in_rate:
            self._resampler = Resampler(frame.sample_rate, self.out_rate)
        samples = decode_pcm(frame.data, sample_width=frame.sample_width, channels=frame.channels)
        metadata = {
            **frame.metadata,
            "original_sample_rate": frame.sample_rate,
            "original_channels": frame.channels,
        }
        data = self._resampler.process(samples).astype("<i2", copy=False).tobytes()
        return AudioFrame(data, self.out_rate, 1, 2, frame.timestamp_ms, metadata)
