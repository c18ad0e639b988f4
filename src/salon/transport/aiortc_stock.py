"""The stock path of aiortc: complete peer connections, sound as decoded frames.

Taken when packets can't be had (`salon.transport.aiortc_hook.probe`). It costs several times the
CPU, has aiortc's fixed jitter buffer and gives no telephone events; the sound appears as ``L16``
packets, so that whoever uses a peer needs to know nothing of it.
"""

from __future__ import annotations

import asyncio
import fractions
import logging
import re
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from salon.base import SYSTEM_CLOCK, Clock, TaskScope
from salon.transport.aiortc_peer import MAX_CANDIDATES, ice_servers, ignore, to_aiortc
from salon.transport.answer import choose_audio, usable_candidate
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
from salon.transport.sdp import Candidate, SessionDescription

_log = logging.getLogger("salon.transport")

RATE = 16_000
L16 = PayloadFormat(96, "L16", RATE)
MAX_WAITING = 10
"""Frames that wait for aiortc to take them; the oldest makes room."""
CLOSE_TIMEOUT_S = 2.0
_DIRECTIONS = ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")
_HOST = re.compile(r"(a=candidate:\S+ \d+ udp \d+ )(\S+)( \d+ typ host)", re.IGNORECASE)


class _Outgoing(MediaStreamTrack):
    """What aiortc's sender pulls from."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.waiting: deque[tuple[bytes, int]] = deque(maxlen=MAX_WAITING)
        self.dropped = 0
        self._wake = asyncio.Event()

    def push(self, payload: bytes, timestamp: int) -> None:
        """One frame of sound; never waits."""
        self.dropped += len(self.waiting) == MAX_WAITING
        self.waiting.append((payload, timestamp))
        self._wake.set()

    async def recv(self) -> av.AudioFrame:
        """The next frame."""
        while not self.waiting:
            if self.readyState != "live":
                raise MediaStreamError
            self._wake.clear()
            await self._wake.wait()
        payload, timestamp = self.waiting.popleft()
        samples = np.frombuffer(payload, dtype="<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, timestamp
        frame.time_base = fractions.Fraction(1, RATE)
        return frame

    def stop(self) -> None:
        """No more frames come."""
        super().stop()
        self._wake.set()


class _StockTrack(PacketTrack):
    kind: Literal["audio", "video"] = "audio"
    formats: tuple[PayloadFormat, ...] = (L16,)

    def __init__(self, outgoing: _Outgoing) -> None:
        self.sending = True
        self.on_packet: Callable[[MediaPacket], None] = ignore
        self.received = self.received_bytes = self.sent = self.sent_bytes = 0
        self._outgoing = outgoing

    def send(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None:
        del payload_type, marker
        self.sent += 1
        self.sent_bytes += len(payload)
        self._outgoing.push(payload, timestamp)


class AiortcStockPeer(PacketPeer):
    """A peer connection as aiortc means it, behind the interface of packets."""

    carrier: ClassVar[str] = "aiortc-stock"

    def __init__(self, options: PeerOptions, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.state = PeerState.NEW
        self.tracks: tuple[PacketTrack, ...] = ()
        self.on_state: Callable[[PeerState], None] = lambda _state: None
        self._options = options
        self._clock = clock
        self._scope = TaskScope("stock webrtc peer")
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=ice_servers(options)))
        self._outgoing = _Outgoing()
        self._track = _StockTrack(self._outgoing)
        self._ufrag: str | None = None
        self._candidates = 0
        self._answered_at = 0.0
        self._connect_ms: float | None = None
        self._pc.on("connectionstatechange", self._on_state)
        self._pc.on("track", self._on_track)

    async def answer(self, offer: str) -> str:
        description = SessionDescription.parse(offer)
        ufrag = next((media.ice_ufrag for media in description.media if media.ice_ufrag), None)
        if self._ufrag not in (None, ufrag):
            raise AnotherSession("another ICE session needs a new connection")
        choose_audio(description, self._options.formats)
        first, self._ufrag = self._ufrag is None, ufrag
        try:
            usable = RTCSessionDescription(self._usable(offer), "offer")
            await self._pc.setRemoteDescription(usable)
            if first:
                self._pc.addTrack(self._outgoing)
                self.tracks = (self._track,)
            await self._pc.setLocalDescription(await self._pc.createAnswer())
        except Exception as error:  # noqa: BLE001 - aiortc has no error of its own for an offer
            reason = str(error) or type(error).__name__
            raise NegotiationError(f"the offer can't be used: {reason}") from None
        self._answered_at = self._clock.monotonic()
        return self._filtered(self._pc.localDescription.sdp)

    def _usable(self, offer: str) -> str:
        """The offer without candidates that must not be tried, and with the directions that
        aiortc wants to see."""
        kept: list[str] = []
        sections = re.split(r"(?m)^(?=m=)", offer)
        told = any(direction in sections[0] for direction in _DIRECTIONS)
        for index, section in enumerate(sections):
            if index and not told and not any(word in section for word in _DIRECTIONS):
                sections[index] = section.rstrip("\r\n") + "\r\na=sendrecv\r\n"
        for line in "".join(sections).splitlines(keepends=True):
            if line.startswith("a=candidate:"):
                if not self._may_try(line.strip()[2:]):
                    continue
                self._candidates += 1
            kept.append(line)
        return "".join(kept)

    def _may_try(self, candidate: str) -> bool:
        try:
            return usable_candidate(Candidate.parse(candidate), ipv6=self._options.ipv6)
        except NegotiationError:
            return False

    def _filtered(self, sdp: str) -> str:
        """Addresses as the options want them (G147, G149)."""
        kept = []
        for line in sdp.splitlines():
            if line.startswith("a=candidate:"):
                if not self._options.ipv6 and ":" in line.split()[4]:
                    continue
                if self._options.external_ip:
                    line = _HOST.sub(rf"\g<1>{self._options.external_ip}\g<3>", line)
            kept.append(line)
        return "\r\n".join(kept) + "\r\n"

    def add_candidate(self, candidate: str) -> None:
        if not candidate.strip():
            return
        parsed = Candidate.parse(candidate)
        if not usable_candidate(parsed, ipv6=self._options.ipv6):
            return
        self._candidates += 1
        if self._candidates > MAX_CANDIDATES:
            raise NegotiationError(f"more than {MAX_CANDIDATES} candidates")
        remote = to_aiortc(parsed)
        remote.sdpMLineIndex = 0
        self._scope.spawn(self._pc.addIceCandidate(remote), name="candidate")

    def _on_state(self) -> None:
        state = PeerState(self._pc.connectionState)
        if state is PeerState.CONNECTED and self._connect_ms is None:
            self._connect_ms = (self._clock.monotonic() - self._answered_at) * 1000
        if state is not self.state and self.state not in (PeerState.FAILED, PeerState.CLOSED):
            self.state = state
            self.on_state(state)

    def _on_track(self, track: Any) -> None:
        if track.kind == "audio":
            self._scope.spawn(self._receive(track), name="stock audio")

    async def _receive(self, track: Any) -> None:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        sequence = timestamp = 0
        own = self._track
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            for piece in resampler.resample(frame):
                payload = piece.to_ndarray().astype("<i2", copy=False).tobytes()
                own.received += 1
                own.received_bytes += len(payload)
                own.on_packet(
                    MediaPacket(
                        payload,
                        L16.payload_type,
                        sequence,
                        timestamp,
                        marker=False,
                        arrival=self._clock.monotonic(),
                    )
                )
                sequence = (sequence + 1) & 0xFFFF
                timestamp = (timestamp + piece.samples) & 0xFFFFFFFF

    def statistics(self) -> PacketStatistics:
        track = self._track
        return PacketStatistics(
            packets_received=track.received,
            bytes_received=track.received_bytes,
            packets_sent=track.sent,
            bytes_sent=track.sent_bytes,
            unsent=self._outgoing.dropped,
            connect_ms=self._connect_ms,
        )

    async def close(self) -> None:
        if self.state is PeerState.CLOSED:
            return
        self.state = PeerState.CLOSED
        self._track.on_packet = ignore
        self._outgoing.stop()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._pc.close()
        except TimeoutError:
            _log.warning("a WebRTC connection did not close in time")
        finally:
            await self._scope.close()
            self._pc.remove_all_listeners()
            self.on_state = lambda _state: None
