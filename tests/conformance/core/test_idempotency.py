"""Idempotency, the room lock, timeouts (chapters 19.4 and 19.5; R195-R207)."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Any

import pytest
from tests.conformance.core.stage import (
    PATIENCE,
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    silent,
    staged,
)

from salon.core import RoomKit
from salon.core.memory import InMemoryLockManager, InMemoryStore
from salon.models import EventStatus, HookResult, HookTrigger, RoomContext, RoomEvent
from salon.testing import VirtualClock


async def test_R195_concurrent_duplicates_commit_once(stage: Stage) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    results = await asyncio.gather(*(stage.inbound("sms", idempotency_key="k") for _ in range(5)))
    assert len({result.event.id for result in results if result.event is not None}) == 1
    assert bodies(await stage.messages()) == web.bodies == ["hi"]


async def test_R196_a_seen_key_returns_the_first_result_without_reprocessing(
    stage: Stage,
) -> None:
    web, agent = RecordingTransport("web"), silent("ai")
    await stage.room(RecordingTransport("sms"), web, agent)
    before = stage.hear(HookTrigger.BEFORE_BROADCAST)
    first = await stage.inbound("sms", "one", idempotency_key="k")
    count = (await stage.read()).event_count
    again = await stage.inbound("sms", "two", idempotency_key="k")
    await stage.settle()
    assert first.event is not None
    assert again.event is not None
    assert (again.event.id, again.event.text) == (first.event.id, "one")
    assert (again.blocked, again.duplicate) == (False, True)
    assert (await stage.read()).event_count == count
    assert bodies(before) == web.bodies == agent.heard == ["one"]


async def test_R196_a_blocked_first_result_is_replayed_as_blocked(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    stage.block("rude", name="censor")
    await stage.inbound("sms", idempotency_key="k")
    again = await stage.inbound("sms", idempotency_key="k")
    assert (again.blocked, again.duplicate) == (True, True)
    assert len(await stage.messages()) == 1


async def test_R197_keys_belong_to_one_room(stage: Stage) -> None:
    sms = RecordingTransport("sms")
    for room_id in ("a", "b"):
        await stage.room(sms, room_id=room_id)
        await stage.inbound("sms", idempotency_key="k", room_id=room_id)
    assert [len(await stage.messages(room_id)) for room_id in ("a", "b")] == [1, 1]


async def test_R197_a_refused_message_records_no_key(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    await stage.kit.close_room(ROOM)
    assert (await stage.inbound("sms", idempotency_key="k")).blocked
    await stage.kit.reopen_room(ROOM)
    result = await stage.inbound("sms", "now", idempotency_key="k")
    assert not result.blocked
    assert bodies(await stage.messages()) == ["now"]


async def test_R198_injection_with_a_key_is_the_same(stage: Stage) -> None:
    web = RecordingTransport("web")
    await stage.room(RecordingTransport("sms"), web)
    first = await stage.send("sms", "one", idempotency_key="k")
    again = await stage.send("sms", "two", idempotency_key="k")
    assert again.id == first.id
    assert web.bodies == ["one"]


async def test_R199_one_room_is_processed_in_sequence(stage: Stage) -> None:
    running = most = 0

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
    async def slow(event: RoomEvent, context: RoomContext) -> HookResult:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.1)
        running -= 1
        return HookResult.allow()

    sms = RecordingTransport("sms")
    await stage.room(sms)
    await asyncio.gather(*(stage.inbound("sms", str(n)) for n in range(4)))
    assert most == 1
    for number in range(4):
        await stage.room(sms, room_id=f"room-{number}")
    await asyncio.gather(*(stage.inbound("sms", room_id=f"room-{n}") for n in range(4)))
    assert most == 4


async def test_R200_R202_the_lock_manager_serialises_and_lets_its_holder_in_again() -> None:
    locks, order = InMemoryLockManager(), list[str]()

    async def work(name: str) -> None:
        async with locks.locked(ROOM):
            order.append(f"{name} in")
            async with locks.locked(ROOM):
                await asyncio.sleep(0.1)
            order.append(f"{name} out")

    await asyncio.gather(work("a"), work("b"))
    assert order in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])


async def test_R202_a_cancelled_wait_leaves_the_lock_usable() -> None:
    locks = InMemoryLockManager()
    async with locks.locked(ROOM):
        waiting = asyncio.get_running_loop().create_task(
            _enter(locks), context=contextvars.Context()
        )
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.sleep(0.1)
    async with asyncio.timeout(PATIENCE):
        await asyncio.get_running_loop().create_task(_enter(locks), context=contextvars.Context())


async def _enter(locks: InMemoryLockManager) -> None:
    async with locks.locked(ROOM):
        pass


async def test_R201_a_shared_store_with_a_local_lock_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class SharedStore(InMemoryStore):
        is_process_local = False

    with caplog.at_level(logging.WARNING, logger="salon"):
        async with RoomKit(store=SharedStore(), shutdown_timeout=0):
            pass
    assert any("lock" in record.getMessage().lower() for record in caplog.records)


async def test_R203_an_agent_that_thinks_blocks_nobody(stage: Stage) -> None:
    agent = ScriptedAgent("ai")
    agent.wait = asyncio.Event()
    await stage.room(RecordingTransport("sms"), RecordingTransport("web"), agent)
    call = stage.start(stage.inbound("sms", "question"))
    await stage.settle()
    async with asyncio.timeout(PATIENCE), stage.kit.locks.locked(ROOM):
        pass
    agent.wait.set()
    await call


@pytest.mark.parametrize("place", ["context", "parse", "lock", "hook"])
async def test_R204_whatever_hangs_before_the_commit_is_one_budget(place: str) -> None:
    store = InMemoryStore()
    async with staged(store=store, process_timeout=3.0) as stage:
        kit = stage.kit
        sms = RecordingTransport("sms")
        await stage.room(sms)

        async def hang(*_: Any, **__: Any) -> Any:
            await asyncio.sleep(1000)

        loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        if place == "parse":
            sms.parse = hang
        elif place == "hook":
            kit.hook(HookTrigger.BEFORE_BROADCAST, timeout=500.0)(hang)
        elif place == "context":
            store.list_bindings = hang  # type: ignore[method-assign]
        if place == "lock":
            async with kit.locks.locked(ROOM):
                call = loop.create_task(stage.inbound("sms"), context=contextvars.Context())
                result = await call
        else:
            result = await stage.inbound("sms")
        assert (result.blocked, result.reason) == (True, "process_timeout")
        assert loop.time() - began == pytest.approx(3.0, abs=0.5)
        assert await stage.messages() == []


async def test_R205_a_slow_commit_is_not_interrupted() -> None:
    class SlowStore(InMemoryStore):
        async def commit_event(self, *args: Any, **more: Any) -> RoomEvent:
            await asyncio.sleep(5)
            return await super().commit_event(*args, **more)

    async with staged(store=SlowStore(), process_timeout=2.0) as stage:
        await stage.room(RecordingTransport("sms"))
        result = await stage.inbound("sms")
        assert (result.blocked, result.reason) == (False, None)
        assert await stage.said() == [("hi", "delivered")]


async def test_R205_R206_a_hanging_delivery_leaves_the_event_and_is_reported() -> None:
    async with staged(process_timeout=2.0, delivery_timeout=4.0) as stage:
        failed = stage.listen("delivery_failed")
        web = RecordingTransport("web")
        web.hold = asyncio.Event()
        await stage.room(RecordingTransport("sms"), web)
        result = await stage.inbound("sms")
        assert result.delivery_results["web"].status == "failed"
        assert [event.channel_id for event in failed] == ["web"]
        (stored,) = await stage.messages()
        assert stored.status is EventStatus.DELIVERED


async def test_R207_deliveries_are_resumed_after_a_crash() -> None:
    store = InMemoryStore()
    stuck = RecordingTransport("web")
    stuck.hold = asyncio.Event()
    kit = RoomKit(store=store, shutdown_timeout=0)
    await kit.open()
    stage = Stage(kit, VirtualClock())
    await stage.room(RecordingTransport("sms"), stuck)
    call = stage.start(stage.inbound("sms", "before the crash"))
    await stage.settle()
    await kit.close()
    await asyncio.wait([call])
    call.exception()
    async with RoomKit(store=store, shutdown_timeout=0) as kit:
        stage, web = Stage(kit, VirtualClock()), RecordingTransport("web")
        stage.register(RecordingTransport("sms"), web)
        assert await kit.resume_deliveries() >= 1
        await stage.settle()
        assert web.bodies == ["before the crash"]
        assert await kit.resume_deliveries() == 0
