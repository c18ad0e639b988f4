"""What a crash left undelivered is delivered after it (R207), behind the mark (R138, R139)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from salon.core import recovery
from salon.core.kit import RoomKit
from salon.core.memory.store import InMemoryStore
from salon.models import HookResult, HookTrigger, InjectedEvent, RoomContext, RoomEvent

from .helpers import ROOM, Agent, Transport, message, room_with


class Shared(InMemoryStore):
    """A store that outlives the framework, like a file; it counts how marks are written."""

    is_process_local = False

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[dict[str, int]] = []
        self.down = False

    async def advance_delivered_indexes(self, marks: Mapping[str, int]) -> None:
        if self.down:
            raise OSError("gone")
        self.batches.append(dict(marks))
        await super().advance_delivered_indexes(marks)


@pytest.fixture
def store() -> Shared:
    return Shared()


async def crash(kit: RoomKit) -> None:
    """What a kill does: nothing is closed in order."""
    for lanes in (kit._parts.delivery.agents, kit._parts.delivery.rooms):
        await lanes.close(0)


async def delivered(store: Shared) -> int:
    return await store.get_delivered_index(ROOM)


async def test_R207_pending_deliveries_are_resumed_in_order(store: Shared) -> None:
    stuck = Transport("web")
    stuck.hold = asyncio.Event()
    first = RoomKit(store, shutdown_timeout=0)
    await first.open()
    await room_with(first, Transport("sms"), stuck)
    await first.idle(ROOM)
    for body in ("one", "two", "three"):
        await first.process_inbound(message("sms", body), room_id=ROOM, detached=True)
    await crash(first)
    await first._parts.marks.flush()
    async with RoomKit(store, shutdown_timeout=0) as kit:
        web = Transport("web")
        for channel in (Transport("sms"), web):
            kit.register_channel(channel)
        assert await kit.resume_deliveries() == 3
        await kit.idle(ROOM)
        assert web.bodies == ["one", "two", "three"]
        assert await kit.resume_deliveries() == 0  # nothing is planned twice
    room = await store.get_room(ROOM)
    assert room is not None
    assert await delivered(store) == room.latest_index
    assert await store.find_undelivered_rooms() == []


class Line(Transport):
    """A telephone that somebody is on, or nobody."""

    taken = False

    def reaches(self, room_id: str) -> bool:
        return self.taken


@pytest.mark.parametrize("taken", [False, True])
async def test_R207_a_line_that_nobody_is_on_settles_no_question(
    store: Shared, taken: bool
) -> None:
    class Silent(Agent):
        async def on_event(self, event, binding, context):  # type: ignore[no-untyped-def]
            await asyncio.Event().wait()

    first = RoomKit(store, shutdown_timeout=0)
    await first.open()
    line = Line("voice")
    line.taken = taken
    await room_with(first, Transport("sms"), line, Silent("bot"))
    await first.process_inbound(message("sms", "one"), room_id=ROOM, detached=True)
    await asyncio.sleep(1)
    await crash(first)
    await first._parts.marks.flush()
    async with RoomKit(store, shutdown_timeout=0) as kit:
        bot = Agent("bot")
        for channel in (Transport("sms"), Line("voice"), bot):
            kit.register_channel(channel)
        await kit.resume_deliveries()
        await kit.idle(ROOM)
        assert [event.text for event in bot.asked] == ([] if taken else ["one"])


async def test_R207_an_unanswered_question_is_asked_again_an_answered_one_not(
    store: Shared,
) -> None:
    hold = asyncio.Event()

    class Slow(Agent):
        async def on_event(self, event, binding, context):  # type: ignore[no-untyped-def]
            if event.text == "two":
                await hold.wait()
            return await super().on_event(event, binding, context)

    first = RoomKit(store, shutdown_timeout=0)
    await first.open()
    await room_with(first, Transport("sms"), Slow("bot"))
    await first.process_inbound(message("sms", "one"), room_id=ROOM)
    await first.process_inbound(message("sms", "two"), room_id=ROOM, detached=True)
    await asyncio.sleep(1)
    await crash(first)
    await first._parts.marks.flush()
    async with RoomKit(store, shutdown_timeout=0) as kit:
        bot = Agent("bot")
        for channel in (Transport("sms"), bot):
            kit.register_channel(channel)
        await kit.resume_deliveries()
        await kit.idle(ROOM)
        assert [event.text for event in bot.asked] == ["two"]


async def test_R207_what_hooks_injected_reaches_those_they_named(store: Shared) -> None:
    advisor, web = Transport("advisor"), Transport("web")
    advisor.hold = asyncio.Event()

    async def guard(event: RoomEvent, context: RoomContext) -> HookResult:
        added = event.model_copy(update={"id": "added"})
        return HookResult.block("no", injected=(InjectedEvent(added, ("advisor",)),))

    first = RoomKit(store, shutdown_timeout=0)
    await first.open()
    await room_with(first, Transport("sms"), advisor, web)
    first.add_hook(HookTrigger.BEFORE_BROADCAST, guard)
    await first.process_inbound(message("sms", "secret"), room_id=ROOM, detached=True)
    await crash(first)
    await first._parts.marks.flush()
    async with RoomKit(store, shutdown_timeout=0) as kit:
        advisor, web = Transport("advisor"), Transport("web")
        for channel in (Transport("sms"), advisor, web):
            kit.register_channel(channel)
        await kit.resume_deliveries()
        await kit.idle(ROOM)
        assert (advisor.bodies, web.bodies) == (["secret"], [])


async def test_R139_marks_of_many_events_are_written_together(store: Shared) -> None:
    async with RoomKit(store, shutdown_timeout=0) as kit:
        await room_with(kit, Transport("sms"), Transport("web"))
        for _ in range(20):
            await kit.process_inbound(message("sms"), room_id=ROOM)
        await asyncio.sleep(1)
        assert len(store.batches) < 5
        room = await store.get_room(ROOM)
        assert room is not None
        assert await delivered(store) == room.latest_index


async def test_a_store_that_takes_no_marks_stops_nothing(store: Shared) -> None:
    async with RoomKit(store, shutdown_timeout=0) as kit:
        web = Transport("web")
        await room_with(kit, Transport("sms"), web)
        await asyncio.sleep(1)
        store.down = True
        await kit.process_inbound(message("sms", "one"), room_id=ROOM)
        await asyncio.sleep(1)
        store.down = False
        await kit.process_inbound(message("sms", "two"), room_id=ROOM)
    assert web.bodies == ["one", "two"]
    room = await store.get_room(ROOM)
    assert room is not None
    assert await delivered(store) == room.latest_index


async def test_R139_a_mark_never_passes_what_is_still_on_its_way(store: Shared) -> None:
    async with RoomKit(store, shutdown_timeout=0) as kit:
        web, bot = Transport("web"), Agent("bot")
        await room_with(kit, Transport("sms"), web, bot)
        web.hold = asyncio.Event()
        await asyncio.sleep(1)
        before = await delivered(store)
        await kit.process_inbound(message("sms"), room_id=ROOM, detached=True)
        await asyncio.sleep(1)
        assert await delivered(store) == before
        web.hold.set()
        await kit.idle(ROOM)
        await asyncio.sleep(1)
        assert await delivered(store) > before


async def test_resuming_passes_over_rooms_that_are_gone(store: Shared) -> None:
    async with RoomKit(store, shutdown_timeout=0) as kit:
        assert await kit._parts.recovery._resume_room("nowhere") == 0


async def test_R139_a_message_before_the_resuming_takes_nothing_away(store: Shared) -> None:
    stuck = Transport("web")
    stuck.hold = asyncio.Event()
    first = RoomKit(store, shutdown_timeout=0)
    await first.open()
    await room_with(first, Transport("sms"), stuck)
    for body in ("one", "two"):
        await first.process_inbound(message("sms", body), room_id=ROOM, detached=True)
    await crash(first)
    await first._parts.marks.flush()
    async with RoomKit(store, shutdown_timeout=0) as kit:
        web = Transport("web")
        for channel in (Transport("sms"), web):
            kit.register_channel(channel)
        await kit.process_inbound(message("sms", "early"), room_id=ROOM)
        await asyncio.sleep(1)
        assert await store.find_undelivered_rooms() == [ROOM]
        assert await kit.resume_deliveries() == 2
        await kit.process_inbound(message("sms", "late"), room_id=ROOM)
        await kit.idle(ROOM)
        assert web.bodies == ["early", "one", "two", "late"]
        assert await kit.resume_deliveries() == 0
    assert await store.find_undelivered_rooms() == []


async def test_R207_an_answer_on_a_later_page_counts(
    store: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "EVENTS", 2)
    store.down = True
    first = RoomKit(store, shutdown_timeout=0)
    await first.open()
    await room_with(first, Transport("sms"), Agent("bot"))
    for body in ("one", "two", "three"):
        await first.process_inbound(message("sms", body), room_id=ROOM)
    await crash(first)
    store.down = False
    async with RoomKit(store, shutdown_timeout=0) as kit:
        bot = Agent("bot")
        for channel in (Transport("sms"), bot):
            kit.register_channel(channel)
        assert await kit.resume_deliveries() > 0
        await kit.idle(ROOM)
        assert bot.asked == []
