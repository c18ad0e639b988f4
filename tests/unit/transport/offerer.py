"""The other side of a WebRTC connection: aiortc's own peer connection, as its authors mean it."""

from __future__ import annotations

import asyncio
import fractions
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from salon.transport.packets import MediaPacket, PacketPeer, PeerState


class ToneTrack(MediaStreamTrack):
    """440 Hz, paced."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._at = 0

    async def recv(self) -> av.AudioFrame:
        await asyncio.sleep(0.02)
        time = (self._at + np.arange(960)) / 48_000
        samples = (8000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, self._at
        frame.time_base = fractions.Fraction(1, 48_000)
        self._at += 960
        return frame


class Offerer:
    """Offers one audio section and counts what it is sent."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.addTrack(ToneTrack())
        self.frames: list[Any] = []
        self._readers: list[asyncio.Task[None]] = []
        self.pc.on("track", self._on_track)

    def _on_track(self, track: Any) -> None:
        self._readers.append(asyncio.ensure_future(self._read(track)))

    async def _read(self, track: Any) -> None:
        try:
            while True:
                self.frames.append(await track.recv())
        except MediaStreamError:
            return

    async def offer(self) -> str:
        """A complete offer."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return str(self.pc.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def close(self) -> None:
        await self.pc.close()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)


@asynccontextmanager
async def offering() -> AsyncIterator[Offerer]:
    offerer = Offerer()
    try:
        yield offerer
    finally:
        await offerer.close()


class Watch:
    """States and packets of a peer, with something to wait on."""

    def __init__(self, peer: PacketPeer) -> None:
        self.peer = peer
        self.states: list[PeerState] = []
        self.packets: list[MediaPacket] = []
        self._changed = asyncio.Event()
        peer.on_state = self._state

    def listen(self) -> None:
        self.peer.tracks[0].on_packet = self._packet

    def _state(self, state: PeerState) -> None:
        self.states.append(state)
        self._changed.set()

    def _packet(self, packet: MediaPacket) -> None:
        self.packets.append(packet)
        self._changed.set()

    async def until(self, state: PeerState, timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout):
            while state not in self.states:
                self._changed.clear()
                await self._changed.wait()

    async def until_packets(self, count: int, timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout):
            while len(self.packets) < count:
                self._changed.clear()
                await self._changed.wait()


def without_candidates(sdp: str) -> str:
    """The offer of a client that trickles."""
    return re.sub(r"a=(candidate:|end-of-candidates).*\r?\n", "", sdp)


def candidates_of(sdp: str) -> list[str]:
    """The values of the candidate lines."""
    return re.findall(r"a=(candidate:.*?)\r?\n", sdp)
