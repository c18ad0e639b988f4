"""Reads recordings back with programs that are not ours."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.media.frame import Samples


def read_wav(path: str | Path) -> tuple[Samples, int]:
    """By the standard library: ``int16[n, channels]`` and the rate."""
    with wave.open(str(path), "rb") as file:
        assert file.getsampwidth() == 2
        data = file.readframes(file.getnframes())
        samples = np.frombuffer(data, dtype="<i2").reshape(-1, file.getnchannels())
        return samples, file.getframerate()


def read_any(path: str | Path) -> tuple[Samples, int]:
    """By PyAV: ``int16[n, channels]`` and the rate."""
    av: Any = pytest.importorskip("av")
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        channels, rate = stream.codec_context.channels, stream.codec_context.sample_rate
        pieces = [frame.to_ndarray() for frame in file.decode(audio=0)]
    planar = [p if p.shape[0] == channels else p.reshape(-1, channels).T for p in pieces]
    if not planar:
        return np.zeros((0, channels), dtype=np.int16), rate
    joined = np.concatenate(planar, axis=1).T
    scale = 32767 if joined.dtype.kind == "f" else 1
    return np.asarray(np.clip(joined * scale, -32768, 32767), dtype=np.int16), rate
