"""Calls over WebRTC against a real answering side in this process."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from tests.unit.clients.rtcserver import RtcServer
from tests.unit.clients.server import Peer, serving

from salon.base import SYSTEM_CLOCK, MissingExtraError
from salon.clients.call import (
    CallClosed,
    CallFailed,
    ClientError,
    ConnectFailed,
    Refused,
    WebRtcCallClient,
)
from salon.clients.call import webrtc as module
from salon.clients.call.offerer import Offerer
from salon.media import sine
from salon.transport import aiortc_hook
from salon.transport.packets import IceServer
from salon.transport.sockets import Refusal

SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=sendrecv\r\na=rtcp-mux\r\n"
    "a=rtpmap:0 PCMU/8000\r\na=ice-ufrag:abcd\r\na=ice-pwd:" + "p" * 22 + "\r\na=setup:active\r\n"
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\n"
    "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\na=candidate:2 1 udp 1 a.local 9 typ host\r\n"
    "a=end-of-candidates\r\n"
)


def saying(sdp: str) -> Any:
    def script(peer: Peer, message: dict[str, Any]) -> None:
        peer.event("answer", sdp=sdp)

    return script


async def received(call: WebRtcCallClient, count: int) -> None:
    async with asyncio.timeout(5):
        async for _ in call.audio():
            if call.received.total >= count:
                return


@pytest.mark.parametrize(
    ("codec", "encoding"), [("opus", "opus"), ("pcmu", "PCMU"), ("pcma", "PCMA"), ("g722", "G722")]
)
async def test_G10_G145_a_whole_call(codec: str, encoding: str) -> None:
    script = RtcServer()
    async with serving(script) as server, WebRtcCallClient.connect(server.url) as call:
        assert server.peer.request.path == "/webrtc"
        answer = await call.invite(codec, asr={}, tts={})
        assert answer.name == "answer"
        assert call.made is not None
        assert call.made.codec.encoding == encoding
        assert 0 <= call.made.answer_ms <= call.made.ice_ms <= call.made.connect_ms < 5000
        assert call.made.route is not None
        assert call.made.route.local in call.made.candidates
        assert set(script.options_seen) == {"offer", "asr", "tts"}
        async with call.microphone() as microphone:
            await call.press("5#")
            await microphone.say(sine(300, 0.1))
            await call.tts("hello")
            await received(call, 5)
        assert script.keys == "5#"
        assert len(script.packets) >= 5
        assert call.received.codec == "pcm"
        assert np.abs(call.received.samples()).max() > 1000
        await call.hangup()
        assert await call.wait_closed(5)
        figures, playout = call.statistics(), call.playout()
        assert figures is not None
        assert playout is not None
        assert figures.packets_received == playout.received == 5
        assert figures.packets_sent > 5
        assert (figures.lost, figures.rejected, figures.unsent) == (0, 0, 0)
        with pytest.raises(CallClosed):
            await call.send_audio(bytes(640))
    await script.close()


async def test_the_first_reports_give_the_round_trip() -> None:
    script = RtcServer()
    async with serving(script) as server, WebRtcCallClient.connect(server.url) as call:
        await call.invite()
        async with call.microphone(), asyncio.timeout(10):
            assert script.rtc is not None
            while (figures := call.statistics()) is None or figures.round_trip_ms is None:
                await asyncio.sleep(0.05)
        assert figures.round_trip_ms < 5000
        assert call.remote_lost == 0
        await script.close()


async def test_a_call_without_telephone_events_takes_no_keys_and_is_invited_once() -> None:
    script = RtcServer(("PCMU",))
    async with serving(script) as server, WebRtcCallClient.connect(server.url) as call:
        await call.invite("pcmu")
        with pytest.raises(ClientError, match="takes no key presses"):
            await call.press("1")
        with pytest.raises(ValueError, match="invited once"):
            await call.invite("pcmu")
        await script.close()


@pytest.mark.parametrize(
    ("sdp", "said"),
    [
        ("", "no session description"),
        (SDP.replace("audio 9", "audio 0"), "declines the audio"),
        (None, "no session description"),
    ],
)
async def test_an_answer_without_sound_is_a_failed_call(sdp: str, said: str) -> None:
    async with serving(saying(sdp)) as server, WebRtcCallClient.connect(server.url) as call:
        with pytest.raises(CallFailed, match=said) as failed:
            await call.invite("pcmu")
        assert failed.value.event is not None
        assert call.made is None
        with pytest.raises(ClientError, match="before the invite"):
            await call.press("1")


async def test_no_way_for_packets_says_udp_may_be_blocked_and_the_candidates() -> None:
    async with serving(saying(SDP)) as server, WebRtcCallClient.connect(server.url) as call:
        with pytest.raises(ConnectFailed, match="UDP may be blocked") as failed:
            await call.invite("pcmu", connect_timeout=0.2)
    text = str(failed.value)
    assert "within 0.2 s" in text
    assert "of the server: host 127.0.0.1:9 (1 more are names, TCP or IPv6)" in text
    assert "candidates here: host " in text


async def test_without_any_candidate_it_fails_at_once() -> None:
    nobody = "".join(line for line in SDP.splitlines(True) if "udp" not in line)
    async with serving(saying(nobody)) as server, WebRtcCallClient.connect(server.url) as call:
        with pytest.raises(ConnectFailed, match="of the server: none"):
            await call.invite("pcmu")


async def test_a_certificate_that_is_not_the_announced_one_is_refused() -> None:
    class Impostor(RtcServer):
        def __call__(self, peer: Peer, message: dict[str, Any]) -> None:
            usual = peer.event

            def event(name: str, **data: Any) -> None:
                if name == "answer":
                    lines = data["sdp"].split("\r\n")
                    other = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
                    lines = [other if "fingerprint" in line else line for line in lines]
                    data["sdp"] = "\r\n".join(lines)
                usual(name, **data)

            peer.event = event  # type: ignore[method-assign]
            super().__call__(peer, message)

    script = Impostor()
    async with serving(script) as server, WebRtcCallClient.connect(server.url) as call:
        with pytest.raises(ConnectFailed, match="the DTLS handshake failed"):
            await call.invite()
        await script.close()


async def test_datagrams_that_are_not_of_the_call_are_counted() -> None:
    script = RtcServer()
    async with serving(script) as server, WebRtcCallClient.connect(server.url) as call:
        await call.invite("pcmu")
        assert call.made is not None
        port = int(call.made.candidates[0].rpartition(":")[2])
        host = call.made.candidates[0].split()[1].rpartition(":")[0]
        stray = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with stray:
            for data in (b"\x80\x00" + bytes(40), b"\x80\xc8" + bytes(40), b"\x80" + bytes(8000)):
                stray.sendto(data, (host, port))
        async with asyncio.timeout(5):
            while (figures := call.statistics()) is None or figures.rejected < 3:
                await asyncio.sleep(0.01)
        assert figures.packets_received == 0
        await script.close()


async def test_what_is_sent_without_a_connection_is_counted() -> None:
    offerer = Offerer((), clock=SYSTEM_CLOCK)
    with pytest.raises(RuntimeError, match="after offer"):
        offerer.accept(SDP, "pcmu")
    with pytest.raises(RuntimeError, match="after accept"):
        await offerer.connected()
    offerer.send(b"x", 0, 0)
    assert offerer.statistics().unsent == 1
    assert (offerer.route(), offerer.remote_lost) == (None, 0)
    await offerer.close()
    await offerer.close()


async def test_a_call_that_ends_while_connecting_says_so() -> None:
    def script(peer: Peer, message: dict[str, Any]) -> None:
        peer.event("answer", sdp=SDP)
        peer.socket.close(1011, "engine gone")

    async with serving(script) as server, WebRtcCallClient.connect(server.url) as call:
        with pytest.raises(CallClosed, match="engine gone"):
            await call.invite("pcmu")


async def test_an_orderly_end_while_connecting_says_so() -> None:
    def script(peer: Peer, message: dict[str, Any]) -> None:
        peer.event("answer", sdp=SDP)
        peer.event("hangup", reason="busy")
        peer.socket.close(1000)

    async with serving(script) as server, WebRtcCallClient.connect(server.url) as call:
        with pytest.raises(ClientError, match="the call has ended"):
            await call.invite("pcmu")


async def test_a_refused_upgrade_has_the_server_s_reason() -> None:
    async with serving() as server:
        server.refusal = Refusal(501, "calls over WebRTC are switched off")
        with pytest.raises(Refused, match="HTTP 501, calls over WebRTC are switched off"):
            async with WebRtcCallClient.connect(server.url):
                raise AssertionError


async def test_a_call_refused_by_an_error_event_says_it() -> None:
    def script(peer: Peer, message: dict[str, Any]) -> None:
        peer.event("error", sender="invite", error="no audio")

    async with serving(script) as server, WebRtcCallClient.connect(server.url) as call:
        with pytest.raises(CallFailed, match="did not take the call: no audio"):
            await call.invite()


async def test_without_the_extra_the_invite_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiortc", None)
    async with serving() as server, WebRtcCallClient.connect(server.url) as call:
        with pytest.raises(MissingExtraError, match=r"salon\[webrtc\]"):
            await call.invite()
        assert (call.statistics(), call.playout(), call.remote_lost) == (None, None, 0)


async def test_an_aiortc_that_hides_its_packets_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def probe() -> str:
        return "AttributeError: _connection"

    monkeypatch.setattr(aiortc_hook, "probe", probe)
    async with serving() as server, WebRtcCallClient.connect(server.url) as call:
        with pytest.raises(ConnectFailed, match="does not give its packets: AttributeError"):
            await call.invite()
        figures = call.statistics()
        assert figures is not None
        assert figures.packets_received == 0


async def test_a_wrong_ice_server_is_said() -> None:
    async with serving() as server, WebRtcCallClient.connect(server.url) as call:
        with pytest.raises(ClientError, match="not a STUN or TURN server: malformed uri"):
            await call.invite(ice_servers=[IceServer(("http://x",))])


def test_importing_the_clients_imports_no_webrtc() -> None:
    assert module.check_webrtc() is None
    code = "import sys, salon.clients.call; sys.exit(bool({'aiortc', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
