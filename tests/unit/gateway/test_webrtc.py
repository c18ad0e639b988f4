"""A call's socket and its peer connection: G10, G44, G52, G87, G88, G145, G150, G151, G281."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from salon.gateway import SOCKET_ENDPOINTS, EventBus, Gateway, SessionServices
from salon.gateway.sounds import SoundLoader
from salon.gateway.webrtc import GRACE_S, MAX_EARLY_CANDIDATES, PATHS, WebRtcCalls, WebRtcTransport
from salon.testing import CallPair, silence, tone
from salon.transport.carriers import WebRtcCarrier
from salon.transport.packets import (
    AnotherSession,
    MediaPacket,
    NegotiationError,
    PacketPeer,
    PacketStatistics,
    PacketTrack,
    PayloadFormat,
    PeerOptions,
    PeerState,
)
from salon.voice.engine import VoiceEngine
from salon.voice.packet_leg import PacketLeg

L16 = PayloadFormat(96, "L16", 16_000)
KEYS = PayloadFormat(126, "telephone-event", 8_000)


class ScriptedTrack(PacketTrack):
    """Keeps what is sent; the test talks through `say`."""

    kind = "audio"

    def __init__(self, *formats: PayloadFormat) -> None:
        self.formats = formats or (L16, KEYS)
        self.sending = True
        self.on_packet: Callable[[MediaPacket], None] = lambda _packet: None
        self.sent: list[tuple[bytes, int, int, bool]] = []
        self._sequence = 0

    def send(
        self, payload: bytes, payload_type: int, timestamp: int, *, marker: bool = False
    ) -> None:
        self.sent.append((payload, payload_type, timestamp, marker))

    def packet(self, payload: bytes, payload_type: int = 96, timestamp: int = 0) -> None:
        """One packet of the caller."""
        now = asyncio.get_running_loop().time()
        self.on_packet(
            MediaPacket(payload, payload_type, self._sequence, timestamp, False, now, ssrc=5)
        )
        self._sequence += 1

    async def say(self, ms: int, *, loud: bool = True) -> None:
        """Sound in packets of 20 ms at their pace."""
        samples = tone(ms) if loud else silence(ms)
        for frame in samples.reshape(-1, 320):
            self.packet(frame.tobytes(), timestamp=self._sequence * 320)
            await asyncio.sleep(0.02)


class ScriptedPeer(PacketPeer):
    """Answers what the test says. `gate` holds an answer back, `fail` raises instead of it."""

    carrier: ClassVar[str] = "scripted"

    def __init__(self, options: PeerOptions, number: int) -> None:
        self.options = options
        self.number = number
        self.state = PeerState.NEW
        self.tracks: tuple[PacketTrack, ...] = ()
        self.on_state: Callable[[PeerState], None] = lambda _state: None
        self.offers: list[str] = []
        self.candidates: list[str] = []
        self.fail: NegotiationError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = 0
        self.closing = asyncio.Event()
        self.closing.set()
        self.connect_ms: float | None = 40.0

    async def answer(self, offer: str) -> str:
        self.offers.append(offer)
        await self.gate.wait()
        if self.fail is not None:
            raise self.fail
        self.tracks = (ScriptedTrack(),)
        return f"answer {self.number} to {offer}"

    def add_candidate(self, candidate: str) -> None:
        if candidate.startswith("bad"):
            raise NegotiationError(f"{candidate!r} is no candidate")
        self.candidates.append(candidate)

    def statistics(self) -> PacketStatistics:
        return PacketStatistics(packets_received=self.number, connect_ms=self.connect_ms)

    async def close(self) -> None:
        self.closed += 1
        await self.closing.wait()

    def become(self, state: PeerState) -> None:
        self.state = state
        self.on_state(state)

    @property
    def track(self) -> ScriptedTrack:
        track = self.tracks[0]
        assert isinstance(track, ScriptedTrack)
        return track


class Desk:
    """A gateway whose WebRTC calls are carried by scripted peers, and one call.

    `prepare` is given each peer as it is made."""

    def __init__(self, engine: VoiceEngine) -> None:
        self.peers: list[ScriptedPeer] = []
        self.prepare: Callable[[ScriptedPeer], None] = lambda _peer: None
        self.connects: list[float] = []
        self.ended: list[PacketStatistics] = []
        calls = WebRtcCalls(
            WebRtcCarrier("scripted", self._make),
            PeerOptions(external_ip="192.0.2.9"),
            on_connected=self.connects.append,
            on_statistics=self.ended.append,
        )
        self.gateway = Gateway(
            SessionServices(engine=engine, bus=EventBus(), sounds=SoundLoader(roots=())),
            max_calls=3,
            endpoints={**SOCKET_ENDPOINTS, **calls.paths()},
        )
        self.call = self.place("call-1")
        session = self.gateway.get("call-1")
        assert session is not None
        self.session = session

    def _make(self, options: PeerOptions) -> ScriptedPeer:
        peer = ScriptedPeer(options, len(self.peers) + 1)
        self.prepare(peer)
        self.peers.append(peer)
        return peer

    def place(self, name: str, path: str = "/webrtc") -> CallPair:
        return CallPair.connect(self.gateway.acceptor, f"{path}?id={name}")

    @property
    def transport(self) -> WebRtcTransport:
        assert isinstance(self.session.transport, WebRtcTransport)
        return self.session.transport

    async def connected(self, **option: Any) -> ScriptedPeer:
        """The call is answered and its connection is there."""
        await self.call.invite(offer="first", **option)
        self.peers[0].become(PeerState.CONNECTED)
        return self.peers[0]

    async def restart(self) -> ScriptedPeer:
        """The page offers another ICE session, which is answered but not connected yet."""
        self.peers[-1].fail = AnotherSession("other credentials")
        self.call.send({"command": "invite", "option": {"offer": "again"}})
        await self.call.expect("answer")
        return self.peers[-1]

    async def over(self) -> None:
        """The call has ended and every peer was let go of exactly once."""
        await self.call.closed()
        await self.session.done.wait()
        assert [peer.closed for peer in self.peers] == [1] * len(self.peers)
        assert self.gateway.calls == 0


@asynccontextmanager
async def opened(engine: VoiceEngine) -> AsyncIterator[Desk]:
    made = Desk(engine)
    try:
        yield made
    finally:
        await made.gateway.close()


@pytest.fixture
async def desk(engine: VoiceEngine) -> AsyncIterator[Desk]:
    async with opened(engine) as made:
        yield made


# -- the invite -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_G10_G145_an_offer_is_answered_and_sound_goes_both_ways(
    desk: Desk, path: str
) -> None:
    call = desk.place("other", path)
    answer = await call.invite(offer="mine", vad={})
    assert answer["sdp"] == "answer 1 to mine"
    assert call.names == ["trackStart", "answer"]
    (peer,) = desk.peers
    peer.become(PeerState.CONNECTED)
    await peer.track.say(1000)
    assert call.of("speaking")
    call.send({"command": "tts", "text": "hello", "option": {}})
    await call.expect("trackEnd")
    assert {kind for _, kind, _, _ in peer.track.sent} == {96}
    assert any(any(payload) for payload, *_ in peer.track.sent)
    assert call.audio == []
    rows = {row["id"]: row["callType"] for row in desk.gateway.list_calls()}
    assert rows["other"] == "webrtc"


async def test_G149_every_peer_gets_what_the_server_is_set_to(desk: Desk) -> None:
    await desk.call.invite(offer="mine", enableIpv6=True)
    await desk.place("second").invite(offer="mine")
    first, second = (peer.options for peer in desk.peers)
    assert first == PeerOptions(external_ip="192.0.2.9", ipv6=True)
    assert second == PeerOptions(external_ip="192.0.2.9")


async def test_G281_the_first_frame_may_be_a_bare_offer(desk: Desk) -> None:
    desk.call.send({"sdp": "v=0", "type": "offer"})
    assert (await desk.call.expect("answer"))["sdp"] == "answer 1 to v=0"


@pytest.mark.parametrize(
    "frame",
    [
        {"sdp": "v=0", "type": "answer"},
        {"sdp": "v=0"},
        {"sdp": 5, "type": "offer"},
        {"type": "offer"},
        '{"sdp": "v=0", "type": "offer"',
        '["sdp"]',
        '{"sdp": "v=0", "type": "offer", "\\u0063ommand": "nonsense"}',
    ],
)
async def test_G281_any_other_first_frame_is_an_error_and_the_call_goes_on(
    desk: Desk, frame: Any
) -> None:
    desk.call.send(frame)
    error = await desk.call.expect("error")
    assert (error["sender"], error["code"]) == ("command", 400)
    assert desk.peers == []
    await desk.call.invite(offer="mine")


async def test_G281_an_invite_whose_offer_holds_the_word_is_an_invite(desk: Desk) -> None:
    await desk.call.invite(offer='"sdp"')
    assert desk.peers[0].offers == ['"sdp"']


@pytest.mark.parametrize("option", [{}, {"offer": ""}])
async def test_an_invite_without_an_offer_ends_the_call(desk: Desk, option: Any) -> None:
    desk.call.send({"command": "invite", "option": option})
    error = await desk.call.expect("error")
    assert error["sender"] == "invite"
    assert "offer" in error["error"]
    assert await desk.call.closed() == 1011
    assert desk.peers == []


async def test_G33_an_offer_that_is_not_taken_ends_the_call(desk: Desk) -> None:
    desk.prepare = lambda peer: setattr(peer, "fail", NegotiationError("no audio"))
    desk.call.send({"command": "invite", "option": {"offer": "mine"}})
    assert (await desk.call.expect("error"))["error"] == "no audio"
    assert (await desk.call.expect("hangup"))["reason"] == "failed"
    await desk.over()


@pytest.mark.parametrize("vanish", [False, True])
async def test_G34_a_call_that_ends_during_its_answer_lets_go_of_the_peer(
    desk: Desk, vanish: bool
) -> None:
    desk.prepare = lambda peer: peer.gate.clear()
    desk.call.send({"command": "invite", "option": {"offer": "mine"}})
    await asyncio.sleep(1)
    if vanish:
        desk.call.vanish()
    else:
        desk.call.send({"command": "hangup"})
    await desk.over()
    assert "answer" not in desk.call.names
    assert "trackStart" not in desk.call.names


async def test_G44_binary_frames_are_discarded(desk: Desk) -> None:
    desk.call.send_bytes(tone(20).tobytes())
    await desk.connected(inactivityTimeout=5)
    for _ in range(4):
        desk.call.send_bytes(tone(20).tobytes())
        await asyncio.sleep(1)
    session = desk.session
    assert (session.media.frames_in, session.early.size) == (0, 0)
    await desk.call.expect("inactivity", timeout=2.5)


async def test_G136_packets_of_the_connection_keep_the_call(desk: Desk) -> None:
    peer = await desk.connected(inactivityTimeout=5)
    for _ in range(4):
        await peer.track.say(20, loud=False)
        await asyncio.sleep(3)
    assert not desk.call.of("inactivity")


@pytest.mark.parametrize("muted", [False, True])
async def test_G87_G151_keys_are_told_unless_the_caller_is_muted(desk: Desk, muted: bool) -> None:
    peer = await desk.connected()
    if muted:
        desk.call.send({"command": "mute", "trackId": "call-1"})
        await asyncio.sleep(0.1)
    for timestamp, duration in ((0, 160), (0, 320), (4000, 160)):
        peer.track.packet(bytes([5, 10]) + duration.to_bytes(2, "big"), 126, timestamp)
    await asyncio.sleep(0.1)
    assert [event["digit"] for event in desk.call.of("dtmf")] == ([] if muted else ["5", "5"])
    if muted:
        desk.call.send({"command": "unmute", "trackId": "call-1"})
        await asyncio.sleep(0.1)
        peer.track.packet(bytes([6, 10, 0, 160]), 126, 9000)
        assert (await desk.call.expect("dtmf"))["digit"] == "6"


# -- candidates -----------------------------------------------------------------------------------


async def test_G88_candidates_reach_the_peer_early_or_late(desk: Desk) -> None:
    for candidate in ("early", "bad early", ""):
        desk.call.send({"command": "addIceCandidate", "candidate": candidate})
    await asyncio.sleep(0.1)
    assert not desk.call.of("error")
    await desk.call.invite(offer="mine")
    for candidate in ("late", "bad late", ""):
        desk.call.send({"command": "addIceCandidate", "candidate": candidate})
    await asyncio.sleep(0.1)
    assert desk.peers[0].candidates == ["early", "", "late", ""]
    errors = desk.call.of("error")
    assert [error["sender"] for error in errors] == ["command", "command"]
    assert "'bad early'" in errors[0]["error"]
    assert "'bad late'" in errors[1]["error"]
    assert desk.call.socket.code is None


async def test_G88_candidates_during_the_answer_wait_for_it(desk: Desk) -> None:
    desk.prepare = lambda peer: peer.gate.clear()
    desk.call.send({"command": "invite", "option": {"offer": "mine"}})
    await asyncio.sleep(0.1)
    desk.call.send({"command": "addIceCandidate", "candidate": "meanwhile"})
    desk.transport.add_candidate("at once")
    await asyncio.sleep(0.1)
    assert desk.peers[0].candidates == []
    desk.peers[0].gate.set()
    await desk.call.expect("answer")
    await asyncio.sleep(0.1)
    assert desk.peers[0].candidates == ["at once", "meanwhile"]


async def test_G88_no_more_than_a_bounded_number_is_kept(desk: Desk) -> None:
    for number in range(MAX_EARLY_CANDIDATES + 50):
        desk.call.send({"command": "addIceCandidate", "candidate": str(number)})
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    await desk.call.invite(offer="mine")
    assert len(desk.peers[0].candidates) == MAX_EARLY_CANDIDATES


# -- a second offer -------------------------------------------------------------------------------


async def test_G52_an_offer_of_the_same_session_is_answered_by_the_same_peer(desk: Desk) -> None:
    peer = await desk.connected(vad={})
    old = peer.track
    await old.say(500, loud=False)
    desk.call.send({"command": "invite", "option": {"offer": "second"}})
    assert (await desk.call.expect("answer"))["sdp"] == "answer 1 to second"
    assert peer.track is not old
    await peer.track.say(1000)
    assert desk.call.of("speaking")
    desk.call.send({"command": "tts", "text": "hello", "option": {}})
    before = len(old.sent)
    await desk.call.expect("trackEnd")
    assert len(old.sent) == before
    assert peer.track.sent
    assert len(desk.peers) == 1
    assert desk.call.names.count("trackStart") == 2  # the caller's and the server's


async def test_G52_a_second_invite_without_an_offer_leaves_the_call(desk: Desk) -> None:
    await desk.connected()
    desk.call.send({"command": "invite", "option": {}})
    assert (await desk.call.expect("error"))["sender"] == "invite"
    await asyncio.sleep(2 * GRACE_S)
    assert desk.call.socket.code is None


async def test_G52_an_offer_that_is_wrong_leaves_the_connection(desk: Desk) -> None:
    peer = await desk.connected()
    peer.fail = NegotiationError("not that")
    desk.call.send({"command": "invite", "option": {"offer": "wrong"}})
    assert (await desk.call.expect("error"))["error"] == "not that"
    assert (len(desk.peers), peer.closed) == (1, 0)
    await asyncio.sleep(2 * GRACE_S)
    assert desk.call.socket.code is None


async def test_another_ice_session_takes_over_as_soon_as_it_is_connected(desk: Desk) -> None:
    first = await desk.connected(vad={})
    second = await desk.restart()
    assert desk.call.of("answer")[-1]["sdp"] == "answer 2 to again"
    assert (first.options.fresh_identity, second.options.fresh_identity) == (False, True)
    desk.call.send({"command": "addIceCandidate", "candidate": "new network"})
    desk.call.send({"command": "tts", "text": "something long to say", "option": {}})
    await asyncio.sleep(0.2)
    assert (first.candidates, second.candidates) == ([], ["new network"])
    assert first.track.sent  # the old one carries until then
    assert not second.track.sent
    second.become(PeerState.CONNECTED)
    before = len(first.track.sent)
    await desk.call.expect("trackEnd")
    assert len(first.track.sent) == before
    assert second.track.sent
    assert first.closed == 1
    first.become(PeerState.CLOSED)  # says nothing any more
    await second.track.say(1000)
    assert desk.call.of("speaking")
    await asyncio.sleep(2 * GRACE_S)
    assert not [event for event in desk.call.of("trackEnd") if event["trackId"] == "call-1"]
    assert desk.connects == [0.04, 0.04]
    desk.call.send({"command": "hangup"})
    await desk.over()
    assert [figures.packets_received for figures in desk.ended] == [2]


@pytest.mark.parametrize("state", [PeerState.FAILED, PeerState.CLOSED])
async def test_a_new_connection_that_fails_leaves_the_old_one(
    desk: Desk, state: PeerState
) -> None:
    first = await desk.connected()
    second = await desk.restart()
    second.become(PeerState.CONNECTING)
    second.become(state)
    await asyncio.sleep(2 * GRACE_S)
    assert (first.closed, second.closed) == (0, 1)
    desk.call.send({"command": "tts", "text": "hello", "option": {}})
    await desk.call.expect("trackEnd")
    assert first.track.sent
    assert not second.track.sent
    desk.call.send({"command": "hangup"})
    await desk.over()


async def test_what_a_new_connection_does_during_its_answer_changes_nothing(desk: Desk) -> None:
    first = await desk.connected()
    first.fail = AnotherSession("other credentials")
    desk.prepare = lambda peer: peer.gate.clear()
    desk.call.send({"command": "invite", "option": {"offer": "again"}})
    await asyncio.sleep(0.1)
    desk.peers[1].become(PeerState.CONNECTING)
    desk.peers[1].gate.set()
    await desk.call.expect("answer")
    desk.peers[1].become(PeerState.CONNECTED)
    await asyncio.sleep(0.1)
    assert [peer.closed for peer in desk.peers] == [1, 0]


async def test_an_offer_that_another_peer_does_not_take_either_leaves_the_old_one(
    desk: Desk,
) -> None:
    first = await desk.connected()
    first.fail = AnotherSession("other credentials")
    desk.prepare = lambda peer: setattr(peer, "fail", NegotiationError("nor that"))
    desk.call.send({"command": "invite", "option": {"offer": "wrong"}})
    assert (await desk.call.expect("error"))["error"] == "nor that"
    await asyncio.sleep(0.1)
    assert [peer.closed for peer in desk.peers] == [0, 1]
    desk.call.send({"command": "hangup"})
    await desk.over()


async def test_a_connection_that_waits_gives_way_to_a_newer_one(desk: Desk) -> None:
    await desk.connected()
    await desk.restart()
    third = await desk.restart()
    await asyncio.sleep(0.1)
    assert [peer.closed for peer in desk.peers] == [0, 1, 0]
    third.become(PeerState.CONNECTED)
    await asyncio.sleep(0.1)
    assert [peer.closed for peer in desk.peers] == [1, 1, 0]


async def test_an_offer_of_the_session_that_waits_is_answered_there(desk: Desk) -> None:
    first = await desk.connected()
    second = await desk.restart()
    desk.call.send({"command": "invite", "option": {"offer": "more"}})
    assert (await desk.call.expect("answer"))["sdp"] == "answer 2 to more"
    desk.call.send({"command": "tts", "text": "hello", "option": {}})
    await desk.call.expect("trackEnd")
    assert first.track.sent
    assert not second.track.sent


@pytest.mark.parametrize("state", [PeerState.FAILED, PeerState.CLOSED])
async def test_a_dead_connection_is_followed_by_a_new_one_whatever_is_offered(
    desk: Desk, state: PeerState
) -> None:
    first = await desk.connected()
    first.become(state)
    first.fail = NegotiationError("closed")
    desk.call.send({"command": "invite", "option": {"offer": "again"}})
    assert (await desk.call.expect("answer"))["sdp"] == "answer 2 to again"
    desk.peers[1].become(PeerState.CONNECTED)
    await asyncio.sleep(2 * GRACE_S)
    assert desk.call.socket.code is None
    assert desk.call.names == ["trackStart", "answer", "trackEnd", "answer", "trackStart"]


async def test_a_call_that_ends_with_two_connections_lets_go_of_both(desk: Desk) -> None:
    await desk.connected()
    await desk.restart()
    assert await desk.gateway.kill("call-1")
    await desk.over()


async def test_G34_a_hangup_during_another_answer_lets_go_of_both_peers(desk: Desk) -> None:
    first = await desk.connected()
    first.fail = AnotherSession("other credentials")
    desk.prepare = lambda peer: peer.gate.clear()
    desk.call.send({"command": "invite", "option": {"offer": "again"}})
    await asyncio.sleep(0.1)
    desk.call.send({"command": "hangup"})
    await desk.over()
    assert len(desk.peers) == 2


# -- the connection -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [PeerState.DISCONNECTED, PeerState.FAILED, PeerState.CLOSED])
async def test_G150_a_connection_that_is_gone_ends_the_call_after_a_grace_period(
    desk: Desk, state: PeerState
) -> None:
    peer = await desk.connected()
    await asyncio.sleep(2)
    peer.become(state)
    (end,) = desk.call.of("trackEnd")
    assert (end["trackId"], end["duration"]) == ("call-1", 2000)
    await asyncio.sleep(GRACE_S - 0.1)
    assert desk.call.socket.code is None
    hangup = await desk.call.expect("hangup", timeout=1)
    assert hangup["reason"] == "caller"
    await desk.over()
    assert desk.session.outcome == "lost"
    assert desk.call.names == ["trackStart", "answer", "trackEnd", "hangup"]


async def test_G150_getting_worse_does_not_begin_the_grace_period_anew(desk: Desk) -> None:
    peer = await desk.connected()
    peer.become(PeerState.DISCONNECTED)
    await asyncio.sleep(GRACE_S - 1)
    peer.become(PeerState.FAILED)
    assert len(desk.call.of("trackEnd")) == 1
    await desk.call.expect("hangup", timeout=1.5)


async def test_G150_a_connection_that_comes_back_keeps_the_call(desk: Desk) -> None:
    peer = await desk.connected()
    for _ in range(2):
        peer.become(PeerState.DISCONNECTED)
        await asyncio.sleep(GRACE_S - 1)
        peer.become(PeerState.CONNECTED)
        peer.become(PeerState.CONNECTED)
        await asyncio.sleep(GRACE_S + 1)
    assert desk.call.socket.code is None
    assert desk.call.names == ["trackStart", "answer", *["trackEnd", "trackStart"] * 2]


async def test_G150_a_connection_that_never_comes_ends_the_call(desk: Desk) -> None:
    await desk.call.invite(offer="mine")
    desk.peers[0].become(PeerState.CONNECTING)
    desk.peers[0].become(PeerState.FAILED)
    await desk.call.expect("hangup", timeout=GRACE_S + 1)
    await desk.over()


async def test_G150_a_call_that_ends_during_the_grace_period_ends_once(desk: Desk) -> None:
    peer = await desk.connected()
    peer.become(PeerState.DISCONNECTED)
    desk.call.send({"command": "hangup"})
    await desk.over()
    await asyncio.sleep(2 * GRACE_S)
    assert desk.call.names.count("hangup") == 1
    assert desk.call.names.count("trackEnd") == 1


async def test_a_connection_without_a_known_time_is_not_measured(desk: Desk) -> None:
    desk.prepare = lambda peer: setattr(peer, "connect_ms", None)
    await desk.connected()
    assert desk.connects == []


# -- the end --------------------------------------------------------------------------------------


async def _hung_up(desk: Desk) -> None:
    desk.call.send({"command": "hangup"})


async def _left(desk: Desk) -> None:
    desk.call.close()


async def _vanished(desk: Desk) -> None:
    desk.call.vanish()


async def _killed(desk: Desk) -> None:
    await desk.gateway.kill("call-1")


async def _drained(desk: Desk) -> None:
    await desk.gateway.close()


@pytest.mark.parametrize("way", [_hung_up, _left, _vanished, _killed, _drained])
async def test_every_end_of_a_call_closes_its_peer(desk: Desk, way: Any) -> None:
    peer = await desk.connected()
    assert isinstance(desk.session.media.leg, PacketLeg)
    await way(desk)
    await desk.over()
    assert len(desk.ended) == 1
    before = len(peer.track.sent)
    await peer.track.say(100)
    assert len(peer.track.sent) == before
    peer.become(PeerState.CLOSED)
    await asyncio.sleep(2 * GRACE_S)


async def test_a_call_that_was_never_invited_has_nothing_to_close(desk: Desk) -> None:
    desk.call.send({"command": "hangup"})
    await desk.over()
    assert desk.ended == []


async def test_G321_a_peer_that_does_not_close_holds_nobody_up(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await desk.connected()
    peer.closing.clear()
    with caplog.at_level(logging.WARNING):
        desk.call.send({"command": "hangup"})
        assert await desk.call.closed(timeout=5.0) == 1000
    assert "call-1" in caplog.text
    peer.closing.set()
    await asyncio.sleep(0.1)
    assert peer.closed == 1


async def test_G200_a_limit_of_calls_counts_both_kinds(desk: Desk) -> None:
    desk.place("second", "/ws")
    desk.place("third")
    with pytest.raises(Exception, match="503"):
        desk.place("fourth")
    with pytest.raises(Exception, match="503"):
        desk.place("fifth", "/ws")
