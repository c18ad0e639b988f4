"""A real HTTP server that answers as a test says, and notes what it was asked."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from salon.base import SYSTEM_CLOCK, Clock
from salon.clients.odyssey.broker import Broker, Sleep
from salon.clients.odyssey.config import AdvancedConfig, ClientConfig

KEY = "ody_0123456789"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: `path` as it came over the wire, with its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(slots=True)
class Answer:
    """What is answered; `body` is sent as JSON unless it is bytes."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        if isinstance(self.body, bytes):
            return web.Response(status=self.status, body=self.body, headers=self.headers)
        text = "" if self.body is None else json.dumps(self.body)
        return web.Response(
            status=self.status, text=text, content_type="application/json", headers=self.headers
        )


Answering = Answer | Callable[[Asked], Answer]


class Service:
    """Answers by method and path (no query); of several answers for one the last one stays."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.url = ""
        self._answers: dict[tuple[str, str], list[Answering]] = {}
        self.on("POST", "/auth/token", Answer(200, {"access_token": "at-1", "expires_in": 3600}))

    def on(self, method: str, path: str, *answers: Answering) -> None:
        """From now on, answer so."""
        self._answers[method, path] = list(answers)

    def paths(self) -> list[str]:
        """What was asked for, in order: ``POST /auth/token``."""
        return [f"{asked.method} {asked.path}" for asked in self.asked]

    def last(self) -> Asked:
        """The newest request."""
        return self.asked[-1]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        asked = Asked(request.method, request.raw_path, dict(request.headers), body)
        self.asked.append(asked)
        answers = self._answers.get((request.method, request.raw_path.partition("?")[0]))
        if not answers:
            return Answer(404, {"detail": "Not Found"}).response()
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return (answer(asked) if callable(answer) else answer).response()


@asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    """A service on a port of loopback."""
    service = Service()
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_route("*", "/{path:.*}", service.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        service.url = f"http://{host}:{port}"
        yield service
    finally:
        await runner.cleanup()


@asynccontextmanager
async def broker(
    service: Service,
    *,
    clock: Clock = SYSTEM_CLOCK,
    sleep: Sleep | None = None,
    key: str = KEY,
    queue_timeout_s: int = 30,
) -> AsyncIterator[Broker]:
    """A broker of that service."""
    config = ClientConfig(
        key, api_url=service.url, advanced=AdvancedConfig(queue_timeout_s=queue_timeout_s)
    )
    made = Broker(config, clock=clock, sleep=sleep)
    try:
        yield made
    finally:
        await made.close()


def jwt(claims: Any, *, padded: bool = False) -> str:
    """Something that looks like a signed token."""

    def part(value: Any) -> str:
        raw = base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
        return raw if padded else raw.rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part(claims)}.c2lnbmF0dXJl"
