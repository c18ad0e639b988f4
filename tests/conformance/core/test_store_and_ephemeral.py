"""What a host sees of the store, of read marks and of ephemeral events (chapters 20 to 22)."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, bodies, silent

from salon.core import RoomNotFoundError
from salon.core.ports.realtime import EphemeralEvent, EphemeralEventType
from salon.models import DeliveryStatus, EventType, HookTrigger
from salon.models.filters import EventFilter


async def talk(stage: Stage, count: int = 10) -> None:
    await stage.room(RecordingTransport("sms"), RecordingTransport("web"))
    for number in range(count):
        await stage.inbound("sms" if number % 2 else "web", str(number))


async def test_R210_pages_and_cursors(stage: Stage) -> None:
    await talk(stage)
    store = stage.kit.store
    only = EventFilter(event_types=[EventType.MESSAGE])

    async def page(**options: object) -> list[str | None]:
        return bodies(await store.list_events(ROOM, event_filter=only, **options))  # type: ignore[arg-type]

    assert await page(limit=3) == ["0", "1", "2"]
    assert await page(offset=3, limit=2) == ["3", "4"]
    assert await page(limit=3, newest_first=True) == ["7", "8", "9"]
    seventh = (await store.list_events(ROOM, event_filter=only))[6].index
    assert await page(limit=2, after_index=seventh) == ["7", "8"]
    assert await page(limit=2, before_index=seventh) == ["4", "5"]
    with pytest.raises(ValueError, match="index"):
        await page(after_index=1, before_index=2)


async def test_R210_filters(stage: Stage) -> None:
    await talk(stage, 4)
    store = stage.kit.store
    web = EventFilter(source_channel_id="web")
    assert bodies(await store.list_events(ROOM, event_filter=web)) == ["0", "2"]
    none = EventFilter(event_types=[EventType.MESSAGE], exclude_types=[EventType.MESSAGE])
    assert await store.list_events(ROOM, event_filter=none) == []
    ann = EventFilter(participant_id="ann")
    assert len(await store.list_events(ROOM, event_filter=ann)) == 4


async def test_R210_refused_events_are_read_only_when_asked_for(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    stage.block("no")
    event = (await stage.inbound("sms", "refused")).event
    assert event is not None
    assert "refused" not in bodies(await stage.kit.get_timeline(ROOM))
    assert "refused" in bodies(await stage.kit.get_timeline(ROOM, include_blocked=True))
    assert await stage.kit.store.get_event(event.id) is not None


async def test_R208_R211_a_deleted_room_takes_everything_along(stage: Stage) -> None:
    agent = silent("ai")
    agent.tasks, agent.observations = ["task"], ["seen"]
    await stage.room(RecordingTransport("sms"), agent)
    event = (await stage.inbound("sms", idempotency_key="k")).event
    await stage.settle()
    assert event is not None
    await stage.kit.mark_read(ROOM, "sms", event.id)
    await stage.kit.delete_room(ROOM)
    store = stage.kit.store
    with pytest.raises(RoomNotFoundError):
        await stage.kit.get_room(ROOM)
    await stage.kit.create_room(ROOM)
    left = (
        await stage.timeline(),
        await store.list_bindings(ROOM),
        await store.list_participants(ROOM),
        await stage.tasks(),
        await stage.observations(),
    )
    assert left == ([], [], [], [], [])
    assert await store.list_read_markers(ROOM) == {}
    assert await store.get_event_by_idempotency_key(ROOM, "k") is None


async def test_R212_a_stale_room_rewinds_nothing(stage: Stage) -> None:
    await stage.room(RecordingTransport("sms"))
    stale = await stage.read()
    await stage.inbound("sms")
    await stage.kit.update_room_metadata(ROOM, {"a": 1})
    await stage.settle()
    fresh = await stage.read()
    await stage.kit.store.update_room(stale)
    after = await stage.read()
    for name in ("event_count", "latest_index", "delivered_index", "metadata"):
        assert getattr(after, name) == getattr(fresh, name), name


async def test_R212_metadata_is_patched_key_by_key(stage: Stage) -> None:
    await stage.room(metadata={"kept": 1, "gone": 2})
    await asyncio.gather(
        *(stage.kit.update_room_metadata(ROOM, {f"k{n}": n}) for n in range(5)),
        stage.kit.store.patch_room_metadata(ROOM, {}, unset=["gone"]),
    )
    assert (await stage.read()).metadata == {"kept": 1, **{f"k{n}": n for n in range(5)}}


async def test_R214_R215_read_marks_count_what_is_unread(stage: Stage) -> None:
    await talk(stage, 3)
    kit = stage.kit
    events = await stage.timeline()
    assert await kit.get_unread_count(ROOM, "web") == len(events)
    await kit.mark_read(ROOM, "web", events[-2].id)
    await kit.mark_read(ROOM, "web", events[0].id)
    assert await kit.get_unread_count(ROOM, "web") == 1
    assert await kit.list_read_markers(ROOM) == {"web": events[-2].index}
    await kit.publish_read_receipt(ROOM, "ann", events[-1].id)
    assert await kit.get_unread_count(ROOM, "web") == 1
    await kit.mark_all_read(ROOM, "web")
    assert await kit.get_unread_count(ROOM, "web") == 0
    assert await stage.timeline() == events


async def test_R213_a_status_report_fires_its_hook_and_changes_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    heard = stage.hear(HookTrigger.ON_DELIVERY_STATUS)
    await talk(stage, 1)
    before = await stage.timeline()
    status = DeliveryStatus(
        provider="carrier", message_id="m", status="delivered", recipient="r", sender="s"
    )
    await stage.kit.process_delivery_status(status.model_copy(update={"room_id": ROOM}))
    await stage.kit.process_delivery_status(status.model_copy(update={"channel_id": "sms"}))
    await stage.settle()
    assert len(heard) == 2
    with caplog.at_level(logging.WARNING, logger="salon"):
        await stage.kit.process_delivery_status(status)
    await stage.settle()
    assert len(heard) == 2
    assert caplog.records
    assert await stage.timeline() == before


async def test_R219_R220_R221_ephemeral_events_reach_subscribers_and_leave_no_trace(
    stage: Stage,
) -> None:
    got: list[EphemeralEvent] = []

    async def note(event: EphemeralEvent) -> None:
        got.append(event)

    await talk(stage, 1)
    hooked = stage.hear(HookTrigger.BEFORE_BROADCAST)
    before = (await stage.timeline(), await stage.read())
    name = await stage.kit.subscribe_room(ROOM, note)
    await stage.kit.publish_typing(ROOM, "ann")
    await stage.kit.publish_typing(ROOM, "ann", False)
    for status in ("online", "away", "offline", "dancing"):
        await stage.kit.publish_presence(ROOM, "ann", status)
    await stage.kit.publish_reaction(ROOM, "ann", "event", "+1")
    await stage.settle()
    assert [event.type for event in got] == [
        EphemeralEventType.TYPING_START,
        EphemeralEventType.TYPING_STOP,
        EphemeralEventType.PRESENCE_ONLINE,
        EphemeralEventType.PRESENCE_AWAY,
        EphemeralEventType.PRESENCE_OFFLINE,
        EphemeralEventType.CUSTOM,
        EphemeralEventType.REACTION,
    ]
    assert got[5].data["status"] == "dancing"
    assert got[6].data == {"target_event_id": "event", "emoji": "+1", "action": "add"}
    assert (await stage.timeline(), await stage.read()) == before
    assert hooked == []
    assert await stage.kit.unsubscribe_room(name) is True
    assert await stage.kit.unsubscribe_room(name) is False


async def test_R222_a_slow_or_failing_subscriber_harms_nobody(stage: Stage) -> None:
    got: list[str] = []
    slow: list[str] = []

    async def note(event: EphemeralEvent) -> None:
        got.append(event.user_id)

    async def failing(event: EphemeralEvent) -> None:
        raise RuntimeError("broken")

    async def dawdling(event: EphemeralEvent) -> None:
        await asyncio.sleep(1)
        slow.append(event.user_id)

    await stage.room()
    for callback in (failing, dawdling, note):
        await stage.kit.subscribe_room(ROOM, callback)
    for number in range(150):
        await stage.kit.publish_typing(ROOM, f"p{number}")
        await asyncio.sleep(0)
    await stage.settle(0.5)
    assert got == [f"p{number}" for number in range(150)]
    await stage.settle(300)
    assert 100 <= len(slow) <= 102
    assert slow[-1] == "p149"
