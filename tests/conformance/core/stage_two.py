"""The server of the application around a kit, without engines or calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from salon.app.application import create_app
from salon.app.guests import Guests
from salon.app.house import AgentInfo, EngineInfo, House
from salon.app.metrics import Metrics
from salon.app.routes.pages import WebFiles
from salon.app.settings import Settings
from salon.channels.websocket import WebSocketChannel
from salon.core import RoomKit
from salon.core.ports.channel import Channel


class NoCalls:
    """A gateway at which nobody calls."""

    calls = 0
    max_calls = 0

    def acceptor(self, request: object) -> None:
        return None

    def list_calls(self) -> list[dict[str, Any]]:
        return []

    async def kill(self, session_id: str) -> bool:
        return False

    async def drain(self, timeout: float) -> None:
        pass

    async def close(self) -> None:
        pass


class NoTexts:
    """Room sockets that end at once."""

    async def serve(self, peer: Any, *args: Any, **options: Any) -> None:
        await peer.send({"type": "hello"})


@contextmanager
def served(folder: Path, *channels: Channel) -> Iterator[tuple[TestClient, House]]:
    """A client of an application whose kit has these channels beside ``websocket``."""
    kit = RoomKit(shutdown_timeout=0, timer_interval=None)
    kit.register_channel(WebSocketChannel())
    for channel in channels:
        kit.register_channel(channel)
    houses: list[House] = []

    def build(settings: Settings) -> House:
        house = House(
            settings=settings,
            metrics=Metrics(),
            kit=kit,
            rooms=Guests(kit, ("websocket",)),
            gateway=NoCalls(),
            texts=NoTexts(),
            describe_agent=lambda: AgentInfo("Test agent", "answers tests", ("hello",)),
            describe_engines=lambda: {"recognition": EngineInfo("none", False, "switched off")},
        )
        houses.append(house)
        return house

    app = create_app(
        Settings(data_dir=folder / "data"), build=build, files=WebFiles(folder / "no-web")
    )
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 40000)) as client:
        yield client, houses[0]
