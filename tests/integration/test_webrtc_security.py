"""Calls over WebRTC and those who should not have them, or want too much of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from tests.conformance.gateway.rtc_call import candidates_of, placed_rtc, without_candidates
from tests.integration.conftest import emptied, until
from tests.integration.test_security import EVIL, KEY, RIGHT, WRONG, raw, refused
from tests.integration.wire import WireCall, placed
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from salon.testing.server import ServerProcess, running_server

PATHS = ("/webrtc", "/call/webrtc")
TURN_SECRET = "turn-secret-0123456789"
MAX_FRAME = 64 * 1024
MAX_CANDIDATES = 200


async def alive(server: ServerProcess) -> None:
    """It answers and nobody is left."""
    assert (await asyncio.to_thread(server.get, "/health"))["status"] == "ok"
    await emptied(server)


def cpu_s(server: ServerProcess) -> float:
    """What the server's process has computed so far, in seconds of a CPU."""
    used = psutil.Process(server.pid).cpu_times()
    return float(used.user + used.system)


# -- who may call ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PATHS, "/webrtc?handler=room&room=a"])
@pytest.mark.parametrize("origin", [EVIL, "null", "https://localhost.evil.example"])
async def test_a_foreign_page_places_no_call(server: ServerProcess, path: str, origin: str) -> None:
    assert (await refused(server.ws_url + path, Origin=origin)).status_code == 403


@pytest.mark.parametrize("path", PATHS)
async def test_a_foreign_host_places_no_call(server: ServerProcess, path: str) -> None:
    request = (
        f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert (await raw(server.port, request.encode())).startswith(b"HTTP/1.1 403 ")


async def test_the_own_page_places_calls(server: ServerProcess) -> None:
    async with placed_rtc(server.ws_url, headers={"Origin": server.url}) as call:
        await call.invite()


async def test_a_foreign_page_reads_no_servers(server: ServerProcess) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
        for headers in ({"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert (await client.get("/iceservers", headers=headers)).status_code == 403
        answer = await client.get("/iceservers", headers={"Origin": EVIL})
        assert "access-control-allow-origin" not in answer.headers


@pytest.fixture(scope="module")
def locked() -> Iterator[ServerProcess]:
    """A server that listens on every address, with a key and a TURN server that is not there."""
    turn = {"urls": "turn:127.0.0.1:9", "username": "ann", "credential": TURN_SECRET}
    environment = {"SALON_API_KEY": KEY, "SALON_ICE_SERVERS": json.dumps([turn])}
    arguments = ("--host", "0.0.0.0", "--stt", "none", "--log-level", "debug")
    with running_server(*arguments, environment=environment) as process:
        yield process
        log = process.log_text()
        assert "Traceback" not in log, log[-4000:]
        assert KEY not in log


async def test_with_a_key_calls_ask_for_it(locked: ServerProcess) -> None:
    for path in PATHS:
        for headers in WRONG:
            answer = await refused(locked.ws_url + path, **headers)
            assert answer.status_code == 401, (path, headers)
        for headers in RIGHT:
            async with connect(locked.ws_url + path, additional_headers=headers):
                pass


async def test_G205_turn_credentials_are_told_to_who_may_call_and_nowhere_else(
    locked: ServerProcess,
) -> None:
    room = "/webrtc?handler=room&room=seen&participant=ada&id=seen"
    async with (
        httpx.AsyncClient(base_url=locked.url, timeout=20) as stranger,
        httpx.AsyncClient(base_url=locked.url, headers=RIGHT[0], timeout=20) as client,
        placed_rtc(locked.ws_url, room, headers=RIGHT[0]) as call,
    ):
        for headers in WRONG:
            answer = await stranger.get("/iceservers", headers=headers)
            assert answer.status_code == 401, headers
            assert TURN_SECRET not in answer.text
        (told,) = (await client.get("/iceservers")).json()
        assert (told["username"], told["credential"]) == ("ann", TURN_SECRET)

        answered = await call.invite()  # gathering tried that server in vain
        assert TURN_SECRET not in json.dumps(answered)
        await call.send("tts", text="hello", playId="p")
        await call.expect("trackEnd", playId="p")
        pages = ("/list", "/call/lists", "/api/info", "/metrics", "/health", "/openapi.json")
        for path in (*pages, "/rooms/seen/timeline", "/rooms/seen/transcript"):
            shown = await client.get(path)
            assert TURN_SECRET not in shown.text, path
        assert "seen" in (await client.get("/list")).text
        await call.send("hangup")
        await call.closed()
        assert TURN_SECRET not in json.dumps(call.events)
        await until(lambda: not _live(locked), "the end of the call")
    assert TURN_SECRET not in locked.log_text()
    kept = [path for path in locked.data_dir.rglob("*") if path.is_file()]
    assert kept
    assert [path for path in kept if TURN_SECRET.encode() in path.read_bytes()] == []


def _live(server: ServerProcess) -> bool:
    with httpx.Client(base_url=server.url, headers=RIGHT[0], timeout=20) as client:
        return bool(client.get("/list").json()["active_calls"])


# -- too much -------------------------------------------------------------------------------------


def garbage() -> dict[str, str]:
    """Offers of about 60 KiB that are none."""
    size = MAX_FRAME - 4096
    head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
    section = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"
    return {
        "letters": "A" * size,
        "line ends": "\r\n" * (size // 4),
        "unpaired": "v=0\r\n" + "\ud83d" * 100 + "é" * (size // 8),
        "sections": head + section * (size // len(section) // 2),
        "attributes": head + section + "a=\r\n" * (size // 8),
        "formats": head + "m=audio 9 UDP/TLS/RTP/SAVPF" + " 0" * (size // 4),
        "one attribute": head + section + "a=" + "x:" * (size // 4),
        "bundle": head + "a=group:BUNDLE" + " 0" * (size // 4) + "\r\n" + section,
    }


@pytest.mark.parametrize("kind", garbage())
@pytest.mark.parametrize("bare", [False, True])
async def test_an_offer_of_64_kib_of_garbage_is_refused_at_once(
    server: ServerProcess, kind: str, bare: bool
) -> None:
    offer = garbage()[kind]
    async with placed(server.ws_url, "/webrtc") as call:
        before = cpu_s(server)
        if bare:
            await call.socket.send(json.dumps({"sdp": offer, "type": "offer"}))
        else:
            await call.send("invite", option={"offer": offer})
        error = await call.expect("error")
        assert len(error["error"]) < 1000
        assert cpu_s(server) - before < 2.0
        if error.get("code") == 400:  # not even a command: the call goes on
            await call.send("hangup")
        await call.closed()
    await alive(server)


async def test_a_frame_that_is_longer_ends_the_connection(server: ServerProcess) -> None:
    async with placed(server.ws_url, "/webrtc") as call:
        with contextlib.suppress(ConnectionClosed):
            await call.send("invite", option={"offer": "A" * (2 * 1024 * 1024)})
        assert await call.closed() == 1009
    await alive(server)


async def test_a_thousand_candidates_are_not_taken(server: ServerProcess) -> None:
    async with placed_rtc(server.ws_url) as call:
        offer = await call.offer()
        line = "candidate:{0} 1 udp 2113937151 192.0.2.{1} {0} typ host"
        # before the offer a bounded number is kept
        for number in range(500):
            text = line.format(10_000 + number, number % 250)
            await call.send("addIceCandidate", candidate=text)
        await call.send("invite", option={"offer": offer})
        answer = await call.expect("answer")
        for number in range(500):
            text = line.format(20_000 + number, number % 250)
            await call.send("addIceCandidate", candidate=text)
        await call.expect("error")
        refusals = [event["error"] for event in call.of("error")]
        assert all(f"more than {MAX_CANDIDATES}" in refusal or "wait" in refusal
                   for refusal in refusals), refusals[:3]  # fmt: skip
        await call.accept(answer["sdp"])  # the call works all the same
        await call.send("hangup")
        await call.closed()
    await alive(server)


async def test_an_offer_with_a_thousand_candidates_is_refused(server: ServerProcess) -> None:
    async with placed_rtc(server.ws_url) as call:
        offer = without_candidates(await call.offer())
        lines = [f"a=candidate:{n} 1 udp 1 192.0.2.1 {n} typ host\r\n" for n in range(1, 1001)]
        await call.send("invite", option={"offer": offer + "".join(lines)})
        error = await call.expect("error")
        assert "candidates" in error["error"]
        await call.closed()
    await alive(server)


@pytest.mark.parametrize(
    "candidate",
    ["candidate:", "x" * 5000, "candidate:1 1 udp x 1.2.3.4 5 typ host", "\0", "candidate:1 1 udp 1"
     " 1.2.3.4 99999 typ host"],
)  # fmt: skip
async def test_G88_a_candidate_that_is_none_is_an_error_and_no_more(
    server: ServerProcess, candidate: str
) -> None:
    async with placed_rtc(server.ws_url) as call:
        await call.send("addIceCandidate", candidate=candidate)
        await call.invite()
        await call.send("addIceCandidate", candidate=candidate)
        await until(lambda: len(call.of("error")) == 2, "both errors")
        assert all(len(event["error"]) < 1000 for event in call.of("error"))
        await call.send("hangup")
        assert await call.closed() == 1000


# -- addresses of others --------------------------------------------------------------------------


class Victim(asyncio.DatagramProtocol):
    """Counts what it is sent."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.at: list[float] = []

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.sizes.append(len(data))
        self.at.append(asyncio.get_running_loop().time())


def own_address() -> str:
    """An address of this machine that is not loopback, if there is one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@pytest.mark.slow
async def test_an_offer_that_names_others_does_not_flood_them(server: ServerProcess) -> None:
    """Connectivity checks can't be avoided (G146); they come slowly, and they stop."""
    loop = asyncio.get_running_loop()
    address = own_address()
    victims = [
        await loop.create_datagram_endpoint(Victim, local_addr=(address, 0)) for _ in range(150)
    ]
    async with placed_rtc(server.ws_url) as call:
        offer = without_candidates(await call.offer())
        ports = [transport.get_extra_info("sockname")[1] for transport, _ in victims]
        lines = [f"a=candidate:{n} 1 udp {n} {address} {n} typ host\r\n" for n in ports]
        lines += [f"a=candidate:{n} 1 udp 9 10.0.{n}.1 9 typ host\r\n" for n in range(40)]
        head, tail = offer.split("a=ice-ufrag", 1)
        offer = f"{head}{''.join(lines)}a=ice-ufrag{tail}"
        await call.send("invite", option={"offer": offer})
        await call.expect("answer")
        await asyncio.sleep(6)
        times = [at for _, victim in victims for at in victim.at]
        size = sum(sum(victim.sizes) for _, victim in victims)
        second = 1 + call.stalled  # what came while nobody looked seems to come at once
        busiest = max(
            (sum(at <= other < at + second for other in times) for at in times), default=0
        )
        print(
            f"{len(times)} datagrams of {size} bytes in 6 s for an offer of {len(offer)} bytes, "
            f"{busiest} in the busiest second"
        )
        assert busiest <= 200 * second
        assert size < 20 * len(offer)
        await call.send("hangup")
        await call.closed()
        await emptied(server)
        counts = [len(victim.at) for _, victim in victims]
        await asyncio.sleep(2)
        assert [len(victim.at) for _, victim in victims] == counts, "checks outlive the call"
    for transport, _ in victims:
        transport.close()
    await alive(server)


# -- other people's packets -----------------------------------------------------------------------


def rtp(payload_type: int, sequence: int) -> bytes:
    """An RTP packet as a stranger would make it."""
    return struct.pack("!BBHII", 0x80, payload_type, sequence, sequence * 960, 77) + b"\xf8\xff\xfe"


async def rejected(server: ServerProcess) -> float:
    """Packets that no call took, so far."""
    text = await asyncio.to_thread(server.get, "/metrics")
    found = re.search(r'salon_webrtc_packets_total\{kind="rejected"\} ([\d.e+]+)', text)
    return float(found[1]) if found else 0.0


async def test_packets_of_another_call_do_not_get_in(server: ServerProcess) -> None:
    before = await rejected(server)
    async with placed_rtc(server.ws_url) as first, placed_rtc(server.ws_url) as second:
        answer = await first.invite(vad={})
        await second.invite()
        sender = second.pc.getTransceivers()[0].sender
        protect = sender.transport._tx_srtp.protect
        types = [int(found) for found in re.findall(r"a=rtpmap:(\d+) ", answer["sdp"])]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            fields = [text.split() for text in candidates_of(answer["sdp"])]
            for _, _, _, _, address, port, *_ in fields:
                if ":" in address:
                    continue
                for number in range(50):
                    plain = rtp(types[0], number)
                    for packet in (protect(plain), plain, b"\x80" * 60, b"\x80\xc8"):
                        stranger.sendto(packet, (address, int(port)))
                for kind in range(0, 256, 5):  # DTLS, STUN, TURN and nothing at all
                    stranger.sendto(bytes([kind]) * 40, (address, int(port)))
        await asyncio.sleep(0.5)
        await first.send("tts", text="hello", playId="p", option={"provider": "espeak"})
        await first.expect("trackEnd", playId="p")  # it is none the worse for it
        assert first.pc.connectionState == "connected"
        assert not first.of("speaking")
        assert not first.of("dtmf")
        for call in (first, second):
            await _end(call)
    await alive(server)
    assert await rejected(server) >= before + 100


async def _end(call: WireCall) -> None:
    await call.send("hangup")
    assert await call.closed() == 1000


async def test_an_empty_datagram_is_nothing() -> None:
    with running_server("--stt", "none") as server:
        async with placed_rtc(server.ws_url) as call:
            answer = await call.invite()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for text in candidates_of(answer["sdp"]):
                    _, _, _, _, address, port, *_ = text.split()
                    stranger.sendto(b"", (address, int(port)))
            await asyncio.sleep(0.2)
            await _end(call)
        assert "Traceback" not in server.log_text()
