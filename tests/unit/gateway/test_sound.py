"""Binary frames in both directions (G40-G49, G87) and recording."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from salon.gateway import Gateway
from salon.media import read_wav
from salon.testing import (
    CallPair,
    MockSpeechToText,
    scripted_engine,
    scripted_gateway,
    silence,
    tone,
)
from salon.voice.engine import VoiceEngine
from salon.voice.recorder import RecordingWriter, StereoRecorder


def ears(engine: VoiceEngine) -> MockSpeechToText:
    found = engine.recognizers[""]
    assert isinstance(found, MockSpeechToText)
    return found


@pytest.mark.parametrize(
    ("codec", "size"), [("pcm", 640), ("pcmu", 160), ("PCMA", 160), ("g722", 160), ("opus?", 640)]
)
async def test_G41_G46_sound_goes_out_in_packets_of_20_ms(
    gateway: Gateway, codec: str, size: int
) -> None:
    call = CallPair.connect(gateway.acceptor, codec=codec)
    await call.invite(codec=codec)
    call.send({"command": "tts", "text": "hello"})
    await call.expect("trackEnd")
    assert {len(frame.data) for frame in call.audio} == {size}
    assert len(call.audio) == 300 // 20
    assert int(np.abs(call.sound).max()) > 3000


async def test_G45_packets_keep_their_pace(call: CallPair) -> None:
    await call.invite()
    await asyncio.sleep(1)
    assert not call.audio  # nothing plays: nothing is sent
    call.send({"command": "tts", "text": "hello"})
    await call.expect("trackEnd")
    steps = np.diff([frame.at for frame in call.audio])
    assert np.allclose(steps, 0.02)


async def test_G46_a_server_may_send_pcm_at_8_khz(engine: VoiceEngine) -> None:
    async with scripted_gateway(engine, pcm_out_rate=8000) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite()
        call.send({"command": "tts", "text": "hello"})
        await call.expect("trackEnd")
        assert len(call.audio[5].data) == 320


@pytest.mark.parametrize("codec", ["pcm", "pcmu", "pcma", "g722"])
async def test_G42_what_is_said_is_heard_in_every_codec(gateway: Gateway, codec: str) -> None:
    call = CallPair.connect(gateway.acceptor, codec=codec)
    await call.invite(codec=codec, vad={}, asr={})
    await call.send_audio(np.concatenate((silence(300), tone(800), silence(800))))
    final = await call.expect("asrFinal")
    assert final["text"] == "first words"


@pytest.mark.parametrize("size", [2, 100, 641, 6400])
async def test_G40_frames_may_have_any_size(gateway: Gateway, size: int) -> None:
    call = CallPair.connect(gateway.acceptor)
    await call.invite(vad={})
    data = tone(1000).tobytes()
    for at in range(0, len(data), size):
        call.send_bytes(data[at : at + size])
        if at % 3200 < size:
            await asyncio.sleep(0.1 * max(1, size // 3200))
    await call.expect("speaking")
    assert not call.of("error")


async def test_an_empty_frame_is_nothing(call: CallPair) -> None:
    await call.invite()
    call.send_bytes(b"")
    call.send_bytes(b"\x01")
    await asyncio.sleep(1)
    assert call.socket.code is None


async def test_G43_sound_before_invite_is_kept_for_two_seconds(
    gateway: Gateway, engine: VoiceEngine, call: CallPair
) -> None:
    session = gateway.get("call-1")
    assert session is not None
    for _ in range(200):  # 4 s
        call.send_bytes(tone(20).tobytes())
    assert session.early.dropped == 100
    await call.invite(asr={})
    assert session.media.frames_in == 100
    await call.send_audio(silence(1000))
    await call.expect("asrFinal")
    assert len(ears(engine).heard[0].samples) >= 2 * 16_000


async def test_G43_two_seconds_are_fewer_bytes_in_a_packed_codec(
    gateway: Gateway, call: CallPair
) -> None:
    session = gateway.get("call-1")
    assert session is not None
    for _ in range(200):
        call.send_bytes(bytes(160))
    assert session.early.dropped == 0  # the codec is not known yet
    await call.invite(codec="pcmu")
    assert session.early.dropped == 100
    assert session.media.frames_in == 100


async def test_G47_the_last_packet_of_speech_is_filled_with_silence(call: CallPair) -> None:
    await call.invite()
    call.send({"command": "tts", "text": "hi", "option": {"speed": 1.05}})  # 114 ms
    await call.expect("trackEnd")
    assert len(call.audio[-1].data) == 640
    assert not call.sound[-16:].any()


async def test_G49_events_and_sound_leave_in_one_order(call: CallPair) -> None:
    await call.invite()
    for play_id in ("a", "b"):
        call.send({"command": "tts", "text": "hello", "playId": play_id})
        await call.expect("trackEnd", playId=play_id)
    kept = [name for name in call.order if name in ("trackStart", "audio", "trackEnd")]
    runs = [name for at, name in enumerate(kept) if at == 0 or kept[at - 1] != name]
    assert runs == ["trackStart", "audio", "trackEnd", "trackStart", "audio", "trackEnd"]


async def test_G87_a_muted_caller_is_silent(call: CallPair) -> None:
    await call.invite(vad={}, asr={})
    call.send({"command": "mute", "trackId": "other"})
    call.send({"command": "mute"})
    await call.send_audio(tone(1000))
    assert not call.of("speaking")
    call.send({"command": "unmute", "trackId": "call-1"})
    await call.send_audio(tone(1000))
    assert call.of("speaking")


async def test_G119_sound_that_is_not_read_is_dropped_oldest_first(
    gateway: Gateway, call: CallPair
) -> None:
    await call.invite()
    call.socket.reading = False
    call.send({"command": "tts", "text": "x" * 100, "playId": "p"})  # 6 s, 300 packets
    await asyncio.sleep(7)
    session = gateway.get("call-1")
    assert session is not None
    assert session.dropped_audio == 250
    call.socket.read_again()
    assert len(call.audio) == 50
    assert call.of("trackStart", playId="p")
    assert call.of("trackEnd", playId="p")


async def test_G119_events_are_never_dropped_too_many_end_the_call(
    gateway: Gateway, call: CallPair
) -> None:
    await call.invite()
    call.socket.reading = False
    for _ in range(20):
        for _ in range(100):
            call.send({"command": "history", "speaker": "x", "text": "y"})
        await asyncio.sleep(0.01)
    assert await call.closed() == 1008
    await asyncio.sleep(1)
    assert gateway.calls == 0


async def test_G60_G136_no_packets_end_the_call(call: CallPair) -> None:
    await call.invite(inactivityTimeout=5)
    await call.send_audio(silence(10_000))
    assert not call.of("inactivity")
    await call.expect("inactivity", timeout=8)
    assert (await call.expect("hangup"))["reason"] == "inactivityTimeout"


async def test_G60_inactivity_is_off_unless_asked_for(gateway: Gateway, call: CallPair) -> None:
    await call.invite()
    await asyncio.sleep(3600)
    assert gateway.calls == 1


async def test_G215_both_sides_are_recorded(engine: VoiceEngine, tmp_path: Path) -> None:
    writer = RecordingWriter()
    path = tmp_path / "call.wav"
    async with scripted_gateway(
        engine, recorder_for=lambda _session, _option: StereoRecorder(path, writer)
    ) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite()
        call.send({"command": "tts", "text": "hello"})
        await call.send_audio(tone(1000))
        call.send({"command": "hangup"})
        await call.closed()
    writer.close()
    mixed, rate = read_wav(path)
    assert rate == 16_000
    assert len(mixed) == pytest.approx(16_000, abs=640)
    assert writer.dropped == 0


async def test_missing_engines_are_told_while_the_call_runs() -> None:
    missing = {"recognition": 'pip install "salon[recognition]"', "synthesis": "salon[espeak]"}
    async with (
        scripted_engine(recognition=False, synthesis=False, missing=missing) as engine,
        scripted_gateway(engine) as gateway,
    ):
        call = CallPair.connect(gateway.acceptor)
        await call.invite(asr={}, vad={})
        (error,) = call.of("error")
        assert error["sender"] == "asr"
        assert "salon[recognition]" in error["error"]
        call.send({"command": "tts", "text": "hello"})
        assert "salon[espeak]" in (await call.expect("error"))["error"]
        await call.send_audio(tone(1000))
        await call.expect("speaking")
        assert call.socket.code is None
