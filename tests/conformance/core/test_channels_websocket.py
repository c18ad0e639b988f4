"""The WebSocket channel: rooms, slow readers, answers as they form (chapter 7; R54, R55)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conformance.core.stage import (
    ROOM,
    RecordingTransport,
    ScriptedAgent,
    Stage,
    stream_of,
)

from salon.channels.websocket import BOUND, Connection, WebSocketChannel
from salon.models import (
    ChannelMediaType,
    HookResult,
    HookTrigger,
    RoomContext,
    RoomEvent,
)


class Reader:
    """One person on a socket: everything a connection sends, as it comes."""

    def __init__(self, channel: WebSocketChannel, room_id: str = ROOM) -> None:
        self.connection: Connection = channel.connect(room_id, "bob", "Bob")
        self.got: list[dict[str, Any]] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for item in self.connection.messages():
            self.got.append(dict(item))

    @property
    def kinds(self) -> list[str]:
        return [item["type"] for item in self.got]

    @property
    def texts(self) -> list[str]:
        return [item["event"]["content"]["body"] for item in self.got if item["type"] == "event"]


async def test_R54_only_the_connections_of_the_room_get_an_event(stage: Stage) -> None:
    channel, sms = WebSocketChannel(), RecordingTransport("sms")
    await stage.room(sms, channel)
    await stage.room(sms, channel, room_id="other")
    here, also_here, there = Reader(channel), Reader(channel), Reader(channel, "other")
    await stage.inbound("sms", "for this room")
    await stage.settle()
    assert (here.texts, also_here.texts, there.texts) == (["for this room"],) * 2 + ([],)


async def test_R54_a_reader_that_left_gets_nothing_more(stage: Stage) -> None:
    channel = WebSocketChannel()
    await stage.room(RecordingTransport("sms"), channel)
    reader = Reader(channel)
    channel.disconnect(reader.connection)
    await stage.inbound("sms")
    await stage.settle()
    assert (reader.got, channel.connections, reader.task.done()) == ([], 0, True)


async def test_R54_a_stalled_connection_is_evicted_and_holds_up_nobody(stage: Stage) -> None:
    channel = WebSocketChannel()
    await stage.room(RecordingTransport("sms"), channel)
    stalled, reader = channel.connect(ROOM), Reader(channel)
    began = asyncio.get_running_loop().time()
    for number in range(BOUND + 1):
        await stage.inbound("sms", str(number))
    await stage.settle()
    assert asyncio.get_running_loop().time() - began < 60
    assert (stalled.evicted, reader.connection.evicted) == (True, False)
    assert reader.texts == [str(number) for number in range(BOUND + 1)]
    assert channel.connections == 1


async def test_R54_the_channel_declares_what_a_browser_shows() -> None:
    declared = WebSocketChannel().capabilities()
    kinds = ChannelMediaType
    assert set(declared.media_types) == {
        kinds.TEXT, kinds.RICH, kinds.MEDIA, kinds.AUDIO, kinds.VIDEO, kinds.LOCATION
    }  # fmt: skip
    flags = (
        "typing read_receipts reactions buttons cards quick_replies audio video media edit delete"
    )
    for flag in flags.split():
        assert getattr(declared, f"supports_{flag}") is True, flag
    assert declared.max_length is None


async def test_R55_a_stream_reaches_clients_as_start_chunks_and_end(stage: Stage) -> None:
    channel, sms = WebSocketChannel(), RecordingTransport("sms")
    agent = ScriptedAgent("ai", lambda event, context: stream_of("It ", "rains."))
    await stage.room(sms, channel, agent)
    reader = Reader(channel)
    await stage.inbound("sms", "weather?")
    await stage.settle()
    question, start, *chunks, end = reader.got
    assert question["type"] == "event"
    assert (start["type"], start["room_id"], start["source"]["channel_id"]) == (
        "stream_start", ROOM, "ai"
    )  # fmt: skip
    assert {item["type"] for item in chunks} == {"stream_chunk"}
    assert "".join(item["delta"] for item in chunks) == "It rains."
    assert end["type"] == "stream_end"
    assert len({item["stream_id"] for item in (start, *chunks, end)}) == 1
    stored = (await stage.messages())[-1]
    assert (end["event"]["id"], end["event"]["content"]["body"]) == (stored.id, "It rains.")
    assert reader.texts == ["weather?"], "the answer is not sent a second time"


async def test_R55_each_chunk_tells_where_it_belongs(stage: Stage) -> None:
    steps = [asyncio.Event() for _ in range(3)]

    async def slowly() -> AsyncIterator[str]:
        for step, word in zip(steps, ("one ", "two ", "three"), strict=True):
            await step.wait()
            yield word

    channel = WebSocketChannel()
    agent = ScriptedAgent("ai", lambda event, context: slowly())
    await stage.room(RecordingTransport("sms"), channel, agent)
    reader = Reader(channel)
    call = stage.start(stage.inbound("sms"))
    for step in steps:
        await stage.settle()
        step.set()
    await call
    await stage.settle()
    shown = ""
    for item in reader.got:
        if item["type"] == "stream_chunk":
            assert item["at"] == len(shown)
            shown += item["delta"]
    assert shown == "one two three"
    assert reader.kinds == ["event", "stream_start", *["stream_chunk"] * 3, "stream_end"]


async def test_R55_a_broken_stream_ends_with_what_was_said(stage: Stage) -> None:
    channel = WebSocketChannel()
    agent = ScriptedAgent("ai", lambda event, context: stream_of("It ", OSError("model gone")))
    await stage.room(RecordingTransport("sms"), channel, agent)
    reader = Reader(channel)
    await stage.inbound("sms", "weather?")
    await stage.settle()
    end = next(item for item in reader.got if item["type"] == "stream_end")
    assert end["event"]["content"]["body"] == "It "
    assert end["event"]["metadata"]["failed"] is True


@pytest.mark.parametrize("broken", [True, False], ids=["broken", "whole"])
async def test_R55_a_stream_that_is_not_stored_is_taken_back(stage: Stage, broken: bool) -> None:
    steps: list[str | BaseException] = ["It ", *([OSError("model gone")] if broken else [])]
    channel = WebSocketChannel()
    agent = ScriptedAgent("ai", lambda event, context: stream_of(*steps))
    await stage.room(RecordingTransport("sms"), channel, agent)

    @stage.kit.hook(HookTrigger.BEFORE_BROADCAST, channel_ids={"ai"})
    async def refuse(event: RoomEvent, context: RoomContext) -> HookResult:
        return HookResult.block("no")

    reader = Reader(channel)
    await stage.inbound("sms", "weather?")
    await stage.settle()
    last = [item for item in reader.got if item["type"].startswith("stream_")][-1]
    assert last["type"] == ("stream_error" if broken else "stream_end")
    assert last.get("event") is None
    assert bool(last.get("error")) is broken


async def test_R55_stored_events_are_interleaved_with_a_stream(stage: Stage) -> None:
    more = asyncio.Event()

    async def slowly() -> AsyncIterator[str]:
        yield "thinking "
        await more.wait()
        yield "done"

    def once(event: Any, context: Any) -> AsyncIterator[str] | None:
        return slowly() if event.text == "question" else None

    channel = WebSocketChannel()
    await stage.room(RecordingTransport("sms"), channel, ScriptedAgent("ai", once))
    reader = Reader(channel)
    call = stage.start(stage.inbound("sms", "question"))
    await stage.settle()
    other = stage.start(stage.inbound("sms", "meanwhile"))
    await stage.settle()
    assert reader.texts == ["question", "meanwhile"]
    assert "stream_end" not in reader.kinds
    more.set()
    await asyncio.gather(call, other)
    await stage.settle()
    assert reader.kinds[-1] == "stream_end"


@pytest.mark.parametrize("streams", [True, False])
async def test_R55_channels_that_do_not_stream_get_the_whole_event(
    stage: Stage, streams: bool
) -> None:
    channel, sms, plain = WebSocketChannel(), RecordingTransport("sms"), RecordingTransport("web")
    agent = ScriptedAgent("ai", lambda event, context: stream_of("It ", "rains."))
    await stage.room(sms, plain, *([channel] if streams else []), agent)
    if streams:
        Reader(channel)
    await stage.inbound("sms", "weather?")
    await stage.settle()
    assert sms.bodies == ["It rains."]
    assert plain.bodies == ["weather?", "It rains."]
