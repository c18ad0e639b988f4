"""Circuit breaker, retry, rate limits (chapters 19.1 to 19.3; R135, R188-R194)."""

from __future__ import annotations

import asyncio

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, message, staged

from salon.models import ProviderDeliveryError, RateLimit, RetryPolicy

POLICY = RetryPolicy(max_retries=3, base_delay_seconds=1, exponential_base=2, max_delay_seconds=3)


async def to_web(stage: Stage, **options: object) -> RecordingTransport:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"))
    stage.register(web)
    await stage.kit.attach_channel(ROOM, "web", **options)  # type: ignore[arg-type]
    return web


def failure(*, retryable: bool = True) -> ProviderDeliveryError:
    return ProviderDeliveryError("busy", "try later", retryable=retryable)


async def test_R191_a_delivery_is_retried_after_growing_delays(stage: Stage) -> None:
    web = await to_web(stage, retry_policy=POLICY)
    web.failures = [OSError("gone") for _ in range(3)]
    began = asyncio.get_running_loop().time()
    result = await stage.inbound("sms")
    assert (web.attempts, web.bodies) == (4, ["hi"])
    assert result.delivery_results["web"].status == "sent"
    assert asyncio.get_running_loop().time() - began == pytest.approx(1 + 2 + 3, abs=0.1)


async def test_R191_after_the_last_retry_it_fails(stage: Stage) -> None:
    web = await to_web(stage, retry_policy=POLICY)
    web.failures = [OSError("gone") for _ in range(9)]
    result = await stage.inbound("sms")
    assert web.attempts == 4
    assert result.delivery_results["web"].status == "failed"


async def test_R192_without_a_policy_there_is_no_retry(stage: Stage) -> None:
    web = await to_web(stage)
    web.failures = [OSError("gone")]
    await stage.inbound("sms")
    assert web.attempts == 1


async def test_R192_what_cannot_be_retried_is_not(stage: Stage) -> None:
    web = await to_web(stage, retry_policy=POLICY)
    web.failures = [failure(retryable=False)]
    result = await stage.inbound("sms")
    error = result.delivery_results["web"].error
    assert error is not None
    assert (web.attempts, error.code, error.retryable) == (1, "busy", False)


async def test_R192_a_list_of_errors_decides_where_the_error_does_not(stage: Stage) -> None:
    policy = POLICY.model_copy(update={"retryable_errors": ["ConnectionError"]})
    web = await to_web(stage, retry_policy=policy)
    web.failures = [ConnectionResetError("gone"), ValueError("wrong")]
    await stage.inbound("sms")
    assert web.attempts == 2


async def test_R188_R189_the_breaker_opens_rests_and_closes(stage: Stage) -> None:
    heard = stage.listen("circuit_breaker_opened", "circuit_breaker_closed")
    web = await to_web(stage)
    web.failures = [OSError("gone") for _ in range(5)]
    for _ in range(5):
        await stage.inbound("sms")
    refused = await stage.inbound("sms")
    error = refused.delivery_results["web"].error
    assert error is not None
    assert (web.attempts, error.code) == (5, "circuit_breaker_open")
    await asyncio.sleep(61)
    await stage.inbound("sms", "probe")
    await stage.inbound("sms", "after")
    await stage.settle()
    assert web.bodies == ["probe", "after"]
    assert [(event.type, event.channel_id) for event in heard] == [
        ("circuit_breaker_opened", "web"),
        ("circuit_breaker_closed", "web"),
    ]


async def test_R188_a_failed_probe_opens_it_again(stage: Stage) -> None:
    web = await to_web(stage)
    web.failures = [OSError("gone") for _ in range(6)]
    for _ in range(5):
        await stage.inbound("sms")
    await asyncio.sleep(61)
    await stage.inbound("sms")
    await stage.inbound("sms")
    assert web.attempts == 6


async def test_R188_a_success_resets_the_count_and_each_channel_has_its_own(stage: Stage) -> None:
    web = await to_web(stage)
    other = RecordingTransport("other")
    await stage.room(other)
    for _ in range(3):
        web.failures = [OSError("gone") for _ in range(4)]
        for _ in range(5):
            await stage.inbound("sms")
    assert (web.attempts, len(web.got), len(other.got)) == (15, 3, 15)


async def test_R190_a_delivery_with_its_retries_counts_once(stage: Stage) -> None:
    web = await to_web(stage, retry_policy=POLICY)
    web.failures = [OSError("gone") for _ in range(16)]
    for _ in range(4):
        await stage.inbound("sms")
    result = await stage.inbound("sms", "at last")
    assert result.delivery_results["web"].status == "sent"


async def test_R135_R193_a_limited_delivery_waits_and_nothing_is_lost(stage: Stage) -> None:
    web = await to_web(stage, rate_limit=RateLimit(max_per_second=2))
    times: list[float] = []
    loop = asyncio.get_running_loop()

    async def note(_: object) -> None:
        times.append(loop.time())

    web.on_delivery = note
    began = loop.time()
    for number in range(6):
        await stage.kit.process_inbound(message("sms", str(number)), room_id=ROOM)
    assert web.bodies == [str(number) for number in range(6)]
    assert times[-1] - began == pytest.approx(2.0, abs=0.6)


async def test_R193_a_slow_limit_still_delivers(stage: Stage) -> None:
    web = await to_web(stage, rate_limit=RateLimit(max_per_minute=6))
    for number in range(3):
        await stage.kit.process_inbound(message("sms", str(number)), room_id=ROOM)
    assert len(web.got) == 3


async def test_R194_a_limited_message_is_refused_before_anything() -> None:
    limit = RateLimit(max_per_second=2)
    async with staged(inbound_rate_limit=limit) as stage:
        await stage.room(RecordingTransport("sms"), RecordingTransport("web"))
        before = await stage.timeline()
        results = [await stage.inbound("sms", visibility="none") for _ in range(5)]
        assert [item.reason for item in results] == [None, None, *["rate_limited"] * 3]
        assert len(await stage.timeline()) == len(before) + 2
        assert not (await stage.inbound("web")).blocked
        await asyncio.sleep(2)
        assert not (await stage.inbound("sms")).blocked
