"""A stock aiortc sender whose pictures say when they were made, in a process of its own.

    python benchmarks/video_sender.py FPS WIDTH HEIGHT

Offers come as lines of JSON on standard output and answers on standard input, one connection after
the other. The time is `time.perf_counter_ns` // 1000, which processes of one machine share, in 40
blocks of 32 x 32 pixels at the top, black or white; below it a picture moves.
"""

from __future__ import annotations

import asyncio
import fractions
import json
import sys
import time

import av
import numpy as np
import numpy.typing as npt
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError

BITS = 40
BLOCK = 32
CLOCK = fractions.Fraction(1, 90_000)
Array = npt.NDArray[np.uint8]


def now_us() -> int:
    """Microseconds that every process of this machine counts alike."""
    return time.perf_counter_ns() // 1000 % (1 << BITS)


def write_time(luma: Array, stamp: int) -> None:
    """Put `stamp` into the brightness of a picture."""
    bits = np.array([stamp >> bit & 1 for bit in range(BITS)], np.uint8) * 200 + 25
    luma[:BLOCK, : BITS * BLOCK] = bits.repeat(BLOCK)


def read_time(picture: Array) -> int:
    """The stamp of a decoded picture (uint8[height, width, 3] or brightness alone)."""
    luma = picture[..., 1] if picture.ndim == 3 else picture
    centres = luma[BLOCK // 2, BLOCK // 2 : BITS * BLOCK : BLOCK]
    return sum(1 << bit for bit, value in enumerate(centres) if value > 125)


class Picture(VideoStreamTrack):
    """A moving picture, in time."""

    def __init__(self, rate: float, width: int, height: int) -> None:
        super().__init__()
        self._rate = rate
        noise = np.random.default_rng(1).integers(40, 216, (height // 16, width // 16), np.uint8)
        self._background = np.ascontiguousarray(noise.repeat(16, 0).repeat(16, 1))
        self._chroma = np.full((height // 2, width), 128, np.uint8)
        self._began: float | None = None
        self._count = 0

    async def recv(self) -> av.VideoFrame:
        """The next picture, when it is due."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._began is None:
            self._began = time.monotonic()
        await asyncio.sleep(max(0.0, self._began + self._count / self._rate - time.monotonic()))
        luma = np.roll(self._background, (self._count * 2, self._count * 3), (0, 1))
        write_time(luma, now_us())
        frame = av.VideoFrame.from_ndarray(np.vstack([luma, self._chroma]), "yuv420p")
        frame.pts, frame.time_base = round(self._count * 90_000 / self._rate), CLOCK
        self._count += 1
        return frame


async def serve(rate: float, width: int, height: int) -> None:
    """One connection after the other, each as long as standard input says nothing."""
    loop = asyncio.get_running_loop()
    while True:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        pc.addTrack(Picture(rate, width, height))
        await pc.setLocalDescription(await pc.createOffer())
        print(json.dumps({"sdp": pc.localDescription.sdp}), flush=True)
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if not line:
            return
        await pc.setRemoteDescription(RTCSessionDescription(json.loads(line)["sdp"], "answer"))
        ended = not await loop.run_in_executor(None, sys.stdin.readline)
        await pc.close()
        if ended:
            return


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
