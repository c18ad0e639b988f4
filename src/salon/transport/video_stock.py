"""Pictures and sound as aiortc's own receivers give them.

For pictures it is the way out where packets can't be had (`salon.transport.video_hook`): a frame
comes only when the next one begins, which costs a frame of delay. The newest picture wins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from aiortc.mediastreams import MediaStreamError

from salon.transport.video_frame import (
    Picture,
    VideoStatistics,
    ViewerFrame,
    ViewerSound,
    milliseconds,
)

_log = logging.getLogger("salon.transport")


class StockVideo:
    """Takes the frames of one track of aiortc and hands the newest over."""

    def __init__(self, track: Any, show: Callable[[ViewerFrame], None]) -> None:
        self._track = track
        self._show = show
        self._newest: Any = None
        self._came = asyncio.Event()
        self._ended = False
        self._decoded = self._delivered = self._dropped = 0
        self._size = (0, 0)

    async def run(self) -> None:
        """Until the track ends."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pull(), name="stock video: pull")
            group.create_task(self._deliver(), name="stock video: deliver")

    async def _pull(self) -> None:
        while True:
            try:
                frame = await self._track.recv()
            except MediaStreamError:
                self._ended = True
                self._came.set()
                return
            self._decoded += 1
            self._dropped += self._newest is not None
            self._newest = frame
            self._came.set()

    async def _deliver(self) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
            frame, self._newest = self._newest, None
            if frame is not None:
                picture = await asyncio.to_thread(_rgb, frame)
                self._delivered += 1
                self._size = frame.width, frame.height
                self._show(ViewerFrame(picture, *self._size, milliseconds(frame)))
            elif self._ended:
                return

    def statistics(self) -> VideoStatistics:
        """What is known on this path."""
        return VideoStatistics(
            decoded=self._decoded,
            delivered=self._delivered,
            dropped=self._dropped,
            width=self._size[0],
            height=self._size[1],
        )


def _rgb(frame: Any) -> Picture:
    return np.ascontiguousarray(frame.to_ndarray(format="rgb24"))


async def ask_stock(receiver: Any) -> None:
    """Ask the sources of a receiver of aiortc for a key frame."""
    for source in receiver.getSynchronizationSources():
        await receiver._send_rtcp_pli(source.source)


class StockSound:
    """Takes the sound of one track of aiortc; none is kept waiting."""

    def __init__(self, track: Any, play: Callable[[ViewerSound], None] | None) -> None:
        self._track = track
        self._play = play
        self.pieces = 0

    async def run(self) -> None:
        """Until the track ends. Without a listener the sound is taken and let go (O47)."""
        while True:
            try:
                frame = await self._track.recv()
            except MediaStreamError:
                return
            self.pieces += 1
            if self._play is not None:
                self._play(sound_of(frame))


def sound_of(frame: Any) -> ViewerSound:
    """A frame of 16-bit sound, packed or planar, in our shape."""
    channels = len(frame.layout.channels)
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, channels)
    whole = np.ascontiguousarray(samples, dtype=np.int16)
    return ViewerSound(whole, frame.sample_rate, milliseconds(frame))
