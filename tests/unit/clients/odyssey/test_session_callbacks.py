"""Callbacks as functions and coroutines, and readers."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from salon.clients.odyssey.callbacks import MAX_WAITING, Callbacks
from salon.clients.odyssey.feeds import Feed
from salon.clients.odyssey.handlers import OdysseyEventHandlers
from salon.clients.odyssey.logs import Log
from salon.clients.odyssey.types import AudioFrame, VideoFrame

LOG = Log("client", "Client", debug=False)


def picture(number: int) -> VideoFrame:
    return VideoFrame(np.zeros((2, 2, 3), np.uint8), 2, 2, number)


def test_functions_are_called_at_once_even_while_a_coroutine_waits() -> None:
    async def run() -> list[str]:
        said: list[str] = []
        gate = asyncio.Event()

        async def connected() -> None:
            await gate.wait()
            said.append("connected")

        callbacks = Callbacks(
            OdysseyEventHandlers(on_connected=connected, on_stream_started=said.append), LOG
        )
        callbacks.event("connected")
        callbacks.event("stream_started", "x")
        assert said == ["x"]
        gate.set()
        await callbacks.close()
        return said

    assert asyncio.run(run()) == ["x", "connected"]


async def test_coroutines_run_in_the_order_of_the_events() -> None:
    said: list[str] = []

    async def slow(text: str) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        said.append(f"started {text}")

    async def quick(text: str) -> None:
        said.append(f"acknowledged {text}")

    callbacks = Callbacks(
        OdysseyEventHandlers(on_stream_started=slow, on_interact_acknowledged=quick), LOG
    )
    for number in range(3):
        callbacks.event("stream_started", str(number))
        callbacks.event("interact_acknowledged", str(number))
    assert not callbacks.idle
    await callbacks.close()
    assert callbacks.idle
    assert said == [
        f"{what} {number}" for number in range(3) for what in ("started", "acknowledged")
    ]


async def test_too_many_coroutines_are_dropped_and_counted() -> None:
    ran: list[str] = []
    gate = asyncio.Event()

    async def slow(text: str) -> None:
        await gate.wait()
        ran.append(text)

    callbacks = Callbacks(OdysseyEventHandlers(on_stream_started=slow), LOG)
    for number in range(MAX_WAITING + 10):
        callbacks.event("stream_started", str(number))
    await asyncio.sleep(0)
    for number in range(5):
        callbacks.event("stream_started", f"later {number}")
    gate.set()
    await callbacks.close()
    assert callbacks.events_dropped >= 10
    assert len(ran) + callbacks.events_dropped == MAX_WAITING + 15
    assert ran[:3] == ["0", "1", "2"]


@pytest.mark.parametrize("is_coroutine", [False, True])
async def test_what_a_callback_raises_goes_to_on_error(is_coroutine: bool) -> None:
    errors: list[tuple[Exception, bool]] = []

    def throw() -> None:
        raise LookupError("mine")

    async def throw_later() -> None:
        raise LookupError("mine")

    callbacks = Callbacks(
        OdysseyEventHandlers(
            on_connected=throw_later if is_coroutine else throw,
            on_error=lambda error, fatal: errors.append((error, fatal)),
        ),
        LOG,
    )
    callbacks.event("connected")
    await callbacks.close()
    [(error, fatal)] = errors
    assert isinstance(error, LookupError)
    assert fatal is False


@pytest.mark.parametrize("is_coroutine", [False, True])
async def test_what_on_error_raises_goes_nowhere_but_to_the_log(
    is_coroutine: bool, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Any] = []

    def throw(error: Exception, fatal: bool) -> None:
        calls.append(error)
        raise LookupError("again")

    async def throw_later(error: Exception, fatal: bool) -> None:
        throw(error, fatal)

    callbacks = Callbacks(
        OdysseyEventHandlers(on_error=throw_later if is_coroutine else throw), LOG
    )
    callbacks.event("error", ValueError("first"), True)
    await callbacks.close()
    assert len(calls) == 1
    assert "LookupError('again')" in caplog.text


async def test_a_callback_that_raises_a_cancellation_cancels_nobody() -> None:
    errors: list[Exception] = []

    async def cancel() -> None:
        raise asyncio.CancelledError

    callbacks = Callbacks(
        OdysseyEventHandlers(
            on_connected=cancel, on_error=lambda error, fatal: errors.append(error)
        ),
        LOG,
    )
    callbacks.event("connected")
    callbacks.event("connected")
    await callbacks.close()
    assert [type(error) for error in errors] == [RuntimeError, RuntimeError]


async def test_an_on_error_that_raises_a_cancellation_is_not_told_of_itself() -> None:
    said: list[str] = []

    async def on_error(error: Exception, fatal: bool) -> None:
        said.append(str(error))
        if len(said) < 10:
            raise asyncio.CancelledError

    def fails(stream_id: str) -> None:
        raise ValueError(stream_id)

    callbacks = Callbacks(OdysseyEventHandlers(on_error=on_error, on_stream_started=fails), LOG)
    callbacks.event("stream_started", "one")
    callbacks.event("stream_started", "two")
    await callbacks.close()
    assert said == ["one", "two"]


async def test_a_coroutine_without_end_is_cancelled_at_the_close() -> None:
    cancelled: list[bool] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    callbacks = Callbacks(OdysseyEventHandlers(on_connected=forever), LOG)
    callbacks.event("connected")
    callbacks.event("connected")  # waits behind it; never begun
    await asyncio.sleep(0)
    await callbacks.close(grace_s=0.01)
    assert cancelled == [True]
    callbacks.event("connected")  # refused, without a warning of a coroutine never awaited
    assert callbacks.idle


async def test_close_from_within_a_callback_does_not_wait_for_itself() -> None:
    said: list[str] = []

    async def leave() -> None:
        callbacks.event("stream_started", "last")
        await callbacks.close()
        said.append("left")

    async def started(text: str) -> None:
        said.append(text)

    callbacks = Callbacks(OdysseyEventHandlers(on_connected=leave, on_stream_started=started), LOG)
    callbacks.event("connected")
    async with asyncio.timeout(5):
        while len(said) < 2:
            await asyncio.sleep(0)
    assert said == ["left", "last"]


async def test_a_busy_frame_coroutine_gets_the_newest_next() -> None:
    shown: list[int] = []
    gate = asyncio.Event()

    async def show(frame: VideoFrame) -> None:
        shown.append(frame.timestamp_ms)
        await gate.wait()

    callbacks = Callbacks(OdysseyEventHandlers(on_video_frame=show), LOG)
    callbacks.video_frame(picture(0))
    await asyncio.sleep(0)
    for number in range(1, 6):
        callbacks.video_frame(picture(number))
    assert callbacks.frames_dropped == 4
    gate.set()
    await callbacks.close()
    assert shown == [0, 5]


async def test_sound_keeps_its_order() -> None:
    heard: list[int] = []

    async def hear(frame: AudioFrame) -> None:
        await asyncio.sleep(0)
        heard.append(frame.timestamp_ms)

    callbacks = Callbacks(OdysseyEventHandlers(on_audio_frame=hear), LOG)
    for number in range(10):
        callbacks.audio_frame(AudioFrame(np.zeros((960, 2), np.int16), 48_000, number))
    await callbacks.close()
    assert heard == list(range(10))


# -- readers -----------------------------------------------------------------------------------


async def test_a_reader_ends_after_its_last_item() -> None:
    feed: Feed[int] = Feed(3)
    feed.open()
    early = feed.reader()
    for number in range(5):
        feed.put(number)
    late = feed.reader()
    feed.put(5)
    feed.close()
    assert [item async for item in early] == [3, 4, 5]
    assert early.missed == 3
    assert [item async for item in late] == [5]


async def test_a_reader_of_nothing_ends_at_once() -> None:
    feed: Feed[int] = Feed(1)
    assert [item async for item in feed.reader()] == []
    waiting = feed.reader()
    feed.open()
    feed.put(1)
    assert await anext(waiting) == 1
    feed.close()
    feed.open()
    assert [item async for item in waiting] == []


async def test_a_cancelled_wait_loses_nothing() -> None:
    feed: Feed[int] = Feed(2)
    feed.open()
    reader = feed.reader()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await anext(reader)
    feed.put(1)
    assert await anext(reader) == 1
    await reader.aclose()
    feed.put(2)
    assert [item async for item in reader] == []


async def test_a_reader_that_is_dropped_is_forgotten() -> None:
    feed: Feed[int] = Feed(1)
    feed.open()
    reader = feed.reader()
    assert len(feed._readers) == 1
    del reader
    assert len(feed._readers) == 0
