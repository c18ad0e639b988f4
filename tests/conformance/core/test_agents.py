"""AI channels as agents of a room (chapters 7 and 24; R54-R62, R168, R235-R237)."""

from __future__ import annotations

from typing import Any

from tests.conformance.core.stage import ROOM, RecordingTransport, Stage

from salon.channels.ai import AIChannel
from salon.core.ports.ai import AIToolCall
from salon.core.ports.memory import MemoryProvider, MemoryResult
from salon.models import (
    ChannelCapabilities,
    ChannelMediaType,
    HookResult,
    HookTrigger,
    RoomContext,
    RoomEvent,
)
from salon.providers.mock import MockAIProvider
from salon.providers.tools import Tool, tool


def heard(provider: MockAIProvider, turn: int = -1) -> list[tuple[str, str]]:
    return [(item.role, item.text) for item in provider.contexts[turn].messages]


async def test_R57_an_agent_answers_from_its_view_of_the_history(stage: Stage) -> None:
    provider = MockAIProvider(["first", "second"])
    sms = RecordingTransport("sms")
    await stage.room(sms, AIChannel("ai", provider))
    await stage.inbound("sms", "hello")
    await stage.inbound("sms", "secret", visibility="transport")
    await stage.inbound("sms", "again")
    await stage.settle()
    assert sms.bodies == ["first", "second"]
    assert heard(provider) == [("user", "hello"), ("assistant", "first"), ("user", "again")]


async def test_R58_an_agent_does_not_answer_itself(stage: Stage) -> None:
    provider = MockAIProvider(["once", "never"])
    await stage.room(RecordingTransport("sms"), AIChannel("ai", provider))
    await stage.inbound("sms", "hello")
    await stage.send("ai", "my own words")
    await stage.settle()
    assert len(provider.contexts) == 1


async def test_R59_the_model_knows_what_the_target_can_take(stage: Stage) -> None:
    provider = MockAIProvider(["short"])
    poor = ChannelCapabilities(media_types=[ChannelMediaType.TEXT], max_length=160)
    await stage.room(RecordingTransport("sms", capabilities=poor), AIChannel("ai", provider))
    await stage.inbound("sms", "hello")
    await stage.settle()
    asked = provider.contexts[0]
    assert asked.target_capabilities is not None
    assert asked.target_capabilities.max_length == 160
    assert tuple(asked.target_media_types) == ("text",)


async def test_R61_a_room_overrides_the_settings_of_a_channel(stage: Stage) -> None:
    provider = MockAIProvider(["one", "two"])
    stage.register(RecordingTransport("sms"))
    stage.register(AIChannel("ai", provider, system_prompt="general", temperature=0.1))
    for room_id, own in (("plain", {}), ("special", {"system_prompt": "mine", "temperature": 0.9})):
        await stage.kit.create_room(room_id)
        await stage.kit.attach_channel(room_id, "sms")
        await stage.kit.attach_channel(room_id, "ai", metadata=own)
        await stage.inbound("sms", "hello", room_id=room_id)
    await stage.settle()
    plain, special = provider.contexts
    assert (str(plain.system_prompt).startswith("general"), plain.temperature) == (True, 0.1)
    assert (str(special.system_prompt).startswith("mine"), special.temperature) == (True, 0.9)


class Weather:
    """A tool that writes down what it was asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    @property
    def tools(self) -> list[Tool]:
        def look(city: str) -> str:
            """What the sky is like.

            city: where
            """
            self.calls.append(city)
            return "rain"

        return [tool(look)]


async def test_R62_the_tool_loop_feeds_results_back_until_there_is_an_answer(
    stage: Stage,
) -> None:
    provider = MockAIProvider([[AIToolCall("1", "look", {"city": "Bonn"})], "It rains."])
    sms, weather = RecordingTransport("sms"), Weather()
    await stage.room(sms, AIChannel("ai", provider, tools=weather.tools))
    await stage.inbound("sms", "weather?")
    await stage.settle()
    assert weather.calls == ["Bonn"]
    assert sms.bodies == ["It rains."]
    results = [item for message in provider.contexts[1].messages for item in message.tool_results]
    assert [item.content for item in results] == ["rain"]


async def test_R62_the_tool_loop_is_bounded(stage: Stage) -> None:
    call = [AIToolCall("1", "look", {"city": "Bonn"})]
    provider = MockAIProvider([call for _ in range(20)])
    await stage.room(
        RecordingTransport("sms"),
        AIChannel("ai", provider, tools=Weather().tools, max_tool_rounds=3),
    )
    await stage.inbound("sms", "weather?")
    await stage.settle()
    assert len(provider.contexts) <= 5


async def test_R168_a_tool_whose_hook_blocks_is_denied(stage: Stage) -> None:
    provider = MockAIProvider([[AIToolCall("1", "look", {"city": "Bonn"})], "I may not."])
    weather = Weather()

    @stage.kit.hook(HookTrigger.BEFORE_TOOL_USE)
    async def deny(call: Any, context: RoomContext) -> HookResult:
        return HookResult.block("not allowed")

    await stage.room(RecordingTransport("sms"), AIChannel("ai", provider, tools=weather.tools))
    await stage.inbound("sms", "weather?")
    await stage.settle()
    assert weather.calls == []
    results = [item for message in provider.contexts[1].messages for item in message.tool_results]
    assert [item.is_error for item in results] == [True]


async def test_R168_a_tool_whose_hook_is_broken_is_denied(stage: Stage) -> None:
    provider = MockAIProvider([[AIToolCall("1", "look", {"city": "Bonn"})], "I may not."])
    weather = Weather()

    @stage.kit.hook(HookTrigger.BEFORE_TOOL_USE)
    async def broken(call: Any, context: RoomContext) -> HookResult:
        raise RuntimeError("broken")

    await stage.room(RecordingTransport("sms"), AIChannel("ai", provider, tools=weather.tools))
    await stage.inbound("sms", "weather?")
    await stage.settle()
    assert weather.calls == []


class Notebook(MemoryProvider):
    """Remembers nothing, but writes down what it was handed."""

    def __init__(self) -> None:
        self.handed: list[tuple[str | None, list[str | None]]] = []

    async def retrieve(
        self,
        room_id: str,
        current_event: RoomEvent,
        context: RoomContext,
        *,
        channel_id: str | None = None,
    ) -> MemoryResult:
        self.handed.append((channel_id, [event.text for event in context.recent_events]))
        return MemoryResult()


async def test_R235_R236_memory_is_asked_for_each_answer_with_the_channels_own_view(
    stage: Stage,
) -> None:
    memory = Notebook()
    provider = MockAIProvider(["one", "two"])
    await stage.room(RecordingTransport("sms"), AIChannel("ai", provider, memory=memory))
    await stage.inbound("sms", "hello")
    await stage.inbound("sms", "secret", visibility="none")
    await stage.inbound("sms", "again")
    await stage.settle()
    assert [channel for channel, _ in memory.handed] == ["ai", "ai"]
    assert "secret" not in memory.handed[1][1]
    assert heard(provider) == [("user", "again")]


async def test_R237_the_default_memory_is_a_sliding_window(stage: Stage) -> None:
    provider = MockAIProvider([str(n) for n in range(8)])
    agent = AIChannel("ai", provider, max_context_events=4)
    await stage.room(RecordingTransport("sms"), agent)
    for number in range(8):
        await stage.inbound("sms", f"question {number}")
    await stage.settle()
    assert heard(provider) == [
        ("user", "question 5"),
        ("assistant", "5"),
        ("user", "question 6"),
        ("assistant", "6"),
        ("user", "question 7"),
    ]
    assert (await stage.read()).id == ROOM
