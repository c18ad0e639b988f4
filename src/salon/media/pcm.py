"""Raw samples of any common kind become mono int16 (G130)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from salon.media.frame import Samples

INT16_MIN = -32768
INT16_MAX = 32767


def to_int16(values: NDArray[np.float64]) -> Samples:
    """Round to the nearest integer and clamp to int16; any shape. `values` may be overwritten."""
    np.rint(values, out=values)
    np.clip(values, INT16_MIN, INT16_MAX, out=values)
    return values.astype(np.int16)


def decode_pcm(
    data: bytes | bytearray | memoryview,
    *,
    sample_width: int = 2,
    channels: int = 1,
    floating: bool = False,
) -> Samples:
    """Little-endian samples of `sample_width` bytes to mono ``int16[n]``; channels are averaged.

    Integers are 1 (unsigned), 2, 3 or 4 (signed) bytes wide, floats 4 or 8 with full scale 1.0.
    Bytes after the last whole sample of all channels are ignored. 16-bit mono is a read-only view
    of `data`, not a copy. `ValueError` for any other width.
    """
    step = sample_width * channels
    if step <= 0:
        raise ValueError("sample_width and channels must be positive")
    count = len(data) // step
    whole = memoryview(data)[: count * step]
    if not floating and sample_width == 2:
        samples = np.frombuffer(whole, dtype="<i2")
        return samples if channels == 1 else _average(samples, channels)
    return _average(_widened(whole, sample_width, floating), channels)


def _widened(data: memoryview, sample_width: int, floating: bool) -> NDArray[np.float64]:
    """The samples as float64 on the int16 scale."""
    if floating:
        if sample_width not in (4, 8):
            raise ValueError(f"float samples are 4 or 8 bytes wide, not {sample_width}")
        raw = np.frombuffer(data, dtype=f"<f{sample_width}").astype(np.float64)
        return np.clip(np.nan_to_num(raw), -1.0, 1.0) * 32768.0
    match sample_width:
        case 1:
            return (np.frombuffer(data, dtype=np.uint8).astype(np.float64) - 128.0) * 256.0
        case 2:
            return np.frombuffer(data, dtype="<i2").astype(np.float64)
        case 3:
            padded = np.zeros((len(data) // 3, 4), dtype=np.uint8)
            padded[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
            return padded.view("<i4")[:, 0].astype(np.float64) / 65536.0
        case 4:
            return np.frombuffer(data, dtype="<i4").astype(np.float64) / 65536.0
        case _:
            raise ValueError(f"integer samples are 1 to 4 bytes wide, not {sample_width}")


def _average(samples: NDArray[np.generic], channels: int) -> Samples:
    if channels == 1:
        return to_int16(samples.astype(np.float64))
    return to_int16(samples.reshape(-1, channels).mean(axis=1, dtype=np.float64))


def to_mono(samples: Samples, channels: int) -> Samples:
    """Interleaved ``int16[n * channels]`` to ``int16[n]`` by averaging (G130)."""
    if channels < 1:
        raise ValueError(f"channels must be 1 or more, not {channels}")
    if channels == 1:
        return samples
    whole = len(samples) // channels * channels
    return _average(samples[:whole], channels)
