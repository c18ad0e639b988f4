"""libdatachannel carries calls: with aiortc at the other end, and many of them in a row.

The library needs Python 3.12; elsewhere this module is skipped.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from salon.base import MissingExtraError
from salon.transport.native import LibdatachannelPeer, NativeFactory, native_factory
from salon.transport.native_library import load_library
from salon.transport.packets import MediaPacket, NegotiationError, PeerOptions, PeerState
from salon.transport.ticker import Ticker

try:
    library = load_library()
except MissingExtraError as missing:
    pytest.skip(str(missing), allow_module_level=True)

SILENCE = b"\xf8\xff\xfe"  # Opus, 20 ms


@pytest.fixture
async def factory() -> AsyncIterator[NativeFactory]:
    made = native_factory(Ticker())
    yield made
    made.close()


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


class Caller:
    """The offering side: the library itself, without anything of ours."""

    def __init__(self, factory: NativeFactory) -> None:
        self.connection = library.PeerConnection(factory.configuration(PeerOptions(), []))
        media = library.Description.Audio("0", library.Description.Direction.SendRecv)
        media.add_opus_codec(96)
        self.track = self.connection.add_track(media)
        self.sent = 0

    async def offer(self) -> str:
        self.connection.set_local_description(library.Description.Type.Offer)
        complete = library.PeerConnection.GatheringState.Complete
        await until(lambda: self.connection.gathering_state() == complete)
        return str(self.connection.local_description())

    def accept(self, answer: str) -> None:
        kind = library.Description.Type.Answer
        self.connection.set_remote_description(library.Description(answer, kind))

    def send(self, payload: bytes = SILENCE, payload_type: int = 96) -> None:
        header = struct.pack("!BBHII", 0x80, payload_type, self.sent, self.sent * 960, 7)
        self.track.send(header + payload)
        self.sent += 1

    def received(self) -> list[bytes]:
        found: list[bytes] = []
        while (data := self.track.receive()) is not None:
            found.append(data)
        return found

    def close(self) -> None:
        self.connection.close()


async def connect(caller: Caller, peer: LibdatachannelPeer) -> list[MediaPacket]:
    got: list[MediaPacket] = []
    answer = await peer.answer(await caller.offer())
    peer.tracks[0].on_packet = got.append
    caller.accept(answer)
    await until(lambda: peer.state is PeerState.CONNECTED and caller.track.is_open())
    return got


async def test_packets_go_both_ways_with_aiortc(factory: NativeFactory) -> None:
    aiortc = pytest.importorskip("aiortc")
    caller = aiortc.RTCPeerConnection()
    caller.addTrack(aiortc.mediastreams.AudioStreamTrack())
    await caller.setLocalDescription(await caller.createOffer())
    peer = factory(PeerOptions())
    states: list[PeerState] = []
    peer.on_state = states.append
    answer = await peer.answer(caller.localDescription.sdp)
    track = peer.tracks[0]
    got: list[MediaPacket] = []
    track.on_packet = got.append
    opus = track.formats[0]
    assert (opus.encoding, opus.clock_rate, opus.channels) == ("opus", 48000, 2)
    await caller.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer"))
    await until(lambda: peer.state is PeerState.CONNECTED)
    heard = caller.getReceivers()[0].track
    for number in range(25):
        track.send(SILENCE, opus.payload_type, number * 960)
        await asyncio.sleep(0.02)
    frame = await asyncio.wait_for(heard.recv(), 30)
    assert frame.sample_rate == 48000
    await until(lambda: len(got) >= 20)
    assert {packet.payload_type for packet in got} == {opus.payload_type}
    numbers = [packet.sequence for packet in got]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    await until(lambda: peer.statistics().round_trip_ms is not None)
    figures = peer.statistics()
    assert figures.packets_sent == 25
    assert figures.lost == 0
    assert figures.connect_ms is not None
    await peer.close()
    await peer.close()
    assert peer.state is PeerState.CLOSED

    async def hear_all() -> None:
        while True:
            await heard.recv()

    with pytest.raises(aiortc.mediastreams.MediaStreamError):  # by our BYE
        await asyncio.wait_for(hear_all(), 30)
    await caller.close()
    assert states == [PeerState.CONNECTING, PeerState.CONNECTED]


async def test_the_goodbye_of_the_peer_fails_the_connection(factory: NativeFactory) -> None:
    aiortc = pytest.importorskip("aiortc")
    caller = aiortc.RTCPeerConnection()
    caller.addTransceiver("audio", direction="recvonly")
    await caller.setLocalDescription(await caller.createOffer())
    peer = factory(PeerOptions())
    answer = await peer.answer(caller.localDescription.sdp)
    assert peer.tracks[0].sending
    assert "a=sendonly\r\n" in answer
    await caller.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer"))
    await until(lambda: peer.state is PeerState.CONNECTED)
    await caller.close()
    await until(lambda: peer.state is PeerState.FAILED)
    peer.tracks[0].send(SILENCE, 96, 0)
    assert peer.statistics().unsent == 1
    await peer.close()


async def test_G138_G147_the_answer_has_the_offers_formats_and_all_candidates(
    factory: NativeFactory,
) -> None:
    caller, peer = Caller(factory), factory(PeerOptions(external_ip="203.0.113.9"))
    offer = await caller.offer()
    offer = offer.replace("SAVPF 96", "SAVPF 0 96 101 8").replace(
        "a=setup:", "a=rtpmap:101 telephone-event/8000\r\na=setup:"
    )
    answer = await peer.answer(offer)
    assert "SAVPF 0 96 101 8\r\n" in answer
    assert [one.encoding for one in peer.tracks[0].formats] == [
        "PCMU",
        "opus",
        "telephone-event",
        "PCMA",
    ]
    candidates = [line for line in answer.splitlines() if line.startswith("a=candidate:")]
    assert candidates
    assert all(" 203.0.113.9 " in line for line in candidates)
    assert "a=end-of-candidates\r\n" in answer
    await peer.close()
    caller.close()


async def test_G146_candidates_may_come_after_the_offer(factory: NativeFactory) -> None:
    caller, peer = Caller(factory), factory(PeerOptions())
    lines = (await caller.offer()).splitlines()
    candidates = [line for line in lines if line.startswith("a=candidate:")]
    bare = [line for line in lines if line not in candidates and line != "a=end-of-candidates"]
    peer.add_candidate("candidate:9 1 udp 2113937151 0c5ee9c2.local 50000 typ host")
    caller.accept(await peer.answer("\r\n".join((*bare, ""))))
    with pytest.raises(NegotiationError):
        peer.add_candidate("candidate:nonsense")
    for line in candidates:
        peer.add_candidate(line)
    peer.add_candidate("")
    await until(lambda: peer.state is PeerState.CONNECTED)
    await peer.close()
    caller.close()


async def test_a_second_offer_changes_directions_not_the_session(factory: NativeFactory) -> None:
    caller, peer = Caller(factory), factory(PeerOptions())
    got = await connect(caller, peer)
    offer = str(caller.connection.local_description())
    held = await peer.answer(offer.replace("a=sendrecv", "a=sendonly"))
    assert "a=recvonly\r\n" in held
    track = peer.tracks[0]
    assert not track.sending
    track.send(SILENCE, 96, 0)
    assert peer.statistics().unsent == 1
    caller.send()
    await until(lambda: got)
    with pytest.raises(NegotiationError, match="another ICE session"):
        await peer.answer(offer.replace("a=ice-ufrag:", "a=ice-ufrag:else"))
    await peer.answer(offer)
    track.send(SILENCE, 96, 0)
    await until(lambda: any(not 192 <= data[1] <= 223 for data in caller.received()))
    await peer.close()
    caller.close()


async def test_packets_of_other_formats_are_rejected_and_counted(factory: NativeFactory) -> None:
    caller, peer = Caller(factory), factory(PeerOptions())
    got = await connect(caller, peer)
    caller.send(payload_type=50)
    caller.send()
    await until(lambda: got)
    assert len(got) == 1
    assert peer.statistics().rejected == 1
    await peer.close()
    caller.close()


def resources() -> tuple[int, int]:
    """Threads and open files of this process."""
    return len(list(Path("/proc/self/task").iterdir())), len(list(Path("/proc/self/fd").iterdir()))


async def short_call(factory: NativeFactory) -> int:
    """A call that ends in mid-media, by turns from either side; packets that came."""
    caller, peer = Caller(factory), factory(PeerOptions())
    got = await connect(caller, peer)
    for number in range(5):
        caller.send()
        peer.tracks[0].send(SILENCE, 96, number * 960)
        await asyncio.sleep(0.01)
    await until(lambda: bool(got))
    ends: list[Any] = [peer.close, lambda: factory.let_go(caller.connection)]
    for end in ends if len(got) % 2 else reversed(ends):
        await end()
    return len(got)


@pytest.mark.slow
async def test_two_hundred_calls_leave_nothing_behind(factory: NativeFactory) -> None:
    await asyncio.gather(*(short_call(factory) for _ in range(10)))
    await asyncio.sleep(0.5)
    threads, files = resources()
    started = time.monotonic()
    for _ in range(20):
        counts = await asyncio.gather(*(short_call(factory) for _ in range(10)))
        assert all(counts)
    assert not factory.ticker.running
    print(f"200 calls in {time.monotonic() - started:.1f} s")
    await until(lambda: resources()[0] <= threads and resources()[1] <= files)
