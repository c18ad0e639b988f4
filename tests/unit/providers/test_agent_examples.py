"""The examples answer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import salon
from salon.core.ports.ai import AIContext, AIMessage, AIToolCall, ResponseMetadata, TextDelta
from salon.providers.agent import FunctionAgent, agent
from salon.providers.loader import load_agent
from salon.providers.mock import MockAIProvider
from salon.providers.tools import tool

EXAMPLES = Path(__file__).parents[3] / "examples"


class Talk:
    """A conversation with one example, its history kept as a room keeps it."""

    def __init__(self, name: str) -> None:
        found = load_agent(EXAMPLES / name)
        assert isinstance(found, FunctionAgent)
        self.agent = found
        self.messages: list[AIMessage] = []

    async def say(self, text: str) -> str:
        self.messages.append(AIMessage("user", text, name="Ann"))
        answer: list[str] = []
        kept: dict[str, object] = {}
        async for part in self.agent.generate_stream(AIContext("r", tuple(self.messages))):
            if isinstance(part, TextDelta):
                answer.append(part.text)
            elif isinstance(part, ResponseMetadata):
                kept |= part.data
        self.messages.append(AIMessage("assistant", "".join(answer), metadata=kept))
        return "".join(answer)


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_the_examples_get_their_decorators_from_salon() -> None:
    assert salon.agent is agent
    assert salon.tool is tool


def test_hello_is_ten_lines() -> None:
    lines = (EXAMPLES / "hello.py").read_text().split("import salon\n")[1].strip().splitlines()
    assert len(lines) + 1 <= 10


async def test_hello() -> None:
    talk = Talk("hello.py")
    assert await talk.say("nice day") == "Hello Ann. You said: nice day"
    assert await talk.say("Bye then") == "Goodbye!"


async def test_tools_without_a_language_model() -> None:
    talk = Talk("tools.py")
    assert (await talk.say("What time is it?")).startswith("It is ")
    assert "only know the time" in await talk.say("Who are you?")


async def test_tools_with_a_language_model() -> None:
    talk = Talk("tools.py")
    arguments = {"value": 20, "to": "fahrenheit"}
    model = MockAIProvider([[AIToolCall("c", "convert", arguments)], ["It is 68 degrees."]])
    talk.agent.use_language_model(model)
    assert await talk.say("How much is 20 degrees in Fahrenheit?") == "It is 68 degrees."
    assert model.contexts[1].messages[-1].tool_results[0].content == "68.0"
    assert {t.name for t in model.contexts[0].tools} == {"time_in", "convert"}


async def test_pizza_in_one_sentence() -> None:
    talk = Talk("pizza.py")
    assert await talk.say("Two large mushroom pizzas please") == (
        "That is 2 large mushroom pizzas. Is that right?"
    )
    assert await talk.say("Yes") == "Thank you. Your order is on its way to the oven."
    assert (await talk.say("hello")).startswith("Which pizza")


async def test_pizza_slot_by_slot_with_a_change_of_mind() -> None:
    talk = Talk("pizza.py")
    assert (await talk.say("hello")).startswith("Which pizza")
    assert await talk.say("a margherita") == "Small, medium or large?"
    assert await talk.say("small") == "That is 1 small margherita pizza. Is that right?"
    assert await talk.say("no, 3 large") == (
        "Then let us start again. Which pizza would you like: margherita, mushroom or pepperoni?"
    )
    assert await talk.say("pepperoni") == "That is 3 large pepperoni pizzas. Is that right?"
    assert (await talk.say("start again")).startswith("Which pizza")


async def test_pizza_tells_the_recogniser_what_it_understands() -> None:
    hints = Talk("pizza.py").agent.speech_hints()
    assert "two large mushroom" in hints.phrases
