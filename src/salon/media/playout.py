"""What a call hears of a packet stream: 20 ms at a time, whatever the network did to it (V26-V33).

One *slack* decides everything: how long ago the fastest packet with the media now needed would have
come. It must be at least the jitter (`DelayEstimator.low`); what is more than `target` is needless
delay. Depth changes and clock drift are absorbed by stretching, where that is not heard.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, gcd
from typing import Final

import numpy as np

from salon.media.errors import MediaError
from salon.media.fade import fade_out
from salon.media.frame import FRAME_SAMPLES, SAMPLE_RATE, SILENCE, Samples
from salon.media.jitter import JitterBuffer, Packet, to_ms
from salon.media.packet_codec import PacketDecoder
from salon.media.stretch import OVERLAP, Stretcher, cross_fade

_GONE_S: Final = 1.0
"""After so long without a packet there is no sound, not even silence."""

_MS: Final = SAMPLE_RATE // 1000
_CONCEAL_MOST: Final = 120 * _MS  # a decoder's concealment is silent by then
_LONG_GAP: Final = 200 * _MS  # after that, what comes is a new beginning
_SCRAP: Final = 5 * _MS  # a gap not worth filling
_SKIP_EXCESS: Final = 60 * _MS  # so much too deep, lost time is cut rather than filled
_ROUNDING: Final = 2  # samples by which timestamps of any clock rate may be off
_GRAIN: Final = 40  # 2.5 ms: codecs conceal multiples of that

_PAUSE: Final = 40 * _MS  # between two stretches that are not urgent
_RETRY: Final = 20 * _MS  # after one that failed, times the failures in a row
_LONGEST_RETRY: Final = 320 * _MS
_CALM: Final = 160 * _MS  # of silence: more than any consonant has
_LEAST_CUT: Final = 16  # 1 ms
_LEAST_RISE: Final = 0.5 * _MS
_MUCH: Final = 20 * _MS
_VERY_MUCH: Final = 100 * _MS
_ALIKE: Final = 0.93
_ALIKE_MUCH: Final = 0.85
_ALIKE_VERY_MUCH: Final = 0.5

_LOSS_STEP: Final = 1 / 128
_LOSSY: Final = 0.02
_LOSSLESS: Final = 0.005
_PROBE_EVERY: Final = 8  # losses between two looks for redundancy where none was found


@dataclass(frozen=True, slots=True)
class PlayoutStatistics:
    """Figures since the start; packets unless the name says otherwise.

    `lost` never came in time and were concealed; those of them that came later are also in `late`.
    `recovered` never came in time but were restored from redundancy. `discarded` came but had no
    room, or belonged to no time line. `damaged` could not be decoded (and are lost, too).
    `concealed_ms` is time filled in where sound was expected; a sender's pause is not.
    `depth_ms` is the delay added here to the fastest packet, at the last pull.
    """

    received: int
    duplicates: int
    late: int
    lost: int
    recovered: int
    concealed_ms: float
    accelerated_ms: float
    stretched_ms: float
    discarded: int
    damaged: int
    resyncs: int
    depth_ms: float
    target_ms: float
    jitter_p95_ms: float


class _Filler:
    """Sound for where there is none: concealment that fades, then silence; and the way back.

    It keeps a few samples more than were asked for, to fade from into what comes.
    """

    __slots__ = ("_decoder", "_row", "_tail")

    def __init__(self, decoder: PacketDecoder) -> None:
        self._decoder = decoder
        self._tail: Samples | None = SILENCE[:OVERLAP]
        self._row = 0

    @property
    def silent(self) -> bool:
        """Whether concealment has come to its end."""
        return self._row >= _CONCEAL_MOST

    def fill(self, count: int) -> Samples:
        """The next `count` samples."""
        tail = SILENCE[:0] if self._tail is None else self._tail
        if self._row >= _CONCEAL_MOST:
            self._row += count
            self._tail = SILENCE[:OVERLAP]
            return np.zeros(count, dtype=np.int16)
        if self._row == 0:
            tail = tail[:0]
        lacking = count + OVERLAP - len(tail)
        made = self._decoder.conceal(ceil(lacking / _GRAIN) * _GRAIN) if lacking > 0 else tail[:0]
        whole = np.concatenate((tail, made))
        if len(whole) < count:
            whole = np.concatenate((whole, np.zeros(count - len(whole), dtype=np.int16)))
        self._row += count
        self._tail = whole[count:]
        if self._row >= _CONCEAL_MOST:
            self._tail = SILENCE[:OVERLAP]
            return fade_out(whole[:count], FRAME_SAMPLES)
        return whole[:count]

    def begin(self, tail: Samples | None = None) -> None:
        """What comes next begins anew: it is blended from `tail`, or from concealment."""
        if self._tail is None:
            self._tail = self._decoder.conceal(OVERLAP) if tail is None else tail

    def join(self, samples: Samples) -> Samples:
        """Real sound is back."""
        if self._tail is None:
            return samples
        joined = cross_fade(self._tail, samples)
        self._tail = None
        self._row = 0
        return joined


class Playout:
    """The receiving end of one voice stream: jitter buffer, decoder, concealment, stretching.

    Not thread-safe, has no clock: times are seconds of one monotonic clock, given by the caller.
    Memory is bounded by `max_depth_ms` and `max_packets`. With `await_redundancy` it waits for one
    packet more while packets get lost and the stream carries redundancy, which can't be used
    otherwise.
    """

    __slots__ = (
        "_accelerated",
        "_await_redundancy",
        "_buffer",
        "_calm",
        "_concealed",
        "_damaged",
        "_decoder",
        "_depth",
        "_epoch",
        "_failures",
        "_filled",
        "_filler",
        "_have",
        "_hold",
        "_last",
        "_length",
        "_loss",
        "_lost",
        "_pause",
        "_pending",
        "_position",
        "_recovered",
        "_redundancy",
        "_slack",
        "_step",
        "_stretched",
        "_stretcher",
        "_tried",
        "_wait",
        "_waited",
        "concealed",
    )

    def __init__(
        self,
        decoder: PacketDecoder,
        *,
        max_depth_ms: int = 400,
        max_packets: int = 128,
        await_redundancy: bool = True,
    ) -> None:
        self._decoder = decoder
        self._buffer = JitterBuffer(
            decoder.clock_rate, max_depth_ms=max_depth_ms, max_packets=max_packets
        )
        self._await_redundancy = await_redundancy
        self._lost = self._recovered = self._damaged = 0
        self._concealed = self._accelerated = self._stretched = 0
        self._filler = _Filler(decoder)
        self._stretcher = Stretcher()
        self.concealed = False
        """Whether the frame pulled last holds concealment (V33)."""
        self._begin()

    def _begin(self) -> None:
        self._epoch = self._buffer.epoch
        self._position: int | None = None  # media time of what is decoded next
        self._pending: Samples = SILENCE[:0]  # decoded, not yet given out
        self._have = 0  # samples before the piece in work, in the frame in work
        self._last: Samples = SILENCE  # decoded last
        self._length = self._step = FRAME_SAMPLES
        self._slack: float | None = None  # the least of late
        self._depth = 0.0
        self._calm = 0  # samples of silence while there is too much depth
        self._hold = self._failures = 0
        self._loss = 0.0
        self._redundancy: bool | None = None  # whether the stream carries any, if known
        self._wait = 0  # samples added to the depth for its sake
        self._forget_gap()

    def _forget_gap(self) -> None:
        self._filled = 0  # samples given out since the last packet
        self._pause = False  # what is missing is not expected
        self._waited = self._tried = False

    def insert(
        self,
        payload: bytes,
        sequence: int,
        timestamp: int,
        arrival: float,
        *,
        marker: bool = False,
    ) -> None:
        """A packet as it came: RTP `sequence` (16 bits), `timestamp` (32 bits, in units of the
        decoder's clock rate), `arrival` in seconds. `marker` is not needed: a pause shows in the
        timestamps. What cannot be decoded is counted and treated as if it never came."""
        del marker
        length = self._decoder.duration(payload)
        if length > 0:
            self._buffer.insert(payload, sequence, timestamp, arrival, length)
        else:
            self._buffer.received += 1
            self._damaged += 1

    def skip(self, sequence: int, arrival: float) -> None:
        """A packet of this stream that is no sound, as a telephone event: its number is not lost
        (V28)."""
        self._buffer.skip(sequence, arrival)

    def reset(self) -> None:
        """Another sender follows (SSRC changed): start anew. Counters stay."""
        self._buffer.reset()
        self._restart()

    def _restart(self) -> None:
        self._filler.begin(self._pending if len(self._pending) else None)
        self._decoder.reset()
        self._begin()

    def statistics(self) -> PlayoutStatistics:
        """A snapshot."""
        buffer, delays = self._buffer, self._buffer.delays
        return PlayoutStatistics(
            received=buffer.received,
            duplicates=buffer.duplicates,
            late=buffer.late,
            lost=self._lost + buffer.passed_over,
            recovered=self._recovered,
            concealed_ms=to_ms(self._concealed),
            accelerated_ms=to_ms(self._accelerated),
            stretched_ms=to_ms(self._stretched),
            discarded=buffer.discarded,
            damaged=self._damaged,
            resyncs=buffer.resyncs,
            depth_ms=to_ms(self._depth),
            target_ms=to_ms(delays.target + self._wait),
            jitter_p95_ms=to_ms(delays.p95),
        )

    def pull(self, now: float) -> Samples | None:
        """The next 20 ms, ``int16[320]``, perhaps read-only; None before the first packet and when
        nothing came for a second. Call it once per tick; ticks may be late or skipped."""
        buffer = self._buffer
        last = buffer.last_arrival
        if last is None:
            return None
        if buffer.epoch != self._epoch:
            self._restart()
        self.concealed = False
        pending = self._pending
        have = len(pending)
        if have >= FRAME_SAMPLES:
            self._pending = pending[FRAME_SAMPLES:]
            return pending[:FRAME_SAMPLES]
        if now - last > _GONE_S and not have and not len(buffer):
            self._filled += FRAME_SAMPLES
            return None
        clock = now * SAMPLE_RATE
        self._have = have
        piece = self._piece(clock)
        if not have and len(piece) == FRAME_SAMPLES:  # the usual case: one packet is one frame
            return piece
        pieces = [pending, piece]
        have += len(piece)
        while have < FRAME_SAMPLES:
            self._have = have
            piece = self._piece(clock)
            pieces.append(piece)
            have += len(piece)
        whole = np.concatenate(pieces)
        self._pending = whole[FRAME_SAMPLES:]
        return whole[:FRAME_SAMPLES]

    def _piece(self, clock: float) -> Samples:
        """The next samples, at least one, after `_have` that are there for this frame."""
        buffer = self._buffer
        packet = buffer.first()
        if packet is None:
            return self._dry()
        position = self._position
        if position is None:  # a beginning: wait until enough jitter is covered
            if buffer.slack(packet.start, clock) < buffer.delays.target:
                return SILENCE[: FRAME_SAMPLES - self._have]
            return self._play(packet, clock)
        gap = packet.start - position
        missing = buffer.missing(packet)
        if not missing and gap <= _ROUNDING:
            return self._play(packet, clock)
        slack = buffer.slack(packet.start, clock)
        if missing and self._filled < _LONG_GAP:
            return self._bridge(packet, missing, gap, slack, clock)
        # The sender paused (V27), or nothing came for long: a talkspurt begins.
        if slack >= buffer.delays.target + self._wait:
            self._note_loss(missing, packet.length)
            return self._play(packet, clock)
        self._pause = True
        return self._fill(FRAME_SAMPLES - self._have)

    def _dry(self) -> Samples:
        rest = FRAME_SAMPLES - self._have
        if self._position is None:
            return SILENCE[:rest]
        if not self._filled:  # sound that ended in silence has paused, as far as is known
            self._pause = self._stretcher.quiet(self._last)
        return self._fill(rest)

    def _fill(self, count: int) -> Samples:
        self._filled += count
        if not self._pause and not self._filler.silent:
            self._concealed += count
            self.concealed = True
        return self._filler.fill(count)

    def _bridge(
        self, packet: Packet, missing: int, gap: int, slack: float, clock: float
    ) -> Samples:
        """Something for the `missing` packets before `packet`; or `packet`, when that is done."""
        delays = self._buffer.delays
        remaining = gap - self._filled
        if remaining < _SCRAP or slack > delays.target + self._wait + _SKIP_EXCESS:
            self._probe(packet, missing)
            self._note_loss(missing, packet.length)
            return self._play(packet, clock)
        self._pause = False
        if not self._waited and slack + gap < delays.low + self._wait:
            # Shallower than it should be: what is missing may still come (V26).
            self._waited = True
            filled = self._filled
            piece = self._fill(FRAME_SAMPLES - self._have)
            self._filled = filled
            return piece
        if remaining > packet.length + _SCRAP:
            return self._fill(min(remaining - packet.length, FRAME_SAMPLES))
        if not self._tried:
            self._tried = True
            restored = self._recover(packet)
            if restored is not None:
                self._note_loss(missing, packet.length)
                self._lost -= 1
                self._recovered += 1
                self._buffer.give_up(packet)
                self._position = packet.start
                self._forget_gap()
                return self._filler.join(restored[-remaining:])
        return self._fill(min(remaining, FRAME_SAMPLES))

    def _recover(self, packet: Packet) -> Samples | None:
        """The packet before `packet`, taken to be as long."""
        restored = self._decoder.recover(packet.payload, packet.length)
        if restored is not None and not len(restored):
            restored = None
        self._redundancy = restored is not None
        return restored

    def _probe(self, packet: Packet, missing: int) -> None:
        """Too late to restore what is missing; but would it have been possible?"""
        if self._redundancy or not self._await_redundancy or self._tried or missing > 1:
            return
        if self._redundancy is None or not self._lost % _PROBE_EVERY:
            self._recover(packet)

    def _note_loss(self, missing: int, length: int) -> None:
        """Loss in the long run decides whether waiting for redundancy pays."""
        if missing:
            self._lost += missing
            self._loss += (1.0 - self._loss) * min(1.0, _LOSS_STEP * missing)
            if self._await_redundancy and self._redundancy and self._loss > _LOSSY:
                self._wait = length

    def _play(self, packet: Packet, clock: float) -> Samples:
        """`packet` decoded, joined to what came before, maybe stretched."""
        slack = self._buffer.slack(packet.start, clock)
        self._buffer.take(packet)
        position = self._position
        if position is not None and abs(packet.start - position) > _ROUNDING:
            self._filler.begin()
        length = packet.length
        self._position = packet.start + length
        self._depth = slack + self._have
        if length != self._length:
            self._length = length
            self._step = gcd(length, FRAME_SAMPLES)
        try:
            samples = self._decoder.decode(packet.payload)
        except MediaError:
            samples = SILENCE[:0]
        self._forget_gap()
        if not len(samples):
            self._damaged += 1
            self._note_loss(1, length)
            piece = self._fill(length)
            self._filled = 0
            return piece
        if self._loss > 0.0:
            self._loss -= self._loss * _LOSS_STEP
            if self._loss < _LOSSLESS:
                self._wait = 0
        samples = self._filler.join(samples)
        self._last = samples
        return self._adapt(samples, slack)

    def _adapt(self, samples: Samples, slack: float) -> Samples:
        """`samples` shortened or lengthened, when the depth is wrong and nobody will hear it."""
        least = self._slack
        if least is None or slack <= least:
            least = slack
        else:  # ticks may be late: believe in more depth only by and by
            least = min(slack, least + max(_LEAST_RISE, (slack - least) / 8))
        self._slack = least
        delays = self._buffer.delays
        low = delays.low + self._wait
        target = delays.target + self._wait
        step = self._step
        beyond = self._have % step  # of a whole step: delay that is of no use
        if low <= least < target + step and beyond < _LEAST_CUT:
            self._failures = self._calm = 0
            return samples
        if least >= low:
            self._calm = self._calm + len(samples) if self._stretcher.quiet(samples) else 0
            if self._calm < _CALM and delays.bear(least - target):
                return samples
        if self._hold > 0:
            self._hold -= self._length
            return samples
        if least < low:
            lacking = step - beyond + step * max(0, ceil((low - least) / step) - 1)
            return self._lengthen(samples, lacking, beyond, low - least > _MUCH)
        spare = beyond + step * max(0, floor((least - target) / step))
        return self._shorten(samples, spare, beyond)

    def _lengthen(self, samples: Samples, lacking: int, beyond: int, much: bool) -> Samples:
        longer = self._stretcher.lengthen(samples, lacking, _ALIKE_MUCH if much else _ALIKE)
        if longer is None:
            self._failed(much)
            return samples
        added = len(longer) - len(samples)
        self._stretched += added
        self._moved(beyond + added, much)
        return longer

    def _shorten(self, samples: Samples, spare: int, beyond: int) -> Samples:
        if not self._buffer.due():  # nothing to go on with
            spare = min(spare, self._have + len(samples) - FRAME_SAMPLES)
        much = spare >= _MUCH
        alike = _ALIKE_VERY_MUCH if spare > _VERY_MUCH else _ALIKE_MUCH if much else _ALIKE
        shorter = self._stretcher.shorten(samples, spare, alike)
        if shorter is None:
            self._failed(much)
            return samples
        removed = len(samples) - len(shorter)
        self._accelerated += removed
        self._moved(beyond - removed, much)
        return shorter

    def _moved(self, beyond: int, much: bool) -> None:
        if self._slack is not None:
            self._slack += floor(beyond / self._step) * self._step
        self._failures = 0
        self._hold = 0 if much else _PAUSE

    def _failed(self, much: bool) -> None:
        self._failures += 1
        self._hold = 0 if much else min(_RETRY * self._failures, _LONGEST_RETRY)
