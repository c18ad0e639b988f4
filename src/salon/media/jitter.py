"""Packets of one stream put in order, and how late they tend to be. No sound, no clock, no I/O.

Positions and delays are in samples at 16 kHz. The *delay* of a packet is its arrival minus its
media time; only differences mean anything. *Base* is the least delay of the last ten seconds, so
that it follows the drift of the sender's clock; what a packet took beyond it is its jitter.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Final

from salon.media.frame import FRAME_SAMPLES, SAMPLE_RATE

_SAMPLES_PER_MS: Final = SAMPLE_RATE // 1000

_BIN: Final = 32  # samples in a bin of the histogram: 2 ms
_BINS: Final = 512
_HOME: Final = 128  # the bin where the base is put when the histogram is moved
_MEMORY: Final = 250.0  # packets (of 20 ms or more) after which a delay has 37 % of its weight
_QUANTILE: Final = 0.95
_WEIGHT_LIMIT: Final = 1e9

_BUCKET_S: Final = 0.5
_BUCKETS: Final = 20

_SLACKENING: Final = 4 * _SAMPLES_PER_MS
_HYSTERESIS: Final = 2 * _SAMPLES_PER_MS

_AWAY_S: Final = 1.0  # after that, a longer way is the new way and no stoppage
_LEAST_RETURN: Final = 60 * _SAMPLES_PER_MS

_SPIKE_STEP: Final = 1 / 16
_SPIKE_SHARE: Final = 0.27  # five late ones of 20 ms in a row, or as dense
_SPIKE_END: Final = 0.05
_SPIKE_DECAY_S: Final = 3.0


class WindowMinimum:
    """The least value of about the last ten seconds."""

    __slots__ = ("_current", "_end", "_older", "_older_least", "value")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.value = inf
        self._current = inf
        self._older: deque[float] = deque(maxlen=_BUCKETS - 1)
        self._older_least = inf
        self._end = -inf

    def add(self, value: float, now: float) -> None:
        """`now` in seconds; it may not run backwards by more than is worth noticing."""
        if now >= self._end:
            self._turn(now)
        if value < self._current:
            self._current = value
            if value < self.value:
                self.value = value

    def _turn(self, now: float) -> None:
        passed = 1 if self._end == -inf else 1 + int(min((now - self._end) / _BUCKET_S, _BUCKETS))
        self._older.append(self._current)
        self._older.extend([inf] * (passed - 1))
        self._current = inf
        self._older_least = self.value = min(self._older)
        self._end = now + _BUCKET_S


class DelayEstimator:
    """How deep a buffer must be: the 95th percentile of jitter, above a base that follows drift.

    `target` rises at once when several packets in a short time come later than it allows, and
    falls slowly: a delay is forgotten within about fifteen seconds. A stoppage longer than
    `most_samples`, with its burst of late packets, teaches nothing; if delays stay long for more
    than a second, they are the new base.
    """

    __slots__ = (
        "_above",
        "_away_least",
        "_away_since",
        "_bins",
        "_first_bin",
        "_floor",
        "_initial",
        "_minimum",
        "_most",
        "_quantile_bin",
        "_seen",
        "_spike",
        "_spike_at",
        "_spike_peak",
        "_spike_share",
        "_total",
        "_weight",
        "base",
        "low",
        "p95",
        "target",
    )

    def __init__(self, *, most_samples: int, initial_samples: int = 20 * _SAMPLES_PER_MS) -> None:
        self._most = most_samples
        self._initial = initial_samples
        self._minimum = WindowMinimum()
        self._floor = _SAMPLES_PER_MS  # less than 1 ms is not worth an underrun
        self.clear()

    def clear(self) -> None:
        """Forget everything, as for a new sender."""
        self._minimum.clear()
        self._away_since: float | None = None
        self._away_least = inf
        self.base = 0.0
        """Least delay. Meaningless before the first packet."""
        self._forget_jitter()
        self._set_target()

    def _forget_jitter(self) -> None:
        self._bins = [0.0] * _BINS
        self._first_bin: int | None = None
        self._total = self._above = 0.0
        self._weight = 1.0
        self._quantile_bin = 0
        self._seen = 0
        self._spike = self._spike_share = self._spike_peak = 0.0
        self._spike_at = 0.0
        self.p95 = 0.0
        """Of the jitter, in samples."""

    @property
    def known(self) -> bool:
        """Whether any packet has been seen."""
        return self._seen > 0 or self._away_since is not None

    def add(self, delay: float, now: float, length: int = FRAME_SAMPLES) -> None:
        """One packet of `length` samples that arrived at `now` (seconds)."""
        if self._seen and delay - self.base > self._most and self._away_since is None:
            self._away_since, self._away_least = now, inf
        if self._away_since is not None and not self._returned(delay, now, self._away_since):
            return
        minimum = self._minimum
        minimum.add(delay, now)
        self.base = minimum.value
        self._seen += 1
        share = 1.0 if length >= FRAME_SAMPLES else length / FRAME_SAMPLES
        self._weigh(delay, share)
        step = _SPIKE_STEP * share
        late = delay - self.base
        if late > self.target:
            self._spike_share += (1.0 - self._spike_share) * step
            self._spike_peak = max(self._spike_peak, late)
            if self._spike_share > _SPIKE_SHARE and self._spike_peak > self._spike:
                self._spike = min(self._spike_peak, self._most)
                self._spike_at = now
        elif self._spike_share:
            self._spike_share -= self._spike_share * step
            if self._spike_share < _SPIKE_END:
                self._spike_share = self._spike_peak = 0.0
        if self._spike:
            self._spike -= self._spike * min(1.0, max(0.0, now - self._spike_at) / _SPIKE_DECAY_S)
            self._spike_at = now
            if self._spike < self.p95:
                self._spike = 0.0
        self._set_target()

    def _returned(self, delay: float, now: float, since: float) -> bool:
        """Whether a stoppage is over and `delay` counts again."""
        self._away_least = min(self._away_least, delay)
        if delay - self._minimum.value < max(_LEAST_RETURN, 2.0 * self.target):
            self._away_since = None
            return True
        if now - since < _AWAY_S:
            self.base = self._away_least
            return False
        self._away_since = None
        self._minimum.clear()
        self._minimum.add(self._away_least, now)
        self._forget_jitter()
        return True

    def _weigh(self, delay: float, share: float) -> None:
        if self._first_bin is None:
            self._first_bin = int(delay) // _BIN - _HOME
            self._quantile_bin = _HOME
        place = int(delay) // _BIN - self._first_bin
        if place < 0 or self.base // _BIN - self._first_bin > 2 * _HOME:
            self._move(int(self.base) // _BIN - _HOME)
            place = int(delay) // _BIN - self._first_bin
        place = min(max(place, 0), _BINS - 1)
        bins = self._bins
        weight = self._weight
        bins[place] += weight
        self._total += weight
        if place > self._quantile_bin:
            self._above += weight
        self._settle()
        self._weight = weight * (1.0 + share / _MEMORY)
        if weight > _WEIGHT_LIMIT:
            self._rescale()
        top = (self._first_bin + self._quantile_bin + 1) * _BIN
        self.p95 = min(max(top - self.base, 0.0), float(self._most))

    def _settle(self) -> None:
        """Move the quantile to where the share above it is at most 5 %."""
        bins, place, above = self._bins, self._quantile_bin, self._above
        allowed = (1.0 - _QUANTILE) * self._total
        while above > allowed and place < _BINS - 1:
            place += 1
            above -= bins[place]
        while place > 0 and above + bins[place] <= allowed:
            above += bins[place]
            place -= 1
        self._quantile_bin, self._above = place, above

    def _rescale(self) -> None:
        factor = 1.0 / self._weight
        self._bins = [value * factor for value in self._bins]
        self._weight = 1.0
        self._total = sum(self._bins)
        self._above = sum(self._bins[self._quantile_bin + 1 :])

    def _move(self, first_bin: int) -> None:
        """Let the histogram begin elsewhere; what falls off is kept in its outermost bins."""
        moved = [0.0] * _BINS
        by = (self._first_bin or 0) - first_bin
        for place, value in enumerate(self._bins):
            if value:
                moved[min(max(place + by, 0), _BINS - 1)] += value
        self._bins, self._first_bin = moved, first_bin
        self._quantile_bin = min(max(self._quantile_bin + by, 0), _BINS - 1)
        self._above = sum(moved[self._quantile_bin + 1 :])

    def _set_target(self) -> None:
        needed = max(self.p95, self._spike, self._floor)
        if self._seen < 50:  # nothing is known yet: begin careful
            needed = max(needed, self._initial * (1.0 - self._seen / 50))
        # Depth moves in steps of a frame above `target`: centred on what is needed, roughly.
        self.low = min(needed - min(needed / 16, _SLACKENING), float(self._most))
        """Depth below which the buffer should grow."""
        self.target = min(self.low + _HYSTERESIS, float(self._most))
        """Depth to start with; the buffer shrinks where that leaves it."""


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
