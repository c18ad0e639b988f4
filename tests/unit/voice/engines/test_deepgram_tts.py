"""Speech by Deepgram, against a service whose voice is 60 ms of a tone for each character."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Literal

import numpy as np
import pytest
from tests.integration.deepgram_service import KEY, DeepgramService, deepgram_service

from salon.base import ConfigurationError
from salon.media.frame import SAMPLE_RATE, Samples
from salon.testing.contracts.voice_tts import SENTENCE, TextToSpeechContract, spoken
from salon.voice.errors import SpeechError
from salon.voice.tts.base import TextToSpeech, VoiceSettings
from salon.voice.tts.deepgram import DeepgramTTSConfig, DeepgramTTSProvider
from salon.voice.tts.deepgram_pool import MAX_FLUSHES

Transport = Literal["websocket", "http"]


def tone(text: str, rate: int) -> Samples:
    length = len(text) * rate * 6 // 100
    return (8000 * np.sin(np.arange(length) * 2 * np.pi * 440 / rate)).astype(np.int16)


@pytest.fixture
async def service() -> AsyncIterator[DeepgramService]:
    async with deepgram_service(speaks=tone) as service:
        yield service


def made(
    service: DeepgramService, *, timeout: float = 15, idle: float = 30, **options: Any
) -> DeepgramTTSProvider:
    key = options.pop("api_key", KEY)
    config = DeepgramTTSConfig(key, base_url=service.url, **options)
    return DeepgramTTSProvider(config, timeout=timeout, idle=idle)


@pytest.fixture(params=["websocket", "http"])
def transport(request: pytest.FixtureRequest) -> Transport:
    found: Transport = request.param
    return found


@pytest.fixture
async def engine(
    service: DeepgramService, transport: Transport
) -> AsyncIterator[DeepgramTTSProvider]:
    engine = made(service, transport=transport)
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture
async def line(service: DeepgramService) -> AsyncIterator[DeepgramTTSProvider]:
    """Over WebSocket."""
    engine = made(service)
    await engine.start()
    yield engine
    await engine.close()


def impatient(engine: DeepgramTTSProvider, fault: str) -> None:
    """What hangs is not waited for."""
    if "hang" in fault or fault == "warning":
        engine.service.timeout = engine.service.connect_timeout = 0.5


def patient(engine: DeepgramTTSProvider) -> None:
    """As long as a busy machine takes."""
    engine.service.timeout = engine.service.connect_timeout = 15.0


async def quiet(service: DeepgramService) -> None:
    """No stream and no task of an engine is left."""
    async with asyncio.timeout(15):
        while service.open_streams or any(
            "voice.tts.deepgram" in task.get_name() for task in asyncio.all_tasks()
        ):
            await asyncio.sleep(0.005)


class TestWebSocket(TextToSpeechContract):
    @pytest.fixture
    async def engine(self, service: DeepgramService) -> AsyncIterator[TextToSpeech]:
        engine = made(service, timeout=15)
        await engine.start()
        yield engine
        await engine.close()
        await quiet(service)


class TestHttp(TextToSpeechContract):
    @pytest.fixture
    async def engine(self, service: DeepgramService) -> AsyncIterator[TextToSpeech]:
        engine = made(service, timeout=15, transport="http")
        await engine.start()
        yield engine
        await engine.close()


# -- what is asked -------------------------------------------------------------------------------


async def test_what_is_asked(service: DeepgramService, transport: Transport) -> None:
    engine = made(service, transport=transport, tag="t", mip_opt_out=True)
    await engine.start()
    assert engine.default_voice == "aura-2-thalia-en"
    assert len((await spoken(engine, "One.")).samples) == pytest.approx(0.24 * SAMPLE_RATE, abs=4)
    path, query = service.requests[0]
    assert path == "/v1/speak"
    http = {"container": ["none"], "tag": ["t"]} if transport == "http" else {}
    assert query == {
        "model": ["aura-2-thalia-en"], "encoding": ["linear16"], "sample_rate": ["16000"],
        "mip_opt_out": ["true"], **http,
    }  # fmt: skip
    settings = VoiceSettings(voice="aura-2-zeus-en", speed=9, volume=0)
    assert not (await spoken(engine, "Two.", settings)).samples.any()
    query = service.requests[1][1]
    assert (query["model"], query["speed"]) == (["aura-2-zeus-en"], ["1.5"])
    await engine.close()


@pytest.mark.parametrize("rate", [8000, 24_000, 48_000])
async def test_other_rates_become_ours(
    service: DeepgramService, transport: Transport, rate: int
) -> None:
    engine = made(service, transport=transport, sample_rate=rate)
    await engine.start()
    samples = (await spoken(engine, "One. Two.")).samples
    assert len(samples) == pytest.approx(0.54 * SAMPLE_RATE, rel=0.02)
    peak = np.argmax(np.abs(np.fft.rfft(samples))) * SAMPLE_RATE / len(samples)
    assert peak == pytest.approx(440, abs=4)
    await engine.close()


async def test_long_texts_are_cut(service: DeepgramService, engine: DeepgramTTSProvider) -> None:
    said = await spoken(engine, "This is a sentence. " * 120)
    assert len(said.samples) > 140 * SAMPLE_RATE
    with pytest.raises(SpeechError, match="over the 50000"):
        await spoken(engine, "a" * 50_001)


def test_a_configuration_that_is_wrong_is_refused() -> None:
    wrongs: list[dict[str, Any]] = [
        {"sample_rate": 22_050},
        {"transport": "carrier"},
        {"base_url": "x"},
    ]
    for wrong in wrongs:
        with pytest.raises(ConfigurationError):
            DeepgramTTSProvider(DeepgramTTSConfig("k", **wrong))
    assert KEY not in repr(DeepgramTTSConfig(KEY))


async def test_V248_known_voices_are_listed(engine: DeepgramTTSProvider) -> None:
    voices = await engine.list_voices(language="de", query="vik")
    assert [voice.id for voice in voices] == ["aura-2-viktoria-de"]
    assert "aura-2-thalia-en" in {voice.id for voice in engine.available_voices()}


# -- lines that are kept -------------------------------------------------------------------------


async def test_a_line_serves_one_piece_after_the_other(
    service: DeepgramService, line: DeepgramTTSProvider
) -> None:
    for _ in range(4):
        await spoken(line, SENTENCE)
    assert len(service.requests) == 1
    await spoken(line, SENTENCE, VoiceSettings(speed=1.2))
    assert len(service.requests) == 2
    assert service.open_streams == 2
    await line.close()
    await quiet(service)


async def test_a_line_is_not_flushed_more_often_than_allowed(
    service: DeepgramService, line: DeepgramTTSProvider
) -> None:
    for _ in range(MAX_FLUSHES + 4):
        assert len((await spoken(line, "One.")).samples)
    assert len(service.requests) == 2


async def test_an_interrupted_line_is_cleared_and_used_again(
    service: DeepgramService, line: DeepgramTTSProvider
) -> None:
    service.fault, service.pace = "slow", 0.01
    for _ in range(3):
        stream = line.speak(SENTENCE)
        await anext(stream)
        await stream.aclose()
        async with asyncio.timeout(15):
            while not line.is_idle:
                await asyncio.sleep(0.005)
    said = await spoken(line, "One.")
    assert len(said.samples) == pytest.approx(0.24 * SAMPLE_RATE, abs=4)
    assert len(service.requests) == 1
    assert sum(message["type"] == "Clear" for message in service.received) == 3


async def test_a_line_that_cannot_be_cleared_is_given_up(
    service: DeepgramService, line: DeepgramTTSProvider
) -> None:
    stream = line.speak(SENTENCE)
    await anext(stream)
    service.fault = "gone"
    await stream.aclose()
    await quiet(service)
    service.fault = ""
    assert len((await spoken(line, "One.")).samples)
    assert len(service.requests) == 2


async def test_an_idle_line_is_closed(service: DeepgramService) -> None:
    engine = made(service, idle=0.05)
    await engine.start()
    await spoken(engine, "One.")
    await quiet(service)
    assert service.received[-1] == {"type": "Close"}
    assert len((await spoken(engine, "One.")).samples)
    await engine.close()


async def test_a_line_that_the_service_ended_meanwhile_is_replaced(
    service: DeepgramService, line: DeepgramTTSProvider
) -> None:
    service.idle_timeout = 0.05
    await spoken(line, "One.")
    await asyncio.sleep(0.2)
    assert service.open_streams == 0
    assert len((await spoken(line, "One.")).samples)
    assert len(service.requests) == 2


async def test_a_line_that_ends_as_it_is_used_is_replaced(
    service: DeepgramService, line: DeepgramTTSProvider
) -> None:
    await spoken(line, "One.")
    service.fault = "once gone"
    assert len((await spoken(line, "One.")).samples)
    assert len(service.requests) == 2


# -- faults --------------------------------------------------------------------------------------

FAULTS = {
    "429": "answers 429: Too many requests",
    "503": "answers 503",
    "redirect": "answers 302",
    "hang": r"no (sound|answer) within 0.5 s",
}
STREAM_FAULTS = FAULTS | {
    "hang at connect": "no connection within 0.5 s",
    "gone": "closed with 1011",
    "ended": "too early|closed with 1000",
    "dropped": "closed without a word",
    "garbage": "sent what is no message",
    "list": "sent what is no message",
    "error": "the service says: no model left",
    "late garbage": "sent what is no message",
    "late gone": "closed with 1011 Deepgram failed",
    "late hang": "no sound within 0.5 s",
}


@pytest.mark.parametrize("fault", STREAM_FAULTS)
async def test_V106_a_fault_ends_its_own_piece(
    service: DeepgramService, line: DeepgramTTSProvider, fault: str
) -> None:
    service.fault = fault
    impatient(line, fault)
    with pytest.raises(SpeechError, match=STREAM_FAULTS[fault]) as caught:
        await spoken(line, SENTENCE)
    assert caught.value.engine == "DeepgramTTS"
    if "hang" not in fault:
        await quiet(service)
    service.fault = ""
    patient(line)
    assert len((await spoken(line, "One.")).samples)


@pytest.mark.parametrize("fault", [*FAULTS, "dropped"])
async def test_V106_a_fault_ends_its_own_request(service: DeepgramService, fault: str) -> None:
    engine = made(service, transport="http", timeout=0.5 if fault == "hang" else 15)
    await engine.start()
    service.fault = fault
    with pytest.raises(SpeechError, match=FAULTS.get(fault, "failed|closed")):
        await spoken(engine, SENTENCE)
    service.fault = ""
    assert len((await spoken(engine, "One.")).samples)
    await engine.close()


async def test_V106_a_service_that_is_not_there(transport: Transport) -> None:
    config = DeepgramTTSConfig(KEY, base_url="http://127.0.0.1:1", transport=transport)
    engine = DeepgramTTSProvider(config)
    await engine.start()
    with pytest.raises(SpeechError, match=r"connection failed|request failed"):
        await spoken(engine, SENTENCE)
    await engine.close()


async def test_a_slow_service_is_waited_for(
    service: DeepgramService, engine: DeepgramTTSProvider
) -> None:
    service.fault = "slow"
    assert len((await spoken(engine, "One.")).samples)


async def test_a_warning_is_the_reason_of_silence(
    service: DeepgramService, line: DeepgramTTSProvider, caplog: pytest.LogCaptureFixture
) -> None:
    service.fault = "warning"
    impatient(line, "warning")
    with pytest.raises(SpeechError, match=r"Too many flushes.*no sound within"):
        await spoken(line, SENTENCE)
    assert "Too many flushes" in caplog.text


async def test_the_key_is_nowhere_to_be_read(
    service: DeepgramService, transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = "e" * 39 + "0"
    engine = made(service, transport=transport, api_key=wrong)
    await engine.start()
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(SpeechError, match=r"401: Invalid credentials. Given: Token \*\*\*"),
    ):
        await spoken(engine, SENTENCE)
    ours = [r for r in caplog.records if not r.name.startswith("uvicorn")]
    assert wrong not in " ".join(record.getMessage() for record in ours)
    await engine.close()
