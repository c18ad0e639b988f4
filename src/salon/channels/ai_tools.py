"""The tools of one turn, and the hooks around each call (R62, R168, AMB-5)."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from salon.base import SYSTEM_CLOCK, Clock, ConfigurationError, SalonError
from salon.channels.ai_hooks import TurnHooks
from salon.core.ports.ai import (
    AIImagePart,
    AITextPart,
    AITool,
    AIToolCall,
    AIToolResult,
    ToolRunner,
)
from salon.core.ports.realtime import EphemeralEventType
from salon.core.ports.telemetry import SpanKind
from salon.core.telemetry import current_span
from salon.models import ChannelType, HookTrigger
from salon.models.ai import ToolCallEvent
from salon.providers.tools import Tool, ToolBox, shortened, text_of

_log = logging.getLogger("salon.channels.ai")

_PARTS = (AITextPart, AIImagePart)

ToolHandler = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""``(name, arguments) -> result``: runs the tools that are only declared."""


def tool_spec(given: AITool | Mapping[str, Any]) -> AITool:
    """A declared tool, also from plain data (R61). `ConfigurationError` if it names nothing."""
    if isinstance(given, AITool):
        return given
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise ConfigurationError(f"a tool is declared by name, description, parameters: {given!r}")
    return AITool(
        given["name"], str(given.get("description") or ""), dict(given.get("parameters") or {})
    )


Serve = Callable[[AIToolCall], Awaitable[AIToolResult | None]]
"""Runs a call, whole result and all; None if nobody serves such a tool."""


@dataclass(slots=True)
class Toolset:
    """The tools a channel was made with: functions in a box, declared ones for a handler."""

    box: ToolBox
    declared: tuple[AITool, ...]
    handlers: dict[str, ToolHandler]
    handler: ToolHandler | None
    timeout: float

    @classmethod
    def of(
        cls,
        tools: ToolBox | Iterable[Any] | None,
        handler: ToolHandler | None,
        *,
        timeout: float,
    ) -> Toolset:
        """From a box, or from functions, `Tool`s, `AITool`s, and objects with a `definition` and
        a `handler`."""
        if isinstance(tools, ToolBox):
            return cls(tools, (), {}, handler, timeout)
        functions: list[Callable[..., Any]] = []
        declared: list[AITool] = []
        handlers: dict[str, ToolHandler] = {}
        for given in tools or ():
            if isinstance(given, AITool | Mapping):
                declared.append(tool_spec(given))
            elif not isinstance(given, Tool) and hasattr(given, "definition"):
                declared.append(tool_spec(given.definition))
                handlers[declared[-1].name] = given.handler
            else:
                functions.append(given)
        box = ToolBox(functions, timeout=timeout)
        return cls(box, tuple(declared), handlers, handler, timeout)

    def offered(self, more: Iterable[AITool] = ()) -> list[AITool]:
        """What the model is told; `more`, the room's own, win over tools of the same name."""
        tools = {tool.name: tool for tool in (*self.box.specs, *self.declared, *more)}
        return list(tools.values())

    async def serve(self, call: AIToolCall) -> AIToolResult | None:
        """Run a call. What goes wrong is a result too."""
        if call.name in self.box:
            return await self.box.run(call, max_result=sys.maxsize)
        handler = self.handlers.get(call.name, self.handler)
        if handler is None:
            return None
        scope = asyncio.timeout(self.timeout)
        try:
            async with scope:
                value = _read(await handler(call.name, dict(call.arguments)))
        except Exception as error:  # noqa: BLE001 - the host's code
            if scope.expired():
                what = f"did not finish within {self.timeout:g} s"
            else:
                _log.warning("tool %s failed", call.name, exc_info=error)
                what = f"failed: {type(error).__name__}: {error}"
            return AIToolResult(call.id, f"{call.name} {what}", is_error=True)
        return AIToolResult(call.id, value)


def serving(runner: ToolRunner) -> Serve:
    """How another's tools are run."""
    return (
        partial(runner.run, max_result=sys.maxsize) if isinstance(runner, ToolBox) else runner.run
    )


class TurnTools:
    """The tools of one turn; runs what the model asks for.

    BEFORE_TOOL_USE may rewrite the arguments or deny the call, and whatever goes wrong there
    denies it. ON_TOOL_CALL may replace the outcome, of refused and failed calls too; then its
    observers see it as the model reads it. No result is longer than `max_result` characters.
    """

    def __init__(
        self,
        serve: Serve,
        offered: Iterable[AITool],
        hooks: TurnHooks,
        *,
        channel_id: str,
        room_id: str,
        max_result: int,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.specs = tuple(offered)
        self._serve = serve
        self._hooks = hooks
        self._channel_id = channel_id
        self._room_id = room_id
        self._max_result = max_result
        self._clock = clock

    async def run(self, call: AIToolCall) -> AIToolResult:
        """Run one call. What goes wrong, or is refused, is a result too."""
        with current_span().child(
            SpanKind.LLM_TOOL_CALL,
            "tool_call",
            room_id=self._room_id,
            channel_id=self._channel_id,
            attributes={"tool.name": call.name},
        ) as span:
            result = await self._run(call)
            if result.is_error:
                span.record_error("tool_failed")
            return result

    async def _run(self, call: AIToolCall) -> AIToolResult:
        event = ToolCallEvent(
            channel_id=self._channel_id,
            channel_type=ChannelType.AI,
            tool_call_id=call.id,
            name=call.name,
            arguments=dict(call.arguments),
            room_id=self._room_id,
        )
        began = self._clock.monotonic()
        await self._publish(EphemeralEventType.TOOL_CALL_START, event)
        event = await self._allowed(event)
        if not event.refused:
            event = await self._served(event, call)
        event = await self._final(event)
        took = int((self._clock.monotonic() - began) * 1000)
        await self._publish(EphemeralEventType.TOOL_CALL_END, event, took)
        return AIToolResult(call.id, event.result, event.is_error, call.name)

    async def _allowed(self, event: ToolCallEvent) -> ToolCallEvent:
        """The call as it may run, or refused (R168)."""
        if all(spec.name != event.name for spec in self.specs):
            known = ", ".join(spec.name for spec in self.specs) or "none"
            return _refused(event, f"there is no tool {event.name!r}; there are: {known}")
        try:
            outcome = await self._hooks.run(HookTrigger.BEFORE_TOOL_USE, self._room_id, event)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody allowed the call
            _log.exception("tool %s was denied: its hooks could not be asked", event.name)
            return _refused(event, f"{event.name} is not allowed now", detail=repr(error))
        if outcome.blocked:
            return _refused(event, f"{event.name} is not allowed: {outcome.reason}")
        arguments = outcome.payload.arguments
        if not isinstance(arguments, dict):
            _log.error("tool %s was denied: a hook made its arguments no object", event.name)
            return _refused(event, f"{event.name} is not allowed now", detail="no object")
        return replace(event, arguments=arguments)

    async def _served(self, event: ToolCallEvent, call: AIToolCall) -> ToolCallEvent:
        """The call's outcome; unchanged if nobody serves such a tool."""
        done = await self._serve(replace(call, arguments=event.arguments))
        if done is None:
            return event
        detail = done.content if done.is_error else None
        return replace(event, result=done.content, is_error=done.is_error, error_detail=detail)

    async def _final(self, event: ToolCallEvent) -> ToolCallEvent:
        """The outcome after ON_TOOL_CALL, as the model reads it; its observers are told."""
        outcome = await self._hooks.run(HookTrigger.ON_TOOL_CALL, self._room_id, event)
        if outcome.blocked:
            event = _failed(event, f"failed: {outcome.reason}", outcome.reason)
        else:
            given = outcome.payload
            result = outcome.metadata.get("result", given.result)
            event = replace(event, result=result, is_error=given.is_error)
        if event.result is None and not event.is_error:
            event = _failed(event, "failed: nobody runs this tool", "no handler")
        event = replace(event, result=shortened(text_of(event.result), self._max_result))
        await self._hooks.tell(HookTrigger.ON_TOOL_CALL, self._room_id, event)
        return event

    async def _publish(
        self, kind: EphemeralEventType, event: ToolCallEvent, duration_ms: int | None = None
    ) -> None:
        """Show the call to whoever watches the room live; what fails here fails nothing else."""
        publish = getattr(self._hooks.kit, "publish_tool_call", None)
        if publish is None:
            return
        told: dict[str, Any] = {"id": event.tool_call_id, "name": event.name}
        if kind is EphemeralEventType.TOOL_CALL_START:
            told["arguments"] = event.arguments
        else:
            told |= {"result": event.result, "is_error": event.is_error}
        try:
            await publish(self._room_id, self._channel_id, [told], kind, duration_ms=duration_ms)
        except (SalonError, OSError, ValueError):
            _log.warning("a tool call was not shown", exc_info=True)


def _read(value: object) -> str:
    """What a handler returned as the model reads it; of message parts the words."""
    if isinstance(value, list) and value and all(isinstance(p, _PARTS) for p in value):
        return "\n".join(p.text if isinstance(p, AITextPart) else "[image]" for p in value)
    return text_of(value)


def _refused(event: ToolCallEvent, text: str, detail: str | None = None) -> ToolCallEvent:
    return replace(event, result=text, is_error=True, refused=True, error_detail=detail or text)


def _failed(event: ToolCallEvent, what: str, detail: str | None) -> ToolCallEvent:
    return replace(event, result=f"{event.name} {what}", is_error=True, error_detail=detail)
