"""FastRTC's endpoints on a FastAPI application: who may come in."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException

from salon.base import MissingExtraError
from salon.voice.backends import FastRTCVoiceBackend, mount_fastrtc_voice
from salon.voice.backends.fastrtc_mount import MAX_BODY

CANDIDATE = {"type": "ice-candidate", "candidate": {"candidate": ""}, "webrtc_id": "ann"}
UNKNOWN = {"status": "failed", "meta": {"error": "unknown_connection"}}


@pytest.fixture
async def backend() -> AsyncIterator[FastRTCVoiceBackend]:
    made = FastRTCVoiceBackend()
    yield made
    await made.close()


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://voice.example:8080"
    )


async def check(visitor: Any) -> dict[str, Any] | None:
    token = visitor.headers.get("authorization")
    if token == "trouble":
        raise ZeroDivisionError
    return {"user": "ann"} if token == "secret" else None


def test_anybody_may_call_only_if_that_is_said(backend: FastRTCVoiceBackend) -> None:
    app = FastAPI()
    with pytest.raises(ValueError, match="allow_anonymous"):
        mount_fastrtc_voice(app, backend)
    assert "/fastrtc/webrtc/offer" not in app.openapi()["paths"]


async def test_without_auth_anybody_may_call(
    backend: FastRTCVoiceBackend, caplog: pytest.LogCaptureFixture
) -> None:
    app = FastAPI()
    mount_fastrtc_voice(app, backend, allow_anonymous=True)
    assert "from anybody" in caplog.text
    async with client(app) as http:
        reply = await http.post("/fastrtc/webrtc/offer", json=CANDIDATE)
        assert (reply.status_code, reply.json()) == (200, UNKNOWN)
        for content in (b"{", b" " * (MAX_BODY + 1), b"[" * MAX_BODY):
            reply = await http.post("/fastrtc/webrtc/offer", content=content)
            assert reply.status_code == 400
            assert reply.json()["status"] == "failed"


@pytest.mark.parametrize(
    ("token", "status", "body"),
    [
        ("secret", 200, UNKNOWN),
        ("wrong", 403, {"detail": "unauthorized"}),
        ("trouble", 403, {"detail": "auth_error"}),
    ],
)
async def test_auth_sees_every_request(
    backend: FastRTCVoiceBackend, token: str, status: int, body: object
) -> None:
    app = FastAPI()
    mount_fastrtc_voice(app, backend, path="/voice", auth=check)
    async with client(app) as http:
        reply = await http.post(
            "/voice/webrtc/offer", json=CANDIDATE, headers={"authorization": token}
        )
    assert (reply.status_code, reply.json()) == (status, body)


async def test_what_the_application_asks_of_everybody_holds_here_too(
    backend: FastRTCVoiceBackend,
) -> None:
    def nobody() -> None:
        raise HTTPException(401)

    app = FastAPI(dependencies=[Depends(nobody)])
    mount_fastrtc_voice(app, backend, allow_anonymous=True)
    async with client(app) as http:
        assert (await http.post("/fastrtc/webrtc/offer", json=CANDIDATE)).status_code == 401


async def test_a_telephone_call_is_led_to_its_socket(backend: FastRTCVoiceBackend) -> None:
    app = FastAPI()
    mount_fastrtc_voice(app, backend, allow_anonymous=True)
    async with client(app) as http:
        reply = await http.post("/fastrtc/telephone/incoming")
    assert reply.headers["content-type"].startswith("application/xml")
    assert '<Stream url="wss://voice.example:8080/fastrtc/telephone/handler"/>' in reply.text


def test_without_fastapi_the_extra_is_named(
    backend: FastRTCVoiceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FastAPI()
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name == "fastapi":
            raise ImportError("No module named 'fastapi'", name="fastapi")
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="serve"):
        mount_fastrtc_voice(app, backend, allow_anonymous=True)
