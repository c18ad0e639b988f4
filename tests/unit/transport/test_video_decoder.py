"""The decoder's thread: the newest picture, bounded, whatever comes."""

from __future__ import annotations

import fractions
import threading

import av
import numpy as np
import pytest
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder

from salon.transport.video_decoder import MAX_WAITING, VideoDecoder
from salon.transport.video_frame import ViewerFrame
from salon.transport.video_h264 import START_CODE, H264Depacketiser
from salon.transport.video_payload import EncodedFrame
from salon.transport.video_vp8 import Vp8Depacketiser

TOOLS = {"VP8": (Vp8Encoder, Vp8Depacketiser), "H264": (H264Encoder, H264Depacketiser)}
SIZES = [(320, 192), (320, 192), (192, 320), (322, 182)]


def encoded(codec: str, count: int, *, first: int = 0xFFFFFF00) -> list[EncodedFrame]:
    """Pictures that get brighter."""
    make, reader = TOOLS[codec]
    encoder, depacketiser = make(), reader()
    frames = []
    for number in range(count):
        picture = np.full((192, 320, 3), 10 + 5 * number, np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts, frame.time_base = 3600 * number, fractions.Fraction(1, 90_000)
        payloads, _ = encoder.encode(frame)
        data, key = depacketiser.join(payloads)
        frames.append(EncodedFrame(codec, data, key, (first + 3600 * number) & 0xFFFFFFFF))
    return frames


class Watched:
    """A decoder and what it shows, in step."""

    def __init__(self) -> None:
        self.woken = threading.Semaphore(0)
        self.decoder = VideoDecoder(self.woken.release)

    def picture(self) -> ViewerFrame:
        assert self.woken.acquire(timeout=20)
        frame = self.decoder.take()
        assert frame is not None
        return frame

    def close(self) -> None:
        thread = self.decoder.close()
        if thread is not None:
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def watched() -> object:
    made = Watched()
    yield made
    made.close()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_D15_every_frame_comes_out_without_another_one(watched: Watched, codec: str) -> None:
    for number, frame in enumerate(encoded(codec, 6)):
        watched.decoder.put(frame)
        shown = watched.picture()
        assert (shown.width, shown.height, shown.timestamp_ms) == (320, 192, 40 * number)
        assert shown.data.shape == (192, 320, 3)
        assert shown.data.dtype == np.uint8
        assert abs(float(shown.data.mean()) - 10 - 5 * number) < 6


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_O59_the_size_may_change(watched: Watched, codec: str) -> None:
    make, reader = TOOLS[codec]
    encoder, depacketiser = make(), reader()
    seen = []
    for number, (width, height) in enumerate(SIZES):
        picture = np.full((height, width, 3), 90, np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts, frame.time_base = 3600 * number, fractions.Fraction(1, 90_000)
        data, key = depacketiser.join(encoder.encode(frame)[0])
        watched.decoder.put(EncodedFrame(codec, data, key, 3600 * number))
        shown = watched.picture()
        seen.append((shown.width, shown.height))
        assert shown.data.shape == (height, width, 3)
        assert shown.data.flags.c_contiguous
    assert seen == SIZES


def test_D8_the_newest_picture_wins_and_drops_are_counted(watched: Watched) -> None:
    frames = encoded("VP8", 20)
    for frame in frames:
        assert watched.decoder.put(frame)
    assert watched.woken.acquire(timeout=20)
    thread = watched.decoder
    deadline = threading.Event()
    while thread.decoded < 20 and not deadline.wait(0.005):
        pass
    deadline.wait(0.05)
    frame = thread.take()
    assert frame is not None
    assert thread.take() is None
    assert frame.timestamp_ms == 19 * 40
    assert thread.dropped == 19
    assert not watched.woken.acquire(blocking=False)


def test_too_many_that_wait_are_let_go_and_said(watched: Watched) -> None:
    frames = encoded("VP8", 2)
    answers = [watched.decoder.put(frames[0]) for _ in range(20 * MAX_WAITING)]
    assert False in answers
    assert watched.decoder.overflowed > MAX_WAITING


def test_a_failure_is_told_and_the_next_key_frame_shows(watched: Watched) -> None:
    frames = encoded("VP8", 3)
    watched.decoder.put(frames[0])
    watched.picture()
    watched.decoder.put(EncodedFrame("VP8", b"\x10", True, 0))
    assert watched.woken.acquire(timeout=20)
    assert watched.decoder.failed()
    assert not watched.decoder.failed()
    assert watched.decoder.take() is None
    watched.decoder.put(frames[1])
    watched.decoder.put(frames[0])
    assert watched.picture().width == 320
    assert watched.decoder.errors == 1
    assert watched.decoder.decoded == 2


def test_parameters_that_come_alone_belong_to_the_next_picture(watched: Watched) -> None:
    whole = encoded("H264", 1)[0]
    units = whole.data.split(START_CODE)[1:]
    parameters = [unit for unit in units if unit[0] & 0x1F in (7, 8)]
    assert len(parameters) == 2
    for unit in parameters:
        watched.decoder.put(EncodedFrame("H264", START_CODE + unit, True, 0))
    rest = b"".join(START_CODE + unit for unit in units if unit not in parameters)
    watched.decoder.put(EncodedFrame("H264", rest, True, 0))
    assert watched.picture().width == 320
    assert watched.decoder.errors == 0


def test_close_ends_the_thread_and_takes_no_more() -> None:
    watched = Watched()
    watched.decoder.put(encoded("VP8", 1)[0])
    watched.picture()
    watched.close()
    assert watched.decoder.put(encoded("VP8", 1)[0])
    assert watched.decoder.take() is None
    assert VideoDecoder(lambda: None).close() is None
