"""A source on a real WebSocket connection."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from salon.base import MissingExtraError, UnavailableError
from salon.core.kit import RoomKit
from salon.core.ports.channel import Channel
from salon.models import (
    NO_OUTPUT,
    ChannelBinding,
    ChannelOutput,
    ChannelType,
    InboundMessage,
    RateLimit,
    RoomContext,
    RoomEvent,
    SourceStatus,
    TextContent,
)
from salon.sources import ConnectionEndedError, WebSocketSource

from .helpers import Desk, frame, until

Serve = Callable[[ServerConnection], Awaitable[None]]


class Feed:
    """A server; each connection is served by the next of `script`, the last one again and again."""

    def __init__(self) -> None:
        self.script: list[Serve] = [self.keep]
        self.connections: list[ServerConnection] = []
        self.received: list[str | bytes] = []
        self.server: Server | None = None

    async def handle(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        script = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        await script(connection)

    async def keep(self, connection: ServerConnection) -> None:
        async for message in connection:
            self.received.append(message)

    async def drop(self, connection: ServerConnection) -> None:
        connection.transport.abort()

    @property
    def url(self) -> str:
        assert self.server is not None
        port = next(iter(self.server.sockets)).getsockname()[1]
        return f"ws://127.0.0.1:{port}/feed"

    async def send(self, text: str) -> None:
        await self.connections[-1].send(text)


@pytest.fixture
async def feed() -> AsyncIterator[Feed]:
    feed = Feed()
    async with serve(feed.handle, "127.0.0.1", 0, close_timeout=1) as feed.server:
        yield feed


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    await desk.supervisor.close()


async def test_R68_messages_come_in_order_and_the_source_can_answer(feed: Feed, desk: Desk) -> None:
    source = WebSocketSource(feed.url + "?token=secret", "feed", headers={"X-Key": "k"})
    await desk.supervisor.attach("feed", source)
    await until(lambda: source.status is SourceStatus.CONNECTED)
    for n in range(50):
        await feed.send(frame(str(n), external_id=n))
    await until(lambda: len(desk.messages) == 50)
    assert desk.texts == [str(n) for n in range(50)]
    await source.send("thanks")
    await until(lambda: feed.received)
    assert feed.received == ["thanks"]
    request = feed.connections[0].request
    assert request is not None
    assert (request.path, request.headers["X-Key"]) == ("/feed?token=secret", "k")
    health = await desk.supervisor.health("feed")
    assert health is not None
    assert (health.messages_received, health.error) == (50, None)
    assert "secret" not in repr(health) + source.name
    await desk.supervisor.detach("feed")
    assert source.status is SourceStatus.STOPPED
    assert desk.names == ["attached", "connected", "disconnected", "detached"]
    await until(lambda: feed.connections[0].close_code == 1000)
    with pytest.raises(UnavailableError):
        await source.send("too late")


async def test_what_is_no_message_is_counted(feed: Feed, desk: Desk) -> None:
    source = WebSocketSource(feed.url, "feed")
    await desk.supervisor.attach("feed", source)
    await until(lambda: feed.connections)
    for data in ("nonsense", "{}", frame("ok")):
        await feed.send(data)
    await until(lambda: desk.messages)
    health = await source.healthcheck()
    assert (health.messages_received, health.metadata["skipped"]) == (1, "2")


async def test_a_parser_of_the_hosts_may_fail(
    feed: Feed, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    def parse(raw: str | bytes) -> InboundMessage | None:
        sender, text = str(raw).split("|")
        return InboundMessage(channel_id="feed", sender_id=sender, content=TextContent(body=text))

    await desk.supervisor.attach("feed", WebSocketSource(feed.url, "feed", parser=parse))
    await until(lambda: feed.connections)
    for data in ("private", "ann|hi"):
        await feed.send(data)
    await until(lambda: desk.messages)
    assert desk.texts == ["hi"]
    assert "could not be parsed" in caplog.text


async def test_R69_a_lost_connection_is_made_again(feed: Feed, desk: Desk) -> None:
    feed.script = [feed.drop, feed.keep]
    await desk.supervisor.attach("feed", WebSocketSource(feed.url, "feed"), restart_delay=0.01)
    await until(lambda: desk.names.count("connected") == 2)
    await feed.send(frame("again"))
    await until(lambda: desk.messages)
    assert desk.names == ["attached", "connected", "disconnected", "error", "connected"]
    error = desk.events[3].data["error"]
    assert "ConnectionClosedError" in error


async def test_R69_a_server_that_is_not_there(desk: Desk) -> None:
    source = WebSocketSource("ws://127.0.0.1:9/x", "feed", open_timeout=2)
    await desk.supervisor.attach("feed", source, restart_delay=0.01, max_restart_attempts=2)
    await until(lambda: "exhausted" in desk.names)
    assert desk.names == ["attached", "error", "error", "error", "exhausted"]
    assert desk.supervisor.status("feed") is SourceStatus.ERROR


async def test_reconnecting_by_itself(feed: Feed, desk: Desk) -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.close()

    feed.script = [feed.drop, close, feed.keep]
    source = WebSocketSource(feed.url, "feed", reconnect=True, max_reconnect_backoff=0.01)
    await desk.supervisor.attach("feed", source)
    await until(lambda: len(feed.connections) == 3)
    await until(lambda: source.status is SourceStatus.CONNECTED)
    await feed.send(frame("again"))
    await until(lambda: desk.messages)
    assert "error" not in desk.names
    assert desk.names.count("connected") == 3
    health = await source.healthcheck()
    assert health.error is None


async def test_closed_in_order_is_no_error(feed: Feed, desk: Desk) -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.close()

    feed.script = [close]
    await desk.supervisor.attach("feed", WebSocketSource(feed.url, "feed"), auto_restart=False)
    await until(lambda: "disconnected" in desk.names)
    assert desk.names == ["attached", "connected", "disconnected"]
    assert desk.supervisor.status("feed") is SourceStatus.STOPPED


async def test_too_long_a_frame_ends_the_connection(feed: Feed, desk: Desk) -> None:
    source = WebSocketSource(feed.url, "feed", max_size=100)
    await desk.supervisor.attach("feed", source, auto_restart=False)
    await until(lambda: feed.connections)
    await feed.send("x" * 101)
    await until(lambda: "error" in desk.names)
    assert desk.messages == []


@pytest.mark.parametrize("url", ["http://example.org", "nonsense"])
async def test_a_url_of_another_kind_is_refused_for_good(url: str, desk: Desk) -> None:
    source = WebSocketSource(url, "feed", reconnect=True)
    with pytest.raises(ConnectionEndedError, match="not a WebSocket URL"):
        await source.start(desk.emit)
    assert source.status is SourceStatus.ERROR


async def test_stopping_while_it_connects_reconnects_or_passes_on(feed: Feed, desk: Desk) -> None:
    # a server that accepts and says nothing
    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    connecting = WebSocketSource(f"ws://127.0.0.1:{port}", "feed", close_timeout=0.1)
    waiting = WebSocketSource("ws://127.0.0.1:9", "feed", reconnect=True)
    held = asyncio.Event()

    async def hold(message: InboundMessage) -> Any:
        held.set()
        await asyncio.Event().wait()

    busy = WebSocketSource(feed.url, "feed")
    runs = [
        asyncio.create_task(connecting.start(desk.emit)),
        asyncio.create_task(waiting.start(desk.emit)),
        asyncio.create_task(busy.start(hold)),
    ]
    await until(lambda: feed.connections)
    await feed.send(frame("x"))
    await held.wait()
    await until(lambda: waiting.status is SourceStatus.RECONNECTING)
    async with asyncio.timeout(5):
        for source in (connecting, waiting, busy):
            await source.stop()
            await source.stop()
        await asyncio.gather(*runs)
    assert {s.status for s in (connecting, waiting, busy)} == {SourceStatus.STOPPED}
    silent.close()


async def test_a_source_may_be_started_again(feed: Feed, desk: Desk) -> None:
    source = WebSocketSource(feed.url, "feed")
    for n in (1, 2):
        run = asyncio.create_task(source.start(desk.emit))
        await until(lambda n=n: len(feed.connections) == n)  # type: ignore[misc]
        await feed.send(frame(str(n)))
        await until(lambda n=n: len(desk.messages) == n)  # type: ignore[misc]
        await source.stop()
        await run
    assert desk.texts == ["1", "2"]


async def test_a_rate_limit_holds_back_and_loses_nothing(feed: Feed, desk: Desk) -> None:
    source = WebSocketSource(feed.url, "feed", rate_limit=RateLimit(max_per_second=20))
    await desk.supervisor.attach("feed", source)
    await until(lambda: feed.connections)
    began = asyncio.get_running_loop().time()
    for n in range(24):
        await feed.send(frame(str(n)))
    await until(lambda: len(desk.messages) == 24)
    assert asyncio.get_running_loop().time() - began > 0.15
    assert desk.texts == [str(n) for n in range(24)]


async def test_sending_on_a_connection_that_has_just_gone(feed: Feed, desk: Desk) -> None:
    source = WebSocketSource(feed.url, "feed")
    await desk.supervisor.attach("feed", source, auto_restart=False)
    await until(lambda: source.status is SourceStatus.CONNECTED)
    connection = source._connection
    assert connection is not None
    await connection.close()
    source._connection = connection  # not noticed yet
    with pytest.raises(UnavailableError, match="lost its connection"):
        await source.send("x")


async def test_without_the_extra_it_says_which(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    monkeypatch.setitem(sys.modules, "websockets.asyncio.client", None)
    source = WebSocketSource("ws://127.0.0.1:9", "feed")
    with pytest.raises(MissingExtraError, match="client"):
        await source.start(desk.emit)


class Board(Channel):
    channel_type = ChannelType.WEBHOOK

    async def deliver(
        self, event: RoomEvent, binding: ChannelBinding, context: RoomContext
    ) -> ChannelOutput:
        return NO_OUTPUT


async def test_R68_what_a_source_emits_takes_the_inbound_pipeline(feed: Feed) -> None:
    async with RoomKit(shutdown_timeout=0) as kit:
        kit.register_channel(Board("board"))
        await kit.create_room("room")
        await kit.attach_channel("room", "board", group=True)
        await kit.attach_source("board", WebSocketSource(feed.url, "board"))
        await until(lambda: feed.connections)
        for text, sender in (("one", "ann"), ("two", "eve"), ("two", "eve")):
            await feed.send(frame(text, sender, external_id=text))
        events: list[RoomEvent] = []
        async with asyncio.timeout(5):
            while len(events) < 2:
                events = [e for e in await kit.store.list_events("room") if e.text]
                await asyncio.sleep(0.01)
        assert [(e.text, e.source.participant_id) for e in events] == [
            ("one", "ann"),
            ("two", "eve"),
        ]
        assert kit.list_sources() == {"board": SourceStatus.CONNECTED}
        health = await kit.source_health("board")
        assert health is not None
        assert health.messages_received >= 2
    assert kit.list_sources() == {}
