"""Packets past aiortc's media path, against aiortc's own peer connection."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psutil
import pytest
from tests.unit.transport.offerer import (
    Offerer,
    Watch,
    candidates_of,
    offering,
    without_candidates,
)

from salon.testing import VirtualClock
from salon.transport import aiortc_hook, aiortc_peer
from salon.transport.aiortc_peer import AiortcPeer, Certificates
from salon.transport.aiortc_stock import AiortcStockPeer
from salon.transport.packets import (
    AnotherSession,
    IceServer,
    NegotiationError,
    PacketPeer,
    PeerOptions,
    PeerState,
)
from salon.transport.rtp import build_rtp

CERTIFICATES = Certificates()
SILENT_OPUS = b"\xf8\xff\xfe"
Make = Callable[[PeerOptions], PacketPeer]


def packets(options: PeerOptions = PeerOptions()) -> AiortcPeer:  # noqa: B008 - frozen
    return AiortcPeer(options, CERTIFICATES)


@asynccontextmanager
async def connected(
    make: Make = packets,
    options: PeerOptions = PeerOptions(),  # noqa: B008 - frozen
) -> AsyncIterator[tuple[Offerer, PacketPeer, Watch]]:
    peer = make(options)
    watch = Watch(peer)
    async with offering() as offerer:
        try:
            answer = await peer.answer(await offerer.offer())
            watch.listen()
            await offerer.accept(answer)
            await watch.until(PeerState.CONNECTED)
            yield offerer, peer, watch
        finally:
            await peer.close()


@pytest.mark.parametrize("make", [packets, AiortcStockPeer], ids=["packets", "stock"])
async def test_G145_G148_an_offer_is_answered_and_sound_flows_both_ways(make: Make) -> None:
    async with connected(make) as (offerer, peer, watch):
        track = peer.tracks[0]
        first = track.formats[0]
        await watch.until_packets(5)
        payload = SILENT_OPUS if first.encoding == "opus" else bytes(640)
        step = 960 if first.encoding == "opus" else 320
        for index in range(100):
            track.send(payload, first.payload_type, index * step, marker=index == 0)
            await asyncio.sleep(0.005)
            if len(offerer.frames) > 3:
                break
        assert len(offerer.frames) > 3
        figures = peer.statistics()
        assert figures.packets_received >= 5
        assert figures.packets_sent > 3
        assert figures.connect_ms is not None
        assert [packet.payload_type for packet in watch.packets[:5]] == [first.payload_type] * 5


async def test_G145_the_answer_is_complete() -> None:
    peer = packets()
    async with offering() as offerer:
        answer = await peer.answer(await offerer.offer())
    assert "a=fingerprint:sha-256 " in answer
    assert "a=rtcp-mux" in answer
    assert "a=end-of-candidates" in answer
    assert candidates_of(answer)
    assert re.search(r"a=setup:active", answer)
    await peer.close()


async def test_a_client_without_candidates_is_found_by_its_own_checks() -> None:
    peer = packets()
    watch = Watch(peer)
    async with offering() as offerer:
        answer = await peer.answer(without_candidates(await offerer.offer()))
        await offerer.accept(answer)
        await watch.until(PeerState.CONNECTED)
    await peer.close()


async def test_G88_candidates_come_one_by_one() -> None:
    peer = packets()
    watch = Watch(peer)
    async with offering() as offerer:
        offer = await offerer.offer()
        answer = await peer.answer(without_candidates(offer))
        for candidate in candidates_of(offer):
            peer.add_candidate(candidate)
        peer.add_candidate("")
        peer.add_candidate("")  # said twice
        peer.add_candidate(candidates_of(offer)[0])  # too late, ignored
        await offerer.accept(answer)
        await watch.until(PeerState.CONNECTED)
    await peer.close()


async def test_G88_mdns_and_tcp_candidates_are_ignored_and_nonsense_is_refused() -> None:
    peer = packets()
    async with offering() as offerer:
        await peer.answer(without_candidates(await offerer.offer()))
        peer.add_candidate("candidate:1 1 udp 2113937151 1f4712db.local 54321 typ host")
        peer.add_candidate("candidate:1 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active")
        peer.add_candidate("candidate:1 1 udp 2113937151 2001:db8::1 54321 typ host")
        with pytest.raises(NegotiationError):
            peer.add_candidate("candidate:nonsense")
    await peer.close()


async def test_candidates_are_bounded() -> None:
    peer = packets()
    async with offering() as offerer:
        await peer.answer(without_candidates(await offerer.offer()))
        line = "candidate:1 1 udp 2113937151 192.0.2.7 {} typ host"
        for port in range(1000, 1000 + aiortc_peer.MAX_CANDIDATES):
            peer.add_candidate(line.format(port))
        with pytest.raises(NegotiationError, match="more than"):
            peer.add_candidate(line.format(999))
    await peer.close()


@pytest.mark.parametrize("make", [packets, AiortcStockPeer], ids=["packets", "stock"])
async def test_G149_the_external_address_takes_the_place_of_the_own_one(make: Make) -> None:
    peer = make(PeerOptions(external_ip="203.0.113.9"))
    async with offering() as offerer:
        answer = await peer.answer(await offerer.offer())
    assert {line.split()[4] for line in candidates_of(answer)} == {"203.0.113.9"}
    await peer.close()


@pytest.mark.parametrize("make", [packets, AiortcStockPeer], ids=["packets", "stock"])
async def test_G147_no_ipv6_unless_wanted(make: Make) -> None:
    peer = make(PeerOptions())
    async with offering() as offerer:
        answer = await peer.answer(await offerer.offer())
    assert not [line for line in candidates_of(answer) if ":" in line.split()[4]]
    await peer.close()


async def test_G138_the_offer_decides_the_order_of_formats() -> None:
    peer = packets(PeerOptions(formats=("PCMA", "PCMU", "opus")))
    async with offering() as offerer:
        await peer.answer(await offerer.offer())
    assert [item.encoding for item in peer.tracks[0].formats] == ["opus", "PCMU", "PCMA"]
    await peer.close()


@pytest.mark.parametrize("make", [packets, AiortcStockPeer], ids=["packets", "stock"])
async def test_a_second_offer_of_the_same_session_changes_the_direction(make: Make) -> None:
    async with connected(make) as (offerer, peer, _):
        again = (await offerer.offer()).replace("a=sendrecv", "a=sendonly")
        answer = await peer.answer(again)
        assert "a=recvonly" in answer
        if make is packets:
            unsent = peer.statistics().unsent
            peer.tracks[0].send(SILENT_OPUS, peer.tracks[0].formats[0].payload_type, 0)
            assert peer.statistics().unsent == unsent + 1


@pytest.mark.parametrize("make", [packets, AiortcStockPeer], ids=["packets", "stock"])
async def test_another_ice_session_needs_another_peer(make: Make) -> None:
    async with connected(make) as (_, peer, _watch), offering() as other:
        with pytest.raises(AnotherSession):
            await peer.answer(await other.offer())


@pytest.mark.parametrize("make", [packets, AiortcStockPeer], ids=["packets", "stock"])
@pytest.mark.parametrize("offer", ["", "nonsense", "v=0\r\nm=audio\r\n", "v=0\r\ns=-\r\nt=0 0\r\n"])
async def test_a_bad_offer_is_refused_in_words(make: Make, offer: str) -> None:
    peer = make(PeerOptions())
    with pytest.raises(NegotiationError) as caught:
        await peer.answer(offer)
    assert str(caught.value)
    await peer.close()


async def test_datagrams_that_are_not_ours_are_counted_and_harmless() -> None:
    async with connected() as (_, peer, watch):
        assert isinstance(peer, AiortcPeer)
        await watch.until_packets(2)
        rejected = peer.statistics().rejected
        forged = build_rtp(96, 1, 0, 77, bytes(40))
        peer._connection.data_received(forged, 1)
        peer._connection.data_received(b"\x80\xc8" + bytes(30), 1)
        peer._connection.data_received(b"\x80", 1)
        peer._connection.data_received(b"\x81" * 2000, 1)
        assert peer.statistics().rejected == rejected + 4
        seen = len(watch.packets)
        await watch.until_packets(seen + 2)


async def test_sound_before_the_handshake_is_dropped_and_counted() -> None:
    peer = packets()
    async with offering() as offerer:
        await peer.answer(await offerer.offer())
        peer._connection.data_received(build_rtp(96, 1, 0, 77, bytes(40)), 1)
        peer.tracks[0].send(SILENT_OPUS, 96, 0)
        figures = peer.statistics()
        assert (figures.rejected, figures.unsent) == (1, 1)
    await peer.close()


async def test_G150_the_peer_says_goodbye() -> None:
    async with connected() as (offerer, _, watch):
        await offerer.close()
        await watch.until(PeerState.FAILED)


async def test_G150_a_peer_that_falls_silent_is_disconnected_then_lost() -> None:
    clock = VirtualClock()
    peer = AiortcPeer(PeerOptions(), CERTIFICATES, clock=clock)
    watch = Watch(peer)
    async with offering() as offerer:
        await offerer.accept(await peer.answer(await offerer.offer()))
        await watch.until(PeerState.CONNECTED)
        peer._connection.__dict__["data_received"] = lambda _data, _component: None
        peer._connection.__dict__["request_received"] = lambda *_: None
        clock.advance(aiortc_peer.SILENT_S)
        peer._housekeeping()
        assert watch.states[-1] is PeerState.DISCONNECTED
        peer._alive()
        peer._housekeeping()
        assert watch.states[-1] is PeerState.CONNECTED
        clock.advance(aiortc_peer.LOST_S)
        peer._housekeeping()
        assert watch.states[-1] is PeerState.FAILED
    await peer.close()


async def test_a_connection_that_nobody_makes_fails_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aiortc_peer, "CONNECT_TIMEOUT_S", 0.05)
    peer = packets()
    watch = Watch(peer)
    async with offering() as offerer:
        await peer.answer(without_candidates(await offerer.offer()))
        await watch.until(PeerState.FAILED)
        with pytest.raises(NegotiationError, match="closed"):
            await peer.answer(await offerer.offer())
    await peer.close()


@pytest.mark.parametrize("make", [packets, AiortcStockPeer], ids=["packets", "stock"])
async def test_close_lets_go_of_everything_at_any_time(make: Make) -> None:
    before = asyncio.all_tasks()
    fresh = make(PeerOptions())
    await fresh.close()
    async with offering() as offerer:
        half = make(PeerOptions())
        await half.answer(await offerer.offer())
        await half.close()
        await half.close()
        assert half.state is PeerState.CLOSED
    async with connected(make):
        pass
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_reports_reach_the_other_side() -> None:
    async with connected() as (offerer, peer, watch):
        assert isinstance(peer, AiortcPeer)
        track = peer._track
        assert track is not None
        await watch.until_packets(3)
        track.send(SILENT_OPUS, track.formats[0].payload_type, 0)
        peer._transmit_report(track.session.report(1e9, 0.0))
        receiver = offerer.pc.getReceivers()[0]
        async with asyncio.timeout(5):
            while not any(
                stats.type == "remote-outbound-rtp"
                for stats in (await receiver.getStats()).values()
            ):
                await asyncio.sleep(0.01)


def test_certificates_are_shared_until_they_are_old(monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = Certificates()
    first = certificates.current()
    assert certificates.current() is first
    monkeypatch.setattr(aiortc_peer, "CERTIFICATE_AGE_S", -1.0)
    assert certificates.current() is not first


async def test_a_peer_that_replaces_another_has_an_identity_of_its_own() -> None:
    async with offering() as offerer:
        offer = await offerer.offer()
        answers = []
        for fresh in (False, False, True):
            peer = packets(PeerOptions(fresh_identity=fresh))
            answers.append(await peer.answer(offer))
            await peer.close()
    prints = [re.findall(r"a=fingerprint:.*", answer) for answer in answers]
    assert prints[0] == prints[1] != prints[2]


def test_servers_are_given_in_aiortcs_shape() -> None:
    server = IceServer(("turn:turn.example.org:3478?transport=udp",), "u", "p")
    given = aiortc_peer.ice_servers(PeerOptions(ice_servers=(server,)))
    assert (given[0].urls, given[0].username, given[0].credential) == (list(server.urls), "u", "p")
    assert aiortc_peer.ice_servers(PeerOptions()) == []


# -- what came of trying to break it --------------------------------------------------------------


@pytest.mark.parametrize("how", ["trickled", "in the offer"])
async def test_a_client_whose_every_candidate_is_filtered_is_found_all_the_same(how: str) -> None:
    """Nothing usable, and the end of candidates said at once: a browser without permission."""
    peer = packets()
    watch = Watch(peer)
    async with offering() as offerer:
        hidden = "candidate:1 1 udp 2113937151 1f4712db.local 54321 typ host"
        offer = without_candidates(await offerer.offer())
        if how == "in the offer":
            offer += f"a={hidden}\r\na=end-of-candidates\r\n"
        answer = await peer.answer(offer)
        peer.add_candidate(hidden)
        peer.add_candidate("")
        await asyncio.sleep(0.2)
        assert peer.state is PeerState.CONNECTING
        await offerer.accept(answer)
        await watch.until(PeerState.CONNECTED)
    await peer.close()


async def test_a_call_that_ends_while_candidates_are_gathered_leaves_no_socket() -> None:
    def sockets() -> set[object]:
        found = psutil.Process().net_connections("inet")
        return {item.laddr for item in found if item.type == socket.SOCK_DGRAM}

    async with offering() as offerer:
        offer = await offerer.offer()
        before = sockets()
        for _ in range(20):
            peer = packets()
            answering = asyncio.ensure_future(peer.answer(offer))
            await asyncio.sleep(0)
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            await peer.close()
        await asyncio.sleep(0.05)
        assert sockets() <= before


async def test_strangers_cannot_fill_the_memory() -> None:
    peer = packets()
    async with offering() as offerer:
        await peer.answer(without_candidates(await offerer.offer()))
        for first in (0x16, 0x05, 0xFF):
            for _ in range(1000):
                peer._connection.data_received(bytes([first]) + bytes(1200), 1)
        assert peer._connection._queue.qsize() <= aiortc_peer.MAX_BACKLOG
        assert peer.statistics().rejected >= 2900
    await peer.close()


async def test_after_a_failure_nothing_is_taken_any_more() -> None:
    peer = packets()
    async with offering() as offerer:
        await peer.answer(await offerer.offer())
        peer._set_state(PeerState.FAILED)
        peer._connection.data_received(b"\x16" * 100, 1)
        assert peer._connection._queue.qsize() == 0
    await peer.close()


async def test_answers_to_our_checks_are_signs_of_life() -> None:
    clock = VirtualClock()
    peer = AiortcPeer(PeerOptions(), CERTIFICATES, clock=clock)
    watch = Watch(peer)
    async with offering() as offerer:
        await offerer.accept(await peer.answer(await offerer.offer()))
        await watch.until(PeerState.CONNECTED)
        peer._connection.__dict__["data_received"] = lambda _data, _component: None
        clock.advance(aiortc_peer.SILENT_S)
        (pair,) = peer._connection._nominated.values()
        request = peer._connection.build_request(pair, nominate=False)
        await pair.protocol.request(
            request,
            pair.remote_addr,
            integrity_key=(peer._connection.remote_password or "").encode(),
        )
        peer._housekeeping()
        assert watch.states[-1] is PeerState.CONNECTED
    await peer.close()


async def test_servers_that_give_nothing_are_waited_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aiortc_hook, "GATHER_TIMEOUT_S", 0.2)
    servers = aiortc_hook.SlowServers()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"stun:127.0.0.1:{silent.getsockname()[1]}"
        options = PeerOptions(ice_servers=(IceServer((url,)),))
        async with offering() as offerer:
            offer = await offerer.offer()
            for skipped in (False, True):
                assert servers.skip(time.monotonic()) is skipped
                peer = AiortcPeer(options, CERTIFICATES, servers=servers)
                answer = await peer.answer(offer)
                assert candidates_of(answer)
                await peer.close()


async def test_packets_that_find_no_way_are_not_numbered() -> None:
    peer = packets()
    async with offering() as offerer:
        await peer.answer(await offerer.offer())
        peer.tracks[0].send(SILENT_OPUS, 96, 0)
        assert peer.statistics().packets_sent == 0
    await peer.close()


async def test_the_stock_path_takes_offers_without_a_direction() -> None:
    peer = AiortcStockPeer(PeerOptions())
    async with offering() as offerer:
        offer = (await offerer.offer()).replace("a=sendrecv\r\n", "")
        assert "a=sendrecv" in await peer.answer(offer)
    await peer.close()
