"""Virtual time: how tests wait for hours in no time, and what happens when nothing will come."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from salon.testing import (
    StalledError,
    VirtualClock,
    VirtualTimeLoop,
    VirtualTimePolicy,
    run_virtual,
    virtual_time,
)
from salon.testing.clock import EPOCH
from salon.transport.ticker import Ticker


def test_an_hour_of_ticks_takes_as_long_as_its_callbacks() -> None:
    async def hour() -> int:
        ticker = Ticker()
        ticks = 0

        def count(_tick: int) -> None:
            nonlocal ticks
            ticks += 1

        handle = ticker.add(count)
        await asyncio.sleep(3600)
        handle.cancel()
        return ticks

    began = time.monotonic()
    assert run_virtual(hour()) == pytest.approx(3600 * 50, abs=1)
    assert time.monotonic() - began < 60


@virtual_time
async def test_time_passes_only_when_everybody_waits() -> None:
    loop = asyncio.get_running_loop()
    assert loop.time() == 0.0
    for _ in range(100):
        await asyncio.sleep(0)
    assert loop.time() == 0.0
    await asyncio.sleep(12.5)
    assert loop.time() == 12.5


@virtual_time
async def test_timers_fire_in_order_at_their_times() -> None:
    loop = asyncio.get_running_loop()
    fired: list[tuple[str, float]] = []

    def fire(name: str) -> None:
        fired.append((name, loop.time()))

    for name, delay in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
        loop.call_later(delay, fire, name)
    await asyncio.sleep(10)
    assert fired == [("a", 1.0), ("b", 2.0), ("c", 3.0)]


@virtual_time
async def test_timeouts_are_virtual() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await asyncio.Event().wait()
    assert asyncio.get_running_loop().time() == 3600


def test_a_deadlock_is_told_at_once() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    loop = VirtualTimeLoop(patience=0.01)
    try:
        with pytest.raises(StalledError, match="waits"):
            loop.run_until_complete(wait_for_nobody())
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@virtual_time
async def test_work_in_threads_takes_no_virtual_time() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    release = threading.Event()

    def work() -> str:
        release.wait(5)
        return "done"

    pending = asyncio.ensure_future(asyncio.to_thread(work))
    timer = asyncio.ensure_future(asyncio.sleep(60))
    await asyncio.sleep(0)
    assert loop.threads == 1
    threading.Timer(0.05, release.set).start()
    assert await pending == "done"
    assert loop.time() == 0.0  # the timer was pending all the while
    assert loop.threads == 0
    await timer


@virtual_time
async def test_a_failing_thread_is_counted_out() -> None:
    def fail() -> None:
        raise LookupError("in a thread")

    with pytest.raises(LookupError):
        await asyncio.to_thread(fail)
    await asyncio.sleep(3600)


def test_results_and_errors_come_out_of_run_virtual() -> None:
    async def give(value: int) -> int:
        await asyncio.sleep(value)
        if value > 100:
            raise ValueError("too long")
        return value

    assert run_virtual(give(7)) == 7
    with pytest.raises(ValueError, match="too long"):
        run_virtual(give(101))


@pytest.mark.parametrize("number", [1, 2])
@virtual_time
async def test_the_decorator_works_with_parametrized_tests(number: int) -> None:
    await asyncio.sleep(3600 * number)


def test_the_policy_makes_virtual_loops() -> None:
    loop = VirtualTimePolicy().new_event_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.close()


# -- clocks ---------------------------------------------------------------------------------------


@virtual_time
async def test_a_clock_follows_its_loop() -> None:
    await asyncio.sleep(5)
    clock = VirtualClock()
    assert (clock.time(), clock.monotonic()) == (EPOCH, 0.0)
    await clock.sleep(90)
    assert (clock.time(), clock.monotonic()) == (EPOCH + 90, 90.0)
    assert clock.now_ms() == (EPOCH + 90) * 1000
    clock.advance(10)
    assert clock.monotonic() == 100.0


def test_outside_a_loop_a_clock_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock(epoch=1000.0)
    assert clock.time() == 1000.0
    clock.advance(2.5)
    assert (clock.time(), clock.monotonic()) == (1002.5, 2.5)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
