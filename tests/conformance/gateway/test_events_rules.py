"""What a client is told: G16-G21, G37, G62, G64, G72, G72a, G100, G110-G120, G122-G126, G301,
G302, G314, G316; T4, T6-T8, T47, T52, T55, T56."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from tests.conformance.gateway.house import house

from salon.gateway import CallOption, parse_event
from salon.gateway.companions import Companion
from salon.gateway.farewell import party
from salon.gateway.translate import translate
from salon.gateway.warnings import warnings
from salon.media import Samples
from salon.testing import ScriptedVad, silence, tone, virtual_time
from salon.voice.events import Dtmf, Failed, Recognized, Synthesized
from salon.voice.vad.model import WINDOW_SAMPLES


def turn(speech_ms: int = 800) -> Samples:
    """A second of silence, speech, and silence enough to end it."""
    return np.concatenate((silence(1000), tone(speech_ms), silence(1000)))


def tts(text: str = "ten words", **fields: Any) -> dict[str, Any]:
    return {"command": "tts", "text": text, **fields}


# -- the course of a call ---------------------------------------------------------------------


@virtual_time
async def test_T4_G120_an_invite_is_answered_in_order() -> None:
    async with house() as at:
        call = await at.call()
        start, answer = call.events
        assert (start["event"], start["trackId"]) == ("trackStart", "call-1")
        assert "playId" not in start
        assert (answer["event"], answer["trackId"]) == ("answer", "call-1")
        assert (answer["sdp"], answer["refer"]) == ("", False)


@virtual_time
async def test_G120_inactivity_is_told_before_the_end() -> None:
    async with house() as at:
        call = await at.call(inactivityTimeout=2)
        await call.send_audio(silence(3000))  # packets count, not speech (G136)
        assert not call.of("inactivity")
        call.send(tts("x" * 200))
        await call.closed()
        names = [name for name in call.names if name != "metrics"]
        assert names[3:] == ["inactivity", "interruption", "trackEnd", "trackEnd", "hangup"]
        assert call.events[-1]["reason"] == "inactivityTimeout"


@virtual_time
async def test_G120_a_speech_turn_is_told_in_order() -> None:
    async with house() as at:
        call = await at.call(vad={}, asr={})
        await call.send_audio(turn())
        await call.expect("asrFinal")
        names = [name for name in call.names[2:] if name not in ("metrics", "asrDelta")]
        assert names[0] == "speaking"
        assert sorted(names[1:]) == ["asrFinal", "silence"]
        assert call.names.index("speaking") < call.names.index("asrDelta")


@virtual_time
async def test_G110_events_name_the_track_they_are_about() -> None:
    async with house() as at:
        call = await at.call(vad={}, asr={})
        await call.send_audio(turn())
        call.send(tts("words that are never all heard", playId="p"))
        await asyncio.sleep(0.3)
        at.session().media.events.post(Dtmf("7"))
        call.send({"command": "interrupt"})
        await call.expect("trackEnd", playId="p")
        call.send({"command": "hangup"})
        await call.closed()
        main = {"answer", "speaking", "silence", "asrDelta", "asrFinal", "dtmf", "hangup"}
        for event in call.events:
            if event["event"] in main:
                assert event["trackId"] == "call-1"
            elif event["event"] in ("trackStart", "trackEnd", "interruption"):
                server = event.get("playId") == "p"
                assert event["trackId"] == ("server-side-track" if server else "call-1")


@virtual_time
async def test_G114_durations_are_of_the_wall_clock() -> None:
    async with house() as at:
        call = await at.call()
        call.send(tts(playId="p"))
        await asyncio.sleep(0.2)
        call.send({"command": "pause"})
        await asyncio.sleep(2)
        call.send({"command": "resume"})
        end = await call.expect("trackEnd", playId="p")
        assert end["duration"] == pytest.approx(2540, abs=60)
        await asyncio.sleep(1)
        call.send({"command": "hangup"})
        main = await call.expect("trackEnd", trackId="call-1")
        assert main["duration"] == pytest.approx(3540, abs=60)
        assert main["ssrc"] == 0


# -- what is heard ----------------------------------------------------------------------------


@virtual_time
async def test_T6_what_was_said_before_the_invite_counts() -> None:
    async with house() as at:
        call = at.connect()
        for frame in np.concatenate((tone(800), silence(600))).reshape(-1, 320):
            call.send_bytes(frame.tobytes())
        await call.invite(vad={})
        await call.send_audio(silence(400))
        assert call.of("speaking")
        assert not call.of("error")


@virtual_time
async def test_G64_start_when_answer_drops_what_came_before() -> None:
    async with house() as at:
        call = at.connect()
        for _ in range(50):
            call.send_bytes(tone(20).tobytes())
        await call.invite(asr={"startWhenAnswer": True}, vad={})
        assert at.session().media.frames_in == 0
        assert at.session().early.dropped == 50
        await call.send_audio(turn())
        assert (await call.expect("asrFinal"))["text"] == "first words"


@virtual_time
async def test_T7_a_second_of_speech_is_one_turn() -> None:
    async with house() as at:
        call = await at.call(vad={})
        await call.send_audio(np.concatenate((tone(1000), silence(500))))
        (speaking,), (quiet,) = call.of("speaking"), call.of("silence")
        assert speaking["startTime"] == quiet["startTime"]
        assert quiet["duration"] == pytest.approx(1000, abs=64)
        assert speaking["confidence"] == 1.0
        assert "refer" not in speaking  # G125


@virtual_time
async def test_T8_a_short_burst_is_nothing() -> None:
    async with house() as at:
        call = await at.call(vad={})
        await call.send_audio(np.concatenate((silence(500), tone(200), silence(1000))))
        assert call.names == ["trackStart", "answer"]


@virtual_time
async def test_T55_a_silence_timeout_is_told_again_and_again() -> None:
    async with house() as at:
        call = await at.call(vad={"silenceTimeout": 1000})
        await call.send_audio(silence(3500))
        assert [event["duration"] for event in call.of("silence")] == pytest.approx(
            [1000] * 3, abs=40
        )


@virtual_time
async def test_T56_noise_in_a_short_pause_makes_no_second_turn() -> None:
    script = [0.0] * 10 + [0.9] * 20 + [0.0] * 2 + [0.9] * 5 + [0.0] * 2 + [0.9] * 10
    async with house(parts={"vad": ScriptedVad(script)}) as at:
        call = await at.call(vad={})
        await call.send_audio(silence(60 * WINDOW_SAMPLES // 16))
        assert len(call.of("speaking")) == len(call.of("silence")) == 1
        assert call.of("silence")[0]["duration"] == pytest.approx(39 * 32, abs=32)


@virtual_time
async def test_G117_G314_transcripts_have_both_times() -> None:
    async with house() as at:
        call = await at.call(vad={}, asr={})
        await call.send_audio(turn())
        await call.expect("asrFinal")
        for event in [*call.of("asrDelta"), *call.of("asrFinal")]:
            assert type(event["startTime"]) is int
            assert event["startTime"] <= event["endTime"]


@virtual_time
async def test_G126_a_client_interrupts_when_it_hears_of_speech() -> None:
    async with house() as at:
        call = await at.call(vad={})
        call.send(tts("x" * 60, playId="p"))
        await call.send_audio(turn())
        assert call.of("speaking")
        assert not call.of("interruption")
        call.send({"command": "interrupt"})
        await call.expect("interruption", timeout=0.1)


# -- what is not to be had --------------------------------------------------------------------


@virtual_time
async def test_T47_unknown_detectors_leave_the_others_at_work() -> None:
    async with house() as at:
        call = await at.call(vad={"type": "webrtc"}, eou={"type": "magic"}, asr={})
        await call.send_audio(turn())
        assert [event["sender"] for event in call.of("error")] == ["vad", "eou"]
        assert call.of("speaking")
        assert call.of("asrFinal")


@virtual_time
async def test_G64_an_unknown_recogniser_is_told_and_another_hears() -> None:
    async with house() as at:
        call = await at.call(vad={}, asr={"provider": "nobody"})
        (error,) = call.of("error")
        assert error["sender"] == "asr"
        assert "'nobody' is not known" in error["error"]
        await call.send_audio(turn())
        assert (await call.expect("asrFinal"))["text"] == "first words"
        other = await at.call("/ws?id=b", vad={}, asr={"provider": "mock"})
        assert not other.of("error")


@virtual_time
async def test_G64_without_a_recogniser_the_call_runs() -> None:
    async with house(parts={"recognition": False}) as at:
        call = await at.call(asr={"provider": "nobody"})
        (error,) = call.of("error")
        assert error["sender"] == "asr"


@virtual_time
async def test_G72_G72a_what_is_not_built_is_told_once() -> None:
    async with house() as at:
        call = await at.call(
            realtime={"provider": "openai"}, ringbackDetection={"enabled": True}, vad={}
        )
        assert {(event["sender"], event["error"]) for event in call.of("error")} == {
            ("ringback", "ringback detection is not available here"),
            ("invite", "option realtime is not available here"),
        }
        quiet = await at.call("/ws?id=b", ringbackDetection={"enabled": False})
        assert not quiet.of("error")


@pytest.mark.parametrize(
    ("option", "call_type", "serves", "told"),
    [
        ({}, "webSocket", (), []),
        ({"vad": {"type": "nop"}}, "webSocket", (), []),
        ({"vad": {"type": "ten"}}, "webSocket", (), ["vad"]),
        ({"eou": {"type": "x"}}, "webSocket", ("eou",), []),
        ({"denoise": True, "agc": {}}, "webSocket", (), ["invite", "invite"]),
        ({"denoise": True, "agc": {}}, "webSocket", ("agc", "denoise"), []),
        ({"ambiance": {"enabled": False}}, "webSocket", (), []),
        ({"ambiance": {}}, "webSocket", (), ["invite"]),
        ({"subscribe": True}, "webSocket", (), []),
        ({"subscribe": True}, "webrtc", (), ["invite"]),
        ({"subscribe": True}, "webrtc", ("subscribe",), []),
    ],
)
def test_G62_what_companions_serve_is_not_warned_of(
    option: dict[str, Any], call_type: str, serves: tuple[str, ...], told: list[str]
) -> None:
    made = CallOption.model_validate(option)
    assert [sender for sender, _ in warnings(made, call_type, frozenset(serves))] == told


@virtual_time
async def test_G48_what_a_companion_serves_is_available() -> None:
    class Ambiance(Companion):
        serves = frozenset({"ambiance"})

    async with house(companions=lambda _session: (Ambiance(),)) as at:
        call = await at.call(ambiance={}, denoise=True)
        assert [event["error"] for event in call.of("error")] == [
            "option denoise is not available here"
        ]


# -- the end ----------------------------------------------------------------------------------


@virtual_time
async def test_T52_a_socket_that_drops_leaves_nothing_behind() -> None:
    async with house() as at:
        call = await at.call(vad={}, asr={})
        call.send(tts("a long answer for nobody"))
        await call.send_audio(tone(300))
        media = at.session().media
        call.vanish()
        await asyncio.sleep(1)
        assert at.gateway.list_calls() == []
        assert media.player.current is None
        assert at.engine.ticker.statistics().callbacks == 1  # the detector's own


@virtual_time
@pytest.mark.parametrize(
    ("how", "code"), [("hangup", 1000), ("kill", 1000), ("drain", 1001), ("failed", 1011)]
)
async def test_G21_close_codes(how: str, code: int) -> None:
    async with house() as at:
        call = await at.call()
        if how == "hangup":
            call.send({"command": "hangup"})
        elif how == "kill":
            assert await at.gateway.kill("call-1")
        elif how == "drain":
            await at.gateway.drain(0.0)
        else:
            call.send({"command": "invite", "option": {}})
        assert await call.closed() == code
        assert call.names[-1] == "hangup"


@virtual_time
async def test_G301_G302_events_are_json_objects_and_sound_is_binary() -> None:
    async with house() as at:
        call = await at.call()
        call.send(tts())
        await call.expect("trackEnd")
        for event in call.events:
            assert parse_event(event).event == event["event"]
        assert {len(frame.data) for frame in call.audio} == {640}


@pytest.mark.parametrize(
    ("uri", "username", "realm"),
    [
        ("1001", "1001", None),
        ("+49 30 1234", "+49 30 1234", None),
        ("sip:1001@pbx.example", "1001", "pbx.example"),
        ("sips:ann:pw@pbx.example:5061;lr?x=1", "ann", "pbx.example:5061"),
        ("<sip:pbx.example>", None, "pbx.example"),
        ('"Ann" <sip:ann@pbx.example>;tag=1', "ann", "pbx.example"),
        ("tel:+4930", "+4930", None),
        ("ann@pbx.example", "ann", "pbx.example"),
        ("ann:pw@pbx.example", "ann", "pbx.example"),
        ('"Ann" <ann:pw@pbx.example>', "ann", "pbx.example"),
        ("reception", "reception", None),
    ],
)
def test_G112_parties_are_taken_from_their_address(
    uri: str, username: str | None, realm: str | None
) -> None:
    found = party(uri)
    assert (found.username, found.realm) == (username, realm)
    assert found.source is not None
    assert "pw" not in found.source


# -- measurements -----------------------------------------------------------------------------


@pytest.mark.parametrize(("final", "key"), [(False, "ttfb.asr.x"), (True, "completed.asr.x")])
def test_G116_recognition_is_measured(final: bool, key: str) -> None:
    event = translate(Recognized("x", 3, 120, final), "main", "server", 1)
    assert event is not None
    assert event.to_dict() == {
        "event": "metrics",
        "timestamp": 1,
        "key": key,
        "duration": 120,
        "data": {"index": 3},
    }


def test_G116_a_piece_of_speech_is_measured() -> None:
    made = Synthesized("x", "p", 640, 5, 9, cached=True, speaker="anna", sequence=2)
    event = translate(made, "main", "server", 1)
    assert event is not None
    assert event.to_dict()["data"] == {
        "playId": "p",
        "cmdSeq": 2,
        "speaker": "anna",
        "length": 640,
        "cached": True,
        "ttfb": 5,
        "duration": 9,
    }


@pytest.mark.parametrize(
    ("sender", "track"),
    [("tts", "server"), ("filetrack: x", "server"), ("media_pass: ws://x", "server"), ("a", "m")],
)
def test_G37_a_failure_names_its_track(sender: str, track: str) -> None:
    event = translate(Failed(sender, "broken"), "m", "server", 1)
    assert event is not None
    assert event.to_dict()["trackId"] == track
