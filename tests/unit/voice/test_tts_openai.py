"""The HTTP client, against a small server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.unit.voice.speech_server import SpeechServer, speech_server
from tests.unit.voice.test_tts_contract import speak

from salon.base import ConfigurationError, MissingExtraError
from salon.media import sine, wav_bytes
from salon.voice.errors import SpeechError
from salon.voice.tts import OpenAITextToSpeech, VoiceSettings


@pytest.fixture
async def server() -> AsyncIterator[SpeechServer]:
    async with speech_server() as server:
        yield server


@pytest.fixture
async def engine(server: SpeechServer) -> AsyncIterator[OpenAITextToSpeech]:
    engine = OpenAITextToSpeech(
        server.url + "/", "sk-secret", "model-1", "voice-1", read_timeout=1.0, max_connections=2
    )
    await engine.start()
    yield engine
    await engine.close()


async def test_request_and_length(server: SpeechServer, engine: OpenAITextToSpeech) -> None:
    spoken = await speak(engine, " Hello 🙂 ", VoiceSettings(voice="v2", speed=9))
    assert server.requests == [
        {
            "model": "model-1",
            "voice": "v2",
            "input": "Hello",
            "response_format": "pcm",
            "speed": 2.0,
        }
    ]
    assert "POST /v1/audio/speech HTTP" in server.headers[0]
    assert "authorization: bearer sk-secret" in server.headers[0].lower()
    assert spoken.ms == pytest.approx(50, abs=5)
    assert "sk-secret" not in repr(engine)


async def test_G134_wav_header_is_taken_off(
    server: SpeechServer, engine: OpenAITextToSpeech
) -> None:
    plain = await speak(engine, "Hello there")
    server.mode = "wav"
    assert (await speak(engine, "Hello there")).samples.tolist() == plain.samples.tolist()


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 1), (24_000, 2)])
async def test_G134_a_wav_header_says_rate_and_channels(
    server: SpeechServer, engine: OpenAITextToSpeech, rate: int, channels: int
) -> None:
    tone = sine(440, 1.0, sample_rate=rate)
    server.body = wav_bytes(np.repeat(tone, channels), rate, channels)
    spoken = await speak(engine, "Hello there")
    assert spoken.ms == pytest.approx(1000, abs=5)
    assert int(np.argmax(np.abs(np.fft.rfft(spoken.samples[:16_000])))) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("application/json; charset=utf-8", b'{"error": "no such voice"}', "application/json"),
        ("text/html", b"<html>", "text/html"),
        ("audio/mpeg", b"\xff\xf3\xe4\xc4" + bytes(400), "compressed"),
        ("", b"ID3\x04" + bytes(400), "compressed"),
        ("audio/pcm", b"OggS" + bytes(400), "compressed"),
        ("audio/pcm", b"", "no sound"),
    ],
)
async def test_V106_an_answer_that_is_no_sound_is_an_error_and_is_not_played(
    server: SpeechServer, engine: OpenAITextToSpeech, kind: str, body: bytes, said: str
) -> None:
    server.kind, server.body = kind, body
    with pytest.raises(SpeechError, match=said):
        await speak(engine, "Hello")


async def test_samples_that_are_called_mp3_are_played(
    server: SpeechServer, engine: OpenAITextToSpeech
) -> None:
    server.kind = "audio/mpeg"
    assert (await speak(engine, "Hello")).ms > 50


async def test_refusal_is_an_error_without_secrets(
    server: SpeechServer, engine: OpenAITextToSpeech
) -> None:
    server.mode = "refuse"
    with pytest.raises(SpeechError, match="HTTP 401") as caught:
        await speak(engine, "Hello")
    assert "abcdefghijklmnop" not in str(caught.value)


@pytest.mark.parametrize("mode", ["silent", "break"])
async def test_silence_and_broken_answers_are_errors(
    server: SpeechServer, engine: OpenAITextToSpeech, mode: str
) -> None:
    server.mode = mode
    with pytest.raises(SpeechError):
        await speak(engine, "Hello there, how are you?")
    server.mode = "good"
    assert (await speak(engine, "Hello")).ms > 50


async def test_endless_answer_is_cut_off(
    server: SpeechServer, engine: OpenAITextToSpeech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salon.voice.tts.openai.MAX_PIECE_S", 5)
    server.mode = "endless"
    with pytest.raises(SpeechError, match="over 5 s"):
        await speak(engine, "Hello")


async def test_a_compressed_answer_is_refused_unread(
    server: SpeechServer, engine: OpenAITextToSpeech
) -> None:
    server.mode = "packed"
    with pytest.raises(SpeechError, match="compressed"):
        await speak(engine, "Hello")
    assert "accept-encoding: identity" in server.headers[0].lower()


async def test_closing_early_breaks_the_request_off(
    server: SpeechServer, engine: OpenAITextToSpeech
) -> None:
    server.mode = "endless"
    chunks = engine.speak("Hello")
    await anext(chunks)
    await chunks.aclose()
    async with asyncio.timeout(5):
        await server.broken_off.wait()


async def test_no_server_is_an_error() -> None:
    engine = OpenAITextToSpeech("http://127.0.0.1:9/v1")
    await engine.start()
    with pytest.raises(SpeechError, match=r"127\.0\.0\.1:9"):
        await speak(engine, "Hello")
    await engine.close()


async def test_too_long_a_text_is_refused(engine: OpenAITextToSpeech) -> None:
    with pytest.raises(SpeechError, match="over the"):
        await speak(engine, "a" * 50_001)


async def test_missing_httpx_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"salon\[openai\]"):
        await OpenAITextToSpeech("http://127.0.0.1/v1").start()


@pytest.mark.parametrize("url", ["", "ftp://x/v1", "/v1", "http:///v1"])
def test_base_url_is_checked(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        OpenAITextToSpeech(url)
