"""The contract of `RoomLockManager`."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

import asyncio
from contextvars import Context

import pytest

from salon.core.ports.locks import RoomLockManager

TIMEOUT = 20.0
"""Seconds after which something that must happen counts as missing."""


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _enter(locks: RoomLockManager, room_id: str = "room") -> bool:
    async with locks.locked(room_id):
        return locks.held(room_id)


class LockManagerContract:
    """Give it a `locks` fixture: a new manager per test. One whose `held` is not told apart from
    the default fails `test_R128_a_holder_knows`: it should be told apart. One with the default
    `alone` fails `test_R199_a_holder_is_alone_when_it_says_so`."""

    async def test_R199_one_at_a_time(self, locks: RoomLockManager) -> None:
        inside, entered = 0, 0

        async def work() -> None:
            nonlocal inside, entered
            for _ in range(5):
                async with locks.locked("room"):
                    inside, entered = inside + 1, entered + 1
                    assert inside == 1
                    await _turns()
                    assert inside == 1
                    inside -= 1

        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*(work() for _ in range(8)))
        assert entered == 40

    async def test_R199_rooms_go_in_parallel(self, locks: RoomLockManager) -> None:
        meeting = asyncio.Barrier(3)

        async def work(room_id: str) -> None:
            async with locks.locked(room_id):
                await meeting.wait()

        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*(work(name) for name in "abc"))

    async def test_an_error_releases(self, locks: RoomLockManager) -> None:
        with pytest.raises(ValueError, match="inside"):
            async with locks.locked("room"):
                raise ValueError("inside")
        async with asyncio.timeout(TIMEOUT):
            await _enter(locks)

    async def test_R202_a_cancelled_holder_releases(self, locks: RoomLockManager) -> None:
        inside = asyncio.Event()

        async def hold() -> None:
            async with locks.locked("room"):
                inside.set()
                await asyncio.Event().wait()

        holder = asyncio.create_task(hold())
        async with asyncio.timeout(TIMEOUT):
            await inside.wait()
            holder.cancel()
            await asyncio.gather(holder, return_exceptions=True)
            await _enter(locks)

    async def test_R202_a_cancelled_wait_leaves_nothing_locked(
        self, locks: RoomLockManager
    ) -> None:
        for turns in range(6):
            async with locks.locked("room"):
                waiters = [asyncio.create_task(_enter(locks), context=Context()) for _ in range(3)]
                for _ in range(turns):
                    await asyncio.sleep(0)
                waiters[0].cancel()
                waiters[2].cancel()
            waiters[1].cancel()  # when it may just have been given the lock
            async with asyncio.timeout(TIMEOUT):
                await asyncio.gather(*waiters, return_exceptions=True)
                await _enter(locks)

    async def test_R202_whoever_holds_it_may_enter_again(self, locks: RoomLockManager) -> None:
        async with asyncio.timeout(TIMEOUT), locks.locked("room"):
            async with locks.locked("room"), locks.locked("other"), locks.locked("room"):
                pass  # leaving the inner ones does not give the room away
            stranger = asyncio.create_task(_enter(locks), context=Context())
            await _turns()
            assert not stranger.done()
            await asyncio.create_task(_enter(locks))
            await asyncio.gather(_enter(locks), _enter(locks))
        async with asyncio.timeout(TIMEOUT):
            await stranger

    async def test_R202_a_child_that_outlives_the_hold_waits_like_others(
        self, locks: RoomLockManager
    ) -> None:
        go = asyncio.Event()

        async def child() -> None:
            await go.wait()
            async with locks.locked("room"):
                pass

        async with locks.locked("room"):
            late = asyncio.create_task(child())
            await _turns()

        async def hold() -> None:
            async with locks.locked("room"):
                go.set()
                await _turns()
                assert not late.done()

        async with asyncio.timeout(TIMEOUT):
            await asyncio.create_task(hold(), context=Context())
            await late

    async def test_R199_tasks_of_a_holder_enter_one_at_a_time(self, locks: RoomLockManager) -> None:
        inside = 0

        async def work(depth: int = 2) -> None:
            nonlocal inside
            async with locks.locked("room"):
                inside += 1
                assert inside == 1
                await _turns()
                assert inside == 1
                inside -= 1
                if depth:  # the same once more, within this one's own hold
                    await asyncio.gather(*(work(depth - 1) for _ in range(3)))
                assert inside == 0

        async with asyncio.timeout(TIMEOUT), locks.locked("room"):
            await asyncio.gather(*(work() for _ in range(3)))

    async def test_R199_it_is_free_when_those_inside_are_out(self, locks: RoomLockManager) -> None:
        inside, leave = asyncio.Event(), asyncio.Event()
        free: list[bool] = []

        async def stay() -> None:
            async with locks.locked("room"):
                inside.set()
                await leave.wait()
                await asyncio.create_task(_enter(locks))  # its own hold lasts
                free.append(False)

        async def stranger() -> None:
            async with locks.locked("room"):
                free.append(True)

        async def late() -> None:
            await leave.wait()
            async with locks.locked("room"):
                free.append(True)

        async with asyncio.timeout(TIMEOUT):
            async with locks.locked("room"):
                tasks = [asyncio.create_task(stay()), asyncio.create_task(late())]
                await inside.wait()
            tasks.append(asyncio.create_task(stranger(), context=Context()))
            await _turns()
            assert free == []
            leave.set()
            await asyncio.gather(*tasks)
        assert free == [False, True, True]

    async def test_R199_a_holder_is_alone_when_it_says_so(self, locks: RoomLockManager) -> None:
        begun, go = asyncio.Event(), asyncio.Event()
        order: list[str] = []

        async def child(name: str, start: asyncio.Event) -> None:
            await start.wait()
            async with locks.locked("room"):
                order.append(f"{name} in")
                await _turns()
                order.append(f"{name} out")

        begun.set()
        async with asyncio.timeout(TIMEOUT):
            async with locks.locked("room"):
                tasks = [asyncio.create_task(child("early", begun))]
                tasks.append(asyncio.create_task(child("late", go)))
                await asyncio.sleep(0)
                async with locks.alone("room"):
                    assert order == ["early in", "early out"]
                    go.set()
                    await _turns()
                    assert await _enter(locks)  # its own doing
                    order.append("alone")
                await _turns()
                assert locks.held("room")
            await asyncio.gather(*tasks)
            await _enter(locks)
        assert order == ["early in", "early out", "alone", "late in", "late out"]

    async def test_R202_a_holder_that_gives_up_being_alone(self, locks: RoomLockManager) -> None:
        inside, leave = asyncio.Event(), asyncio.Event()

        async def stay() -> None:
            async with locks.locked("room"):
                inside.set()
                await leave.wait()

        async with asyncio.timeout(TIMEOUT):
            async with locks.locked("room"):
                child = asyncio.create_task(stay())
                await inside.wait()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0), locks.alone("room"):
                        raise AssertionError("somebody is inside")
                assert locks.held("room")
            stranger = asyncio.create_task(_enter(locks), context=Context())
            await _turns()
            assert not stranger.done()
            leave.set()
            await asyncio.gather(child, stranger)

    async def test_R128_a_holder_knows(self, locks: RoomLockManager) -> None:
        assert not locks.held("room")
        assert not locks.holds_any()
        async with asyncio.timeout(TIMEOUT):
            async with locks.locked("room"):
                assert locks.held("room")
                assert locks.holds_any()
                assert not locks.held("other")
                assert await asyncio.create_task(_enter(locks))

                async def ask() -> bool:
                    return locks.held("room") or locks.holds_any()

                assert not await asyncio.create_task(ask(), context=Context())
            assert not locks.held("room")
            assert not locks.holds_any()

    async def test_R200_close_is_idempotent(self, locks: RoomLockManager) -> None:
        await _enter(locks)
        await locks.close()
        await locks.close()
