"""A source on a real stream of Server-Sent Events."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from salon.base import ConfigurationError, MissingExtraError
from salon.models import InboundMessage, SourceStatus, TextContent
from salon.sources import ConnectionEndedError, SSESource

from .helpers import Desk, frame, until

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"


class Stream:
    """An HTTP server; it answers each request with the next of `answers`, the last one again and
    again, and keeps the connection while an answer ends with "..."."""

    def __init__(self) -> None:
        self.answers: list[str] = [HEAD + "..."]
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.writer: asyncio.StreamWriter | None = None
        self.server: asyncio.Server | None = None
        self.open: set[asyncio.StreamWriter] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = head.strip().split("\r\n")
        self.requests.append(first)
        self.headers.append(
            {name.lower(): value.strip() for name, _, value in (h.partition(":") for h in rest)}
        )
        self.writer = writer
        self.open.add(writer)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        writer.write(answer.removesuffix("...").encode())
        await writer.drain()
        if answer.endswith("..."):
            await reader.read()
        writer.close()
        self.open.discard(writer)

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/events"

    async def send(self, text: str) -> None:
        assert self.writer is not None
        self.writer.write(text.encode())
        await self.writer.drain()


@pytest.fixture
async def stream() -> AsyncIterator[Stream]:
    stream = Stream()
    stream.server = await asyncio.start_server(stream.handle, "127.0.0.1", 0)
    yield stream
    stream.server.close()
    for writer in stream.open:
        writer.close()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    await desk.supervisor.close()


async def test_R68_events_come_in_order(stream: Stream, desk: Desk) -> None:
    source = SSESource(
        stream.url, "feed", headers={"Authorization": "Bearer t"}, params={"room": "1"}
    )
    await desk.supervisor.attach("feed", source)
    await until(lambda: source.status is SourceStatus.CONNECTED)
    assert source.last_event_id is None
    for n in range(20):
        await stream.send(f"id: {n}\ndata: {frame(str(n))}\n\n: comment\n")
    await until(lambda: len(desk.messages) == 20)
    assert desk.texts == [str(n) for n in range(20)]
    await until(lambda: source.last_event_id == "19")
    assert stream.requests == ["GET /events?room=1 HTTP/1.1"]
    assert stream.headers[0]["authorization"] == "Bearer t"
    assert stream.headers[0]["accept"] == "text/event-stream"
    assert "last-event-id" not in stream.headers[0]
    await desk.supervisor.detach("feed")
    assert source.status is SourceStatus.STOPPED
    assert desk.names == ["attached", "connected", "disconnected", "detached"]
    assert source.name == f"sse:{stream.url}"


async def test_R69_a_new_connection_goes_on_where_the_last_one_ended(
    stream: Stream, desk: Desk
) -> None:
    stream.answers = [
        HEAD + f"id: 5\ndata: {frame('a')}\n\nid: 6\ndata: half",
        HEAD + f"data: {frame('b')}\n\n...",
    ]
    source = SSESource(stream.url, "feed", last_event_id="4")
    await desk.supervisor.attach("feed", source, restart_delay=0.01)
    await until(lambda: len(desk.messages) == 2)
    assert [headers["last-event-id"] for headers in stream.headers] == ["4", "5"]
    assert desk.names == ["attached", "connected", "disconnected", "connected"]


async def test_reconnecting_by_itself_waits_as_the_server_wishes(
    stream: Stream, desk: Desk
) -> None:
    stream.answers = [HEAD + "retry: 20\n\n", HEAD, HEAD + f"data: {frame('a')}\n\n..."]
    source = SSESource(stream.url, "feed", reconnect=True)
    await desk.supervisor.attach("feed", source)
    await until(lambda: desk.messages)
    assert len(stream.requests) == 3


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("HTTP/1.1 503 Unavailable\r\n\r\n", "answered 503"),
        ("HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:9/\r\n\r\n", "answered 301"),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>", "sends text/html"),
        ("HTTP/1.1 200 OK\r\n\r\n", "nothing it names"),
        ("nonsense\r\n\r\n", "RemoteProtocolError"),
        (HEAD + "data: " + "x" * 2000 + "\n", "longer than 1000"),
    ],
)
async def test_R69_answers_that_are_no_events(
    answer: str, why: str, stream: Stream, desk: Desk
) -> None:
    stream.answers = [answer]
    source = SSESource(stream.url, "feed", max_size=1000)
    await desk.supervisor.attach("feed", source, auto_restart=False)
    await until(lambda: "error" in desk.names)
    assert why in desk.events[-1].data["error"]
    assert source.status is SourceStatus.ERROR
    health = await source.healthcheck()
    assert health.error is not None
    assert why in health.error


async def test_silence_ends_the_connection(stream: Stream, desk: Desk) -> None:
    source = SSESource(stream.url, "feed", timeout=0.1)
    with pytest.raises(ConnectionEndedError, match="ReadTimeout"):
        await source.start(desk.emit)


async def test_no_more_events_means_no_more_connections(stream: Stream, desk: Desk) -> None:
    stream.answers = ["HTTP/1.1 204 No Content\r\n\r\n"]
    source = SSESource(stream.url, "feed", reconnect=True)
    with pytest.raises(ConnectionEndedError, match="no more events") as caught:
        await source.start(desk.emit)
    assert caught.value.final
    assert len(stream.requests) == 1


def test_a_malformed_url_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="URL"):
        SSESource("http://[::1", "feed")


@pytest.mark.parametrize("url", ["ftp://example.org/", "http://x:port/"])
async def test_a_url_of_another_kind_is_refused_for_good(url: str, desk: Desk) -> None:
    with pytest.raises(ConnectionEndedError, match="not an HTTP URL"):
        await asyncio.wait_for(SSESource(url, "feed", reconnect=True).start(desk.emit), 5)


async def test_a_parser_of_the_hosts_sees_name_data_and_id(stream: Stream, desk: Desk) -> None:
    seen: list[tuple[str, str, str | None]] = []

    def parse(event: str, data: str, event_id: str | None) -> InboundMessage | None:
        seen.append((event, data, event_id))
        if event == "bad":
            raise KeyError(event)
        if event != "chat":
            return None
        return InboundMessage(channel_id="x", sender_id="a", content=TextContent(body=data))

    source = SSESource(stream.url, "feed", parser=parse)
    await desk.supervisor.attach("feed", source)
    await until(lambda: stream.writer)
    await stream.send("data: 1\n\nevent: bad\ndata: 2\n\nevent: chat\nid: 7\ndata: 3\n\n")
    await until(lambda: desk.messages)
    assert seen == [("message", "1", None), ("bad", "2", None), ("chat", "3", "7")]
    assert desk.texts == ["3"]
    assert desk.messages[0].channel_id == "feed"
    health = await source.healthcheck()
    assert health.metadata["skipped"] == "2"


async def test_an_event_being_processed_when_it_is_stopped_is_asked_for_again(
    stream: Stream,
) -> None:
    held = asyncio.Event()

    async def hold(message: InboundMessage) -> None:
        held.set()
        await asyncio.Event().wait()

    stream.answers = [HEAD + f"id: 1\ndata: {frame('a')}\n\n..."]
    source = SSESource(stream.url, "feed")
    run = asyncio.create_task(source.start(hold))  # type: ignore[arg-type]
    await held.wait()
    await source.stop()
    await run
    assert source.last_event_id is None


async def test_without_the_extra_it_says_which(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match="http"):
        await SSESource("http://127.0.0.1:9", "feed").start(desk.emit)
