"""The relay that makes a bad network: fates, counters, session descriptions, sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

import pytest

from salon.testing.network import (
    MAX_IN_FLIGHT,
    NO_IMPAIRMENT,
    ImpairedPath,
    Impairment,
    PathStatistics,
    UdpRelay,
    candidate,
    is_setup,
    redirected,
    udp_relay,
)

P = ParamSpec("P")


def real(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test with sockets: these know no virtual time."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


STUN, DTLS, RTP = b"\x00\x01", b"\x16\xfe", b"\x80\x6f"

SDP = "\r\n".join(
    (
        "v=0",
        "o=- 1 1 IN IP4 0.0.0.0",
        "t=0 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=candidate:1 1 udp 2130706431 fd00::2 4000 typ host",
        "a=candidate:2 1 udp 2130706430 ab12.local 4001 typ host",
        "a=candidate:3 1 tcp 2130706430 192.0.2.9 9 typ host tcptype active",
        "a=candidate:4 1 udp 2130706429 192.0.2.7 4002 typ host",
        "a=candidate:5 1 udp 1694498815 203.0.113.1 4003 typ srflx raddr 192.0.2.7 rport 4002",
        "a=end-of-candidates",
        "a=ice-ufrag:abcd",
        "m=video 0 UDP/TLS/RTP/SAVPF 97",
        "a=mid:1",
        "",
    )
)


async def through(
    how: Impairment, packets: int, *, seed: str = "1", head: bytes = RTP, every: float = 0.02
) -> tuple[list[tuple[float, int]], PathStatistics]:
    """When which of numbered packets, one every 20 ms, came."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    out: list[tuple[float, int]] = []
    path = ImpairedPath(
        lambda data: out.append((loop.time() - began, int.from_bytes(data[2:]))), how, seed
    )
    for number in range(packets):
        path.push(head + number.to_bytes(4))
        await asyncio.sleep(every)
    await asyncio.sleep(2)
    figures = path.statistics()
    path.close()
    return out, figures


def order(out: list[tuple[float, int]]) -> list[int]:
    return [number for _, number in out]


async def test_without_impairment_all_comes_at_once_in_order() -> None:
    out, figures = await through(NO_IMPAIRMENT, 200)
    assert order(out) == list(range(200))
    assert max(at - n * 0.02 for at, n in out) < 1e-6
    assert figures == PathStatistics(received=200, sent=200)


async def test_the_same_seed_gives_the_same_fate_and_another_does_not() -> None:
    how = Impairment(loss=0.1, jitter_ms=40, duplicate=0.05)
    first = await through(how, 300)
    assert order((await through(how, 300))[0]) == order(first[0])
    assert order((await through(how, 300, seed="2"))[0]) != order(first[0])


@pytest.mark.parametrize("burst", [1.0, 4.0])
async def test_loss_has_its_share_and_its_bursts(burst: float) -> None:
    out, figures = await through(Impairment(loss=0.15, burst=burst), 20_000)
    assert figures.lost == pytest.approx(3000, rel=0.12)
    assert figures.sent == len(out) == 20_000 - figures.lost
    gone = sorted(set(range(20_000)) - set(order(out)))
    runs = sum(1 for n, one in enumerate(gone) if not n or gone[n - 1] != one - 1)
    assert len(gone) / runs == pytest.approx(burst if burst > 1 else 1 / 0.85, rel=0.1)


async def test_jitter_has_its_95th_percentile_and_reorders() -> None:
    out, figures = await through(Impairment(delay_ms=30, jitter_ms=60), 10_000)
    late = sorted(at - n * 0.02 for at, n in out)
    assert late[0] >= 0.03
    assert late[9500] - 0.03 == pytest.approx(0.06, rel=0.06)
    assert figures.reordered > 100


async def test_ordered_jitter_does_not_reorder() -> None:
    out, figures = await through(Impairment(jitter_ms=60, ordered=True, duplicate=0.1), 2000)
    assert order(out) == sorted(order(out))
    assert figures.reordered == 0
    assert figures.duplicated == pytest.approx(200, rel=0.3)
    assert figures.sent == 2000 + figures.duplicated


async def test_a_share_is_held_back() -> None:
    out, figures = await through(Impairment(reorder=0.2, reorder_ms=50), 2000)
    held = [n for at, n in out if at - n * 0.02 > 0.049]
    assert len(held) == pytest.approx(400, rel=0.2)
    assert 0 < figures.reordered <= len(held)


async def test_setup_may_be_spared() -> None:
    spared = Impairment(loss=1.0, delay_ms=100, setup=False)
    for head in (STUN, DTLS):
        out, figures = await through(spared, 5, head=head)
        assert [round(at, 3) for at, _ in out] == [0.0, 0.02, 0.04, 0.06, 0.08]
        assert figures.lost == 0
    _, figures = await through(Impairment(loss=1.0), 5, head=STUN)
    assert (figures.lost, figures.setup_lost) == (5, 5)
    _, figures = await through(spared, 5)
    assert (figures.lost, figures.setup_lost) == (5, 0)


async def test_the_fate_of_media_does_not_depend_on_setup() -> None:
    got: list[bytes] = []
    for extra in (0, 7):
        out: list[bytes] = []
        path = ImpairedPath(out.append, Impairment(loss=0.3), "1")
        for number in range(100):
            path.push(RTP + bytes([number]))
            for _ in range(extra):
                path.push(STUN)
        await asyncio.sleep(1)
        media = [one for one in out if not is_setup(one)]
        got = got or media
        assert media == got


async def test_a_cut_loses_everything_for_so_long() -> None:
    out: list[bytes] = []
    path = ImpairedPath(out.append, NO_IMPAIRMENT, "1")
    for number in range(200):
        if number == 50:
            path.cut(2.0)
        path.push(RTP + bytes([number]))
        await asyncio.sleep(0.02)
    assert [one[2] for one in out] == [*range(50), *range(150, 200)]
    assert path.statistics().cut == 100


async def test_what_is_under_way_is_bounded() -> None:
    path = ImpairedPath(lambda _: None, Impairment(delay_ms=1000), "1")
    for _ in range(MAX_IN_FLIGHT + 10):
        path.push(RTP)
    assert path.statistics().overflowed == 10
    path.close()
    await asyncio.sleep(2)
    assert path.statistics().sent == 0


@pytest.mark.parametrize(
    "wrong",
    [{"loss": 1.1}, {"reorder": -0.1}, {"duplicate": 2}, {"jitter_ms": -1}, {"burst": 0.5}],
)
def test_figures_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Impairment(**wrong)  # type: ignore[arg-type]


def test_the_candidate_is_the_first_of_ipv4() -> None:
    assert candidate(SDP) == ("192.0.2.7", 4002)
    assert candidate(SDP.replace("192.0.2.7", "fd00::3")) is None


def test_a_description_leads_to_the_relay_alone() -> None:
    sdp = redirected(SDP, ("127.0.0.1", 5000))
    audio, video = sdp.split("m=video")
    assert audio.count("a=candidate:") == video.count("a=candidate:") == 1
    assert candidate(sdp) == ("127.0.0.1", 5000)
    assert "m=audio 5000 " in sdp
    assert "m=video 0 " in sdp, "a rejected section stays rejected"
    assert "192.0.2.7" not in sdp
    assert "a=ice-ufrag:abcd\r\n" in sdp
    assert sdp.startswith("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n")


class Peer(asyncio.DatagramProtocol):
    """One end."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.got.put_nowait((data, addr))

    async def open(self) -> str:
        """A description that leads here."""
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0), family=socket.AF_INET
        )
        host, port = self.transport.get_extra_info("sockname")
        return f"v=0\r\nm=audio 9 x 0\r\na=candidate:1 1 udp 1 {host} {port} typ host\r\n"


@pytest.mark.parametrize("trickled", [False, True])
@real
async def test_packets_pass_both_ways_and_strangers_do_not(trickled: bool) -> None:
    client, server, stranger = Peer(), Peer(), Peer()
    offer, answer, _ = [await one.open() for one in (client, server, stranger)]
    if trickled:
        offer = offer.split("a=candidate")[0]
    async with udp_relay() as relay:
        to_relay = candidate(await relay.offer(offer))
        from_server = candidate(await relay.answer(answer))
        assert to_relay != from_server
        client.transport.sendto(RTP, from_server)
        assert await asyncio.wait_for(server.got.get(), 5) == (RTP, to_relay)
        server.transport.sendto(DTLS, to_relay)
        assert await asyncio.wait_for(client.got.get(), 5) == (DTLS, from_server)
        stranger.transport.sendto(RTP, from_server)
        async with asyncio.timeout(5):
            while not relay.to_server.refused:
                await asyncio.sleep(0.01)
        relay.impair(Impairment(loss=1.0), NO_IMPAIRMENT)
        client.transport.sendto(RTP, from_server)
        server.transport.sendto(RTP, to_relay)
        await asyncio.wait_for(client.got.get(), 5)
        relay.cut(60.0)
        server.transport.sendto(RTP, to_relay)
        async with asyncio.timeout(5):
            while not relay.to_client.cut or not relay.to_server.lost:
                await asyncio.sleep(0.01)
    assert relay.to_server == PathStatistics(received=2, sent=1, lost=1, refused=1)
    assert relay.to_client == PathStatistics(received=3, sent=2, cut=1)
    for one in (client, server, stranger):
        one.transport.close()


@real
async def test_what_comes_before_a_side_is_known_is_dropped() -> None:
    server = Peer()
    await server.open()
    async with udp_relay(host="127.0.0.1") as relay:
        to_relay = candidate(await relay.offer("v=0\r\nm=audio 9 x 0\r\n"))
        server.transport.sendto(RTP, to_relay)
        async with asyncio.timeout(5):
            while not relay.to_client.sent:
                await asyncio.sleep(0.01)
    server.transport.close()


@real
async def test_an_answer_needs_a_candidate_and_an_offer_before() -> None:
    async with udp_relay() as relay:
        with pytest.raises(ValueError, match="host candidate"):
            await relay.answer("v=0\r\nm=audio 9 x 0\r\n")
        with pytest.raises(RuntimeError, match="offer"):
            await relay.answer(SDP)
    UdpRelay().close()
