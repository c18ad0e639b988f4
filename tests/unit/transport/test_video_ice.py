"""Candidates of a viewer: what is waited for, and for whom."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aioice import stun
from tests.unit.transport.streamer import Streamer
from tests.unit.transport.turn_server import TurnServer

from salon.transport.aiortc_hook import SlowServers, connection_of
from salon.transport.packets import IceServer
from salon.transport.video_ice import Reach, aiortc_servers, reach_of
from salon.transport.video_viewer import VideoViewer

HOST = "a=candidate:1 1 udp 1 192.0.2.9 4000 typ host\r\n"
REFLEXIVE = "a=candidate:2 1 udp 1 203.0.113.9 4000 typ srflx raddr 192.0.2.9 rport 4000\r\n"
SILENT = "192.0.2.1"
REFLECTED = ("203.0.113.77", 4711)


class StunServer(asyncio.DatagramProtocol):
    """Answers every request with one address."""

    def __init__(self) -> None:
        self.asked = 0
        self.url = ""
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.url = f"stun:127.0.0.1:{transport.get_extra_info('sockname')[1]}"

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked += 1
        request = stun.parse_message(data)
        answer = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        answer.attributes["XOR-MAPPED-ADDRESS"] = REFLECTED
        self._transport.sendto(bytes(answer), addr)

    def close(self) -> None:
        self._transport.close()


@pytest_asyncio.fixture
async def stun_server() -> AsyncIterator[StunServer]:
    server = StunServer()
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    yield server
    server.close()


def test_what_a_description_says_of_its_peer() -> None:
    assert reach_of(None) == reach_of("v=0\r\n") == Reach(loopback=True, needs_telling=True)
    assert reach_of(HOST) == Reach(loopback=False, needs_telling=False)
    assert reach_of(HOST + REFLEXIVE) == Reach(loopback=False, needs_telling=True)
    local = HOST.replace("192.0.2.9", "127.0.0.1")
    assert reach_of(local + "a=candidate:rubbish\r\n") == Reach(loopback=True, needs_telling=False)
    assert reach_of(HOST.replace("192.0.2.9", "abc.local")).loopback


def test_D11_credentials_are_kept_and_what_cannot_be_read_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    servers = (
        IceServer(("http://example.test", "turn:turn.example.test:3478"), "ann", "secret"),
        IceServer(("rubbish",)),
    )
    (server,) = aiortc_servers(servers)
    assert server.urls == ["turn:turn.example.test:3478"]
    assert (server.username, server.credential) == ("ann", "secret")
    assert "left out" in caplog.text
    assert "secret" not in caplog.text
    assert aiortc_servers(()) == []


async def offer_of(streamer: Streamer, extra: str) -> str:
    """Its offer with one more candidate."""
    return re.sub(r"(a=candidate)", extra + r"\1", await streamer.offer(), count=1)


async def answered(viewer: VideoViewer, extra: str = "") -> tuple[str, float]:
    """An answer and how long it took."""
    loop = asyncio.get_running_loop()
    streamer = Streamer()
    try:
        offer = await offer_of(streamer, extra)
        began = loop.time()
        answer = await viewer.answer(offer)
        return answer, loop.time() - began
    finally:
        await viewer.close()
        await streamer.close()


async def test_a_reflexive_address_is_told_to_a_peer_that_may_need_it(
    stun_server: StunServer,
) -> None:
    viewer = VideoViewer(ice_servers=[IceServer((stun_server.url,))], servers=SlowServers())
    answer, _ = await answered(viewer, REFLEXIVE)
    assert f" {REFLECTED[0]} {REFLECTED[1]} typ srflx" in answer


async def test_a_peer_with_an_address_of_its_own_is_answered_without_asking(
    stun_server: StunServer,
) -> None:
    viewer = VideoViewer(ice_servers=[IceServer((stun_server.url,))], servers=SlowServers())
    answer, _ = await answered(viewer)
    assert "typ srflx" not in answer
    assert "typ host" in answer
    assert stun_server.asked == 0


async def test_O44_waiting_is_bounded_and_not_repeated() -> None:
    servers = SlowServers()
    times = []
    for _ in range(2):
        viewer = VideoViewer(
            ice_servers=[IceServer((f"stun:{SILENT}:3478",))],
            servers=servers,
            gather_timeout_s=0.6,
        )
        answer, took = await answered(viewer, REFLEXIVE)
        times.append(took)
        assert "typ host" in answer
    assert 0.6 <= times[0] < 3.0
    assert times[1] < 0.6


async def test_O44_a_silent_relay_costs_nothing_and_says_no_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    relay = IceServer((f"turn:{SILENT}:3478",), "ann", "hush-hush")
    answer, took = await answered(VideoViewer(ice_servers=[relay], servers=SlowServers()))
    assert took < 2.0
    assert "typ host" in answer
    assert "hush-hush" not in caplog.text + repr(relay)


async def test_D11_where_only_a_relay_gets_through_the_picture_comes_over_it() -> None:
    """The relay comes after the answer, which does not wait for it."""
    server = TurnServer("ann", "hush")
    await server.open()
    streamer = Streamer()

    def only_from_a_relay(message: Any, addr: Any, protocol: Any) -> None:
        if addr in server.relays:
            usual(message, addr, protocol)

    pictures = asyncio.Event()
    viewer = VideoViewer(
        ice_servers=[IceServer((server.url,), "ann", "hush")],
        servers=SlowServers(),
        on_frame=lambda _frame: pictures.set(),
    )
    try:
        offer = await streamer.offer()
        connection = connection_of(streamer.section.sender.transport.transport)
        usual = connection.request_received
        connection.__dict__["request_received"] = only_from_a_relay
        answer = await viewer.answer(offer)
        assert "typ relay" not in answer
        await streamer.accept(re.sub(r"a=(candidate|end-of-candidates).*\r?\n", "", answer))
        async with asyncio.timeout(20):
            while not pictures.is_set():
                streamer.pictures.show(60)
                await asyncio.sleep(0.05)
        assert server.refused == 1
    finally:
        await viewer.close()
        await streamer.close()
        server.close()


async def test_an_address_found_later_is_told_to_who_wants_it(stun_server: StunServer) -> None:
    told: list[str] = []
    came = asyncio.Event()

    def candidate(text: str, mid: str | None, index: int | None) -> None:
        assert (mid, index) == (None, 0)
        told.append(text)
        came.set()

    streamer = Streamer()
    viewer = VideoViewer(
        ice_servers=[IceServer((stun_server.url,))],
        servers=SlowServers(),
        on_candidate=candidate,
    )
    try:
        answer = await viewer.answer(await offer_of(streamer, REFLEXIVE))
        assert "typ srflx" not in answer
        await asyncio.wait_for(came.wait(), 10)
        assert told[0].startswith("candidate:")
        assert f" {REFLECTED[0]} {REFLECTED[1]} typ srflx" in told[0]
    finally:
        await viewer.close()
        await streamer.close()


async def test_a_peer_that_is_not_on_this_machine_gets_no_loopback_candidate() -> None:
    streamer = Streamer()
    viewer = VideoViewer()
    try:
        offer = await streamer.offer()
        far = re.sub(r"a=candidate:.*\r\n", "", offer).replace("a=mid:0\r\n", HOST + "a=mid:0\r\n")
        assert " 127.0.0.1 " not in await viewer.answer(far)
    finally:
        await viewer.close()
        await streamer.close()
