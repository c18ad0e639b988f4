"""The ticker on a clock of its own."""

from __future__ import annotations

import asyncio
import logging

import pytest

from salon.transport.lateness import LatenessHistogram
from salon.transport.ticker import Phase, Ticker

from .wire import VirtualLoop


@pytest.fixture
def loop() -> VirtualLoop:
    return VirtualLoop()


@pytest.fixture
def ticker(loop: VirtualLoop) -> Ticker:
    return Ticker(loop=loop)  # type: ignore[arg-type]


def test_every_20_ms_without_drift(loop: VirtualLoop, ticker: Ticker) -> None:
    times: list[float] = []
    ticker.add(lambda tick: times.append(loop.now))
    loop.advance(60.0, late=0.004)
    assert len(times) == 2999
    assert times[0] == pytest.approx(100.024)
    assert times[-1] == pytest.approx(159.984)
    statistics = ticker.statistics()
    assert (statistics.ticks, statistics.skipped, statistics.late) == (2999, 0, 0)
    assert statistics.p99_lateness_ms == pytest.approx(4.0, abs=0.001)


def test_it_starts_with_the_first_callback_and_stops_with_the_last(
    loop: VirtualLoop, ticker: Ticker
) -> None:
    assert not ticker.running
    assert loop.pending == 0
    first, second = ticker.add(lambda tick: None), ticker.add(lambda tick: None)
    assert loop.pending == 1
    first.cancel()
    first.cancel()
    assert ticker.running
    second.cancel()
    assert not ticker.running
    assert loop.pending == 0
    ticks: list[int] = []
    loop.advance(10)
    ticker.add(ticks.append)
    loop.advance(0.041)
    assert ticks == [1, 2]
    assert ticker.tick == 2
    assert ticker.statistics().skipped == 0


def test_phases_run_in_order_and_callbacks_in_order_of_arrival(
    loop: VirtualLoop, ticker: Ticker
) -> None:
    log: list[str] = []
    ticker.add(lambda tick: log.append("out1"))
    ticker.add(lambda tick: log.append("after"), Phase.AFTER)
    ticker.add(lambda tick: log.append("in"), Phase.INBOUND)
    ticker.add(lambda tick: log.append("out2"))
    loop.advance(0.021)
    assert log == ["in", "out1", "out2", "after"]


def test_G132_late_ticks_are_skipped_and_counted(loop: VirtualLoop, ticker: Ticker) -> None:
    ticks: list[int] = []
    ticker.add(ticks.append)
    loop.advance(0.041)
    loop.now += 0.107  # something blocked the loop
    loop.advance(0.041)
    assert ticks == [1, 2, 7, 8, 9]
    statistics = ticker.statistics()
    assert (statistics.skipped, statistics.late) == (4, 1)
    assert statistics.max_lateness_ms == pytest.approx(88, abs=1)


def test_a_timer_that_fires_a_little_early_counts_as_in_time(
    loop: VirtualLoop, ticker: Ticker
) -> None:
    ticks: list[int] = []
    ticker.add(ticks.append)
    loop.fire_early(0.0004)
    assert ticks == [1]
    loop.fire_early(0.005)  # five milliseconds are too much: it waits again
    assert ticks == [1]
    loop.fire_early(0)
    assert ticks == [1, 2]
    assert ticker.statistics().ticks == 2


def test_a_callback_that_raises_disturbs_nobody_and_is_logged_rarely(
    loop: VirtualLoop, ticker: Ticker, caplog: pytest.LogCaptureFixture
) -> None:
    ticks: list[int] = []

    def broken(tick: int) -> None:
        raise ZeroDivisionError

    ticker.add(broken)
    ticker.add(ticks.append)
    with caplog.at_level(logging.ERROR, "salon.transport"):
        loop.advance(0.101)
    assert ticks == [1, 2, 3, 4, 5]
    assert ticker.statistics().failures == 5
    assert len(caplog.records) == 1


def test_cancel_inside_a_tick_holds_at_once(loop: VirtualLoop, ticker: Ticker) -> None:
    log: list[str] = []
    second = None

    def first(tick: int) -> None:
        log.append("first")
        if second is not None:
            second.cancel()

    handle = ticker.add(first)
    second = ticker.add(lambda tick: log.append("second"))
    loop.advance(0.021)
    assert log == ["first"]
    assert ticker.statistics().callbacks == 1
    assert handle.active


def test_the_last_callback_may_cancel_itself_or_be_replaced(
    loop: VirtualLoop, ticker: Ticker
) -> None:
    ticks: list[int] = []

    def once(tick: int) -> None:
        handle.cancel()

    handle = ticker.add(once)
    loop.advance(0.021)
    assert not ticker.running
    assert loop.pending == 0

    def replace(tick: int) -> None:
        handle.cancel()
        ticker.add(ticks.append)

    handle = ticker.add(replace)
    loop.advance(0.045)
    assert len(ticks) == 1
    assert loop.pending == 1


def test_a_callback_added_inside_a_tick_waits_for_the_next(
    loop: VirtualLoop, ticker: Ticker
) -> None:
    added: list[int] = []

    def grow(tick: int) -> None:
        if tick == 1:
            ticker.add(added.append, Phase.AFTER)

    ticker.add(grow)
    loop.advance(0.061)
    assert added == [2, 3]


async def test_on_the_running_loop() -> None:
    ticker = Ticker(1_000_000)
    done = asyncio.Event()
    handle = ticker.add(lambda tick: done.set() if tick >= 5 else None)
    async with asyncio.timeout(5):
        await done.wait()
    handle.cancel()
    assert ticker.statistics().busy_seconds > 0


def test_a_histogram_bounds_its_quantiles() -> None:
    histogram = LatenessHistogram()
    assert histogram.quantile(0.99) == 0.0
    for _ in range(99):
        histogram.add(0.7)
    histogram.add(5000.0)
    assert histogram.quantile(0.5) == 1.0
    assert histogram.quantile(0.99) == 1.0
    assert histogram.quantile(1.0) == 5000.0
    with pytest.raises(ValueError, match="quantile"):
        histogram.quantile(0)
