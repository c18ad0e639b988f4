"""The server track: `tts`, `play`, `interrupt`, `pause`, `resume` (G73-G82)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salon.gateway import Gateway
from salon.gateway.server_track import MAX_TEXT
from salon.gateway.sounds import SoundLoader
from salon.media import write_wav
from salon.testing import (
    CallPair,
    MockTextToSpeech,
    scripted_engine,
    scripted_gateway,
    tone,
)
from salon.voice.engine import VoiceEngine

TEXT = "ten words"
TEXT_MS = 540
"""Nine characters of 60 ms."""


@pytest.fixture
async def gateway(engine: VoiceEngine, tmp_path: Path) -> AsyncIterator[Gateway]:
    write_wav(tmp_path / "bell.wav", tone(400), 16_000)
    async with scripted_gateway(engine, media=tmp_path) as made:
        yield made


@pytest.fixture
async def call(gateway: Gateway) -> CallPair:
    made = CallPair.connect(gateway.acceptor, "/ws?id=call-1")
    await made.invite()
    return made


def tts(text: str = TEXT, **fields: Any) -> dict[str, Any]:
    return {"command": "tts", "text": text, **fields}


def server(call: CallPair) -> list[tuple[str, str | None]]:
    """Events of the server track with their playId."""
    return [
        (event["event"], event.get("playId"))
        for event in call.events
        if event.get("trackId") == "server-side-track"
    ]


async def test_G73_a_text_is_spoken_on_the_server_track(call: CallPair) -> None:
    call.send(tts(playId="p"))
    end = await call.expect("trackEnd")
    assert server(call) == [("trackStart", "p"), ("trackEnd", "p")]
    assert len(call.audio) == TEXT_MS // 20
    assert end["duration"] == pytest.approx(TEXT_MS, abs=60)


async def test_G6_the_connection_may_name_the_server_track(gateway: Gateway) -> None:
    call = CallPair.connect(gateway.acceptor, "/ws?serverSideTrack=agent")
    await call.invite()
    call.send(tts())
    assert (await call.expect("trackEnd"))["trackId"] == "agent"


async def test_G74_another_play_id_replaces_what_plays(call: CallPair) -> None:
    call.send(tts("a long text that is cut", playId="a"))
    await asyncio.sleep(0.3)
    call.send(tts(playId="b"))
    await call.expect("trackEnd", playId="b")
    assert server(call) == [
        ("trackStart", "a"),
        ("interruption", "a"),
        ("trackEnd", "a"),
        ("trackStart", "b"),
        ("trackEnd", "b"),
    ]


@pytest.mark.parametrize("play_id", ["p", None])
async def test_G74_the_same_play_id_joins(call: CallPair, play_id: str | None) -> None:
    fields = {} if play_id is None else {"playId": play_id}
    call.send(tts(**fields))
    await asyncio.sleep(0.2)
    call.send(tts("more words", **fields))
    await call.expect("trackEnd")
    assert server(call) == [("trackStart", play_id), ("trackEnd", play_id)]
    assert len(call.audio) == (TEXT_MS + 600) // 20


async def test_G74_a_text_without_play_id_replaces_one_that_has_it(call: CallPair) -> None:
    call.send(tts(playId="a"))
    await asyncio.sleep(0.2)
    call.send(tts())
    await call.expect("interruption", playId="a")
    assert (await call.expect("trackStart")).get("playId") is None


async def test_G75_pieces_with_the_same_id_are_spoken_in_order(
    call: CallPair, voice: MockTextToSpeech
) -> None:
    texts = ["first piece", "second piece", "third piece"]
    for number, text in enumerate(texts):
        call.send(tts(text, playId="p", endOfStream=number == 2))
    await call.expect("trackEnd", playId="p")
    assert [text for text, _ in voice.spoken] == texts
    assert len(call.of("trackStart", playId="p")) == 1
    call.send(tts("afterwards", playId="p"))
    await call.expect("trackEnd", playId="p")
    assert len(call.of("trackStart", playId="p")) == 2


async def test_G75_a_streaming_track_stays_open_until_its_end(call: CallPair) -> None:
    call.send(tts(playId="s", streaming=True))
    await asyncio.sleep(10)
    assert not call.of("trackEnd")
    call.send(tts("the end", playId="s", streaming=True))
    await asyncio.sleep(10)
    call.send(tts("", playId="s", streaming=True, endOfStream=True))
    end = await call.expect("trackEnd", playId="s")
    assert end["duration"] == pytest.approx(20_000, abs=60)
    assert len(call.of("trackStart", playId="s")) == 1


async def test_an_empty_text_only_signals(call: CallPair, voice: MockTextToSpeech) -> None:
    call.send(tts("", playId="nothing"))
    await call.expect("trackEnd", playId="nothing")
    assert not voice.spoken
    assert not call.audio


async def test_G76_interrupt_tells_what_was_heard(call: CallPair) -> None:
    call.send(tts("these words are never all heard", playId="p"))
    await asyncio.sleep(1.0)
    call.send({"command": "interrupt"})
    event = await call.expect("interruption", playId="p")
    await call.expect("trackEnd", playId="p")
    assert event["subtitle"] == "these words are never all heard"
    assert event["current"] == pytest.approx(1000, abs=60)
    assert event["totalDuration"] == 31 * 60
    assert event["subtitle"][event["position"] :].startswith("never")
    frames = len(call.audio)
    await asyncio.sleep(1)
    assert len(call.audio) == frames


async def test_G76_graceful_lets_the_piece_end(call: CallPair) -> None:
    for text in ("the first", "the second"):
        call.send(tts(text, playId="p"))
    await asyncio.sleep(0.2)
    call.send({"command": "interrupt", "graceful": True})
    await call.expect("interruption")
    call.send({"command": "interrupt", "graceful": True})
    await call.expect("trackEnd")
    assert len(call.of("interruption")) == 1
    assert len(call.audio) == 540 // 20


async def test_G76_graceful_on_streaming_speech_is_immediate(call: CallPair) -> None:
    call.send(tts(playId="p", streaming=True))
    await asyncio.sleep(0.2)
    call.send({"command": "interrupt", "graceful": True})
    await call.expect("trackEnd", timeout=0.1)


async def test_G76_sound_fades_out(call: CallPair) -> None:
    call.send(tts("a long text that fades away", playId="p"))
    await asyncio.sleep(0.5)
    call.send({"command": "interrupt", "fadeOutMs": 200})
    await call.expect("interruption")
    frames = len(call.audio)
    await call.expect("trackEnd")
    assert len(call.audio) - frames == 10
    last = call.sound[-320:]
    assert int(np.abs(last).max()) < int(np.abs(call.sound[:320]).max()) / 5


async def test_G76_with_nothing_playing_nothing_happens(call: CallPair) -> None:
    before = len(call.events)
    call.send({"command": "interrupt"})
    await asyncio.sleep(1)
    assert len(call.events) == before


async def test_interrupt_before_invite_is_no_error(gateway: Gateway) -> None:
    call = CallPair.connect(gateway.acceptor)
    call.send({"command": "interrupt"})
    await asyncio.sleep(1)
    assert call.events == []


async def test_G77_a_paused_track_is_frozen(call: CallPair) -> None:
    call.send(tts(playId="p"))
    await asyncio.sleep(0.2)
    call.send({"command": "pause"})
    await asyncio.sleep(0.04)
    frames = len(call.audio)
    await asyncio.sleep(5)
    assert len(call.audio) == frames
    assert not call.of("trackEnd")
    call.send({"command": "resume"})
    end = await call.expect("trackEnd")
    assert len(call.audio) == TEXT_MS // 20
    assert end["duration"] > 5000


@pytest.mark.parametrize("command", ["pause", "resume"])
async def test_G77_without_a_track_is_an_error(call: CallPair, command: str) -> None:
    call.send({"command": command})
    assert "track not found" in (await call.expect("error"))["error"]


async def test_G78_silence_after_the_wait(call: CallPair) -> None:
    call.send(tts(waitInputTimeout=3000))
    await call.expect("trackEnd")
    ended = call.times[-1]
    silence = await call.expect("silence")
    assert silence["trackId"] == "server-side-track"
    assert (silence["duration"], silence["refer"]) == (3000, False)
    assert call.times[-1] - ended == pytest.approx(3.0, abs=0.1)
    await asyncio.sleep(10)
    assert len(call.of("silence")) == 1


async def test_G78_speech_of_the_caller_disarms(gateway: Gateway) -> None:
    call = CallPair.connect(gateway.acceptor)
    await call.invite(vad={})
    call.send(tts(waitInputTimeout=3000))
    await call.expect("trackEnd")
    await asyncio.sleep(2)
    await call.send_audio(tone(1000))
    await asyncio.sleep(10)
    assert not call.of("silence", trackId="server-side-track")


async def test_G79_auto_hangup(call: CallPair) -> None:
    call.send(tts(autoHangup=True, playId="bye"))
    call.send(tts("and bye", playId="bye"))  # keeps the request
    assert (await call.expect("hangup"))["reason"] == "system"
    assert await call.closed() == 1000
    assert len(call.audio) == (TEXT_MS + 7 * 60) // 20


@pytest.mark.parametrize(
    "command", [{"command": "interrupt"}, {"command": "play", "url": "bell.wav"}, tts(playId="new")]
)
async def test_G79_what_replaces_a_track_clears_its_auto_hangup(
    call: CallPair, command: dict[str, Any]
) -> None:
    call.send(tts(autoHangup=True, playId="bye"))
    await asyncio.sleep(0.2)
    call.send(command)
    await asyncio.sleep(5)
    assert not call.of("hangup")


async def test_G80_a_file_is_played(call: CallPair) -> None:
    call.send({"command": "play", "url": "bell.wav"})
    end = await call.expect("trackEnd")
    assert end["playId"] == "bell.wav"
    assert len(call.audio) == 20
    assert np.array_equal(call.sound, tone(400))


async def test_G80_play_replaces_speech_and_starts_at_its_offset(call: CallPair) -> None:
    call.send(tts(playId="p"))
    await asyncio.sleep(0.2)
    frames = len(call.audio)
    call.send({"command": "play", "url": "bell.wav", "playId": "bell", "offsetMs": 290})
    await call.expect("trackEnd", playId="bell")
    assert server(call)[1:] == [
        ("interruption", "p"),
        ("trackEnd", "p"),
        ("trackStart", "bell"),
        ("trackEnd", "bell"),
    ]
    assert len(call.audio) - frames == 6  # 110 ms, the last one filled up


async def test_G76_an_interrupted_file_only_ends(call: CallPair) -> None:
    call.send({"command": "play", "url": "bell.wav"})
    await asyncio.sleep(0.1)
    call.send({"command": "interrupt", "graceful": True})
    await call.expect("trackEnd", timeout=0.1)
    assert not call.of("interruption")


async def test_G74_speech_replaces_a_file(call: CallPair) -> None:
    call.send({"command": "play", "url": "bell.wav", "playId": "p"})
    await asyncio.sleep(0.1)
    call.send(tts(playId="p"))
    await call.expect("trackEnd", playId="p")
    await call.expect("trackEnd", playId="p")
    assert not call.of("error")


async def test_G80_a_sound_that_is_not_there(call: CallPair) -> None:
    call.send({"command": "play", "url": "../secret.wav"})
    await call.expect("trackEnd")
    assert [name for name, _ in server(call)] == ["trackStart", "error", "trackEnd"]
    (error,) = call.of("error")
    assert error["sender"] == "filetrack: ../secret.wav"


async def test_an_interrupt_skips_a_sound_that_is_being_loaded(
    call: CallPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(_loader: SoundLoader, _url: str) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(SoundLoader, "load", slow)
    call.send({"command": "play", "url": "bell.wav"})
    await asyncio.sleep(1)
    call.send({"command": "interrupt"})
    call.send(tts(playId="next"))
    await call.expect("trackEnd", timeout=5, playId="next")
    assert not call.of("trackStart", playId="bell.wav")


async def test_G81_emoji_are_not_spoken(call: CallPair, voice: MockTextToSpeech) -> None:
    call.send(tts("fine \N{GRINNING FACE}"))
    await call.expect("trackEnd")
    assert [text for text, _ in voice.spoken] == ["fine"]


async def test_G82_an_unknown_provider_is_an_error(call: CallPair) -> None:
    call.send(tts(option={"provider": "nobody"}))
    assert (await call.expect("error"))["error"] == "TTS type not found: nobody"


async def test_G82_a_piece_that_fails_is_told_and_counts_as_finished() -> None:
    voice = MockTextToSpeech(failures={"bad": "no such sound"})
    async with (
        scripted_engine(synthesizer=voice) as engine,
        scripted_gateway(engine) as gateway,
    ):
        call = CallPair.connect(gateway.acceptor)
        await call.invite()
        call.send(tts("bad", playId="p"))
        call.send(tts("good", playId="p"))
        error = await call.expect("error")
        assert (error["sender"], error["code"]) == ("tts", 500)
        assert error["trackId"] == "server-side-track"
        await call.expect("trackEnd")
        assert len(call.audio) == 240 // 20


async def test_base64_sound_is_played_as_it_is(call: CallPair) -> None:
    sound = tone(100)
    call.send(tts(base64.b64encode(sound.tobytes()).decode(), base64=True))
    await call.expect("trackEnd")
    assert np.array_equal(call.sound, sound)


@pytest.mark.parametrize(
    ("text", "fields"),
    [("no base64!", {"base64": True}), ("AAAA", {"base64": True}), ("x" * (MAX_TEXT + 1), {})],
)
async def test_texts_that_cannot_be_spoken(
    call: CallPair, text: str, fields: dict[str, bool]
) -> None:
    call.send(tts(text, **fields))
    assert (await call.expect("error"))["sender"] == "command"
    assert not call.of("trackStart", trackId="server-side-track")


async def test_G65_options_of_the_call_and_of_the_command(
    gateway: Gateway, voice: MockTextToSpeech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice, "voices", lambda: ("anna", "ben"))
    call = CallPair.connect(gateway.acceptor)
    await call.invite(tts={"speaker": "anna", "speed": 9.0, "volume": 40, "language": "de"})
    call.send(tts("one"))
    await call.expect("trackEnd")
    call.send(tts("two", option={"speed": 0.1}, speaker="ben"))
    await call.expect("trackEnd")
    call.send(tts("three", speaker="nobody"))
    await call.expect("trackEnd")
    settings = [setting for _, setting in voice.spoken]
    assert [(item.voice, item.speed) for item in settings] == [
        ("anna", 2.0),
        ("ben", 0.5),
        (None, 2.0),
    ]
    assert {item.volume for item in settings} == {10.0}
    assert {item.language for item in settings} == {"de"}


async def test_G116_a_finished_piece_is_measured(call: CallPair) -> None:
    call.send(tts(playId="p"))
    metrics = await call.expect("metrics")
    assert metrics["key"] == "completed.tts.mock"
    assert metrics["data"]["playId"] == "p"
    assert metrics["data"]["length"] == TEXT_MS * 32
