"""A WebRTC peer connection as what carries one session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from salon.base import Clock
from salon.media.frame import FRAME_MS
from salon.transport.packets import PacketPeer, PacketStatistics, PeerState
from salon.transport.ticker import Ticker
from salon.voice.backends.connection import Connection
from salon.voice.backends.dtmf import KeyTrack
from salon.voice.packet_leg import PacketLeg


@dataclass(frozen=True, slots=True)
class Reception:
    """How the participant's sound arrives (V32); `concealed_frames` of 20 ms were made up."""

    packets_lost: int
    concealed_frames: int
    jitter_ms: float
    delay_ms: float
    """Added by the jitter buffer at present."""


class PeerConnection(Connection):
    """Owns the peer from its making on."""

    transport: ClassVar[str] = "webrtc"

    def __init__(self, peer: PacketPeer, ticker: Ticker, clock: Clock) -> None:
        self.leg: PacketLeg = PacketLeg(ticker, clock)
        self._peer = peer
        self._clock = clock
        self._track: KeyTrack | None = None
        self._ready: Callable[[], None] = _nothing
        self._lost: Callable[[], None] = _nothing
        peer.on_state = self._state

    async def answer(self, offer: str) -> str:
        """The first offer, or a later one of the same ICE session; errors as of the peer."""
        sdp = await self._peer.answer(offer)
        self._track = KeyTrack(self._peer.tracks[0], self._clock)
        self.leg.attach(self._track)
        return sdp

    def add_candidate(self, candidate: str) -> None:
        """A trickled candidate, "" for the last; `NegotiationError` if it can't be read."""
        self._peer.add_candidate(candidate)

    def watch(self, ready: Callable[[], None], lost: Callable[[], None]) -> None:
        self._ready, self._lost = ready, lost
        self._state(self._peer.state)

    def _state(self, state: PeerState) -> None:
        if state is PeerState.CONNECTED:
            self._ready()
        elif state in (PeerState.FAILED, PeerState.CLOSED):
            self._lost()

    def occupied(self) -> bool:
        return self._track is not None and self._track.tick()

    def press(self, digit: str, duration_ms: int) -> None:
        if self._track is None:
            raise NotImplementedError("nothing is agreed on yet")
        self._track.press(digit, duration_ms)

    def statistics(self) -> PacketStatistics:
        """Of the connection."""
        return self._peer.statistics()

    def reception(self) -> Reception | None:
        """Of the sound; None before the first."""
        figures = self.leg.playout()
        if figures is None:
            return None
        return Reception(
            figures.lost,
            round(figures.concealed_ms / FRAME_MS),
            figures.jitter_p95_ms,
            figures.depth_ms,
        )

    async def close(self) -> None:
        self._ready = self._lost = _nothing
        await self._peer.close()


def _nothing() -> None:
    """Nobody wants to know."""
