"""A sender of video made of stock aiortc, and what it shows."""

from __future__ import annotations

import asyncio
import fractions
from collections.abc import Callable
from typing import Any

import av
import numpy as np
from aiortc import (
    AudioStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import MediaStreamError

CLOCK = fractions.Fraction(1, 90_000)


class Pictures(VideoStreamTrack):
    """Sends the pictures it is given, one colour each, and no more."""

    def __init__(self) -> None:
        super().__init__()
        self._pending: asyncio.Queue[tuple[int, int, int]] = asyncio.Queue()
        self._count = 0

    def show(self, brightness: int, *, width: int = 320, height: int = 192) -> None:
        """One picture, now."""
        self._pending.put_nowait((brightness, width, height))

    async def recv(self) -> av.VideoFrame:
        """The next one."""
        brightness, width, height = await self._pending.get()
        if self.readyState != "live":
            raise MediaStreamError
        chance = np.random.default_rng(self._count)
        picture = np.full((height, width, 3), brightness, np.uint8)
        picture[height // 2 :] = chance.integers(0, 255, (height - height // 2, width, 3))
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts, frame.time_base = self._count * 3750, CLOCK
        self._count += 1
        return frame


class Streamer:
    """One peer connection that offers a picture and two channels."""

    def __init__(self, *, codec: str = "VP8", sound: bool = False, links: bool = True) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pictures = Pictures()
        self.heard: list[str] = []
        if links:
            self.to_client = self.pc.createDataChannel("streamerToClient")
            self.from_client = self.pc.createDataChannel("clientToStreamer")
            self.from_client.on("message", self.heard.append)
        self.pc.addTrack(self.pictures)
        if sound:
            self.pc.addTrack(AudioStreamTrack())
        capabilities = RTCRtpReceiver.getCapabilities("video")
        assert capabilities is not None
        wanted = (f"video/{codec.lower()}", "video/rtx")
        self.section = self.pc.getTransceivers()[0]
        self.section.setCodecPreferences(
            [item for item in capabilities.codecs if item.mimeType.lower() in wanted]
        )

    async def offer(self) -> str:
        """The offer, with host candidates."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return str(self.pc.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """Take the answer."""
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def answer(self, offer: str) -> str:
        """Answer an offer to receive (WHEP)."""
        await self.pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return str(self.pc.localDescription.sdp)

    def lose(self, lost: Callable[[bytes], bool]) -> None:
        """Send media only if `lost` of the packet says no; RTP is given before encryption."""
        transport = self.section.sender.transport
        usual: Any = transport._send_rtp

        async def send(data: bytes) -> None:
            if not lost(data):
                await usual(data)

        transport.__dict__["_send_rtp"] = send

    async def close(self) -> None:
        """Close."""
        await self.pc.close()
