"""Peer connections in the test's hands, and a call that is carried by them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from salon.gateway import SOCKET_ENDPOINTS, EventBus, Gateway, SessionServices
from salon.gateway.sounds import SoundLoader
from salon.gateway.webrtc import WebRtcCalls, WebRtcTransport
from salon.testing import CallPair, silence, tone
from salon.transport.carriers import WebRtcCarrier
from salon.transport.packets import (
    AnotherSession,
    MediaPacket,
    NegotiationError,
    PacketPeer,
    PacketStatistics,
    PacketTrack,
    PayloadFormat,
    PeerOptions,
    PeerState,
)
from salon.voice.engine import VoiceEngine

L16 = PayloadFormat(96, "L16", 16_000)
KEYS = PayloadFormat(126, "telephone-event", 8_000)


class ScriptedTrack(PacketTrack):
    """Keeps what is sent; the test talks through `say`."""

    kind = "audio"

    def __init__(self, *formats: PayloadFormat) -> None:
        self.formats = formats or (L16, KEYS)
        self.sending = True
        self.on_packet: Callable[[MediaPacket], None] = lambda _packet: None
        self.sent: list[tuple[bytes, int, int, bool]] = []
        self._sequence = 0

    def send(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None:
        self.sent.append((payload, payload_type, timestamp, marker))

    def packet(self, payload: bytes, payload_type: int = 96, timestamp: int = 0) -> None:
        """One packet of the caller."""
        now = asyncio.get_running_loop().time()
        self.on_packet(
            MediaPacket(payload, payload_type, self._sequence, timestamp, False, now, ssrc=5)
        )
        self._sequence += 1

    async def say(self, ms: int, *, loud: bool = True) -> None:
        """Sound in packets of 20 ms at their pace."""
        samples = tone(ms) if loud else silence(ms)
        for frame in samples.reshape(-1, 320):
            self.packet(frame.tobytes(), timestamp=self._sequence * 320)
            await asyncio.sleep(0.02)


class ScriptedPeer(PacketPeer):
    """Answers what the test says. `gate` holds an answer back, `fail` raises instead of it."""

    carrier: ClassVar[str] = "scripted"

    def __init__(self, options: PeerOptions, number: int) -> None:
        self.options = options
        self.number = number
        self.state = PeerState.NEW
        self.tracks: tuple[PacketTrack, ...] = ()
        self.on_state: Callable[[PeerState], None] = lambda _state: None
        self.offers: list[str] = []
        self.candidates: list[str] = []
        self.fail: NegotiationError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = 0
        self.closing = asyncio.Event()
        self.closing.set()
        self.connect_ms: float | None = 40.0

    async def answer(self, offer: str) -> str:
        self.offers.append(offer)
        await self.gate.wait()
        if self.fail is not None:
            raise self.fail
        self.tracks = (ScriptedTrack(),)
        return f"answer {self.number} to {offer}"

    def add_candidate(self, candidate: str) -> None:
        if candidate.startswith("bad"):
            raise NegotiationError(f"{candidate!r} is no candidate")
        self.candidates.append(candidate)

    def statistics(self) -> PacketStatistics:
        return PacketStatistics(packets_received=self.number, connect_ms=self.connect_ms)

    async def close(self) -> None:
        self.closed += 1
        await self.closing.wait()

    def become(self, state: PeerState) -> None:
        self.state = state
        self.on_state(state)

    @property
    def track(self) -> ScriptedTrack:
        track = self.tracks[0]
        assert isinstance(track, ScriptedTrack)
        return track


class Desk:
    """A gateway whose WebRTC calls are carried by scripted peers, and one call.

    `prepare` is given each peer as it is made."""

    def __init__(self, engine: VoiceEngine) -> None:
        self.peers: list[ScriptedPeer] = []
        self.prepare: Callable[[ScriptedPeer], None] = lambda _peer: None
        self.connects: list[float] = []
        self.ended: list[PacketStatistics] = []
        calls = WebRtcCalls(
            WebRtcCarrier("scripted", self._make),
            PeerOptions(external_ip="192.0.2.9"),
            on_connected=self.connects.append,
            on_statistics=self.ended.append,
        )
        self.gateway = Gateway(
            SessionServices(engine=engine, bus=EventBus(), sounds=SoundLoader(roots=())),
            max_calls=3,
            endpoints={**SOCKET_ENDPOINTS, **calls.paths()},
        )
        self.call = self.place("call-1")
        session = self.gateway.get("call-1")
        assert session is not None
        self.session = session

    def _make(self, options: PeerOptions) -> ScriptedPeer:
        peer = ScriptedPeer(options, len(self.peers) + 1)
        self.prepare(peer)
        self.peers.append(peer)
        return peer

    def place(self, name: str, path: str = "/webrtc") -> CallPair:
        return CallPair.connect(self.gateway.acceptor, f"{path}?id={name}")

    @property
    def transport(self) -> WebRtcTransport:
        assert isinstance(self.session.transport, WebRtcTransport)
        return self.session.transport

    async def connected(self, **option: Any) -> ScriptedPeer:
        """The call is answered and its connection is there."""
        await self.call.invite(offer="first", **option)
        self.peers[0].become(PeerState.CONNECTED)
        return self.peers[0]

    async def restart(self) -> ScriptedPeer:
        """The page offers another ICE session, which is answered but not connected yet."""
        self.peers[-1].fail = AnotherSession("other credentials")
        self.call.send({"command": "invite", "option": {"offer": "again"}})
        await self.call.expect("answer")
        return self.peers[-1]

    async def over(self) -> None:
        """The call has ended and every peer was let go of exactly once."""
        await self.call.closed()
        await self.session.done.wait()
        assert [peer.closed for peer in self.peers] == [1] * len(self.peers)
        assert self.gateway.calls == 0


@asynccontextmanager
async def opened(engine: VoiceEngine) -> AsyncIterator[Desk]:
    made = Desk(engine)
    try:
        yield made
    finally:
        await made.gateway.close()
