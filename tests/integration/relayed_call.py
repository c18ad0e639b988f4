"""A call over WebRTC by aiortc as its authors mean it, with a bad network between it and Salon."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import re
from collections.abc import AsyncIterator
from types import TracebackType
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
from tests.integration.wire import TIMEOUT_S, WireCall
from websockets.asyncio.client import ClientConnection, connect

from salon.media import FRAME_SAMPLES, SAMPLE_RATE, Samples, resample
from salon.media.packet_codecs import OpusPacketDecoder
from salon.media.playout import Playout, PlayoutStatistics
from salon.testing.network import NO_IMPAIRMENT, Impairment, UdpRelay, udp_relay

_RATE = 48_000
_FRAME = _RATE // 50
_NOTHING: Samples = np.zeros(FRAME_SAMPLES, dtype=np.int16)


class Microphone(MediaStreamTrack):
    """Says what it is given, at its pace, and silence in between."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._sound: Samples = np.zeros(0, dtype=np.int16)
        self._at = 0
        self._began: float | None = None
        self.idle = asyncio.Event()

    def say(self, samples: Samples) -> None:
        """``int16[n]`` at 16 kHz, after what is being said."""
        self._sound = np.concatenate([self._sound, resample(samples, SAMPLE_RATE, _RATE)])
        self.idle.clear()

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
        await asyncio.sleep(max(0.0, self._began + self._at / _RATE - loop.time()))
        piece, self._sound = self._sound[:_FRAME], self._sound[_FRAME:]
        samples = np.zeros(_FRAME, dtype=np.int16)
        samples[: len(piece)] = piece
        if not len(self._sound):
            self.idle.set()
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = _RATE, self._at
        frame.time_base = fractions.Fraction(1, _RATE)
        self._at += _FRAME
        return frame


class RelayedCall(WireCall):
    """One call through `relay`: events as in `WireCall`, sound through `microphone` and
    `heard_since`.

    Packets are taken from aiortc before its own jitter buffer, which throws away up to five more
    for each that is lost: browsers don't.
    """

    def __init__(self, socket: ClientConnection, relay: UdpRelay) -> None:
        super().__init__(socket)
        self.relay = relay
        self.microphone = Microphone()
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.addTrack(self.microphone)
        self.pc.on("track", self._on_track)
        self.pc.on("connectionstatechange", self._on_state)
        self.connect_s: float | None = None
        """From the invite to the moment DTLS is done."""
        self.states: list[str] = []
        self._connected = asyncio.Event()
        self._playout = Playout(OpusPacketDecoder())
        self._opus = -1
        self._heard: list[Samples] = []

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.pc.close()
        await super().__aexit__(kind, error, trace)

    def _on_track(self, track: Any) -> None:
        receiver: Any = self.pc.getReceivers()[0]
        handle = receiver._handle_rtp_packet

        async def tap(packet: Any, **more: Any) -> None:
            if packet.payload_type == self._opus:
                now = asyncio.get_running_loop().time()
                number, at = packet.sequence_number, packet.timestamp
                self._playout.insert(packet.payload, number, at, now)
            await handle(packet, **more)

        receiver._handle_rtp_packet = tap
        self._tasks.append(asyncio.ensure_future(self._drain(track)))
        self._tasks.append(asyncio.ensure_future(self._hear()))

    def _on_state(self) -> None:
        self.states.append(self.pc.connectionState)
        if self.pc.connectionState == "connected":
            self._connected.set()

    async def _drain(self, track: Any) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()

    async def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            sound = self._playout.pull(loop.time())
            self._heard.append(_NOTHING if sound is None else sound)
            due += 0.02
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def call(
        self, *, timeout: float = TIMEOUT_S, redundancy: bool = False, **option: Any
    ) -> None:
        """Invite and wait until the connection is there. With `redundancy` the offer asks for
        Opus's own, as browsers do."""
        began = asyncio.get_running_loop().time()
        await self.pc.setLocalDescription(await self.pc.createOffer())
        sdp = self.pc.localDescription.sdp
        if redundancy:
            sdp = re.sub(
                r"(a=rtpmap:(\d+) opus/48000/2\r\n)", r"\1a=fmtp:\2 useinbandfec=1\r\n", sdp
            )
        offer = await self.relay.offer(sdp)
        await self.send("invite", option={"offer": offer, **option})
        answer = await self.expect("answer")
        opus = re.search(r"a=rtpmap:(\d+) opus/48000/2", answer["sdp"])
        assert opus is not None
        self._opus = int(opus[1])
        sdp = await self.relay.answer(answer["sdp"])
        async with asyncio.timeout(timeout):
            await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
            await self._connected.wait()
        self.connect_s = asyncio.get_running_loop().time() - began

    async def hang_up(self) -> None:
        """End the call as a caller does, and wait for the end."""
        await self.send("hangup")
        await self.closed()

    def forget(self) -> None:
        """`expect` looks at what comes from now on."""
        self._seen = len(self.events)

    def mark(self) -> int:
        """Where `heard_since` shall begin."""
        return len(self._heard)

    def heard_since(self, mark: int) -> Samples:
        """What was heard, ``int16[n]`` at 16 kHz."""
        return np.concatenate([_NOTHING, *self._heard[mark:]])

    def reception(self) -> PlayoutStatistics:
        """How the server's sound came in."""
        return self._playout.statistics()


@contextlib.asynccontextmanager
async def relayed(
    ws_url: str,
    path: str = "/webrtc",
    impairment: Impairment = NO_IMPAIRMENT,
    *,
    to_client: Impairment | None = None,
    seed: int = 1,
) -> AsyncIterator[RelayedCall]:
    """A call that is not invited yet; closed at the end of the ``with``, the relay after it."""
    async with udp_relay(impairment, to_client, seed=seed) as relay:
        socket = await connect(ws_url + path, compression=None, max_queue=None)
        async with RelayedCall(socket, relay) as call:
            yield call
