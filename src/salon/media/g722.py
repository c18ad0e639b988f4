"""G.722 at 64 kbit/s: 16 kHz sound, one byte for two samples (G42), by the codec inside PyAV.

PyAV is loaded when the first encoder or decoder is made, not before.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import numpy as np

from salon.base import MissingExtraError
from salon.media.errors import MediaError
from salon.media.frame import FRAME_SAMPLES, SAMPLE_RATE, Samples

_EMPTY: Final[Samples] = np.zeros(0, dtype=np.int16)
DELAY_SAMPLES: Final = 22
"""Delay of an encoder and a decoder together, by their band-splitting filters: 1.4 ms."""


def _pyav() -> Any:
    try:
        return import_module("av")
    except ImportError as missing:
        raise MissingExtraError("codecs", "G.722") from missing


class G722Encoder:
    """Streaming encoder. Pieces of any length may come; coding goes in steps of `frame_samples`.

    A whole number of steps leaves nothing behind: 320 samples in are 160 bytes out at once. A
    remainder (less than one step) waits for the next call. `MissingExtraError` without PyAV.
    """

    __slots__ = ("_av", "_context", "_frame", "_rest", "_step")

    def __init__(self, frame_samples: int = FRAME_SAMPLES) -> None:
        if frame_samples < 2 or frame_samples % 2:
            raise ValueError(f"frame_samples must be even and at least 2, not {frame_samples}")
        self._av = _pyav()
        self._step = frame_samples
        self._rest = _EMPTY
        self._open()

    def _open(self) -> None:
        context = self._av.CodecContext.create("g722", "w")
        context.sample_rate = SAMPLE_RATE
        context.layout = "mono"
        context.format = "s16"
        context.options = {"frame_size": str(self._step)}
        context.open()
        self._context = context
        # One frame is used again and again: the codec is done with it when `encode` returns.
        self._frame = self._av.AudioFrame(format="s16", layout="mono", samples=self._step)
        self._frame.sample_rate = SAMPLE_RATE

    @property
    def pending(self) -> int:
        """Samples that wait for the rest of their step."""
        return len(self._rest)

    def encode(self, samples: Samples) -> bytes:
        """``int16[n]`` at 16 kHz to the bytes of all steps completed by it."""
        step = self._step
        if len(self._rest):
            samples = np.concatenate([self._rest, samples])
        whole = len(samples) // step * step
        out = b"".join(
            self._encode_step(samples[start : start + step]) for start in range(0, whole, step)
        )
        self._rest = samples[whole:].copy() if whole < len(samples) else _EMPTY
        return out

    def _encode_step(self, samples: Samples) -> bytes:
        self._frame.planes[0].update(np.ascontiguousarray(samples))
        self._frame.pts = None
        return b"".join(bytes(packet) for packet in self._context.encode(self._frame))

    def flush(self) -> bytes:
        """Code the remainder, padded with zeros to a whole byte, and start anew."""
        rest = self._rest
        self._rest = _EMPTY
        out = b""
        if len(rest):
            padded = np.zeros(self._step, dtype=np.int16)
            padded[: len(rest)] = rest
            out = self._encode_step(padded)[: (len(rest) + 1) // 2]
        self._open()
        return out


class G722Decoder:
    """Streaming decoder; payloads of any length. `MissingExtraError` without PyAV."""

    __slots__ = ("_av", "_context")

    def __init__(self) -> None:
        self._av = _pyav()
        context = self._av.CodecContext.create("g722", "r")
        context.sample_rate = SAMPLE_RATE
        context.layout = "mono"
        context.open()
        self._context = context

    def decode(self, payload: bytes | bytearray | memoryview) -> Samples:
        """n bytes to ``int16[2 n]`` at 16 kHz, nothing held back."""
        if not payload:
            return _EMPTY
        try:
            frames = self._context.decode(self._av.Packet(bytes(payload)))
        except self._av.FFmpegError as error:
            raise MediaError(f"G.722 payload of {len(payload)} bytes: {error}") from error
        pieces = [
            np.frombuffer(frame.planes[0], dtype=np.int16, count=frame.samples) for frame in frames
        ]
        return pieces[0] if len(pieces) == 1 else np.concatenate([_EMPTY, *pieces])
