"""Readers of one call: order, bounds, the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from salon.app import call_stream
from salon.app.call_stream import (
    MAX_READERS,
    MAX_SOUND,
    MAX_WAITING,
    CallReader,
    CallReaders,
    CallStream,
    TooManyReadersError,
)
from salon.gateway import EventBus
from salon.testing import virtual_time


def read(message: bytes) -> tuple[str, Any]:
    name, data, *rest = message.decode().split("\n")
    assert rest == ["", ""]
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def all_of(reader: CallReader) -> list[tuple[str, Any]]:
    return [read(message) async for message in reader.messages()]


async def test_G203_events_commands_and_sound_come_in_order() -> None:
    reader = CallReader("a")
    reader.command({"command": "invite"})
    reader.event({"event": "answer", "text": "\u2028"})
    reader.binary(b"\x01\xff")
    reader.ended()
    reader.event({"event": "late"})
    reader.binary(b"late")
    assert await all_of(reader) == [
        ("command", {"command": "invite"}),
        ("event", {"event": "answer", "text": "\u2028"}),
        ("event", {"event": "binary", "trackId": "a", "data": [1, 255]}),
    ]


async def test_G203_what_was_dropped_takes_no_place() -> None:
    """A reader that takes a message now and then keeps its bounds."""
    reader = CallReader("a")
    reader.event({"event": "first"})
    for number in range(10_000):
        reader.binary(number.to_bytes(2, "big"))
    reader.event({"event": "hangup"})
    assert len(reader._waiting) <= 2 * MAX_SOUND + 3
    reader.ended()
    got = await all_of(reader)
    assert [data["event"] for _, data in got] == ["first", *["binary"] * MAX_SOUND, "hangup"]
    assert got[-2][1]["data"] == list((9_999).to_bytes(2, "big"))
    assert reader.dropped == 10_000 - MAX_SOUND


async def test_G203_of_sound_the_newest_packets_stay() -> None:
    reader = CallReader("a")
    for number in range(MAX_SOUND + 3):
        reader.binary(bytes([number]))
    reader.event({"event": "hangup"})
    reader.ended()
    got = await all_of(reader)
    assert [data["data"] for _, data in got[:-1]] == [[n] for n in range(3, MAX_SOUND + 3)]
    assert reader.dropped == 3
    assert got[-1][1] == {"event": "hangup"}


async def test_sound_can_be_left_out() -> None:
    reader = CallReader("a", sound=False)
    reader.binary(b"x")
    reader.ended()
    assert await all_of(reader) == []


async def test_who_reads_too_slowly_is_let_go_and_told() -> None:
    reader = CallReader("a")
    for number in range(MAX_WAITING + 5):
        reader.event({"event": "e", "n": number})
    got = await all_of(reader)
    assert len(got) == MAX_WAITING + 1
    assert got[-1] == ("end", {"reason": "too slow"})


@virtual_time
async def test_G203_a_comment_comes_every_15_seconds() -> None:
    reader = CallReader("a")
    messages = reader.messages()
    began = asyncio.get_running_loop().time()
    assert await anext(messages) == b": still here\n\n"
    assert asyncio.get_running_loop().time() - began == pytest.approx(15.0)
    reader.event({"event": "ping"})
    assert read(await anext(messages))[1] == {"event": "ping"}
    reader.ended()
    assert [message async for message in messages] == []


async def test_readers_are_counted_bounded_and_let_go_when_the_server_stops() -> None:
    bus = EventBus()
    readers = CallReaders(bus.watch)
    (first, leave), *_ = [readers.add("a") for _ in range(MAX_READERS)]
    with pytest.raises(TooManyReadersError):
        readers.add("a")
    leave()
    assert len(readers) == MAX_READERS - 1
    assert len(bus.watchers("a")) == MAX_READERS - 1
    bus.show("a", "event", {"event": "x"})
    other, _ = readers.add("b")
    readers.close()
    assert await all_of(other) == [("end", {"reason": "the server stops"})]
    first.ended()
    assert await all_of(first) == []


Sent = list[dict[str, Any]]


def served(reader: CallReader, sent: Sent, left: asyncio.Event) -> tuple[Any, Callable[[], int]]:
    gone: list[int] = []

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    stream = CallStream(reader, lambda: gone.append(1))
    return stream({"type": "http"}, receive, send), lambda: len(gone)


async def test_the_answer_ends_with_the_call() -> None:
    reader, sent = CallReader("a"), Sent()
    answer, gone = served(reader, sent, asyncio.Event())
    reader.event({"event": "hangup"})
    reader.ended()
    await answer
    assert dict(sent[0]["headers"])[b"content-type"] == b"text/event-stream;charset=utf-8"
    assert [message.get("more_body") for message in sent[1:]] == [True, False]
    assert gone() == 1


async def test_a_reader_that_leaves_is_forgotten() -> None:
    reader, sent, left = CallReader("a"), Sent(), asyncio.Event()
    answer, gone = served(reader, sent, left)
    left.set()
    await answer
    assert len(sent) == 1
    assert gone() == 1


@virtual_time
async def test_a_reader_that_takes_nothing_is_dropped() -> None:
    reader = CallReader("a")
    reader.event({"event": "x"})
    gone: list[int] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    began = asyncio.get_running_loop().time()
    await CallStream(reader, lambda: gone.append(1))({"type": "http"}, receive, send)
    waited = asyncio.get_running_loop().time() - began
    assert waited == pytest.approx(call_stream.SEND_TIMEOUT_S)
    assert gone == [1]
