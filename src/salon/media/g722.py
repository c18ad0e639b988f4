"""G.722 at 64 kbit/s: 16 kHz sound, one byte for two samples (G42), by the library of that name.

It is loaded when the first encoder or decoder is made, not before. (The codec inside PyAV gives the
same bytes, but each of its encoders keeps two threads.)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import numpy as np

from salon.base import MissingExtraError
from salon.media.frame import SAMPLE_RATE, Samples

_EMPTY: Final[Samples] = np.zeros(0, dtype=np.int16)
BIT_RATE: Final = 64_000
DELAY_SAMPLES: Final = 22
"""Delay of an encoder and a decoder together, by their band-splitting filters: 1.4 ms."""


def _codec() -> Any:
    try:
        library = import_module("G722")
    except ImportError as missing:
        raise MissingExtraError("codecs", "G.722") from missing
    return library.G722(SAMPLE_RATE, BIT_RATE)


class G722Encoder:
    """Streaming encoder for pieces of any length; an odd sample waits for the next call.

    `MissingExtraError` without the library.
    """

    __slots__ = ("_codec", "_odd")

    def __init__(self) -> None:
        self._codec = _codec()
        self._odd = _EMPTY

    @property
    def pending(self) -> int:
        """Samples that wait for a second one: 0 or 1."""
        return len(self._odd)

    def encode(self, samples: Samples) -> bytes:
        """``int16[n]`` at 16 kHz to the bytes of all pairs completed by it."""
        if len(self._odd):
            samples = np.concatenate([self._odd, samples])
        if len(samples) % 2:
            samples, self._odd = samples[:-1], samples[-1:].copy()
        else:
            self._odd = _EMPTY
        if not len(samples):
            return b""
        encoded: bytes = self._codec.encode(np.ascontiguousarray(samples))
        return encoded

    def flush(self) -> bytes:
        """Code a sample that waits, with a zero beside it, and start anew."""
        rest, self._odd = self._odd, _EMPTY
        out: bytes = b""
        if len(rest):
            out = self._codec.encode(np.append(rest, np.int16(0)))
        self._codec = _codec()
        return out


class G722Decoder:
    """Streaming decoder; payloads of any length. `MissingExtraError` without the library."""

    __slots__ = ("_codec",)

    def __init__(self) -> None:
        self._codec = _codec()

    def decode(self, payload: bytes | bytearray | memoryview) -> Samples:
        """n bytes to ``int16[2 n]`` at 16 kHz, nothing held back."""
        if not payload:
            return _EMPTY
        return np.frombuffer(self._codec.decode(bytes(payload)), dtype=np.int16)
