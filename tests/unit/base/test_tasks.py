"""Tasks with an owner."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any, cast

import pytest

from salon.base import TaskScope


async def forever(ended: list[str] | None = None) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        if ended is not None:
            ended.append("ended")


async def test_a_task_leaves_its_scope_when_it_is_done() -> None:
    scope = TaskScope("call")
    task = scope.spawn(asyncio.sleep(0, "result"), name="work")
    assert len(scope) == 1
    assert task.get_name() == "call:work"
    assert await task == "result"
    assert await scope.drain(1)
    assert len(scope) == 0
    assert scope.failures == 0


async def test_a_failing_task_is_logged_and_counted_and_ends_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        raise ValueError("broken")

    scope = TaskScope("call")
    other = scope.spawn(forever(), name="other")
    failed = scope.spawn(fail(), name="bad")
    with caplog.at_level(logging.ERROR, logger="salon.base.tasks"):
        await asyncio.wait([failed])
        await asyncio.sleep(0)
    assert scope.failures == 1
    assert "call:bad" in caplog.text
    assert "broken" in caplog.text
    assert not other.done()
    await scope.close()


async def test_close_cancels_and_waits_for_the_end() -> None:
    scope = TaskScope("call")
    ended: list[str] = []
    scope.spawn(forever(ended), name="a")
    scope.spawn(forever(ended), name="b")
    await asyncio.sleep(0)
    await scope.close()
    assert ended == ["ended", "ended"]
    assert len(scope) == 0
    assert scope.failures == 0
    await scope.close()


async def test_a_closed_scope_refuses_work() -> None:
    scope = TaskScope("call")
    await scope.close()
    work = forever()
    with pytest.raises(RuntimeError, match="call is closed"):
        scope.spawn(work, name="late")
    assert (
        inspect.getcoroutinestate(cast(Any, work)) == inspect.CORO_CLOSED
    )  # no warning: never awaited


async def test_a_failure_while_being_cancelled_is_counted_and_does_not_break_close() -> None:
    async def bad_end() -> None:
        try:
            await forever()
        finally:
            raise ValueError("in the end")

    scope = TaskScope("call")
    scope.spawn(bad_end(), name="bad")
    await asyncio.sleep(0)
    await scope.close()
    assert scope.failures == 1


async def test_one_of_the_tasks_may_close_its_scope() -> None:
    scope = TaskScope("call")
    other = scope.spawn(forever(), name="other")

    async def end() -> str:
        await scope.close()
        return "went on"

    assert await scope.spawn(end(), name="end") == "went on"
    assert other.cancelled()


async def test_drain_tells_whether_everything_ended() -> None:
    scope = TaskScope("call")
    assert await scope.drain(0)
    gate = asyncio.Event()
    task = scope.spawn(gate.wait(), name="waiting")
    assert not await scope.drain(0)
    assert not task.done()
    gate.set()
    assert await scope.drain(5)


async def test_drain_from_a_task_does_not_wait_for_itself() -> None:
    scope = TaskScope("call")

    async def drain() -> bool:
        return await scope.drain(0)

    assert await scope.spawn(drain(), name="drain")
