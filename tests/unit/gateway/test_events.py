"""What a client is told, and in which order (G100-G126)."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from salon.base import UnavailableError
from salon.gateway import Gateway, get_event_bus, install_event_bus, parse_event
from salon.gateway.bus import EventBus
from salon.gateway.translate import translate
from salon.media import Samples
from salon.testing import CallPair, MockSpeechToText, scripted_engine, scripted_gateway, tone
from salon.testing import silence as quiet
from salon.voice.engine import VoiceEngine
from salon.voice.errors import SpeechError
from salon.voice.events import Failed, Level, MediaEvent, Silence, TurnMeasured
from salon.voice.stt.mock import Scripted

PRE_ROLL_MS = 200
"""An utterance begins before its onset (V155)."""


def turn(speech_ms: int = 800) -> Samples:
    """A second of silence, speech, and silence enough to end it."""
    return np.concatenate((quiet(1000), tone(speech_ms), quiet(1000)))


async def test_G120_the_course_of_a_call(call: CallPair) -> None:
    await call.invite(vad={}, asr={})
    await call.send_audio(turn())
    call.send({"command": "tts", "text": "hello", "playId": "p"})
    await call.expect("trackEnd", playId="p")
    call.send({"command": "hangup"})
    await call.closed()
    told = [name for name in call.names if name not in ("asrDelta", "metrics")]
    assert told == [
        "trackStart",
        "answer",
        "speaking",
        "silence",
        "asrFinal",
        "trackStart",
        "trackEnd",
        "trackEnd",
        "hangup",
    ]
    assert call.names.index("speaking") < call.names.index("asrDelta")
    for event in call.events:
        assert parse_event(event).event == event["event"]
        assert None not in event.values()


async def test_G121_times_of_speech_are_on_the_clock_of_the_samples(call: CallPair) -> None:
    await call.invite(vad={}, asr={})
    began = call.of("answer")[0]["timestamp"]
    await call.send_audio(turn(960))
    await call.expect("asrFinal")
    (speaking,), (silence,), (final,) = (
        call.of(name) for name in ("speaking", "silence", "asrFinal")
    )
    assert speaking["startTime"] - began == pytest.approx(1000, abs=40)
    assert silence["startTime"] == speaking["startTime"]
    assert silence["duration"] == pytest.approx(960, abs=64)
    assert final["startTime"] - began == pytest.approx(1000 - PRE_ROLL_MS, abs=64)
    assert final["endTime"] - began == pytest.approx(1960, abs=64)
    assert (final["index"], final["text"], final["trackId"]) == (0, "first words", "call-1")


async def test_G118_partial_words_replace_each_other(call: CallPair) -> None:
    await call.invite(vad={}, asr={})
    await call.send_audio(turn())
    texts = [event["text"] for event in call.of("asrDelta")]
    assert texts[-1] == "first words"
    assert len(texts) == len(set(texts))


async def test_G118_indices_grow_and_empty_texts_are_not_told(gateway: Gateway) -> None:
    call = CallPair.connect(gateway.acceptor)
    await call.invite(vad={}, asr={})
    for _ in range(4):
        await call.send_audio(turn())
    await asyncio.sleep(1)
    finals = [(event["index"], event["text"]) for event in call.of("asrFinal")]
    assert finals == [(0, "first words"), (1, "second words"), (2, "third words")]


async def test_G123_silence_timeout_is_told_again_and_again(call: CallPair) -> None:
    await call.invite(vad={"silenceTimeout": 1000})
    await call.send_audio(quiet(3500))
    durations = [event["duration"] for event in call.of("silence")]
    assert len(durations) == 3
    assert durations == pytest.approx([1000] * 3, abs=40)


async def test_G124_short_speech_is_not_told(call: CallPair) -> None:
    await call.invite(vad={"speechPadding": 400})
    await call.send_audio(np.concatenate((quiet(500), tone(300), quiet(1000))))
    assert not call.of("speaking")
    assert not call.of("silence")


async def test_G126_without_vad_there_is_no_speaking_but_recognition(call: CallPair) -> None:
    await call.invite(asr={})
    await call.send_audio(turn())
    await call.expect("asrFinal")
    assert not call.of("speaking")
    assert not call.of("silence")
    assert call.of("asrDelta")


async def test_G126_a_controller_interrupts_by_itself(call: CallPair) -> None:
    await call.invite(vad={}, asr={})
    call.send({"command": "tts", "text": "x" * 60, "playId": "p"})
    await call.send_audio(turn())
    assert not call.of("interruption")
    call.send({"command": "interrupt"})
    await call.expect("interruption", timeout=0.1)


async def test_G62_G69_what_is_not_known_is_told_and_the_rest_works(call: CallPair) -> None:
    await call.invite(
        vad={"type": "webrtc"},
        eou={"type": "magic"},
        denoise=True,
        ambiance={"path": "rain.wav"},
        mediaPass={"url": "ws://x", "inputSampleRate": 8000, "outputSampleRate": 8000},
    )
    await call.send_audio(turn())
    assert [event["sender"] for event in call.of("error")] == [
        "vad",
        "eou",
        "invite",
        "invite",
        "invite",
    ]
    assert call.of("speaking")


async def test_G141_recognition_that_fails_is_told_and_goes_on() -> None:
    heard: list[Scripted] = [SpeechError("mock", "no decoder"), "later words"]
    async with scripted_engine(heard) as engine, scripted_gateway(engine) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite(vad={}, asr={})
        await call.send_audio(turn())
        error = await call.expect("error")
        assert (error["sender"], error["code"]) == ("mock", 500)
        await call.send_audio(turn())
        assert (await call.expect("asrFinal"))["text"] == "later words"


async def test_a_recogniser_that_cannot_begin_is_told() -> None:
    ears = MockSpeechToText(["words"])
    async with scripted_engine(recognizer=ears) as engine, scripted_gateway(engine) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite(vad={}, asr={})
        await ears.close()
        await call.send_audio(turn())
        assert (await call.expect("error"))["sender"] == "mock"
        assert not call.of("asrFinal")
        await ears.start()
        await call.send_audio(turn())
        assert (await call.expect("asrFinal"))["text"] == "words"


async def test_G64_language_and_hints_reach_the_recogniser(
    engine: VoiceEngine, call: CallPair
) -> None:
    await call.invite(asr={"language": "de", "provider": "mock"})
    await call.send_audio(turn())
    ears = engine.recognizers[""]
    assert isinstance(ears, MockSpeechToText)
    assert ears.heard[0].language == "de"


async def test_an_event_plane_that_does_not_keep_up_ends_the_call(
    gateway: Gateway, call: CallPair
) -> None:
    await call.invite()
    session = gateway.get("call-1")
    assert session is not None
    for _ in range(session.media.events.bound + 1):
        session.media.events.post(Silence(0, 0))
    assert (await call.expect("error"))["code"] == 500
    assert await call.closed() == 1011


# -- translation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "track"), [("tts", "server"), ("filetrack: x", "server"), ("mock", "main")]
)
def test_G37_errors_name_the_track_they_concern(sender: str, track: str) -> None:
    event = translate(Failed(sender, "broken"), "main", "server", 1)
    assert event is not None
    assert event.to_dict() == {
        "event": "error",
        "trackId": track,
        "timestamp": 1,
        "sender": sender,
        "error": "broken",
    }


def test_the_latency_of_a_turn_is_a_metric() -> None:
    event = translate(TurnMeasured(3, "hello", 100, 200, 300, 250), "main", "server", 1)
    assert event is not None
    assert event.to_dict() == {
        "event": "metrics",
        "timestamp": 1,
        "key": "turn.latency",
        "duration": 300,
        "data": {
            "turn": 3,
            "text": "hello",
            "recognised": 100,
            "firstWord": 200,
            "firstSound": 250,
            "firstAudio": 300,
        },
    }


def test_levels_stay_inside() -> None:
    level: MediaEvent = Level(-30.0)
    assert translate(level, "main", "server", 1) is None


# -- the bus --------------------------------------------------------------------------------------


async def test_the_bus_has_what_the_client_has(engine: VoiceEngine) -> None:
    seen: list[tuple[str, dict[str, object]]] = []
    async with scripted_gateway(engine) as gateway:
        gateway.services.bus.subscribe(lambda call_id, event: seen.append((call_id, event)))
        call = CallPair.connect(gateway.acceptor, "/ws?id=one")
        await call.invite()
        call.send({"command": "hangup"})
        await call.closed()
    assert [event for _, event in seen] == call.events
    assert {call_id for call_id, _ in seen} == {"one"}


def test_a_listener_hears_one_session_or_all_until_it_stops() -> None:
    bus = EventBus()
    heard: list[str] = []
    stop_all = bus.subscribe(lambda call_id, _event: heard.append(f"all {call_id}"))
    stop_one = bus.subscribe(lambda call_id, _event: heard.append(f"one {call_id}"), "one")
    bus.publish("one", {})
    bus.publish("two", {})
    assert heard == ["one one", "all one", "all two"]
    stop_one()
    stop_one()
    wanted = bus.wanted
    stop_all()
    assert wanted
    assert not bus.wanted
    bus.publish("one", {})
    assert (len(heard), bus.published) == (3, 3)


def test_a_listener_that_fails_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus()
    heard: list[str] = []

    def broken(_call_id: str, _event: dict[str, object]) -> None:
        raise LookupError("mine")

    bus.subscribe(broken)
    bus.subscribe(lambda call_id, _event: heard.append(call_id))
    bus.publish("one", {"event": "answer"})
    assert heard == ["one"]
    assert "answer" in caplog.text


def test_the_bus_of_the_application_is_found_while_it_runs() -> None:
    first, second = EventBus(), EventBus()
    remove_first = install_event_bus(first)
    remove_second = install_event_bus(second)
    assert get_event_bus() is second
    remove_second()
    remove_second()
    assert get_event_bus() is first
    remove_first()
    with pytest.raises(UnavailableError):
        get_event_bus()
