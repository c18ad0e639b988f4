"""Listeners of framework events (R169)."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable
from typing import Any

import pytest

from salon.core import framework
from salon.core.framework import FrameworkEvent, FrameworkEvents

from .helpers import PATIENCE


class Heard(list[Any]):
    async def note(self, event: FrameworkEvent) -> None:
        await asyncio.sleep(0)
        self.append(event.data["number"])


class Callback:
    """An object with an asynchronous ``__call__``; it has no name."""

    def __init__(self, heard: Heard) -> None:
        self.heard = heard

    async def __call__(self, event: FrameworkEvent) -> None:
        await self.heard.note(event)


@pytest.fixture(autouse=True)
def nothing_is_left_unawaited() -> Any:
    gc.collect()  # what others left is not told here
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


async def test_R169_whatever_can_be_awaited_is_awaited_in_order() -> None:
    events, heard = FrameworkEvents(), [Heard() for _ in range(5)]
    made: list[asyncio.Future[None]] = []

    def future(event: FrameworkEvent) -> Awaitable[None]:
        made.append(asyncio.ensure_future(heard[2].note(event)))
        return made[-1]

    events.on("named", lambda event: heard[0].note(event))
    events.on("named", Callback(heard[1]))
    events.on("named", future)
    events.on("named", heard[3].note)
    events.on("*", Callback(heard[4]))
    for number in range(3):
        events.emit("named", number=number)
    await events.close(PATIENCE)
    assert heard == [[0, 1, 2]] * 5
    assert all(future.done() for future in made)


async def test_R169_an_awaitable_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    events, heard = FrameworkEvents(), Heard()

    async def fail(event: FrameworkEvent) -> None:
        raise ValueError("mine")

    events.on("*", lambda event: fail(event))
    events.on("*", Callback(heard))
    events.emit("named", number=1)
    await events.close(PATIENCE)
    assert heard == [1]
    assert "framework listeners" in caplog.text


async def test_a_slow_listener_misses_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framework, "MAX_WAITING", 2)
    events, lazy, plain = FrameworkEvents(), Heard(), Heard()
    events.on("*", Callback(lazy))
    events.on("*", plain.note)
    for number in range(5):
        events.emit("named", number=number)
    assert events.dropped == 6
    await events.close(PATIENCE)
    assert (lazy, plain) == ([0, 1], [0, 1])


async def test_what_is_given_up_at_the_end_leaves_no_warning() -> None:
    events = FrameworkEvents()

    async def hang(event: FrameworkEvent) -> None:
        await asyncio.Event().wait()

    events.on("*", lambda event: hang(event))
    for number in range(3):
        events.emit("named", number=number)
    await asyncio.sleep(0)
    await events.close(0)
    events.emit("named", number=4)
    await asyncio.sleep(0)


def test_before_anything_runs_asynchronous_listeners_miss_what_happens() -> None:
    events, heard = FrameworkEvents(), Heard()
    names: list[str] = []
    events.on("*", heard.note)
    events.on("*", Callback(heard))
    events.on("*", lambda event: asyncio.Event().wait())  # type: ignore[arg-type,return-value]
    events.on("*", lambda event: names.append(event.type))
    events.emit("named", number=1)
    assert (heard, names, events.dropped) == ([], ["named"], 3)
