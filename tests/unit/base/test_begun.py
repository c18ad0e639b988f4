"""Work that costs what a wait needs only if it waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Any
from unittest.mock import AsyncMock

import pytest

from salon.base import Begun, at_once, is_at_once, within


async def ready(value: str) -> str:
    return value


async def test_work_that_does_not_wait_is_over_at_once() -> None:
    begun = Begun(ready("here"))
    assert begun.over
    assert begun.result == "here"
    assert await begun == "here"


async def test_work_that_waits_goes_on_where_it_stopped() -> None:
    steps: list[str] = []

    async def work() -> str:
        steps.append("begun")
        await asyncio.sleep(0)
        steps.append("resumed")
        await asyncio.sleep(0)
        return "done"

    begun = Begun(work())
    assert not begun.over
    assert steps == ["begun"]
    assert await begun == "done"
    assert steps == ["begun", "resumed"]


async def test_it_is_the_caller_s_task_that_works() -> None:
    async def tasks() -> list[asyncio.Task[Any] | None]:
        first = asyncio.current_task()
        await asyncio.sleep(0)
        return [first, asyncio.current_task()]

    assert await Begun(tasks()) == [asyncio.current_task()] * 2


async def test_what_the_first_step_raises_rises_there() -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Begun(fail())


async def test_what_is_raised_later_rises_from_the_wait() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    begun = Begun(fail())
    with pytest.raises(ValueError, match="no"):
        await begun


@pytest.mark.parametrize("more", [0, 2])
async def test_a_cancellation_reaches_the_work_which_may_take_its_time(more: int) -> None:
    seen: list[str] = []

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            for _ in range(more):
                await asyncio.sleep(0)
            seen.append("tidied")
            raise
        return ""

    async def caller() -> str:
        return await Begun(work())

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled", "tidied"]


async def test_work_may_end_in_spite_of_a_cancellation() -> None:
    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "anyway"
        return ""

    async def caller() -> str:
        return await Begun(work())

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "anyway"


async def test_work_that_is_given_up_is_closed() -> None:
    closed: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    begun = Begun(work())
    waiting: Generator[Any, Any, None] = begun.__await__()
    next(waiting)
    waiting.close()
    assert closed == [True]


async def test_the_end_of_a_generator_is_no_result() -> None:
    async def nothing() -> AsyncGenerator[str, None]:
        await asyncio.sleep(0)
        for word in list[str]():
            yield word

    begun = Begun(anext(nothing()))
    assert not begun.over
    with pytest.raises(StopAsyncIteration):
        await begun


async def test_a_result_in_time_needs_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[float | None] = []
    real = asyncio.timeout

    def counted(seconds: float | None) -> asyncio.Timeout:
        timers.append(seconds)
        return real(seconds)

    monkeypatch.setattr(asyncio, "timeout", counted)
    assert await within(5.0, ready("here")) == "here"
    assert timers == []
    assert await within(5.0, asyncio.sleep(0, "later")) == "later"
    assert timers == [5.0]


async def test_work_that_takes_too_long_is_cancelled() -> None:
    ended: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(TimeoutError):
        await within(0.0, work())
    assert ended == [True]


async def test_a_timeout_of_the_work_s_own_stays_its_own() -> None:
    async def work() -> str:
        try:
            async with asyncio.timeout(0.0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "gave up"
        return ""

    assert await within(5.0, work()) == "gave up"


def test_only_what_says_so_is_at_once() -> None:
    class Store:
        @at_once
        async def write(self) -> None:
            pass

    class Slow(Store):
        async def write(self) -> None:
            await asyncio.sleep(0)

    assert is_at_once(Store().write)
    assert not is_at_once(Slow().write)
    assert not is_at_once(AsyncMock())
