"""Live change of sampling rate: a polyphase bank of Kaiser-windowed sinc filters.

One law for every pair, with R the lower of the two rates: pass band 0 to 0.425 R (3.4 kHz for 8 kHz
telephone sound, 6.8 kHz at 16 kHz), at least 60 dB down from 0.515 R on, delay 22 / R (2.75 ms at
8 kHz, 1.4 ms at 16 kHz), the same at every moment: n samples in give ``ceil(n * out / in)`` out,
summed over the whole stream, so 20 ms in are 20 ms out and nothing drifts or arrives in bursts.

Coefficients are whole multiples of 2**-26 and sums run in float64, so every sum is exact whatever
its order: the output depends on the samples alone, not on how they were cut.
The work is done as products of small matrices: each block of outputs is one matrix (its filters,
placed side by side) times one window of the input. Blocks share a matrix where the phases repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import ceil, gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

from salon.media.frame import Samples
from salon.media.pcm import to_int16

Floats = NDArray[np.float64]

PASS_BAND: Final = 0.425
"""Upper end of the pass band as a part of the lower rate."""
STOP_BAND: Final = 0.515
_HALF_SPAN: Final = 22
"""Half the length of the filter in samples of the lower rate; also the delay."""
_STOP_DB: Final = 66.0
_SCALE: Final = 2.0**26
_BLOCK: Final = 16
_SHARED_UP_TO: Final = 32
_MAX_BANK: Final = 4_000_000
_SLICE_MS: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class _Bank:
    """All phases of the filter for one pair of rates, in input samples.

    ``filters[p]`` gives an output that lies ``p / up`` after the newest of its `taps` inputs,
    `delay` inputs late.
    """

    up: int
    down: int
    taps: int
    delay: int
    filters: Floats

    @property
    def shared(self) -> bool:
        """Whether the phases repeat soon enough for all blocks to use one matrix."""
        return self.up <= _SHARED_UP_TO

    def outputs(self, size: int, phase: int) -> int:
        """How many outputs `size` inputs complete."""
        return max(0, -((phase - size * self.up) // self.down))

    @property
    def block(self) -> int:
        """Outputs per matrix."""
        return self.up * ceil(_BLOCK / self.up) if self.shared else _BLOCK


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """How one slice of input becomes output: windows at `starts`, times `weights`.

    `weights` is ``[width, r]`` where all blocks share it, else ``[blocks, r, width]``.
    """

    count: int
    width: int
    starts: NDArray[np.intp]
    step: int
    weights: Floats


@lru_cache(maxsize=32)
def _bank(in_rate: int, out_rate: int) -> _Bank:
    common = gcd(in_rate, out_rate)
    up, down = out_rate // common, in_rate // common
    lower = min(in_rate, out_rate)
    half = _HALF_SPAN * in_rate / lower
    delay = ceil(half)
    taps = 2 * delay
    if up * taps > _MAX_BANK:
        raise ValueError(f"resampling {in_rate} Hz to {out_rate} Hz needs too large a filter bank")
    # Newest input first at distance `delay` before the output, oldest `delay` after it.
    distance = np.arange(up)[:, None] / up + np.arange(taps - 1, -1, -1)[None, :] - delay
    cutoff = (PASS_BAND + STOP_BAND) * lower / in_rate
    beta = 0.1102 * (_STOP_DB - 8.7)
    window = np.i0(beta * np.sqrt(np.clip(1.0 - (distance / half) ** 2, 0.0, None)))
    window[np.abs(distance) > half] = 0.0
    filters = np.sinc(cutoff * distance) * window
    filters /= filters.sum(axis=1, keepdims=True)
    filters = np.rint(filters * _SCALE)
    # Each phase passes a constant exactly: the rounding error goes to its largest coefficient.
    peak = np.argmax(filters, axis=1)
    filters[np.arange(up), peak] += _SCALE - filters.sum(axis=1)
    filters /= _SCALE
    filters.flags.writeable = False
    return _Bank(up, down, taps, delay, filters)


@lru_cache(maxsize=64)
def _plan(in_rate: int, out_rate: int, size: int, phase: int) -> _Plan:
    """The plan for `size` inputs when the first output lies `phase` / up after the first input."""
    bank = _bank(in_rate, out_rate)
    count = bank.outputs(size, phase)
    block = bank.block
    blocks = ceil(count / block)
    ticks = phase + np.arange(blocks * block) * bank.down
    newest = (ticks // bank.up).reshape(blocks, block)
    rows = bank.filters[ticks % bank.up].reshape(blocks, block, bank.taps)
    starts = newest[:, 0].astype(np.intp)
    offsets = newest - starts[:, None]
    width = bank.taps + int(offsets.max(initial=0))
    built = 1 if bank.shared and blocks else blocks
    weights = np.zeros((built, block, width))
    at = offsets[:built, :, None] + np.arange(bank.taps)
    np.put_along_axis(weights, at, rows[:built], axis=2)
    if built == 1 and bank.shared:
        weights = np.ascontiguousarray(weights[0].T)
    weights.flags.writeable = False
    step = bank.down * block // bank.up if bank.shared else 0
    return _Plan(count, width, starts, step, weights)


def _by_plan(plan: _Plan, work: Floats) -> Floats:
    """The outputs of a whole slice."""
    if plan.count == 0:
        return np.zeros(0)
    item = work.itemsize
    if plan.step:
        shape = len(plan.starts), plan.width
        first = int(plan.starts[0]) * item
        windows: Floats = np.ndarray(shape, np.float64, work, first, (plan.step * item, item))
        out: Floats = np.ascontiguousarray(windows) @ plan.weights
    else:
        windows = _windows(work, plan.width)[plan.starts]
        out = np.matmul(plan.weights, windows[:, :, None])
    return out.reshape(-1)[: plan.count]


def _directly(bank: _Bank, work: Floats, count: int, phase: int) -> Floats:
    """The same, output by output: slower, but with nothing to prepare."""
    ticks = phase + np.arange(count) * bank.down
    windows = _windows(work, bank.taps)[ticks // bank.up]
    out: Floats = np.einsum("ij,ij->i", windows, bank.filters[ticks % bank.up])
    return out


def _windows(work: Floats, width: int) -> Floats:
    """All windows of `width` samples, as a view."""
    item = work.itemsize
    return np.ndarray((len(work) - width + 1, width), np.float64, work, 0, (item, item))


class Resampler:
    """Streaming conversion of mono int16 from `in_rate` to `out_rate` Hz.

    State belongs to one stream. Pieces of 20 ms (or multiples) are the fast path; any size works,
    and the output does not depend on how the input is cut. Equal rates pass samples through.
    `ValueError` for rates outside 1 to 384 kHz, or a pair whose ratio is too odd (beyond about
    90000 filters).
    """

    __slots__ = (
        "_bank",
        "_offset",
        "_periodic",
        "_phase",
        "_slice",
        "_work",
        "in_rate",
        "out_rate",
    )

    def __init__(self, in_rate: int, out_rate: int) -> None:
        for rate in (in_rate, out_rate):
            if not 1_000 <= rate <= 384_000:
                raise ValueError(f"sampling rate {rate} Hz is not within 1000 to 384000")
        self.in_rate = in_rate
        self.out_rate = out_rate
        bank = self._bank = _bank(in_rate, out_rate)
        # A slice is about 20 ms and a whole number of periods, so that the phase stays put.
        periods = max(1, round(in_rate * _SLICE_MS / 1000 / bank.down))
        whole = periods * bank.down
        self._periodic = whole <= in_rate // 20
        self._slice = whole if self._periodic else in_rate // 50
        self._work: Floats = np.zeros(0)
        self._phase = 0
        self._offset = 0
        self.reset()

    @property
    def delay_ms(self) -> float:
        """Constant delay of the output, in milliseconds; 0 for equal rates."""
        return 0.0 if self._same else self._bank.delay * 1000 / self.in_rate

    @property
    def _same(self) -> bool:
        return self.in_rate == self.out_rate

    def reset(self) -> None:
        """Forget all history, as if new."""
        if not self._same:
            # History, one slice, and room for the unused outputs of the last block.
            spare = (self._bank.block + 1) * (self._bank.down // self._bank.up + 1)
            self._work = np.zeros(self._bank.taps + self._slice + spare)
            self._phase = 0
            self._offset = 0

    def process(self, samples: Samples) -> Samples:
        """Take ``int16[n]`` at `in_rate`, give ``int16[m]`` at `out_rate`.

        m is ``n * out / in`` exactly for whole 20 ms pieces of the usual rates. For equal rates the
        very same array comes back.
        """
        if self._same:
            return samples
        size = len(samples)
        if size == self._slice or size + self._offset <= self._slice:
            return self._take(samples)
        # Cut at whole slices of the stream: there the phase, and so the plan, is always the same.
        edges = [0, *range(self._slice - self._offset, size, self._slice), size]
        return np.concatenate([self._take(samples[a:b]) for a, b in pairwise(edges)])

    def flush(self) -> Samples:
        """The rest of the sound, which the delay still holds; then start anew."""
        if self._same:
            return np.zeros(0, dtype=np.int16)
        tail = self.process(np.zeros(self._bank.delay, dtype=np.int16))
        self.reset()
        return tail

    def _take(self, samples: Samples) -> Samples:
        """At most one slice."""
        bank, work, phase = self._bank, self._work, self._phase
        size = len(samples)
        history = bank.taps - 1
        work[history : history + size] = samples
        if self._periodic and size == self._slice:
            plan = _plan(self.in_rate, self.out_rate, size, phase)
            count = plan.count
            out = _by_plan(plan, work)
        else:
            count = bank.outputs(size, phase)
            out = _directly(bank, work, count, phase)
        self._phase = phase + count * bank.down - size * bank.up
        self._offset = (self._offset + size) % self._slice
        work[:history] = work[size : size + history]
        return to_int16(out)

    def _skip(self, inputs: int) -> None:
        """Start the output `inputs` samples late (whole-buffer use: undo the delay)."""
        self._phase = inputs * self._bank.up


def resample(samples: Samples, in_rate: int, out_rate: int) -> Samples:
    """A whole recording at another rate, with the delay taken out.

    ``int16[n]`` gives ``int16[ceil(n * out / in)]``; the first samples coincide in time.
    """
    worker = Resampler(in_rate, out_rate)
    if in_rate == out_rate or not len(samples):
        return samples
    delay = worker._bank.delay
    worker._skip(delay)
    padded = np.concatenate([samples, np.zeros(delay, dtype=np.int16)])
    return worker.process(padded)
