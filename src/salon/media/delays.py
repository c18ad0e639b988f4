"""How late the packets of one stream tend to be, and how deep a buffer must be. No clock, no I/O.

Positions and delays are in samples at 16 kHz. The *delay* of a packet is its arrival minus its
media time; only differences mean anything. *Base* is the least delay of the last ten seconds, so
that it follows the drift of the sender's clock; what a packet took beyond it is its jitter.
"""

from __future__ import annotations

from collections import deque
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

_INITIAL: Final = 60 * _SAMPLES_PER_MS
_INITIAL_AGAIN: Final = 10 * _SAMPLES_PER_MS  # for another sender on a network that is known
_CAREFUL: Final = SAMPLE_RATE // 2  # of sound, until the initial depth may be left
_LEARNING: Final = 3 * SAMPLE_RATE  # of sound, until there is a 95th percentile to speak of
_LEARNING_MOST: Final = 80 * _SAMPLES_PER_MS  # a single packet shall not cost more

_PATIENCE: Final = 3 * SAMPLE_RATE  # of sound, with a little depth too much
_PATIENCE_MUCH: Final = 5 * SAMPLE_RATE // 2  # with much
_MUCH: Final = 40 * _SAMPLES_PER_MS
_TOO_MUCH: Final = 100 * _SAMPLES_PER_MS

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
    falls slowly: a delay is forgotten within about fifteen seconds. Of few packets nobody knows the
    95th percentile: `target` stays at `initial_samples` for half a second and covers the latest
    packet of the first three, so that the first words need no other depth. A stoppage longer than
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
        "_learnt",
        "_learnt_before",
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
        "_worst",
        "base",
        "low",
        "p95",
        "target",
    )

    def __init__(self, *, most_samples: int, initial_samples: int = _INITIAL) -> None:
        self._most = most_samples
        self._initial: float = initial_samples
        self._learnt = self._learnt_before = 0
        self.low = self.target = 0.0
        self._minimum = WindowMinimum()
        self._floor = _SAMPLES_PER_MS  # less than 1 ms is not worth an underrun
        self.clear()

    def clear(self) -> None:
        """Forget everything, as for a new sender; but it begins as deep as the last needed."""
        if self._learnt:  # the network is likely to be the same
            self._initial = min(self._initial, max(self.target, _INITIAL_AGAIN))
            self._learnt_before += self._learnt
        self._minimum.clear()
        self._away_since: float | None = None
        self._away_least = inf
        self._learnt = 0  # samples of sound
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
        self._worst = -inf
        self._spike = self._spike_share = self._spike_peak = 0.0
        self._spike_at = 0.0
        self.p95 = 0.0
        """Of the jitter, in samples."""

    @property
    def known(self) -> bool:
        """Whether any packet has been seen."""
        return self._seen > 0 or self._away_since is not None

    def bear(self, needless: float) -> bool:
        """Whether to live with `needless` depth until there is silence, and not that of a stop
        within a word: a call begins deeper than most networks need, and with words (V33)."""
        age = self._learnt_before + self._learnt
        if needless < _MUCH:
            return age < _PATIENCE
        return age < _PATIENCE_MUCH and needless < _TOO_MUCH

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
        self._learnt += length
        if self._learnt < _LEARNING:
            self._worst = max(self._worst, delay)
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
        if self._learnt < _LEARNING:
            needed = max(needed, min(self._worst - self.base, _LEARNING_MOST))
            if self._learnt < _CAREFUL:
                needed = max(needed, self._initial)
        # Depth moves in steps of a frame above `target`: centred on what is needed, roughly.
        self.low = min(needed - min(needed / 16, _SLACKENING), float(self._most))
        """Depth below which the buffer should grow."""
        self.target = min(self.low + _HYSTERESIS, float(self._most))
        """Depth to start with; the buffer shrinks where that leaves it."""
