"""Answering servers to measure a call beside, each in a process of its own.

    python benchmarks/webrtc_stock.py stock PORT     aiortc as it is: RTCPeerConnection
    python benchmarks/webrtc_stock.py echo PORT      packets only: Salon's carrier, no codec

Both take the invite of a `/webrtc` call and nothing else. The first decodes what comes and sends
encoded sound all the time, as an application of aiortc does; nothing listens to the sound and its
frames are made once, so what is counted is aiortc's own work.
"""

from __future__ import annotations

import asyncio
import fractions
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import av
import numpy as np
import uvloop
import websockets
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from webrtc_load import FRAME_S, speech_like

from salon.transport.carriers import choose_carrier
from salon.transport.packets import MediaPacket, PacketPeer, PeerOptions
from salon.transport.ticker import Ticker

RATE = 48_000
Answer = Callable[[str], Awaitable[tuple[str, Any]]]
"""An offer to an answer and what has to be closed."""


def frames() -> list[av.AudioFrame]:
    """Eight seconds of sound in the shape that aiortc's encoder takes as it is."""
    samples = np.repeat(speech_like(8, RATE), 2).reshape(1, -1)
    made = []
    for at in range(0, samples.shape[1] - 1919, 1920):
        frame = av.AudioFrame.from_ndarray(samples[:, at : at + 1920], "s16", "stereo")
        frame.sample_rate, frame.time_base = RATE, fractions.Fraction(1, RATE)
        made.append(frame)
    return made


class Player(MediaStreamTrack):
    """Sound in real time."""

    kind = "audio"

    def __init__(self, sound: list[av.AudioFrame]) -> None:
        super().__init__()
        self._sound = sound
        self._began: float | None = None
        self._sent = 0

    async def recv(self) -> av.AudioFrame:
        """The next frame, when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._began is None:
            self._began = time.monotonic()
        await asyncio.sleep(max(0.0, self._began + self._sent * FRAME_S - time.monotonic()))
        frame = self._sound[self._sent % len(self._sound)]
        frame.pts = self._sent * 960
        self._sent += 1
        return frame


async def consume(track: MediaStreamTrack) -> None:
    """Take the decoded sound and drop it."""
    try:
        while True:
            await track.recv()
    except MediaStreamError:
        return


def stock() -> Answer:
    """Calls by `RTCPeerConnection`."""
    sound = frames()
    listening: set[asyncio.Task[None]] = set()

    async def answer(offer: str) -> tuple[str, Any]:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))

        def heard(track: MediaStreamTrack) -> None:
            task = asyncio.ensure_future(consume(track))
            listening.add(task)
            task.add_done_callback(listening.discard)

        connection.on("track", heard)
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        connection.addTrack(Player(sound))
        await connection.setLocalDescription(await connection.createAnswer())
        return connection.localDescription.sdp, connection

    return answer


async def echo() -> Answer:
    """Calls by Salon's carrier: every packet is sent back as it is."""
    carrier = await choose_carrier("aiortc", Ticker())

    async def answer(offer: str) -> tuple[str, PacketPeer]:
        peer = carrier.make(PeerOptions())
        sdp = await peer.answer(offer)
        track = peer.tracks[0]

        def back(packet: MediaPacket) -> None:
            track.send(packet.payload, packet.payload_type, packet.timestamp)

        track.on_packet = back
        return sdp, peer

    return answer


async def serve(answer: Answer, port: int) -> None:
    """One call for each socket, until the socket closes."""

    async def call(socket: websockets.ServerConnection) -> None:
        carried = None
        try:
            async for text in socket:
                command = json.loads(text)
                if command["command"] == "invite":
                    sdp, carried = await answer(command["option"]["offer"])
                    await socket.send(json.dumps({"event": "answer", "sdp": sdp}))
        except websockets.ConnectionClosed:
            pass
        finally:
            if carried is not None:
                await carried.close()

    async with websockets.serve(call, "127.0.0.1", port, compression=None, ping_interval=None):
        await asyncio.get_running_loop().create_future()


async def main() -> None:
    kind, port = sys.argv[1], int(sys.argv[2])
    await serve(stock() if kind == "stock" else await echo(), port)


if __name__ == "__main__":
    uvloop.run(main())
