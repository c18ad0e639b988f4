"""A key frame that is wished for before there is a connection (O81)."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.transport.streamer import Streamer

from salon.transport.video_viewer import VideoViewer, ViewerFrame


@pytest.mark.parametrize("wished", [True, False])
async def test_O81_a_key_frame_is_asked_for_as_soon_as_there_is_a_connection(wished: bool) -> None:
    shown: asyncio.Queue[ViewerFrame] = asyncio.Queue()
    streamer, viewer = Streamer(links=False), VideoViewer(on_frame=shown.put_nowait)
    try:
        answer = await viewer.answer(await streamer.offer())
        if wished:
            viewer.request_key_frame()
        assert viewer.statistics().video.key_frame_requests == 0  # to whom?
        await streamer.accept(answer)
        async with asyncio.timeout(20):
            streamer.pictures.show(60)
            await shown.get()
        assert viewer.statistics().video.key_frame_requests == int(wished)
    finally:
        await viewer.close()
        await streamer.close()
