"""The sliding window, and the mock (R235-R237)."""

from __future__ import annotations

import pytest

from salon.memory import MemoryProvider, MemoryResult, MockMemoryProvider, SlidingWindowMemory
from salon.models import (
    ChannelType,
    EventSource,
    Room,
    RoomContext,
    RoomEvent,
    TextContent,
)


def event(number: int) -> RoomEvent:
    return RoomEvent(
        id=f"e{number}",
        room_id="r",
        source=EventSource(channel_id="sms", channel_type=ChannelType.SMS),
        content=TextContent(body=f"line {number}"),
        index=number,
    )


EVENTS = [event(number) for number in range(10)]
CONTEXT = RoomContext(Room(id="r"), recent_events=tuple(EVENTS))


@pytest.mark.parametrize(("size", "first"), [(3, 6), (50, 0), (9, 0), (0, 9)])
async def test_R237_the_last_events_before_the_current_one(size: int, first: int) -> None:
    memory = SlidingWindowMemory(size)
    result = await memory.retrieve("r", EVENTS[-1], CONTEXT, channel_id="ai")
    assert result == MemoryResult(events=EVENTS[first:-1])
    assert memory.recent_events_window == size


async def test_R237_the_current_event_is_left_out_wherever_it_stands() -> None:
    result = await SlidingWindowMemory(3).retrieve("r", EVENTS[8], CONTEXT)
    assert [item.index for item in result.events] == [6, 7, 9]


def test_R237_the_default_is_fifty() -> None:
    assert SlidingWindowMemory().recent_events_window == 50
    with pytest.raises(ValueError, match="0 or more"):
        SlidingWindowMemory(-1)


async def test_R235_what_is_optional_does_nothing() -> None:
    memory = SlidingWindowMemory()
    await memory.ingest("r", EVENTS[0], channel_id="ai")
    await memory.clear("r")
    await memory.close()
    assert memory.name == "SlidingWindowMemory"
    assert MemoryProvider.recent_events_window.fget(memory) is None  # type: ignore[attr-defined]


async def test_the_mock_keeps_what_it_was_told() -> None:
    memory = MockMemoryProvider(events=EVENTS[:1], notes=["n"])
    result = await memory.retrieve("r", EVENTS[1], CONTEXT, channel_id="ai")
    assert (result.messages, result.events, result.notes) == ([], EVENTS[:1], ["n"])
    await memory.ingest("r", EVENTS[2])
    await memory.clear("r")
    await memory.close()
    assert (memory.ingested, memory.cleared, memory.closed) == ([("r", EVENTS[2])], ["r"], True)
    assert (memory.calls[0].room_id, memory.calls[0].channel_id) == ("r", "ai")
