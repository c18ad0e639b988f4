"""Which lane the running code is in, and the lanes of one room (R128)."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

from salon.core.lanes import LaneClosedError, Lanes


async def test_keys_of_several_parts_do_not_run_into_each_other() -> None:
    lanes = Lanes("test")
    go = asyncio.Event()
    slow = lanes.put(("a", "b/c"), go.wait)
    other: asyncio.Future[str] = lanes.put(("a/b", "c"), lambda: asyncio.sleep(0, "done"))
    assert await other == "done"
    assert (lanes.waiting(("a", "b/c")), lanes.waiting(("a/b", "c"))) == (1, 0)
    go.set()
    await slow
    await lanes.close(1)


async def test_R128_a_job_knows_its_lane() -> None:
    lanes, others = Lanes("test"), Lanes("others")

    async def where() -> list[bool]:
        keys = [lanes.inside(key) for key in (("a/b", "c"), ("a", "b/c"), "a/b")]
        return [lanes.entered(), *keys]

    assert await lanes.put(("a/b", "c"), where) == [True, True, False, False]
    assert await lanes.put("a/b", where) == [True, False, False, True]
    assert await others.put(("a/b", "c"), where) == [False] * 4
    assert await where() == [False] * 4
    await lanes.close(1)


async def test_R128_what_a_job_leaves_behind_is_not_inside() -> None:
    lanes = Lanes("test")
    go = asyncio.Event()

    async def later() -> bool:
        await go.wait()
        return lanes.entered()

    async def job() -> asyncio.Task[bool]:
        assert lanes.entered()
        return asyncio.create_task(later())

    left = await lanes.put(("r", "agent"), job)
    go.set()
    assert not await left
    await lanes.close(1)


async def test_a_lane_that_ran_dry_is_gone_at_once() -> None:
    """The mark of a job knows its task: no circle is left to the cyclic collector."""
    lanes = Lanes("test")
    gc.disable()
    try:
        worker = await lanes.put("a", _own_task)
        await asyncio.sleep(0.1)
        assert worker() is None
    finally:
        gc.enable()
    await lanes.close(1)


async def _own_task() -> weakref.ref[Any]:
    return weakref.ref(asyncio.current_task())


async def test_the_lanes_of_a_room_are_waited_for_together() -> None:
    lanes = Lanes("test")
    log: list[str] = []

    async def job(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        log.append(name)

    lanes.put(("r", 1), lambda: job("first", 1))
    lanes.put(("r", 2), lambda: job("second", 2))
    lanes.put(("elsewhere", 1), lambda: job("elsewhere", 3))
    lanes.put("r", lambda: job("no room", 3))
    assert await lanes.drained_room("r")
    assert log == ["first", "second"]
    await lanes.close(5)
    assert not await lanes.drained_room("r")


async def test_R211_a_dropped_lane_gives_up_what_it_holds() -> None:
    lanes = Lanes("test")
    ended: list[str] = []

    async def running() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")

    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "anyway"
        raise AssertionError

    given_up = [lanes.put("r", job) for job in (running, running)]
    given_up += [lanes.put(("r", 1), job) for job in (stubborn, running)]
    kept = lanes.put(("q", 1), lambda: asyncio.sleep(1, "kept"))
    await asyncio.sleep(0.1)
    lanes.drop("r")
    lanes.drop_room("r")
    lanes.drop("nowhere")
    new = [lanes.put(key, lambda: asyncio.sleep(0, "new")) for key in ("r", ("r", 1))]
    unbegun = lanes.put("s", running)
    lanes.drop("s")
    for future in (*given_up, unbegun):
        assert isinstance(future.exception(), LaneClosedError)
    assert [await future for future in (*new, kept)] == ["new", "new", "kept"]
    assert ended == ["cancelled"]
    assert lanes.waiting("r") == 0
    await lanes.close(1)


async def test_R128_a_job_that_drops_its_lane_ends_by_itself() -> None:
    lanes = Lanes("test")

    async def job() -> str:
        lanes.drop("r")
        again = lanes.put("r", lambda: asyncio.sleep(60))
        await asyncio.sleep(0.1)
        lanes.drop("r")  # begun after it, and not its own
        assert isinstance(again.exception(), LaneClosedError)
        return "done"

    began: list[str] = []

    async def never() -> None:
        began.append("never")

    mine, after = lanes.put("r", job), lanes.put("r", never)
    assert await mine == "done"
    assert isinstance(after.exception(), LaneClosedError)
    await lanes.close(1)
    assert began == []


async def test_R140_closing_waits_for_what_was_dropped() -> None:
    lanes = Lanes("test")
    ended = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(1)
            ended.set()

    lanes.put("r", slow_to_end)
    await asyncio.sleep(0.1)
    lanes.drop("r")
    await lanes.close(5)
    assert ended.is_set()
