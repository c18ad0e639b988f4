"""Breaker, limiter and retries around one delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from salon.core.resilience import (
    BreakerEdge,
    BreakerState,
    CircuitOpenError,
    DeliveryGuard,
    RateLimit,
    RetryPolicy,
)
from salon.testing import VirtualClock

SLOW = RateLimit(max_per_minute=6)
Heard = list[tuple[str, BreakerEdge, int]]


async def fine() -> str:
    return "sent"


async def broken() -> str:
    raise ConnectionError("meant")


async def hanging() -> str:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture
def heard() -> Heard:
    return []


@pytest.fixture
async def guard(heard: Heard) -> DeliveryGuard:
    return DeliveryGuard(
        clock=VirtualClock(),
        on_edge=lambda *edge: heard.append(edge),
        failure_threshold=2,
    )


async def fail(
    guard: DeliveryGuard, times: int, operation: Callable[[], Awaitable[str]] = broken
) -> None:
    for _ in range(times):
        with pytest.raises((ConnectionError, TimeoutError)):
            await guard.run("sms", operation, timeout=5)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_R188_R189_open_half_open_closed(guard: DeliveryGuard, heard: Heard) -> None:
    assert await guard.run("sms", fine, timeout=5) == "sent"
    await fail(guard, 2)
    with pytest.raises(CircuitOpenError, match="'sms'") as caught:
        await guard.run("sms", fine, timeout=5)
    assert (caught.value.code, caught.value.retryable) == ("circuit_breaker_open", True)
    assert await guard.run("email", fine, timeout=5) == "sent"
    await asyncio.sleep(60)
    assert await guard.run("sms", fine, timeout=5) == "sent"
    assert heard == [("sms", BreakerEdge.OPENED, 2), ("sms", BreakerEdge.CLOSED, 0)]


async def test_R190_all_attempts_are_one_failure(guard: DeliveryGuard, heard: Heard) -> None:
    attempts: list[float] = []

    async def counted() -> str:
        attempts.append(now())
        return await broken()

    with pytest.raises(ConnectionError):
        await guard.run("sms", counted, timeout=5, retry=RetryPolicy(max_retries=3))
    assert len(attempts) == 4
    assert guard.breaker("sms").failure_count == 1
    assert heard == []


async def test_R190_a_retry_that_works_is_a_success(guard: DeliveryGuard) -> None:
    await fail(guard, 1)
    results = iter([broken, broken, fine])

    async def in_the_end() -> str:
        return await next(results)()

    assert await guard.run("sms", in_the_end, timeout=5, retry=RetryPolicy()) == "sent"
    assert guard.breaker("sms").failure_count == 0


async def test_R206_each_attempt_has_the_timeout(guard: DeliveryGuard, heard: Heard) -> None:
    began = now()
    with pytest.raises(TimeoutError):
        await guard.run("sms", hanging, timeout=5, retry=RetryPolicy(max_retries=1))
    assert now() - began == pytest.approx(5 + 1 + 5)
    await fail(guard, 1, hanging)
    assert heard == [("sms", BreakerEdge.OPENED, 2)]


async def test_R193_a_limited_delivery_waits_and_is_not_lost(guard: DeliveryGuard) -> None:
    began, sent = now(), list[float]()

    async def send() -> str:
        sent.append(now() - began)
        return "sent"

    runs = (guard.run("sms", send, timeout=5, limit=SLOW) for _ in range(4))
    assert await asyncio.gather(*runs) == ["sent"] * 4
    assert sent == pytest.approx([0, 10, 20, 30])


async def test_R193_a_limit_may_have_a_key_of_its_own(guard: DeliveryGuard) -> None:
    began = now()
    for key in ("room-1", "room-2"):
        await guard.run("sms", fine, timeout=5, limit=SLOW, limit_key=key)
    assert now() == began
    await guard.run("sms", fine, timeout=5, limit=SLOW, limit_key="room-1")
    assert now() - began == pytest.approx(10)


async def test_R135_an_open_breaker_spends_no_token(guard: DeliveryGuard) -> None:
    await fail(guard, 2)
    for _ in range(5):
        with pytest.raises(CircuitOpenError):
            await guard.run("sms", fine, timeout=5, limit=SLOW)
    await asyncio.sleep(60)
    began = now()
    await guard.run("sms", fine, timeout=5, limit=SLOW)
    assert now() == began


async def test_R135_who_waited_while_it_opened_is_refused(guard: DeliveryGuard) -> None:
    await guard.run("sms", fine, timeout=5, limit=SLOW)
    waiting = asyncio.create_task(guard.run("sms", fine, timeout=5, limit=SLOW))
    await asyncio.sleep(1)
    await fail(guard, 2)
    with pytest.raises(CircuitOpenError):
        await waiting


async def test_R193_who_leaves_the_line_leaves_no_hole(guard: DeliveryGuard) -> None:
    began = now()
    await guard.run("sms", fine, timeout=5, limit=SLOW)
    waiting = [
        asyncio.create_task(guard.run("sms", fine, timeout=5, limit=SLOW)) for _ in range(20)
    ]
    await asyncio.sleep(1)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await guard.run("sms", fine, timeout=5, limit=SLOW)
    assert now() - began == pytest.approx(10)


async def test_R190_a_cancelled_delivery_is_no_failure(guard: DeliveryGuard) -> None:
    for _ in range(3):
        running = asyncio.create_task(guard.run("sms", hanging, timeout=5))
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
    assert guard.breaker("sms").failure_count == 0


async def test_R188_a_cancelled_probe_does_not_keep_it_half_open(guard: DeliveryGuard) -> None:
    await fail(guard, 2)
    await asyncio.sleep(60)
    probe = asyncio.create_task(guard.run("sms", hanging, timeout=5))
    await asyncio.sleep(1)
    with pytest.raises(CircuitOpenError):
        await guard.run("sms", fine, timeout=5)
    probe.cancel()
    await asyncio.wait([probe])
    assert await guard.run("sms", fine, timeout=5) == "sent"
    assert guard.breaker("sms").state is BreakerState.CLOSED


async def test_R194_inbound_messages_beyond_the_limit_are_dropped(guard: DeliveryGuard) -> None:
    limit = RateLimit(max_per_second=2)
    assert [guard.admit("in:sms", limit) for _ in range(3)] == [True, True, False]
    assert guard.admit("in:email", limit)
    assert guard.admit("in:sms", None)
    await asyncio.sleep(1)
    assert guard.admit("in:sms", limit)


async def test_a_channel_that_is_gone_is_forgotten(guard: DeliveryGuard) -> None:
    await fail(guard, 2)
    guard.forget("sms")
    guard.forget("unknown")
    assert await guard.run("sms", fine, timeout=5) == "sent"
