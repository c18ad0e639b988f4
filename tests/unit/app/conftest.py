"""A house without rooms, engines or gateway, for the tests of what stands before them."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from salon.app.application import create_app
from salon.app.guests import Guests
from salon.app.house import AgentInfo, EngineInfo, House, TextPeer
from salon.app.metrics import Metrics
from salon.app.routes.pages import WebFiles
from salon.app.settings import Settings
from salon.base import LOCAL, Principal
from salon.channels.websocket import WebSocketChannel
from salon.core import RoomKit
from salon.models import (
    ChannelType,
    EventSource,
    EventStatus,
    EventType,
    Room,
    RoomEvent,
    TextContent,
)
from salon.transport.asgi import serve_asgi
from salon.transport.sockets import MediaSocket, Refusal, SocketHandler, UpgradeRequest

KEY = "a-key-of-enough-length"
WRITTEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


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


def message(index: int, name: str, body: str, **metadata: Any) -> RoomEvent:
    return RoomEvent(
        id=f"e{index}",
        room_id="r1",
        source=EventSource(
            channel_id="text", channel_type=ChannelType.WEBSOCKET, participant_id=name.lower()
        ),
        content=TextContent(body=body),
        status=EventStatus.DELIVERED,
        metadata={"sender_name": name, **metadata},
        created_at=WRITTEN,
    )


EVENTS = (
    message(0, "Ada", "Hello\nthere."),
    message(1, "Salon", "Good mor", interrupted=True),
    message(2, "Salon", "joined").model_copy(update={"type": EventType.SYSTEM}),
)


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """Run what never waits, as everything in the memory store."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited")


class CountedRooms(Guests):
    """Counts the rooms it makes."""

    created = 0

    async def create(self, *args: Any, **options: Any) -> Room:
        self.created += 1
        return await super().create(*args, **options)


class FakeTexts:
    """Echoes JSON until told to fail."""

    async def serve(
        self,
        peer: TextPeer,
        room_id: str,
        participant_id: str | None,
        name: str | None,
        *,
        principal: Principal = LOCAL,
    ) -> None:
        await peer.send({"type": "hello", "room_id": room_id, "participant_id": participant_id})
        while True:
            try:
                await peer.send({"echo": await peer.receive()})
            except ValueError as error:
                await peer.send({"error": str(error)})


def fake_house(settings: Settings) -> House:
    """A house with the room ``r1``, in which a few things were said."""
    kit = RoomKit()
    kit.register_channel(WebSocketChannel())
    at_once(kit.store.create_room(Room(id="r1", created_at=WRITTEN)))
    for event in EVENTS:
        at_once(kit.store.commit_event(event, at=WRITTEN))
    return House(
        settings=settings,
        metrics=Metrics(),
        kit=kit,
        rooms=CountedRooms(kit, ("websocket",)),
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


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Any]:
    """The interface of a server without keys."""
    from .rest import serving

    async with serving(settings) as made:
        yield made


@pytest.fixture
async def guarded_api(settings: Settings) -> AsyncIterator[Any]:
    """The interface of a server with a master key and the keys of two organizations."""
    from .rest import serving

    async with serving(settings, keys=True) as made:
        yield made
