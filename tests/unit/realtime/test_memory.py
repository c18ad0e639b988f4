"""Ephemeral events in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from salon.core.memory.locks import InMemoryLockManager
from salon.realtime import EphemeralEvent, InMemoryRealtime, RealtimeStatistics
from salon.testing.contracts.realtime import Inbox, RealtimeContract, make_ephemeral


@pytest.fixture
async def realtime() -> AsyncIterator[InMemoryRealtime]:
    backend = InMemoryRealtime()
    yield backend
    await backend.close()


class TestInMemoryRealtime(RealtimeContract):
    """Holds the contract."""


async def test_R222_what_is_dropped_is_counted() -> None:
    backend = InMemoryRealtime(2)
    inbox = Inbox(hang=True)
    subscription = await backend.subscribe("topic", inbox)
    for name in "abcde":
        await backend.publish("topic", make_ephemeral(name))
    assert backend.statistics() == RealtimeStatistics(1, 2, 0, 3, 0)
    inbox.gate.set()
    await inbox.until("e")
    assert inbox.names == ["d", "e"]
    inbox.gate.clear()
    for name in "fgh":
        await backend.publish("topic", make_ephemeral(name))
        await asyncio.sleep(0)
    assert await backend.unsubscribe(subscription)
    assert backend.statistics() == RealtimeStatistics(0, 0, 2, 5, 0)
    await backend.close()


async def test_R222_a_failure_is_counted_and_logged(
    realtime: InMemoryRealtime, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = Inbox()

    async def fail(event: EphemeralEvent) -> None:
        raise ZeroDivisionError(event.id)

    await realtime.subscribe("topic", fail)
    await realtime.subscribe("topic", inbox)
    await realtime.publish("topic", make_ephemeral())
    await inbox.until("1")
    await asyncio.sleep(1)
    assert realtime.statistics() == RealtimeStatistics(2, 0, 1, 0, 1)
    assert "a subscriber of topic failed on typing_start" in caplog.text


async def test_R222_a_callback_that_hangs_is_given_up() -> None:
    backend = InMemoryRealtime(callback_timeout=5)
    seen: list[str] = []

    async def hang(event: EphemeralEvent) -> None:
        seen.append(event.id)
        await asyncio.Event().wait()

    await backend.subscribe("topic", hang)
    began = asyncio.get_running_loop().time()
    for name in "ab":
        await backend.publish("topic", make_ephemeral(name))
    while backend.statistics().failed < 2:
        await asyncio.sleep(0.5)
    assert seen == ["a", "b"]
    assert 10 <= asyncio.get_running_loop().time() - began <= 11
    await backend.close()


async def test_R222_a_callback_that_cancels_itself_only_fails(realtime: InMemoryRealtime) -> None:
    seen: list[str] = []

    async def cancel(event: EphemeralEvent) -> None:
        seen.append(event.id)
        raise asyncio.CancelledError

    await realtime.subscribe("topic", cancel)
    for name in "ab":
        await realtime.publish("topic", make_ephemeral(name))
    await asyncio.sleep(1)
    assert seen == ["a", "b"]
    assert realtime.statistics().failed == 2


async def test_R222_unsubscribe_ends_the_callback_that_runs(realtime: InMemoryRealtime) -> None:
    cancelled = asyncio.Event()
    entered = asyncio.Event()

    async def hang(event: EphemeralEvent) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    subscription = await realtime.subscribe("topic", hang)
    await realtime.publish("topic", make_ephemeral())
    await entered.wait()
    assert await realtime.unsubscribe(subscription)
    await cancelled.wait()
    assert realtime.statistics() == RealtimeStatistics(0, 0, 0, 0, 0)


async def test_R202_a_callback_is_not_inside_its_publishers_room_lock(
    realtime: InMemoryRealtime,
) -> None:
    locks = InMemoryLockManager()
    held: list[bool] = []
    done = asyncio.Event()

    async def look(event: EphemeralEvent) -> None:
        held.append(locks.held("room"))
        done.set()

    async with locks.locked("room"):
        await realtime.subscribe_to_room("room", look)
        await realtime.publish_to_room("room", make_ephemeral())
        await done.wait()
    assert held == [False]


async def test_idle_subscriptions_cost_no_task(realtime: InMemoryRealtime) -> None:
    before = len(asyncio.all_tasks())
    inboxes = [Inbox() for _ in range(20)]
    for inbox in inboxes:
        await realtime.subscribe("topic", inbox)
    await realtime.publish("topic", make_ephemeral())
    for inbox in inboxes:
        await inbox.until("1")
    await asyncio.sleep(1)
    assert len(asyncio.all_tasks()) == before


async def test_ids_come_from_the_factory() -> None:
    backend = InMemoryRealtime(id_factory=iter("xy").__next__)
    assert [await backend.subscribe("topic", Inbox()) for _ in range(2)] == ["x", "y"]
    await backend.close()


def test_a_queue_holds_something() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        InMemoryRealtime(0)
