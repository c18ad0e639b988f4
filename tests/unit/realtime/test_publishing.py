"""What the facade says on behalf of people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from salon.realtime import EphemeralEvents, EphemeralEventType, InMemoryRealtime
from salon.testing import VirtualClock
from salon.testing.contracts.realtime import Inbox

Case = tuple[Callable[[EphemeralEvents], Awaitable[None]], EphemeralEventType, dict[str, Any]]

CASES: list[Case] = [
    (lambda kit: kit.publish_typing("room", "ann"), EphemeralEventType.TYPING_START, {}),
    (lambda kit: kit.publish_typing("room", "ann", False), EphemeralEventType.TYPING_STOP, {}),
    (
        lambda kit: kit.publish_typing("room", "ann", is_typing=True, data={"name": "Ann"}),
        EphemeralEventType.TYPING_START,
        {"name": "Ann"},
    ),
    (
        lambda kit: kit.publish_presence("room", "ann", "online"),
        EphemeralEventType.PRESENCE_ONLINE,
        {},
    ),
    (
        lambda kit: kit.publish_presence("room", "ann", status="away"),
        EphemeralEventType.PRESENCE_AWAY,
        {},
    ),
    (
        lambda kit: kit.publish_presence("room", "ann", "offline", {"since": 3}),
        EphemeralEventType.PRESENCE_OFFLINE,
        {"since": 3},
    ),
    (
        lambda kit: kit.publish_presence("room", "ann", "in_meeting", {"until": 3}),
        EphemeralEventType.CUSTOM,
        {"until": 3, "status": "in_meeting"},
    ),
    (
        lambda kit: kit.publish_presence("room", "ann", "in_meeting"),
        EphemeralEventType.CUSTOM,
        {"status": "in_meeting"},
    ),
    (
        lambda kit: kit.publish_read_receipt("room", "ann", event_id="e1"),
        EphemeralEventType.READ_RECEIPT,
        {"event_id": "e1"},
    ),
    (
        lambda kit: kit.publish_reaction("room", "ann", "e1", "thumbsup"),
        EphemeralEventType.REACTION,
        {"target_event_id": "e1", "emoji": "thumbsup", "action": "add"},
    ),
    (
        lambda kit: kit.publish_reaction(
            "room", "ann", target_event_id="e1", emoji="👍", action="remove"
        ),
        EphemeralEventType.REACTION,
        {"target_event_id": "e1", "emoji": "👍", "action": "remove"},
    ),
    (
        lambda kit: kit.publish("room", EphemeralEventType.THINKING_DELTA, "ann", {"text": "hm"}),
        EphemeralEventType.THINKING_DELTA,
        {"text": "hm"},
    ),
]


@pytest.fixture
async def kit() -> AsyncIterator[EphemeralEvents]:
    numbers = iter(range(100))
    events = EphemeralEvents(
        InMemoryRealtime(), clock=VirtualClock(), id_factory=lambda: f"id{next(numbers)}"
    )
    yield events
    await events.backend.close()


@pytest.mark.parametrize(("say", "kind", "data"), CASES)
async def test_R221_what_each_helper_publishes(
    kit: EphemeralEvents, say: Any, kind: EphemeralEventType, data: dict[str, Any]
) -> None:
    inbox = Inbox()
    await kit.subscribe_room("room", inbox)
    await say(kit)
    await inbox.until("id0")
    (event,) = inbox.events
    assert (event.type, event.data, event.room_id, event.user_id) == (kind, data, "room", "ann")
    assert event.channel_id is None
    assert event.timestamp.isoformat() == "2026-01-05T08:00:00+00:00"


async def test_R221_an_event_may_name_its_channel(kit: EphemeralEvents) -> None:
    inbox = Inbox()
    await kit.subscribe_room("room", inbox)
    await kit.publish_typing("room", "ann", channel_id="page")
    await kit.publish_presence("room", "ann", "away", channel_id="page")
    await kit.publish_read_receipt("room", "ann", "e1", channel_id="page")
    await kit.publish_reaction("room", "ann", "e1", "+1", channel_id="page")
    await inbox.until("id3")
    assert [event.channel_id for event in inbox.events] == ["page"] * 4


async def test_R221_data_is_the_events_own(kit: EphemeralEvents) -> None:
    inbox, data = Inbox(), {"name": "Ann"}
    await kit.subscribe_room("room", inbox)
    await kit.publish_typing("room", "ann", data=data)
    data["name"] = "Bob"
    await inbox.until("id0")
    assert inbox.events[0].data == {"name": "Ann"}


async def test_a_reaction_is_added_or_removed(kit: EphemeralEvents) -> None:
    with pytest.raises(ValueError, match="'toggle'"):
        await kit.publish_reaction("room", "ann", "e1", "+1", "toggle")  # type: ignore[arg-type]


async def test_R222_subscribing_and_unsubscribing(kit: EphemeralEvents) -> None:
    here, there = Inbox(), Inbox()
    subscription = await kit.subscribe_room("room", here)
    await kit.subscribe_room("other", there)
    assert await kit.unsubscribe_room(subscription) is True
    assert await kit.unsubscribe_room(subscription) is False
    await kit.publish_typing("room", "ann")
    await kit.publish_typing("other", "ann")
    await there.until("id1")
    assert (here.names, there.names) == ([], ["id1"])
