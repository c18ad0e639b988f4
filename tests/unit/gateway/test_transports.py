"""What a session asks of its carrier: G34, G44, G52, G88, G136, G150, G281, G286."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from tests.unit.gateway.scripted_transport import Carried, NoOfferError, carrying

from salon.gateway import CallHandler, CallOption, Gateway, Session
from salon.testing import CallPair, CallRefusedError, scripted_gateway, silence, tone
from salon.transport.sockets import SocketHandler, UpgradeRequest
from salon.voice.engine import VoiceEngine
from salon.voice.hearing import HearingConfig

INVITE = {"command": "invite", "option": {"offer": "mine"}}


@pytest.fixture
async def carried(engine: VoiceEngine) -> AsyncIterator[Carried]:
    async with carrying(engine) as made:
        yield made


# -- which carrier --------------------------------------------------------------------------------


async def test_G286_an_endpoint_without_its_libraries_refuses_with_the_reason(
    carried: Carried,
) -> None:
    with pytest.raises(CallRefusedError, match="extra webrtc") as caught:
        CallPair.connect(carried.gateway.acceptor, "/call/webrtc")
    assert caught.value.refusal.status == 503
    assert carried.gateway.calls == 1


async def test_G200_the_call_type_is_that_of_the_endpoint_also_before_the_client_is_there(
    carried: Carried,
) -> None:
    waiting = carried.gateway.acceptor(UpgradeRequest("/webrtc", {"id": "waiting"}, {}))
    assert isinstance(waiting, SocketHandler)
    CallPair.connect(carried.gateway.acceptor, "/call?id=socket")
    types = {row["id"]: row["callType"] for row in carried.gateway.list_calls()}
    assert types == {"call-1": "webrtc", "waiting": "webrtc", "socket": "webSocket"}
    waiting.closed(1006, "")


# -- answering ------------------------------------------------------------------------------------


async def test_G51_the_answer_carries_the_sdp_and_the_leg_the_sound(carried: Carried) -> None:
    answer = await carried.call.invite(offer="mine", vad={})
    assert (answer["sdp"], answer["refer"]) == ("answer to mine", False)
    transport, leg = carried.transport, carried.transport.leg
    assert transport.log == ["preparse", "answering", "trackStart", "answer", "answered"]
    assert leg.hear is not None
    for frame in tone(1000).reshape(-1, 320):
        leg.hear(frame)
        await asyncio.sleep(0.02)
    assert carried.call.of("speaking")
    carried.call.send({"command": "tts", "text": "hello"})
    idled = leg.idled
    await carried.call.expect("trackEnd")
    assert len(leg.sent) == 300 // 20
    await asyncio.sleep(1)
    assert leg.idled >= idled + 45
    assert carried.call.audio == []


async def test_G44_binary_frames_of_a_call_whose_sound_comes_another_way_are_discarded(
    carried: Carried,
) -> None:
    carried.call.send_bytes(silence(20).tobytes())
    await carried.call.invite()
    carried.call.send_bytes(silence(20).tobytes())
    assert carried.session.media.frames_in == 0
    assert carried.session.early.size == 0


async def test_speech_before_an_answer_that_is_not_agreed_on_is_heard_by_nobody(
    carried: Carried,
) -> None:
    carried.call.send({"command": "tts", "text": "hello", "option": {}})
    await carried.call.expect("trackEnd")
    assert carried.session.media.leg.packets_in == 0
    await carried.call.invite()
    assert carried.session.media.leg is carried.transport.leg
    assert (carried.transport.leg.sent, carried.call.audio) == ([], [])


class _Begun(CallHandler):
    begun = 0

    async def begin(self, session: Session, option: CallOption) -> HearingConfig:
        self.begun += 1
        return HearingConfig()


@pytest.mark.parametrize("error", [NoOfferError("no offer"), LookupError("a defect")])
async def test_G33_an_offer_that_is_not_taken_ends_the_call_and_enters_nothing(
    engine: VoiceEngine, error: Exception
) -> None:
    handler = _Begun()
    async with carrying(engine, handler_for=lambda _query: handler) as carried:
        carried.transport.fail["answering"] = error
        carried.call.send(INVITE)
        assert (await carried.call.expect("error"))["sender"] == "invite"
        assert await carried.call.closed() == 1011
        assert carried.call.names == ["error", "hangup"]
        assert handler.begun == 0


@pytest.mark.parametrize("command", ["hangup", "reject"])
async def test_G34_a_hangup_aborts_an_answer_that_waits(carried: Carried, command: str) -> None:
    carried.transport.gathering.clear()
    carried.call.send(INVITE)
    await asyncio.sleep(1)
    carried.call.send({"command": command, "reason": "enough"})
    await asyncio.sleep(0.1)
    carried.transport.gathering.set()
    await carried.call.closed(timeout=2)
    log = carried.transport.log
    assert log[:2] == ["preparse", "answering"]
    assert log.index("given up") < log.index("ended") < log.index("hangup")
    assert "answer" not in log


# -- a second invite ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["invite", "accept"])
async def test_G52_a_second_offer_is_answered_where_that_can_be(
    carried: Carried, command: str
) -> None:
    await carried.call.invite(offer="first", caller="ann")
    carried.transport.reoffers = ["second answer"]
    carried.call.send({"command": command, "option": {"offer": "second"}})
    assert (await carried.call.expect("answer"))["sdp"] == "second answer"
    assert carried.transport.log.count("answered") == 1
    assert carried.session.option is not None
    assert carried.session.option.caller == "ann"
    assert carried.call.names == ["trackStart", "answer", "answer"]


@pytest.mark.parametrize("error", [None, NoOfferError("not that"), LookupError("a defect")])
async def test_G52_a_second_invite_that_is_not_taken_leaves_the_call(
    carried: Carried, error: Exception | None
) -> None:
    await carried.call.invite()
    if error is not None:
        carried.transport.fail["reoffer"] = error
    carried.call.send(INVITE)
    told = await carried.call.expect("error")
    assert told["sender"] == ("command" if isinstance(error, LookupError) else "invite")
    await asyncio.sleep(5)
    assert carried.call.socket.code is None
    assert carried.session.state == "accepted"


# -- the carrier's own commands -------------------------------------------------------------------


async def test_G281_only_the_first_frame_may_have_the_carriers_own_form(carried: Carried) -> None:
    offer = '{"sdp": "v=0", "type": "offer"}'
    carried.call.send(offer)
    assert (await carried.call.expect("answer"))["sdp"] == "answer to v=0"
    carried.call.send(offer)
    error = await carried.call.expect("error")
    assert (error["sender"], error["code"]) == ("command", 400)
    assert carried.transport.log.count("preparse") == 1


async def test_G281_a_first_frame_in_a_wrong_form_is_told(carried: Carried) -> None:
    carried.call.send('{"sdp": 5, "type": "offer"}')
    assert (await carried.call.expect("error"))["code"] == 400
    await carried.call.invite()


async def test_G281_a_socket_call_has_no_such_form(call: CallPair) -> None:
    call.send('{"sdp": "v=0", "type": "offer"}')
    assert (await call.expect("error"))["code"] == 400


async def test_G88_G318_candidates_reach_the_carrier_in_order(carried: Carried) -> None:
    carried.transport.fail = {
        "candidate bad": NoOfferError("cannot be read"),
        "candidate worse": ValueError("nor this"),
    }
    carried.call.send({"command": "addIceCandidate", "candidate": "early"})
    await carried.call.invite()
    carried.call.send({"command": "candidate", "candidates": ["bad", {"candidate": "good"}]})
    carried.call.send({"command": "addIceCandidate", "candidate": "worse"})
    carried.call.send({"command": "addIceCandidate", "candidate": ""})
    await asyncio.sleep(0.1)
    taken = [entry for entry in carried.transport.log if entry.startswith("candidate")]
    assert taken == [f"candidate {name}" for name in ("early", "bad", "good", "worse", "")]
    errors = carried.call.of("error")
    assert [error["sender"] for error in errors] == ["command", "command"]
    assert "cannot be read" in errors[0]["error"]
    assert "nor this" in errors[1]["error"]
    assert carried.call.socket.code is None


# -- the connection -------------------------------------------------------------------------------


async def test_G136_inactivity_looks_at_the_packets_of_the_leg(carried: Carried) -> None:
    await carried.call.invite(inactivityTimeout=5)
    for _ in range(10):
        carried.transport.leg.packets += 1
        await asyncio.sleep(1)
    assert not carried.call.of("inactivity")
    await carried.call.expect("inactivity", timeout=8)
    assert (await carried.call.expect("hangup"))["reason"] == "inactivityTimeout"


async def test_G150_a_track_that_goes_and_comes_is_told_once_each(carried: Carried) -> None:
    carried.transport.main_ssrc = 77
    await carried.call.invite()
    carried.session.main_track_started()
    await asyncio.sleep(2)
    carried.session.main_track_ended()
    carried.session.main_track_ended()
    (end,) = carried.call.of("trackEnd")
    assert (end["trackId"], end["duration"], end["ssrc"]) == ("call-1", 2000, 77)
    await asyncio.sleep(1)
    carried.session.main_track_started()
    await asyncio.sleep(1)
    carried.session.main_track_ended()
    carried.session.connection_lost()
    assert await carried.call.closed() == 1000
    told = ["trackStart", "answer", "trackEnd", "trackStart", "trackEnd", "hangup"]
    assert carried.call.names == told
    assert carried.call.of("trackEnd")[1]["duration"] == 1000
    assert carried.session.outcome == "lost"


# -- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("invited", [True, False])
async def test_the_carrier_lets_go_before_the_farewell(carried: Carried, invited: bool) -> None:
    if invited:
        await carried.call.invite()
    carried.call.send({"command": "hangup"})
    await carried.call.closed()
    log = carried.transport.log
    assert log[log.index("ended") :] == ["ended", *["trackEnd"] * invited, "hangup"]
    assert carried.transport.leg.closed == int(invited)
    assert carried.session.transport is None


async def test_the_carrier_lets_go_of_a_client_that_vanished(carried: Carried) -> None:
    await carried.call.invite()
    carried.call.vanish()
    await asyncio.sleep(0.1)
    assert carried.transport.log[-1] == "ended"
    assert carried.transport.leg.closed == 1
    assert carried.gateway.calls == 0


@pytest.mark.parametrize("stuck", [True, False])
async def test_G321_a_carrier_that_fails_at_the_end_does_not_keep_the_call(
    carried: Carried, stuck: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await carried.call.invite()
    if stuck:
        carried.transport.gathering.clear()
    else:
        carried.transport.fail["ended"] = LookupError("a defect")
    with caplog.at_level(logging.WARNING):
        carried.call.send({"command": "hangup"})
        assert await carried.call.closed(timeout=5.0) == 1000
    assert carried.call.names[-1] == "hangup"
    assert "call-1" in caplog.text


class _Deaf(CallHandler):
    """Does not let itself be cancelled, and is slow at everything."""

    async def begin(self, session: Session, option: CallOption) -> HearingConfig:
        del session, option
        for _ in range(3):
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                continue
        return HearingConfig()

    async def end(self, reason: str) -> None:
        del reason
        await asyncio.sleep(10)


async def test_G321_what_does_not_stop_at_the_end_is_left_behind(engine: VoiceEngine) -> None:
    async with carrying(engine, handler_for=lambda _query: _Deaf()) as carried:
        carried.call.send(INVITE)
        await asyncio.sleep(1)
        carried.transport.gathering.clear()
        assert await carried.gateway.kill("call-1")
        assert await carried.call.closed(timeout=5.0) == 1000
        assert carried.call.names == ["hangup"]
        await carried.session.done.wait()
        assert carried.session.answered_at is None


async def test_a_session_that_is_over_lets_go_of_its_carrier(
    gateway: Gateway, call: CallPair
) -> None:
    session = gateway.get("call-1")
    assert session is not None
    call.close()
    await session.done.wait()
    assert session.transport is None
    assert session.dropped_audio == 0


async def test_G78_no_deadline_is_set_after_the_end(engine: VoiceEngine) -> None:
    async with scripted_gateway(engine) as gateway:
        CallPair.connect(gateway.acceptor, "/ws?id=call-1")
        session = gateway.get("call-1")
        assert session is not None
        missed: list[str] = []
        session.deadlines.close()
        session.deadlines.expect_input(10, lambda: missed.append("input"))
        session.deadlines.expect_packets(1, lambda: 0, lambda: missed.append("packets"))
        session.deadlines.keep_alive(1, lambda: missed.append("ping"))
        await asyncio.sleep(10)
        assert missed == []
