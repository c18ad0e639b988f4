"""Breaker, retries, limits: what the rules say at their edges (chapters 19.1 to 19.3)."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, message

from salon.models import ProviderDeliveryError, RateLimit, RetryPolicy


async def to_web(stage: Stage, **options: Any) -> RecordingTransport:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"))
    stage.register(web)
    await stage.kit.attach_channel(ROOM, "web", **options)
    return web


async def outage(stage: Stage, web: RecordingTransport) -> None:
    web.failures = [OSError("gone") for _ in range(5)]
    for _ in range(5):
        await stage.inbound("sms")


def clock() -> float:
    return asyncio.get_running_loop().time()


def test_R191_the_defaults_are_those_of_the_rule() -> None:
    policy = RetryPolicy()
    assert (
        policy.max_retries,
        policy.base_delay_seconds,
        policy.exponential_base,
        policy.max_delay_seconds,
        policy.retryable_errors,
    ) == (3, 1.0, 2.0, 60.0, None)


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (RetryPolicy(), [1, 2, 4]),
        (RetryPolicy(max_retries=8), [1, 2, 4, 8, 16, 32, 60, 60]),
        (RetryPolicy(max_retries=2, base_delay_seconds=0.5, exponential_base=3), [0.5, 1.5]),
        (RetryPolicy(max_retries=0), []),
    ],
)
async def test_R191_the_nth_delay_is_base_times_exponent_up_to_the_most(
    stage: Stage, policy: RetryPolicy, delays: list[float]
) -> None:
    web = await to_web(stage, retry_policy=policy)
    web.failures = [OSError("gone") for _ in range(20)]
    times: list[float] = []
    plain = web.deliver

    async def timed(*args: Any) -> Any:
        times.append(clock())
        return await plain(*args)

    web.deliver = timed  # type: ignore[method-assign, assignment]
    await asyncio.wait_for(stage.kit.process_inbound(message("sms"), room_id=ROOM), 1000)
    assert web.attempts == 1 + len(delays)
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps == pytest.approx(delays, abs=0.05)


@pytest.mark.parametrize("retryable", [True, False])
async def test_R192_the_errors_own_word_beats_the_list(stage: Stage, retryable: bool) -> None:
    policy = RetryPolicy(max_retries=1, retryable_errors=["Nothing"])
    web = await to_web(stage, retry_policy=policy)
    web.failures = [ProviderDeliveryError("busy", "later", retryable=retryable)] * 2
    await stage.inbound("sms")
    assert web.attempts == (2 if retryable else 1)


async def test_R189_edges_are_announced_once_each_however_long_it_lasts(stage: Stage) -> None:
    heard = stage.listen("circuit_breaker_opened", "circuit_breaker_closed")
    web = await to_web(stage)
    await outage(stage, web)
    for _ in range(10):
        await stage.inbound("sms")
    await stage.settle()
    assert [event.type for event in heard] == ["circuit_breaker_opened"]
    await asyncio.sleep(61)
    for _ in range(5):
        await stage.inbound("sms")
    await stage.settle()
    assert [event.type for event in heard] == ["circuit_breaker_opened", "circuit_breaker_closed"]


async def test_R189_a_failed_probe_is_another_edge(stage: Stage) -> None:
    heard = stage.listen("circuit_breaker_opened", "circuit_breaker_closed")
    web = await to_web(stage)
    await outage(stage, web)
    await asyncio.sleep(61)
    web.failures = [OSError("still gone")]
    await stage.inbound("sms")
    await asyncio.sleep(61)
    await stage.inbound("sms", "at last")
    await stage.settle()
    assert [event.type.removeprefix("circuit_breaker_") for event in heard] == [
        "opened", "opened", "closed"
    ]  # fmt: skip
    assert web.bodies == ["at last"]


async def test_R188_an_open_breaker_fails_at_once_and_the_event_stands(stage: Stage) -> None:
    web = await to_web(stage, retry_policy=RetryPolicy())
    web.failures = [ProviderDeliveryError("no", "no", retryable=False) for _ in range(5)]
    for _ in range(5):
        await stage.inbound("sms")
    began = clock()
    result = await stage.inbound("sms")
    assert clock() - began < 0.5
    error = result.delivery_results["web"].error
    assert error is not None
    assert (error.code, error.retryable) == ("circuit_breaker_open", True)
    assert (await stage.said())[-1] == ("hi", "delivered")


async def test_R188_it_rests_for_its_cooldown_and_not_longer(stage: Stage) -> None:
    web = await to_web(stage)
    await outage(stage, web)
    await asyncio.sleep(58)
    await stage.inbound("sms", "too early")
    await asyncio.sleep(3)
    await stage.inbound("sms", "in time")
    assert web.bodies == ["in time"]


async def test_R188_half_open_lets_one_probe_through(stage: Stage) -> None:
    web = await to_web(stage)
    sms = stage.kit.get_channel("sms")
    assert sms is not None
    await stage.room(sms, web, room_id="other")
    await outage(stage, web)
    await asyncio.sleep(61)
    web.hold = asyncio.Event()
    probe = stage.start(stage.inbound("sms", "probe"))
    await stage.settle()
    refused = await stage.inbound("sms", "meanwhile", room_id="other")
    error = refused.delivery_results["web"].error
    assert error is not None
    assert error.code == "circuit_breaker_open"
    web.hold.set()
    await probe
    assert web.bodies == ["probe"]


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        (RateLimit(max_per_second=4), 2.0),
        (RateLimit(max_per_minute=60), 11.0),
        (RateLimit(max_per_hour=3600), 11.0),
        (RateLimit(max_per_second=4, max_per_minute=1), 2.0),
    ],
)
async def test_R193_a_bucket_holds_a_second_of_its_rate_and_one_at_least(
    stage: Stage, limit: RateLimit, seconds: float
) -> None:
    web = await to_web(stage, rate_limit=limit)
    began = clock()
    for number in range(12):
        await stage.kit.process_inbound(message("sms", str(number)), room_id=ROOM)
    assert clock() - began == pytest.approx(seconds, abs=0.1)
    assert web.bodies == [str(number) for number in range(12)]


async def test_R193_waiting_for_the_limit_is_no_failure(stage: Stage) -> None:
    failed = stage.listen("delivery_failed")
    web = await to_web(stage, rate_limit=RateLimit(max_per_minute=1))
    for number in range(3):
        await stage.kit.process_inbound(message("sms", str(number)), room_id=ROOM)
    await stage.settle()
    assert (len(web.got), failed) == (3, [])


async def test_R188_another_room_feels_the_channels_breaker(stage: Stage) -> None:
    web = await to_web(stage)
    sms = stage.kit.get_channel("sms")
    assert sms is not None
    await stage.room(sms, web, room_id="other")
    await outage(stage, web)
    result = await stage.inbound("sms", room_id="other")
    assert result.delivery_results["web"].status == "failed"
    assert web.attempts == 5
