"""Conversion of many streams: channels and widths here, the rate by a filter per channel."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from salon.media.frame import AudioFrame, Samples
from salon.media.pcm import decode_pcm
from salon.voice.pipeline.resampler.base import ResamplerProvider

MAX_CONVERSIONS: Final = 4
"""Conversions kept per stream; one more forgets the one not used for longest."""


class RateConverter(Protocol):
    """One channel of one stream from one rate to another, ``int16[n]`` to ``int16[m]``."""

    def process(self, samples: Samples) -> Samples: ...

    def flush(self) -> Samples: ...


@dataclass(frozen=True, slots=True)
class _Conversion:
    """From one format to another. Sound takes the lower number of channels through the filter."""

    in_rate: int
    in_channels: int
    rate: int
    channels: int
    width: int

    @property
    def inner_channels(self) -> int:
        return min(self.in_channels, self.channels)


class StreamingResamplerProvider(ResamplerProvider):
    """The part that is the same for every filter; `_converter` makes the filter of one channel."""

    def __init__(self) -> None:
        self._streams: dict[str, OrderedDict[_Conversion, list[RateConverter]]] = {}

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    @abstractmethod
    def _converter(self, in_rate: int, out_rate: int) -> RateConverter:
        """A filter at rest; `ValueError` for rates it cannot do."""

    def resample(
        self,
        frame: AudioFrame,
        target_rate: int,
        target_channels: int,
        target_width: int,
        stream: str,
    ) -> AudioFrame:
        if (
            frame.sample_rate == target_rate
            and frame.channels == target_channels
            and frame.sample_width == target_width
        ):
            frame.metadata["original_sample_rate"] = frame.sample_rate
            frame.metadata["original_channels"] = frame.channels
            return frame
        conversion = _Conversion(
            frame.sample_rate, frame.channels, target_rate, target_channels, target_width
        )
        out = _filtered(self._filters(stream, conversion), _decoded(frame, conversion))
        metadata = {
            **frame.metadata,
            "original_sample_rate": frame.sample_rate,
            "original_channels": frame.channels,
        }
        return _encoded(out, conversion, frame.timestamp_ms, metadata)

    def flush(
        self, target_rate: int, target_channels: int, target_width: int, stream: str
    ) -> AudioFrame | None:
        conversions = self._streams.get(stream, OrderedDict())
        target = target_rate, target_channels, target_width
        found = [c for c in conversions if (c.rate, c.channels, c.width) == target]
        if not found:
            return None
        newest = found[-1]
        filters = [conversions.pop(conversion) for conversion in found][-1]
        if not conversions:
            del self._streams[stream]
        tail = np.stack([one.flush() for one in filters], axis=1)
        return _encoded(tail, newest, None, {}) if len(tail) else None

    def reset(self, stream: str | None = None) -> None:
        if stream is None:
            self._streams.clear()
        else:
            self._streams.pop(stream, None)

    def close(self) -> None:
        self._streams.clear()

    def _filters(self, stream: str, conversion: _Conversion) -> list[RateConverter]:
        conversions = self._streams.get(stream)
        if conversions is not None and conversion in conversions:
            if len(conversions) > 1:
                conversions.move_to_end(conversion)
            return conversions[conversion]
        filters = self._new_filters(conversion)
        if conversions is None:
            conversions = self._streams[stream] = OrderedDict()
        if len(conversions) == MAX_CONVERSIONS:
            conversions.popitem(last=False)
        conversions[conversion] = filters
        return filters

    def _new_filters(self, conversion: _Conversion) -> list[RateConverter]:
        if conversion.channels not in (1, 2):
            raise ValueError(f"target_channels is {conversion.channels}, not 1 or 2")
        if conversion.width not in (1, 2, 4):
            raise ValueError(f"target_width is {conversion.width}, not 1, 2 or 4")
        rates = conversion.in_rate, conversion.rate
        return [self._converter(*rates) for _ in range(conversion.inner_channels)]


def _decoded(frame: AudioFrame, conversion: _Conversion) -> NDArray[np.int16]:
    """``int16[n, inner_channels]``."""
    if conversion.inner_channels < frame.channels or frame.channels == 1:
        mono = decode_pcm(frame.data, sample_width=frame.sample_width, channels=frame.channels)
        return mono[:, None]
    return decode_pcm(frame.data, sample_width=frame.sample_width).reshape(-1, frame.channels)


def _filtered(filters: list[RateConverter], samples: NDArray[np.int16]) -> NDArray[np.int16]:
    if len(filters) == 1:
        return filters[0].process(samples[:, 0])[:, None]
    return np.stack([one.process(samples[:, at]) for at, one in enumerate(filters)], axis=1)


def _encoded(
    samples: NDArray[np.int16],
    target: _Conversion,
    timestamp_ms: float | None,
    metadata: dict[str, object],
) -> AudioFrame:
    if target.channels == target.width // 2 == 1:
        return AudioFrame.of(samples[:, 0], target.rate, timestamp_ms, metadata)
    if samples.shape[1] < target.channels:
        samples = np.repeat(samples, target.channels, axis=1)
    match target.width:
        case 1:
            # Rounded: 8-bit samples are unsigned, their middle is 128.
            data = (np.minimum(samples.astype(np.int32) + 128, 32767) // 256 + 128).astype(np.uint8)
            raw = data.tobytes()
        case 2:
            raw = samples.astype("<i2", copy=False).tobytes()
        case _:
            raw = (samples.astype("<i4") << 16).tobytes()
    return AudioFrame(raw, target.rate, target.channels, target.width, timestamp_ms, metadata)
