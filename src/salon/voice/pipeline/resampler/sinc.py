"""The band-limited resampler (V63)."""

from __future__ import annotations

from salon.media.resample import Resampler
from salon.voice.pipeline.resampler.streaming import RateConverter, StreamingResamplerProvider


class SincResamplerProvider(StreamingResamplerProvider):
    """Polyphase windowed-sinc filters of `salon.media.resample`: 60 dB stop band, delay 1.4 ms at
    16 kHz and 2.75 ms at 8 kHz.

    The length of the filters follows from the rates; `taps` is taken for RoomKit's sake and has no
    effect. Rates from 1 to 192 kHz; `ValueError` for pairs whose ratio is too odd.
    """

    def __init__(self, taps: int = 16) -> None:
        super().__init__()
        if taps < 1:
            raise ValueError(f"taps is {taps}, not positive")

    @property
    def name(self) -> str:
        return "sinc"

    def _converter(self, in_rate: int, out_rate: int) -> RateConverter:
        return Resampler(in_rate, out_rate)
