"""Messages from outside reach rooms, and answers go out, through a server of its own."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from salon.providers.sms import EMPTY_TWIML, twilio_signature
from salon.providers.webhooks import WebhookSigner, WebhookVerifier
from salon.testing.server import ServerProcess, running_server

KEY = "the-master-key-of-all"
SECRET = "a-secret-for-webhooks"
TOKEN = "twilio-token"
PUBLIC = "https://salon.example"


@dataclass
class Receiver:
    """Another system that takes signed webhooks."""

    port: int = 0
    got: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)

    async def take(self, request: Request) -> JSONResponse:
        body = await request.body()
        WebhookVerifier(SECRET).verify(request.headers, body)
        self.got.put_nowait(json.loads(body))
        return JSONResponse({"message_id": f"m{self.got.qsize()}"})


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = Starlette(routes=[Route("/in", receiver.take, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        receiver.port = listener.getsockname()[1]
        serving = asyncio.create_task(server.serve([listener]))
        try:
            while not server.started:
                assert not serving.done()
                await asyncio.sleep(0.01)
            yield receiver
        finally:
            server.should_exit = True
            await serving


@asynccontextmanager
async def hooked(receiver: Receiver | None = None) -> AsyncIterator[ServerProcess]:
    environment = {
        "SALON_API_KEY": KEY,
        "SALON_PUBLIC_URL": PUBLIC,
        "SALON_TWILIO_ACCOUNT_SID": "AC1",
        "SALON_TWILIO_AUTH_TOKEN": TOKEN,
        "SALON_TWILIO_FROM_NUMBER": "+15552220001",
        "SALON_WEBHOOK_SECRET": SECRET,
        "SALON_STT": "none",
        "SALON_TTS": "none",
    }
    if receiver is not None:
        environment["SALON_WEBHOOK_URL"] = f"http://127.0.0.1:{receiver.port}/in"
    running = running_server(environment=environment)
    server = await asyncio.to_thread(running.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)
    log = server.log_text()
    for secret in (TOKEN, SECRET, KEY):
        assert secret not in log


async def test_a_conversation_with_another_system() -> None:
    async with (
        receiving() as receiver,
        hooked(receiver) as server,
        httpx.AsyncClient(base_url=server.url, timeout=20) as api,
    ):
        body = json.dumps({"sender_id": "crm-7", "body": "Hello, who are you?"}).encode()
        headers = WebhookSigner(SECRET).headers("w1", body)
        for _ in range(2):
            answer = await api.post("/webhooks/http/webhook", content=body, headers=headers)
            assert answer.status_code == 200
        async with asyncio.timeout(20):
            reply = await receiver.got.get()
        assert reply["content"]["type"] == "text"
        api.headers["X-API-Key"] = KEY
        (room,) = (await api.get("/rooms")).json()["rooms"]
        assert reply["room_id"] == room["id"]
        events = (await api.get(f"/rooms/{room['id']}/events")).json()["events"]
        assert [event["source"]["channel_id"] for event in events] == ["http", "agent"]
        assert receiver.got.empty()


async def test_text_messages_are_proven_by_twilios_signature() -> None:
    form = {
        "MessageSid": "SM1",
        "From": "+15558675310",
        "To": "+15552220001",
        "Body": "hello & good bye",
    }
    path = "/webhooks/sms/twilio"
    signature = twilio_signature(TOKEN, f"{PUBLIC}{path}", form.items())
    headers = {
        "Host": "salon.example",
        "X-Forwarded-For": "54.1.2.3",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    async with hooked() as server, httpx.AsyncClient(base_url=server.url, timeout=20) as api:
        refused = await api.post(path, content=urlencode(form), headers=headers)
        assert refused.status_code == 403
        headers["X-Twilio-Signature"] = signature
        for _ in range(2):
            answer = await api.post(path, content=urlencode(form), headers=headers)
            assert (answer.status_code, answer.text) == (200, EMPTY_TWIML)
        changed = urlencode(form | {"Body": "x"})
        assert (await api.post(path, content=changed, headers=headers)).status_code == 403
        large = await api.post(path, content=b"x" * 400_000, headers=headers)
        assert large.status_code == 413
        assert (await api.post("/webhooks/sms/other", headers=headers)).status_code == 404
        api.headers["X-API-Key"] = KEY
        (room,) = (await api.get("/rooms")).json()["rooms"]
        events = (await api.get(f"/rooms/{room['id']}/events")).json()["events"]
        assert events[0]["content"]["body"] == "hello & good bye"
        assert events[0]["source"]["participant_id"] == "+15558675310"


@pytest.mark.parametrize("missing", ["SALON_PUBLIC_URL", "SALON_TWILIO_AUTH_TOKEN"])
async def test_half_of_the_settings_are_named_at_the_start(missing: str, tmp_path: Any) -> None:
    from tests.integration.program import salon

    environment = {
        "SALON_PUBLIC_URL": PUBLIC,
        "SALON_TWILIO_ACCOUNT_SID": "AC1",
        "SALON_TWILIO_AUTH_TOKEN": TOKEN,
        "SALON_TWILIO_FROM_NUMBER": "+15552220001",
    }
    del environment[missing]
    outcome = await salon("serve", "--port", "0", folder=tmp_path, environment=environment)
    assert outcome.code != 0
    assert missing in outcome.err + outcome.out
    assert TOKEN not in outcome.err + outcome.out
