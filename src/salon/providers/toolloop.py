"""The tool loop: generate, run the calls, feed the results back, repeat (R62)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from salon.base import SYSTEM_CLOCK, Clock
from salon.core.ports.ai import (
    AIContext,
    AIMessage,
    AIProvider,
    AIStreamPart,
    AIToolCall,
    AIToolResult,
    ResponseMetadata,
    TextDelta,
)
from salon.providers.errors import AIProviderError
from salon.providers.tools import ToolBox

Observer = Callable[[AIToolCall, AIToolResult], None]


async def run_with_tools(
    provider: AIProvider,
    context: AIContext,
    toolbox: ToolBox,
    *,
    max_rounds: int = 5,
    timeout: float = 300.0,
    silence: float = 60.0,
    on_result: Observer | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncGenerator[TextDelta | ResponseMetadata, None]:
    """Stream the answer, running the tools it asks for in between.

    The calls of one generation run side by side. `on_result` is told of each, in the order the
    model asked. After `max_rounds` rounds the model must answer without tools. The box's tools
    join those of `context`; a call of one that is not in the box becomes an error result. Token
    counts under ``usage`` are added up over the rounds. `AIProviderError` if the provider fails,
    if it says nothing for `silence` seconds, or if the loop is not at its last generation after
    `timeout`. Closing it stops the generation and the tools.
    """
    deadline = clock.monotonic() + timeout
    names = {spec.name for spec in toolbox.specs}
    offered = (*(t for t in context.tools if t.name not in names), *toolbox.specs)
    context = replace(context, tools=offered)
    facts: dict[str, Any] = {}
    for done in range(max_rounds + 1):
        if done == max_rounds:
            context = replace(context, tools=())
        text: list[str] = []
        calls: list[AIToolCall] = []
        async with aclosing(_stream(provider, context)) as parts:
            while (part := await _next(parts, silence)) is not None:
                if isinstance(part, AIToolCall):
                    calls.append(part)
                elif isinstance(part, TextDelta):
                    text.append(part.text)
                    yield part
                else:
                    add_facts(facts, part.data)
                    yield ResponseMetadata(dict(facts))
        if not calls:
            return
        if done == max_rounds:
            if text:
                return
            raise AIProviderError(f"no answer after {max_rounds} rounds", provider="tool loop")
        if clock.monotonic() >= deadline:
            raise AIProviderError(f"still calling tools after {timeout:g} s", provider="tool loop")
        results = await _run(toolbox, calls)
        if on_result is not None:
            for call, result in zip(calls, results, strict=True):
                on_result(call, result)
        context = replace(
            context,
            messages=(
                *context.messages,
                AIMessage("assistant", "".join(text), tool_calls=tuple(calls)),
                AIMessage("tool", tool_results=tuple(results)),
            ),
        )


async def _next(parts: AsyncGenerator[AIStreamPart, None], silence: float) -> AIStreamPart | None:
    """The next part, or None at the end. Who consumes the answer may take its time between two."""
    try:
        async with asyncio.timeout(silence):
            return await anext(parts, None)
    except TimeoutError:
        raise AIProviderError(f"silent for {silence:g} s", provider="tool loop") from None


def add_facts(into: dict[str, Any], data: Mapping[str, Any]) -> None:
    """Merge `data` key by key; the counts under ``usage`` are added up."""
    for key, value in data.items():
        before = into.get(key)
        if key == "usage" and isinstance(before, Mapping) and isinstance(value, Mapping):
            into[key] = {**before, **{name: _sum(before.get(name), n) for name, n in value.items()}}
        else:
            into[key] = value


def _sum(before: object, count: object) -> object:
    if isinstance(before, int | float) and isinstance(count, int | float):
        return before + count
    return count


async def _run(toolbox: ToolBox, calls: list[AIToolCall]) -> list[AIToolResult]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(toolbox.run(c), name=f"tool {c.name}") for c in calls]
    return [task.result() for task in tasks]


def _stream(provider: AIProvider, context: AIContext) -> AsyncGenerator[AIStreamPart, None]:
    stream = provider.generate_stream(context)
    if hasattr(stream, "aclose"):
        return cast("AsyncGenerator[AIStreamPart, None]", stream)

    async def wrapped() -> AsyncGenerator[AIStreamPart, None]:
        async for part in stream:
            yield part

    return wrapped()
