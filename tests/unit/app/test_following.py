"""Streams and tails through the application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from salon.app.keeping import forget_recordings
from salon.app.recordings import Recordings
from salon.app.routes.sockets import caller_of

from .rest import MASTER, Api

Client = Callable[..., TestClient]


async def followed(api: Api, path: str, key: str | None = None, **headers: str) -> list[str]:
    """What a stream sends until the server stops."""

    async def stop() -> None:
        while not api.house.tails.readers:
            await asyncio.sleep(0)
        api.house.tails.close()

    if key:
        headers["Authorization"] = f"Bearer {key}"
    answer, _ = await asyncio.gather(api.client.get(path, headers=headers), stop())
    assert answer.status_code == 200
    return [line.partition(": ")[2] for line in answer.text.splitlines() if line[:2] == "id"]


async def test_a_stream_begins_where_it_is_asked_to(api: Api) -> None:
    await api.ask("POST", "/rooms", status=201, json={"id": "r", "channels": ["websocket"]})
    for number in range(3):
        await api.ask("POST", "/rooms/r/events", status=201, json={"content": str(number)})
    place = "/rooms/r/events/stream"
    assert await followed(api, f"{place}?after_index=1", **{"Last-Event-ID": "2"}) == []
    answer = await api.fails("GET", f"{place}?after_index=1", 503, "too_many_listeners")
    assert "later" in answer
    for wrong in ("x", "-1", "1" * 20, ""):
        await api.fails("GET", place, 422, "invalid", headers={"Last-Event-ID": wrong})


async def test_a_token_follows_its_room(guarded_api: Api) -> None:
    await guarded_api.ask("POST", "/rooms", MASTER, 201, json={"id": "r"})
    token = await guarded_api.token("r", participant_id="ann")
    assert await followed(guarded_api, "/rooms/r/events/stream", token) == []


def refused(browser: TestClient, path: str) -> WebSocketDenialResponse:
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        browser.websocket_connect(f"ws://localhost{path}"),
    ):
        raise AssertionError(path)
    return denied.value


def test_a_tail_is_a_socket(client: Client) -> None:
    browser = client()
    with browser:
        with browser.websocket_connect("ws://localhost/rooms/r1/tail?after_index=0") as socket:
            first, second, third = (socket.receive_json() for _ in range(3))
            assert (first["type"], second["index"], third["index"]) == ("heartbeat", 1, 2)
            assert second["event"]["content"]["body"] == "Good mor"
            assert browser.portal is not None
            house = browser.app.state.house  # type: ignore[attr-defined]
            browser.portal.call(house.tails.close)
            end = {"type": "end", "reason": "shutting_down", "after_index": 2}
            assert socket.receive_json() == end
            with pytest.raises(WebSocketDisconnect):
                socket.receive_json()
        denied = refused(browser, "/rooms/nowhere/tail")
        assert denied.status_code == 404
        for query in ("after_index=x", "after_index=-2", "include_blocked=perhaps"):
            denied = refused(browser, f"/rooms/r1/tail?{query}")
            said = json.loads(denied.content)
            assert (denied.status_code, said["code"]) == (422, "invalid")
            assert query.partition("=")[0] in said["detail"]
        house.ready = False
        denied = refused(browser, "/rooms/r1/tail")
        assert (denied.status_code, denied.headers["retry-after"]) == (503, "5")
        assert json.loads(denied.content)["code"] == "unavailable"


def test_a_socket_without_a_caller_is_nobodys() -> None:
    from salon.app.access import ForbiddenError

    class Bare:
        state = object()

    socket: Any = Bare()
    with pytest.raises(ForbiddenError):
        caller_of(socket)


def test_recordings_that_can_t_be_deleted_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recordings = Recordings(tmp_path)
    (tmp_path / "r").mkdir()

    def fail(_folder: Path) -> None:
        raise OSError("busy")

    with monkeypatch.context() as patched:
        patched.setattr("salon.app.keeping.shutil.rmtree", fail)
        forget_recordings(recordings, "r")
    assert "busy" in caplog.text
    outside = tmp_path / "linked"
    outside.symlink_to("/")
    forget_recordings(recordings, "linked")
    forget_recordings(recordings, "nothing")
    assert (tmp_path / "r").exists()
