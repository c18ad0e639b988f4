"""The socket contract over ASGI messages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salon.transport.asgi import serve_asgi
from salon.transport.sockets import Refusal, SocketHandler, UpgradeRequest
from salon.transport.websocket import SocketLimits

from .wire import Notes

SCOPE: dict[str, Any] = {
    "type": "websocket",
    "path": "/ws",
    "scheme": "wss",
    "query_string": b"id=1&id=2&name=%C3%A9",
    "headers": [(b"Host", b"here"), (b"x", b"1"), (b"x", b"2")],
    "client": ("192.0.2.1", 5000),
    "extensions": {"websocket.http.response": {}},
}


class Client:
    """The server under ASGI, as seen from the application."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.blocked: asyncio.Event | None = None
        self.error: Exception | None = None
        for message in ({"type": "websocket.connect"}, *messages):
            self.inbox.put_nowait(message)

    async def receive(self) -> dict[str, Any]:
        return await self.inbox.get()

    async def send(self, message: Any) -> None:
        if self.blocked is not None and message["type"] == "websocket.send":
            await self.blocked.wait()
        if self.error is not None and message["type"] != "websocket.accept":
            raise self.error
        self.sent.append(dict(message))

    async def run(self, answer: Any, limits: SocketLimits | None = None, **scope: Any) -> None:
        self.asked: list[UpgradeRequest] = []

        def acceptor(asked: UpgradeRequest) -> SocketHandler | Refusal | None:
            self.asked.append(asked)
            return answer  # type: ignore[no-any-return]

        async with asyncio.timeout(10):
            await serve_asgi({**SCOPE, **scope}, self.receive, self.send, acceptor, limits)


def text(data: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": data}


def binary(data: bytes) -> dict[str, Any]:
    return {"type": "websocket.receive", "bytes": data, "text": None}


GONE = {"type": "websocket.disconnect", "code": 1001, "reason": "left"}


class Echo(Notes):
    def text(self, data: str) -> None:
        super().text(data)
        assert self.socket is not None
        self.socket.ping(b"does nothing")
        self.socket.send_binary(b"first")
        self.socket.send_text(data)
        if data == "bye":
            self.socket.close(1000, "done")
            self.socket.close(1011)
            self.socket.send_text("late")
            self.socket.send_binary(b"late")
        if data == "boom":
            raise ZeroDivisionError


async def test_messages_both_ways_and_a_peer_that_leaves() -> None:
    client, handler = Client(text("hé"), binary(b"x"), {"type": "other"}, GONE), Echo()
    await client.run(handler)
    (asked,) = client.asked
    assert asked == UpgradeRequest(
        "/ws", {"id": "1", "name": "é"}, {"host": "here", "x": "1, 2"}, ("192.0.2.1", 5000), True
    )
    assert handler.log == [
        ("connected",),
        ("text", "hé"),
        ("binary", b"x"),
        ("closed", 1001, "left"),
    ]


async def test_our_close_sends_what_waits_first_and_reads_no_more() -> None:
    client, handler = Client(text("bye"), text("unread")), Echo()
    await client.run(handler)
    assert client.sent == [
        {"type": "websocket.accept"},
        {"type": "websocket.send", "bytes": b"first"},
        {"type": "websocket.send", "text": "bye"},
        {"type": "websocket.close", "code": 1000, "reason": "done"},
    ]
    assert handler.log == [("connected",), ("text", "bye"), ("closed", 1000, "done")]


async def test_a_close_from_outside_a_message_ends_it_too() -> None:
    client, handler = Client(), Notes()
    task = asyncio.create_task(client.run(handler))
    while handler.socket is None:
        await asyncio.sleep(0)
    handler.socket.close(4000)
    await task
    assert client.sent[-1]["code"] == 4000
    assert handler.log[-1] == ("closed", 4000, "")


async def test_G119_a_peer_that_does_not_read_loses_audio_then_the_connection() -> None:
    client, handler = Client(), Notes()
    client.blocked = asyncio.Event()
    task = asyncio.create_task(
        client.run(handler, SocketLimits(max_events=2, max_audio=3, close_timeout=0.01))
    )
    while handler.socket is None:
        await asyncio.sleep(0)
    for index in range(8):
        handler.socket.send_binary(b"%d" % index)
    assert handler.socket.dropped_audio == 5
    for index in range(3):
        handler.socket.send_text(str(index))
    client.inbox.put_nowait(GONE)
    await task
    assert handler.log[-1] == ("closed", 1008, "the client does not read its events")


@pytest.mark.parametrize("message", [text("x" * 11), binary(b"x" * 11)])
async def test_oversize_messages_close_with_1009(message: dict[str, Any]) -> None:
    client, handler = Client(message), Notes()
    await client.run(handler, SocketLimits(max_text=10, max_binary=10))
    assert client.sent[-1]["code"] == 1009
    assert handler.messages == []


async def test_a_peer_that_vanishes_while_we_send_is_1006() -> None:
    client, handler = Client(), Notes()
    client.error = OSError("gone")
    task = asyncio.create_task(client.run(handler))
    while handler.socket is None:
        await asyncio.sleep(0)
    handler.socket.send_text("x")
    await task
    assert handler.log[-1] == ("closed", 1006, "")


async def test_a_disconnect_without_code_is_1005() -> None:
    client, handler = Client({"type": "websocket.disconnect"}), Notes()
    await client.run(handler)
    assert handler.log[-1] == ("closed", 1005, "")


async def test_a_handler_that_raises_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    client, handler = Client(text("boom")), Echo()
    await client.run(handler)
    assert client.sent[-1]["code"] == 1011
    assert handler.log[-1] == ("closed", 1011, "")
    assert "handler failed" in caplog.text


async def test_cancellation_still_reports_the_end() -> None:
    client, handler = Client(), Notes()
    task = asyncio.create_task(client.run(handler))
    while handler.socket is None:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert handler.log[-1][:2] == ("closed", 1006)


@pytest.mark.parametrize(
    ("answer", "status"), [(Refusal(503, "full", {"Retry-After": "5"}), 503), (None, 404)]
)
async def test_refusals_are_http_answers(answer: Any, status: int) -> None:
    client = Client()
    await client.run(answer)
    assert client.sent[0]["status"] == status
    if status == 503:
        assert (b"retry-after", b"5") in client.sent[0]["headers"]
        assert client.sent[1]["body"] == b"full"


async def test_refusals_where_the_server_knows_no_http_answers() -> None:
    client = Client()
    await client.run(Refusal(503, "full"), extensions=None)
    assert client.sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]


async def test_a_query_that_is_too_long_is_refused() -> None:
    client = Client()
    await client.run(Notes(), query_string=b"&".join(b"k%d=1" % i for i in range(65)))
    assert client.sent[0]["status"] == 400


async def test_a_connection_that_never_connects_is_left_alone() -> None:
    client = Client()
    client.inbox = asyncio.Queue()
    client.inbox.put_nowait(GONE)
    await client.run(Notes())
    assert client.sent == []


async def test_a_ping_payload_is_bounded_here_too() -> None:
    client, handler = Client(GONE), Notes()
    await client.run(handler)
    assert handler.socket is not None
    with pytest.raises(ValueError, match="125"):
        handler.socket.ping(b"x" * 126)
