"""WebSockets that go through the framework."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any, cast

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from salon.app.middleware import refuse_socket
from salon.app.routes.sockets import MAX_TEXT, SocketPeer
from salon.transport.sockets import Refusal

Client = Callable[..., TestClient]


def status_of(browser: TestClient, path: str) -> int:
    """The status that refuses this socket."""
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        browser.websocket_connect(f"ws://localhost{path}"),
    ):
        raise AssertionError(path)
    return denied.value.status_code


def test_a_room_socket_speaks_json_and_says_what_is_none(client: Client) -> None:
    browser = client()
    with browser, browser.websocket_connect("ws://localhost/ws/r1?participant=ann") as socket:
        assert socket.receive_json() == {"type": "hello", "room_id": "r1", "participant_id": "ann"}
        socket.send_text('{"text": "grüß"}')
        assert socket.receive_json() == {"echo": {"text": "grüß"}}
        socket.send_text("{broken")
        assert "error" in socket.receive_json()
        socket.send_bytes(b"sound")
        assert "sound goes to /ws" in socket.receive_json()["error"]
        socket.send_text("x" * (MAX_TEXT + 1))
        assert str(MAX_TEXT) in socket.receive_json()["error"]


class OneMessage:
    """A framework's socket with one text waiting."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def receive(self) -> dict[str, Any]:
        return {"type": "websocket.receive", "text": self.text}


@pytest.mark.parametrize("text", ["", "{broken", "{'a': 1}", '{"a": 1} x', "9" * 5000])
async def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        await SocketPeer(cast(WebSocket, OneMessage(text))).receive()


async def test_json_that_is_nested_too_deeply_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match=r".+"):
        await SocketPeer(cast(WebSocket, OneMessage("[" * 60_000))).receive()


async def test_text_that_is_no_unicode_is_a_value_error_too() -> None:
    message = r'{"type": "message", "text": "\ud800"}'
    with pytest.raises(ValueError, match=r".+"):
        await SocketPeer(cast(WebSocket, OneMessage(message))).receive()


def test_before_the_start_and_after_the_end_no_socket_opens(client: Client) -> None:
    browser = client()
    assert status_of(browser, "/ws/r1") == 503
    assert status_of(browser, "/ws") == 503


def test_a_room_that_ends_the_talk_closes_the_socket(client: Client) -> None:
    browser = client()

    async def serve(peer: Any, *_: object, **__: object) -> None:
        await peer.send({"type": "error"})

    browser.app.state.house.texts.serve = serve  # type: ignore[attr-defined]
    with browser, browser.websocket_connect("ws://localhost/ws/r1") as socket:
        assert socket.receive_json() == {"type": "error"}
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert closed.value.code == 1001


def test_calls_go_through_the_framework_too_and_refusals_are_counted(
    client: Client, media_ended: queue.Queue[None]
) -> None:
    browser = client()
    with browser:
        with (
            browser.websocket_connect("ws://localhost/ws") as first,
            browser.websocket_connect("ws://localhost/call") as second,
        ):
            first.send_text("one")
            second.send_bytes(b"two")
            assert (first.receive_text(), second.receive_bytes()) == ("one", b"two")
            assert status_of(browser, "/ws") == 503
            media_ended.get(timeout=20)
            first.close()
            second.close()
            media_ended.get(timeout=20)
            media_ended.get(timeout=20)
            gateway = browser.app.state.house.gateway  # type: ignore[attr-defined]
            assert gateway.calls == 0
        metrics = browser.app.state.house.metrics.registry  # type: ignore[attr-defined]
        assert metrics.get_sample_value("salon_calls_refused_total", {"status": "503"}) == 1


class GoneSocket:
    """A framework's socket whose page is gone."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def send_text(self, _text: str) -> None:
        raise self.error

    async def receive(self) -> dict[str, Any]:
        return {"type": "websocket.disconnect", "code": 1006}


@pytest.mark.parametrize(
    "error", [RuntimeError("closed"), WebSocketDisconnect(1006), TimeoutError()]
)
async def test_a_page_that_is_gone_is_the_end_of_the_file(error: Exception) -> None:
    peer = SocketPeer(cast(WebSocket, GoneSocket(error)))
    with pytest.raises(EOFError):
        await peer.send({"type": "hello"})
    with pytest.raises(EOFError):
        await peer.receive()


async def test_servers_that_cannot_answer_an_upgrade_close_it() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    refusal = Refusal(503, "full " * 100, {})
    await refuse_socket(refusal, {"type": "websocket", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": ("full " * 100)[:120]}]


@pytest.mark.parametrize("path", ["/ws/", "/call/", "/call/webrtc/", "/nothing"])
def test_G10_other_paths_are_not_found(client: Client, path: str) -> None:
    assert status_of(client(), path) == 404
