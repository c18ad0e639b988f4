"""Who waits for whom, with nothing but locks (R128)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from contextvars import Context
from typing import Any

import pytest

from salon.core.errors import RoomDeadlockError
from salon.core.memory.locks import InMemoryLockManager


def apart(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Somebody who has nothing to do with the caller."""
    return asyncio.get_running_loop().create_task(work, context=Context())


async def take(locks: InMemoryLockManager, *rooms: str) -> None:
    """One after the other, a while apart."""
    async with AsyncExitStack() as stack:
        for room in rooms:
            await stack.enter_async_context(locks.locked(room))
            await asyncio.sleep(1)


async def test_R128_the_one_that_closes_a_circle_fails_at_once() -> None:
    locks = InMemoryLockManager()
    tasks = [apart(take(locks, *rooms)) for rooms in ("ab", "bc", "cd", "da")]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] * 3 + [RoomDeadlockError]
    assert len(locks) == 0


async def test_R128_a_queue_is_no_circle() -> None:
    locks = InMemoryLockManager()
    await asyncio.gather(*(apart(take(locks, *rooms)) for rooms in ("ab", "xab", "yb", "b", "a")))
    assert len(locks) == 0


async def test_R128_what_a_wait_given_up_led_to_is_forgotten() -> None:
    locks = InMemoryLockManager()
    first = apart(take(locks, "b"))

    async def impatient() -> None:
        async with locks.locked("a"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5), locks.locked("b"):
                    raise AssertionError("not yet")
            await asyncio.sleep(5)

    second = apart(impatient())
    await first
    await asyncio.gather(second, apart(take(locks, "b", "a")))
    assert len(locks) == 0


async def test_R128_tasks_within_one_hold_may_make_a_circle_too() -> None:
    locks = InMemoryLockManager()
    async with locks.locked("a"):
        results = await asyncio.gather(
            take(locks, "a", "b"), take(locks, "b", "a"), return_exceptions=True
        )
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "RoomDeadlockError"]
    assert len(locks) == 0


async def test_R128_who_stays_inside_a_hold_that_is_left_still_has_the_room() -> None:
    locks = InMemoryLockManager()

    async def stay() -> None:
        async with locks.locked("a"):
            await asyncio.sleep(3)
            async with locks.locked("b"):
                pass

    async with locks.locked("a"):
        inside = asyncio.create_task(stay())
        await asyncio.sleep(1)
    outside = apart(take(locks, "b", "a"))
    with pytest.raises(RoomDeadlockError):
        await inside
    await outside
    assert len(locks) == 0


async def test_R128_a_task_that_nobody_waits_for_is_no_circle() -> None:
    """Both holders go on, so both tasks get what they want."""
    locks = InMemoryLockManager()
    left: list[asyncio.Task[None]] = []

    async def hold(room: str, other: str) -> None:
        async with locks.locked(room):
            left.append(asyncio.create_task(take(locks, other)))
            await asyncio.sleep(2)

    await asyncio.gather(apart(hold("a", "b")), apart(hold("b", "a")))
    await asyncio.gather(*left)
    assert len(locks) == 0


async def test_R128_a_timeout_of_ones_own_in_a_doubtful_wait_stays_a_timeout() -> None:
    locks = InMemoryLockManager()

    async def hold(room: str, other: str) -> None:
        async with locks.locked(room):
            await asyncio.sleep(1)
            async with asyncio.timeout(2):
                await asyncio.create_task(take(locks, other))

    tasks = [apart(hold("a", "b")), apart(hold("b", "a"))]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} <= {TimeoutError, type(None)}
    assert len(locks) == 0


async def test_who_holds_nothing_is_alone_as_it_is() -> None:
    async with InMemoryLockManager().alone("a"):
        pass
