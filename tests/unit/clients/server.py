"""A real WebSocket server that speaks as much of the call protocol as the clients need."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from salon.base import Clock
from salon.transport.sockets import MediaSocket, Refusal, SocketHandler, UpgradeRequest
from salon.transport.upgrade import media_protocol

Script = Callable[["Peer", dict[str, Any]], None]


class SteppedClock(Clock):
    """Sleeping takes no time, and exactly as much of this clock's as was asked for."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.naps: list[float] = []

    def time(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)


class Peer(SocketHandler):
    """The server's end of one connection: notes all, runs `script` on each text frame."""

    def __init__(self, request: UpgradeRequest, script: Script) -> None:
        self.request = request
        self.script = script
        self.texts: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self.on_frame: Callable[[bytes], None] = self.frames.append
        self.end: tuple[int, str] | None = None
        self.gone = asyncio.Event()

    def connected(self, socket: MediaSocket) -> None:
        self.socket = socket

    def text(self, data: str) -> None:
        message = json.loads(data)
        self.texts.append(message)
        self.script(self, message)

    def binary(self, data: bytes) -> None:
        self.on_frame(data)

    def closed(self, code: int, reason: str) -> None:
        self.end = (code, reason)
        self.gone.set()

    def event(self, name: str, **data: Any) -> None:
        self.socket.send_text(json.dumps({"event": name, "trackId": "s", "timestamp": 1} | data))

    def message(self, kind: str, **data: Any) -> None:
        self.socket.send_text(json.dumps({"type": kind} | data))


def answering(peer: Peer, message: dict[str, Any]) -> None:
    """Answers, echoes `tts` as three packets of sound, hangs up when asked to."""
    command = message.get("command")
    if command == "invite":
        peer.event("answer", sdp="")
    elif command == "tts":
        peer.event("trackStart", playId=message["text"])
        for number in range(3):
            peer.socket.send_binary(bytes([number]) * 640)
        peer.event("trackEnd", playId=message["text"], duration=60, ssrc=1)
    elif command == "hangup":
        peer.event("hangup", reason=message.get("reason", "caller"), initiator="caller")
        peer.socket.close(1000)


@dataclass
class Server:
    """Where it listens and who came. `refusal` is given to everybody while it is set."""

    script: Script = answering
    refusal: Refusal | None = None
    peers: list[Peer] = field(default_factory=list)
    url: str = ""

    def accept(self, request: UpgradeRequest) -> SocketHandler | Refusal | None:
        if self.refusal is not None:
            return self.refusal
        self.peers.append(Peer(request, self.script))
        return self.peers[-1]

    @property
    def peer(self) -> Peer:
        return self.peers[-1]


@asynccontextmanager
async def serving(script: Script = answering) -> AsyncIterator[Server]:
    """A `Server` on a free loopback port."""
    server = Server(script)
    listening = await asyncio.get_running_loop().create_server(
        media_protocol(server.accept), "127.0.0.1", 0
    )
    server.url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for peer in server.peers:
            peer.socket.close(1001)
        await asyncio.gather(*(asyncio.wait_for(peer.gone.wait(), 5) for peer in server.peers))
        await listening.wait_closed()
