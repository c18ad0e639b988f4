"""Packets of one stream put in order. No sound, no clock, no I/O.

Positions and delays are in samples at 16 kHz, as in `salon.media.delays`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from salon.media.delays import DelayEstimator
from salon.media.frame import SAMPLE_RATE

_SAMPLES_PER_MS: Final = SAMPLE_RATE // 1000


@dataclass(slots=True)
class Packet:
    """One payload in the buffer: unwrapped sequence number, media position and length."""

    sequence: int
    start: int
    length: int
    payload: bytes


_HISTORY: Final = 1024  # sequence numbers remembered; a power of two
_FORWARD: Final = 1000  # sequence numbers a packet may lie ahead
_BACKWARD: Final = 500
_EARLY: Final = 1 * SAMPLE_RATE  # earlier than the base by this is another time line
_LATE: Final = 5 * SAMPLE_RATE
_KIN: Final = 16  # sequence numbers between two packets of the same new time line


@dataclass(slots=True)
class _Suspect:
    """A packet that fits nothing so far; a second one like it shows a restarted sender."""

    sequence: int
    timestamp: int
    arrival: float
    length: int
    payload: bytes


class JitterBuffer:
    """Packets waiting for their turn, ordered by sequence number, bounded in number and in span.

    A packet whose sequence number or timestamp is wildly off is set aside; when the next one agrees
    with it the sender has restarted: the buffer starts anew (`resyncs`, `epoch`).
    """

    __slots__ = (
        "_clock_rate",
        "_highest",
        "_max_packets",
        "_max_span",
        "_newest_end",
        "_packets",
        "_passed",
        "_read",
        "_seen",
        "_skipped",
        "_suspect",
        "_timestamp",
        "delays",
        "discarded",
        "duplicates",
        "epoch",
        "last_arrival",
        "late",
        "next_sequence",
        "passed_over",
        "received",
        "resyncs",
    )

    def __init__(self, clock_rate: int, *, max_depth_ms: int = 400, max_packets: int = 128) -> None:
        if clock_rate <= 0 or max_depth_ms < 40 or max_packets < 4:
            raise ValueError(
                f"clock_rate {clock_rate}, max_depth_ms {max_depth_ms} (at least 40) or "
                f"max_packets {max_packets} (at least 4) is out of range"
            )
        self._clock_rate = clock_rate
        self._max_span = max_depth_ms * _SAMPLES_PER_MS
        self._max_packets = max_packets
        self.delays = DelayEstimator(most_samples=self._max_span)
        self.received = self.duplicates = self.late = self.discarded = self.resyncs = 0
        self.passed_over = 0
        """Missing packets whose place was given up when newer ones had no room."""
        self.epoch = 0
        """Grows when positions start anew."""
        self.last_arrival: float | None = None
        self._clear()

    def _clear(self) -> None:
        self._packets: dict[int, Packet] = {}
        self._skipped: set[int] = set()
        self._seen = [-1] * _HISTORY
        self._suspect: _Suspect | None = None
        self._highest: int | None = None
        self._timestamp: int | None = None
        self._newest_end = 0
        self._read = 0
        self._passed = False
        self.next_sequence = 0
        """Unwrapped; the packet that is due."""

    def __len__(self) -> int:
        return len(self._packets)

    def reset(self) -> None:
        """A new sender follows; what waits is dropped and counted as discarded."""
        self.discarded += len(self._packets) + (self._suspect is not None)
        self._clear()
        self.delays.clear()
        self.epoch += 1

    def skip(self, sequence: int, arrival: float) -> None:
        """A packet of the stream that is no sound was received (V28): its number is not lost."""
        self.last_arrival = arrival
        if self._highest is None:
            return
        number = self._unwrap(sequence)
        if -_BACKWARD <= number - self._highest <= _FORWARD and number >= self.next_sequence:
            self._highest = max(self._highest, number)
            self._seen[number % _HISTORY] = number
            if len(self._skipped) < self._max_packets:
                self._skipped.add(number)

    def insert(
        self, payload: bytes, sequence: int, timestamp: int, arrival: float, length: int
    ) -> None:
        """`sequence` of 16 bits, `timestamp` of 32, `arrival` in seconds, `length` in samples."""
        self.received += 1
        self.last_arrival = arrival
        if self._highest is None or self._timestamp is None:
            self._begin(sequence, timestamp)
        assert self._highest is not None
        assert self._timestamp is not None
        number = self._unwrap(sequence)
        ticks = self._timestamp + _signed(timestamp - self._timestamp, 32)
        start = ticks * SAMPLE_RATE // self._clock_rate
        delay = arrival * SAMPLE_RATE - start
        ahead = number - self._highest
        delays = self.delays
        if delays.known and not (
            -_BACKWARD <= ahead <= _FORWARD and -_EARLY <= delay - delays.base <= _LATE
        ):
            self._doubt(_Suspect(sequence, timestamp, arrival, length, payload))
            return
        if self._suspect is not None:
            self._suspect = None
            self.discarded += 1
        seen = self._seen
        if seen[number % _HISTORY] == number:
            self.duplicates += 1
            return
        seen[number % _HISTORY] = number
        if ahead >= 0 or delay - delays.base <= self._max_span:  # one straggler proves nothing
            delays.add(delay, arrival, length)
        if ahead > 0:
            self._highest = number
            self._timestamp = ticks
        if number < self.next_sequence:
            if self._passed:
                self.late += 1
                return
            self.next_sequence = number  # the very first packets came out of order
        self._packets[number] = Packet(number, start, length, payload)
        end = start + length
        if ahead >= 0:
            self._newest_end = end
        if end - self._read > self._max_span or len(self._packets) > self._max_packets:
            self._make_room()

    def _begin(self, sequence: int, timestamp: int) -> None:
        self._highest = sequence + _HISTORY  # so that numbers before it stay positive
        self.next_sequence = self._highest
        self._timestamp = timestamp
        self._newest_end = self._read = timestamp * SAMPLE_RATE // self._clock_rate

    def _unwrap(self, sequence: int) -> int:
        highest = self._highest or 0
        return highest + _signed(sequence - highest + _HISTORY, 16)

    def _doubt(self, packet: _Suspect) -> None:
        before = self._suspect
        self._suspect = packet
        if before is None:
            return
        steps = _signed(packet.sequence - before.sequence, 16)
        media = _signed(packet.timestamp - before.timestamp, 32) / self._clock_rate
        agree = abs(packet.arrival - before.arrival - media) < 1.0
        if steps == 0 or abs(steps) > _KIN or not agree:
            self.discarded += 1
            return
        self._suspect = None
        self.reset()
        self.resyncs += 1
        self.received -= 2  # both go in again
        for one in (before, packet):
            self.insert(one.payload, one.sequence, one.timestamp, one.arrival, one.length)

    def _make_room(self) -> None:
        """The oldest give way to the newest; nothing grows without bound."""
        while len(self._packets) > 1:
            first = self.first()
            assert first is not None
            over = self._newest_end - first.start - first.length >= self._max_span
            if not over and len(self._packets) <= self._max_packets:
                return
            self.passed_over += self.missing(first)
            self.take(first)
            self.discarded += 1

    def first(self) -> Packet | None:
        """The packet to play next: the one that is due, or the first after a gap."""
        packets = self._packets
        if not packets:
            return None
        packet = packets.get(self.next_sequence)
        return packets[min(packets)] if packet is None else packet

    def missing(self, packet: Packet) -> int:
        """Sequence numbers between the one due and `packet` of which nothing was seen."""
        gap = packet.sequence - self.next_sequence
        if gap and self._skipped:
            gap -= sum(1 for one in self._skipped if self.next_sequence <= one < packet.sequence)
        return gap

    def take(self, packet: Packet) -> None:
        """`packet`, the first, is played or dropped; what was missing before it is now too late."""
        del self._packets[packet.sequence]
        self._passed = True
        self.next_sequence = packet.sequence + 1
        self._read = packet.start + packet.length
        if self._skipped:
            self._skipped = {one for one in self._skipped if one > packet.sequence}

    def give_up(self, packet: Packet) -> None:
        """What was missing before `packet`, the first, is now too late; `packet` itself stays."""
        self._passed = True
        self.next_sequence = packet.sequence

    def due(self) -> bool:
        """Whether the next packet in order is here."""
        return self.next_sequence in self._packets

    def slack(self, position: int, clock: float) -> float:
        """How long ago, at `clock` (samples), the fastest packet with `position` would have come:
        a packet is in time if its jitter is less."""
        return clock - self.delays.base - position


def _signed(value: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return ((value + half) & ((1 << bits) - 1)) - half


def to_ms(samples: float) -> float:
    """Samples at 16 kHz in milliseconds, to a tenth."""
    return round(samples / _SAMPLES_PER_MS, 1)
