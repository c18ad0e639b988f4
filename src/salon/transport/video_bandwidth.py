"""What the way to a viewer can carry, told to the sender, which would else stay at its lowest.

The estimate itself is aiortc's (delays between groups of packets); here is what it needs of a
packet, its time of sending, and the door it is reached through.
"""

from __future__ import annotations

from struct import Struct
from typing import Protocol

SEND_TIME_URI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
_ONE_BYTE = 0xBEDE
_EXTENSION = Struct("!HH")


class BandwidthEstimator(Protocol):
    """Takes every packet; now and then it has an estimate in bits per second and the sources it
    is for."""

    def add(
        self, arrival_time_ms: int, abs_send_time: int, payload_size: int, ssrc: int
    ) -> tuple[int, list[int]] | None: ...


def send_time(data: bytes, identifier: int) -> int | None:
    """The 24 bits of ``abs-send-time`` (1/2**18 s, wraps at 64 s) of a packet whose header was
    read before; None if it has none. `identifier` is the negotiated one (1 to 14)."""
    if not data[0] & 0x10:
        return None
    at = 12 + 4 * (data[0] & 0x0F)
    profile, words = _EXTENSION.unpack_from(data, at)
    if profile != _ONE_BYTE:
        return None
    at += 4
    end = at + 4 * words
    while at < end:
        head = data[at]
        if head == 0:
            at += 1
            continue
        length = (head & 0x0F) + 1
        if head >> 4 == 15 or at + 1 + length > end:
            return None
        if head >> 4 == identifier and length == 3:
            return int.from_bytes(data[at + 1 : at + 4], "big")
        at += 1 + length
    return None
