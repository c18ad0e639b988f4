"""Where aiortc's own receiver gives the pictures the newest wins too (D8)."""

from __future__ import annotations

import asyncio

from tests.unit.transport.streamer import Pictures

from salon.transport.video_frame import ViewerFrame
from salon.transport.video_stock import StockVideo


async def test_D8_of_pictures_that_came_meanwhile_the_newest_is_shown() -> None:
    track = Pictures()
    shown: asyncio.Queue[ViewerFrame] = asyncio.Queue()
    video = StockVideo(track, shown.put_nowait)
    for brightness in (10, 60, 110, 160):
        track.show(brightness)
    running = asyncio.ensure_future(video.run())
    async with asyncio.timeout(20):
        frame = await shown.get()
        track.stop()
        track.show(0)  # wakes it, to find that the track has ended
        await running
    assert abs(int(frame.data[0, 0, 0]) - 160) < 5
    assert shown.empty()
    figures = video.statistics()
    assert (figures.decoded, figures.delivered, figures.dropped) == (4, 1, 3)
