"""Reception statistics of one incoming stream (RFC 3550, 6.4.1 and A.1, A.3, A.8), without I/O."""

from __future__ import annotations

from salon.transport.packets import MediaPacket
from salon.transport.rtcp import ReportBlock

_MAX_DROPOUT = 3000
_MAX_MISORDER = 100
_JITTER_LIMIT = 5.0


class ReceptionStatistics:
    """Counts what arrives of one source at a time.

    Another SSRC, or sequence numbers far from the last, take over with their second packet in a
    row: a stray packet changes nothing. Figures of a report concern the present source; `lost`
    and the packet counts concern all there were. `clock_rate` is that of the timestamps in Hz.
    """

    __slots__ = (
        "_base",
        "_candidate",
        "_cycles",
        "_expected_before",
        "_highest",
        "_jitter",
        "_jitter_limit",
        "_last_arrival",
        "_last_timestamp",
        "_lost_before",
        "_received",
        "_received_before",
        "bytes_received",
        "clock_rate",
        "packets_received",
        "restarts",
        "ssrc",
    )

    def __init__(self, clock_rate: int) -> None:
        self.clock_rate = clock_rate
        self.ssrc: int | None = None
        """The present source; None before the first packet."""
        self.packets_received = 0
        self.bytes_received = 0
        """Bytes of payload."""
        self.restarts = 0
        """How often another source or another row of numbers took over."""
        self._candidate: tuple[int, int] | None = None
        self._jitter_limit = _JITTER_LIMIT * clock_rate
        self._lost_before = 0
        self._base = self._highest = self._cycles = 0
        self._received = self._received_before = self._expected_before = 0
        self._jitter = 0.0
        self._last_timestamp = 0
        self._last_arrival = 0.0

    def received(self, packet: MediaPacket) -> None:
        """Count one packet, in order of arrival."""
        self.packets_received += 1
        self.bytes_received += len(packet.payload)
        if packet.ssrc != self.ssrc:
            if self.ssrc is None:
                self._start(packet)
            else:
                self._stray(packet)
            return
        sequence = packet.sequence
        step = (sequence - self._highest) & 0xFFFF
        if step < _MAX_DROPOUT:
            if sequence < self._highest:
                self._cycles += 0x10000
            self._highest = sequence
        elif step <= 0x10000 - _MAX_MISORDER:
            self._stray(packet)
            return
        self._candidate = None
        self._received += 1
        moved = packet.timestamp - self._last_timestamp
        if moved:
            self._measure(moved, packet)

    def _measure(self, moved: int, packet: MediaPacket) -> None:
        # Packets of one timestamp (telephone events) were not sampled when they were sent, so
        # they say nothing of jitter; a jump of seconds is a source that set its clock.
        moved = ((moved + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        difference = abs((packet.arrival - self._last_arrival) * self.clock_rate - moved)
        if difference < self._jitter_limit:
            self._jitter += (difference - self._jitter) / 16
        self._last_timestamp = packet.timestamp
        self._last_arrival = packet.arrival

    def _stray(self, packet: MediaPacket) -> None:
        key = (packet.ssrc, packet.sequence)
        if self._candidate == key:
            self._lost_before = self.lost
            self.restarts += 1
            self._start(packet)
        else:
            self._candidate = (packet.ssrc, (packet.sequence + 1) & 0xFFFF)

    def _start(self, packet: MediaPacket) -> None:
        self.ssrc = packet.ssrc
        self._candidate = None
        self._base = self._highest = packet.sequence
        self._cycles = self._received_before = self._expected_before = 0
        self._received = 1
        self._jitter = 0.0
        self._last_timestamp = packet.timestamp
        self._last_arrival = packet.arrival

    @property
    def highest_sequence(self) -> int:
        """Extended highest sequence number: wraps in the upper 16 bits."""
        return self._cycles + self._highest

    @property
    def expected(self) -> int:
        """Packets the present source has sent since its first, as its numbers say."""
        return 0 if self.ssrc is None else self.highest_sequence - self._base + 1

    @property
    def lost(self) -> int:
        """Packets that did not come, of all sources. Never below zero: duplicates don't count."""
        return self._lost_before + self._lost_of_source()

    @property
    def jitter(self) -> int:
        """Interarrival jitter in units of the RTP clock."""
        return int(self._jitter)

    @property
    def jitter_ms(self) -> float:
        """Interarrival jitter in milliseconds."""
        return self._jitter * 1000 / self.clock_rate

    def _lost_of_source(self) -> int:
        return max(0, self.expected - self._received)

    def report(self, last_sr: int = 0, delay: int = 0) -> ReportBlock | None:
        """The block of a report due now, which begins a new stretch for the lost fraction.

        None before the first packet. `last_sr` and `delay` as in `ReportBlock`.
        """
        if self.ssrc is None:
            return None
        expected = self.expected
        due = expected - self._expected_before
        lost = due - (self._received - self._received_before)
        self._expected_before = expected
        self._received_before = self._received
        return ReportBlock(
            self.ssrc,
            (lost << 8) // due if lost > 0 else 0,  # below 256: something came if more is due
            min(self._lost_of_source(), 0x7FFFFF),
            self.highest_sequence & 0xFFFFFFFF,
            self.jitter,
            last_sr,
            delay,
        )
