"""RTP packets and one outgoing stream of them (RFC 3550, 5), without I/O."""

from __future__ import annotations

from random import Random, SystemRandom
from struct import Struct

from salon.base import SYSTEM_CLOCK, Clock, RemoteProtocolError
from salon.transport.packets import MediaPacket

_HEADER = Struct("!BBHII")
_EXTENSION = Struct("!HH")


class PacketError(RemoteProtocolError, ValueError):
    """A datagram is not the RTP or RTCP packet it should be; the message says what is wrong."""

    code = "packet"


def is_rtp_or_rtcp(data: bytes) -> bool:
    """Whether the first byte is one of RTP and RTCP beside STUN, DTLS and TURN (RFC 7983)."""
    return len(data) > 1 and 128 <= data[0] <= 191


def is_rtcp(data: bytes) -> bool:
    """Whether a packet of a shared port is RTCP: payload types 64 to 95 with the marker bit
    (RFC 5761, 4). What is neither is for `is_rtp_or_rtcp` to tell."""
    return len(data) > 1 and 192 <= data[1] <= 223


def parse_rtp(data: bytes, arrival: float) -> MediaPacket:
    """Read one packet; contributing sources and header extensions (RFC 8285) are skipped.

    `arrival` is monotonic seconds. The payload may be empty. Raises `PacketError`.
    """
    size = len(data)
    if size < 12:
        raise PacketError(f"RTP needs 12 bytes, got {size}")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    # nearly every packet of sound comes without options
    payload = data[12:] if first == 0x80 else _payload_after_options(data, first, size)
    return MediaPacket(payload, second & 0x7F, sequence, timestamp, second > 0x7F, arrival, ssrc)


def _payload_after_options(data: bytes, first: int, size: int) -> bytes:
    if first >> 6 != 2:
        raise PacketError(f"RTP version is {first >> 6}, not 2")
    start = 12 + 4 * (first & 0x0F)
    if first & 0x10:
        if start + 4 > size:
            raise PacketError("RTP header extension is cut off")
        start += 4 + 4 * int(_EXTENSION.unpack_from(data, start)[1])
    if start > size:
        raise PacketError(f"RTP header of {start} bytes in a packet of {size}")
    end = size
    if first & 0x20:
        padding = data[-1]
        end -= padding
        if padding == 0 or end < start:
            raise PacketError(f"RTP padding of {padding} bytes after a header of {start}")
    return data[start:end]


def build_rtp(
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload: bytes,
    marker: bool = False,
) -> bytes:
    """One packet without options. `sequence` and `timestamp` are taken modulo 2**16 and 2**32.

    `ValueError` if `payload_type` is not within 0 to 127 or `ssrc` not 32 bits.
    """
    if not (0 <= payload_type <= 127 and 0 <= ssrc <= 0xFFFFFFFF):
        raise ValueError(f"payload type {payload_type} or SSRC {ssrc} is out of range")
    second = payload_type | 0x80 if marker else payload_type
    return _HEADER.pack(0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


class OutgoingStream:
    """Numbers the packets of one source and counts them for sender reports.

    SSRC, first sequence number and timestamp offset are random (RFC 3550, 5.1 and 8.1).
    `clock_rate` is that of the timestamps in Hz.
    """

    __slots__ = (
        "_clock",
        "bytes_sent",
        "clock_rate",
        "last_sent",
        "last_timestamp",
        "packets_sent",
        "sequence",
        "ssrc",
        "timestamp_offset",
    )

    def __init__(
        self, clock_rate: int, *, clock: Clock = SYSTEM_CLOCK, random: Random | None = None
    ) -> None:
        source = random or SystemRandom()
        self._clock = clock
        self.clock_rate = clock_rate
        self.ssrc = source.randrange(1, 1 << 32)
        # below half the range: SRTP loses count if the numbers wrap among the first lost packets
        self.sequence = source.randrange(1 << 15)
        """Of the next packet."""
        self.timestamp_offset = source.getrandbits(32)
        self.packets_sent = 0
        self.bytes_sent = 0
        """Bytes of payload, without headers."""
        self.last_timestamp = 0
        """Of the last packet as sent, with the offset."""
        self.last_sent: float | None = None
        """Monotonic seconds at which it was sent; None before the first."""

    def packet(
        self, payload: bytes, payload_type: int, timestamp: int, marker: bool = False
    ) -> bytes:
        """The next packet. `timestamp` counts from any start and is taken modulo 2**32."""
        timestamp = (timestamp + self.timestamp_offset) & 0xFFFFFFFF
        data = build_rtp(payload_type, self.sequence, timestamp, self.ssrc, payload, marker)
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.packets_sent += 1
        self.bytes_sent += len(payload)
        self.last_timestamp = timestamp
        self.last_sent = self._clock.monotonic()
        return data

    def timestamp_at(self, now: float) -> int:
        """The RTP timestamp, offset included, that belongs to monotonic `now` (RFC 3550, 6.4.1);
        reckoned from the last packet, the offset alone before the first."""
        if self.last_sent is None:
            return self.timestamp_offset
        elapsed = max(0.0, now - self.last_sent)
        return (self.last_timestamp + round(elapsed * self.clock_rate)) & 0xFFFFFFFF
