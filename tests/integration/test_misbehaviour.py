"""Clients that misbehave beside one good call, which must not notice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from tests.integration.conftest import emptied, until
from tests.integration.wire import WireCall, placed
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from salon.testing.server import ServerProcess, running_server

LONG = "The quick brown fox jumps over the lazy dog near the bank of the river. " * 60
"""More than is said while the others misbehave, however long a busy machine takes over them."""


@pytest.fixture(scope="module")
def beset() -> Iterator[ServerProcess]:
    """A server for these clients alone."""
    with running_server("--stt", "none") as process:
        yield process
        log = process.log_text()
        assert "Traceback" not in log, log[-4000:]


@pytest.fixture
async def good(beset: ServerProcess) -> AsyncIterator[WireCall]:
    """A call that is being spoken to all the time; at the end nothing of it was disturbed."""
    async with placed(beset.ws_url) as call:
        await call.invite(tts={}, vad={})
        await call.send("tts", text=LONG, playId="long")
        await call.expect("trackStart", playId="long")
        async with call.quiet():
            yield call
            await call.heard(len(call.audio) + 50)
            call.assert_paced(jitter=0.5)
            assert not call.of("error")
            assert not call.of("trackEnd"), "it spoke while the others misbehaved"
            await call.send("interrupt")
            await call.expect("interruption")
        await call.send("hangup")
        assert await call.closed() == 1000
    await emptied(beset)


WRONG: tuple[tuple[str, str], ...] = (
    ("{", "bad JSON"),
    ("", "bad JSON"),
    ("NaN", "JSON"),
    ("[]", "one JSON object"),
    ('"invite"', "one JSON object"),
    ("{}", "command"),
    ('{"command": 7}', "command"),
    ('{"command": "fly"}', "unknown command"),
    ('{"command": "invite"}', "option"),
    ('{"command": "invite", "option": []}', "option"),
    ('{"command": "invite", "option": {"vad": 3}}', "vad"),
    ('{"command": "tts"}', "text"),
    ('{"command": "tts", "text": ["a"]}', "text"),
    ('{"command": "tts", "text": "a", "autoHangup": "maybe"}', "auto"),
    ('{"command": "play", "url": {}}', "url"),
    ('{"command": "history", "speaker": 1}', "history"),
    ("[" * 100_000, "JSON"),
    ('{"command": "tts", "text": "\\ud800"}', "JSON"),
)


async def test_G31_wrong_commands_get_an_error_and_the_call_goes_on(
    beset: ServerProcess, good: WireCall
) -> None:
    async with placed(beset.ws_url) as call:
        for answered in (False, True):
            if answered:
                await call.invite()
            for text, about in WRONG:
                await call.socket.send(text)
                error = await call.expect("error")
                assert error["code"] == 400, (text[:80], error)
                assert about in error["error"], (text[:80], error)
        await call.send("hangup")
        assert await call.closed() == 1000


async def test_commands_out_of_order_are_told_apart_from_failures(
    beset: ServerProcess, good: WireCall
) -> None:
    async with placed(beset.ws_url) as call:
        await call.send("pause")
        await call.send("chat", text="hello")
        await call.expect("error")
        await call.send("invite", option={"codec": "opus9"})
        await call.expect("answer")  # G41: an unknown codec is pcm
        await call.send("hangup")
        assert await call.closed() == 1000
    async with placed(beset.ws_url) as call:
        await call.invite()
        await call.send("invite", option={})  # G52
        await call.expect("error", sender="invite")
        assert (await call.expect("hangup"))["reason"] == "failed"
        await call.closed()


async def test_a_flood_of_commands_is_bounded(beset: ServerProcess, good: WireCall) -> None:
    async with placed(beset.ws_url) as call:
        await call.invite(tts={})
        for number in range(2000):
            await call.send("history", speaker="a", text=str(number))
            await call.send("tts", text="word", playId="same")
        await call.send("hangup")
        # it may also be cut off, when the errors come faster than it reads them
        assert await call.closed(timeout=120) in (1000, 1008)
        assert "too many commands wait" in str(call.of("error", code=429)[0])


async def test_G43_sound_before_invite_is_bounded(beset: ServerProcess, good: WireCall) -> None:
    async with placed(beset.ws_url) as call:
        for _ in range(1000):
            await call.socket.send(bytes(640))
        for size in (0, 1, 639, 641, 65_000):
            await call.socket.send(bytes(size))
        await call.invite(vad={})
        for size in (0, 1, 639, 641, 65_000):
            await call.socket.send(b"\x7f" * size)
        await call.send("history", speaker="a", text="alive")
        await call.expect("addHistory")
        await call.send("hangup")
        assert await call.closed() == 1000


@pytest.mark.parametrize("frame", [bytes(70_000), "x" * 1_100_000], ids=["binary", "text"])
async def test_oversize_frames_close_with_1009(
    beset: ServerProcess, good: WireCall, frame: str | bytes
) -> None:
    async with placed(beset.ws_url) as call:
        await call.invite()
        with contextlib.suppress(Exception):
            await call.socket.send(frame)
        assert await call.closed() == 1009


async def test_a_live_id_is_not_given_twice(beset: ServerProcess, good: WireCall) -> None:
    async with placed(beset.ws_url, "/ws?id=taken") as call:
        await call.invite()
        for path in ("/ws?id=taken", "/call?id=taken"):
            with pytest.raises(InvalidStatus) as caught:
                await connect(beset.ws_url + path)
            assert caught.value.response.status_code == 409
        await call.send("hangup")
        assert await call.closed() == 1000
    await until(
        lambda: "taken" not in [row["id"] for row in beset.get("/list")["active_calls"]],
        "the id in /list",
    )
    async with placed(beset.ws_url, "/ws?id=taken") as call:
        assert (await call.invite())["trackId"] == "taken"


HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame(command: dict[str, Any]) -> bytes:
    """A command as one masked text frame; the mask is zero."""
    text = json.dumps(command).encode()
    assert len(text) < 65_536
    return bytes([0x81, 0xFE]) + struct.pack("!H", len(text)) + bytes(4) + text


async def opened(server: ServerProcess, path: str) -> socket.socket:
    """A call on a bare socket with a small receive buffer, invited."""
    loop = asyncio.get_running_loop()
    bare = socket.socket()
    bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    bare.setblocking(False)
    await loop.sock_connect(bare, ("127.0.0.1", server.port))
    await loop.sock_sendall(bare, HANDSHAKE.format(path=path).encode())
    async with asyncio.timeout(20):
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await loop.sock_recv(bare, 1024)
    assert answer.startswith(b"HTTP/1.1 101 ")
    await loop.sock_sendall(bare, frame({"command": "invite", "option": {"tts": {}}}))
    return bare


async def test_a_client_that_stops_reading_loses_sound_and_then_its_call(
    beset: ServerProcess, good: WireCall
) -> None:
    loop = asyncio.get_running_loop()
    bare = await opened(beset, "/ws?id=deaf")
    try:
        await loop.sock_sendall(bare, frame({"command": "tts", "text": LONG}))
        history = {"command": "history", "speaker": "a", "text": "x" * 4000}
        try:
            async with asyncio.timeout(120):
                while True:
                    await loop.sock_sendall(bare, frame(history))
        except ConnectionError:
            pass
    finally:
        bare.close()
    await until(
        lambda: "deaf" not in [row["id"] for row in beset.get("/list")["active_calls"]],
        "the call of a client that does not read",
    )


async def test_G20_a_client_that_vanishes_ends_its_call(
    beset: ServerProcess, good: WireCall
) -> None:
    loop = asyncio.get_running_loop()
    for number in range(5):
        bare = await opened(beset, f"/ws?id=gone-{number}")
        await loop.sock_sendall(bare, frame({"command": "tts", "text": LONG}))
        # no FIN: the peer is reset
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        bare.close()
    await until(
        lambda: not any("gone" in row["id"] for row in beset.get("/list")["active_calls"]),
        "the calls of clients that vanished",
    )


async def answer_to(server: ServerProcess, data: bytes, *, timeout: float = 30.0) -> bytes:
    """What comes back for these bytes until the server closes, or nothing more for 1 s."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    found = b""
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            async with asyncio.timeout(timeout):
                found = await reader.read(65_536)
    finally:
        writer.close()
    return found


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        pytest.param(b"X-Long: " + b"a" * 200_000, ("400", "431")),
        pytest.param(
            b"\r\n".join(b"X-%d: a" % number for number in range(20_000)),
            ("400", "431"),
        ),
        (b"Upgrade: websocket\r\nConnection: Upgrade\r\nX-Long: " + b"a" * 60_000, ("400", "431")),
        (b"Content-Length: many", ("400",)),
        (b"Content-Length: -5", ("400",)),
        (b"Nonsense", ("400",)),
    ],
    ids=["long", "many", "upgrade", "length", "negative", "nonsense"],
)
async def test_wrong_headers_are_refused(
    beset: ServerProcess, good: WireCall, head: bytes, statuses: tuple[str, ...]
) -> None:
    request = b"GET /ws HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n"
    answer = await answer_to(beset, request)
    # a server may also cut the connection of a client that sends on and on
    assert not answer or answer.split(b" ")[1].decode() in statuses, answer[:200]
    assert (await asyncio.to_thread(beset.get, "/health"))["status"] == "ok"


async def test_slow_requests_keep_nobody_waiting(beset: ServerProcess, good: WireCall) -> None:
    writers = []
    for number in range(100):
        _, writer = await asyncio.open_connection("127.0.0.1", beset.port)
        writer.write(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        if number % 2:
            writer.write(b"a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writers.append(writer)
    try:
        async with httpx.AsyncClient(base_url=beset.url, timeout=20) as client:
            for _ in range(20):
                for writer in writers:
                    writer.write(b"a")
                assert (await client.get("/health")).status_code == 200
                assert (await client.post("/rooms")).status_code == 201
        async with placed(beset.ws_url) as call:
            await call.invite()
            await call.send("hangup")
            assert await call.closed() == 1000
    finally:
        for writer in writers:
            writer.transport.abort()


async def test_half_a_request_is_dropped_in_time() -> None:
    with running_server("--stt", "none", environment={"SALON_MAX_CONNECTIONS": "10"}) as server:
        writers = []
        try:
            for _ in range(12):
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
                writers.append(writer)
            async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
                async with asyncio.timeout(60):
                    while (await client.get("/health")).status_code != 200:
                        await asyncio.sleep(0.2)
        finally:
            for writer in writers:
                writer.transport.abort()


@pytest.mark.parametrize(
    "data",
    [
        bytes([0x83, 0x80, 0, 0, 0, 0]),  # reserved opcode
        bytes([0xC1, 0x80, 0, 0, 0, 0]),  # reserved bit
        bytes([0x81, 0x01, 0x41]),  # not masked
        bytes([0x80, 0x80, 0, 0, 0, 0]),  # continues nothing
        bytes([0x09, 0x80, 0, 0, 0, 0]),  # Ping in pieces
        bytes([0x81, 0x82, 0, 0, 0, 0, 0xFF, 0xFF]),  # no UTF-8
    ],
    ids=["opcode", "bit", "unmasked", "continuation", "ping", "utf8"],
)
async def test_wrong_frames_end_only_their_own_connection(
    beset: ServerProcess, good: WireCall, data: bytes
) -> None:
    answer = await answer_to(beset, HANDSHAKE.format(path="/ws").encode() + data)
    assert answer.startswith(b"HTTP/1.1 101 ")


async def test_a_room_socket_survives_nonsense(beset: ServerProcess, good: WireCall) -> None:
    async with connect(f"{beset.ws_url}/ws/odd?participant=eve&name=Eve") as client:
        for text in ("{", "[]", '{"type": 1}', '{"type": "message"}', '{"type": "fly"}',
                     '{"type": "message", "text": ["a"]}', '{"type": "history"}',
                     json.dumps({"type": "message", "text": "a" * 9000}), b"\0\1"):  # fmt: skip
            await client.send(text)
            async with asyncio.timeout(20):
                while json.loads(await client.recv())["type"] != "error":
                    pass
