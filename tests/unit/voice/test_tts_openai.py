"""The HTTP client, against a small server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
from tests.unit.voice.speech_server import SpeechServer, speech_server
from tests.unit.voice.test_tts_contract import speak

from salon.base import ConfigurationError, MissingExtraError
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
