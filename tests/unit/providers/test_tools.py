"""Typed functions as tools."""

from __future__ import annotations

import asyncio
import enum
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from salon.base import ConfigurationError
from salon.core.ports.ai import AIToolCall, AIToolResult
from salon.providers.tools import MAX_RESULT, Tool, ToolBox, tool


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Place:
    city: str
    country: str = "FR"


class Guest(BaseModel):
    title: str
    age: int = Field(ge=0)


@tool
def order(
    what: str,
    count: int,
    price: float,
    gift: bool,
    speed: Literal["slow", "fast"],
    size: Size,
    extras: list[str],
    notes: dict[str, int],
    where: Place,
    guest: Guest,
    when: date | None = None,
    json: str = "none",
    _hidden: Annotated[int, Field(le=3)] = 1,
) -> dict[str, Any]:
    """Order something.

    It is brought to the place.

    Args:
        what (str): what to order,
            in plain words
        count: how many

    Returns:
        count: is not told to the model
    """
    return {"what": what, "size": size, "city": where.city, "guest": guest, "json": json}


def call(name: str, **arguments: Any) -> AIToolCall:
    return AIToolCall("c1", name, arguments)


ORDER = {
    "what": "tea",
    "count": "2",
    "price": 1,
    "gift": True,
    "speed": "fast",
    "size": "large",
    "extras": ["milk"],
    "notes": {"sugar": 1},
    "where": {"city": "Paris"},
    "guest": {"title": "Dr", "age": 40},
}


def test_schema_comes_from_hints_and_docstring() -> None:
    spec = order.spec
    assert spec.name == "order"
    assert spec.description == "Order something.\n\nIt is brought to the place."
    schema = dict(spec.parameters)
    properties = schema["properties"]
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["required"] == list(ORDER)
    assert properties["what"] == {
        "type": "string",
        "description": "what to order, in plain words",
    }
    assert properties["count"] == {"type": "integer", "description": "how many"}
    assert properties["price"] == {"type": "number"}
    assert properties["gift"] == {"type": "boolean"}
    assert properties["speed"]["enum"] == ["slow", "fast"]
    assert properties["extras"] == {"type": "array", "items": {"type": "string"}}
    assert properties["notes"]["additionalProperties"] == {"type": "integer"}
    assert properties["when"]["default"] is None
    assert properties["_hidden"]["maximum"] == 3
    assert schema["$defs"]["Size"]["enum"] == ["small", "large"]
    assert schema["$defs"]["Guest"]["properties"]["title"] == {"type": "string"}
    assert schema["$defs"]["Place"]["required"] == ["city"]


def test_a_tool_without_parameters_has_an_empty_object() -> None:
    def now() -> str:
        return "12:00"

    assert Tool(now).spec.parameters == {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }
    assert Tool(now).description == ""


def test_sphinx_docstrings_are_understood() -> None:
    @tool(name="find", description=None)
    def look(text: str) -> str:
        """Find things.

        :param text: what to find
        :returns: what was found
        """
        return text

    assert look.spec.description == "Find things."
    assert look.spec.parameters["properties"]["text"]["description"] == "what to find"
    assert (look("x"), repr(look)) == ("x", "<tool 'find'>")


async def test_arguments_are_converted_to_the_types() -> None:
    result = await ToolBox([order]).run(call("order", **ORDER))
    assert result == AIToolResult(
        "c1",
        '{"what":"tea","size":"large","city":"Paris",'
        '"guest":{"title":"Dr","age":40},"json":"none"}',
    )


async def test_wrong_arguments_are_told_to_the_model() -> None:
    wrong = ORDER | {"count": "many", "guest": {"title": "Dr", "age": -1}, "colour": "red"}
    result = await ToolBox([order]).run(call("order", **wrong))
    assert result.is_error
    assert "wrong arguments for order: count: Input should be a valid integer" in result.content
    assert "(got 'many')" in result.content
    assert "guest.age: " in result.content
    assert "colour: Extra inputs are not permitted" in result.content


async def test_an_unknown_tool_names_the_known_ones() -> None:
    assert (await ToolBox([order]).run(call("buy"))).content == (
        "there is no tool 'buy'; there are: order"
    )
    assert (await ToolBox().run(call("buy"))).content.endswith("none")


async def test_results_of_every_kind_become_text() -> None:
    class Odd:
        def __str__(self) -> str:
            return "odd"

    values: list[Any] = [None, "text", 7, Guest(title="Dr", age=1), Odd(), "x" * (MAX_RESULT + 5)]

    async def give(n: int) -> Any:
        return values[n]

    box = ToolBox([give])
    found = [(await box.run(call("give", n=n))).content for n in range(len(values))]
    assert found[:5] == ["done", "text", "7", '{"title":"Dr","age":1}', "odd"]
    assert found[5] == "x" * MAX_RESULT + f"\n[cut: {MAX_RESULT + 5} characters in all]"


async def test_blocking_tools_run_in_a_thread_and_may_return_awaitables() -> None:
    async def later() -> str:
        return "later"

    def where() -> bool:
        return threading.current_thread() is threading.main_thread()

    def lazy() -> Any:
        return later()

    box = ToolBox([where, lazy])
    assert (await box.run(call("where"))).content == "false"
    assert (await box.run(call("lazy"))).content == "later"


async def test_what_a_tool_raises_is_an_error_result() -> None:
    def fails() -> None:
        raise ValueError("no such table")

    async def stops() -> None:
        raise TimeoutError("of its own")

    def leaves() -> None:
        raise SystemExit(3)

    def ends() -> None:
        raise StopIteration

    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def exits() -> None:
        raise SystemExit(4)

    box = ToolBox([fails, stops, leaves, ends, cancelled, exits])
    found = {t.name: await box.run(call(t.name)) for t in box}
    assert all(result.is_error for result in found.values())
    assert found["fails"].content == "fails failed: ValueError: no such table"
    assert found["stops"].content == "stops failed: TimeoutError: of its own"
    assert found["leaves"].content == "leaves failed: RuntimeError: raised SystemExit: 3"
    assert found["cancelled"].content.startswith("cancelled failed: CancelledError")
    assert found["exits"].content == "exits failed: SystemExit: 4"
    assert "StopIteration" in found["ends"].content


async def test_a_tool_has_bounded_time() -> None:
    @tool(timeout=0.01)
    async def waits() -> None:
        await asyncio.Event().wait()

    result = await ToolBox([waits], timeout=60).run(call("waits"))
    assert result == AIToolResult("c1", "waits did not finish within 0.01 s", is_error=True)


async def test_a_machine_without_threads_left_is_an_error_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    box = ToolBox([varied_ok], threads=1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert "no thread can be started" in (await box.run(call("varied_ok"))).content
    assert (await box.run(call("varied_ok"))).content == "done"


async def test_blocked_threads_are_bounded_and_come_back() -> None:
    go = threading.Event()

    def blocks() -> str:
        go.wait()
        return "free"

    box = ToolBox([blocks], timeout=0.01, threads=1)
    assert "did not finish" in (await box.run(call("blocks"))).content
    busy = await box.run(call("blocks"))
    assert busy.content == "blocks can't run now: 1 blocking functions are still running"
    go.set()
    box.timeout = 30.0
    async with asyncio.timeout(5):
        while (await box.run(call("blocks"))).content != "free":
            await asyncio.sleep(0)


def varied(*things: str) -> None: ...


def untyped(thing) -> None: ...  # type: ignore[no-untyped-def]


def opaque(thing: threading.Lock) -> None: ...


def unknown(thing: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def positional(thing: str, /) -> None: ...


def generates() -> Iterator[int]:
    yield 1


async def streams() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (varied, r"tool varied: parameter \*things: .* can't be given by name"),
        (untyped, "tool untyped: parameter 'thing' has no type hint"),
        (opaque, "tool opaque: a parameter's type can't be given as JSON"),
        (unknown, "tool unknown: a type hint names something unknown"),
        (positional, "can't be given by name"),
        (generates, "generates must return, not yield"),
        (streams, "streams must return, not yield"),
        (Guest, "@tool goes on a function"),
        (lambda: None, "tool name '<lambda>'"),
    ],
)
def test_functions_that_can_not_be_tools_are_refused(function: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        tool(function)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="timeout 0 must be above 0"):
        tool(timeout=0)(varied_ok)
    with pytest.raises(ConfigurationError, match="two tools have the name 'order'"):
        ToolBox([order, order])
    assert [t.name for t in ToolBox([order, varied_ok])] == ["order", "varied_ok"]
    assert ToolBox([order]).specs == (order.spec,)


def varied_ok(thing: str = "") -> None: ...
