"""The rules of calls over WebRTC, with real connections: G138, G145-G151, G160, T25, T28."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aioice import Candidate, Connection
from tests.conformance.gateway.rtc_call import candidates_of
from tests.unit.transport.offerer import Watch, offering

from salon.base import SYSTEM_CLOCK
from salon.clients.call.offerer import Offerer
from salon.gateway import SOCKET_ENDPOINTS, EventBus, Gateway, SessionServices
from salon.gateway.sounds import SoundLoader
from salon.gateway.webrtc import WebRtcCalls
from salon.media.packet_codecs import make_packet_encoder
from salon.media.telephone_event import telephone_event_packets
from salon.testing import CallPair, VirtualClock, scripted_engine, tone
from salon.transport import aiortc_peer
from salon.transport.aiortc_peer import MAX_CANDIDATES, AiortcPeer, Certificates
from salon.transport.carriers import choose_carrier
from salon.transport.packets import MediaPacket, PayloadFormat, PeerOptions, PeerState
from salon.transport.ticker import Ticker

OFFERS = Path(__file__).parents[2] / "unit" / "transport" / "offers"
BROWSERS = ("chromium", "firefox", "safari")
OPUS = PayloadFormat(111, "opus", 48_000, 2)


@asynccontextmanager
async def gate(
    carrier: str = "auto",
    options: PeerOptions = PeerOptions(),  # noqa: B008 - frozen
) -> AsyncIterator[Gateway]:
    """A gateway in memory whose peers are real."""
    async with scripted_engine(clock=SYSTEM_CLOCK) as engine:
        calls = WebRtcCalls(await choose_carrier(carrier, Ticker()), options)
        gateway = Gateway(
            SessionServices(engine=engine, bus=EventBus(), sounds=SoundLoader(roots=())),
            max_calls=10,
            endpoints={**SOCKET_ENDPOINTS, **calls.paths()},
        )
        try:
            yield gateway
        finally:
            await gateway.close()


def offer_of(name: str) -> str:
    """What a browser offered."""
    return (OFFERS / f"{name}.sdp").read_bytes().decode()


def formats_of(sdp: str) -> list[str]:
    """The names of the formats of the audio section, in order."""
    names = {"0": "pcmu", "8": "pcma"}
    names |= {number: name.lower() for number, name in re.findall(r"a=rtpmap:(\d+) ([^/]+)/", sdp)}
    line = re.search(r"m=audio \d+ \S+ ([\d ]+)", sdp)
    assert line is not None
    return [names.get(number, number) for number in line[1].split()]


# -- the answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("carrier", ["auto", "stock"])
@pytest.mark.parametrize("name", [*BROWSERS, "aiortc", "werift", "bundle"])
async def test_T25_G138_G148_what_others_offer_is_answered(carrier: str, name: str) -> None:
    offer = re.sub(r"a=candidate:.*\.local .*\r?\n", "", offer_of(name))
    async with gate(carrier) as gateway:
        call = CallPair.connect(gateway.acceptor, "/webrtc")
        sdp = (await call.invite(offer=offer, timeout=10))["sdp"]
        assert "a=fingerprint:sha-256 " in sdp
        assert "a=rtcp-mux" in sdp
        assert re.search(r"a=setup:(active|passive)", sdp)
        assert "a=ice-lite" not in sdp
        assert candidates_of(sdp)
        offered, agreed = formats_of(offer), formats_of(sdp)
        assert agreed[0] in ("opus", "g722", "pcmu", "pcma")
        assert [item for item in offered if item in agreed][: len(agreed)] == agreed
        if name in BROWSERS:
            assert agreed[0] == "opus"
        call.send({"command": "hangup"})
        await call.closed(timeout=5)


@pytest.mark.parametrize("carrier", ["auto", "stock"])
@pytest.mark.parametrize("wanted", [False, True])
async def test_G147_ipv6_candidates_are_left_out_unless_wanted(carrier: str, wanted: bool) -> None:
    async with gate(carrier) as gateway:
        call = CallPair.connect(gateway.acceptor, "/webrtc")
        sdp = (await call.invite(offer=offer_of("aiortc"), enableIpv6=wanted))["sdp"]
        found = [text for text in candidates_of(sdp) if ":" in text.split()[4]]
        has_ipv6 = _has_ipv6()
        assert bool(found) == (wanted and has_ipv6)
        call.close()


def _has_ipv6() -> bool:
    """Whether this machine has an IPv6 address that is offered to others."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("2001:db8::1", 9))
            return not probe.getsockname()[0].startswith(("::1", "fe80"))
    except OSError:
        return False


@pytest.mark.parametrize("carrier", ["auto", "stock"])
async def test_G149_an_external_address_replaces_that_of_host_candidates(carrier: str) -> None:
    async with gate(carrier, PeerOptions(external_ip="203.0.113.7")) as gateway:
        call = CallPair.connect(gateway.acceptor, "/webrtc")
        sdp = (await call.invite(offer=offer_of("aiortc")))["sdp"]
        hosts = [text.split() for text in candidates_of(sdp) if "typ host" in text]
        assert hosts
        assert {fields[4] for fields in hosts} == {"203.0.113.7"}
        call.close()


async def test_an_offer_without_audio_ends_the_call() -> None:
    offer = offer_of("chromium").replace("m=audio", "m=video")
    async with gate() as gateway:
        call = CallPair.connect(gateway.acceptor, "/webrtc")
        call.send({"command": "invite", "option": {"offer": offer}})
        assert "audio" in (await call.expect("error", timeout=5))["error"]
        assert await call.closed(timeout=5) == 1011


# -- keys -----------------------------------------------------------------------------------------


class Pressing:
    """A caller who presses keys in the middle of speech."""

    def __init__(self, offerer: Offerer, keys: PayloadFormat) -> None:
        self._offerer = offerer
        self._keys = keys
        self._encoder = make_packet_encoder("opus")
        self._at = 0

    def speak(self, frames: int = 5) -> None:
        for frame in tone(20 * frames, level=0.01).reshape(-1, 320):
            self._offerer.send(self._encoder.encode(frame), OPUS.payload_type, self._at)
            self._at += 960

    def press(self, key: str) -> None:
        rate = self._keys.clock_rate
        at = self._at * rate // 48_000
        for payload, marker, _ in telephone_event_packets(key, 100, clock_rate=rate):
            self._offerer.send(payload, self._keys.payload_type, at, marker=marker)
        self._at += 48_000 // 10


@pytest.mark.parametrize("rate", [8_000, 48_000])
@pytest.mark.parametrize("payload_type", [96, 101, 110, 126])
async def test_T28_G151_a_press_is_told_once_whatever_its_payload_type(
    payload_type: int, rate: int
) -> None:
    keys = PayloadFormat(payload_type, "telephone-event", rate)
    offerer = Offerer((), clock=SYSTEM_CLOCK)
    try:
        async with gate() as gateway:
            call = CallPair.connect(gateway.acceptor, "/webrtc")
            answer = await call.invite(offer=await offerer.offer((OPUS, keys)), vad={})
            agreed = offerer.accept(answer["sdp"], "opus")
            assert agreed.keys is not None
            assert (agreed.keys.payload_type, agreed.keys.clock_rate) == (payload_type, rate)
            async with asyncio.timeout(10):
                await offerer.connected()
            caller = Pressing(offerer, keys)
            caller.speak()
            for key in "55#A":
                caller.press(key)
                caller.speak()
                await asyncio.sleep(0.05)
            await call.expect("dtmf", digit="A", timeout=5)
            assert [event["digit"] for event in call.of("dtmf")] == ["5", "5", "#", "A"]
            call.send({"command": "hangup"})
            await call.closed(timeout=5)
    finally:
        await offerer.close()


# -- what a stranger can do -----------------------------------------------------------------------


def _stun_request() -> bytes:
    """A binding request that nobody has signed."""
    return b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)


@pytest.mark.parametrize(
    "data",
    [b"\x80" * 60, b"\x81\xc9" + bytes(40), _stun_request()],
    ids=["rtp", "rtcp", "stun"],
)
async def test_G150_a_strangers_datagrams_do_not_keep_a_connection_alive(data: bytes) -> None:
    clock = VirtualClock()
    peer = AiortcPeer(PeerOptions(), Certificates(), clock=clock)
    watch = Watch(peer)
    try:
        async with offering() as offerer:
            answer = await peer.answer(await offerer.offer())
            await offerer.accept(answer)
            await watch.until(PeerState.CONNECTED)
            _mute(offerer.pc)
            await asyncio.sleep(0.1)
            clock.advance(aiortc_peer.SILENT_S + 1)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for text in candidates_of(answer):
                    fields = text.split()
                    stranger.sendto(data, (fields[4], int(fields[5])))
            await watch.until(PeerState.DISCONNECTED, timeout=1.5)
    finally:
        await peer.close()


async def test_G150_a_peer_that_falls_silent_is_told() -> None:
    """The same without the stranger."""
    clock = VirtualClock()
    peer = AiortcPeer(PeerOptions(), Certificates(), clock=clock)
    watch = Watch(peer)
    try:
        async with offering() as offerer:
            await offerer.accept(await peer.answer(await offerer.offer()))
            await watch.until(PeerState.CONNECTED)
            _mute(offerer.pc)
            await asyncio.sleep(0.1)
            clock.advance(aiortc_peer.SILENT_S + 1)
            await watch.until(PeerState.DISCONNECTED, timeout=1.5)
    finally:
        await peer.close()


def _mute(pc: object) -> None:
    """A peer connection whose network is gone: nothing leaves it any more."""
    transport = pc.getTransceivers()[0].sender.transport.transport  # type: ignore[attr-defined]
    for protocol in transport._connection._protocols:
        protocol.send_stun = lambda *_: None
        protocol.transport.sendto = lambda *_: None


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses of remote candidates that reach ICE; they go no further."""
    found: list[str] = []

    async def add(_connection: Connection, candidate: Candidate | None) -> None:
        if candidate is not None:
            found.append(candidate.host)

    monkeypatch.setattr(Connection, "add_remote_candidate", add)
    return found


carriers = pytest.mark.parametrize("carrier", ["auto", "stock"])


@carriers
async def test_G88_no_more_than_so_many_candidates_are_tried(
    carrier: str, tried: list[str]
) -> None:
    offer = re.sub(r"a=end-of-candidates\r?\n", "", offer_of("aiortc"))
    async with gate(carrier) as gateway:
        call = CallPair.connect(gateway.acceptor, "/webrtc")
        await call.invite(offer=offer)
        line = "candidate:{0} 1 udp 1 192.0.2.1 {0} typ host"
        for number in range(1, MAX_CANDIDATES + 200):
            call.send({"command": "addIceCandidate", "candidate": line.format(number)})
            await asyncio.sleep(0)
        await asyncio.sleep(0.2)
        assert 150 < len(tried) <= MAX_CANDIDATES
        call.close()


@carriers
async def test_G147_names_and_ipv6_of_an_offer_are_not_tried(
    carrier: str, tried: list[str]
) -> None:
    async with gate(carrier) as gateway:
        call = CallPair.connect(gateway.acceptor, "/webrtc")
        await call.invite(offer=offer_of("chromium"))
        await asyncio.sleep(0.1)
        assert sorted(tried) == ["198.51.100.7", "203.0.113.24"]
        call.close()


async def test_what_comes_after_the_end_of_a_call_is_nobodys() -> None:
    """A packet under way when a call ends reaches nobody."""
    peer = AiortcPeer(PeerOptions(), Certificates())
    watch = Watch(peer)
    got: list[MediaPacket] = []
    async with offering() as offerer:
        await offerer.accept(await peer.answer(await offerer.offer()))
        await watch.until(PeerState.CONNECTED)
        peer.tracks[0].on_packet = got.append
        await peer.close()
        count = len(got)
        await asyncio.sleep(0.2)
        assert len(got) == count
