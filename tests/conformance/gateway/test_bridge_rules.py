"""The rules of bridges between two calls: G85, G86, G87, T30."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.gateway.house import House, house
from tests.conformance.gateway.scripted_peer import KEYS, ScriptedPeer, ScriptedTrack

from salon.gateway import SOCKET_ENDPOINTS, CallOption, CallQuery, Session
from salon.gateway.bridging import MAX_BRIDGES, Bridges
from salon.gateway.handlers import ControllerHandler
from salon.gateway.rights import CallRights
from salon.gateway.webrtc import WebRtcCalls
from salon.media import Samples
from salon.media.packet_codecs import make_packet_decoder, make_packet_encoder
from salon.media.telephone_event import TelephoneEventReceiver, telephone_event_packets
from salon.testing import CallPair, tone, virtual_time
from salon.transport.carriers import WebRtcCarrier
from salon.transport.packets import PayloadFormat, PeerOptions, PeerState
from salon.voice.recorder import RecordingWriter, StereoRecorder

OPUS = PayloadFormat(111, "opus", 48_000, 2)
BRIDGE_B = {"command": "bridge", "targetSessionId": "b"}
UNBRIDGE_B = {"command": "unbridge", "targetSessionId": "b"}


def loudness(samples: Samples) -> float:
    return float(np.abs(samples.astype(float)).mean()) if len(samples) else 0.0


def pitch(samples: Samples) -> float:
    """The strongest frequency, Hz."""
    spectrum = np.abs(np.fft.rfft(samples.astype(float)))
    return float(spectrum.argmax() * 16_000 / len(samples))


class Peer(ScriptedPeer):
    """One that agrees on `formats`."""

    def __init__(self, options: PeerOptions, number: int, formats: tuple[PayloadFormat, ...]):
        super().__init__(options, number)
        self.formats = formats

    async def answer(self, offer: str) -> str:
        sdp = await super().answer(offer)
        self.tracks = (ScriptedTrack(*self.formats),)
        return sdp


class Switchboard:
    """A house with bridges and scripted WebRTC."""

    def __init__(self, at: House, bridges: Bridges) -> None:
        self.at = at
        self.bridges = bridges
        self.peers: list[ScriptedPeer] = []
        self.formats: tuple[PayloadFormat, ...] = ()
        calls = WebRtcCalls(WebRtcCarrier("scripted", self._make), PeerOptions())
        at.gateway.endpoints = {**SOCKET_ENDPOINTS, **calls.paths()}

    def _make(self, options: PeerOptions) -> ScriptedPeer:
        self.peers.append(Peer(options, len(self.peers) + 1, self.formats))
        return self.peers[-1]

    async def pair(self, one: str = "pcm", other: str = "pcm") -> tuple[CallPair, CallPair]:
        """Two answered calls, a and b."""
        made = []
        for name, codec in (("a", one), ("b", other)):
            call = self.at.connect(f"/ws?id={name}", codec=codec)
            await call.invite(codec=codec)
            made.append(call)
        return made[0], made[1]

    async def rtc(self, name: str) -> tuple[CallPair, ScriptedPeer]:
        call = self.at.connect(f"/webrtc?id={name}")
        await call.invite(offer="offer")
        peer = self.peers[-1]
        peer.become(PeerState.CONNECTED)
        return call, peer


@asynccontextmanager
async def switchboard(*, forward_dtmf: bool = False, **services: Any) -> AsyncIterator[Switchboard]:
    bridges = Bridges(forward_dtmf=forward_dtmf)
    async with house(
        (),
        max_calls=20,
        actions=bridges.actions(),
        companions=bridges.companions,
        **services,
    ) as at:
        yield Switchboard(at, bridges)


async def bridged(call: CallPair, **more: Any) -> None:
    call.send({**BRIDGE_B, **more})
    await call.expect("trackStart", trackId="bridge:a:to:b")


# -- what a bridge carries ------------------------------------------------------------------------


@virtual_time
async def test_T30_sound_crosses_and_closing_one_leaves_the_other() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        await bridged(a)
        await asyncio.gather(a.send_audio(tone(1000, 440)), b.send_audio(tone(1000, 1000)))
        await asyncio.sleep(0.2)
        assert pitch(a.sound) == pytest.approx(1000, abs=20)
        assert pitch(b.sound) == pytest.approx(440, abs=20)
        assert len(a.audio) == pytest.approx(50, abs=3)
        a.send({"command": "hangup"})
        assert await a.closed() == 1000
        heard = len(b.audio)
        await b.send_audio(tone(300))
        b.send({"command": "tts", "text": "still here"})
        await b.expect("trackEnd", trackId="server-side-track")
        assert len(b.audio) > heard
        assert board.bridges.count == 0


@virtual_time
async def test_T30_a_vanished_call_leaves_the_other_and_its_name_may_be_bridged_again() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        await bridged(a)
        b.vanish()
        await asyncio.sleep(3)
        assert board.bridges.count == 0
        assert not board.at.session("a").hidden_tracks
        assert board.at.session("a").media.sources == []
        assert not a.of("trackEnd")
        again = await board.at.call("/ws?id=b")
        await bridged(a)
        await a.send_audio(tone(300))
        assert loudness(again.sound) > 1000


@virtual_time
@pytest.mark.parametrize("codec", ["pcmu", "pcma", "g722"])
async def test_T30_each_side_keeps_its_codec(codec: str) -> None:
    async with switchboard() as board:
        a, b = await board.pair("pcm", codec)
        await bridged(a)
        await asyncio.gather(a.send_audio(tone(1000, 440)), b.send_audio(tone(1000, 1000)))
        await asyncio.sleep(0.2)
        assert {len(bytes(frame.data)) for frame in b.audio} == {160}  # type: ignore[arg-type]
        assert {len(bytes(frame.data)) for frame in a.audio} == {640}  # type: ignore[arg-type]
        assert pitch(a.sound) == pytest.approx(1000, abs=25)
        assert pitch(b.sound) == pytest.approx(440, abs=25)


@virtual_time
async def test_T30_a_websocket_call_and_a_webrtc_call_hear_each_other() -> None:
    async with switchboard() as board:
        a = await board.at.call("/ws?id=a")
        b, peer = await board.rtc("b")
        await bridged(a)
        await asyncio.gather(a.send_audio(tone(1000, 440)), peer.track.say(1000))
        await asyncio.sleep(0.3)
        assert loudness(a.sound) > 1000
        packets = [payload for payload, kind, *_ in peer.track.sent if kind == 96]
        assert pitch(np.frombuffer(b"".join(packets), np.int16)[:16_000]) == pytest.approx(440, 30)
        stamps = [stamp for _, kind, stamp, _ in peer.track.sent if kind == 96]
        assert set(np.diff(stamps)) == {320}
        b.send({"command": "hangup"})
        await b.closed()
        assert a.names[-1] != "hangup"


@virtual_time
@pytest.mark.parametrize("codec", ["pcmu", "g722"])
async def test_T30_opus_and_telephone_codecs_meet(codec: str) -> None:
    async with switchboard() as board:
        board.formats = (OPUS, KEYS)
        a = board.at.connect("/ws?id=a", codec=codec)
        await a.invite(codec=codec)
        _, peer = await board.rtc("b")
        await bridged(a)
        encoder = make_packet_encoder("opus", {})
        talk = asyncio.create_task(a.send_audio(tone(1500, 440)))
        for number, frame in enumerate(tone(1500, 1000).reshape(-1, 320)):
            peer.track.packet(encoder.encode(frame), 111, number * 960)
            await asyncio.sleep(0.02)
        await talk
        assert pitch(a.sound[8000:16_000]) == pytest.approx(1000, abs=25)
        decoder = make_packet_decoder("opus", 48_000)
        heard = [decoder.decode(payload) for payload, kind, *_ in peer.track.sent if kind == 111]
        assert pitch(np.concatenate(heard)[8000:16_000]) == pytest.approx(440, abs=25)


@virtual_time
async def test_G85_sound_is_told_within_a_few_frames() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        await bridged(a)
        began = asyncio.get_running_loop().time()
        await a.send_audio(tone(200))
        assert b.audio[0].at - began <= 0.08


@virtual_time
async def test_G85_the_queue_holds_half_a_second_and_then_drops() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        await bridged(a)
        for _ in range(200):  # 4 s in one moment
            a.send_bytes(tone(20).tobytes())
        figures = board.bridges.statistics(board.at.session("b"))["a"]
        assert figures.waiting == 25
        assert figures.dropped == 175
        await asyncio.sleep(2)
        assert len(b.audio) == 25


@virtual_time
async def test_G85_an_own_clock_too_fast_does_not_add_delay() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        await bridged(a)
        for number in range(1000):
            a.send_bytes(tone(20, level=0.3).tobytes())
            await asyncio.sleep(0.0196 if number else 0.1)
        figures = board.bridges.statistics(board.at.session("b"))["a"]
        assert figures.waiting <= 8
        assert figures.shed > 10
        assert not figures.dropped
        assert not b.of("error")


@virtual_time
async def test_G85_the_server_track_and_the_events_of_each_stay_its_own() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        await bridged(a)
        a.send({"command": "tts", "text": "only for a"})
        await a.expect("trackEnd", trackId="server-side-track")
        assert not b.audio
        assert not b.of("trackStart", trackId="server-side-track")
        for call in (a, b):
            assert not [event for event in call.of("trackEnd") if "bridge" in event["trackId"]]


@virtual_time
async def test_G85_both_sides_are_told_of_their_hidden_track() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        await bridged(a)
        assert [event["trackId"] for event in a.of("trackStart")] == ["a", "bridge:a:to:b"]
        assert [event["trackId"] for event in b.of("trackStart")] == ["b", "bridge:b:to:a"]
        assert board.at.session("b").hidden_tracks == {"bridge:b:to:a"}


@virtual_time
async def test_G85_a_repeat_replaces() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        await bridged(a)
        b.send({"command": "bridge", "targetSessionId": "a"})
        await a.expect("trackStart", trackId="bridge:a:to:b")
        assert board.bridges.count == 1
        await a.send_audio(tone(1000))
        assert len(b.audio) == pytest.approx(50, abs=3)
        assert len(board.at.session("a").media.taps) == 1
        assert len(board.at.session("a").media.sources) == 1


@virtual_time
async def test_G85_a_ring_of_bridges_gives_no_echo() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        c = await board.at.call("/ws?id=c")
        await bridged(a)
        b.send({"command": "bridge", "targetSessionId": "c"})
        c.send({"command": "bridge", "targetSessionId": "a"})
        await asyncio.sleep(0.1)
        assert board.bridges.count == 3
        await a.send_audio(tone(500))
        await asyncio.sleep(0.5)
        assert not a.audio
        assert loudness(b.sound) == pytest.approx(loudness(c.sound), rel=0.05)


# -- what is refused ------------------------------------------------------------------------------


@virtual_time
@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("nobody", "bridge target session not found: nobody"),
        ("a", "cannot bridge a call to itself"),
    ],
)
async def test_G85_what_cannot_be_bridged_is_an_error(target: str, why: str) -> None:
    async with switchboard() as board:
        a = await board.at.call("/ws?id=a")
        a.send({"command": "bridge", "targetSessionId": target})
        error = await a.expect("error")
        assert (error["sender"], error["error"]) == ("command", why)
        assert not board.at.session("a").hidden_tracks
        a.send({"command": "custom", "data": 1})
        await a.expect("custom")


@virtual_time
async def test_G85_a_call_that_ends_is_not_bridged_to() -> None:
    async with switchboard() as board:
        a, _ = await board.pair()
        board.at.session("b").hangup("enough")
        a.send(BRIDGE_B)
        assert (await a.expect("error"))["error"].startswith("bridge target session not found")


class _InRoom(ControllerHandler):
    room_id = "kitchen"


@virtual_time
async def test_G85_a_call_in_a_room_is_not_bridged() -> None:
    def handler_for(query: CallQuery) -> ControllerHandler:
        return _InRoom() if query.id == "b" else ControllerHandler()

    async with switchboard(handler_for=handler_for) as board:
        a, b = await board.pair()
        a.send(BRIDGE_B)
        assert "is in a room" in (await a.expect("error"))["error"]
        b.send({"command": "bridge", "targetSessionId": "a"})
        assert "is in a room" in (await b.expect("error"))["error"]


@virtual_time
async def test_G85_who_may_not_reach_into_other_calls_is_told() -> None:
    def rights_for(query: CallQuery) -> CallRights:
        return CallRights(bridge=query.id != "a")

    async with switchboard(rights_for=rights_for) as board:
        a, b = await board.pair()
        a.send(BRIDGE_B)
        assert (await a.expect("error"))["error"] == "this call may not be bridged"
        assert not b.of("trackStart", trackId="bridge:b:to:a")


@virtual_time
async def test_G85_a_call_has_only_so_many_bridges() -> None:
    async with switchboard() as board:
        a = await board.at.call("/ws?id=a")
        for number in range(MAX_BRIDGES + 1):
            await board.at.call(f"/ws?id=b{number}")
            a.send({"command": "bridge", "targetSessionId": f"b{number}"})
        assert "more than" in (await a.expect("error"))["error"]
        assert board.bridges.count == MAX_BRIDGES
        a.send({"command": "bridge", "targetSessionId": "b0"})  # replaced, not one more
        await a.expect("trackStart", trackId="bridge:a:to:b0")
        a.send({"command": "hangup"})
        await a.closed()
        assert board.bridges.count == 0


# -- G86, G87 -------------------------------------------------------------------------------------


@virtual_time
async def test_G86_unbridge_separates_and_is_never_an_error() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        await bridged(a)
        b.send({"command": "unbridge", "targetSessionId": "a"})
        await asyncio.sleep(0.1)
        await asyncio.gather(a.send_audio(tone(300)), b.send_audio(tone(300)))
        assert not a.audio
        assert not b.audio
        for target in ("b", "a", "nobody"):
            a.send({"command": "unbridge", "targetSessionId": target})
        await asyncio.sleep(0.1)
        assert not a.of("error")
        assert not a.of("trackEnd")
        assert board.at.session("a").media.taps == []
        assert board.at.session("b").hidden_tracks == set()


@virtual_time
async def test_G86_with_the_other_call_gone_is_no_error() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        await bridged(a)
        b.vanish()
        a.send(UNBRIDGE_B)
        await asyncio.sleep(3)
        a.send(UNBRIDGE_B)
        await asyncio.sleep(0.1)
        assert not a.of("error")
        assert board.bridges.count == 0


@virtual_time
async def test_G87_a_muted_caller_is_silent_across_the_bridge() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        await bridged(a)
        a.send({"command": "mute", "trackId": "a"})
        await asyncio.sleep(0.1)
        await a.send_audio(tone(300))
        assert loudness(b.sound) == 0
        a.send({"command": "unmute", "trackId": "a"})
        await asyncio.sleep(0.1)
        await a.send_audio(tone(300))
        assert loudness(b.sound) > 1000


@virtual_time
async def test_G87_the_hidden_track_can_be_muted() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        await bridged(a)
        a.send({"command": "mute", "trackId": "bridge:a:to:b"})
        await asyncio.sleep(0.1)
        await asyncio.gather(a.send_audio(tone(300)), b.send_audio(tone(300)))
        assert not a.audio
        assert loudness(b.sound) > 1000
        a.send({"command": "unmute", "trackId": "bridge:a:to:b"})
        await asyncio.sleep(0.1)
        await b.send_audio(tone(300))
        assert loudness(a.sound) > 1000


@virtual_time
async def test_G87_a_new_bridge_is_not_muted() -> None:
    async with switchboard() as board:
        a, b = await board.pair()
        await bridged(a)
        a.send({"command": "mute", "trackId": "bridge:a:to:b"})
        await asyncio.sleep(0.1)
        await bridged(a)
        await b.send_audio(tone(300))
        assert loudness(a.sound) > 1000


# -- keys -----------------------------------------------------------------------------------------


def press(peer: ScriptedPeer, digit: str, at: int) -> None:
    for payload, _, _ in telephone_event_packets(digit, 100):
        peer.track.packet(payload, 126, at)


def pressed(peer: ScriptedPeer) -> str:
    """The keys a WebRTC caller is sent."""
    receiver = TelephoneEventReceiver()
    found = (
        receiver.feed(payload, stamp, marker)
        for payload, kind, stamp, marker in peer.track.sent
        if kind == 126
    )
    return "".join(digit for digit in found if digit)


@virtual_time
async def test_G85_keys_are_not_passed_on() -> None:
    async with switchboard() as board:
        a, mine = await board.rtc("a")
        b, other = await board.rtc("b")
        await bridged(a)
        press(mine, "5", 8000)
        await asyncio.sleep(1)
        assert [event["digit"] for event in a.of("dtmf")] == ["5"]
        assert not b.of("dtmf")
        assert pressed(other) == ""


@virtual_time
async def test_keys_are_passed_on_where_that_is_asked_for() -> None:
    async with switchboard(forward_dtmf=True) as board:
        a, mine = await board.rtc("a")
        b, other = await board.rtc("b")
        await bridged(a)
        for number, digit in enumerate("5#5"):
            press(mine, digit, 8000 * (number + 1))
        await asyncio.sleep(2)
        assert pressed(other) == "5#5"
        assert not b.of("dtmf")
        a.send({"command": "mute", "trackId": "a"})
        await asyncio.sleep(0.1)
        press(mine, "1", 80_000)
        b.send({"command": "mute", "trackId": "bridge:b:to:a"})
        a.send({"command": "unmute", "trackId": "a"})
        await asyncio.sleep(0.1)
        press(mine, "2", 90_000)
        await asyncio.sleep(1)
        assert pressed(other) == "5#5"


@virtual_time
async def test_a_websocket_call_has_no_way_to_carry_keys_and_nothing_breaks() -> None:
    async with switchboard(forward_dtmf=True) as board:
        a, mine = await board.rtc("a")
        b = await board.at.call("/ws?id=b")
        await bridged(a)
        press(mine, "5", 8000)
        await mine.track.say(300)
        assert not b.of("dtmf")
        assert not b.of("error")
        assert loudness(b.sound) > 1000


# -- recording ------------------------------------------------------------------------------------


@virtual_time
async def test_G215_a_recording_holds_what_came_over_the_bridge(tmp_path: Path) -> None:
    writer = RecordingWriter()

    def recorder_for(session: Session, _option: CallOption) -> StereoRecorder:
        return StereoRecorder(tmp_path / f"{session.id}.wav", writer)

    try:
        async with switchboard(recorder_for=recorder_for) as board:
            a, b = await board.pair("pcm", "pcmu")
            await bridged(a)
            await asyncio.gather(a.send_audio(tone(1000, 440)), b.send_audio(tone(1000, 1000)))
            await asyncio.sleep(0.3)
            for call in (a, b):
                call.send({"command": "hangup"})
                await call.closed()
    finally:
        await asyncio.to_thread(writer.close)
    for name, own, others in (("a", 440, 1000), ("b", 1000, 440)):
        left, right = channels(tmp_path / f"{name}.wav")
        assert pitch(left[:16_000]) == pytest.approx(own, abs=25)
        assert pitch(right[1600:16_000]) == pytest.approx(others, abs=25)


def channels(path: Path) -> tuple[Samples, Samples]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 16_000)
        both = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)
    return both[:, 0], both[:, 1]
