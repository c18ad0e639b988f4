"""Stand-ins for what carries sound, without network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from salon.media.frame import Samples
from salon.testing import VirtualClock
from salon.transport.packets import (
    MediaPacket,
    NegotiationError,
    PacketPeer,
    PacketStatistics,
    PacketTrack,
    PayloadFormat,
    PeerState,
)
from salon.transport.ticker import Ticker
from salon.voice.backends.carried import CarriedVoiceBackend
from salon.voice.backends.connection import Connection
from salon.voice.leg import Hear, Post, SilentLeg

PCMU = PayloadFormat(0, "PCMU", 8000)
EVENTS = PayloadFormat(101, "telephone-event", 8000)


class NotedLeg(SilentLeg):
    """Notes what it is to send."""

    def __init__(self) -> None:
        self.sent: list[Samples] = []
        self.idles = 0
        self.hear: Hear | None = None
        self.post: Post | None = None
        self.closed = False

    def open(self, hear: Hear, post: Post) -> None:
        self.hear, self.post = hear, post

    def send(self, frame: Samples) -> None:
        self.sent.append(frame)

    def idle(self) -> None:
        self.idles += 1

    def close(self) -> None:
        self.closed = True

    @property
    def peaks(self) -> list[int]:
        """The loudest sample of each frame sent."""
        return [int(np.abs(frame.astype(np.int32)).max()) for frame in self.sent]


class NotedConnection(Connection):
    """Ready when told so."""

    transport: ClassVar[str] = "paper"

    def __init__(self) -> None:
        self.leg: NotedLeg = NotedLeg()
        self.ready: Callable[[], None] = lambda: None
        self.lost: Callable[[], None] = lambda: None
        self.closed = False

    def watch(self, ready: Callable[[], None], lost: Callable[[], None]) -> None:
        self.ready, self.lost = ready, lost

    async def close(self) -> None:
        self.closed = True


class PaperBackend(CarriedVoiceBackend):
    """Whatever all backends have in common."""

    def __init__(self, **more: Any) -> None:
        settings = {
            "input_sample_rate": 16_000,
            "output_sample_rate": 16_000,
            "audio_queue_maxsize": 50,
            "ticker": Ticker(),
            "clock": VirtualClock(),
        }
        super().__init__(**{**settings, **more})

    @property
    def name(self) -> str:
        return "Paper"


class NotedTrack(PacketTrack):
    """Notes what is sent."""

    def __init__(self, *formats: PayloadFormat) -> None:
        self.kind = "audio"
        self.formats = formats
        self.sending = True
        self.on_packet: Callable[[MediaPacket], None] = lambda _packet: None
        self.sent: list[tuple[int, bytes, int, bool]] = []

    def send(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None:
        self.sent.append((payload_type, payload, timestamp, marker))


class PaperPeer(PacketPeer):
    """Agrees to any offer but an empty one."""

    carrier: ClassVar[str] = "paper"

    def __init__(self, *formats: PayloadFormat) -> None:
        self.state = PeerState.NEW
        self.on_state: Callable[[PeerState], None] = lambda _state: None
        self.track = NotedTrack(*(formats or (PCMU, EVENTS)))
        self.tracks: tuple[PacketTrack, ...] = ()
        self.candidates: list[str] = []
        self.closed = False

    def reach(self, state: PeerState) -> None:
        self.state = state
        self.on_state(state)

    async def answer(self, offer: str) -> str:
        await asyncio.sleep(0.1)
        if not offer:
            raise NegotiationError("nothing is offered")
        self.tracks = (self.track,)
        return f"answer to {offer}"

    def add_candidate(self, candidate: str) -> None:
        if candidate.startswith("x"):
            raise NegotiationError("no candidate")
        self.candidates.append(candidate)

    def statistics(self) -> PacketStatistics:
        return PacketStatistics()

    async def close(self) -> None:
        self.closed = True


class PaperSocket:
    """A WebSocket that was accepted: `say` is the client's side."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.texts: list[dict[str, Any]] = []
        self.binary: list[bytes] = []
        self.closed: tuple[int, str | None] | None = None
        self.stuck = False

    def say(self, message: object) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        self.incoming.put_nowait({"type": "websocket.receive", "text": text})

    def say_bytes(self, data: bytes) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "bytes": data})

    def leave(self) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def receive(self) -> dict[str, Any]:
        return await self.incoming.get()

    async def send_text(self, data: str) -> None:
        if self.stuck:
            await asyncio.sleep(3600)
        self.texts.append(json.loads(data))

    async def send_bytes(self, data: bytes) -> None:
        self.binary.append(data)

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        self.closed = code, reason
