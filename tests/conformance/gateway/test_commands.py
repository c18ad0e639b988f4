"""Connections and commands: G5-G36, G54, G55, G60, G83, G84, G87, G110-G112, G300-G321; T1-T5, T18,
T19, T32, T34, T36, T48-T51, T53."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import numpy as np
import pytest
from tests.conformance.gateway.house import house

from salon.base import ConfigurationError
from salon.gateway import CallHandler, CallOption, Session, parse_command
from salon.gateway.rights import CallRights
from salon.media import write_wav
from salon.media.frame import FRAME_SAMPLES
from salon.testing import CallPair, CallRefusedError, silence, tone, virtual_time
from salon.voice.hearing import HearingConfig

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def tts(text: str = "ten words", **fields: Any) -> dict[str, Any]:
    return {"command": "tts", "text": text, **fields}


# -- connection -------------------------------------------------------------------------------


@virtual_time
async def test_T1_the_first_ping_comes_at_once_and_bears_the_time() -> None:
    async with house() as at:
        call = at.connect("/call?id=x")
        (ping,) = call.socket.pings
        assert RFC_3339.fullmatch(ping.decode())
        silent = at.connect("/call?id=y&ping=0")
        await asyncio.sleep(60)
        assert not silent.socket.pings
        assert len(call.socket.pings) == 4  # 0, 20, 40, 60 s
        assert not call.events  # it is no text frame (G18)


@virtual_time
async def test_T48_a_null_for_a_number_of_vad_is_malformed() -> None:
    async with house() as at:
        call = at.connect()
        call.send({"command": "invite", "option": {"vad": {"speechPadding": None}}})
        error = await call.expect("error")
        assert (error["sender"], error["code"]) == ("command", 400)
        assert not call.of("answer")
        await call.invite()


@virtual_time
async def test_T49_a_query_that_does_not_parse_is_400() -> None:
    async with house() as at:
        for query in ("ping=abc", "dump=maybe"):
            with pytest.raises(CallRefusedError) as refused:
                at.connect(f"/ws?{query}")
            assert refused.value.refusal.status == 400
        at.connect("/ws?foo=1")
        assert at.gateway.calls == 1


@virtual_time
async def test_T50_both_spellings_of_the_query() -> None:
    async with house() as at:
        for index, (query, dump) in enumerate(
            [("dump_events=false", False), ("dump=true&dump_events=false", True), ("x=1", True)]
        ):
            at.connect(f"/ws?id={index}&{query}")
            assert at.session(str(index)).query.dump is dump
        call = at.connect("/ws?id=p&ping_interval=1&server_side_track=x")
        await asyncio.sleep(2.5)
        assert len(call.socket.pings) == 3
        await call.invite()
        call.send(tts())
        assert (await call.expect("trackStart", trackId="x"))["trackId"] == "x"


@virtual_time
async def test_G16_an_id_in_use_is_409_or_ends_the_call_that_has_it() -> None:
    async with house(max_calls=2) as at:
        first = await at.call()
        with pytest.raises(CallRefusedError) as refused:
            at.connect()
        assert refused.value.refusal.status == 409
        at.gateway._unique_ids = False
        second = at.connect()
        assert at.gateway.calls == 2
        assert len(at.gateway.list_calls()) == 1
        with pytest.raises(CallRefusedError) as refused:  # both count until the first has ended
            at.connect("/ws?id=other")
        assert refused.value.refusal.status == 503
        assert await first.closed() == 1000
        assert first.of("hangup", reason="replaced")
        await second.invite()
        assert at.gateway.calls == 1
        assert await at.gateway.kill("call-1")
        await second.closed()
        await asyncio.sleep(0.1)
        assert at.gateway.calls == 0


@virtual_time
async def test_G22_a_client_that_never_invites_is_hung_up_where_that_is_set() -> None:
    async with house(invite_timeout=5.0) as at:
        silent, busy = at.connect("/ws?id=silent"), at.connect("/ws?id=busy")
        await asyncio.sleep(4)
        await busy.invite()
        assert await silent.closed(timeout=2) == 1000
        assert silent.names == ["error", "hangup"]
        assert silent.events[-1]["reason"] == "noAnswer"
        await asyncio.sleep(10)
        assert not busy.of("hangup")


@virtual_time
@pytest.mark.parametrize(("seconds", "kept"), [(0.0, 0), (1.0, 50), (2.0, 100)])
async def test_G43_how_much_early_sound_is_kept_is_a_setting(seconds: float, kept: int) -> None:
    async with house(early_seconds=seconds) as at:
        call = at.connect()
        for _ in range(150):
            call.send_bytes(tone(20).tobytes())
        await call.invite()
        assert at.session().media.frames_in == kept
        assert at.session().early.dropped == 150 - kept


# -- frames and errors ------------------------------------------------------------------------


@virtual_time
async def test_T2_wrong_frames_leave_the_connection_usable() -> None:
    async with house() as at:
        call = at.connect()
        for frame in ("{bad", '{"command":"nope"}', '{"command":"tts"}', "[]", '"x"', ""):
            call.send(frame)
            error = await call.expect("error")
            assert (error["sender"], error["code"]) == ("command", 400)
        await call.invite()


@virtual_time
async def test_T3_an_invite_needs_its_option() -> None:
    async with house() as at:
        call = at.connect()
        call.send({"command": "invite"})
        assert (await call.expect("error"))["code"] == 400
        call.send({"command": "invite", "option": {}})
        await call.expect("answer")


@virtual_time
async def test_G5_values_of_a_wrong_type_are_refused() -> None:
    async with house() as at:
        call = at.connect()
        for wrong in (-1, 1.5, "1", True, 1 << 32):
            call.send(tts(waitInputTimeout=wrong))
            assert (await call.expect("error"))["code"] == 400


@virtual_time
async def test_T5_every_event_bears_the_time_and_no_null() -> None:
    async with house() as at:
        call = await at.call(vad={}, asr={})
        await call.send_audio(np.concatenate((silence(500), tone(800), silence(600))))
        call.send(tts(playId="p"))
        call.send({"command": "history", "speaker": "ann", "text": "hi"})
        call.send({"command": "refer", "caller": "", "callee": "sip:x@y"})
        await call.expect("trackEnd", playId="p")
        call.send({"command": "hangup"})
        await call.closed()
        assert len(set(call.names)) >= 9
        clock = at.engine.clock
        for event in call.events:
            assert type(event["timestamp"]) is int
            assert abs(event["timestamp"] - clock.now_ms()) <= 5000
            assert None not in event.values()


@virtual_time
async def test_T32_a_thousand_commands_in_one_burst_are_none_lost() -> None:
    async with house() as at:
        calls = [await at.call(f"/ws?id={name}") for name in "ab"]
        for number in range(1000):
            for call in calls:
                call.send({"command": "custom", "data": number})
        await asyncio.sleep(1)
        for call in calls:
            assert [event["data"] for event in call.of("custom")] == list(range(1000))
            assert not call.of("error")
            call.send(tts("alive"))
            await call.expect("trackEnd")


@virtual_time
async def test_G35_what_the_queue_does_not_hold_is_told() -> None:
    async with house(handler_for=lambda _query: _Slow()) as at:
        call = at.connect()
        call.send({"command": "invite", "option": {}})
        await asyncio.sleep(0.1)
        for _ in range(9):
            call.send({"command": "custom", "data": "x" * 1_000_000})
        error = await call.expect("error")
        assert (error["sender"], error["code"]) == ("command", 429)
        assert len(call.of("error")) == 1
        call.send({"command": "hangup"})  # overtakes what waits, and has room (G34)
        assert await call.closed(timeout=5) == 1000


@virtual_time
async def test_T51_40_commands_in_one_burst_run_in_order() -> None:
    async with house() as at:
        call = await at.call()
        for number in range(40):
            call.send({"command": "history", "speaker": "ann", "text": str(number)})
        await asyncio.sleep(1)
        assert [event["text"] for event in call.of("addHistory")] == [str(n) for n in range(40)]
        assert at.gateway.calls == 1


class _Slow(CallHandler):
    async def begin(self, session: Session, option: CallOption) -> HearingConfig:
        await asyncio.sleep(30)
        return HearingConfig()


@virtual_time
async def test_G34_a_hangup_of_a_transfer_overtakes_nothing() -> None:
    async with house(handler_for=lambda _query: _Slow()) as at:
        call = at.connect()
        call.send({"command": "invite", "option": {}})
        await asyncio.sleep(1)
        call.send({"command": "hangup", "refer": True})
        await call.expect("answer")
        assert (await call.expect("error"))["sender"] == "command"


# -- the course of a call ---------------------------------------------------------------------


@virtual_time
async def test_T34_a_hangup_before_any_invite_ends_the_session() -> None:
    async with house() as at:
        call = at.connect()
        call.send({"command": "hangup"})
        assert await call.closed() == 1000
        assert call.names == ["hangup"]
        assert at.gateway.list_calls() == []


@virtual_time
async def test_T36_a_second_accept_is_an_error_and_no_second_answer() -> None:
    async with house() as at:
        call = at.connect()
        for _ in range(2):
            call.send({"command": "accept", "option": {}})
        assert (await call.expect("error"))["sender"] == "accept"
        call.send(tts())
        await call.expect("trackEnd")
        assert len(call.of("answer")) == 1


@virtual_time
async def test_T53_two_sessions_never_hear_of_each_other() -> None:
    async with house() as at:
        one, two = await at.call("/ws?id=one", vad={}), await at.call("/ws?id=two")
        one.send({"command": "custom", "data": "mine"})
        one.send(tts(playId="p"))
        await one.send_audio(np.concatenate((tone(800), silence(500))))
        assert one.of("speaking")
        assert one.audio
        assert two.names == ["trackStart", "answer"]
        assert not two.audio
        assert {event["trackId"] for event in two.events} == {"two"}


@virtual_time
async def test_T19_history_and_custom_come_back() -> None:
    async with house() as at:
        call = at.connect()
        call.send({"command": "history", "speaker": "ann", "text": "hi"})
        call.send({"command": "custom", "data": {"a": [1, None]}, "sender": "me"})
        history = await call.expect("addHistory")
        assert (history["sender"], history["speaker"], history["text"]) == ("call-1", "ann", "hi")
        custom = await call.expect("custom")
        assert (custom["sender"], custom["data"]) == ("me", {"a": [1, None]})


@virtual_time
async def test_T18_a_muted_caller_is_not_heard_until_unmuted() -> None:
    async with house() as at:
        call = await at.call(vad={})
        for command, spoke in (("mute", 0), ("unmute", 1)):
            call.send({"command": command, "trackId": "call-1"})
            await call.send_audio(np.concatenate((silence(300), tone(800), silence(500))))
            assert len(call.of("speaking")) == spoke


@virtual_time
@pytest.mark.parametrize("track", [None, "server-side-track"])
async def test_G87_the_server_track_is_muted_and_the_next_one_is_not(track: str | None) -> None:
    async with house() as at:
        call = await at.call()
        call.send(tts("a long enough text", playId="a"))
        await asyncio.sleep(0.3)
        heard = len(call.audio)
        command = {"command": "mute"} if track is None else {"command": "mute", "trackId": track}
        call.send(command)
        await call.expect("trackEnd", playId="a")
        assert len(call.audio) == 18 * 60 // 20  # time goes on
        assert not call.sound[(heard + 1) * FRAME_SAMPLES :].any()
        call.send(tts("more", playId="b"))
        await call.expect("trackEnd", playId="b")
        assert call.sound[-200:].any()
        assert at.session().media.muted is (track is None)


@virtual_time
async def test_G87_unmute_and_tracks_that_are_not_there() -> None:
    async with house() as at:
        call = await at.call()
        session = at.session()
        session.hidden_tracks |= {"bridge:call-1:to:b"}
        call.send({"command": "mute", "trackId": "nobody"})
        call.send({"command": "mute"})
        await asyncio.sleep(0.1)
        assert session.muted == {"bridge:call-1:to:b"}
        call.send({"command": "unmute", "trackId": "bridge:call-1:to:b"})
        await asyncio.sleep(0.1)
        assert session.muted == set()
        call.send({"command": "mute", "trackId": "bridge:call-1:to:b"})
        session.hidden_tracks.clear()
        call.send({"command": "unmute"})
        await asyncio.sleep(0.1)
        assert session.muted == set()
        assert not session.media.muted
        assert not call.of("error")


@virtual_time
async def test_G54_a_hangup_of_the_refer_leg_is_an_error_without_one() -> None:
    async with house() as at:
        call = await at.call()
        call.send({"command": "hangup", "refer": True})
        error = await call.expect("error")
        assert error["sender"] == "command"
        assert "transfer" in error["error"]
        call.send(tts())
        await call.expect("trackEnd")


@virtual_time
@pytest.mark.parametrize(
    ("fields", "reason", "initiator"),
    [
        ({}, "system", "system"),
        ({"initiator": "caller", "reason": "x"}, "caller", "caller"),
        ({"initiator": "callee"}, "callee", "callee"),
        ({"initiator": "system"}, "autohangup", "system"),
        ({"reason": "NOANSWER"}, "noAnswer", "system"),
        ({"reason": "Enough"}, "Enough", "system"),
        ({"headers": {"X-End": "1"}}, "system", "system"),
    ],
)
async def test_G54_reasons(fields: dict[str, Any], reason: str, initiator: str) -> None:
    async with house() as at:
        call = await at.call()
        call.send({"command": "hangup", **fields})
        event = await call.expect("hangup")
        assert (event["reason"], event["initiator"]) == (reason, initiator)


@virtual_time
async def test_G55_a_rejected_call_ends() -> None:
    async with house() as at:
        call = at.connect()
        call.send({"command": "ringing"})
        call.send({"command": "reject", "reason": "busy", "code": 486})
        assert (await call.expect("reject"))["code"] == 486
        assert (await call.expect("hangup"))["reason"] == "rejected"
        assert await call.closed() == 1000


@virtual_time
@pytest.mark.parametrize(
    "command",
    [
        {"command": "refer", "caller": "", "callee": "sip:x@y", "options": {"timeout": 1}},
        {"command": "message", "body": "x"},
        {"command": "message", "text": "the older name", "refer": True},
    ],
)
async def test_G83_G84_what_needs_sip_is_an_error(command: dict[str, Any]) -> None:
    async with house() as at:
        call = await at.call()
        call.send(command)
        error = await call.expect("error")
        assert (error["sender"], error["trackId"]) == ("command", "call-1")
        assert error["error"] == f"{command['command']} is not possible on this call"
        await asyncio.sleep(40)
        assert not call.of("reject")
        assert at.gateway.calls == 1


@virtual_time
async def test_G60_a_handshake_that_takes_too_long_ends_the_call() -> None:
    async with house(handler_for=lambda _query: _Slow()) as at:
        call = at.connect()
        call.send({"command": "invite", "option": {"handshakeTimeout": 2}})
        error = await call.expect("error", timeout=3)
        assert (error["sender"], error["error"]) == ("invite", "the call is not up after 2 s")
        assert await call.closed() == 1011
    async with house() as at:
        call = await at.call(handshakeTimeout=2)
        await asyncio.sleep(5)
        assert not call.of("error")


# -- how a call is told of its end ------------------------------------------------------------


@virtual_time
async def test_G112_the_end_tells_who_when_and_what_is_known() -> None:
    async with house() as at:
        call = at.connect("/ws?id=call-1")
        call.send({"command": "ringing"})
        await asyncio.sleep(1)
        call.send(
            {
                "command": "accept",
                "option": {
                    "caller": '"Ann" <sip:1001@pbx.example:5060;transport=tcp>;tag=7',
                    "callee": "+49 (30) 1234",
                    "extra": {"case": "9"},
                },
            }
        )
        await call.expect("answer")
        await asyncio.sleep(1)
        assert at.gateway.list_calls()[0]["ringTime"] == "2026-01-05T08:00:00.000Z"
        call.send({"command": "hangup", "reason": "done"})
        end = await call.expect("hangup")
        assert end["startTime"] == end["ringingTime"] == "2026-01-05T08:00:00.000Z"
        assert end["answerTime"] == "2026-01-05T08:00:01.000Z"
        assert end["hangupTime"] == "2026-01-05T08:00:02.000Z"
        assert end["from"]["username"] == "1001"
        assert end["from"]["realm"] == "pbx.example:5060"
        assert end["to"] == {"username": "+49 (30) 1234", "source": "+49 (30) 1234"}
        assert end["extra"] == {
            "session_id": "call-1",
            "call_type": "websocket",
            "start_time": "2026-01-05T08:00:00.000Z",
            "case": "9",
        }
        assert call.names[-1] == "hangup"
        assert len(call.of("hangup")) == 1


@virtual_time
async def test_G186_what_the_client_adds_replaces_no_built_in_variable() -> None:
    async with house() as at:
        call = await at.call(extra={"session_id": "other", "mine": "1"})
        call.send({"command": "hangup"})
        extra = (await call.expect("hangup"))["extra"]
        assert (extra["session_id"], extra["mine"]) == ("call-1", "1")


# -- ringing ----------------------------------------------------------------------------------


@virtual_time
async def test_ringing_plays_its_tone_until_the_call_is_answered(tmp_path: Any) -> None:
    write_wav(tmp_path / "ring.wav", tone(5000), 16_000)
    async with house(media=tmp_path) as at:
        call = at.connect()
        call.send({"command": "ringing", "ringtone": "ring.wav"})
        await call.expect("trackStart", playId="ring.wav")
        await asyncio.sleep(1)
        assert len(call.audio) == pytest.approx(50, abs=2)
        call.send({"command": "accept", "option": {}})
        await call.expect("answer")
        assert call.names == ["trackStart", "trackEnd", "trackStart", "answer"]
        await asyncio.sleep(1)
        assert len(call.audio) < 60


@virtual_time
async def test_ringing_leaves_alone_what_took_the_place_of_its_tone(tmp_path: Any) -> None:
    write_wav(tmp_path / "ring.wav", tone(300), 16_000)
    async with house(media=tmp_path) as at:
        call = at.connect()
        call.send({"command": "ringing", "ringtone": "ring.wav", "earlyMedia": True})
        await call.expect("trackEnd", playId="ring.wav")
        call.send({"command": "ringing", "ringtone": "gone.wav"})
        assert (await call.expect("error"))["sender"] == "filetrack: gone.wav"
        call.send({"command": "play", "url": "ring.wav", "playId": "p"})
        await call.expect("trackStart", playId="p")
        call.send({"command": "accept", "option": {}})
        await call.expect("answer")
        end = await call.expect("trackEnd", playId="p")
        assert end["duration"] >= 290


class _Tape:
    """A recorder that only counts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard = 0

    def inbound(self, _samples: Any) -> None:
        self.heard += 1

    def outbound(self, _frame: Any) -> None:
        pass

    async def close(self) -> None:
        pass


@virtual_time
async def test_a_recorder_of_ringing_is_not_replaced_by_that_of_accept() -> None:
    def recorder_for(_session: Session, option: CallOption) -> Any:
        return _Tape(option.recorder.recorder_file) if option.recorder else None

    async with house(recorder_for=recorder_for) as at:
        call = at.connect()
        call.send({"command": "ringing", "recorder": {"recorderFile": "ring"}})
        call.send({"command": "accept", "option": {"recorder": {"recorderFile": "talk"}}})
        await call.expect("answer")
        tape: Any = at.session().media.recorder
        assert tape.name == "ring"
        assert not call.of("error")
        other = await at.call("/ws?id=b", recorder={"recorderFile": "talk"})
        tape = at.session("b").media.recorder
        assert tape.name == "talk"
        assert not other.of("error")


@virtual_time
async def test_G66_a_recording_that_is_not_to_be_had_is_told() -> None:
    async with house() as at:
        call = await at.call(recorder={})
        (error,) = call.of("error")
        assert (error["sender"], error["error"]) == ("recorder", "recording is not available here")
        assert not (await at.call("/ws?id=b")).of("error")


# -- rights -----------------------------------------------------------------------------------


@virtual_time
async def test_what_a_confined_call_may_not_ask_for_is_told_and_left_out() -> None:
    seen: list[CallOption] = []

    class Noted(CallHandler):
        async def begin(self, session: Session, option: CallOption) -> HearingConfig:
            seen.append(option)
            return HearingConfig()

    def recorder_for(_session: Session, option: CallOption) -> Any:
        assert option.recorder is not None
        return _Tape(option.recorder.recorder_file)

    rights = CallRights(files=False, media_pass=False, bridge=False, keys=False)
    async with house(
        rights_for=lambda _query: rights,
        handler_for=lambda _query: Noted(),
        recorder_for=recorder_for,
    ) as at:
        call = await at.call(
            mediaPass={"url": "ws://x/", "inputSampleRate": 16000, "outputSampleRate": 16000},
            recorder={"recorderFile": "/etc/passwd", "ptime": 100},
            ambiance={"path": "/etc/passwd", "enabled": False},
            asr={"apiKey": "k", "language": "de"},
            tts={"endpoint": "http://10.0.0.1/", "speed": 1.5},
        )
        call.send(tts("one", option={"secretKey": "k", "speaker": "mock"}))
        await call.expect("trackEnd")
        told = [event["error"].partition(" is not allowed")[0] for event in call.of("error")]
        assert told == [
            "mediaPass",
            "recorder.recorderFile",
            "ambiance.path",
            "keys in asr",
            "keys in tts",
        ]
        (option,) = seen
        assert option.media_pass is None
        assert option.recorder is not None
        assert (option.recorder.recorder_file, option.recorder.ptime) == ("", 100)
        assert option.asr is not None
        assert (option.asr.secret_key, option.asr.language) == (None, "de")
        assert option.tts is not None
        assert (option.tts.endpoint, option.tts.speed) == (None, 1.5)
        assert option.tts.model_fields_set == {"speed"}
        call.send({"command": "play", "url": "bell.wav"})
        assert "may not play files" in (await call.expect("error"))["error"]


# -- what known clients do --------------------------------------------------------------------


@virtual_time
async def test_G310_G311_keys_and_parameters_of_older_clients_are_no_errors() -> None:
    async with house() as at:
        call = await at.call("/ws?id=a&dump=true", asr={"sampleRate": 16000}, vad={})
        assert not call.of("error")
        await at.call("/ws?id=b&dump=false")


@virtual_time
async def test_G312_many_graceful_interruptions_tell_one() -> None:
    async with house() as at:
        call = await at.call()
        for _ in range(5):
            call.send({"command": "interrupt", "graceful": True})
        call.send(tts("a sentence of some length", playId="p"))
        await asyncio.sleep(0.5)
        for _ in range(20):
            call.send({"command": "interrupt", "graceful": True})
            await asyncio.sleep(0.02)
        end = await call.expect("trackEnd", playId="p")
        assert end["duration"] == pytest.approx(25 * 60, abs=60)  # it plays to its end
        assert len(call.of("interruption")) == 1
        assert not call.of("error")


@virtual_time
async def test_G317_an_invite_in_the_same_instant_as_the_connection() -> None:
    async with house() as at:
        call = CallPair.connect(at.gateway.acceptor, "/call")
        call.send({"command": "invite", "option": {}})
        await call.expect("answer")


@virtual_time
async def test_G318_candidates_of_an_older_client_have_no_effect_here() -> None:
    async with house() as at:
        call = await at.call()
        call.send({"command": "candidate", "candidates": ["candidate:1 1 udp 1 192.0.2.1 1 typ"]})
        await asyncio.sleep(0.1)
        assert call.names == ["trackStart", "answer"]


@virtual_time
async def test_G320_G321_a_socket_that_closes_and_one_that_waits() -> None:
    async with house() as at:
        leaving = await at.call("/ws?id=a")
        leaving.close()
        await asyncio.sleep(1)
        assert at.gateway.calls == 0
        staying = await at.call("/ws?id=b")
        staying.send({"command": "hangup"})
        assert await staying.closed(timeout=5) == 1000


# -- where the two descriptions of the protocol differ, and what must exist --------------------


@virtual_time
async def test_G11_G50_a_socket_is_a_call_and_begins_with_an_invite() -> None:
    async with house() as at:
        first, second = await at.call("/ws?id=a"), await at.call("/ws?id=b")
        assert at.gateway.calls == 2
        first.send({"command": "hangup"})
        await first.closed()
        assert at.gateway.calls == 1
        second.send(tts())
        await second.expect("trackEnd")


@virtual_time
async def test_G15_booleans_are_true_or_false_and_nothing_else() -> None:
    async with house() as at:
        for wrong in ("1", "True", "yes", ""):
            with pytest.raises(CallRefusedError) as refused:
                at.connect(f"/ws?dump={wrong}")
            assert refused.value.refusal.status == 400


@virtual_time
async def test_G30_a_command_is_one_object() -> None:
    async with house() as at:
        call = at.connect()
        call.send('{"command":"hangup"}{"command":"hangup"}')
        assert (await call.expect("error"))["code"] == 400
        call.send('[{"command":"hangup"}]')
        assert (await call.expect("error"))["code"] == 400
        assert at.gateway.calls == 1


@virtual_time
async def test_G53_G285_accept_invites_ringing_rings_and_reject_ends() -> None:
    async with house() as at:
        call = at.connect()
        states = [at.gateway.list_calls()[0]["state"]]
        for command in ({"command": "ringing"}, {"command": "accept", "option": {}}):
            call.send(command)
            await asyncio.sleep(0.1)
            states.append(at.gateway.list_calls()[0]["state"])
        assert states == ["created", "ringing", "accepted"]
        call.send({"command": "ringing"})
        assert "not possible" in (await call.expect("error"))["error"]
        call.send({"command": "reject", "reason": "enough"})
        assert (await call.expect("reject"))["code"] == 603
        assert await call.closed() == 1000
        assert not call.of("incoming")


@virtual_time
async def test_G250_G255_G263_G264_what_was_written_in_two_ways() -> None:
    async with house() as at:
        call = at.connect("/ws?id=call-1&dump_events=false&ping_interval=3&server_side_track=s")
        query = at.session().query
        assert (query.dump, query.ping, query.server_side_track) == (False, 3, "s")  # G250
        await call.invite(vad={})
        assert not call.of("ping")  # G251
        await call.send_audio(np.concatenate((tone(800), silence(500))))
        (told,) = call.of("silence")
        assert told["duration"] == pytest.approx(800, abs=64)  # of the speech, G255
        await asyncio.sleep(600)
        assert not call.of("inactivity")  # G264
        call.send({"command": "hangup", "reason": "autohangup"})
        assert (await call.expect("hangup"))["reason"] == "autohangup"  # G253, G254
        assert await call.closed() == 1000  # G263


@virtual_time
async def test_G282_pcm_of_16_khz_both_ways_unless_asked_otherwise() -> None:
    async with house() as at:
        call = await at.call(vad={})
        call.send(tts())
        await call.send_audio(tone(800))
        assert {len(frame.data) for frame in call.audio} == {640}
        assert call.of("speaking")


@virtual_time
async def test_G284_errors_the_server_makes_name_it() -> None:
    class Broken(CallHandler):
        async def begin(self, session: Session, option: CallOption) -> HearingConfig:
            return HearingConfig()

        def media(self, event: Any) -> None:
            raise LookupError(event)

    async with house(handler_for=lambda _query: Broken()) as at:
        call = await at.call()
        call.send(tts())
        error = await call.expect("error")
        assert (error["sender"], error["code"]) == ("server", 500)
        await call.expect("trackEnd")


@virtual_time
async def test_G303_G304_what_a_client_needs_to_cut_its_history() -> None:
    async with house() as at:
        call = await at.call()
        call.send(tts("these words are never all heard", playId="u1"))
        await asyncio.sleep(1)
        call.send({"command": "interrupt"})
        cut = await call.expect("interruption", playId="u1")
        assert cut["subtitle"][cut["position"] :].startswith("never")
        assert cut["current"] / cut["totalDuration"] == pytest.approx(16 / 31, abs=0.1)


@virtual_time
async def test_G306_G307_a_client_may_leave_in_any_state_and_answers_no_ping() -> None:
    async with house() as at:
        courses: dict[str, list[dict[str, Any]]] = {
            "created": [],
            "ringing": [{"command": "ringing"}],
            "accepted": [{"command": "invite", "option": {}}],
            "speaking": [{"command": "invite", "option": {}}, tts()],
        }
        for name, commands in courses.items():
            call = at.connect(f"/ws?id={name}&ping=1")
            for command in commands:
                call.send(command)
            await asyncio.sleep(5)
            assert at.gateway.calls == 1
            call.vanish()
            await asyncio.sleep(1)
            assert at.gateway.calls == 0


@virtual_time
async def test_G308_text_after_the_end_of_a_stream_is_not_lost() -> None:
    async with house() as at:
        call = await at.call()
        call.send(tts("One.", playId="s", streaming=True, endOfStream=True))
        call.send(tts("Two.", playId="s", streaming=True, endOfStream=True))
        await call.expect("trackEnd", playId="s")
        await asyncio.sleep(2)
        assert [text for text, _ in at.voice.spoken] == ["One.", "Two."]


@virtual_time
async def test_commands_are_told_to_nobody_after_the_end() -> None:
    async with house() as at:
        call = await at.call()
        session = at.session()
        session.hangup("over")
        assert not session.submit(
            parse_command('{"command": "history", "speaker": "a", "text": ""}')
        )
        await call.closed()
        session.watched()
        session.deadlines.expect_invite(1.0, call.vanish)
        session.deadlines.expect_handshake(1.0, call.vanish)
        await asyncio.sleep(5)
        assert call.socket.code == 1000


@virtual_time
async def test_a_recorder_that_cannot_be_made_is_told() -> None:
    def recorder_for(_session: Session, _option: CallOption) -> Any:
        raise ConfigurationError("the disk is full")

    async with house(recorder_for=recorder_for) as at:
        call = await at.call(recorder={})
        (error,) = call.of("error")
        assert (error["sender"], error["error"]) == ("recorder", "the disk is full")


@virtual_time
async def test_a_call_without_keys_of_its_own_is_told_nothing_of_rights() -> None:
    rights = CallRights(keys=False)
    async with house(rights_for=lambda _query: rights) as at:
        call = await at.call(
            asr={"language": "de"},
            recorder={"recorderFile": "mine"},
            mediaPass={"url": "ws://x/", "inputSampleRate": 8000, "outputSampleRate": 8000},
        )
        assert not [event for event in call.of("error") if "not allowed" in event["error"]]
    async with house(rights_for=lambda _query: CallRights(files=False)) as at:
        call = await at.call(asr={"apiKey": "k"})
        assert not call.of("error")
        call.send({"command": "play", "url": "HTTPS://127.0.0.1/x.wav"})
        assert (await call.expect("error"))["sender"].startswith("filetrack:")
