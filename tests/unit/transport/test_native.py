"""The glue around libdatachannel, with a scripted library in its place."""

from __future__ import annotations

import asyncio
import logging
import stat
import threading
from collections import deque
from collections.abc import AsyncIterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from salon.base import Clock, MissingExtraError
from salon.transport import native
from salon.transport.native import (
    LibdatachannelPeer,
    NativeFactory,
    native_factory,
)
from salon.transport.native_certificate import RENEW_AFTER_S, CertificateFiles
from salon.transport.native_library import ResolvedServer, load_library, resolve_servers
from salon.transport.packets import (
    IceServer,
    MediaPacket,
    NegotiationError,
    PeerOptions,
    PeerState,
)
from salon.transport.rtcp import ReceiverReport, ReportBlock, build_report, parse_rtcp
from salon.transport.rtp import build_rtp, is_rtcp, parse_rtp
from salon.transport.ticker import Ticker

from .wire import VirtualLoop

OFFER = "\r\n".join(
    (
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE a",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 101",
        "c=IN IP4 0.0.0.0",
        "a=mid:a",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:101 telephone-event/8000",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:0123456789012345678901",
        "a=fingerprint:sha-512 " + ":".join(["CD"] * 64),
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
        "a=candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host",
        "a=candidate:2 1 udp 2113937150 2001:db8::7 50001 typ host",
        "",
    )
)

LOCAL = "\r\n".join(
    (
        "v=0",
        "o=rtc 1 0 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=fingerprint:sha-256 " + ":".join(["12"] * 32),
        "m=audio 40000 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 192.0.2.2",
        "a=mid:0",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=setup:active",
        "a=ice-ufrag:ours",
        "a=ice-pwd:abcdefghijklmnopqrstuv",
        "a=candidate:1 1 UDP 2114977791 192.0.2.2 40000 typ host",
        "a=candidate:2 1 UDP 2116026111 fd00::2 40000 typ host",
        "",
    )
)


class FakeClock(Clock):
    """Its sleep takes no time but its own."""

    def __init__(self) -> None:
        self.at = 50.0

    def time(self) -> float:
        return 1_700_000_000.0 + self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)


class FakeTrack:
    def __init__(self) -> None:
        self.open = False
        self.incoming: deque[bytes] = deque()
        self.sent: list[bytes] = []
        self.broken = False

    def is_open(self) -> bool:
        return self.open

    def receive(self) -> bytes | None:
        return self.incoming.popleft() if self.incoming else None

    def send(self, data: bytes) -> bool:
        if self.broken:
            raise RuntimeError("Track is closed")
        self.sent.append(data)
        return True


class State(Enum):
    New = 0
    Connecting = 1
    Connected = 2
    Disconnected = 3
    Failed = 4
    Closed = 5


class GatheringState(Enum):
    InProgress = 1
    Complete = 2


class FakeConnection:
    State = State
    GatheringState = GatheringState

    def __init__(self, configuration: Any) -> None:
        self.configuration = configuration
        self.track = FakeTrack()
        self.now = State.New
        self.gathering = GatheringState.Complete
        self.remote = ""
        self.candidates: list[str] = []
        self.closed = threading.Event()
        self.may_close = threading.Event()
        self.may_close.set()
        FakeLibrary.made.append(self)

    def add_track(self, media: Any) -> FakeTrack:
        return self.track

    def set_remote_description(self, description: Any) -> None:
        self.remote = description.text

    def set_local_description(self, kind: str) -> None:
        self.now = State.Connecting

    def local_description(self) -> str:
        return LOCAL

    def add_remote_candidate(self, candidate: str) -> None:
        self.candidates.append(candidate)

    def gathering_state(self) -> GatheringState:
        return self.gathering

    def state(self) -> State:
        return self.now

    def close(self) -> None:
        self.may_close.wait(5)
        self.closed.set()


class FakeConfiguration:
    bind_address: str | None = None


class FakeDescription:
    class Type:
        Offer = "offer"
        Answer = "answer"

    class Direction:
        SendRecv = "sendrecv"

    class Audio:
        def __init__(self, mid: str, direction: str) -> None:
            assert (mid, direction) == ("0", "sendrecv")

        def add_opus_codec(self, payload_type: int) -> None:
            pass

    def __init__(self, text: str, kind: str) -> None:
        if "ice-ufrag:bad" in text:
            raise ValueError("bad ufrag")
        self.text = text


class FakeIceServer(tuple[Any, ...]):
    class RelayType:
        TurnUdp = "udp"

    def __new__(cls, *values: Any) -> FakeIceServer:
        return super().__new__(cls, values)


class FakeLibrary:
    made: list[FakeConnection]
    PeerConnection = FakeConnection
    Configuration = FakeConfiguration
    Description = FakeDescription
    IceServer = FakeIceServer

    @staticmethod
    def Candidate(line: str, mid: str) -> str:
        if "192.0.2.66" in line:
            raise ValueError("Invalid candidate format")
        return line


class Stage:
    """A factory with everything around it made of memory."""

    def __init__(self) -> None:
        FakeLibrary.made = []
        self.loop = VirtualLoop()
        self.clock = FakeClock()
        self.ticker = Ticker(loop=self.loop)  # type: ignore[arg-type]
        self.factory = NativeFactory(
            self.ticker, FakeLibrary, CertificateFiles(clock=self.clock), clock=self.clock
        )
        self.states: list[PeerState] = []
        self.packets: list[MediaPacket] = []

    def peer(self, options: PeerOptions | None = None) -> LibdatachannelPeer:
        made = self.factory(options or PeerOptions())
        made.on_state = self.states.append
        return made

    async def connected(self) -> tuple[LibdatachannelPeer, FakeConnection]:
        peer = self.peer()
        await peer.answer(OFFER)
        peer.tracks[0].on_packet = self.packets.append
        connection = FakeLibrary.made[-1]
        connection.now, connection.track.open = State.Connected, True
        self.ticks()
        return peer, connection

    def ticks(self, count: int = 1) -> None:
        for _ in range(count):
            self.clock.at += 0.02
            self.loop.advance(0.0201)  # the deadline for certain

    def wait(self, seconds: float) -> None:
        self.ticks(round(seconds / 0.02))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    made.factory.close()


# -- whether the library can be had ---------------------------------------------------------------


def glibc() -> tuple[str, str]:
    return "glibc", "2.39"


@pytest.mark.parametrize(
    ("system", "version", "libc", "reason"),
    [
        ("win32", (3, 13), glibc, "Windows"),
        ("linux", (3, 11), glibc, "not 3.11"),
        ("linux", (3, 12), lambda: ("glibc", "2.31"), "not 2.31"),
    ],
)
def test_a_platform_without_the_library_says_so(
    system: str, version: tuple[int, int], libc: Any, reason: str
) -> None:
    with pytest.raises(MissingExtraError, match=reason) as caught:
        load_library(version=version, system=system, libc=libc, load=pytest.fail)
    assert caught.value.extra == "webrtc-native"


@pytest.mark.parametrize("absent", ["libdatachannel", "cryptography"])
def test_a_missing_module_is_named(absent: str) -> None:
    def load(name: str) -> object:
        if name == absent:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return name

    with pytest.raises(MissingExtraError, match=absent):
        load_library(version=(3, 12), system="linux", libc=glibc, load=load)


def test_other_systems_rely_on_the_import() -> None:
    found = load_library(
        version=(3, 12), system="darwin", libc=lambda: ("", ""), load=lambda name: name
    )
    assert found == "libdatachannel"


async def test_the_factory_checks_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "load_library", lambda: FakeLibrary)
    made = native_factory(Ticker())
    directory = made._certificates.directory
    assert directory.is_dir()
    assert made(PeerOptions()).carrier == "libdatachannel"
    made.close()
    made.close()
    assert not directory.exists()


# -- the certificate ------------------------------------------------------------------------------


def test_the_key_is_private_and_renewed() -> None:
    clock = FakeClock()
    files = CertificateFiles(clock=clock)
    first = files.current()
    assert files.current() is first
    assert stat.S_IMODE(files.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(first.key).stat().st_mode) == 0o600
    assert "BEGIN CERTIFICATE" in Path(first.certificate).read_text()
    clock.at += RENEW_AFTER_S + 1
    second = files.current()
    assert second != first
    assert len(list(files.directory.iterdir())) == 2
    files.close()
    assert not files.directory.exists()


# -- negotiation ----------------------------------------------------------------------------------


async def test_the_library_sees_one_audio_section_with_the_real_transport(stage: Stage) -> None:
    answer = await stage.peer().answer(OFFER)
    connection = FakeLibrary.made[0]
    assert "a=ice-ufrag:abcd\r\n" in connection.remote
    assert "a=fingerprint:sha-256 AB:" in connection.remote
    assert "a=setup:actpass\r\n" in connection.remote
    assert [line.split()[4] for line in connection.candidates] == ["192.0.2.7"]
    configuration = connection.configuration
    assert configuration.disable_auto_negotiation
    assert configuration.bind_address == "0.0.0.0"
    assert Path(configuration.key_pem_file).is_file()
    assert "SAVPF 111 0 101\r\n" in answer
    assert "a=fingerprint:sha-256 12:" in answer
    assert "a=setup:active\r\n" in answer
    assert "192.0.2.2 40000" in answer
    assert "fd00::2" not in answer
    assert stage.states == [PeerState.CONNECTING]


async def test_G147_ipv6_is_kept_if_wanted(stage: Stage) -> None:
    answer = await stage.peer(PeerOptions(ipv6=True)).answer(OFFER)
    assert "fd00::2" in answer
    assert len(FakeLibrary.made[0].candidates) == 2
    assert FakeLibrary.made[0].configuration.bind_address is None


async def test_the_role_of_an_active_lite_peer_is_kept(stage: Stage) -> None:
    offer = OFFER.replace("actpass", "active").replace("a=group", "a=ice-lite\r\na=group")
    answer = await stage.peer().answer(offer)
    assert "a=setup:active\r\n" in FakeLibrary.made[0].remote
    assert "a=ice-lite\r\n" in FakeLibrary.made[0].remote
    assert "a=setup:passive\r\n" in answer


async def test_a_bad_offer_is_refused(stage: Stage) -> None:
    peer = stage.peer()
    with pytest.raises(NegotiationError):
        await peer.answer("v=0\r\n")
    with pytest.raises(NegotiationError, match="bad ufrag"):
        await stage.peer().answer(OFFER.replace("ufrag:abcd", "ufrag:badd"))
    await peer.close()
    with pytest.raises(NegotiationError, match="closed"):
        await peer.answer(OFFER)


async def test_one_offer_at_a_time(stage: Stage) -> None:
    peer = stage.peer()
    first = asyncio.ensure_future(peer.answer(OFFER))
    await asyncio.sleep(0)
    if not first.done():
        with pytest.raises(NegotiationError, match="not answered yet"):
            await peer.answer(OFFER)
    await first
    assert len(FakeLibrary.made) == 1


async def test_a_later_offer_of_the_session_changes_direction(stage: Stage) -> None:
    peer, connection = await stage.connected()
    answer = await peer.answer(OFFER.replace("sendrecv", "inactive"))
    assert "a=inactive\r\n" in answer
    connection.track.incoming.append(build_rtp(111, 1, 960, 7, b"x"))
    peer.tracks[0].send(b"x", 111, 0)
    stage.ticks()
    assert stage.packets == []
    assert (peer.statistics().rejected, peer.statistics().unsent) == (1, 1)
    with pytest.raises(NegotiationError, match="new connection"):
        await peer.answer(OFFER.replace("ufrag:abcd", "ufrag:efgh"))
    assert len(FakeLibrary.made) == 1


async def test_gathering_that_does_not_end_is_cut_off(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(FakeConnection, "gathering_state", lambda _self: GatheringState.InProgress)
    with caplog.at_level(logging.INFO, "salon.transport"):
        assert "a=candidate" in await stage.peer().answer(OFFER)
    assert stage.clock.at == pytest.approx(50.0 + native.GATHER_TIMEOUT_S, abs=0.01)
    assert "not complete" in caplog.text


async def test_closing_while_candidates_are_gathered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeConnection, "gathering_state", lambda _self: GatheringState.InProgress)
    peer = stage.peer()
    answering = asyncio.ensure_future(peer.answer(OFFER))
    while not FakeLibrary.made and not answering.done():
        await asyncio.sleep(0)
    await peer.close()
    with pytest.raises(NegotiationError, match="closed"):
        await answering
    assert FakeLibrary.made[0].closed.is_set()
    assert not stage.ticker.running


async def test_candidates_wait_for_the_offer_and_are_filtered(stage: Stage) -> None:
    peer = stage.peer()
    peer.add_candidate("candidate:1 1 udp 5 192.0.2.8 1111 typ host")
    peer.add_candidate("a=candidate:1 1 udp 5 0c5ee9c2.local 1111 typ host")
    peer.add_candidate("candidate:1 1 udp 5 192.0.2.10 1111 typ host ufrag gone")
    await peer.answer(OFFER)
    peer.add_candidate("candidate:1 1 tcp 5 192.0.2.9 9 typ host tcptype active")
    peer.add_candidate("candidate:1 1 udp 5 192.0.2.10 1111 typ host ufrag gone")
    peer.add_candidate("1 1 udp 5 192.0.2.11 1111 typ host ufrag abcd")
    peer.add_candidate("")
    found = [line.split()[4] for line in FakeLibrary.made[0].candidates]
    assert found == ["192.0.2.7", "192.0.2.8", "192.0.2.11"]
    with pytest.raises(NegotiationError, match="Invalid candidate"):
        peer.add_candidate("candidate:1 1 udp 5 192.0.2.66 1111 typ host")
    with pytest.raises(NegotiationError):
        peer.add_candidate("candidate:nonsense")
    await peer.close()
    peer.add_candidate("candidate:1 1 udp 5 192.0.2.12 1111 typ host")
    assert len(FakeLibrary.made[0].candidates) == 3


async def test_the_number_of_candidates_is_bounded(stage: Stage) -> None:
    peer = stage.peer()
    line = "candidate:1 1 udp 5 192.0.2.8 1111 typ host"
    for _ in range(native.MAX_CANDIDATES):
        peer.add_candidate(line)
    with pytest.raises(NegotiationError, match="more than 200"):
        peer.add_candidate(line)
    await peer.answer(OFFER)
    assert len(FakeLibrary.made[0].candidates) == native.MAX_CANDIDATES + 1


# -- ICE servers ----------------------------------------------------------------------------------


async def test_servers_the_library_knows_are_resolved(caplog: pytest.LogCaptureFixture) -> None:
    servers = (
        IceServer(("stun:192.0.2.3", "stun:192.0.2.4:19302")),
        IceServer(
            ("turn:192.0.2.5:3479?transport=udp", "turn:192.0.2.5?transport=tcp", "turns:a.test"),
            "u",
            "p",
        ),
        IceServer(("stun:",)),
    )
    with caplog.at_level(logging.INFO, "salon.transport"):
        found = await resolve_servers(servers)
    assert found == [
        ResolvedServer("192.0.2.3", 3478),
        ResolvedServer("192.0.2.4", 19302),
        ResolvedServer("192.0.2.5", 3479, "u", "p"),
    ]
    assert caplog.text.count("can't use") == 3


async def test_a_name_that_is_not_found_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def nothing(*args: Any, **kwargs: Any) -> list[Any]:
        raise OSError("no such name")

    async def never(*args: Any, **kwargs: Any) -> list[Any]:
        await asyncio.Event().wait()
        return []

    loop = asyncio.get_running_loop()
    with caplog.at_level(logging.INFO, "salon.transport"):
        monkeypatch.setattr(loop, "getaddrinfo", nothing)
        assert await resolve_servers((IceServer(("stun:a.test",)),)) == []
        monkeypatch.setattr(loop, "getaddrinfo", never)
        assert await resolve_servers((IceServer(("stun:a.test",)),), timeout=0.001) == []
    assert "no such name" in caplog.text
    assert "were not found within" in caplog.text


async def test_the_library_is_told_of_servers(stage: Stage) -> None:
    configuration = stage.factory.configuration(
        PeerOptions(), [ResolvedServer("192.0.2.3", 3478), ResolvedServer("192.0.2.5", 9, "u", "p")]
    )
    assert configuration.ice_servers == [
        ("192.0.2.3", 3478),
        ("192.0.2.5", "9", "u", "p", "udp"),
    ]


# -- states ---------------------------------------------------------------------------------------


async def test_connected_means_that_the_track_is_open(stage: Stage) -> None:
    peer = stage.peer()
    await peer.answer(OFFER)
    connection = FakeLibrary.made[0]
    connection.now = State.Connected
    stage.ticks()
    assert peer.state is PeerState.CONNECTING
    peer.tracks[0].send(b"x", 111, 0)
    connection.track.open = True
    stage.ticks()
    assert stage.states == [PeerState.CONNECTING, PeerState.CONNECTED]
    assert peer.statistics().connect_ms == pytest.approx(40.0)
    assert (peer.statistics().unsent, peer.statistics().packets_sent) == (1, 0)


@pytest.mark.parametrize("end", [State.Failed, State.Closed])
async def test_a_connection_that_ends_has_failed(stage: Stage, end: State) -> None:
    peer, connection = await stage.connected()
    connection.now = State.Disconnected
    stage.ticks()
    assert peer.state is PeerState.DISCONNECTED
    connection.now = end
    stage.ticks()
    assert stage.states[2:] == [PeerState.DISCONNECTED, PeerState.FAILED]
    assert not stage.ticker.running
    await peer.close()
    assert connection.closed.is_set()
    assert stage.states[-1] is PeerState.FAILED


async def test_connecting_ends_after_15_s(stage: Stage) -> None:
    peer = stage.peer()
    await peer.answer(OFFER)
    stage.wait(14.9)
    assert peer.state is PeerState.CONNECTING
    stage.wait(0.2)
    assert peer.state is PeerState.FAILED


async def test_a_silent_peer_is_disconnected_until_it_is_heard(stage: Stage) -> None:
    peer, connection = await stage.connected()
    stage.wait(9.9)
    assert peer.state is PeerState.CONNECTED
    stage.wait(0.2)
    assert peer.state is PeerState.DISCONNECTED
    connection.track.incoming.append(build_rtp(111, 1, 960, 7, b"x"))
    stage.ticks()
    assert peer.state is PeerState.CONNECTED
    assert len(stage.packets) == 1


# -- packets --------------------------------------------------------------------------------------


async def test_received_packets_are_handed_over_with_the_time_of_the_tick(stage: Stage) -> None:
    peer, connection = await stage.connected()
    for number in range(3):
        connection.track.incoming.append(build_rtp(111, number, number * 960, 7, b"%d" % number))
    connection.track.incoming += [build_rtp(50, 9, 0, 7, b"x"), b"\x80"]
    stage.ticks()
    assert [packet.payload for packet in stage.packets] == [b"0", b"1", b"2"]
    assert {packet.arrival for packet in stage.packets} == {stage.clock.at}
    figures = peer.statistics()
    assert (figures.packets_received, figures.rejected) == (3, 2)


async def test_a_flood_is_taken_in_portions(stage: Stage) -> None:
    _, connection = await stage.connected()
    count = native.MAX_DRAINED + 10
    connection.track.incoming += [build_rtp(111, n, n * 960, 7, b"x") for n in range(count)]
    stage.ticks()
    assert len(stage.packets) == native.MAX_DRAINED
    stage.ticks()
    assert len(stage.packets) == count


async def test_packets_are_sent_and_reported(stage: Stage) -> None:
    peer, connection = await stage.connected()
    for number in range(3):
        peer.tracks[0].send(b"abc", 111, number * 960, marker=number == 0)
    sent = [parse_rtp(data, 0.0) for data in connection.track.sent]
    assert [packet.payload for packet in sent] == [b"abc"] * 3
    assert [packet.marker for packet in sent] == [True, False, False]
    assert sent[1].sequence == (sent[0].sequence + 1) & 0xFFFF
    stage.wait(2)
    report = connection.track.sent[3]
    assert is_rtcp(report)
    assert parse_rtcp(report)[0].ssrc == sent[0].ssrc  # type: ignore[union-attr]
    block = ReportBlock(sent[0].ssrc, fraction_lost=128, lost=3, jitter=480)
    connection.track.incoming.append(build_report(ReceiverReport(7, (block,)), "far end"))
    stage.ticks()
    assert peer.tracks[0].remote_lost == pytest.approx(0.5, abs=0.01)
    assert peer.statistics().remote_jitter_ms == pytest.approx(10)
    assert peer.statistics().packets_sent == 3


async def test_a_track_the_library_closed_takes_nothing(stage: Stage) -> None:
    peer, connection = await stage.connected()
    connection.track.broken = True
    peer.tracks[0].send(b"abc", 111, 0)
    assert peer.statistics().unsent == 1


async def test_statistics_of_an_unanswered_peer(stage: Stage) -> None:
    assert stage.peer().statistics().packets_received == 0


# -- the end --------------------------------------------------------------------------------------


async def test_closing_says_goodbye_and_lets_go(stage: Stage) -> None:
    peer, connection = await stage.connected()
    assert stage.ticker.running
    await peer.close()
    await peer.close()
    assert peer.state is PeerState.CLOSED
    assert is_rtcp(connection.track.sent[-1])
    assert connection.closed.is_set()
    assert not stage.ticker.running
    assert PeerState.CLOSED not in stage.states
    peer.tracks[0].send(b"x", 111, 0)
    assert peer.statistics().unsent == 1


async def test_closing_is_bounded_in_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "CLOSE_TIMEOUT_S", 0.01)
    peer, connection = await stage.connected()
    connection.may_close.clear()
    await peer.close()
    assert "did not close in time" in caplog.text
    connection.may_close.set()
    assert await asyncio.to_thread(connection.closed.wait, 5)


async def test_a_close_that_fails_is_logged(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_self: FakeConnection) -> None:
        raise RuntimeError("no such agent")

    monkeypatch.setattr(FakeConnection, "close", fail)
    peer, _ = await stage.connected()
    await peer.close()
    assert "no such agent" in caplog.text
