"""The control side of one stream of sound in both directions (RFC 3550, 6), without I/O."""

from __future__ import annotations

from random import Random, SystemRandom

from salon.transport.packets import PacketStatistics
from salon.transport.reception import ReceptionStatistics
from salon.transport.rtcp import (
    ReceiverReport,
    RemoteReports,
    SenderReport,
    build_bye,
    build_report,
    ntp_time,
    parse_rtcp,
)
from salon.transport.rtp import OutgoingStream, PacketError

FIRST_REPORT = 1.0
REPORT_INTERVAL = 5.0


class RtpSession:
    """Says when reports are due, builds them, and reads those of the peer.

    Times are seconds: `now` on the monotonic clock of the outgoing stream, `wall` since the Unix
    epoch. `cname` names this end in all its streams and should tell nothing (RFC 7022); at most
    255 bytes. Reports are due one second after the start and then every five, each spread by a
    random 0.5 to 1.5 (RFC 3550, 6.3.5).
    """

    def __init__(
        self,
        outgoing: OutgoingStream,
        reception: ReceptionStatistics,
        *,
        cname: str,
        now: float,
        first: float = FIRST_REPORT,
        interval: float = REPORT_INTERVAL,
        random: Random | None = None,
    ) -> None:
        self.outgoing = outgoing
        self.reception = reception
        self.remote = RemoteReports(outgoing.ssrc)
        self.rejected = 0
        """Malformed RTCP datagrams."""
        self._cname = cname
        self._interval = interval
        self._random = random or SystemRandom()
        self._reported_packets = 0
        self._due = now + self._spread(first)

    @property
    def departed(self) -> bool:
        """The present source said BYE."""
        return self.reception.ssrc in self.remote.departed

    def incoming_rtcp(self, data: bytes, now: float) -> None:
        """Read a compound packet; a malformed one is counted and changes nothing."""
        try:
            packets = parse_rtcp(data)
        except PacketError:
            self.rejected += 1
            return
        self.remote.received(packets, now)

    def due(self, now: float) -> bool:
        """Whether to send a report."""
        return now >= self._due

    def report(self, now: float, wall: float) -> bytes:
        """The report to send now: SR if anything was sent since the last one, else RR."""
        self._due = now + self._spread(self._interval)
        source = self.reception.ssrc
        block = None
        if source is not None:
            block = self.reception.report(*self.remote.last_sender_report(source, now))
        blocks = () if block is None else (block,)
        outgoing = self.outgoing
        if outgoing.packets_sent == self._reported_packets:
            return build_report(ReceiverReport(outgoing.ssrc, blocks), self._cname)
        self._reported_packets = outgoing.packets_sent
        report = SenderReport(
            outgoing.ssrc,
            ntp_time(wall),
            outgoing.timestamp_at(now),
            outgoing.packets_sent,
            outgoing.bytes_sent,
            blocks,
        )
        self.remote.sent(report, now)
        return build_report(report, self._cname)

    def bye(self, reason: str = "") -> bytes:
        """The last packet to send."""
        return build_bye(self.outgoing.ssrc, self._cname, reason)

    def statistics(self) -> PacketStatistics:
        """Figures so far; `unsent` and `connect_ms` are the carrier's to fill."""
        outgoing, reception, remote = self.outgoing, self.reception, self.remote
        trip = remote.round_trip
        return PacketStatistics(
            packets_received=reception.packets_received,
            bytes_received=reception.bytes_received,
            packets_sent=outgoing.packets_sent,
            bytes_sent=outgoing.bytes_sent,
            lost=reception.lost,
            jitter_ms=reception.jitter_ms,
            remote_lost=remote.fraction_lost,
            remote_jitter_ms=remote.jitter * 1000 / outgoing.clock_rate,
            round_trip_ms=None if trip is None else trip * 1000,
            rejected=self.rejected,
        )

    def _spread(self, interval: float) -> float:
        return interval * self._random.uniform(0.5, 1.5)
