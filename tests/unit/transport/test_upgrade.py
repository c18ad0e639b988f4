"""The upgrade: who gets the connection, and what is answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn
import websockets
from fastapi import FastAPI, WebSocket

from salon.transport.sockets import Refusal, SocketHandler, UpgradeRequest
from salon.transport.upgrade import (
    RequestHead,
    UpgradeOptions,
    UpgradeProtocol,
    accept_key,
    media_protocol,
    refusal_response,
)

from .wire import BINARY, TEXT, MemoryTransport, Notes, VirtualLoop, client_frame, server_frames

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HEAD = {
    "Host": "here",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def request(target: str = "/ws", method: str = "GET", **changes: str | None) -> bytes:
    headers = {**HEAD, **{k.replace("_", "-"): v for k, v in changes.items()}}
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Server:
    """An `UpgradeProtocol` on a transport of memory."""

    def __init__(
        self,
        answer: Callable[[UpgradeRequest], Any] | None = None,
        options: UpgradeOptions | None = None,
    ) -> None:
        self.asked: list[UpgradeRequest] = []
        self.notes = Notes()
        self.loop = VirtualLoop()

        def acceptor(asked: UpgradeRequest) -> SocketHandler | Refusal | None:
            self.asked.append(asked)
            return answer(asked) if answer else self.notes

        self.transport = MemoryTransport()
        protocol_class = media_protocol(acceptor, options)
        self.protocol: UpgradeProtocol = protocol_class(_loop=self.loop)  # type: ignore[arg-type]
        self.transport.protocol = self.protocol
        self.protocol.connection_made(self.transport)

    def response(self) -> tuple[int, dict[str, str], bytes]:
        head, _, body = bytes(self.transport.written).partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), headers, body


def test_the_accept_key_of_the_rfc() -> None:
    assert accept_key(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("key", ["", "abc", "dGhl", "é" * 24, KEY + "!"])
def test_malformed_keys_have_no_answer(key: str) -> None:
    assert accept_key(key) is None


def test_a_handler_gets_the_connection_with_all_that_was_asked() -> None:
    server = Server()
    server.protocol.data_received(
        request("/call%2F/x?id=a%20b&id=second&empty=&n=%C3%A9", Cookie="a=1", Origin="null")
    )
    status, headers, _ = server.response()
    assert status == 101
    assert headers["sec-websocket-accept"] == accept_key(KEY).lower()  # type: ignore[union-attr]
    (asked,) = server.asked
    assert asked.path == "/call//x"
    assert asked.query == {"id": "a b", "empty": "", "n": "é"}
    assert asked.headers["cookie"] == "a=1"
    assert asked.client == ("192.0.2.1", 5000)
    assert not asked.secure
    assert server.notes.log == [("connected",)]


def test_frames_in_the_same_read_and_before_the_switch_are_not_lost() -> None:
    server = Server()
    server.protocol.data_received(request() + client_frame(TEXT, b"1"))
    server.protocol.data_received(client_frame(TEXT, b"2"))
    assert server.transport.protocol is server.protocol
    server.loop.advance(0.001)
    assert server.transport.protocol is not server.protocol
    server.transport.protocol.data_received(client_frame(TEXT, b"3"))  # type: ignore[union-attr]
    assert server.notes.messages == [("text", "1"), ("text", "2"), ("text", "3")]
    assert server.loop.pending == 0


def test_before_the_switch_everything_is_passed_through() -> None:
    server = Server()
    server.protocol.pause_writing()
    server.protocol.resume_writing()
    assert server.protocol.eof_received() is None
    server.protocol.data_received(request())
    server.transport.written.clear()
    server.protocol.pause_writing()
    assert server.notes.socket is not None
    server.notes.socket.send_binary(b"x")
    assert not server.transport.written
    server.protocol.resume_writing()
    assert server_frames(bytes(server.transport.written)) == [(BINARY, b"x")]
    assert server.protocol.eof_received() is False
    server.protocol.connection_lost(None)
    server.loop.advance(1)
    assert server.notes.log[-1] == ("closed", 1006, "")
    assert server.transport.protocol is server.protocol


def test_a_request_in_small_pieces() -> None:
    server = Server()
    for byte in request():
        server.protocol.data_received(bytes((byte,)))
    assert server.response()[0] == 101


def test_a_refusal_is_plain_http() -> None:
    server = Server(lambda _: Refusal(503, "all lines busy", {"Retry-After": "5"}))
    server.protocol.data_received(request())
    status, headers, body = server.response()
    assert (status, headers["retry-after"], body) == (503, "5", b"all lines busy")
    assert headers["content-length"] == str(len(body))
    assert server.transport.closing
    server.protocol.data_received(request())
    assert len(server.asked) == 1
    assert server.loop.pending == 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request(method="POST"), 405),
        (request(Upgrade="h2c"), 426),
        (request(Connection="close"), 426),
        (request(Sec_WebSocket_Version="8"), 426),
        (request(Sec_WebSocket_Key=None), 400),
        (request(Sec_WebSocket_Key="short"), 400),
        (request("http://here/ws"), 400),
        (request("/ws?" + "&".join(f"k{i}=1" for i in range(65))), 400),
        (b"GET /ws HTTP/1.0\r\n\r\n", 400),
        (b"GET /ws\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"GET /ws HTTP/1.1\r\nname : x\r\n\r\n", 400),
    ],
)
def test_what_is_no_handshake_never_reaches_the_acceptor(data: bytes, status: int) -> None:
    server = Server()
    server.protocol.data_received(data)
    assert server.response()[0] == status
    assert server.transport.closing
    assert server.asked == []


def test_a_head_without_end_is_refused() -> None:
    server = Server(options=UpgradeOptions(max_head=200))
    server.protocol.data_received(b"GET /ws HTTP/1.1\r\nx: " + b"y" * 200)
    assert server.response()[0] == 431


def test_a_handshake_that_takes_too_long_is_refused() -> None:
    server = Server(options=UpgradeOptions(handshake_timeout=10))
    server.protocol.data_received(request()[:-2])
    server.loop.advance(10.1)
    assert server.response()[0] == 408
    assert server.transport.closing


def test_an_acceptor_that_raises_answers_500(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(lambda _: 1 // 0)
    with caplog.at_level(logging.ERROR):
        server.protocol.data_received(request())
    assert server.response()[0] == 500
    assert "acceptor failed" in caplog.text


def test_without_a_server_behind_nobody_else_is_asked() -> None:
    server = Server(lambda _: None)
    server.protocol.data_received(request())
    assert server.response()[0] == 404


def test_a_connection_that_is_gone_is_not_admitted() -> None:
    server = Server()
    server.transport.closing = True
    server.protocol.data_received(request())
    assert server.asked == []


def test_shutdown_drops_an_unfinished_handshake() -> None:
    server = Server()
    server.protocol.shutdown()
    assert server.transport.closing
    server.protocol.connection_lost(None)
    server.protocol.shutdown()
    assert server.loop.pending == 0


def test_headers_that_come_twice_are_joined() -> None:
    head = RequestHead.parse(b"GET / HTTP/1.1\r\nOrigin: a\r\norigin: b")
    assert head.headers == {"origin": "a, b"}


def test_a_refusal_can_not_split_headers() -> None:
    with pytest.raises(ValueError, match="line break"):
        refusal_response(Refusal(400, "x", {"X": "a\r\nSet-Cookie: b"}))


def test_an_unusual_status_still_has_a_phrase() -> None:
    assert refusal_response(Refusal(599, "x")).startswith(b"HTTP/1.1 599 Refused\r\n")


# -- under uvicorn ------------------------------------------------------------------------------


class Echo(SocketHandler):
    ended: list[tuple[int, str]]

    def __init__(self, ended: list[tuple[int, str]]) -> None:
        self.ended = ended

    def connected(self, socket: Any) -> None:
        self.socket = socket

    def text(self, data: str) -> None:
        self.socket.send_text(data)

    def binary(self, data: bytes) -> None:
        self.socket.send_binary(data)

    def closed(self, code: int, reason: str) -> None:
        self.ended.append((code, reason))


@contextlib.asynccontextmanager
async def running(
    acceptor: Any, http: Any, options: UpgradeOptions | None = None
) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    app = FastAPI()

    @app.websocket("/asgi")
    async def asgi(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("asgi " + await socket.receive_text())
        await socket.close()

    config = uvicorn.Config(
        app,
        port=0,
        ws=media_protocol(acceptor, options),
        http=http,
        log_config=None,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield server, f"ws://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_under_uvicorn_all_three_answers_and_shutdown(http: str) -> None:
    ended: list[tuple[int, str]] = []

    def acceptor(asked: UpgradeRequest) -> SocketHandler | Refusal | None:
        if asked.path == "/ws":
            return Echo(ended)
        return Refusal(409, "taken") if asked.path == "/taken" else None

    async with running(acceptor, http) as (server, url), asyncio.timeout(20):
        async with websockets.connect(url + "/ws?id=1") as client:
            for message in ("hé", b"x" * 640, "z" * 300_000, b"y" * 60_000):
                await client.send(message)
                assert await client.recv() == message
            await (await client.ping())
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(url + "/taken")
        assert refused.value.response.status_code == 409
        assert refused.value.response.body == b"taken"
        async with websockets.connect(url + "/asgi") as client:
            await client.send("works")
            assert await client.recv() == "asgi works"
        last = await websockets.connect(url + "/ws")
        assert len(server.server_state.connections) == 1
        server.should_exit = True
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await last.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    assert ended == [(1000, ""), (1001, "")]
    assert not server.server_state.connections


async def test_admission_is_exact_under_100_parallel_connects() -> None:
    live: list[Any] = []

    def acceptor(asked: UpgradeRequest) -> SocketHandler | Refusal | None:
        if len(live) >= 10:
            return Refusal(503, "full", {"Retry-After": "5"})
        live.append(asked)
        return Echo([])

    async def connect(url: str) -> int:
        try:
            client = await websockets.connect(url + "/ws")
        except websockets.InvalidStatus as refused:
            advice.append(refused.response.headers.get("retry-after", ""))
            return refused.response.status_code
        sockets.append(client)
        return 101

    sockets: list[Any] = []
    advice: list[str] = []
    async with running(acceptor, "httptools") as (_, url), asyncio.timeout(30):
        answers = await asyncio.gather(*(connect(url) for _ in range(100)))
        await asyncio.gather(*(client.close() for client in sockets))
    assert sorted(answers) == [101] * 10 + [503] * 90
    assert advice == ["5"] * 90
