"""A house with rooms and the clients that ask it, on one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx

from salon.app.application import create_app
from salon.app.guests import Guests
from salon.app.house import AgentInfo, House, Service
from salon.app.metrics import Metrics
from salon.app.routes.pages import WebFiles
from salon.app.settings import Settings
from salon.app.texts import RoomSockets
from salon.channels import AIChannel, WebSocketChannel
from salon.core import RoomKit
from salon.providers import MockAIProvider

from .conftest import FakeGateway

MASTER = "the-master-key-of-all"
ACME = "the-key-of-acme-inc"
BETA = "the-key-of-beta-ltd"
KEYS = (("acme", ACME), ("beta", BETA))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def small_house(settings: Settings) -> House:
    """Text sockets and an agent that says yes."""
    kit = RoomKit()
    texts = WebSocketChannel()
    kit.register_channel(texts)
    kit.register_channel(AIChannel("agent", provider=MockAIProvider(["yes"])))
    guests = Guests(kit, ("websocket", "agent"), ("agent",))
    return House(
        settings=settings,
        metrics=Metrics(),
        kit=kit,
        rooms=guests,
        gateway=FakeGateway(),
        texts=RoomSockets(guests, texts),
        describe_agent=lambda: AgentInfo("Test agent"),
        describe_engines=dict,
        stages=((Service("rooms", kit.open, kit.close),),),
    )


@dataclass
class Api:
    """The interface in the test's hands. Without a key: loopback without credentials."""

    client: httpx.AsyncClient
    house: House
    app: Any

    @property
    def kit(self) -> RoomKit:
        return self.house.kit

    async def ask(
        self, method: str, path: str, key: str | None = None, status: int | None = None, **more: Any
    ) -> Any:
        """The JSON of an answer, whose status must be `status` (or a success)."""
        headers = more.pop("headers", {}) | (bearer(key) if key else {})
        answer = await self.client.request(method, path, headers=headers, **more)
        good = answer.status_code == status if status else answer.is_success
        assert good, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def fails(
        self, method: str, path: str, status: int, code: str, key: str | None = None, **more: Any
    ) -> str:
        """The words of a refusal of this status and code."""
        said = await self.ask(method, path, key, status, **more)
        assert said["code"] == code, said
        assert set(said) == {"detail", "code"}
        detail: str = said["detail"]
        return detail

    async def token(self, room_id: str, key: str | None = MASTER, **options: Any) -> str:
        made = await self.ask("POST", f"/rooms/{room_id}/tokens", key, 201, json=options)
        token: str = made["token"]
        return token


@asynccontextmanager
async def serving(
    settings: Settings, *, keys: bool = False, build: Any = small_house, **changes: Any
) -> AsyncIterator[Api]:
    """The application, asked from this machine; with `keys` the master key and those of two
    organizations are set."""
    if keys:
        changes |= {"api_key": MASTER, "organization_keys": KEYS}
    settings = replace(settings, **changes)
    app = create_app(settings, build=build, files=WebFiles(settings.data_dir / "no-web"))
    house: House = app.state.house
    await house.open()
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 40_000))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield Api(client, house, app)
    finally:
        await house.close()
