"""The calls of an agent's tools, and who decides about them (R61, R62, R168, AMB-5)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from salon.base import ConfigurationError, SalonError
from salon.channels.ai import AIChannel
from salon.core.kit import RoomKit
from salon.core.ports.ai import (
    AIContext,
    AIImagePart,
    AIProvider,
    AIResponse,
    AITextPart,
    AITool,
    AIToolCall,
    AIToolResult,
)
from salon.core.ports.realtime import EphemeralEvent, EphemeralEventType
from salon.models import HookExecution, HookResult, HookTrigger, RoomContext
from salon.models.ai import AIGenerationEvent, ToolCallEvent
from salon.providers.agent import agent
from salon.providers.mock import MockAIProvider
from salon.providers.tools import ToolBox, tool
from salon.providers.turn import AgentRoom, Turn

from .rooms import ROOM, Phone, bodies, furnish, say

ASYNC = HookExecution.ASYNC
WEATHER = AITool("weather", "Tells the weather.", {"type": "object", "properties": {}})


def call(name: str = "weather", **arguments: Any) -> AIToolCall:
    return AIToolCall("c1", name, arguments)


def model(*calls: AIToolCall) -> MockAIProvider:
    return MockAIProvider([list(calls or (call(),)), "done"])


def result_of(provider: MockAIProvider) -> AIToolResult:
    """What the model was told of its first call."""
    return provider.contexts[1].messages[-1].tool_results[0]


LOOP: list[Any] = []
LOOP.append(LOOP)


class Handler:
    """Serves declared tools."""

    def __init__(self, result: Any = "sunny") -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.result = result

    async def __call__(self, name: str, arguments: dict[str, Any]) -> Any:
        self.calls.append((name, arguments))
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


async def run(
    kit: RoomKit, provider: MockAIProvider, handler: Handler | None = None, **options: Any
) -> AIToolResult:
    options.setdefault("tools", [WEATHER])
    await furnish(kit, Phone(), AIChannel(provider=provider, tool_handler=handler, **options))
    await say(kit)
    await kit.idle(ROOM)
    return result_of(provider)


def observe(kit: RoomKit) -> list[ToolCallEvent]:
    seen: list[ToolCallEvent] = []

    async def note(event: ToolCallEvent, context: RoomContext) -> None:
        seen.append(event)

    kit.add_hook(HookTrigger.ON_TOOL_CALL, note, execution=ASYNC)
    return seen


# -- who runs it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("sunny", "sunny"),
        ({"sky": "clear"}, '{"sky":"clear"}'),
        (["a", 1], '["a",1]'),
        ([AITextPart("a"), AIImagePart("https://a/b")], "a\n[image]"),
        (LOOP, "[[...]]"),
    ],
)
async def test_R62_a_declared_tool_is_run_by_the_handler(
    kit: RoomKit, given: Any, read: str
) -> None:
    handler = Handler(given)
    provider = model(call(at="Rome"))
    assert await run(kit, provider, handler) == AIToolResult("c1", read)
    assert handler.calls == [("weather", {"at": "Rome"})]
    assert provider.contexts[0].tools == [WEATHER]
    assert await bodies(kit) == ["hi", "done"]


async def test_R61_a_room_has_tools_of_its_own(kit: RoomKit) -> None:
    plain = {"name": "order", "description": "Orders.", "parameters": {"type": "object"}}
    handler, provider = Handler("ok"), MockAIProvider([[call("order")], "done", "other"])
    agent = AIChannel(provider=provider, tools=[WEATHER], tool_handler=handler)
    await furnish(kit, Phone(), agent)
    other = AITool("weather", "Another.")
    await kit.attach_channel(ROOM, "agent", metadata={"tools": [plain, other]})
    await say(kit)
    assert provider.contexts[0].tools == [
        other,
        AITool("order", "Orders.", {"type": "object"}),
    ]
    assert handler.calls == [("order", {})]


async def test_R62_tools_come_as_functions_declarations_and_objects(kit: RoomKit) -> None:
    @tool
    def double(n: int) -> int:
        """Double."""
        return 2 * n

    def half(n: int) -> float:
        """Half."""
        return n / 2

    class Served:
        @property
        def definition(self) -> dict[str, Any]:
            return {"name": "served", "description": "Serves.", "parameters": {}}

        async def handler(self, name: str, arguments: dict[str, Any]) -> str:
            return f"{name} {arguments}"

    calls = (call("double", n=2), call("half", n=2), call("served", x=1), call("weather"))
    provider = model(*calls)
    await run(kit, provider, Handler(), tools=[double, half, Served(), WEATHER])
    results = provider.contexts[1].messages[-1].tool_results
    assert [item.content for item in results] == ["4", "1.0", "served {'x': 1}", "sunny"]


@pytest.mark.parametrize("given", [{"description": "x"}, {"name": 1}])
def test_a_declaration_without_a_name_is_told(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="a tool is declared by name"):
        AIChannel(provider=MockAIProvider(), tools=[given])


async def test_a_tool_that_nobody_runs_is_an_error_to_the_model(kit: RoomKit) -> None:
    result = await run(kit, model())
    assert (result.is_error, result.content) == (True, "weather failed: nobody runs this tool")


async def test_a_tool_that_was_not_offered_does_not_run(kit: RoomKit) -> None:
    handler = Handler()
    seen = observe(kit)
    result = await run(kit, model(call("rm")), handler)
    assert result.content == "there is no tool 'rm'; there are: weather"
    assert (handler.calls, seen[0].refused, seen[0].is_error) == ([], True, True)


async def test_a_handler_that_fails_or_hangs_is_an_error_to_the_model(kit: RoomKit) -> None:
    result = await run(kit, model(), Handler(KeyError("x")))
    assert (result.is_error, result.content) == (True, "weather failed: KeyError: 'x'")


async def test_a_handler_that_hangs_is_given_up(kit: RoomKit) -> None:
    async def hangs(name: str, arguments: dict[str, Any]) -> str:
        await asyncio.Event().wait()
        return "never"

    provider = model()
    agent = AIChannel(
        provider=provider, tools=[WEATHER], tool_handler=hangs, tool_timeout_seconds=5
    )
    await furnish(kit, Phone(), agent)
    await say(kit)
    assert result_of(provider).content == "weather did not finish within 5 s"


async def test_R61_a_result_that_is_too_long_is_cut_and_says_so(kit: RoomKit) -> None:
    result = await run(kit, model(), Handler("x" * 1000), evict_threshold_tokens=10)
    assert result.content == f"{'x' * 40}\n[cut: 1000 characters in all]"


async def test_R61_the_bound_holds_for_functions_and_boxes_too(kit: RoomKit) -> None:
    def long() -> str:
        """Long."""
        return "y" * 30_000

    provider = model(call("long"))
    result = await run(kit, provider, tools=[long], evict_threshold_tokens=7000)
    assert result.content == f"{'y' * 28_000}\n[cut: 30000 characters in all]"
    agent = AIChannel("b", provider=(other := model(call("long"))), tools=ToolBox([long]))
    await furnish(kit, agent)
    await say(kit, addressed_to=["b"])
    assert result_of(other).content.startswith("y" * 20_000 + "\n[cut: 30000")


# -- BEFORE_TOOL_USE -------------------------------------------------------------------------------


async def test_R168_a_hook_may_rewrite_the_arguments(kit: RoomKit) -> None:
    async def safer(event: ToolCallEvent, context: RoomContext) -> HookResult:
        assert (event.name, event.tool_call_id, event.room_id) == ("weather", "c1", ROOM)
        assert (event.channel_id, event.result) == ("agent", None)
        return HookResult.modify(replace(event, arguments={"at": "home"}))

    kit.add_hook(HookTrigger.BEFORE_TOOL_USE, safer)
    handler = Handler()
    assert not (await run(kit, model(call(at="Rome")), handler)).is_error
    assert handler.calls == [("weather", {"at": "home"})]


async def test_R168_rewritten_arguments_reach_functions_too(kit: RoomKit) -> None:
    async def more(event: ToolCallEvent, context: RoomContext) -> HookResult:
        return HookResult.modify(replace(event, arguments={"n": 21}))

    def double(n: int) -> int:
        """Double."""
        return 2 * n

    kit.add_hook(HookTrigger.BEFORE_TOOL_USE, more)
    assert (await run(kit, model(call("double", n=1)), tools=[double])).content == "42"


async def denies(event: ToolCallEvent, context: RoomContext) -> HookResult:
    return HookResult.block("ask a human")


async def breaks(event: ToolCallEvent, context: RoomContext) -> HookResult:
    raise ValueError("secret")


async def forgets(event: ToolCallEvent, context: RoomContext) -> None:
    return None


async def mangles(event: ToolCallEvent, context: RoomContext) -> HookResult:
    return HookResult.modify(replace(event, arguments=["rm"]))  # type: ignore[arg-type]


@pytest.mark.parametrize("hook", [denies, breaks, forgets, mangles])
async def test_R168_a_call_that_nobody_allowed_does_not_run(kit: RoomKit, hook: Any) -> None:
    kit.add_hook(HookTrigger.BEFORE_TOOL_USE, hook)
    handler = Handler()
    seen = observe(kit)
    result = await run(kit, model(), handler)
    assert (result.is_error, handler.calls) == (True, [])
    assert result.content.startswith("weather is not allowed")
    assert "secret" not in result.content
    assert [(event.refused, event.is_error) for event in seen] == [(True, True)]
    assert seen[0].result == result.content
    assert await bodies(kit) == ["hi", "done"]


async def test_R168_a_call_whose_hooks_cannot_be_asked_does_not_run(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = kit.run_hooks

    async def fails(trigger: HookTrigger, room_id: str, payload: Any) -> Any:
        if trigger is HookTrigger.BEFORE_TOOL_USE:
            raise OSError("the store is away")
        return await asking(trigger, room_id, payload)

    monkeypatch.setattr(kit, "run_hooks", fails)
    handler = Handler()
    result = await run(kit, model(), handler)
    assert (handler.calls, result.content) == ([], "weather is not allowed now")


async def test_a_tool_that_a_hook_withdrew_does_not_run(kit: RoomKit) -> None:
    async def withdraw(event: AIGenerationEvent, context: RoomContext) -> HookResult:
        event.ai_context.tools.clear()
        return HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_AI_GENERATION, withdraw)
    handler = Handler()
    assert (await run(kit, model(), handler)).content.endswith("there are: none")
    assert handler.calls == []


# -- ON_TOOL_CALL ----------------------------------------------------------------------------------


async def test_AMB5_a_hook_may_replace_the_result_and_observers_see_the_final_one(
    kit: RoomKit,
) -> None:
    async def redact(event: ToolCallEvent, context: RoomContext) -> HookResult:
        assert event.result == "sunny"
        return HookResult.modify(replace(event, result={"sky": "***"}))

    kit.add_hook(HookTrigger.ON_TOOL_CALL, redact)
    seen = observe(kit)
    assert (await run(kit, model(), Handler())).content == '{"sky":"***"}'
    assert [(event.result, event.is_error) for event in seen] == [('{"sky":"***"}', False)]


async def test_AMB5_a_hook_may_serve_a_call_that_nobody_serves(kit: RoomKit) -> None:
    async def serve(event: ToolCallEvent, context: RoomContext) -> HookResult:
        assert event.result is None
        return HookResult(metadata={"result": "from the hook"})

    kit.add_hook(HookTrigger.ON_TOOL_CALL, serve)
    assert await run(kit, model()) == AIToolResult("c1", "from the hook")


async def test_AMB5_a_hook_that_blocks_makes_the_result_an_error(kit: RoomKit) -> None:
    kit.add_hook(HookTrigger.ON_TOOL_CALL, denies)
    seen = observe(kit)
    result = await run(kit, model(), Handler())
    assert (result.is_error, result.content) == (True, "weather failed: ask a human")
    assert seen[0].is_error


async def test_AMB5_a_failed_call_may_be_made_good(kit: RoomKit) -> None:
    async def mend(event: ToolCallEvent, context: RoomContext) -> HookResult:
        assert event.is_error
        assert event.error_detail == "weather failed: KeyError: 'x'"
        return HookResult.modify(replace(event, result="cached", is_error=False))

    kit.add_hook(HookTrigger.ON_TOOL_CALL, mend)
    assert await run(kit, model(), Handler(KeyError("x"))) == AIToolResult("c1", "cached")


async def test_R162_an_observer_does_not_delay_the_turn(kit: RoomKit) -> None:
    async def slow(event: ToolCallEvent, context: RoomContext) -> None:
        await asyncio.sleep(20)

    kit.add_hook(HookTrigger.ON_TOOL_CALL, slow, execution=ASYNC)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await run(kit, model(), Handler())
    assert loop.time() - began < 1


# -- shown live ------------------------------------------------------------------------------------


async def test_a_call_is_shown_live_where_the_framework_can(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[Any, ...]] = []
    took: list[int | None] = []

    async def publish(
        room_id: str, channel_id: str, calls: list[dict[str, Any]], kind: Any, **more: Any
    ) -> None:
        shown.append((room_id, channel_id, kind, calls[0]))
        took.append(more["duration_ms"])

    monkeypatch.setattr(kit, "publish_tool_call", publish, raising=False)
    await run(kit, model(call(at="Rome")), Handler())
    what = {"id": "c1", "name": "weather"}
    began, ended = EphemeralEventType.TOOL_CALL_START, EphemeralEventType.TOOL_CALL_END
    assert shown == [
        (ROOM, "agent", began, what | {"arguments": {"at": "Rome"}}),
        (ROOM, "agent", ended, what | {"result": "sunny", "is_error": False}),
    ]
    assert took[0] is None
    assert took[1] is not None


async def test_R220_a_call_is_an_ephemeral_event(kit: RoomKit) -> None:
    shown: list[EphemeralEvent] = []

    async def note(event: EphemeralEvent) -> None:
        shown.append(event)

    await furnish(kit, Phone())
    await kit.subscribe_room(ROOM, note)
    await run(kit, model(), Handler())
    assert [event.type for event in shown] == [
        EphemeralEventType.TOOL_CALL_START,
        EphemeralEventType.TOOL_CALL_END,
    ]
    assert shown[1].data["tool_calls"][0]["result"] == "sunny"
    assert await bodies(kit) == ["hi", "done"]


async def test_a_call_that_cannot_be_shown_runs_all_the_same(
    kit: RoomKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def publish(*_: Any, **__: Any) -> None:
        raise SalonError("no bus")

    monkeypatch.setattr(kit, "publish_tool_call", publish, raising=False)
    assert await run(kit, model(), Handler()) == AIToolResult("c1", "sunny")


async def test_an_agent_outside_a_framework_runs_its_tools_without_hooks(kit: RoomKit) -> None:
    await furnish(kit, Phone(), AIChannel(provider=MockAIProvider()))
    await kit.mute(ROOM, "agent")
    event = (await say(kit)).event
    context = await kit.context(ROOM)
    binding = context.binding("agent")
    assert event is not None
    assert binding is not None
    alone = AIChannel(provider=model(), tools=[WEATHER], tool_handler=Handler())
    stream = (await alone.on_event(event, binding, context)).response_stream
    assert stream is not None
    assert [text async for text in stream] == ["done"]


# -- tools that a provider runs itself -------------------------------------------------------------


async def test_R168_the_hooks_decide_about_the_tools_of_a_function_too(kit: RoomKit) -> None:
    ran: list[str] = []

    def erase() -> str:
        """Erase it all."""
        ran.append("erase")
        return "gone"

    def look() -> str:
        """Look."""
        return "x" * 100

    @agent(tools=[erase, look])
    async def helper(turn: Turn, room: AgentRoom) -> Any:
        return room.llm(turn)

    async def guard(event: ToolCallEvent, context: RoomContext) -> HookResult:
        return HookResult.block("no") if event.name == "erase" else HookResult.allow()

    kit.add_hook(HookTrigger.BEFORE_TOOL_USE, guard)
    seen = observe(kit)
    provider = model(call("erase"), call("look"))
    helper.use_language_model(provider)
    await furnish(kit, Phone(), AIChannel(provider=helper, evict_threshold_tokens=10))
    await say(kit)
    await kit.idle(ROOM)
    results = provider.contexts[1].messages[-1].tool_results
    assert [item.content for item in results] == [
        "erase is not allowed: no",
        f"{'x' * 40}\n[cut: 100 characters in all]",
    ]
    assert ran == []
    assert sorted((event.name, event.refused) for event in seen) == [
        ("erase", True),
        ("look", False),
    ]


async def test_R168_whoever_runs_tools_otherwise_is_asked_too(kit: RoomKit) -> None:
    class Runner:
        specs = (WEATHER,)

        async def run(self, call: AIToolCall) -> AIToolResult:
            return AIToolResult(call.id, "rainy")

    class Own(AIProvider):
        name = "own"

        async def generate(self, context: AIContext) -> AIResponse:
            assert context.guard is not None
            result = await context.guard(Runner()).run(call())
            return AIResponse(content=result.content)

    seen = observe(kit)
    await furnish(kit, Phone(), AIChannel(provider=Own()))
    await say(kit)
    await kit.idle(ROOM)
    assert (await bodies(kit))[1] == "rainy"
    assert [event.result for event in seen] == ["rainy"]
