"""Coroutine callbacks that end the connection themselves: none waits for what waits for it."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
import pytest

from salon.clients.odyssey.callbacks import Callbacks, end_callbacks
from salon.clients.odyssey.handlers import OdysseyEventHandlers
from salon.clients.odyssey.logs import Log
from salon.clients.odyssey.types import VideoFrame

LOG = Log("client", "Client", debug=False)
LIMIT_S = 10.0
GRACE_S = 60.0
"""Longer than a test may take: whoever waits for the grace does not get there."""

PICTURE = VideoFrame(np.zeros((2, 2, 3), np.uint8), 2, 2, 0)


async def finished(callbacks: Callbacks) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not callbacks.idle:
            await asyncio.sleep(0)


async def test_O63_two_callbacks_at_once_may_disconnect() -> None:
    left: list[str] = []
    both = asyncio.Barrier(2)

    async def connected() -> None:
        await both.wait()
        await callbacks.close(GRACE_S)
        left.append("connected")

    async def show(_frame: VideoFrame) -> None:
        await both.wait()
        await callbacks.close(GRACE_S)
        left.append("show")

    callbacks = Callbacks(OdysseyEventHandlers(on_connected=connected, on_video_frame=show), LOG)
    callbacks.event("connected")
    callbacks.video_frame(PICTURE)
    await finished(callbacks)
    assert sorted(left) == ["connected", "show"]


async def test_O63_two_clients_may_disconnect_each_other() -> None:
    left: list[str] = []
    both = asyncio.Barrier(2)

    async def first() -> None:
        await both.wait()
        await theirs.close(GRACE_S)
        left.append("first")

    async def second() -> None:
        await both.wait()
        await ours.close(GRACE_S)
        left.append("second")

    ours = Callbacks(OdysseyEventHandlers(on_connected=first), LOG)
    theirs = Callbacks(OdysseyEventHandlers(on_connected=second), LOG)
    ours.event("connected")
    theirs.event("connected")
    await finished(ours)
    await finished(theirs)
    assert sorted(left) == ["first", "second"]


async def test_O63_a_callback_may_disconnect_in_a_task_of_its_own() -> None:
    left: list[str] = []

    async def connected() -> None:
        await asyncio.gather(callbacks.close(GRACE_S))
        left.append("gathered")
        await asyncio.wait_for(callbacks.close(GRACE_S), LIMIT_S)
        left.append("waited for")

    callbacks = Callbacks(OdysseyEventHandlers(on_connected=connected), LOG)
    callbacks.event("connected")
    await finished(callbacks)
    assert left == ["gathered", "waited for"]


async def test_O63_who_disconnects_from_without_waits_for_a_callback_that_does_too() -> None:
    left: list[str] = []
    begun = asyncio.Event()

    async def connected() -> None:
        begun.set()
        await callbacks.close(GRACE_S)
        for _ in range(20):
            await asyncio.sleep(0)
        left.append("connected")

    callbacks = Callbacks(OdysseyEventHandlers(on_connected=connected), LOG)
    callbacks.event("connected")
    await begun.wait()
    async with asyncio.timeout(LIMIT_S):
        await callbacks.close(GRACE_S)
    assert left == ["connected"]
    assert callbacks.idle


async def test_O63_a_task_of_a_callback_that_is_over_is_no_part_of_the_next() -> None:
    """It waits for the callback that runs as everybody does."""
    left: list[str] = []
    tasks: list[asyncio.Task[None]] = []
    second_runs = asyncio.Event()

    async def close_later() -> None:
        await second_runs.wait()
        await callbacks.close(GRACE_S)
        left.append("closed")

    async def started(text: str) -> None:
        if text == "first":
            tasks.append(asyncio.ensure_future(close_later()))
            return
        second_runs.set()
        for _ in range(20):
            await asyncio.sleep(0)
        left.append(text)

    callbacks = Callbacks(OdysseyEventHandlers(on_stream_started=started), LOG)
    callbacks.event("stream_started", "first")
    callbacks.event("stream_started", "second")
    await finished(callbacks)
    async with asyncio.timeout(LIMIT_S):
        await tasks[0]
    assert left == ["second", "closed"]


async def test_several_have_one_grace_together() -> None:
    cancelled: list[str] = []

    def forever(name: str) -> Callbacks:
        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(name)
                raise

        return Callbacks(OdysseyEventHandlers(on_connected=wait), LOG)

    several = forever("one"), forever("two")
    for callbacks in several:
        callbacks.event("connected")
    async with asyncio.timeout(LIMIT_S):
        await end_callbacks(several, grace_s=0.01)
    assert cancelled == ["one", "two"]
    assert all(callbacks.idle for callbacks in several)


async def test_O57_every_coroutine_that_fails_is_logged_by_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def connected() -> None:
        raise ValueError("one")

    async def started(_text: str) -> None:
        raise ValueError("two")

    callbacks = Callbacks(
        OdysseyEventHandlers(on_connected=connected, on_stream_started=started), LOG
    )
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            callbacks.event("connected")
            callbacks.event("stream_started", "x")
        await callbacks.close()
    said = [record.getMessage() for record in caplog.records]
    assert [text.split()[1] for text in said] == ["on_connected", "on_stream_started"]
