"""The tool loop: generate, run the calls, feed the results back, repeat (R62)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from salon.base import SYSTEM_CLOCK, Begun, Clock
from salon.core.ports.ai import (
    AIContext,
    AIMessage,
    AIProvider,
    AIStreamPart,
    AIThinkingPart,
    AITool,
    AIToolCall,
    AIToolResult,
    ResponseMetadata,
    TextDelta,
    ThinkingDelta,
    ToolRunner,
    parts_of,
)
from salon.models import Observation, Task
from salon.providers.errors import AIProviderError

_log = logging.getLogger("salon.providers.toolloop")

Observer = Callable[[AIToolCall, AIToolResult], None]
LoopPart = TextDelta | ThinkingDelta | ResponseMetadata


@dataclass(slots=True)
class LoopReport:
    """What a loop did so far; filled while it runs.

    `rounds` counts generations, `calls` tool calls. `thinking` are the thoughts of all rounds in
    order, `provider` who was asked last. A tool that sets `end` ends the loop with its results.
    """

    rounds: int = 0
    calls: int = 0
    thinking: list[AIThinkingPart] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    provider: str = ""
    end: str | None = None


async def run_with_tools(
    provider: AIProvider,
    context: AIContext,
    toolbox: ToolRunner,
    *,
    max_rounds: int = 5,
    timeout: float | None = 300.0,
    silence: float = 60.0,
    fallback: AIProvider | None = None,
    on_result: Observer | None = None,
    report: LoopReport | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncGenerator[LoopPart, None]:
    """Stream the answer, running the tools it asks for in between.

    The calls of one generation run side by side. `on_result` is told of each, in the order the
    model asked. After `max_rounds` rounds the model must answer without tools. The box's tools
    join those of `context`; a call of one that is not in the box becomes an error result. Token
    counts under ``usage`` are added up over the rounds. `fallback` is asked in the place of a
    provider that fails before the first word of the answer, and goes on from there. An
    `AIProviderError` if the provider fails, if it says nothing for `silence` seconds, or if the
    loop is not at its last generation after `timeout`. Closing it stops the generation and the
    tools.
    """
    deadline = None if timeout is None else clock.monotonic() + timeout
    specs = toolbox.specs
    if specs:
        context = replace(context, tools=_joined(context.tools, specs))
    report = report or LoopReport()
    source = _Source(provider, fallback, silence)
    for done in range(max_rounds + 1):
        last = done == max_rounds
        if last:
            context = replace(context, tools=[])
        said = _Said()
        report.rounds += 1
        async with aclosing(source.generate(context, said, report)) as parts:
            async for part in parts:
                yield part
        if not said.calls or (last and said.texts):
            report.end = "max_rounds" if said.calls else "completed"
            return
        if last:
            raise AIProviderError(f"no answer after {max_rounds} rounds", provider="tool loop")
        if deadline is not None and clock.monotonic() >= deadline:
            raise AIProviderError(f"still calling tools after {timeout:g} s", provider="tool loop")
        report.calls += len(said.calls)
        results = await _run(toolbox, said.calls)
        if on_result is not None:
            for call, result in zip(said.calls, results, strict=True):
                on_result(call, result)
        if report.end is not None:
            return
        context = replace(context, messages=[*context.messages, *said.messages(results)])


class _Said:
    """What one generation gave, as the next one is told of it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nothing of a generation that failed counts."""
        self.texts: list[str] = []
        self.calls: list[AIToolCall] = []
        self.thinking: list[AIThinkingPart] = []
        self._block: int | None = None

    def add(self, part: AIStreamPart) -> None:
        match part:
            case TextDelta():
                self.texts.append(part.text)
            case AIToolCall():
                self.calls.append(part)
            case ThinkingDelta():
                self._think(part)

    def _think(self, part: ThinkingDelta) -> None:
        """Join it to the thought it belongs to; a signature ends one."""
        last = self.thinking[-1] if self.thinking else None
        new = last is None or last.redacted is not None or part.redacted is not None
        new = new or part.block != self._block
        if part.block is None and last is not None and last.signature is not None:
            new = True
        self._block = part.block
        if new or last is None:
            self.thinking.append(AIThinkingPart(part.thinking, part.signature, part.redacted))
        else:
            self.thinking[-1] = replace(
                last,
                thinking=last.thinking + part.thinking,
                signature=part.signature or last.signature,
            )

    def messages(self, results: Sequence[AIToolResult]) -> tuple[AIMessage, AIMessage]:
        text = "".join(self.texts)
        asked = AIMessage("assistant", text, tool_calls=self.calls, thinking=self.thinking)
        return asked, AIMessage("tool", tool_results=results)


class _Source:
    """Who generates: the provider, and from its failure on the fallback."""

    def __init__(self, provider: AIProvider, fallback: AIProvider | None, silence: float) -> None:
        self._provider = provider
        self._fallback = fallback
        self._silence = silence
        self._spoke = False

    async def generate(
        self, context: AIContext, said: _Said, report: LoopReport
    ) -> AsyncGenerator[LoopPart, None]:
        """The parts of one generation but its calls, which only `said` gets."""
        before = list(report.thinking)
        while True:
            report.provider = self._provider.name
            report.thinking = before
            try:
                async with aclosing(parts_of(self._provider, context)) as parts:
                    while (part := await _next(parts, self._silence)) is not None:
                        said.add(part)
                        if isinstance(part, TextDelta):
                            self._spoke = self._spoke or bool(part.text)
                            yield part
                        elif isinstance(part, ThinkingDelta):
                            report.thinking = [*before, *said.thinking]
                            yield part
                        elif isinstance(part, ResponseMetadata):
                            yield _merged(part, report)
                return
            except Exception as error:
                if self._spoke or self._fallback is None:
                    raise
                _log.warning(
                    "%s failed, asking %s", report.provider, self._fallback.name, exc_info=error
                )
                self._provider, self._fallback = self._fallback, None
                said.forget()


def _merged(part: ResponseMetadata, report: LoopReport) -> ResponseMetadata:
    add_facts(report.facts, part.data)
    report.tasks += part.tasks
    report.observations += part.observations
    return ResponseMetadata(dict(report.facts))


def _joined(given: Iterable[AITool], own: Sequence[AITool]) -> list[AITool]:
    names = {spec.name for spec in own}
    return [*(tool for tool in given if tool.name not in names), *own]


async def _next(parts: AsyncGenerator[AIStreamPart, None], silence: float) -> AIStreamPart | None:
    """The next part, or None at the end. Who consumes the answer may take its time between two."""
    try:
        begun = Begun(anext(parts))
        if begun.over:
            return begun.result
        scope = asyncio.timeout(silence)
    except StopAsyncIteration:
        return None
    try:
        async with scope:
            return await begun
    except StopAsyncIteration:
        return None
    except TimeoutError:
        if not scope.expired():
            raise
        raise AIProviderError(
            f"silent for {silence:g} s", provider="tool loop", retryable=True
        ) from None


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


async def _run(toolbox: ToolRunner, calls: list[AIToolCall]) -> list[AIToolResult]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(toolbox.run(c), name=f"tool {c.name}") for c in calls]
    return [task.result() for task in tasks]
