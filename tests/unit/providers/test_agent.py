"""Functions as agents."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from salon.base import ConfigurationError
from salon.core.ports.ai import (
    AIContext,
    AIMessage,
    AIStreamPart,
    AIToolCall,
    ResponseMetadata,
    TextDelta,
)
from salon.models.speech import NO_HINTS, SpeechHints
from salon.providers.agent import MAX_STATE, FunctionAgent, agent
from salon.providers.errors import AgentError, AIProviderError
from salon.providers.mock import MockAIProvider
from salon.providers.turn import AgentRoom, Message, Turn


def asking(text: str, *before: AIMessage, **more: Any) -> AIContext:
    return AIContext("room-1", (*before, AIMessage("user", text, name="Ann")), **more)


async def parts_of(made: FunctionAgent, context: AIContext) -> list[AIStreamPart]:
    return [part async for part in made.generate_stream(context)]


async def said(made: FunctionAgent, text: str = "hi") -> list[str]:
    parts = await parts_of(made, asking(text))
    return [part.text for part in parts if isinstance(part, TextDelta)]


async def test_an_async_generator_streams_its_pieces() -> None:
    @agent
    async def hello(turn: Turn, room: AgentRoom) -> AsyncIterator[str]:
        """Says hello.

        More."""
        yield "Hello "
        yield ""
        yield turn.text

    assert await said(hello, "there") == ["Hello ", "there"]
    assert (hello.name, hello.description) == ("hello", "Says hello.")
    assert repr(hello) == "<agent 'hello'>"
    assert hello.speech_hints() is NO_HINTS
    assert hello.suggestions() == ()
    assert [p async for p in hello(Turn("you"), AgentRoom("r"))] == ["Hello ", "", "you"]


async def test_every_other_kind_of_function_answers_too() -> None:
    async def pieces() -> AsyncIterator[str]:
        yield "one"
        yield "two"

    @agent
    async def text(turn: Turn, room: AgentRoom) -> str:
        return "text"

    @agent
    async def silent(turn: Turn, room: AgentRoom) -> None:
        return None

    @agent
    async def given(turn: Turn, room: AgentRoom) -> AsyncIterator[str]:
        return pieces()

    @agent
    def blocking(turn: Turn, room: AgentRoom) -> str:
        return str(threading.current_thread() is threading.main_thread())

    @agent
    def lazy(turn: Turn, room: AgentRoom) -> Any:
        return text(turn, room)

    @agent
    def handed(turn: Turn, room: AgentRoom) -> Any:
        return pieces()

    assert await said(text) == ["text"]
    assert await said(silent) == []
    assert await said(given) == ["one", "two"]
    assert await said(blocking) == ["False"]
    assert await said(lazy) == ["text"]
    assert await said(handed) == ["one", "two"]


async def test_an_iterator_without_aclose_is_fine() -> None:
    class Once:
        def __init__(self) -> None:
            self.left = ["x"]

        def __aiter__(self) -> Once:
            return self

        async def __anext__(self) -> str:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop()

    @agent
    async def given(turn: Turn, room: AgentRoom) -> Once:
        return Once()

    assert await said(given) == ["x"]


async def test_turn_and_room_hold_what_the_context_does() -> None:
    seen: list[tuple[Turn, AgentRoom]] = []

    @agent
    async def look(turn: Turn, room: AgentRoom) -> None:
        seen.append((turn, room))

    context = AIContext(
        "room-1",
        (
            AIMessage("system", "note"),
            AIMessage("user", "Hello", name="Ann"),
            AIMessage("assistant", "Hi!"),
            AIMessage("user", "Me too", name="Bob"),
            AIMessage("user", "Well?", name="Ann", metadata={"via": "call"}),
        ),
        spoken=True,
        participant_id="p1",
        participant_name="Ann L.",
        metadata={"plan": "a"},
    )
    await parts_of(look, context)
    turn, room = seen[0]
    assert turn == Turn(
        "Well?",
        participant_id="p1",
        name="Ann L.",
        spoken=True,
        history=(
            Message("user", "Hello", "Ann"),
            Message("assistant", "Hi!"),
            Message("user", "Me too", "Bob"),
        ),
        metadata={"via": "call"},
    )
    assert (room.id, room.participants, room.metadata) == ("room-1", ("Ann", "Bob"), {"plan": "a"})
    assert not room.has_llm
    await parts_of(look, AIContext("room-2", ()))
    assert seen[1][0] == Turn("")


async def test_state_stays_in_the_room() -> None:
    @agent
    async def count(turn: Turn, room: AgentRoom) -> AsyncIterator[str]:
        turn.state["n"] = turn.state.get("n", 0) + 1
        yield f"{turn.state['n']}, "
        yield "I say."
        turn.state["said"] = True

    parts = await parts_of(count, asking("go"))
    assert parts == [
        ResponseMetadata({"state": {"n": 1}}),
        TextDelta("1, "),
        TextDelta("I say."),
        ResponseMetadata({"state": {"n": 1, "said": True}}),
    ]
    stored = {"state": {"n": 7}}
    before = (
        AIMessage("assistant", "7", metadata=stored),
        AIMessage("assistant", "without"),
        AIMessage("user", "x", metadata={"state": {"n": 99}}),
    )
    parts = await parts_of(count, asking("go", *before))
    assert parts[1] == TextDelta("8, ")
    assert stored == {"state": {"n": 7}}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({1, 2}, "turn.state must be JSON"),
        (float("nan"), "turn.state must be JSON"),
        ("x" * MAX_STATE, "65536 are allowed"),
    ],
)
async def test_state_that_can_not_be_kept_is_an_error(value: Any, says: str) -> None:
    @agent
    async def bad(turn: Turn, room: AgentRoom) -> str:
        turn.state["x"] = value
        return "ok"

    with pytest.raises(AgentError, match=says):
        await parts_of(bad, asking("go"))


async def test_what_the_function_raises_names_its_line(caplog: pytest.LogCaptureFixture) -> None:
    @agent
    async def fails(turn: Turn, room: AgentRoom) -> AsyncIterator[str]:
        yield "So "
        int("far")

    stream = fails.generate_stream(asking("go"))
    assert await anext(stream) == TextDelta("So ")
    with caplog.at_level(logging.ERROR), pytest.raises(AgentError) as caught:
        await anext(stream)
    line = fails.function.__code__.co_firstlineno + 3
    assert caught.value.where == f"test_agent.py:{line}"
    assert str(caught.value) == (
        f"fails: ValueError: invalid literal for int() with base 10: 'far' (test_agent.py:{line})"
    )
    assert isinstance(caught.value.__cause__, ValueError)
    assert f"agent fails failed at test_agent.py:{line}" in caplog.text
    assert not caught.value.retryable


@pytest.mark.parametrize("raised", [SystemExit(1), asyncio.CancelledError()])
async def test_a_function_ends_neither_the_server_nor_its_task(raised: BaseException) -> None:
    @agent
    async def leaves(turn: Turn, room: AgentRoom) -> None:
        raise raised

    with pytest.raises(AgentError, match=type(raised).__name__):
        await said(leaves)


async def test_cancelling_the_answer_cancels_the_function() -> None:
    started = asyncio.Event()

    @agent
    async def waits(turn: Turn, room: AgentRoom) -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(said(waits))
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_an_answer_that_is_no_text_is_an_error() -> None:
    @agent
    async def number(turn: Turn, room: AgentRoom) -> int:
        return 7

    with pytest.raises(AgentError, match="made of text, this is int: 7") as caught:
        await said(number)
    assert caught.value.where == f"test_agent.py:{number.function.__code__.co_firstlineno}"


async def test_closing_the_answer_closes_the_function() -> None:
    closed = asyncio.Event()

    @agent
    async def long(turn: Turn, room: AgentRoom) -> AsyncIterator[str]:
        try:
            yield "first"
            yield "never"
        finally:
            closed.set()

    stream = long.generate_stream(asking("go"))
    assert await anext(stream) == TextDelta("first")
    await stream.aclose()
    assert closed.is_set()


def test_options_reach_the_page_and_the_recogniser() -> None:
    phrases = [f"phrase {n}" for n in range(9)]

    @agent(name="Pia", description="Sells.", phrases=phrases, language="de")
    async def one(turn: Turn, room: AgentRoom) -> None: ...

    @agent(phrases=phrases, suggestions=["Ask me"])
    async def two(turn: Turn, room: AgentRoom) -> None: ...

    assert (one.name, one.description) == ("Pia", "Sells.")
    assert one.speech_hints() == SpeechHints(tuple(phrases), "de")
    assert one.suggestions() == tuple(phrases[:6])
    assert two.suggestions() == ("Ask me",)


def sync_generator(turn: Turn, room: AgentRoom) -> Iterator[str]:
    yield "x"


async def one_parameter(turn: Turn) -> None: ...


async def three(turn: Turn, room: AgentRoom, more: int) -> None: ...


def untyped(x): ...  # type: ignore[no-untyped-def]


async def fine(turn: Turn, room: AgentRoom, more: int = 1) -> None: ...


class Bot:
    async def answer(self, turn: Turn, room: AgentRoom) -> str:
        return "bot"


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (sync_generator, "write 'async def' for sync_generator"),
        (one_parameter, r"one_parameter \(test_agent.py:\d+\) must take two parameters"),
        (three, r"three .* must take two parameters, \(turn, room\); it takes \(turn"),
        (Bot, "@agent goes on a function, not on"),
        (agent(fine), "@agent stands twice on 'fine'"),
    ],
)
def test_functions_that_can_not_be_agents_are_refused_at_once(function: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        agent(function)


def test_wrong_options_are_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="phrases is a list of sentences"):
        agent(phrases="hello")(fine)
    with pytest.raises(ConfigurationError, match="suggestions holds ''"):
        agent(suggestions=[""])(fine)
    with pytest.raises(ConfigurationError, match="phrases holds 7"):
        agent(phrases=[7])(fine)  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match="has no type hint"):
        agent(tools=[untyped])(fine)


async def test_a_method_can_be_an_agent() -> None:
    assert await said(agent(Bot().answer)) == ["bot"]


def double(n: int) -> int:
    """Double a number."""
    return 2 * n


@agent(system="Be brief.", tools=[double])
async def modelled(turn: Turn, room: AgentRoom) -> AsyncIterator[str]:
    async for piece in room.llm(turn):
        yield piece


async def test_the_language_model_answers_with_the_agents_tools() -> None:
    counts = ResponseMetadata({"usage": {"total_tokens": 3}})
    model = MockAIProvider(
        [["Hm. ", AIToolCall("c", "double", {"n": 4}), counts], ["It is 8.", counts]]
    )
    modelled.use_language_model(model)
    assert modelled.model_name == "mock"
    context = asking("Double four", AIMessage("user", "Hi"), system_prompt="ignored")
    parts = await parts_of(modelled, context)
    modelled.use_language_model(None)
    assert parts == [
        TextDelta("Hm. "),
        TextDelta("It is 8."),
        ResponseMetadata({"usage": {"total_tokens": 6}}),
    ]
    asked = model.contexts[0]
    assert asked.system_prompt == "Be brief."
    assert [tool.name for tool in asked.tools] == ["double"]
    assert [message.text for message in asked.messages] == ["Hi", "Double four"]
    assert model.contexts[1].messages[-1].tool_results[0].content == "8"


async def test_a_call_may_replace_prompt_tools_and_question() -> None:
    @agent(system="Be brief.", tools=[double])
    async def other(turn: Turn, room: AgentRoom) -> Any:
        assert room.has_llm
        return room.llm("Sum up.", system="Be long.", tools=[])

    model = MockAIProvider(["ok"])
    other.use_language_model(model)
    assert await said(other, "question") == ["ok"]
    asked = model.contexts[0]
    assert (asked.system_prompt, asked.tools) == ("Be long.", [])
    assert asked.messages[-1].text == "Sum up."


async def test_a_room_of_a_test_has_no_context() -> None:
    model = MockAIProvider(["ok"])
    room = AgentRoom("r", _model=model)
    assert [piece async for piece in room.llm(Turn("hi"))] == ["ok"]
    assert model.contexts[0].messages == [AIMessage("user", "hi")]


async def test_without_a_language_model_the_settings_are_named() -> None:
    with pytest.raises(AgentError, match="set SALON_LLM_BASE_URL and SALON_LLM_MODEL"):
        await said(modelled)


async def test_failures_of_the_language_model_pass_as_they_are() -> None:
    error = AIProviderError("busy", provider="model", retryable=True, status=503)
    modelled.use_language_model(MockAIProvider([["Well, ", error]]))
    with pytest.raises(AIProviderError) as caught:
        await said(modelled)
    modelled.use_language_model(None)
    assert caught.value is error
    assert AIProviderError("bare").provider == ""


def test_the_package_is_light_and_names_leave_it_lazily() -> None:
    program = (
        "import sys, salon.providers.agent, salon.providers.tools, salon.providers.loader\n"
        "import salon.providers as p\n"
        "assert all(getattr(p, n) for n in p.__all__ if n != 'OpenAIProvider')\n"
        "heavy = {'numpy', 'sqlalchemy', 'httpx', 'fastapi'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "p.OpenAIProvider('http://h/v1', None, 'm')\n"
        "assert 'httpx' not in sys.modules\n"
        "assert not hasattr(p, 'nothing')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
