"""``@tool``: typed functions a language model may call."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, overload

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from salon.base import ConfigurationError, UnavailableError
from salon.core.ports.ai import AITool, AIToolCall, AIToolResult
from salon.providers.threads import ThreadRunner, is_cancelled
from salon.providers.toolschema import arguments_model, describe, schema_of

_log = logging.getLogger("salon.providers.tools")

TIMEOUT = 30.0
"""Seconds a tool may take, unless it or its box says otherwise."""

MAX_RESULT = 20_000
"""Longest result given to the model, in characters; what is beyond is cut off, and it says so."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHOWN_ERRORS = 5


class Tool:
    """A function with its JSON Schema; calling it calls the function. `tool` makes one.

    `timeout` is in seconds; None leaves it to the box.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
    ) -> None:
        if not inspect.isfunction(function) and not inspect.ismethod(function):
            raise ConfigurationError(f"@tool goes on a function, not on {function!r}")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(f"@tool: {function.__qualname__} must return, not yield")
        self.name = name or function.__name__
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"tool name {self.name!r}: 1 to 64 letters, digits, _ and - are allowed"
            )
        if timeout is not None and not timeout > 0:
            raise ConfigurationError(f"tool {self.name}: timeout {timeout!r} must be above 0")
        self.function = function
        self.timeout = timeout
        self.is_async = inspect.iscoroutinefunction(function)
        told = describe(inspect.getdoc(function), inspect.signature(function).parameters)
        self._model, self._fields = arguments_model(function, told.parameters)
        self.description = description or told.text
        self.spec = AITool(self.name, self.description, schema_of(self._model))
        self.__name__ = self.name
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.function(*args, **named)

    def __repr__(self) -> str:
        return f"<tool {self.name!r}>"

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` checked and converted to the function's types; `ValidationError` if wrong."""
        checked = self._model.model_validate(dict(given))
        return {name: getattr(checked, field) for name, field in self._fields.items()}


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None, timeout: float | None = None
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a typed function, async or not, a tool.

    Parameters need type hints that JSON can carry: str, int, float, bool, Literal, Enum, list,
    dict, optional ones, dataclasses, pydantic models. The docstring describes the tool, a line
    ``name: text`` in it a parameter. `ConfigurationError` if no schema can be made.
    """
    if function is not None:
        return Tool(function)
    return lambda function: Tool(function, **options)


class ToolBox:
    """The tools of one agent, by their names. Plain functions become tools.

    A tool that is not async runs in a thread; after its time the caller gets an error and the
    thread is left to itself, at most `threads` of them.
    """

    def __init__(
        self,
        tools: Iterable[Callable[..., Any]] = (),
        *,
        timeout: float = TIMEOUT,
        threads: int = 16,
    ) -> None:
        self.timeout = timeout
        self._threads = ThreadRunner(threads)
        self._tools: dict[str, Tool] = {}
        for given in tools:
            made = given if isinstance(given, Tool) else Tool(given)
            if made.name in self._tools:
                raise ConfigurationError(f"two tools have the name {made.name!r}")
            self._tools[made.name] = made

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    @property
    def specs(self) -> tuple[AITool, ...]:
        """What the model is told, for `AIContext.tools`."""
        return tuple(made.spec for made in self)

    async def run(self, call: AIToolCall, *, max_result: int = MAX_RESULT) -> AIToolResult:
        """Run one call. What goes wrong is a result too, as text the model can act on. Of a result
        longer than `max_result` characters the rest is cut off."""
        made = self._tools.get(call.name)
        if made is None:
            known = ", ".join(self._tools) or "none"
            return _error(call, f"there is no tool {call.name!r}; there are: {known}")
        try:
            named = made.arguments(call.arguments)
        except ValidationError as error:
            return _error(call, f"wrong arguments for {call.name}: {_problems(error)}")
        done = await self._run(made, call, named)
        return replace(done, content=shortened(done.content, max_result))

    async def _run(self, made: Tool, call: AIToolCall, named: dict[str, Any]) -> AIToolResult:
        limit = made.timeout or self.timeout
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                if made.is_async:
                    value = await made.function(**named)
                else:
                    value = await self._threads.run(made.function, **named)
                    if inspect.isawaitable(value):
                        value = await value
            return AIToolResult(call.id, text_of(value))
        except UnavailableError as error:
            return _error(call, f"{call.name} can't run now: {error}")
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # the user's code
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            if scope.expired():
                _log.warning("tool %s took more than %g s", made.name, limit)
                return _error(call, f"{call.name} did not finish within {limit:g} s")
            _log.warning("tool %s failed", made.name, exc_info=error)
            return _error(call, f"{call.name} failed: {type(error).__name__}: {error}")


def _error(call: AIToolCall, text: str) -> AIToolResult:
    return AIToolResult(call.id, shortened(text), is_error=True)


def _problems(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False)
    shown = [
        f"{'.'.join(map(str, item['loc'])) or 'all'}: {item['msg']} (got {item['input']!r:.80})"
        for item in found[:_SHOWN_ERRORS]
    ]
    return "; ".join(shown)


def text_of(value: object) -> str:
    """What a tool returned, as the model reads it: text as it is, anything else as JSON."""
    if value is None:
        return "done"
    if isinstance(value, str):
        return value
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    try:
        return to_json(value).decode()
    except (ValueError, RecursionError):  # not JSON, or without an end
        return str(value)


def shortened(text: str, limit: int = MAX_RESULT) -> str:
    """At most `limit` characters of `text`, and a note if that is not all."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[cut: {len(text)} characters in all]"
