"""G.711: logarithmic 8-bit samples, mu-law and A-law, by table (G42).

The encoder agrees with the ITU/CCITT reference in the form that telephony programs share (and
Python's former ``audioop``): 14 significant bits for mu-law, 13 for A-law.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from salon.media.frame import Samples

Octets = NDArray[np.uint8]

_ULAW_BIAS: Final = 0x21
_ULAW_CLIP: Final = 8158


def _segment(magnitude: NDArray[np.int32], first: int) -> NDArray[np.int32]:
    """Which of the 8 segments a magnitude is in; segment 0 ends at ``2**first - 1``."""
    limits = (1 << np.arange(first, first + 8)) - 1
    return np.searchsorted(limits, magnitude).astype(np.int32)


def _ulaw_encode_table() -> Octets:
    value = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 2
    mask = np.where(value < 0, 0x7F, 0xFF)
    magnitude = np.minimum(np.abs(value), _ULAW_CLIP) + _ULAW_BIAS
    segment = _segment(magnitude, 6)
    code: NDArray[np.int32] = (segment << 4) | ((magnitude >> (segment + 1)) & 0x0F)
    return (code ^ mask).astype(np.uint8)


def _alaw_encode_table() -> Octets:
    value = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32) >> 3
    mask = np.where(value < 0, 0x55, 0xD5)
    magnitude = np.where(value < 0, ~value, value)
    segment = _segment(magnitude, 5)
    code = (segment << 4) | ((magnitude >> np.maximum(segment, 1)) & 0x0F)
    return (code ^ mask).astype(np.uint8)


def _ulaw_decode_table() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_decode_table() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = (code >> 4) & 7
    low = ((code & 0x0F) << 4) + 8
    magnitude = np.where(segment == 0, low, (low + 0x100) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_ULAW_ENCODE: Final = _ulaw_encode_table()
_ALAW_ENCODE: Final = _alaw_encode_table()
_ULAW_DECODE: Final = _ulaw_decode_table()
_ALAW_DECODE: Final = _alaw_decode_table()


def encode_ulaw(samples: Samples) -> bytes:
    """``int16[n]`` to n bytes of mu-law."""
    return _ULAW_ENCODE.take(samples.view(np.uint16)).tobytes()


def decode_ulaw(data: bytes | bytearray | memoryview) -> Samples:
    """n bytes of mu-law to ``int16[n]`` at the same rate."""
    return _ULAW_DECODE.take(np.frombuffer(data, dtype=np.uint8))


def encode_alaw(samples: Samples) -> bytes:
    """``int16[n]`` to n bytes of A-law."""
    return _ALAW_ENCODE.take(samples.view(np.uint16)).tobytes()


def decode_alaw(data: bytes | bytearray | memoryview) -> Samples:
    """n bytes of A-law to ``int16[n]`` at the same rate."""
    return _ALAW_DECODE.take(np.frombuffer(data, dtype=np.uint8))
