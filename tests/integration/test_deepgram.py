"""Recognition and synthesis by a service that speaks Deepgram's interface.

The vendor's own client goes first: what it takes for the original is the service that Salon's
engines are held against. The service recognises with PocketSphinx and speaks with Flite.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from tests.integration.deepgram_service import FLUSHES, KEY, DeepgramService, deepgram_service
from tests.integration.hearing import heard
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from salon.base import ConfigurationError
from salon.media import SAMPLE_RATE, Samples, wav_bytes
from salon.media.frame import AudioChunk, AudioFrame
from salon.testing.speech import silence, speak
from salon.voice.errors import SpeechError
from salon.voice.stt.base import Transcription
from salon.voice.stt.deepgram import DeepgramConfig, DeepgramSTTProvider
from salon.voice.tts.deepgram import DeepgramTTSConfig, DeepgramTTSProvider

ASKED = "please tell me the code word"
OTHER = "i would like a cup of coffee"
SENTENCES = (ASKED, OTHER, "what is the weather like today")


@pytest.fixture
async def service() -> AsyncIterator[DeepgramService]:
    async with deepgram_service(*SENTENCES) as service:
        yield service


@pytest.fixture(scope="module")
def question() -> Samples:
    return np.concatenate([silence(300), speak(ASKED), silence(500)])


def client(service: DeepgramService, key: str = KEY) -> Any:
    """The vendor's."""
    from deepgram import AsyncDeepgramClient
    from deepgram.environment import DeepgramClientEnvironment

    sockets = service.url.replace("http", "ws")
    place = DeepgramClientEnvironment(
        base=service.url, production=sockets, agent=sockets, agent_rest=service.url
    )
    return AsyncDeepgramClient(api_key=key, environment=place)


def steps(sound: Samples) -> list[Samples]:
    return [sound[at : at + 320] for at in range(0, len(sound), 320)]


# -- the service as documented ------------------------------------------------------------------


async def test_the_service_refuses_what_the_original_refuses(service: DeepgramService) -> None:
    sockets = service.url.replace("http", "ws")
    for path, key, status in (
        ("/v1/listen?model=nova-2", "wrong", 401),
        ("/v1/listen?model=nova-2&encoding=linear16", KEY, 400),
        ("/v1/listen?model=nova-2&colour=red", KEY, 400),
        ("/v1/listen?model=nova-3&keywords=a", KEY, 400),
        ("/v1/listen?model=nova-2&keyterm=a", KEY, 400),
        ("/v1/listen?model=nova-2&diarize_model=v2", KEY, 400),
        ("/v1/listen?model=nova-2&utterance_end_ms=1000", KEY, 400),
        ("/v1/listen?model=jupiter", KEY, 400),
        ("/v1/speak?model=aura-2-thalia-en&sample_rate=44100", KEY, 400),
        ("/v1/speak?model=aura-2-thalia-en&container=none", KEY, 400),
        ("/v1/speak?model=nova-2", KEY, 400),
    ):
        with pytest.raises(InvalidStatus) as caught:
            await connect(sockets + path, additional_headers={"Authorization": f"Token {key}"})
        assert caught.value.response.status_code == status, path
        assert caught.value.response.body is not None
        assert {"err_code", "err_msg", "request_id"} == set(json.loads(caught.value.response.body))


async def test_the_service_ends_a_stream_without_messages(service: DeepgramService) -> None:
    service.idle_timeout = 0.1
    url = service.url.replace("http", "ws") + "/v1/listen?model=nova-2"
    headers = {"Authorization": f"Token {KEY}"}
    async with connect(url, additional_headers=headers) as stream:
        with pytest.raises(ConnectionClosedError) as caught:
            await stream.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1011
    assert "net0001" in caught.value.rcvd.reason


# -- the vendor's client --------------------------------------------------------------------------


async def test_the_official_client_recognises(service: DeepgramService, question: Samples) -> None:
    from deepgram.core.events import EventType

    messages: list[Any] = []
    errors: list[Any] = []
    async with client(service).listen.v1.connect(
        model="nova-3", encoding="linear16", sample_rate="16000", channels="1", language="multi",
        interim_results="true", endpointing="300", vad_events="true", utterance_end_ms="1000",
        diarize_model="latest",
    ) as stream:  # fmt: skip
        stream.on(EventType.MESSAGE, messages.append)
        stream.on(EventType.ERROR, errors.append)
        listening = asyncio.create_task(stream.start_listening())
        await stream.send_keep_alive()
        for sound in steps(question):
            await stream.send_media(sound.tobytes())
        for sound in steps(speak(OTHER)):
            await stream.send_media(sound.tobytes())
        await stream.send_finalize()
        await stream.send_close_stream()
        async with asyncio.timeout(20):
            await listening
    assert not errors
    kinds = [type(message).__name__ for message in messages]
    assert {"ListenV1SpeechStarted", "ListenV1Results", "ListenV1UtteranceEnd"} <= set(kinds)
    assert kinds[-1] == "ListenV1Metadata"
    finals = [m for m in messages if m.type == "Results" and m.is_final]
    assert [m.channel.alternatives[0].transcript for m in finals if m.speech_final] == [
        ASKED,
        OTHER,
    ]
    assert finals[-1].from_finalize
    word = finals[0].channel.alternatives[0].words[0]
    assert (word.word, word.punctuated_word, word.speaker) == ("please", "please", 0)
    assert finals[0].channel.alternatives[0].languages == ["en"]
    assert any(m.type == "Results" and not m.is_final for m in messages)


async def test_the_official_client_recognises_recordings(
    service: DeepgramService, question: Samples
) -> None:
    from deepgram.core.api_error import ApiError

    media = client(service).listen.v1.media
    reply = await media.transcribe_file(
        request=wav_bytes(question), model="nova-3", smart_format=True, detect_language=True
    )
    channel = reply.results.channels[0]
    assert channel.alternatives[0].transcript == ASKED
    assert channel.detected_language == "en"
    assert reply.metadata.duration == pytest.approx(len(question) / SAMPLE_RATE)
    with pytest.raises(ApiError) as caught:
        await client(service, "wrong").listen.v1.media.transcribe_file(request=b"", model="nova-3")
    assert caught.value.status_code == 401
    with pytest.raises(ApiError) as caught:
        await media.transcribe_file(request=b"no sound", model="nova-3")
    assert caught.value.status_code == 400


async def test_the_official_client_speaks(service: DeepgramService) -> None:
    from deepgram.speak.v1.types import SpeakV1Text

    async with client(service).speak.v1.connect(
        model="aura-2-thalia-en", encoding="linear16", sample_rate="16000", speed=1.0
    ) as stream:
        sound = b""
        messages: list[Any] = []
        await stream.send_text(SpeakV1Text(text="please tell me "))
        await stream.send_text(SpeakV1Text(text="the code word"))
        await stream.send_flush()
        async with asyncio.timeout(20):
            while not messages or messages[-1].type != "Flushed":
                message = await stream.recv()
                if isinstance(message, bytes):
                    sound += message
                else:
                    messages.append(message)
            assert [message.type for message in messages] == ["Metadata", "Flushed"]
            assert heard(np.frombuffer(sound, dtype="<i2").astype(np.int16), SENTENCES) == ASKED
            await stream.send_text(SpeakV1Text(text="never mind"))
            await stream.send_clear()
            assert (await stream.recv()).type == "Cleared"
            for _ in range(FLUSHES):
                await stream.send_flush()
            # one was used up before
            kinds = [(await stream.recv()).type for _ in range(FLUSHES)]
            assert (kinds.count("Flushed"), kinds.count("Warning")) == (FLUSHES - 1, 1)
            await stream.send_close()


async def test_the_official_client_speaks_by_http(service: DeepgramService) -> None:
    from deepgram.core.api_error import ApiError

    audio = client(service).speak.v1.audio
    options = {"model": "aura-2-thalia-en", "encoding": "linear16", "container": "none",
               "sample_rate": 16_000}  # fmt: skip
    sound = b"".join([data async for data in audio.generate(text=ASKED, **options)])
    assert heard(np.frombuffer(sound, dtype="<i2").astype(np.int16), SENTENCES) == ASKED
    with pytest.raises(ApiError) as caught:
        [data async for data in audio.generate(text=" ", **options)]
    assert caught.value.status_code == 400


# -- Salon's engines ------------------------------------------------------------------------------


@pytest.fixture
async def ears(service: DeepgramService) -> AsyncIterator[DeepgramSTTProvider]:
    engine = DeepgramSTTProvider(DeepgramConfig(KEY, base_url=service.url), timeout=30)
    await engine.start()
    yield engine
    await engine.close()
    await emptied(service)


async def emptied(service: DeepgramService) -> None:
    """No stream is open, no task of an engine runs."""
    async with asyncio.timeout(30):
        while service.open_streams or any(
            "deepgram" in task.get_name() for task in asyncio.all_tasks()
        ):
            await asyncio.sleep(0.01)


async def test_speech_becomes_text(
    service: DeepgramService, ears: DeepgramSTTProvider, question: Samples
) -> None:
    partials: list[Transcription] = []
    utterance = ears.recognize(on_partial=partials.append)
    for sound in steps(question):
        utterance.push(sound)
        await asyncio.sleep(0.001)
    result = await utterance.finish()
    assert result.text == ASKED
    assert [word.text for word in result.words] == ASKED.split()
    assert not any(partial.is_final for partial in partials)
    assert (await ears.transcribe(AudioFrame.of(question))).text == ASKED


async def test_two_who_speak_at_once_do_not_mix(
    ears: DeepgramSTTProvider, question: Samples
) -> None:
    one, two = ears.recognize(), ears.recognize()
    one.push(question)
    two.push(speak(OTHER))
    found = await asyncio.gather(one.finish(), two.finish())
    assert [result.text for result in found] == [ASKED, OTHER]


async def test_a_conversation_is_one_stream(
    service: DeepgramService, ears: DeepgramSTTProvider, question: Samples
) -> None:
    whole = np.concatenate([question, speak(OTHER), silence(500)])

    async def sound() -> AsyncIterator[AudioChunk]:
        for step in steps(whole):
            await asyncio.sleep(0)
            yield AudioChunk(step.tobytes())

    async with asyncio.timeout(20):
        found = [r.text async for r in ears.transcribe_stream(sound()) if r.is_final]
    assert found == [ASKED, OTHER]
    assert len(service.requests) == 1


@pytest.mark.parametrize("transport", ["websocket", "http"])
async def test_text_becomes_speech(service: DeepgramService, transport: Any) -> None:
    config = DeepgramTTSConfig(KEY, base_url=service.url, transport=transport, sample_rate=24_000)
    voice = DeepgramTTSProvider(config)
    await voice.start()
    for text in (ASKED, OTHER):
        sound = np.concatenate([chunk.samples async for chunk in voice.speak(text)])
        assert heard(sound, SENTENCES) == text

    async def written() -> AsyncIterator[str]:
        for word in f"{ASKED}. ".split(" "):
            yield f"{word} "

    chunks = [chunk async for chunk in voice.synthesize_stream_input(written())]
    sound = np.frombuffer(b"".join(chunk.data for chunk in chunks), dtype="<i2").astype(np.int16)
    assert heard(sound, SENTENCES) == ASKED
    await voice.close()
    await emptied(service)


@pytest.mark.parametrize("transport", ["websocket", "http"])
@pytest.mark.parametrize(("encoding", "rate"), [("mulaw", 16_000), ("alaw", 8000)])
async def test_speech_may_come_packed(
    service: DeepgramService, transport: Any, encoding: Any, rate: int
) -> None:
    config = DeepgramTTSConfig(
        KEY, base_url=service.url, transport=transport, encoding=encoding, sample_rate=rate
    )
    voice = DeepgramTTSProvider(config)
    await voice.start()
    sound = np.concatenate([chunk.samples async for chunk in voice.speak(OTHER)])
    await voice.close()
    expected = len(speak(OTHER))
    assert len(sound) == pytest.approx(expected, rel=0.02)
    assert int(np.abs(sound).max()) > 3000
    if rate == 16_000:  # telephone sound is recognised less surely
        assert heard(sound, SENTENCES) == OTHER
    assert service.requests[-1][1]["encoding"] == [encoding]
    await emptied(service)


@pytest.mark.parametrize(("encoding", "rate"), [("mulaw", 24_000), ("opus", 16_000)])
def test_formats_the_service_does_not_have_are_refused(encoding: Any, rate: int) -> None:
    with pytest.raises(ConfigurationError):
        DeepgramTTSProvider(DeepgramTTSConfig(KEY, encoding=encoding, sample_rate=rate))


@pytest.mark.parametrize(
    "fault", ["429", "hang", "gone", "ended", "dropped", "garbage", "empty", "error"]
)
async def test_V96_a_fault_ends_its_own_utterance(
    service: DeepgramService, question: Samples, fault: str
) -> None:
    # only what hangs has to be given up
    ears = DeepgramSTTProvider(
        DeepgramConfig(KEY, base_url=service.url), timeout=5 if fault == "hang" else 30
    )
    await ears.start()
    utterance = ears.recognize()
    utterance.push(question[:16_000])
    await asyncio.sleep(0 if fault == "429" else 0.1)
    service.fault = fault
    utterance.push(question[16_000:])
    with pytest.raises(SpeechError):
        await utterance.finish()
    service.fault = ""
    again = ears.recognize()
    again.push(question)
    assert (await again.finish()).text == ASKED
    await ears.close()
    service.over.set()  # what hangs lets go
    await emptied(service)


async def test_a_wrong_key_is_told_without_the_key(
    service: DeepgramService, question: Samples
) -> None:
    wrong = "fedcba98765432100123456789abcdef01234567"
    ears = DeepgramSTTProvider(DeepgramConfig(wrong, base_url=service.url))
    voice = DeepgramTTSProvider(DeepgramTTSConfig(wrong, base_url=service.url))
    await ears.start()
    await voice.start()
    utterance = ears.recognize()
    utterance.push(question)
    for asked in (utterance.finish(), ears.transcribe(AudioFrame.of(question)),
                  voice.synthesize(ASKED)):  # fmt: skip
        with pytest.raises(SpeechError, match="401") as caught:
            await asked
        assert wrong not in str(caught.value)
    await ears.close()
    await voice.close()
    await emptied(service)
