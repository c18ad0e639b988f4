"""An invite over WebRTC: G10, G44, G52, G87, G88, G145, G151, G281."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conformance.gateway.scripted_peer import Desk, opened

from salon.gateway.webrtc import GRACE_S, HOLD_S, MAX_EARLY_CANDIDATES, PATHS
from salon.testing import tone
from salon.transport.packets import AnotherSession, NegotiationError, PeerOptions, PeerState
from salon.voice.engine import VoiceEngine


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
    assert [figures.packets_received for figures in desk.ended] == [1, 2]


@pytest.mark.parametrize("state", [PeerState.FAILED, PeerState.CLOSED])
async def test_a_new_connection_that_fails_leaves_the_old_one(desk: Desk, state: PeerState) -> None:
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


# -- what is played before anybody can hear --------------------------------------------------------


async def test_a_greeting_waits_for_the_connection(desk: Desk) -> None:
    await desk.call.invite(offer="mine")
    desk.call.send({"command": "tts", "text": "hello", "playId": "p", "option": {}})
    await desk.call.expect("trackStart")
    await asyncio.sleep(HOLD_S - 1)
    (peer,) = desk.peers
    assert not peer.track.sent
    assert not [event for event in desk.call.of("trackEnd") if event.get("playId") == "p"]
    peer.become(PeerState.CONNECTED)
    await desk.call.expect("trackEnd")
    assert any(any(payload) for payload, *_ in peer.track.sent)


@pytest.mark.parametrize("end", ["time", "failed"])
async def test_a_greeting_does_not_wait_for_ever(desk: Desk, end: str) -> None:
    await desk.call.invite(offer="mine")
    desk.call.send({"command": "tts", "text": "hello", "playId": "p", "option": {}})
    await desk.call.expect("trackStart")
    if end == "failed":
        desk.peers[0].become(PeerState.FAILED)
    else:
        await asyncio.sleep(HOLD_S)
    await desk.call.expect("trackEnd")


async def test_an_offer_of_the_live_session_is_answered_there_though_another_waits(
    desk: Desk,
) -> None:
    """Hold, or the page that takes its restart back."""
    first = await desk.connected()
    second = await desk.restart()
    first.fail, second.fail = None, AnotherSession("other credentials")
    desk.call.send({"command": "invite", "option": {"offer": "hold"}})
    answer = await desk.call.expect("answer")
    assert answer["sdp"].startswith("answer 1 to")
    assert first.offers[-1] == "hold"
    assert len(desk.peers) == 2
    assert second.closed == 1
