"""A call over WebRTC placed with other people's libraries: websockets and aiortc."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from tests.integration.wire import FRAME_S, TIMEOUT_S, WireCall
from websockets.asyncio.client import ClientConnection, connect

from salon.media import FRAME_SAMPLES, Samples

RATE = 16_000


class Microphone(MediaStreamTrack):
    """What is put into `said`, frame by frame at its pace; silence between."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.said: deque[Samples] = deque()
        self._frames = 0
        self._began: float | None = None

    async def recv(self) -> av.AudioFrame:
        """The next 20 ms, when they are over."""
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
        await asyncio.sleep(max(0.0, self._began + self._frames * FRAME_S - loop.time()))
        samples = self.said.popleft() if self.said else np.zeros(FRAME_SAMPLES, np.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, self._frames * FRAME_SAMPLES
        frame.time_base = fractions.Fraction(1, RATE)
        self._frames += 1
        return frame


class RtcCall(WireCall):
    """One call; `speaker` holds what was heard, ``int16[n]`` 16 kHz."""

    def __init__(self, socket: ClientConnection, prefer: str | None = None) -> None:
        super().__init__(socket)
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.microphone = Microphone()
        self.speaker: list[Samples] = []
        transceiver = self.pc.addTransceiver(self.microphone)
        if prefer is not None:
            codecs = RTCRtpSender.getCapabilities("audio").codecs
            chosen = [codec for codec in codecs if codec.mimeType.lower().endswith(prefer)]
            transceiver.setCodecPreferences(chosen)
        self._listening: list[asyncio.Task[None]] = []
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        self.pc.on("track", self._on_track)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, trace)
        await self.pc.close()
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._listening.append(asyncio.create_task(self._listen(track)))

    async def _listen(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                for piece in self._resampler.resample(frame):
                    self.speaker.append(piece.to_ndarray().reshape(-1).astype(np.int16))

    async def offer(self) -> str:
        """A complete offer of this end."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return str(self.pc.localDescription.sdp)

    async def accept(self, sdp: str) -> None:
        """Take the answer and wait until the connection is there."""
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
        async with asyncio.timeout(TIMEOUT_S):
            while self.pc.connectionState != "connected":
                assert self.pc.connectionState not in ("failed", "closed")
                await asyncio.sleep(0.02)

    async def invite(self, **option: Any) -> dict[str, Any]:
        """Offer, take the answer, connect; the `answer`."""
        await self.send("invite", option={"offer": await self.offer(), **option})
        answer = await self.expect("answer")
        await self.accept(answer["sdp"])
        return answer

    async def talk(self, samples: Samples) -> None:
        """Say ``int16[n]`` 16 kHz at its pace."""
        frames = -(-len(samples) // FRAME_SAMPLES)
        padded = np.zeros(frames * FRAME_SAMPLES, dtype=np.int16)
        padded[: len(samples)] = samples
        self.microphone.said.extend(padded.reshape(-1, FRAME_SAMPLES))
        async with asyncio.timeout(frames * FRAME_S + TIMEOUT_S):
            while self.microphone.said:
                await asyncio.sleep(FRAME_S)

    def sound(self, since: int = 0) -> Samples:
        """What was heard from piece `since` of `speaker` on."""
        pieces = self.speaker[since:]
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int16)


@contextlib.asynccontextmanager
async def placed_rtc(
    ws_url: str,
    path: str = "/webrtc",
    *,
    prefer: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[RtcCall]:
    """A call to `ws_url`, not invited yet; closed at the end of the ``with``. `prefer` names the
    one codec that is offered: ``opus pcmu pcma g722``."""
    socket = await connect(
        ws_url + path, additional_headers=headers, compression=None, max_queue=None
    )
    async with RtcCall(socket, prefer) as call:
        yield call


def candidates_of(sdp: str) -> list[str]:
    """The values of its candidate lines."""
    return re.findall(r"a=(candidate:.*?)\r?\n", sdp)


def without_candidates(sdp: str) -> str:
    """The offer of a client that trickles."""
    return re.sub(r"a=(candidate:|end-of-candidates).*\r?\n", "", sdp)
