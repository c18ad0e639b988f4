"""What was heard, in figures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salon.media import AudioChunk, AudioFrame


def frequency(samples: NDArray[Any], rate: int) -> float:
    """Hz of the strongest part of ``[n]``."""
    window = np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64) * window))
    return float(np.argmax(spectrum) * rate / len(samples))


def of_frames(frames: list[AudioFrame]) -> tuple[NDArray[np.int16], int]:
    """Their samples and rate."""
    (rate,) = {frame.sample_rate for frame in frames}
    return np.frombuffer(b"".join(frame.data for frame in frames), "<i2"), rate


def of_client(frames: list[Any]) -> tuple[NDArray[Any], int]:
    """The first channel of what an aiortc client decoded, and its rate."""
    parts = []
    for frame in frames:
        samples = frame.to_ndarray()
        channels = len(frame.layout.channels)
        parts.append(samples[0][::channels] if samples.shape[0] == 1 else samples[0])
    return np.concatenate(parts), frames[0].sample_rate


def chunk(hertz: float, milliseconds: int, rate: int = 16_000, **more: Any) -> AudioChunk:
    """A tone."""
    count = rate * milliseconds // 1000
    samples = 8000 * np.sin(2 * np.pi * hertz * np.arange(count) / rate)
    return AudioChunk(samples.astype("<i2").tobytes(), rate, **more)


async def until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Wait for it."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)
