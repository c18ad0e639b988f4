"""Plain RTP over UDP: one stream of sound each way, and RTCP beside it (RFC 3550)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from enum import StrEnum
from random import Random
from typing import Final, cast

from salon.base import Clock, UnavailableError
from salon.transport.packets import MediaPacket, PacketTrack, PayloadFormat
from salon.transport.reception import ReceptionStatistics
from salon.transport.rtcp import SenderReport, parse_rtcp
from salon.transport.rtp import OutgoingStream, PacketError, is_rtcp, is_rtp_or_rtcp, parse_rtp
from salon.transport.rtp_session import RtpSession

_log = logging.getLogger("salon.voice")

Address = tuple[str, int]
EVENT: Final = "telephone-event"
_TRIES: Final = 32
_L16: Final = "L16"


class Latching(StrEnum):
    """Whose packets are taken, and where ours go (symmetric RTP, RFC 4961)."""

    ANY = "any"
    """Those of whoever sends first; ours go there, wherever the far end was said to be."""
    HOST = "host"
    """Those of whoever sends first from the host that was named, from any port."""
    NEVER = "never"
    """Only those from the address that was named."""


class Rtcp(StrEnum):
    """Where reports go."""

    PAIR = "pair"
    """To the port after that of the sound, from the port after ours (RFC 3550, 11)."""
    MUX = "mux"
    """To the port of the sound (RFC 5761)."""
    OFF = "off"


class _Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams on."""

    def __init__(self, take: Callable[[bytes, Address], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._take(data, addr[:2])

    def error_received(self, exc: Exception) -> None:
        _log.debug("an RTP socket reported %s", exc)  # nobody listens there (yet)


class RtpTrack(PacketTrack):
    """Owns the sockets from `open` on.

    Datagrams that are no RTP are counted in `malformed`, those of anybody but the far end in
    `strangers`; both change nothing.
    """

    def __init__(
        self,
        formats: tuple[PayloadFormat, ...],
        *,
        latching: Latching,
        rtcp: Rtcp,
        rtcp_interval: float,
        clock: Clock,
        random: Random | None = None,
    ) -> None:
        self.kind = "audio"
        self.formats = formats
        self.sending = True
        self.on_packet: Callable[[MediaPacket], None] = _ignore
        self.on_latched: Callable[[], None] = _nothing
        """Called once, when the far end's first packet has come."""
        self.on_report: Callable[[bool, bytes], None] = _ignore_report
        """Told of RTCP: whether it came from outside, and the compound packet."""
        self.remote: Address | None = None
        self.latched = False
        self.strangers = 0
        self.malformed = 0
        self.unsent = 0
        """Packets for which nobody was known to send them to."""
        self._latching = latching
        self._rtcp = rtcp
        self._clock = clock
        self._named: Address | None = None
        rate = next(item for item in formats if item.encoding != EVENT).clock_rate
        self._known = {item.payload_type for item in formats}
        self._swapped = {item.payload_type for item in formats if item.encoding == _L16}
        outgoing = OutgoingStream(rate, clock=clock, random=random)
        self.session = RtpSession(
            outgoing,
            ReceptionStatistics(rate),
            cname=f"{outgoing.ssrc:08x}",
            now=clock.monotonic(),
            first=min(1.0, rtcp_interval),
            interval=rtcp_interval,
            random=random,
        )
        self._socket: asyncio.DatagramTransport | None = None
        self._control: asyncio.DatagramTransport | None = None

    def name_remote(self, remote: Address) -> None:
        """The far end is there, unless its first packet has said already where it is."""
        self._named = remote
        if not self.latched:
            self.remote = remote

    # -- sockets ----------------------------------------------------------------------------------

    async def open(self, host: str, ports: Sequence[int]) -> Address:
        """Bind to the first of `ports` that is free (0: any); where it listens then. With RTCP on a
        port of its own that one must be free too. `UnavailableError` if none is."""
        for port in ports:
            try:
                return await self._open(host, port)
            except (OSError, OverflowError) as error:  # the port after the last one is none
                self.close()
                _log.debug("RTP port %d is not free: %s", port, error)
            except BaseException:
                self.close()
                raise
        raise UnavailableError(f"no free UDP port for RTP at {host} among {list(ports)[:8]}")

    async def _open(self, host: str, port: int) -> Address:
        self._socket = await _bind(host, port, self._media)
        bound = cast(Address, self._socket.get_extra_info("sockname"))[:2]
        if self._rtcp is Rtcp.PAIR:
            self._control = await _bind(host, bound[1] + 1, self._reports)
        return bound

    def close(self, *, goodbye: bool = False) -> None:
        """Free the ports; with `goodbye`, say so first."""
        if goodbye and self._socket is not None and self.session.outgoing.packets_sent:
            self._send_report(self.session.bye())
        for transport in (self._socket, self._control):
            if transport is not None:
                transport.close()
        self._socket = self._control = None
        self.on_packet = _ignore
        self.on_latched = _nothing
        self.on_report = _ignore_report

    # -- in ---------------------------------------------------------------------------------------

    def _media(self, data: bytes, source: Address) -> None:
        if not is_rtp_or_rtcp(data):
            self.malformed += 1
            return
        if is_rtcp(data):
            self._reports(data, source)
            return
        try:
            packet = parse_rtp(data, self._clock.monotonic())
        except PacketError:
            self.malformed += 1
            return
        if not self._is_remote(source):
            self.strangers += 1
            return
        if packet.payload_type not in self._known:
            self.malformed += 1
            return
        self.session.reception.received(packet)
        if packet.payload_type in self._swapped:
            packet.payload = _swap(packet.payload)
        if not self.latched:
            self.latched = True
            self.remote = source
            self.on_latched()
        self.on_packet(packet)

    def _is_remote(self, source: Address) -> bool:
        if self.latched or self._latching is Latching.NEVER:
            return source == self.remote
        named = self._named
        return self._latching is Latching.ANY or named is None or source[0] == named[0]

    def _reports(self, data: bytes, source: Address) -> None:
        remote = self.remote
        if remote is None or source[0] != remote[0]:
            self.strangers += 1
            return
        before = self.session.rejected
        self.session.incoming_rtcp(data, self._clock.monotonic())
        if self.session.rejected == before:
            self.on_report(True, data)

    # -- out --------------------------------------------------------------------------------------

    @property
    def remote_lost(self) -> float:
        return self.session.remote.fraction_lost

    def send(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None:
        if self._socket is None or self.remote is None:
            self.unsent += 1
            return
        if payload_type in self._swapped:
            payload = _swap(payload)
        data = self.session.outgoing.packet(payload, payload_type, timestamp, marker)
        self._socket.sendto(data, self.remote)

    def report(self) -> None:
        """Send a report if one is due; to be called at each tick."""
        now = self._clock.monotonic()
        if self._rtcp is not Rtcp.OFF and self.remote is not None and self.session.due(now):
            self._send_report(self.session.report(now, self._clock.time()))

    def _send_report(self, data: bytes) -> None:
        remote = self.remote
        if remote is None or self._rtcp is Rtcp.OFF:
            return
        if self._rtcp is Rtcp.MUX or self._control is None:
            out, to = self._socket, remote
        else:
            out, to = self._control, (remote[0], remote[1] + 1)
        if out is not None and to[1] < 65_536:
            out.sendto(data, to)
            self.on_report(False, data)


async def _bind(
    host: str, port: int, take: Callable[[bytes, Address], None]
) -> asyncio.DatagramTransport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(take), local_addr=(host, port), family=socket.AF_INET
    )
    return transport


def ports_to_try(port: int, *, pair: bool, random: Random) -> list[int]:
    """`port` if there is one; else any, which for a pair means even ones drawn by chance."""
    if port:
        return [port]
    return [random.randrange(16_384, 65_534, 2) for _ in range(_TRIES)] if pair else [0]  # nosec B311


def is_sender_report(data: bytes) -> bool:
    """Whether a compound packet, known to be sound, begins with a sender report."""
    return any(isinstance(item, SenderReport) for item in parse_rtcp(data))


def _swap(payload: bytes) -> bytes:
    """L16 is big-endian on the wire (RFC 3551, 4.5.11), little-endian within."""
    swapped = bytearray(payload)
    whole = len(payload) // 2 * 2
    swapped[0:whole:2], swapped[1:whole:2] = payload[1:whole:2], payload[0:whole:2]
    return bytes(swapped)


def _ignore(_packet: object) -> None:
    """Nobody listens."""


def _ignore_report(_inbound: bool, _data: bytes) -> None:
    """Nobody listens."""


def _nothing() -> None:
    """Nobody wants to know."""
