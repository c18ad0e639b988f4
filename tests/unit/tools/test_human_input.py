"""Requests to people, without an agent around them (R167)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

import pytest

from salon.base import ConfigurationError
from salon.core.errors import HumanInputRejectedError, PendingInputNotFoundError
from salon.core.ports.ai import AITool
from salon.models import ChannelType, PendingInputEvent, PendingInputStatus
from salon.testing import VirtualClock
from salon.tools import HumanInputHandler, HumanInputToolHandler

S = PendingInputStatus


@pytest.fixture
def handler() -> HumanInputHandler:
    numbers = count(1)
    return HumanInputHandler(retention=2, clock=VirtualClock(), ids=lambda: f"p{next(numbers)}")


async def waits(
    handler: HumanInputHandler, pending_id: str, timeout: float = 300
) -> asyncio.Task[str]:
    """Somebody who waits for an answer already."""
    task = asyncio.create_task(handler.wait(pending_id, timeout=timeout))
    await asyncio.sleep(0)
    return task


async def test_R167_a_request_can_be_answered_before_anybody_waits(
    handler: HumanInputHandler,
) -> None:
    pending = await handler.create("ask", {"q": 1}, room_id="r", tool_call_id="t", actor_id="ann")
    assert (pending.pending_id, pending.status, pending.detached) == ("p1", S.PENDING, False)
    assert (pending.room_id, pending.tool_call_id, pending.actor_id) == ("r", "t", "ann")
    assert handler.pending == {"p1": pending}
    assert handler.resolve("p1", "yes")
    assert handler.pending == {}
    assert await handler.wait("p1", timeout=0.001) == "yes"
    assert (pending.status, pending.result) == (S.RESOLVED, "yes")


async def test_R167_a_request_is_settled_once(handler: HumanInputHandler) -> None:
    await handler.create("ask", {})
    assert handler.resolve("p1", "")
    assert not handler.resolve("p1", "other")
    assert not handler.reject("p1", "no")
    assert await handler.wait("p1") == ""
    assert not handler.resolve("p1", "other")
    assert not handler.reject("unknown")


async def test_R167_the_announcement_is_made_of_a_request_that_is_open(
    handler: HumanInputHandler,
) -> None:
    heard: list[PendingInputEvent] = []

    def announce(event: PendingInputEvent) -> None:
        heard.append(event)
        assert handler.resolve(event.pending_id, "at once")

    pending = await handler.create(
        "ask", {"q": 1}, channel_id="ai", channel_type=ChannelType.VOICE, announce=announce
    )
    assert await handler.wait("p1") == "at once"
    (event,) = heard
    assert (event.tool_name, event.arguments, event.channel_id) == ("ask", {"q": 1}, "ai")
    assert (event.channel_type, event.timestamp) == (ChannelType.VOICE, pending.created_at)


async def test_a_request_that_could_not_be_announced_is_given_up(
    handler: HumanInputHandler,
) -> None:
    def announce(event: PendingInputEvent) -> None:
        raise RuntimeError("no line")

    with pytest.raises(RuntimeError, match="no line"):
        await handler.create("ask", {}, announce=announce)
    assert handler.pending == {}
    with pytest.raises(HumanInputRejectedError):
        await handler.wait("p1")


async def test_a_rejection_says_why(handler: HumanInputHandler) -> None:
    pending = await handler.create("ask", {})
    task = await waits(handler, "p1")
    assert handler.reject("p1", "not today")
    with pytest.raises(HumanInputRejectedError, match=r"^not today$") as caught:
        await task
    assert isinstance(caught.value, RuntimeError)
    assert (pending.status, pending.reject_reason) == (S.REJECTED, "not today")


async def test_a_timeout_is_final(handler: HumanInputHandler) -> None:
    pending = await handler.create("ask", {})
    with pytest.raises(TimeoutError):
        await handler.wait("p1", timeout=5)
    assert pending.status is S.TIMED_OUT
    assert not handler.resolve("p1", "late")
    with pytest.raises(TimeoutError):
        await handler.wait("p1")


@pytest.mark.parametrize("answer_first", [True, False])
async def test_R167_an_answer_in_the_pass_of_the_timeout_is_no_timeout(
    handler: HumanInputHandler, answer_first: bool
) -> None:
    await handler.create("ask", {})
    loop = asyncio.get_running_loop()
    due = loop.time() + 5
    order: list[str] = []

    def answer() -> None:
        assert handler.resolve("p1", "just so")
        order.append("answer")

    if answer_first:
        loop.call_at(due, answer)
    task = await waits(handler, "p1", timeout=due - loop.time())
    if not answer_first:
        loop.call_at(due, answer)
    assert await task == "just so"
    assert (order, loop.time()) == (["answer"], due)


async def test_R167_an_answer_survives_that_who_waited_is_cancelled(
    handler: HumanInputHandler,
) -> None:
    await handler.create("ask", {})
    task = await waits(handler, "p1")
    handler.resolve("p1", "yes")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await handler.wait("p1") == "yes"


async def test_a_request_ends_with_the_last_who_waits(handler: HumanInputHandler) -> None:
    pending = await handler.create("ask", {})
    first, second = await waits(handler, "p1"), await waits(handler, "p1")
    first.cancel()
    await asyncio.sleep(0)
    assert handler.pending == {"p1": pending}
    second.cancel()
    await asyncio.sleep(0)
    assert handler.pending == {}
    assert pending.status is S.REJECTED
    assert not handler.resolve("p1", "late")


async def test_everybody_who_waits_gets_the_answer(handler: HumanInputHandler) -> None:
    await handler.create("ask", {})
    tasks = [await waits(handler, "p1") for _ in range(3)]
    handler.resolve("p1", "yes")
    assert await asyncio.gather(*tasks) == ["yes"] * 3


async def test_R167_outcomes_that_were_read_are_kept_for_a_while(
    handler: HumanInputHandler,
) -> None:
    for _ in range(3):
        pending = await handler.create("ask", {})
        handler.resolve(pending.pending_id, pending.pending_id)
        await handler.wait(pending.pending_id)
    assert [await handler.wait(key) for key in ("p2", "p3")] == ["p2", "p3"]
    with pytest.raises(PendingInputNotFoundError) as caught:
        await handler.wait("p1")
    assert isinstance(caught.value, ValueError)
    assert handler.forgotten == 1


async def test_R167_an_answer_that_nobody_read_yet_is_not_forgotten(
    handler: HumanInputHandler,
) -> None:
    for _ in range(5):
        pending = await handler.create("ask", {})
        handler.resolve(pending.pending_id, pending.pending_id)
    assert [await handler.wait(f"p{n}") for n in range(1, 6)] == [f"p{n}" for n in range(1, 6)]
    assert handler.forgotten == 3


async def test_nothing_is_kept_without_retention() -> None:
    handler = HumanInputHandler(retention=0)
    pending = await handler.create("ask", {})
    handler.resolve(pending.pending_id, "yes")
    assert await handler.wait(pending.pending_id) == "yes"
    with pytest.raises(PendingInputNotFoundError):
        await handler.wait(pending.pending_id)


async def test_release_gives_an_open_request_up(handler: HumanInputHandler) -> None:
    await handler.create("ask", {})
    task = await waits(handler, "p1")
    assert handler.release("p1")
    assert not handler.release("p1")
    with pytest.raises(HumanInputRejectedError):
        await task


async def test_R167_release_takes_no_answer_back(handler: HumanInputHandler) -> None:
    await handler.create("ask", {})
    handler.resolve("p1", "yes")
    assert handler.release("p1")
    assert await handler.wait("p1") == "yes"


async def test_a_detached_request_is_over_when_it_is_settled(handler: HumanInputHandler) -> None:
    for _ in range(4):
        pending = await handler.create_detached("ask", {})
        assert pending.detached
        assert handler.resolve(pending.pending_id, "yes")
        assert not handler.release(pending.pending_id)
    assert await handler.wait("p4") == "yes"
    assert handler.forgotten == 2
    heard: list[PendingInputEvent] = []
    await handler.create_detached("ask", {}, announce=heard.append)
    assert handler.release(heard[0].pending_id)


async def test_close_rejects_what_is_open(handler: HumanInputHandler) -> None:
    answered = await handler.create("ask", {})
    handler.resolve(answered.pending_id, "yes")
    waited = await handler.create("ask", {})
    task = await waits(handler, waited.pending_id)
    await handler.create("ask", {})
    await handler.close()
    await handler.close()
    for reading in (task, handler.wait("p3")):
        with pytest.raises(HumanInputRejectedError):
            await reading
    assert await handler.wait("p1") == "yes"
    with pytest.raises(HumanInputRejectedError):
        await handler.create("ask", {})


async def test_close_of_one_channel_leaves_the_others(handler: HumanInputHandler) -> None:
    await handler.create("ask", {}, channel_id="a")
    other = await handler.create("ask", {}, channel_id="b")
    await handler.close(channel_id="a")
    assert handler.pending == {"p2": other}
    await handler.create("ask", {}, channel_id="a")
    assert list(handler.pending) == ["p2", "p3"]


def test_a_negative_retention_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="retention"):
        HumanInputHandler(retention=-1)


# -- tools -----------------------------------------------------------------------------------------


async def test_a_tool_asks_and_gives_the_answer(handler: HumanInputHandler) -> None:
    spec = AITool("ask", "Ask.", {})
    tools = HumanInputToolHandler({"ask"}, 5, handler, [spec])
    assert (tools.handler, tools.tools, tools.timeout) == (handler, [spec], 5)
    assert tools.tool_names == {"ask"}
    task = asyncio.create_task(tools("ask", {"q": 1}))
    await asyncio.sleep(0)
    assert handler.pending["p1"].arguments == {"q": 1}
    handler.resolve("p1", "yes")
    assert await task == "yes"


async def test_a_tool_waits_as_long_as_it_says(handler: HumanInputHandler) -> None:
    tools = HumanInputToolHandler({"ask"}, 5, handler)
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError, match="ask"):
        await tools.ask("ask", {})
    assert asyncio.get_running_loop().time() - began == 5
    assert tools.tools == []


async def test_a_tool_of_somebody_else_asks_nobody() -> None:
    tools = HumanInputToolHandler({"ask"})
    with pytest.raises(ConfigurationError, match="other"):
        await tools.ask("other", {})
    assert tools.handler.pending == {}


@pytest.mark.parametrize(
    "make",
    [
        lambda: HumanInputToolHandler(set()),
        lambda: HumanInputToolHandler("ask"),
        lambda: HumanInputToolHandler({"ask"}, 0),
        lambda: HumanInputToolHandler({"ask"}, float("nan")),
    ],
)
def test_tools_that_cannot_ask_are_refused(make: Callable[[], HumanInputToolHandler]) -> None:
    with pytest.raises(ConfigurationError):
        make()
