"""A viewer beside stock aiortc on the loopback interface."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from tests.unit.transport.streamer import Pictures, Streamer

from salon.base import Clock
from salon.transport import video_hook
from salon.transport.aiortc_hook import SlowServers
from salon.transport.packets import IceServer, NegotiationError
from salon.transport.video_link import (
    DEFAULT_MESSAGE_BYTES,
    MAX_WAITING_BYTES,
    DataLink,
    LinkClosed,
    LinkFull,
    max_message_bytes,
)
from salon.transport.video_viewer import (
    LOST_S,
    MAX_LINKS,
    SILENT_S,
    VideoViewer,
    ViewerFrame,
    ViewerSound,
)

TIMEOUT_S = 20.0
SILENT = IceServer(("stun:192.0.2.1:3478",))


class Watcher:
    """A viewer and all it says."""

    def __init__(self, **options: Any) -> None:
        self.frames: list[ViewerFrame] = []
        self.sound: list[ViewerSound] = []
        self.links: dict[str, DataLink] = {}
        self.texts: list[str] = []
        self.events: list[str] = []
        self._changed = asyncio.Event()
        self.viewer = VideoViewer(
            on_frame=lambda frame: self._note(self.frames, frame),
            on_sound=lambda sound: self._note(self.sound, sound),
            on_link=self._link,
            on_video=lambda: self._note(self.events, "video"),
            on_state=lambda state: self._note(self.events, state),
            on_video_end=lambda: self._note(self.events, "video end"),
            **options,
        )

    def _note(self, where: list[Any], what: Any) -> None:
        where.append(what)
        self._changed.set()

    def _link(self, link: DataLink) -> None:
        self.links[link.label] = link
        link.on_message = lambda text: self._note(self.texts, text)
        link.on_close = lambda: self._note(self.events, f"closed {link.label}")
        self._changed.set()

    async def until(self, true: Callable[[], Any]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    async def brightness(self, streamer: Streamer, wanted: int, **size: int) -> ViewerFrame:
        """Send one picture, and wait until it is seen."""
        streamer.pictures.show(wanted, **size)
        await self.until(lambda: self.frames and abs(seen(self.frames[-1]) - wanted) < 8)
        return self.frames[-1]


def seen(frame: ViewerFrame) -> float:
    """Brightness of the upper half."""
    return float(frame.data[: frame.height // 2].mean())


class Pair:
    """Streamers and watchers of one test."""

    def __init__(self) -> None:
        self._open: list[Any] = []

    async def connect(
        self, streamer: Streamer | None = None, **options: Any
    ) -> tuple[Streamer, Watcher]:
        streamer = streamer or Streamer()
        watcher = Watcher(**options)
        self._open += [watcher.viewer, streamer]
        await streamer.accept(await watcher.viewer.answer(await streamer.offer()))
        await watcher.until(lambda: "connected" in watcher.events)
        return streamer, watcher

    async def close(self) -> None:
        for item in self._open:
            await item.close()


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    yield made
    await made.close()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_D15_a_picture_is_there_before_the_next_is_sent(pair: Pair, codec: str) -> None:
    streamer, watcher = await pair.connect(Streamer(codec=codec))
    for number, brightness in enumerate((40, 90, 140, 190), start=1):
        frame = await watcher.brightness(streamer, brightness)
        assert (frame.width, frame.height) == (320, 192)
        assert frame.data.shape == (192, 320, 3)
        assert frame.data.dtype == np.uint8
        assert len(watcher.frames) == number
    figures = watcher.viewer.statistics()
    assert figures.path == "packets"
    assert figures.connect_ms is not None
    assert figures.video.codec == codec
    assert figures.video.delivered == figures.video.decoded == 4
    assert figures.video.lost == figures.video.skipped == figures.video.decode_errors == 0


async def test_O74_the_order_of_what_is_told(pair: Pair) -> None:
    streamer, watcher = await pair.connect()
    await watcher.until(lambda: len(watcher.links) == 2)
    assert watcher.events == ["video", "connecting", "connected"]
    assert watcher.viewer.state == "connected"
    await streamer.close()
    await watcher.until(lambda: "closed" in watcher.events)
    assert watcher.events.count("video end") == 1
    await watcher.viewer.close()
    assert watcher.events.count("closed") == 1
    assert watcher.events.count("closed clientToStreamer") == 1


async def test_O39_O40_channels_carry_text_both_ways(pair: Pair) -> None:
    streamer, watcher = await pair.connect()
    await watcher.until(lambda: len(watcher.links) == 2)
    link = watcher.links["clientToStreamer"]
    assert link.ready
    link.send('{"type": "update"}')
    streamer.from_client.once("message", lambda text: streamer.to_client.send("ok: " + text))
    await watcher.until(lambda: watcher.texts)
    assert watcher.texts == ['ok: {"type": "update"}']
    streamer.to_client.send(b"\xff\xff")
    streamer.to_client.send(b"bytes")
    await watcher.until(lambda: "bytes" in watcher.texts)
    assert watcher.links["streamerToClient"].rejected == 1
    await watcher.viewer.close()
    assert not link.ready
    with pytest.raises(LinkClosed):
        link.send("too late")


async def test_O48_the_limit_of_a_message_is_the_one_stated(pair: Pair) -> None:
    streamer, watcher = Streamer(), Watcher()
    offer = re.sub(r"a=max-message-size:\d+", "a=max-message-size:1000", await streamer.offer())
    pair._open += [watcher.viewer, streamer]
    await streamer.accept(await watcher.viewer.answer(offer))
    await watcher.until(lambda: len(watcher.links) == 2)
    link = watcher.links["clientToStreamer"]
    assert link.max_message_bytes == 1000
    link.send("é" * 500)
    with pytest.raises(ValueError, match="1002 bytes"):
        link.send("é" * 501)
    assert max_message_bytes("v=0\r\n") == DEFAULT_MESSAGE_BYTES
    assert max_message_bytes("a=max-message-size:0\r\n") > 1 << 25


async def test_what_waits_on_a_channel_is_bounded(pair: Pair) -> None:
    _, watcher = await pair.connect()
    await watcher.until(lambda: len(watcher.links) == 2)
    link = watcher.links["clientToStreamer"]
    text = "a" * link.max_message_bytes
    for _ in range(MAX_WAITING_BYTES // len(text)):
        link.send(text)
    with pytest.raises(LinkFull):
        link.send(text)


async def test_the_number_of_channels_is_bounded(pair: Pair) -> None:
    streamer = Streamer()
    for number in range(MAX_LINKS + 3):
        streamer.pc.createDataChannel(f"more {number}")
    streamer, watcher = await pair.connect(streamer)
    await watcher.until(lambda: len(watcher.links) == MAX_LINKS)
    await watcher.brightness(streamer, 60)
    assert len(watcher.links) == MAX_LINKS


async def test_more_pictures_than_one_are_not_received(pair: Pair) -> None:
    streamer = Streamer()
    streamer.pc.addTransceiver(Pictures(), direction="sendonly")
    before = set(threading.enumerate())
    streamer, watcher = await pair.connect(streamer)
    await watcher.brightness(streamer, 60)
    assert watcher.events.count("video") == 1
    assert "video-decoder" not in {thread.name for thread in set(threading.enumerate()) - before}


async def test_O59_the_size_changes_without_negotiation(pair: Pair) -> None:
    streamer, watcher = await pair.connect()
    await watcher.brightness(streamer, 60)
    frame = await watcher.brightness(streamer, 120, width=192, height=320)
    assert (frame.width, frame.height) == (192, 320)
    assert frame.data.shape == (320, 192, 3)
    statistics = watcher.viewer.statistics().video
    assert (statistics.width, statistics.height) == (192, 320)


def every(number: int) -> Callable[[bytes], bool]:
    """Loses each so-manieth RTP packet."""
    count = 0

    def lost(data: bytes) -> bool:
        nonlocal count
        if not 192 <= data[1] <= 223:
            count += 1
        return count % number == 0 and not 192 <= data[1] <= 223

    return lost


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_O46_lost_packets_are_repaired(pair: Pair, codec: str) -> None:
    streamer, watcher = await pair.connect(Streamer(codec=codec))
    streamer.lose(every(7))
    for number in range(24):
        streamer.pictures.show(40 + 8 * number)
    await watcher.until(lambda: watcher.viewer.statistics().video.complete >= 23)
    figures = watcher.viewer.statistics().video
    assert figures.nacks_sent > 0
    assert figures.recovered > 0
    assert figures.skipped <= 1
    assert figures.decode_errors == 0


async def test_a_lost_frame_asks_for_a_key_frame_and_goes_on(pair: Pair) -> None:
    streamer, watcher = await pair.connect()
    await watcher.brightness(streamer, 60)
    gone: set[bytes] = set()
    lost = asyncio.Event()

    def all_of_the_next(data: bytes) -> bool:
        if 192 <= data[1] <= 223:
            return False
        if not gone:
            gone.add(data[4:8])
            lost.set()
        return data[4:8] in gone  # repetitions too

    streamer.lose(all_of_the_next)
    streamer.pictures.show(100)
    await asyncio.wait_for(lost.wait(), TIMEOUT_S)
    streamer.pictures.show(140)
    async with asyncio.timeout(TIMEOUT_S):
        while len(watcher.frames) == 1:
            streamer.pictures.show(180)
            await asyncio.sleep(0.05)
    assert abs(seen(watcher.frames[1]) - 180) < 8
    assert watcher.viewer.statistics().video.key_frame_requests >= 1
    assert watcher.viewer.statistics().video.key_frames == 2


async def test_reports_reach_the_sender(pair: Pair) -> None:
    streamer, watcher = await pair.connect()
    await watcher.brightness(streamer, 60)
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            figures = (await streamer.section.sender.getStats()).values()
            if any(item.type == "remote-inbound-rtp" for item in figures):
                break
            await asyncio.sleep(0.05)


async def test_O47_sound_is_taken_as_16_bit_samples_if_it_is_offered(pair: Pair) -> None:
    streamer, watcher = await pair.connect(Streamer(sound=True))
    await watcher.until(lambda: len(watcher.sound) >= 3)
    piece = watcher.sound[0]
    assert piece.samples.dtype == np.int16
    assert piece.samples.shape == (piece.rate // 50, piece.channels)
    assert watcher.sound[1].timestamp_ms - piece.timestamp_ms == 20
    await watcher.brightness(streamer, 60)


async def test_O47_sound_that_nobody_wants_costs_nothing(pair: Pair) -> None:
    streamer = Streamer(sound=True)
    viewer = VideoViewer()
    pair._open += [viewer, streamer]
    before = set(threading.enumerate())
    await streamer.accept(await viewer.answer(await streamer.offer()))
    async with asyncio.timeout(TIMEOUT_S):
        while viewer.state != "connected" or not viewer.statistics().video.delivered:
            streamer.pictures.show(60)
            await asyncio.sleep(0.02)
    assert "audio-decoder" not in {thread.name for thread in set(threading.enumerate()) - before}
    assert viewer.statistics().sound_pieces == 0


class Later(Clock):
    """The machine's clock, put forward; who sleeps wakes when it is."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._moved = asyncio.Event()

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    async def sleep(self, seconds: float) -> None:
        self._moved.clear()
        await self._moved.wait()

    def advance(self, seconds: float) -> None:
        self._ahead += seconds
        self._moved.set()


async def test_a_silent_peer_is_disconnected_then_back_then_lost(pair: Pair) -> None:
    clock = Later()
    streamer, watcher = await pair.connect(clock=clock)
    await watcher.brightness(streamer, 60)
    clock.advance(SILENT_S + 0.5)
    await watcher.until(lambda: watcher.events[-1] == "disconnected")
    await watcher.brightness(streamer, 90)
    clock.advance(0.0)
    await watcher.until(lambda: watcher.events[-1] == "connected")
    clock.advance(LOST_S + 0.5)
    await watcher.until(lambda: "failed" in watcher.events)
    assert watcher.events[-1] == "failed"
    assert watcher.events.count("video end") == 1


async def test_D7_a_callback_that_fails_stops_nothing(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    streamer, watcher = await pair.connect()
    frames: list[ViewerFrame] = []
    done = asyncio.Event()

    def fails(frame: ViewerFrame) -> None:
        frames.append(frame)
        done.set()
        raise RuntimeError("no")

    watcher.viewer._on_frame = fails
    for brightness in (60, 120):
        done.clear()
        streamer.pictures.show(brightness)
        await asyncio.wait_for(done.wait(), TIMEOUT_S)
    assert len(frames) == 2
    assert watcher.viewer.statistics().callback_errors == 2
    assert "a callback of a video viewer failed" in caplog.text


async def test_without_packets_the_stock_path_is_taken(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def gone() -> None:
        raise RuntimeError("another version")

    monkeypatch.setattr(video_hook, "_probe", gone)
    video_hook._verdict.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            streamer, watcher = await pair.connect()
            await video_hook.probe()
    finally:
        video_hook._verdict.cache_clear()
    assert caplog.text.count("aiortc's video packets can't be had") == 1
    streamer.pictures.show(60)
    streamer.pictures.show(60)
    await watcher.until(lambda: watcher.frames)
    assert abs(seen(watcher.frames[0]) - 60) < 8
    watcher.viewer.request_key_frame()
    assert watcher.viewer.statistics().path == "stock"
    await streamer.close()
    await watcher.until(lambda: "video end" in watcher.events)


async def test_O81_an_offer_to_receive_is_answered(pair: Pair) -> None:
    streamer, watcher = Streamer(links=False, sound=True), Watcher()
    pair._open += [watcher.viewer, streamer]
    watcher.viewer.request_key_frame()
    offer = await watcher.viewer.offer()
    assert offer.count("a=recvonly") == 2
    assert "a=candidate" in offer
    await watcher.viewer.accept(await streamer.answer(offer))
    await watcher.until(lambda: "connected" in watcher.events)
    await watcher.brightness(streamer, 60)
    await watcher.until(lambda: watcher.sound)
    watcher.viewer.request_key_frame()
    await watcher.brightness(streamer, 100)
    await watcher.brightness(streamer, 140)
    assert watcher.viewer.statistics().video.key_frames >= 2
    with pytest.raises(NegotiationError):
        await watcher.viewer.accept(offer)


async def test_O44_a_silent_stun_server_costs_nothing(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    streamer, watcher = Streamer(), Watcher(ice_servers=[SILENT], servers=SlowServers())
    pair._open += [watcher.viewer, streamer]
    offer = await streamer.offer()
    began = loop.time()
    await streamer.accept(await watcher.viewer.answer(offer))
    await watcher.until(lambda: "connected" in watcher.events)
    assert loop.time() - began < 2.0


async def test_O45_loopback_is_offered_to_a_peer_on_this_machine(pair: Pair) -> None:
    streamer, watcher = Streamer(), Watcher()
    pair._open += [watcher.viewer, streamer]
    offer = await streamer.offer()
    local = re.sub(r"(a=candidate:\S+ 1 udp \d+ )\S+ ", r"\g<1>127.0.0.1 ", offer)
    assert " 127.0.0.1 " in await watcher.viewer.answer(local)


async def test_O42_candidates_may_come_later_and_bad_ones_are_passed_over(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    streamer, watcher = Streamer(), Watcher()
    pair._open += [watcher.viewer, streamer]
    offer = await streamer.offer()
    candidates = re.findall(r"a=(candidate:\S.*?)\r?\n", offer)
    bare = re.sub(r"a=(candidate|end-of-candidates).*\r?\n", "", offer)
    answer = await watcher.viewer.answer(bare)
    await streamer.accept(re.sub(r"a=(candidate|end-of-candidates).*\r?\n", "", answer))
    for text in ("", "rubbish", "candidate:1 1 udp 1 host.local 9 typ host"):
        watcher.viewer.add_candidate(text, "0", 0)
    for candidate in candidates:
        watcher.viewer.add_candidate(candidate.removeprefix("candidate:"), None, 0)
    await watcher.until(lambda: "connected" in watcher.events)
    assert "a candidate is passed over" in caplog.text


async def test_a_peer_that_says_no_candidates_is_learnt_from_its_checks(pair: Pair) -> None:
    streamer, watcher = Streamer(), Watcher()
    pair._open += [watcher.viewer, streamer]
    bare = re.sub(r"a=candidate.*\r?\n", "", await streamer.offer())
    await streamer.accept(await watcher.viewer.answer(bare))
    await watcher.until(lambda: "connected" in watcher.events)


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "rubbish",
        "v=0\r\nm=video 9 UDP 97\r\n",
        "m=video 9\r\n" + "a=candidate:\r\n" * 1000,
        "m=video 9\r\n" * 100_000,
    ],
)
async def test_an_offer_that_cannot_be_used_is_refused(pair: Pair, offer: str) -> None:
    watcher = Watcher()
    pair._open.append(watcher.viewer)
    with pytest.raises(NegotiationError):
        await watcher.viewer.answer(offer)


async def test_a_connection_that_is_not_made_in_time_has_failed(pair: Pair) -> None:
    streamer, watcher = Streamer(), Watcher(connect_timeout_s=0.2)
    pair._open += [watcher.viewer, streamer]
    await watcher.viewer.answer(await streamer.offer())
    await watcher.until(lambda: "failed" in watcher.events)
    assert watcher.events == ["video", "connecting", "video end", "failed"]


async def test_close_leaves_no_task_and_no_thread(pair: Pair) -> None:
    before, threads = asyncio.all_tasks(), set(threading.enumerate())
    streamer, watcher = await pair.connect()
    await watcher.brightness(streamer, 60)
    await watcher.viewer.close()
    await watcher.viewer.close()
    await streamer.close()
    started = {thread.name for thread in set(threading.enumerate()) - threads}
    assert not {name for name in started if "video decoder" in name}
    for _ in range(10):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before
    with pytest.raises(NegotiationError):
        await watcher.viewer.answer("v=0")
    unused = VideoViewer()
    await unused.close()
    assert unused.state == "closed"


async def test_closing_amid_the_handshake_is_no_error_of_the_event_loop(pair: Pair) -> None:
    said: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    for turns in range(6):
        streamer, viewer = Streamer(), VideoViewer()
        pair._open += [streamer, viewer]
        accepting = asyncio.ensure_future(
            streamer.accept(await viewer.answer(await streamer.offer()))
        )
        async with asyncio.timeout(TIMEOUT_S):
            pc = viewer._pc
            assert pc is not None
            assert pc.sctp is not None
            while pc.sctp.transport.state != "connecting":
                await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        await viewer.close()
        await accepting
        await streamer.close()
    gc.collect()
    assert said == []


async def test_closing_amid_the_answer_is_said_and_leaves_nothing(pair: Pair) -> None:
    streamer = Streamer()
    pair._open.append(streamer)
    offer = await streamer.offer()
    before = asyncio.all_tasks()
    for turns in range(12):
        viewer = VideoViewer()
        answering = asyncio.ensure_future(viewer.answer(offer))
        for _ in range(turns):
            await asyncio.sleep(0)
        await viewer.close()
        with contextlib.suppress(NegotiationError):
            await answering
        assert viewer.state == "closed"
    async with asyncio.timeout(TIMEOUT_S):
        while not asyncio.all_tasks() <= before:
            await asyncio.sleep(0)
