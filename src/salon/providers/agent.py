"""``@agent``: a function that answers."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, overload

from salon.base import ConfigurationError
from salon.core.ports.ai import (
    AIContext,
    AIProvider,
    AIStreamPart,
    ResponseMetadata,
    TextDelta,
)
from salon.models.speech import NO_HINTS, SpeechHints
from salon.providers.errors import AgentError, AIProviderError
from salon.providers.threads import ThreadRunner, is_cancelled
from salon.providers.toolloop import add_facts
from salon.providers.tools import ToolBox
from salon.providers.turn import AgentRoom, Turn, names_of, turn_of

_log = logging.getLogger("salon.providers.agent")

AgentFunction = Callable[[Turn, AgentRoom], Any]

MAX_STATE = 65_536
"""Longest `turn.state`, in characters of JSON."""

_SHOWN_PHRASES = 6
_THREADS = 64


class FunctionAgent(AIProvider):
    """Answers with a function of the user's; `agent` makes one.

    The function is an async generator of text pieces, or returns (async or not) text, None to
    stay silent, or an async iterator of pieces. One that is not async runs in a thread, so that
    it may block. Calling the agent calls the function.
    """

    speculative = False  # the function may do more than answer

    def __init__(
        self,
        function: AgentFunction,
        *,
        name: str | None = None,
        description: str | None = None,
        phrases: Iterable[str] = (),
        suggestions: Iterable[str] | None = None,
        tools: Iterable[Callable[..., Any]] = (),
        system: str | None = None,
        language: str = "en",
    ) -> None:
        check_function(function)
        self.function = function
        self.name = name or function.__name__
        self.description = description or _first_line(inspect.getdoc(function))
        said = _texts("phrases", phrases)
        self._hints = SpeechHints(said, language) if said else NO_HINTS
        shown = said[:_SHOWN_PHRASES] if suggestions is None else suggestions
        self._suggestions = _texts("suggestions", shown)
        self._system = system
        self._tools = ToolBox(tools)
        self._threads = ThreadRunner(_THREADS)
        self._model: AIProvider | None = None
        self.__doc__ = function.__doc__

    def __call__(self, turn: Turn, room: AgentRoom) -> Any:
        return self.function(turn, room)

    def __repr__(self) -> str:
        return f"<agent {self.name!r}>"

    def use_language_model(self, model: AIProvider | None) -> None:
        """What `AgentRoom.llm` asks. Its owner starts and closes it, not the agent."""
        self._model = model
        self.model_name = model.model_name if model is not None else ""

    def speech_hints(self) -> SpeechHints:
        return self._hints

    def suggestions(self) -> tuple[str, ...]:
        return self._suggestions

    async def generate_stream(self, context: AIContext) -> AsyncGenerator[AIStreamPart, None]:
        """Answer with the function. What it raises becomes an `AgentError`."""
        run = _Run(self, context, self._model)
        try:
            async with aclosing(run.pieces()) as pieces:
                async for text in pieces:
                    for data in run.news():
                        yield ResponseMetadata(data)
                    yield TextDelta(text)
            for data in run.news():
                yield ResponseMetadata(data)
        except AIProviderError:
            raise
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            raise self._failed(error) from error  # of something the function waited for
        except (Exception, SystemExit) as error:  # the edge to the user's code
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> AgentError:
        where = where_of(error, self.function)
        _log.error("agent %s failed at %s", self.name, where, exc_info=error)
        what = f"{type(error).__name__}: {error}"
        return AgentError(f"{what} ({where})", provider=self.name, where=where)


class _Run:
    """One answer: the function's pieces, and what is to be kept with them."""

    def __init__(self, agent: FunctionAgent, context: AIContext, model: AIProvider | None) -> None:
        self._agent = agent
        self._turn = turn_of(context)
        self._known = _state_json(self._turn.state)
        self._facts: dict[str, Any] = {}
        self._told: dict[str, Any] = {}
        self._room = AgentRoom(
            id=context.room_id,
            participants=names_of(context.messages),
            metadata=dict(context.metadata),
            _context=context,
            _model=model,
            _system=agent._system,
            _tools=agent._tools,
            _sink=lambda data: add_facts(self._facts, data),
        )

    async def pieces(self) -> AsyncGenerator[str, None]:
        """The answer's text, checked piece by piece; empty ones are dropped."""
        function = self._agent.function
        if inspect.isasyncgenfunction(function):
            answer: Any = function(self._turn, self._room)
        elif inspect.iscoroutinefunction(function):
            answer = await function(self._turn, self._room)
        else:
            answer = await self._agent._threads.run(function, self._turn, self._room)
            if inspect.isawaitable(answer):
                answer = await answer
        if not hasattr(answer, "__aiter__"):
            answer = _once(answer)
        try:
            async for piece in answer:
                if text := _checked(piece):
                    yield text
        finally:
            if hasattr(answer, "aclose"):
                await answer.aclose()

    def news(self) -> Iterable[Mapping[str, Any]]:
        """What is new since the last call: the state if it changed, facts of the language model.

        Told along with the text and not only at its end, because a person may interrupt the
        answer and what it did until then has still happened.
        """
        if self._facts != self._told:
            self._told = dict(self._facts)
            yield self._told
        state = _state_json(self._turn.state)
        if state != self._known:
            self._known = state
            yield {"state": json.loads(state)}


@overload
def agent(function: AgentFunction, /) -> FunctionAgent: ...


@overload
def agent(
    *,
    name: str | None = None,
    description: str | None = None,
    phrases: Iterable[str] = (),
    suggestions: Iterable[str] | None = None,
    tools: Iterable[Callable[..., Any]] = (),
    system: str | None = None,
    language: str = "en",
) -> Callable[[AgentFunction], FunctionAgent]: ...


def agent(function: AgentFunction | None = None, /, **options: Any) -> Any:
    """Make a function ``(turn, room)`` the agent, with or without options.

    `name` is shown in rooms (default: the function's); `description` says what it is (default: the
    docstring's first line). `phrases` are sentences it understands: recognisers with a closed
    vocabulary listen for their words. `suggestions` are shown as examples (default: the first
    phrases). `system` and `tools` are what `AgentRoom.llm` uses. `ConfigurationError` if the
    function can't be one.
    """
    if function is not None:
        return FunctionAgent(function)
    return lambda function: FunctionAgent(function, **options)


def check_function(function: object) -> None:
    """`ConfigurationError` if this can't be called as ``function(turn, room)``."""
    if isinstance(function, FunctionAgent):
        raise ConfigurationError(f"@agent stands twice on {function.name!r}")
    if not inspect.isfunction(function) and not inspect.ismethod(function):
        raise ConfigurationError(f"@agent goes on a function, not on {function!r}")
    where = f"{function.__qualname__} ({_place(function)})"
    if inspect.isgeneratorfunction(function):
        raise ConfigurationError(f"@agent: write 'async def' for {where}, it yields its answer")
    signature = inspect.signature(function)
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise ConfigurationError(
            f"@agent: {where} must take two parameters, (turn, room); it takes {signature}"
        ) from error


def where_of(error: BaseException, function: Callable[..., Any]) -> str:
    """``file:line`` of the deepest frame in the function's own file, else where it begins."""
    file = function.__code__.co_filename if hasattr(function, "__code__") else ""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == file:
            return f"{Path(frame.filename).name}:{frame.lineno}"
    return _place(function)


def _place(function: Callable[..., Any]) -> str:
    code = inspect.unwrap(function).__code__
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}"


async def _once(answer: object) -> AsyncIterator[object]:
    yield answer


def _checked(piece: object) -> str:
    if piece is None:
        return ""
    if not isinstance(piece, str):
        raise TypeError(f"an answer is made of text, this is {type(piece).__name__}: {piece!r:.80}")
    return piece


def _state_json(state: dict[str, Any]) -> str:
    try:
        text = json.dumps(state, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"turn.state must be JSON: {error}") from error
    if len(text) > MAX_STATE:
        raise ValueError(f"turn.state is {len(text)} characters of JSON, {MAX_STATE} are allowed")
    return text


def _texts(what: str, given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise ConfigurationError(f"{what} is a list of sentences, not one text: {given!r:.80}")
    texts = tuple(given)
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise ConfigurationError(f"{what} holds {text!r:.80}, which is no sentence")
    return texts


def _first_line(doc: str | None) -> str:
    return doc.strip().splitlines()[0] if doc and doc.strip() else ""
