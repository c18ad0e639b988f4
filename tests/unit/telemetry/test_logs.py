"""R260: what is logged, by whom, at which level, with which context."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import pytest
from tests.unit.core.helpers import ROOM, Agent, Transport, message

from salon.app.logs import configure
from salon.core.kit import RoomKit
from salon.core.logs import LINES
from salon.identity import MockIdentityResolver
from salon.models import HookResult, HookTrigger, Identity, RetryPolicy, RoomContext, RoomEvent
from salon.models.errors import ProviderDeliveryError

SECRET = "the words nobody may see"
ADDRESS = "+15550001111"


@pytest.fixture(autouse=True)
def _all_of_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="salon")


async def furnish(kit: RoomKit, *channels: Any, **binding: Any) -> None:
    await kit.create_room(ROOM)
    for channel in channels:
        kit.register_channel(channel)
        await kit.attach_channel(ROOM, channel.channel_id, channel.category, **binding)
    await kit.idle(ROOM)


def told(caplog: pytest.LogCaptureFixture, logger: str, words: str) -> list[logging.LogRecord]:
    return [r for r in caplog.records if r.name == logger and words in r.getMessage()]


def facts(record: logging.LogRecord, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(record, name, None) for name in names)


async def test_R260_info_what_was_made(caplog: pytest.LogCaptureFixture) -> None:
    resolver = MockIdentityResolver({ADDRESS: Identity(id="i1", display_name="Ann")})
    async with RoomKit(identity_resolver=resolver) as kit:
        await furnish(kit, Transport("a"))
        caplog.clear()
        await kit.create_room("other")
        await kit.attach_channel("other", "a")
        result = await kit.process_inbound(message("a", SECRET, sender=ADDRESS), room_id="other")

    assert result.event is not None
    (room,) = told(caplog, "salon.core.rooms", "room created")
    (attached,) = told(caplog, "salon.core.bindings", "channel attached")
    (person,) = told(caplog, "salon.core.participants", "participant resolved")
    stored = told(caplog, "salon.core.timeline", "event stored")[-1]
    for record in (room, attached, person, stored):
        assert record.levelno == logging.INFO
        assert facts(record, "room_id") == ("other",)
    assert facts(attached, "channel_id") == ("a",)
    assert facts(person, "participant_id", "identity_id") == ("i1", "i1")
    assert facts(stored, "event_id", "channel_id") == (result.event.id, "a")
    assert facts(stored, "chain_depth", "status") == (0, "delivered")
    assert stored.__dict__["latency_ms"] >= 0
    everything = repr([record.__dict__ for record in caplog.records])
    assert SECRET not in everything
    assert ADDRESS not in everything


@pytest.mark.parametrize(("retryable", "level"), [(True, logging.WARNING), (False, logging.ERROR)])
async def test_R260_failures_of_providers(
    caplog: pytest.LogCaptureFixture, retryable: bool, level: int
) -> None:
    target = Transport("b")
    target.failure = ProviderDeliveryError("over_quota", "no", retryable=retryable)
    async with RoomKit() as kit:
        await furnish(kit, Transport("a"), target, retry_policy=RetryPolicy(max_retries=0))
        result = await kit.process_inbound(message("a"), room_id=ROOM)
    assert result.event is not None
    (record,) = told(caplog, "salon.core.delivery", "failed")
    assert record.levelno == level
    assert facts(record, "room_id", "channel_id", "event_id") == (ROOM, "b", result.event.id)
    assert facts(record, "status", "chain_depth") == ("over_quota", 0)
    assert hasattr(record, "provider")


async def test_R260_a_delivery_that_takes_too_long_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    target = Transport("b")
    target.hold = asyncio.Event()
    async with RoomKit(delivery_timeout=0.01) as kit:
        await furnish(kit, Transport("a"), target)
        await kit.process_inbound(message("a"), room_id=ROOM)
    (record,) = told(caplog, "salon.core.delivery", "failed")
    assert (record.levelno, *facts(record, "status")) == (logging.WARNING, "timeout")


async def test_R260_hooks_that_time_out_or_fail(caplog: pytest.LogCaptureFixture) -> None:
    async with RoomKit() as kit:
        await furnish(kit, Transport("a"))

        @kit.hook(HookTrigger.BEFORE_BROADCAST, timeout=0.01)
        async def slow(event: RoomEvent, context: RoomContext) -> HookResult:
            await asyncio.Event().wait()
            return HookResult.allow()

        @kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def broken(event: RoomEvent, context: RoomContext) -> HookResult:
            raise KeyError("x")

        await kit.process_inbound(message("a"), room_id=ROOM)
    (timeout,) = told(caplog, "salon.core.hooks", "hook slow at before_broadcast")
    assert (timeout.levelno, *facts(timeout, "room_id", "status")) == (
        logging.WARNING,
        ROOM,
        "hook_timeout",
    )
    (failed,) = told(caplog, "salon.core.hooks", "hook broken at before_broadcast")
    assert (failed.levelno, *facts(failed, "status")) == (logging.ERROR, "hook_error")


async def test_R260_a_chain_near_its_limit_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with RoomKit(max_chain_depth=3) as kit:
        await furnish(kit, Transport("a"), Agent("one"), Agent("two"))
        await kit.process_inbound(message("a"), room_id=ROOM)
        await kit.idle(ROOM)
    records = told(caplog, "salon.core.answers", "near its limit")
    assert {record.levelno for record in records} == {logging.WARNING}
    assert sorted({facts(record, "chain_depth")[0] for record in records}) == [2, 3]
    assert all(facts(record, "room_id") == (ROOM,) for record in records)


async def test_R260_an_ordinary_answer_is_no_chain(caplog: pytest.LogCaptureFixture) -> None:
    async with RoomKit(max_chain_depth=2) as kit:
        await furnish(kit, Transport("a"), Agent("one"))
        await kit.process_inbound(message("a"), room_id=ROOM)
        await kit.idle(ROOM)
    assert told(caplog, "salon.core.answers", "limit") == []


async def test_R260_a_breaker_that_opens_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    target = Transport("b")
    target.failure = ProviderDeliveryError("down", "no", retryable=True)
    async with RoomKit() as kit:
        await furnish(kit, Transport("a"), target, retry_policy=RetryPolicy(max_retries=0))
        for _ in range(5):
            await kit.process_inbound(message("a"), room_id=ROOM)
    (record,) = told(caplog, "salon.core.resilience", "circuit breaker opened")
    assert record.levelno == logging.ERROR
    assert facts(record, "channel_id", "failure_count") == ("b", 5)


async def test_R260_a_store_that_fails_is_an_error(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RoomKit() as kit:
        await furnish(kit, Transport("a"))

        async def full(*args: Any, **options: Any) -> RoomEvent:
            raise OSError("disk full")

        monkeypatch.setattr(kit.store, "commit_event", full)
        with pytest.raises(OSError, match="disk full"):
            await kit.process_inbound(message("a"), room_id=ROOM)
    (record,) = told(caplog, "salon.core.timeline", "was not stored")
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert facts(record, "room_id", "channel_id") == (ROOM, "a")


async def test_R260_an_agent_that_fails_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: RoomEvent, context: RoomContext) -> None:
        raise LookupError("x")

    async with RoomKit() as kit:
        await furnish(kit, Transport("a"), Agent("bot", broken))
        await kit.process_inbound(message("a"), room_id=ROOM)
        await kit.idle(ROOM)
    (record,) = told(caplog, "salon.core.answers", "agent bot failed")
    assert (record.levelno, *facts(record, "room_id", "channel_id")) == (
        logging.ERROR,
        ROOM,
        "bot",
    )


async def test_R260_context_is_not_built_for_a_logger_that_is_off(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.ERROR, logger="salon")

    def never(*args: Any) -> dict[str, Any]:
        raise AssertionError("built for nobody")

    monkeypatch.setattr("salon.core.timeline._facts", never)
    async with RoomKit() as kit:
        await furnish(kit, Transport("a"))
        result = await kit.process_inbound(message("a"), room_id=ROOM)
    assert result.event is not None
    assert caplog.records == []


async def test_R260_the_context_is_in_the_json(caplog: pytest.LogCaptureFixture) -> None:
    del caplog
    stream = io.StringIO()
    logs = configure(level="info", style="json", stream=stream)
    try:
        async with RoomKit() as kit:
            await furnish(kit, Transport("a"))
    finally:
        logs.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (attached,) = [line for line in lines if line["message"] == "channel attached"]
    assert attached["logger"] == "salon.core.bindings"
    assert attached["level"] == "info"
    assert (attached["room_id"], attached["channel_id"]) == (ROOM, "a")


def test_R260_every_logger_has_its_name_under_one_root() -> None:
    assert all(line.logger.name.startswith("salon.core.") for line in LINES.values())
