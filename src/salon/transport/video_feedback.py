"""Feedback of a receiver of video: holes, lost pictures and the bandwidth there is, without I/O
(RFC 4585; REMB as browsers and aiortc send it)."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

_HEAD = Struct("!BBHII")
_PAIR = Struct("!HH")
_SSRC = Struct("!I")
TRANSPORT_FEEDBACK = 205
PAYLOAD_FEEDBACK = 206
_NACK, _PLI, _APPLICATION = 1, 1, 15
_REMB = b"REMB"
_MANTISSA_BITS = 18
MAX_PAIRS = 60
"""Of one packet: the rest is asked for later."""


def build_nack(ssrc: int, media: int, numbers: Sequence[int]) -> bytes:
    """Asks for packets by their sequence numbers, in ascending order of extended numbers (6.2.1).
    What does not fit into one packet is left out. `ValueError` for no numbers."""
    if not numbers:
        raise ValueError("a NACK without numbers")
    pairs: list[tuple[int, int]] = []
    first, mask = numbers[0], 0
    for number in numbers[1:]:
        step = number - first
        if 0 < step <= 16:
            mask |= 1 << (step - 1)
        elif step:
            pairs.append((first & 0xFFFF, mask))
            first, mask = number, 0
    pairs.append((first & 0xFFFF, mask))
    body = b"".join([_PAIR.pack(*pair) for pair in pairs[:MAX_PAIRS]])
    return _packet(TRANSPORT_FEEDBACK, _NACK, ssrc, media, body)


def build_pli(ssrc: int, media: int) -> bytes:
    """Says that a picture is lost: a key frame is needed (6.3.1)."""
    return _packet(PAYLOAD_FEEDBACK, _PLI, ssrc, media, b"")


def build_remb(ssrc: int, sources: Sequence[int], bits_per_second: int) -> bytes:
    """Says what the way can carry, in bits per second; rounded down to 18 significant bits."""
    mantissa, exponent = max(0, bits_per_second), 0
    while mantissa >> _MANTISSA_BITS:
        mantissa >>= 1
        exponent += 1
    value = (exponent << _MANTISSA_BITS | mantissa).to_bytes(3, "big")
    body = _REMB + bytes((len(sources),)) + value + b"".join(map(_SSRC.pack, sources))
    return _packet(PAYLOAD_FEEDBACK, _APPLICATION, ssrc, 0, body)


def _packet(kind: int, form: int, ssrc: int, media: int, body: bytes) -> bytes:
    return _HEAD.pack(0x80 | form, kind, 2 + len(body) // 4, ssrc, media) + body
