"""The jitter buffer: order, bounds, counters; and its estimate of delays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from salon.media.delays import DelayEstimator, WindowMinimum
from salon.media.jitter import JitterBuffer, to_ms

MS = 16


def filled(*sequences: int, first: int = 1000, clock_rate: int = 16_000) -> JitterBuffer:
    """A buffer that got packets of 20 ms with these numbers after `first`, 1 ms apart."""
    buffer = JitterBuffer(clock_rate)
    for index, number in enumerate(sequences):
        put(buffer, first + number, 10 + index * 0.001)
    return buffer


def put(buffer: JitterBuffer, number: int, arrival: float, *, timestamp: int | None = None) -> None:
    stamp = number * 320 if timestamp is None else timestamp
    buffer.insert(b"%d" % number, number & 0xFFFF, stamp & 0xFFFFFFFF, arrival, 320)


def drain(buffer: JitterBuffer) -> list[int]:
    out = []
    while (packet := buffer.first()) is not None:
        buffer.take(packet)
        out.append(int(packet.payload))
    return out


def test_packets_come_out_in_order_even_if_the_first_came_second() -> None:
    assert drain(filled(1, 0, 3, 2, 5, 4)) == [1000, 1001, 1002, 1003, 1004, 1005]


def test_positions_go_on_across_both_wraps() -> None:
    buffer = JitterBuffer(48_000)
    starts = []
    for index in range(200):
        buffer.insert(
            b"x", (65_500 + index) & 0xFFFF, (2**32 - 9_600 + index * 960) % 2**32, index / 50, 320
        )
        packet = buffer.first()
        assert packet is not None
        starts.append(packet.start)
        buffer.take(packet)
    assert set(np.diff(starts)) == {320}
    assert buffer.resyncs == buffer.discarded == buffer.late == 0


def test_duplicates_and_late_ones_are_told_apart() -> None:
    buffer = filled(0, 1, 3)
    assert drain(buffer) == [1000, 1001, 1003]
    put(buffer, 1001, 10.01)  # played
    put(buffer, 1002, 10.01)  # missed
    put(buffer, 1002, 10.01)  # missed, again
    put(buffer, 1004, 10.01)
    put(buffer, 1004, 10.01)
    assert (buffer.received, buffer.duplicates, buffer.late) == (8, 3, 1)
    assert len(buffer) == 1


def test_missing_counts_what_was_not_seen() -> None:
    buffer = filled(0, 5)
    first = buffer.first()
    assert first is not None
    assert buffer.missing(first) == 0
    assert buffer.due()
    buffer.take(first)
    assert not buffer.due()
    second = buffer.first()
    assert second is not None
    assert buffer.missing(second) == 4
    buffer.give_up(second)
    assert buffer.missing(second) == 0
    assert buffer.due()


def test_V28_numbers_of_other_media_are_not_missing() -> None:
    buffer = filled(0)
    buffer.skip(1001, 10.0)
    buffer.skip(1003, 10.0)
    buffer.skip(40_000, 10.0)  # of another time line
    put(buffer, 1004, 10.08)
    drained = buffer.first()
    assert drained is not None
    buffer.take(drained)
    last = buffer.first()
    assert last is not None
    assert buffer.missing(last) == 1
    buffer.take(last)
    buffer.skip(1002, 10.1)  # too late to matter
    put(buffer, 1003, 10.1)
    assert buffer.duplicates == 1
    fresh = JitterBuffer(16_000)
    fresh.skip(7, 1.0)
    assert fresh.first() is None
    for number in range(500):
        buffer.skip((1005 + number) & 0xFFFF, 11.0)
    assert len(buffer._skipped) <= 128


def test_span_and_number_are_bounded_and_the_oldest_go() -> None:
    buffer = JitterBuffer(16_000, max_depth_ms=400)
    for number in range(100):
        put(buffer, 1000 + number, 10.0)
    assert len(buffer) == 20
    assert drain(buffer)[-1] == 1099
    assert buffer.discarded == 100 - 20
    small = JitterBuffer(16_000, max_packets=4)
    for number in (0, 2, 4, 6, 8, 10):
        put(small, 1000 + number, 10.0)
    assert len(small) == 4
    assert (small.discarded, small.passed_over) == (2, 1)


def test_one_strange_packet_is_dropped_and_two_restart() -> None:
    buffer = filled(0, 1, 2)
    put(buffer, 30_000, 10.05)
    put(buffer, 1003, 10.06)
    assert (buffer.resyncs, buffer.discarded) == (0, 1)
    put(buffer, 30_000, 10.07)
    put(buffer, 50_000, 10.08)  # strange in another way
    put(buffer, 50_000, 10.08)  # the same again proves nothing
    assert (buffer.resyncs, buffer.epoch) == (0, 0)
    put(buffer, 50_001, 10.09)
    assert (buffer.resyncs, buffer.epoch) == (1, 1)
    assert drain(buffer) == [50_000, 50_001]
    assert buffer.received == 9
    assert buffer.discarded == 3 + 4


@pytest.mark.parametrize("seconds", [-8, 2, 8, 3600])
def test_a_jump_of_timestamps_alone_restarts_too(seconds: int) -> None:
    buffer = filled(0, 1, 2)
    for number in (1003, 1004):
        put(buffer, number, 10.1, timestamp=number * 320 + seconds * 16_000)
    assert buffer.resyncs == 1
    assert drain(buffer) == [1003, 1004]


def test_reset_counts_what_is_dropped() -> None:
    buffer = filled(0, 1, 2)
    put(buffer, 30_000, 10.0)
    buffer.reset()
    assert (len(buffer), buffer.discarded, buffer.epoch) == (0, 4, 1)
    put(buffer, 5, 11.0)
    assert drain(buffer) == [5]


def test_a_straggler_teaches_nothing() -> None:
    buffer = JitterBuffer(16_000)
    for number in range(200):
        if number != 100:
            put(buffer, 1000 + number, 10 + number * 0.02)
        if number == 150:
            put(buffer, 1100, 10 + number * 0.02)
        if (packet := buffer.first()) is not None and number not in (101, 102):
            buffer.take(packet)
    assert buffer.late == 1
    assert buffer.delays.p95 < 5 * MS
    assert buffer.delays.base == pytest.approx(10 * 16_000 - 1000 * 320, abs=2)


@pytest.mark.parametrize(
    "bad", [{"clock_rate": 0}, {"max_depth_ms": 20}, {"max_packets": 1}], ids=str
)
def test_senseless_bounds_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        JitterBuffer(bad.pop("clock_rate", 16_000), **bad)


def test_the_minimum_follows_a_window_of_ten_seconds() -> None:
    minimum = WindowMinimum()
    rng = np.random.default_rng(2)
    values = rng.uniform(0, 100, 3000) + np.arange(3000) * 0.1
    for index, value in enumerate(values):
        minimum.add(float(value), index * 0.02)
        least = values[max(0, index - 499) : index + 1].min()
        longest = values[max(0, index - 450) : index + 1].min()
        assert least <= minimum.value <= longest
    minimum.add(1e6, 1e6)
    assert minimum.value == 1e6


@pytest.mark.parametrize("mean", [1.0, 5.0, 25.0, 60.0])
@pytest.mark.parametrize("start", [-1e6, 0.0, 3e9])
def test_p95_is_that_of_the_delays(mean: float, start: float) -> None:
    rng = np.random.default_rng(4)
    delays = rng.exponential(mean * MS, 3000)
    estimator = DelayEstimator(most_samples=400 * MS)
    seen = []
    for index, delay in enumerate(delays):
        estimator.add(start + float(delay), index * 0.02)
        if index > 500:
            seen.append(estimator.p95)
    true = float(np.percentile(delays, 95))
    assert np.mean(seen) == pytest.approx(true, abs=0.08 * true + 2 * MS)
    assert estimator.low <= estimator.target <= 400 * MS


def test_p95_survives_hours_of_drift_and_forgets_old_delays() -> None:
    estimator = DelayEstimator(most_samples=400 * MS)
    rng = np.random.default_rng(4)
    for sign in (1, -1):  # 200 ppm
        for index in range(40_000):
            late = rng.uniform(0, 10 * MS)
            estimator.add(sign * index * 0.064 + late, index * 0.02)
        assert estimator.p95 == pytest.approx(9.5 * MS, abs=4 * MS)
        estimator.clear()
    assert estimator.p95 == 0


def test_delays_beyond_everything_stay_in_bounds() -> None:
    estimator = DelayEstimator(most_samples=400 * MS)
    for index in range(200):
        estimator.add(0.0 if index % 2 else 390.0 * MS, index * 0.02)
        estimator.add(-index * 100.0, index * 0.02)
        assert 0 <= estimator.p95 <= 400 * MS
        assert math.isfinite(estimator.target)
        assert estimator.target <= 400 * MS
    assert estimator.known


def test_figures_are_rounded_to_a_tenth() -> None:
    assert to_ms(0) == 0
    assert to_ms(320) == 20.0
    assert to_ms(17) == 1.1
