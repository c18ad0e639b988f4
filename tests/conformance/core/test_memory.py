"""What an agent remembers (chapter 24; R235-R237)."""

from __future__ import annotations

import pytest
from tests.conformance.core.stage import ROOM, RecordingTransport, Stage, silent

from salon.channels.ai import AIChannel
from salon.core.memory.window import SlidingWindowMemory
from salon.core.ports.ai import AIMessage
from salon.core.ports.memory import MemoryProvider, MemoryResult
from salon.models import RoomContext, RoomEvent
from salon.providers.mock import MockAIProvider


class Scripted(MemoryProvider):
    """Gives the messages it has, then what the context holds."""

    def __init__(self, *messages: AIMessage) -> None:
        self.messages = list(messages)
        self.contexts: list[RoomContext] = []
        self.events: list[RoomEvent] = []
        self.closed = False

    async def retrieve(
        self,
        room_id: str,
        current_event: RoomEvent,
        context: RoomContext,
        *,
        channel_id: str | None = None,
    ) -> MemoryResult:
        assert (room_id, channel_id) == (ROOM, "ai")
        self.contexts.append(context)
        self.events.append(current_event)
        return MemoryResult(messages=self.messages, events=list(context.recent_events))

    async def close(self) -> None:
        self.closed = True


def told(provider: MockAIProvider) -> list[tuple[str, str]]:
    return [(item.role, item.text) for item in provider.contexts[-1].messages]


async def test_R235_messages_come_first_then_events(stage: Stage) -> None:
    provider = MockAIProvider(["one", "two"])
    memory = Scripted(AIMessage("user", "long ago"), AIMessage("assistant", "indeed"))
    await stage.room(RecordingTransport("sms"), AIChannel("ai", provider, memory=memory))
    await stage.inbound("sms", "first")
    await stage.inbound("sms", "second")
    await stage.settle()
    assert told(provider) == [
        ("user", "long ago"),
        ("assistant", "indeed"),
        ("user", "first"),
        ("assistant", "one"),
        ("user", "second"),
    ]
    assert [event.text for event in memory.events] == ["first", "second"]


async def test_R235_closing_the_framework_closes_the_memory(stage: Stage) -> None:
    memory = Scripted()
    await stage.room(AIChannel("ai", MockAIProvider(), memory=memory))
    await stage.kit.close()
    assert memory.closed


@pytest.mark.parametrize("hidden", ["none", "sms", "transport", "other"])
async def test_R236_the_context_is_the_channels_own_view(stage: Stage, hidden: str) -> None:
    memory = Scripted()
    provider = MockAIProvider(["one"])
    agent = AIChannel("ai", provider, memory=memory)
    await stage.room(RecordingTransport("sms"), silent("other"), agent)
    await stage.inbound("sms", "for others", visibility=hidden, addressed_to=[])
    await stage.inbound("sms", "for all")
    await stage.settle()
    (context,) = memory.contexts
    assert [event.text for event in context.recent_events] == ["for all"]
    assert told(provider) == [("user", "for all")]


async def test_R236_refused_events_are_not_in_the_view(stage: Stage) -> None:
    memory = Scripted()
    agent = AIChannel("ai", MockAIProvider(["one"]), memory=memory)
    await stage.room(RecordingTransport("sms"), RecordingTransport("web"), agent)
    await stage.kit.mute(ROOM, "web")
    await stage.inbound("web", "muted")
    await stage.inbound("sms", "heard")
    await stage.settle()
    assert [event.text for event in memory.contexts[0].recent_events] == ["heard"]


async def test_R237_the_window_leaves_out_the_current_event(stage: Stage) -> None:
    provider = MockAIProvider(["one"])
    await stage.room(RecordingTransport("sms"), AIChannel("ai", provider))
    await stage.inbound("sms", "once")
    await stage.settle()
    assert told(provider) == [("user", "once")]


@pytest.mark.parametrize("size", [0, 1, 3])
async def test_R237_the_window_has_the_newest(stage: Stage, size: int) -> None:
    provider = MockAIProvider(["ok"] * 5)
    agent = AIChannel("ai", provider, memory=SlidingWindowMemory(size))
    await stage.room(RecordingTransport("sms"), agent)
    for number in range(4):
        await stage.inbound("sms", str(number))
    await stage.settle()
    whole = ["0", "ok", "1", "ok", "2", "ok"]
    assert [text for _, text in told(provider)] == [*whole[len(whole) - size :], "3"]


async def test_R237_fifty_is_the_default(stage: Stage) -> None:
    provider = MockAIProvider(["ok"])
    await stage.room(RecordingTransport("sms"), AIChannel("ai", provider))
    for number in range(60):
        await stage.inbound("sms", str(number), addressed_to=[])
    await stage.inbound("sms", "now")
    await stage.settle()
    assert [text for _, text in told(provider)] == [*(str(n) for n in range(10, 60)), "now"]
