"""Request bodies that come slowly, and many of them: nobody else waits for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from salon.app import http
from salon.app.bodies import Bodies, BodiesCrowded, Body, BodyLimits, BodyTooLarge, BodyTooSlow
from salon.app.routes.pages import WebFiles
from salon.app.settings import Settings
from salon.app.transports import add_transports

from .conftest import KEY
from .test_server import Running

Message = dict[str, object]
LIMITS = BodyLimits(size=100, awaited=2, awaited_of_one=1, timeout=0.05, min_rate=1000)


def part(data: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


class Sender:
    """Parts of a body that are here, and then nothing."""

    def __init__(self, *parts: Message) -> None:
        self._parts = list(parts)
        self.waits = asyncio.Event()

    async def receive(self) -> Message:
        if not self._parts:
            self.waits.set()
            await asyncio.Event().wait()
        return self._parts.pop(0)


async def nobody(_message: object) -> None:
    return


def body(bodies: Bodies, *parts: Message, stranger: str | None = "a") -> Body:
    return Body(bodies, Sender(*parts).receive, nobody, stranger)


@asynccontextmanager
async def awaited(bodies: Bodies, stranger: str | None = "a") -> AsyncIterator[None]:
    """A body that is awaited."""
    sender = Sender()
    one = Body(bodies, sender.receive, nobody, stranger)
    task = asyncio.ensure_future(one.receive())
    await sender.waits.wait()
    yield
    task.cancel()
    one.close()


async def test_a_body_that_stops_coming_is_awaited_for_its_time_only() -> None:
    refused: list[int] = []
    bodies = Bodies(LIMITS, refused.append)
    for stranger in ("a", None):
        slow = body(bodies, part(b"abc"), stranger=stranger)
        assert await slow.receive() == part(b"abc")
        assert bodies.awaited == (stranger is not None)
        with pytest.raises(BodyTooSlow) as caught:
            await slow.receive()
        assert caught.value.headers == {"Connection": "close"}
        assert bodies.awaited == 0
    assert refused == [408, 408]


async def test_what_comes_gives_more_time() -> None:
    began = asyncio.get_running_loop().time()
    slow = body(Bodies(LIMITS), part(b"x" * 100))
    await slow.receive()
    with pytest.raises(BodyTooSlow):
        await slow.receive()
    assert asyncio.get_running_loop().time() - began >= 0.149


async def test_no_more_bytes_than_allowed() -> None:
    long = body(Bodies(LIMITS), part(b"x" * 60), part(b"x" * 60))
    await long.receive()
    with pytest.raises(BodyTooLarge):
        await long.receive()


async def test_as_many_as_allowed_are_awaited_in_all_and_of_an_address() -> None:
    refused: list[int] = []
    bodies = Bodies(replace(LIMITS, timeout=20.0), refused.append)
    async with awaited(bodies, "a"):
        with pytest.raises(BodiesCrowded) as caught:
            await body(bodies, stranger="a").receive()
        assert caught.value.status_code == 429
        assert caught.value.headers == {"Retry-After": "5", "Connection": "close"}
        async with awaited(bodies, "b"), awaited(bodies, None):
            with pytest.raises(BodiesCrowded) as caught:
                await body(bodies, stranger="c").receive()
            assert caught.value.status_code == 503
            assert bodies.awaited == 2
            # what is here already is no wait
            assert await body(bodies, part(b"x", False), stranger="c").receive()
    assert bodies.awaited == 0
    assert refused == [429, 503]


async def test_after_its_end_a_body_is_awaited_no_more() -> None:
    bodies = Bodies(replace(LIMITS, timeout=0.0))
    sender = Sender(part(b"x", False))
    whole = Body(bodies, sender.receive, nobody, "a")
    await whole.receive()
    left = asyncio.ensure_future(whole.receive())  # of a stream: whether the reader has gone
    await sender.waits.wait()
    assert bodies.awaited == 0
    left.cancel()


async def test_who_is_answered_and_still_owes_the_body_is_gone() -> None:
    slow = body(Bodies(LIMITS))
    await slow.send({"type": "http.response.start"})
    assert await slow.receive() == {"type": "http.disconnect"}


def test_the_limits_follow_the_number_of_connections() -> None:
    assert BodyLimits.of(5, 1024) == BodyLimits(5, 256, 64)
    assert BodyLimits.of(5, 2) == BodyLimits(5, 1, 1)


# -- on real connections --------------------------------------------------------------------------


class Line:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        """The head of an answer."""
        async with asyncio.timeout(10):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(10):
            return await self._reader.read()

    async def end(self) -> None:
        """Wait for the end, however rude."""
        try:
            await self.answer()
        except ConnectionResetError:
            return


class Server:
    """A server that takes 8 connections, has a key, and whose times are short."""

    def __init__(self, running: Running) -> None:
        self.house = running.house
        self.port: int = running.listener.getsockname()[1]
        self.lines: list[Line] = []

    async def post(self, path: str, body: bytes = b"{", *, length: int = 1000, **more: str) -> Line:
        """A request whose body may lack its end."""
        line = Line(*await asyncio.open_connection("127.0.0.1", self.port))
        self.lines.append(line)
        head = {
            "Host": "localhost",
            "Content-Type": "application/json",
            "Content-Length": str(length),
        }
        head |= {name.replace("_", "-"): value for name, value in more.items()}
        rows = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        line.send(f"POST {path} HTTP/1.1\r\n{rows}\r\n".encode() + body)
        return line

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as client:
            return await client.get(path, headers={"X-API-Key": KEY})

    def count(self, name: str, **labels: str) -> float:
        return self.house.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def server_of(
    settings: Settings, files: WebFiles, monkeypatch: pytest.MonkeyPatch, timeout: float
) -> AsyncIterator[Server]:
    def short(size: int, connections: int) -> BodyLimits:
        return BodyLimits(size, connections // 2, connections // 4, timeout)

    monkeypatch.setattr(BodyLimits, "of", staticmethod(short))
    monkeypatch.setattr(http, "LINGER_S", 0.1)
    settings = replace(settings, api_key=KEY, max_connections=8, webhook_secret="s" * 32)
    running = Running(settings, files)
    add_transports(settings, running.house.kit, running.house.intakes)
    async with running:
        server = Server(running)
        try:
            yield server
        finally:
            for line in server.lines:
                line.writer.transport.abort()


@pytest.fixture
async def hasty(
    settings: Settings, no_files: WebFiles, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    async with server_of(settings, no_files, monkeypatch, 0.1) as server:
        yield server


@pytest.fixture
async def patient(
    settings: Settings, no_files: WebFiles, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    async with server_of(settings, no_files, monkeypatch, 600.0) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "key"), [("/webhooks/http/webhook", ""), ("/api/login", ""), ("/rooms", KEY)]
)
async def test_a_slow_body_gets_408_and_the_connection_ends(
    hasty: Server, path: str, key: str
) -> None:
    line = await hasty.post(path, X_API_Key=key)
    answer = await line.answer()
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert b"connection: close" in answer.lower()
    assert b'"code":"request_timeout"' in answer
    assert hasty.count("salon_http_bodies_refused_total", status="408") == 1
    assert hasty.count("salon_http_bodies_awaited") == 0


async def test_a_body_without_a_length_has_the_same_time(hasty: Server) -> None:
    line = Line(*await asyncio.open_connection("127.0.0.1", hasty.port))
    hasty.lines.append(line)
    head = b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    line.send(head + b"1\r\n{\r\n")
    assert (await line.answer()).startswith(b"HTTP/1.1 408 ")


async def test_slow_bodies_of_one_address_leave_places_to_others(patient: Server) -> None:
    path = "/webhooks/http/webhook"
    slow = [await patient.post(path) for _ in range(2)]
    for _ in range(10):
        answer = await (await patient.post(path)).answer()
        assert answer.startswith(b"HTTP/1.1 429 "), answer
        assert b"retry-after: 5" in answer.lower()
    assert patient.count("salon_http_bodies_awaited") == 2
    assert patient.count("salon_http_bodies_refused_total", status="429") == 10
    assert (await patient.get("/health")).status_code == 200
    # whoever sends all at once, or shows a key, is served
    line = await patient.post("/api/login", b'{"key": "no"}', length=13)
    assert (await line.head()).startswith(b"HTTP/1.1 401 ")
    keyed = await patient.post("/rooms", b"", length=2, X_API_Key=KEY)
    keyed.send(b"{}")
    assert (await keyed.head()).startswith(b"HTTP/1.1 201 ")
    for line in slow:
        line.send(b" " * 999)
        assert (await line.head()).startswith(b"HTTP/1.1 403 ")
    assert patient.count("salon_http_bodies_awaited") == 0


async def test_slow_bodies_of_many_addresses_leave_places_to_others(patient: Server) -> None:
    for number in range(4):
        await patient.post("/api/login", X_Forwarded_For=f"192.0.2.{number}")
    answer = await (await patient.post("/api/login", X_Forwarded_For="192.0.2.9")).answer()
    assert answer.startswith(b"HTTP/1.1 503 "), answer
    assert (await patient.get("/health")).status_code == 200


async def test_who_leaves_in_a_body_is_no_failure_of_the_server(
    patient: Server, caplog: pytest.LogCaptureFixture
) -> None:
    line = await patient.post("/webhooks/http/webhook")
    async with asyncio.timeout(10):
        while not patient.count("salon_http_bodies_awaited"):
            await asyncio.sleep(0)
        line.writer.transport.abort()
        while patient.count("salon_http_bodies_awaited"):
            await asyncio.sleep(0)
    assert (await patient.get("/health")).status_code == 200
    assert "failed" not in caplog.text


@pytest.mark.parametrize("more", [b"x", b"\r\n"])
async def test_an_answered_connection_is_not_kept_by_bytes_that_ask_nothing(
    patient: Server, more: bytes
) -> None:
    whole = more == b"\r\n"
    line = await patient.post("/nothing", b"x", length=1 if whole else 1000)
    assert (await line.head()).startswith(b"HTTP/1.1 401 ")
    line.send(more)
    await line.end()


async def test_a_connection_is_used_again_after_bytes_that_ask_nothing(patient: Server) -> None:
    line = await patient.post("/nothing", b"x", length=3)
    await line.head()
    line.send(b"xx" + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"HTTP/1.1 200 OK" in (await line.head())
