"""A house without rooms, engines or gateway, for the tests of what stands before them."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from salon.app.application import create_app
from salon.app.house import AgentInfo, EngineInfo, House, TextPeer, TimelinePage
from salon.app.metrics import Metrics
from salon.app.routes.pages import WebFiles
from salon.app.settings import Settings
from salon.transport.asgi import serve_asgi
from salon.transport.sockets import MediaSocket, Refusal, SocketHandler, UpgradeRequest

KEY = "a-key-of-enough-length"


class EchoHandler(SocketHandler):
    """Sends back what it gets."""

    def __init__(self, gateway: FakeGateway) -> None:
        self._gateway = gateway

    def connected(self, socket: MediaSocket) -> None:
        self.socket = socket
        self._gateway.handlers.append(self)

    def text(self, data: str) -> None:
        self.socket.send_text(data)

    def binary(self, data: bytes) -> None:
        self.socket.send_binary(data)

    def closed(self, code: int, reason: str) -> None:
        self._gateway.handlers.remove(self)
        self._gateway.changed.set()


class FakeGateway:
    """Calls that echo, as many as allowed."""

    def __init__(self, max_calls: int = 2) -> None:
        self.max_calls = max_calls
        self.handlers: list[EchoHandler] = []
        self.killed: list[str] = []
        self.drained: list[float] = []
        self.changed = asyncio.Event()

    @property
    def calls(self) -> int:
        return len(self.handlers)

    def acceptor(self, request: UpgradeRequest) -> SocketHandler | Refusal | None:
        if request.path not in {"/ws", "/call"}:
            return None
        if self.calls >= self.max_calls:
            return Refusal(503, "all calls are taken", {"Retry-After": "5"})
        return EchoHandler(self)

    def list_calls(self) -> list[dict[str, Any]]:
        return [{"id": "s.1", "cs.option": {"tts": {"secretKey": "hidden-away"}}}]

    async def kill(self, session_id: str) -> bool:
        self.killed.append(session_id)
        return session_id == "s.1"

    async def drain(self, timeout: float) -> None:
        self.drained.append(timeout)
        try:
            async with asyncio.timeout(timeout):
                while self.handlers:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            for handler in list(self.handlers):
                handler.socket.close(1001, "shutting down")

    async def close(self) -> None:
        self.handlers.clear()


def message(index: int, name: str, body: str, **metadata: Any) -> dict[str, Any]:
    return {
        "id": f"e{index}",
        "index": index,
        "type": "message",
        "source": {"channel_id": "text", "participant_id": name.lower()},
        "content": {"type": "text", "body": body},
        "metadata": {"sender_name": name, **metadata},
        "created_at": "2026-01-02T03:04:05Z",
    }


class FakeRooms:
    """One room with a few messages."""

    def __init__(self) -> None:
        self.events = [
            message(0, "Ada", "Hello\nthere."),
            message(1, "Salon", "Good mor", interrupted=True),
            {**message(2, "Salon", "joined"), "type": "system"},
        ]
        self.created = 0

    async def create(self) -> str:
        self.created += 1
        return f"room{self.created}"

    async def describe(self, room_id: str) -> dict[str, Any] | None:
        return {"id": room_id} if room_id == "r1" else None

    async def timeline(
        self, room_id: str, *, before_index: int | None, limit: int
    ) -> TimelinePage | None:
        if room_id != "r1":
            return None
        older = [e for e in self.events if before_index is None or e["index"] < before_index]
        return TimelinePage(older[-limit:], len(older) > limit)


class FakeTexts:
    """Echoes JSON until told to fail."""

    async def serve(
        self, peer: TextPeer, room_id: str, participant_id: str | None, name: str | None
    ) -> None:
        await peer.send({"type": "hello", "room_id": room_id, "participant_id": participant_id})
        while True:
            try:
                await peer.send({"echo": await peer.receive()})
            except ValueError as error:
                await peer.send({"error": str(error)})


def fake_house(settings: Settings) -> House:
    return House(
        settings=settings,
        metrics=Metrics(),
        rooms=FakeRooms(),
        gateway=FakeGateway(),
        texts=FakeTexts(),
        describe_agent=lambda: AgentInfo("Test agent", "answers tests", ("hello",)),
        describe_engines=lambda: {"recognition": EngineInfo("none", False, "switched off")},
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def media_ended(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[None]:
    """Gets an item when a media socket has been served to its end. Wait for it before the block of
    `websocket_connect` ends: the test client cancels what it still serves then."""
    ended: queue.Queue[None] = queue.Queue()

    async def serve(*args: Any) -> None:
        try:
            await serve_asgi(*args)
        finally:
            ended.put(None)

    monkeypatch.setattr("salon.app.routes.sockets.serve_asgi", serve)
    return ended


@pytest.fixture
def no_files(tmp_path: Path) -> WebFiles:
    return WebFiles(tmp_path / "no-web")


Client = Callable[..., TestClient]


@pytest.fixture
def client(settings: Settings, no_files: WebFiles) -> Client:
    """Makes a client of a fresh application on loopback; keyword arguments change the settings."""
    from dataclasses import replace

    def make(
        address: str = "127.0.0.1", url: str = "http://localhost", **changes: Any
    ) -> TestClient:
        app = create_app(replace(settings, **changes), build=fake_house, files=no_files)
        return TestClient(app, base_url=url, client=(address, 40000))

    return make
