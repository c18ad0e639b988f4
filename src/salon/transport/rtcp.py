"""RTCP: compound packets, NTP time and what the peer's reports say (RFC 3550, 6), without I/O.

Sender and receiver reports, CNAME and BYE are read; feedback (RFC 4585), APP, extended reports
(RFC 3611) and unknown types are passed over. Reduced-size packets (RFC 5506) are taken too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from struct import Struct

from salon.transport.rtp import PacketError

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
GOODBYE = 203

_HEADER = Struct("!BBH")
_SENDER = Struct("!IQIII")
_SSRC = Struct("!I")
_BLOCK = Struct("!IIIIII")
_CNAME = 1
_NTP_EPOCH = 2_208_988_800
_MAX_COUNT = 31
_SENT_REPORTS = 16


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What a receiver says of one source (RFC 3550, 6.4.1).

    `fraction_lost` is in 1/256, `lost` signed 24 bits, `jitter` in units of the RTP clock,
    `last_sr` the middle 32 bits of an NTP time, `delay` in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int = 0
    lost: int = 0
    highest_sequence: int = 0
    jitter: int = 0
    last_sr: int = 0
    delay: int = 0


@dataclass(frozen=True, slots=True)
class SenderReport:
    """SR. `ntp` is 64 bits (see `ntp_time`); `octets` counts payload bytes."""

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """RR."""

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """SDES, reduced to (SSRC, CNAME) of each chunk; "" without CNAME."""

    names: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Goodbye:
    """BYE."""

    sources: tuple[int, ...]
    reason: str = ""


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Goodbye


def ntp_time(wall: float) -> int:
    """64-bit NTP time of Unix seconds; wraps with the NTP era in 2036 as the format does."""
    seconds = int(wall // 1)
    fraction = int((wall - seconds) * 4294967296)
    return ((seconds + _NTP_EPOCH) & 0xFFFFFFFF) << 32 | fraction


def unix_time(ntp: int) -> float:
    """Unix seconds of a 64-bit NTP time, between 1968 and 2104 (RFC 4330, 3)."""
    seconds = ntp >> 32
    if seconds < 0x80000000:
        seconds += 1 << 32
    return seconds - _NTP_EPOCH + (ntp & 0xFFFFFFFF) / 4294967296


def ntp_middle(ntp: int) -> int:
    """The middle 32 bits, in 1/65536 s: how report blocks refer to a sender report."""
    return ntp >> 16 & 0xFFFFFFFF


def parse_rtcp(data: bytes) -> list[RtcpPacket]:
    """Every packet of a compound that is read here, in order; may be empty.

    Raises `PacketError` for malformed input: the whole datagram is then to be dropped.
    """
    size = len(data)
    if size < 4:
        raise PacketError(f"RTCP needs 4 bytes, got {size}")
    packets: list[RtcpPacket] = []
    start = 0
    while start < size:
        if size - start < 4:
            raise PacketError("RTCP packet is cut off in its header")
        first, kind, words = _HEADER.unpack_from(data, start)
        end = start + 4 + 4 * words
        if first >> 6 != 2:
            raise PacketError(f"RTCP version is {first >> 6}, not 2")
        if end > size:
            raise PacketError(f"RTCP packet of {end - start} bytes in {size - start}")
        body_end = end
        if first & 0x20:
            body_end = _without_padding(data, start + 4, end, size)
        reader = _READERS.get(kind)
        if reader is not None:
            packets.append(reader(data[start + 4 : body_end], first & 0x1F))
        start = end
    return packets


def _without_padding(data: bytes, body: int, end: int, size: int) -> int:
    if end != size:
        raise PacketError("RTCP padding before the last packet")
    padding = data[end - 1]
    if padding == 0 or padding % 4 or end - padding < body:
        raise PacketError(f"RTCP padding of {padding} bytes")
    return end - padding


def _read_blocks(body: bytes, start: int, count: int) -> tuple[ReportBlock, ...]:
    if len(body) < start + 24 * count:
        raise PacketError(f"RTCP report with {count} blocks in {len(body)} bytes")
    blocks = []
    for offset in range(start, start + 24 * count, 24):
        ssrc, losses, highest, jitter, last_sr, delay = _BLOCK.unpack_from(body, offset)
        lost = losses & 0xFFFFFF
        if lost >= 0x800000:
            lost -= 0x1000000
        blocks.append(ReportBlock(ssrc, losses >> 24, lost, highest, jitter, last_sr, delay))
    return tuple(blocks)


def _read_sender_report(body: bytes, count: int) -> SenderReport:
    if len(body) < 24:
        raise PacketError(f"RTCP sender report of {len(body)} bytes")
    ssrc, ntp, timestamp, packets, octets = _SENDER.unpack_from(body)
    return SenderReport(ssrc, ntp, timestamp, packets, octets, _read_blocks(body, 24, count))


def _read_receiver_report(body: bytes, count: int) -> ReceiverReport:
    if len(body) < 4:
        raise PacketError("RTCP receiver report without SSRC")
    return ReceiverReport(_SSRC.unpack_from(body)[0], _read_blocks(body, 4, count))


def _read_source_description(body: bytes, count: int) -> SourceDescription:
    names = []
    start = 0
    for _ in range(count):
        if len(body) < start + 5:
            raise PacketError("RTCP source description is cut off")
        ssrc = _SSRC.unpack_from(body, start)[0]
        name, start = _read_items(body, start + 4)
        names.append((ssrc, name))
    return SourceDescription(tuple(names))


def _read_items(body: bytes, start: int) -> tuple[str, int]:
    """The CNAME among the items of one chunk, and where the next chunk starts."""
    name = ""
    size = len(body)
    while start < size and body[start]:
        if start + 2 > size or start + 2 + body[start + 1] > size:
            raise PacketError("RTCP source description item is cut off")
        end = start + 2 + body[start + 1]
        if body[start] == _CNAME:
            name = body[start + 2 : end].decode("utf-8", "replace")
        start = end
    if start >= size:
        raise PacketError("RTCP source description without end")
    return name, (start + 4) & ~3


def _read_goodbye(body: bytes, count: int) -> Goodbye:
    end = 4 * count
    if len(body) < end:
        raise PacketError(f"RTCP BYE of {count} sources in {len(body)} bytes")
    sources = tuple(_SSRC.unpack_from(body, start)[0] for start in range(0, end, 4))
    if len(body) == end:
        return Goodbye(sources)
    reason = body[end + 1 : end + 1 + body[end]]
    if len(reason) < body[end]:
        raise PacketError("RTCP BYE reason is cut off")
    return Goodbye(sources, reason.decode("utf-8", "replace"))


_READERS: dict[int, Callable[[bytes, int], RtcpPacket]] = {
    SENDER_REPORT: _read_sender_report,
    RECEIVER_REPORT: _read_receiver_report,
    SOURCE_DESCRIPTION: _read_source_description,
    GOODBYE: _read_goodbye,
}


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, kind, len(body) // 4) + body


def _block(block: ReportBlock) -> bytes:
    lost = min(max(block.lost, -0x800000), 0x7FFFFF) & 0xFFFFFF
    return _BLOCK.pack(
        block.ssrc,
        block.fraction_lost << 24 | lost,
        block.highest_sequence & 0xFFFFFFFF,
        min(block.jitter, 0xFFFFFFFF),
        block.last_sr,
        min(block.delay, 0xFFFFFFFF),
    )


def build_report(report: SenderReport | ReceiverReport, cname: str) -> bytes:
    """A compound of the report and the CNAME of its source.

    Counters are taken modulo 2**32, losses and delays held within their fields. `ValueError` for
    more than 31 blocks or a CNAME of more than 255 bytes.
    """
    if len(report.blocks) > _MAX_COUNT:
        raise ValueError(f"{len(report.blocks)} report blocks; a report holds {_MAX_COUNT}")
    blocks = b"".join(map(_block, report.blocks))
    if isinstance(report, SenderReport):
        kind = SENDER_REPORT
        head = _SENDER.pack(
            report.ssrc,
            report.ntp,
            report.rtp_timestamp & 0xFFFFFFFF,
            report.packets & 0xFFFFFFFF,
            report.octets & 0xFFFFFFFF,
        )
    else:
        kind = RECEIVER_REPORT
        head = _SSRC.pack(report.ssrc)
    return _packet(kind, len(report.blocks), head + blocks) + _description(report.ssrc, cname)


def build_bye(ssrc: int, cname: str, reason: str = "") -> bytes:
    """A compound that takes leave: an empty receiver report, the CNAME and BYE (RFC 3550, 6.1).

    `ValueError` for a CNAME or reason of more than 255 bytes.
    """
    body = _SSRC.pack(ssrc)
    if reason:
        text = _text(reason, "BYE reason")
        body += bytes((len(text),)) + text
        body += bytes(-len(body) % 4)
    return build_report(ReceiverReport(ssrc), cname) + _packet(GOODBYE, 1, body)


def _description(ssrc: int, cname: str) -> bytes:
    text = _text(cname, "CNAME")
    body = _SSRC.pack(ssrc) + bytes((_CNAME, len(text))) + text
    return _packet(SOURCE_DESCRIPTION, 1, body + bytes(4 - len(body) % 4))


def _text(value: str, what: str) -> bytes:
    text = value.encode()
    if len(text) > 255:
        raise ValueError(f"{what} of {len(text)} bytes; 255 are allowed")
    return text


class RemoteReports:
    """What the peer's reports say of the source `ssrc` of ours, and of its own clock.

    `round_trip` (seconds) is None before a report that answers a sender report of ours;
    `fraction_lost` is 0 to 1; `jitter` in units of our RTP clock.
    """

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.round_trip: float | None = None
        self.fraction_lost = 0.0
        self.jitter = 0
        self.lost = 0
        self.departed: frozenset[int] = frozenset()
        """Sources of the latest BYE."""
        self._sent: dict[int, float] = {}
        self._heard: tuple[int, int, float] | None = None

    def sent(self, report: SenderReport, now: float) -> None:
        """Remember when a sender report left (monotonic seconds), to measure the round trip."""
        # Kept as monotonic times by their NTP stamp: a wall clock that is set between report and
        # answer does no harm, and stamps nobody sent are no measure.
        self._sent[ntp_middle(report.ntp)] = now
        if len(self._sent) > _SENT_REPORTS:
            del self._sent[next(iter(self._sent))]

    def received(self, packets: Iterable[RtcpPacket], now: float) -> None:
        """Take in what `parse_rtcp` gave, at monotonic `now`."""
        for packet in packets:
            if isinstance(packet, SenderReport):
                self._heard = (packet.ssrc, ntp_middle(packet.ntp), now)
                self._take(packet.blocks, now)
            elif isinstance(packet, ReceiverReport):
                self._take(packet.blocks, now)
            elif isinstance(packet, Goodbye):
                self.departed = frozenset(packet.sources)

    def last_sender_report(self, ssrc: int, now: float) -> tuple[int, int]:
        """`last_sr` and `delay` for a report block about `ssrc`; zeros if it sent none."""
        if self._heard is None or self._heard[0] != ssrc:
            return 0, 0
        _, middle, arrival = self._heard
        return middle, min(max(0, round((now - arrival) * 65536)), 0xFFFFFFFF)

    def _take(self, blocks: Sequence[ReportBlock], now: float) -> None:
        for block in blocks:
            if block.ssrc != self.ssrc:
                continue
            self.fraction_lost = block.fraction_lost / 256
            self.jitter = block.jitter
            self.lost = block.lost
            sent = self._sent.get(block.last_sr) if block.last_sr else None
            if sent is not None:
                # the peer's clock may run fast: less than nothing is nothing
                self.round_trip = max(0.0, now - sent - block.delay / 65536)
