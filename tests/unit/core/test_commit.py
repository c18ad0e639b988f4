"""Index, commit point, idempotency, timeouts (chapters 10, 11 and 19)."""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import Context
from datetime import datetime
from typing import Any

import pytest

from salon.core.errors import RoomKitError
from salon.core.kit import RoomKit
from salon.core.memory.store import InMemoryStore
from salon.models import (
    EventStatus,
    HookResult,
    HookTrigger,
    Room,
    RoomContext,
    RoomEvent,
)

from .helpers import (
    PATIENCE,
    ROOM,
    Agent,
    Transport,
    listen,
    message,
    messages,
    room_with,
    text,
    timeline,
    words,
)


async def odd_ones_out(event: RoomEvent, context: RoomContext) -> HookResult:
    await asyncio.sleep(0)
    if int(event.text or 0) % 2:
        return HookResult.block("odd")
    return HookResult.allow()


async def test_R94_R95_concurrent_messages_get_gapless_indices(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, odd_ones_out)
    base = len(await timeline(kit))
    await asyncio.gather(
        *(kit.process_inbound(message("sms", str(n)), room_id=ROOM) for n in range(20))
    )
    stored = await timeline(kit)
    room = await kit.get_room(ROOM)
    assert room is not None
    assert [e.index for e in stored] == list(range(base + 20))
    assert sum(e.status is EventStatus.BLOCKED for e in stored) == 10
    assert (room.event_count, room.latest_index) == (base + 20, base + 19)


async def test_R97_hooks_see_a_provisional_index(kit: RoomKit) -> None:
    seen: list[int] = []

    async def look(event: RoomEvent, context: RoomContext) -> HookResult:
        seen.append(event.index)
        return HookResult.allow()

    await room_with(kit, Transport("sms"))
    kit.add_hook(HookTrigger.BEFORE_BROADCAST, look)
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert result.event is not None
    assert seen == [result.event.index]


async def test_R99_listeners_never_see_counters_and_timeline_disagree(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    seen: list[RoomEvent] = []

    def broken(event: RoomEvent) -> None:
        raise ValueError("a listener must not undo a commit")

    stop = kit.on_commit(broken)
    forget = kit.on_commit(seen.append)
    first = await kit.process_inbound(message("sms"), room_id=ROOM)
    forget()
    stop()
    stop()
    await kit.process_inbound(message("sms"), room_id=ROOM)
    assert [e.id for e in seen] == [first.event.id if first.event else None]


async def test_R102_the_store_owns_its_copies(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    payload = {"list": [1]}
    result = await kit.process_inbound(message("sms", metadata=payload), room_id=ROOM)
    assert result.event is not None
    payload["list"].append(2)
    room = await kit.get_room(ROOM)
    assert room is not None
    room.metadata["x"] = 1
    room.status = room.status.CLOSED
    assert (await messages(kit))[0].metadata["list"] == [1]
    again = await kit.get_room(ROOM)
    assert again is not None
    assert (again.status.value, "x" in again.metadata) == ("active", False)


async def test_R8_R13_R14_the_source_is_the_channels_and_the_payload_untouched(
    kit: RoomKit,
) -> None:
    await room_with(kit, Transport("sms"))
    raw = {"From": "+1", "nested": {"a": [1, 2]}}
    result = await kit.process_inbound(
        message("sms", raw_payload=raw, provider_message_id="m1", external_id="x"), room_id=ROOM
    )
    assert result.event is not None
    source = result.event.source
    assert (source.channel_id, str(source.channel_type)) == ("sms", "sms")
    assert (source.raw_payload, source.provider_message_id) == (raw, "m1")


async def test_R18_message_fields_apply_where_the_channel_left_defaults(kit: RoomKit) -> None:
    class Own(Transport):
        async def handle_inbound(self, message, context):  # type: ignore[no-untyped-def]
            event = self.inbound_event(message, context)
            return event.model_copy(
                update={"visibility": "none", "addressed_to": [], "chain_depth": 4}
            )

    await room_with(kit, Transport("sms"), Own("own"))
    root = (await kit.process_inbound(message("sms"), room_id=ROOM)).event
    assert root is not None
    fields: dict[str, Any] = {
        "visibility": "transport",
        "parent_event_id": root.id,
        "addressed_to": ["bot"],
        "response_visibility": "sms",
    }
    plain = (await kit.process_inbound(message("sms", **fields), room_id=ROOM)).event
    own = (await kit.process_inbound(message("own", **fields), room_id=ROOM)).event
    assert plain is not None
    assert own is not None
    assert {name: getattr(plain, name) for name in fields} == fields
    assert (own.visibility, own.addressed_to, own.chain_depth) == ("none", [], 0)
    assert own.response_visibility == "sms"


async def test_R195_R196_a_key_is_processed_once(kit: RoomKit) -> None:
    sms, other, bot = Transport("sms"), Transport("other"), Agent("bot")
    await room_with(kit, sms, other, bot)
    calls: list[str] = []

    async def count(event: RoomEvent, context: RoomContext) -> HookResult:
        calls.append(event.id)
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_BROADCAST, count)
    one = message("sms", idempotency_key="k")
    results = await asyncio.gather(*(kit.process_inbound(one, room_id=ROOM) for _ in range(3)))
    later = await kit.process_inbound(one, room_id=ROOM)
    ids = {r.event.id for r in (*results, later) if r.event}
    assert len(ids) == 1
    assert sorted(r.duplicate for r in results) == [False, True, True]
    assert (later.duplicate, later.blocked) == (True, False)
    assert other.bodies == ["hi", "bot: hi"]
    assert len(calls) == 2


async def test_R196_a_duplicate_of_a_refused_event_is_refused(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    await kit.mute(ROOM, "sms")
    first = await kit.process_inbound(message("sms", idempotency_key="k"), room_id=ROOM)
    again = await kit.process_inbound(message("sms", idempotency_key="k"), room_id=ROOM)
    assert (first.reason, again.reason, again.blocked) == ("source_muted", "source_muted", True)


async def test_R197_keys_are_per_room_and_a_refusal_records_none(kit: RoomKit) -> None:
    sms = Transport("sms")
    await room_with(kit, sms)
    await room_with(kit, sms, room_id="second")
    keyed = message("sms", idempotency_key="k")
    await kit.close_room("second")
    refused = await kit.process_inbound(keyed, room_id="second")
    room = await kit.get_room("second")
    assert room is not None
    room.status = room.status.ACTIVE
    await kit.store.update_room(room)
    here = await kit.process_inbound(keyed, room_id=ROOM)
    there = await kit.process_inbound(keyed, room_id="second")
    assert refused.reason == "room_closed"
    assert not here.duplicate
    assert not there.duplicate


async def test_R198_direct_injection_honours_the_key(kit: RoomKit) -> None:
    other = Transport("other")
    await room_with(kit, Transport("sms"), other)
    first = await kit.send_event(ROOM, "sms", text("one"), idempotency_key="k")
    again = await kit.send_event(ROOM, "sms", text("two"), idempotency_key="k")
    assert first.id == again.id
    assert other.bodies == ["one"]


async def test_R129_send_event_carries_its_fields(kit: RoomKit) -> None:
    await room_with(kit, Transport("sms"))
    root = await kit.send_event(ROOM, "sms", text("before"))
    event = await kit.send_event(
        ROOM,
        "sms",
        text("hi"),
        participant_id="ann",
        metadata={"a": 1},
        visibility="none",
        response_visibility="sms",
        addressed_to=("bot",),
        parent_event_id=root.id,
        chain_depth=2,
    )
    assert event.source.participant_id == "ann"
    assert (event.metadata, event.visibility, event.response_visibility) == (
        {"a": 1},
        "none",
        "sms",
    )
    assert (event.addressed_to, event.parent_event_id, event.chain_depth) == (["bot"], root.id, 2)
    assert event.status is EventStatus.DELIVERED


class Slow(InMemoryStore):
    """Keeps a chosen call waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.gate: asyncio.Event | None = None
        self.at = ""
        self.reached = asyncio.Event()

    async def _pause(self, where: str) -> None:
        if self.gate is not None and self.at == where:
            self.reached.set()
            await self.gate.wait()

    async def list_bindings(self, room_id: str):  # type: ignore[no-untyped-def]
        await self._pause("context")
        return await super().list_bindings(room_id)

    async def commit_event(
        self, event: RoomEvent, *, at: datetime, target: RoomEvent | None = None
    ) -> RoomEvent:
        await self._pause("commit")
        return await super().commit_event(event, at=at, target=target)

    async def get_room(self, room_id: str) -> Room | None:
        await self._pause("room")
        return await super().get_room(room_id)


async def forever(*_: object) -> HookResult:
    await asyncio.Event().wait()
    return HookResult.allow()


@pytest.mark.parametrize("stage", ["context", "handle_inbound", "lock", "hook"])
async def test_R204_a_hang_before_the_commit_stores_nothing(stage: str) -> None:
    store = Slow()
    async with RoomKit(store=store, process_timeout=0.05, shutdown_timeout=0) as kit:
        sms = Transport("sms")
        await room_with(kit, sms)
        heard = listen(kit, "process_timeout")
        held = asyncio.Event()
        release = asyncio.Event()

        async def hold() -> None:
            async with kit.locks.locked(ROOM):
                held.set()
                await release.wait()

        holder = asyncio.create_task(hold()) if stage == "lock" else None
        if stage == "context":
            store.gate, store.at = asyncio.Event(), "context"
        elif stage == "handle_inbound":
            sms.parse = forever  # type: ignore[assignment]
        elif stage == "hook":
            kit.add_hook(HookTrigger.BEFORE_BROADCAST, forever)
        else:
            await held.wait()
        result = await asyncio.wait_for(
            kit.process_inbound(message("sms", idempotency_key="k"), room_id=ROOM), PATIENCE
        )
        store.gate = None
        release.set()
        if holder is not None:
            await holder
        assert (result.blocked, result.reason, result.event) == (True, "process_timeout", None)
        assert len(heard) == 1
        assert await words(kit) == []
        assert await kit.store.get_event_by_idempotency_key(ROOM, "k") is None


async def test_R204_a_hook_that_swallows_the_timeout_does_not_commit() -> None:
    async def stubborn(event: RoomEvent, context: RoomContext) -> HookResult:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return HookResult.allow()

    async with RoomKit(process_timeout=0.05, shutdown_timeout=0) as kit:
        await room_with(kit, Transport("sms"))
        kit.add_hook(HookTrigger.BEFORE_BROADCAST, stubborn)
        result = await kit.process_inbound(message("sms"), room_id=ROOM)
        assert result.reason == "process_timeout"
        assert await words(kit) == []


async def test_R204_a_timeout_of_the_channel_itself_is_the_channels(kit: RoomKit) -> None:
    sms = Transport("sms")
    await room_with(kit, sms)

    async def parse(*_: object) -> None:
        raise TimeoutError("gateway")

    sms.parse = parse
    with pytest.raises(TimeoutError, match="gateway"):
        await kit.process_inbound(message("sms"), room_id=ROOM)


async def test_R205_a_slow_commit_is_not_timed_out() -> None:
    store = Slow()
    async with RoomKit(store=store, process_timeout=0.02, shutdown_timeout=0) as kit:
        await room_with(kit, Transport("sms"))
        store.gate, store.at = asyncio.Event(), "commit"
        call = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
        await store.reached.wait()
        await asyncio.wait([call], timeout=0.06)
        store.gate.set()
        result = await asyncio.wait_for(call, PATIENCE)
        assert not result.blocked


async def test_R205_a_caller_who_leaves_during_the_commit_undoes_nothing() -> None:
    store = Slow()
    async with RoomKit(store=store, shutdown_timeout=0) as kit:
        other = Transport("other")
        await room_with(kit, Transport("sms"), other)
        store.gate, store.at = asyncio.Event(), "commit"
        call = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
        await store.reached.wait()
        call.cancel()
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.sleep(0)
        assert not call.done()  # the lock is held until the commit is through
        store.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        await kit.idle(ROOM)
        assert await words(kit) == [("hi", "delivered")]
        assert other.bodies == ["hi"]


async def test_R205_a_commit_that_fails_after_its_caller_left_frees_the_lock() -> None:
    class Broken(Slow):
        async def commit_event(
            self, event: RoomEvent, *, at: datetime, target: RoomEvent | None = None
        ) -> RoomEvent:
            await self._pause("commit")
            if self.gate is not None:
                raise OSError("disk full")
            return await super().commit_event(event, at=at, target=target)

    store = Broken()
    async with RoomKit(store=store, shutdown_timeout=0) as kit:
        await room_with(kit, Transport("sms"))
        store.gate, store.at = asyncio.Event(), "commit"
        call = asyncio.create_task(kit.process_inbound(message("sms"), room_id=ROOM))
        await store.reached.wait()
        call.cancel()
        store.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        with pytest.raises(OSError, match="disk full"):
            await kit.process_inbound(message("sms"), room_id=ROOM)
        store.gate = None
        assert not (await kit.process_inbound(message("sms"), room_id=ROOM)).blocked


async def test_a_room_whose_lane_is_full_refuses(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Transport("other")
    other.hold = asyncio.Event()
    await room_with(kit, Transport("sms"), other)
    await kit.idle(ROOM)
    monkeypatch.setattr("salon.core.timeline.MAX_WAITING", 1)
    await kit.process_inbound(message("sms"), room_id=ROOM, detached=True)
    result = await kit.process_inbound(message("sms"), room_id=ROOM)
    assert result.reason == "room_busy"
    with pytest.raises(RoomKitError, match="room_busy"):
        await kit.send_event(ROOM, "sms", text("hi"))
    other.hold.set()


async def test_R127_detached_returns_at_the_commit(kit: RoomKit) -> None:
    other = Transport("other")
    other.hold = asyncio.Event()
    await room_with(kit, Transport("sms"), other)
    result = await kit.process_inbound(message("sms"), room_id=ROOM, detached=True)
    assert (result.blocked, other.got, result.delivery_results) == (False, [], {})
    other.hold.set()
    await kit.idle(ROOM)
    assert other.bodies == ["hi"]


async def test_R182_two_messages_for_a_new_room_make_one(kit: RoomKit) -> None:
    kit.register_channel(Transport("sms"))
    kit.register_channel(Agent("bot"))

    async def greet(event: RoomEvent, context: RoomContext) -> None:
        await asyncio.sleep(0)
        await kit.attach_channel(context.room.id, "bot")

    kit.add_hook(HookTrigger.ON_ROOM_CREATED, greet)
    heard = listen(kit, "room_created")
    results = await asyncio.gather(
        *(kit.process_inbound(message("sms", str(n)), room_id="new") for n in range(3))
    )
    assert len(heard) == 1
    assert not any(result.blocked for result in results)
    assert len(await words(kit, "new")) == 6


async def test_R202_a_lock_is_free_again_after_a_cancelled_wait(kit: RoomKit) -> None:
    async with kit.locks.locked(ROOM):
        assert kit.locks.held(ROOM)
        assert not kit.locks.held("other")
        async with kit.locks.locked(ROOM):
            pass

        async def wait() -> None:
            async with kit.locks.locked(ROOM):
                raise AssertionError("never")

        waiting = asyncio.get_running_loop().create_task(wait(), context=Context())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert not kit.locks.held(ROOM)
    async with kit.locks.locked(ROOM):
        pass
