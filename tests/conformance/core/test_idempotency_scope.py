"""Keys and timeouts: scope, refusals, replays (chapters 19.4 and 19.5; R195-R207)."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    bodies,
    message,
    silent,
    staged,
)

from salon.core import RoomClosedError, RoomKit
from salon.core.memory import InMemoryLockManager, InMemoryStore
from salon.core.ports.locks import RoomLockManager
from salon.models import EventStatus, HookResult, HookTrigger, RoomContext, RoomEvent


async def pair(stage: Stage) -> tuple[RecordingTransport, RecordingTransport]:
    channels = RecordingTransport("sms"), RecordingTransport("web")
    await stage.room(*channels)
    return channels


# -- keys -----------------------------------------------------------------------------------------


async def test_R197_a_key_belongs_to_its_channel(stage: Stage) -> None:
    await pair(stage)
    one = await stage.inbound("sms", "by sms", idempotency_key="k")
    two = await stage.inbound("web", "by web", idempotency_key="k")
    assert (one.duplicate, two.duplicate) == (False, False)
    assert bodies(await stage.messages()) == ["by sms", "by web"]


async def test_R197_a_timed_out_message_records_no_key() -> None:
    async with staged(process_timeout=2) as stage:
        sms, _ = await pair(stage)

        async def hang(*_: Any) -> None:
            await asyncio.sleep(100)

        sms.parse = hang
        assert (await stage.inbound("sms", idempotency_key="k")).reason == "process_timeout"
        sms.parse = None
        again = await stage.inbound("sms", "again", idempotency_key="k")
        assert (again.blocked, again.duplicate) == (False, False)


async def test_R197_a_rejected_change_records_no_key(stage: Stage) -> None:
    from salon.models import DeleteContent, EventType

    await pair(stage)
    content = DeleteContent(target_event_id="nothing")
    refused = await stage.inbound(
        "sms", content=content, event_type=EventType.DELETE, idempotency_key="k"
    )
    assert refused.reason == "target_event_not_found"
    assert not (await stage.inbound("sms", "hello", idempotency_key="k")).duplicate


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_R195_concurrent_duplicates_commit_once_on_every_store(
    tmp_path: Path, kind: str
) -> None:
    options: dict[str, Any] = {}
    if kind == "sqlite":
        pytest.importorskip("sqlalchemy")
        from salon.store.factory import make_stores

        options["store"] = make_stores(f"sqlite:///{tmp_path / 'r.db'}").conversation
    async with staged(**options) as stage:
        _, web = await pair(stage)
        results = await asyncio.gather(
            *(stage.inbound("sms", idempotency_key="k") for _ in range(6))
        )
        assert sorted(result.duplicate for result in results) == [False] + [True] * 5
        assert bodies(await stage.messages()) == web.bodies == ["hi"]


async def test_R196_a_replay_runs_nothing_again(stage: Stage) -> None:
    agent = silent("ai")
    agent.tasks, agent.observations = ["call"], ["seen"]
    await stage.room(RecordingTransport("sms"), RecordingTransport("web"), agent)
    heard = stage.listen("event_processed", "delivery_succeeded")
    for _ in range(3):
        await stage.inbound("sms", idempotency_key="k")
    await stage.settle()
    assert [event.type for event in heard] == ["event_processed", "delivery_succeeded"]
    assert (await stage.tasks(), await stage.observations()) == (["call"], ["seen"])


async def test_R196_a_replayed_block_gives_its_reason(stage: Stage) -> None:
    await pair(stage)
    await stage.kit.mute(ROOM, "sms")
    await stage.inbound("sms", idempotency_key="k")
    await stage.kit.unmute(ROOM, "sms")
    again = await stage.inbound("sms", idempotency_key="k")
    assert (again.blocked, again.reason, again.duplicate) == (True, "source_muted", True)


async def test_R196_a_replay_outlives_a_restart() -> None:
    store = InMemoryStore()
    ids = []
    for _ in range(2):
        async with staged(store=store) as stage:
            stage.register(RecordingTransport("sms"))
            event = (await stage.inbound("sms", idempotency_key="k")).event
            assert event is not None
            ids.append(event.id)
    assert ids[0] == ids[1]


async def test_R198_injection_shares_the_keys_of_its_channel(stage: Stage) -> None:
    await pair(stage)
    first = await stage.inbound("sms", "one", idempotency_key="k")
    again = await stage.send("sms", "two", idempotency_key="k")
    assert first.event is not None
    assert again.id == first.event.id


async def test_R198_a_refused_injection_records_no_key(stage: Stage) -> None:
    await pair(stage)
    await stage.kit.close_room(ROOM)
    with pytest.raises(RoomClosedError):
        await stage.send("sms", "one", idempotency_key="k")
    await stage.kit.reopen_room(ROOM)
    assert (await stage.send("sms", "two", idempotency_key="k")).text == "two"


async def test_R198_concurrent_injections_commit_once(stage: Stage) -> None:
    _, web = await pair(stage)
    events = await asyncio.gather(*(stage.send("sms", idempotency_key="k") for _ in range(5)))
    assert len({event.id for event in events}) == 1
    assert web.bodies == ["hi"]


# -- locks ----------------------------------------------------------------------------------------


async def test_R200_the_lock_manager_is_replaceable() -> None:
    class Counting(InMemoryLockManager):
        taken = 0

        def locked(self, room_id: str) -> Any:
            Counting.taken += 1
            return super().locked(room_id)

    locks = Counting()
    async with staged(lock_manager=locks) as stage:
        await pair(stage)
        before = Counting.taken
        await stage.inbound("sms")
        assert stage.kit.lock_manager is locks
        assert Counting.taken > before
    assert issubclass(InMemoryLockManager, RoomLockManager)


async def test_R202_child_tasks_of_the_holder_are_inside() -> None:
    locks = InMemoryLockManager()

    async def enter() -> bool:
        async with locks.locked(ROOM):
            return True

    async with locks.locked(ROOM):
        async with asyncio.timeout(1):
            assert await asyncio.create_task(enter())


async def test_R202_idle_locks_take_no_memory() -> None:
    locks = InMemoryLockManager()
    for number in range(3000):
        async with locks.locked(str(number)):
            pass
    assert len(locks) <= 1024


async def test_R202_an_agent_does_not_inherit_the_lock() -> None:
    """An agent may take its time and use the room: it never holds the lock while it thinks."""
    async with staged() as stage:
        held: list[bool] = []

        def look(event: RoomEvent, context: RoomContext) -> None:
            held.append(stage.kit.locks.held(ROOM))

        await stage.room(RecordingTransport("sms"), ScriptedAgent("ai", look))
        await stage.inbound("sms")
        await stage.settle()
        assert held == [False]


async def test_R203_a_delivery_holds_no_lock(stage: Stage) -> None:
    _, web = await pair(stage)
    web.hold = asyncio.Event()
    call = stage.start(stage.inbound("sms"))
    await stage.settle()
    async with asyncio.timeout(1), stage.kit.locks.locked(ROOM):
        pass
    web.hold.set()
    await call


# -- timeouts -------------------------------------------------------------------------------------


def test_R204_thirty_seconds_are_the_default() -> None:
    assert inspect.signature(RoomKit).parameters["process_timeout"].default == 30.0


async def test_R204_routing_is_not_in_the_budget() -> None:
    from salon.core.ports.router import InboundRoomRouter

    class Slow(InboundRoomRouter):
        async def route(self, *args: Any, **more: Any) -> str | None:
            await asyncio.sleep(5)
            return ROOM

    async with staged(process_timeout=2, inbound_router=Slow()) as stage:
        await pair(stage)
        result = await stage.kit.process_inbound(message("sms"))
        assert (result.blocked, result.reason) == (False, None)


async def test_R204_two_slow_stages_share_one_budget() -> None:
    async with staged(process_timeout=3) as stage:
        sms, _ = await pair(stage)

        async def slow(*_: Any) -> None:
            await asyncio.sleep(2)

        @stage.kit.hook(HookTrigger.BEFORE_BROADCAST)
        async def slow_too(event: RoomEvent, context: RoomContext) -> HookResult:
            await asyncio.sleep(2)
            return HookResult.allow()

        sms.parse = slow
        began = asyncio.get_running_loop().time()
        result = await stage.inbound("sms")
        assert result.reason == "process_timeout"
        assert asyncio.get_running_loop().time() - began == pytest.approx(3, abs=0.2)
        assert await stage.messages() == []
        assert (await stage.read()).event_count == len(await stage.timeline())


async def test_R204_the_room_goes_on_after_a_timeout() -> None:
    async with staged(process_timeout=2) as stage:
        _, web = await pair(stage)

        @stage.kit.hook(HookTrigger.BEFORE_BROADCAST, timeout=500)
        async def hang(event: RoomEvent, context: RoomContext) -> HookResult:
            if event.text == "bad":
                await asyncio.sleep(100)
            return HookResult.allow()

        assert (await stage.inbound("sms", "bad")).blocked
        assert not (await stage.inbound("sms", "good")).blocked
        assert web.bodies == ["good"]


async def test_R205_a_late_failure_of_delivery_does_not_re_mark_the_event() -> None:
    async with staged(process_timeout=2, delivery_timeout=3) as stage:
        _, web = await pair(stage)
        web.hold = asyncio.Event()
        result = await stage.inbound("sms")
        assert not result.blocked
        (event,) = await stage.messages()
        assert event.status is EventStatus.DELIVERED
        assert event.delivery_results["web"]["status"] == "failed"


async def test_R206_one_hanging_target_does_not_delay_the_others_for_ever() -> None:
    async with staged(delivery_timeout=3) as stage:
        _, web = await pair(stage)
        other = RecordingTransport("other")
        await stage.room(other)
        web.hold = asyncio.Event()
        await stage.inbound("sms", "one")
        await stage.inbound("sms", "two")
        assert other.bodies == ["one", "two"]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_R207_what_a_crash_left_is_delivered_once(tmp_path: Path, kind: str) -> None:
    def store() -> Any:
        if kind == "memory":
            return memory
        from salon.store.factory import make_stores

        return make_stores(f"sqlite:///{tmp_path / 'r.db'}").conversation

    if kind == "sqlite":
        pytest.importorskip("sqlalchemy")
    memory = InMemoryStore()
    async with staged(store=store()) as stage:
        stuck = RecordingTransport("web")
        stuck.hold = asyncio.Event()
        await stage.room(RecordingTransport("sms"), stuck)
        calls = [
            stage.start(stage.kit.process_inbound(message("sms", body), room_id=ROOM))
            for body in ("one", "two")
        ]
        await stage.settle()
        assert len(await stage.messages()) == 2
    await asyncio.wait(calls)
    for call in calls:
        if not call.cancelled():
            call.exception()
    async with staged(store=store()) as stage:
        web = RecordingTransport("web")
        stage.register(RecordingTransport("sms"), web)
        await stage.kit.resume_deliveries()
        await stage.settle()
        assert sorted(str(body) for body in web.bodies) == ["one", "two"]
        assert web.bodies == ["one", "two"]
        await stage.kit.resume_deliveries()
        await stage.settle()
        assert len(web.bodies) == 2
