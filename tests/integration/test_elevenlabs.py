"""Speech by ElevenLabs: the vendor's client takes the imitation for the original, then our engine
meets it and what can go wrong with it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.integration.elevenlabs_service import (
    KEY,
    VOICES,
    ElevenLabsService,
    certificate,
    elevenlabs_service,
)
from tests.integration.hearing import heard

from salon.media import SAMPLE_RATE, resample
from salon.media.frame import Samples
from salon.media.timing import WordTime
from salon.testing.contracts.voice_tts import TextToSpeechContract
from salon.voice.content import sound_of
from salon.voice.errors import SpeechError
from salon.voice.tts import TextToSpeech, VoiceSettings, elevenlabs
from salon.voice.tts.context import ConversationTurn, TTSContext, TTSContextLevel
from salon.voice.tts.elevenlabs import ElevenLabsConfig, ElevenLabsTTSProvider

SAID = tuple(f"the code word is {word}" for word in ("banana", "mountain", "elephant", "winter"))
TEXT = "The code word is banana."
LONG = "The code word is banana, and it is never said twice. " * 4
FAULTS = (
    "401",
    "429",
    "hang",
    "late hang",
    "garbage",
    "no object",
    "bad sound",
    "bad alignment",
    "close",
    "late close",
    "abort",
    "refuse",
    "empty",
)
HTTP_FAULTS = ("401", "429", "hang", "late hang", "garbage", "abort", "empty")


@pytest.fixture
async def service() -> AsyncIterator[ElevenLabsService]:
    async with elevenlabs_service() as service:
        yield service


def engine_for(service: ElevenLabsService, **options: object) -> ElevenLabsTTSProvider:
    made: dict[str, object] = {"read_timeout": 30.0, **options}
    config = ElevenLabsConfig(KEY, base_url=service.url, **made)  # type: ignore[arg-type]
    return ElevenLabsTTSProvider(config)


async def spoken(
    engine: TextToSpeech, text: str, settings: VoiceSettings | None = None
) -> tuple[Samples, list[WordTime]]:
    chunks = [chunk async for chunk in engine.speak(text, settings or VoiceSettings())]
    sound = np.concatenate([np.zeros(0, dtype=np.int16), *(chunk.samples for chunk in chunks)])
    return sound, [word for chunk in chunks for word in chunk.words]


def pcm(data: bytes, rate: int) -> Samples:
    return resample(np.frombuffer(data, dtype="<i2").astype(np.int16), rate, SAMPLE_RATE)


# -- the vendor's client --------------------------------------------------------------------------


async def test_the_official_client_takes_the_service_for_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("elevenlabs")
    from elevenlabs import VoiceSettings as TheirSettings
    from elevenlabs.client import ElevenLabs
    from elevenlabs.core.api_error import ApiError

    tls = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))
    async with elevenlabs_service(tls) as service:
        client = ElevenLabs(api_key=KEY, base_url=service.url)
        settings = TheirSettings(stability=0.5, similarity_boost=0.75)

        def realtime() -> bytes:
            words = iter(["The code word ", "is banana. ", "It is never said twice here."])
            pieces = client.text_to_speech.convert_realtime(
                VOICES[0],
                text=words,
                model_id="eleven_multilingual_v2",
                output_format="pcm_16000",
                voice_settings=settings,
            )
            return b"".join(pieces)

        sound = pcm(await asyncio.to_thread(realtime), 16_000)
        assert len(sound) > 2 * SAMPLE_RATE
        assert heard(sound[: int(1.6 * SAMPLE_RATE)], SAID) == SAID[0]
        assert service.messages[0]["text"] == " "
        assert service.messages[-1]["text"] == ""

        def stream() -> bytes:
            return b"".join(
                client.text_to_speech.stream(
                    VOICES[0], text=TEXT, model_id="eleven_flash_v2_5", output_format="pcm_24000"
                )
            )

        assert heard(pcm(await asyncio.to_thread(stream), 24_000), SAID) == SAID[0]
        found = await asyncio.to_thread(client.voices.search)
        assert [voice.voice_id for voice in found.voices] == [VOICES[0]]
        assert (found.has_more, found.next_page_token) == (True, "page-2")
        everyone = await asyncio.to_thread(client.voices.get_all)
        assert [voice.name for voice in everyone.voices] == ["Rachel", "Georg"]
        assert everyone.voices[1].verified_languages[1].locale == "de-DE"
        stranger = ElevenLabs(api_key="wrong", base_url=service.url)
        with pytest.raises(ApiError) as refused:
            await asyncio.to_thread(stranger.voices.search)
        assert refused.value.status_code == 401
        service.fault = "refuse"
        with pytest.raises(ApiError) as refused:
            await asyncio.to_thread(realtime)
        assert refused.value.status_code == 1008


async def test_the_official_client_sees_a_broken_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("elevenlabs")
    from elevenlabs.client import ElevenLabs
    from elevenlabs.core.api_error import ApiError

    tls = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))
    async with elevenlabs_service(tls) as service:
        client = ElevenLabs(api_key=KEY, base_url=service.url)
        service.fault = "abort"
        pieces = client.text_to_speech.convert_realtime(
            VOICES[0], text=iter([LONG]), output_format="pcm_16000"
        )
        with pytest.raises(ApiError) as broken:
            await asyncio.to_thread(list, pieces)
        assert broken.value.status_code == 1011


# -- our engine -----------------------------------------------------------------------------------


class Contract(TextToSpeechContract):
    options: dict[str, object] = {}  # noqa: RUF012

    @pytest.fixture
    async def engine(self, service: ElevenLabsService) -> AsyncIterator[TextToSpeech]:
        engine = engine_for(service, output_format="pcm_24000", **self.options)
        await engine.start()
        yield engine
        await engine.close()


class TestOverTheSocket(Contract):
    pass


class TestOverHTTP(Contract):
    options = {"stream_input": False}  # noqa: RUF012


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000])
async def test_a_sentence_is_spoken_with_its_words_in_time(
    service: ElevenLabsService, rate: int
) -> None:
    engine = engine_for(service, output_format=f"pcm_{rate}")
    await engine.start()
    sound, words = await spoken(engine, TEXT)
    await engine.close()
    assert heard(sound, SAID) == SAID[0]
    assert [word.text for word in words] == ["The", "code", "word", "is", "banana"]
    assert [word.offset for word in words] == [0, 4, 9, 14, 17]
    assert all(a.end_ms <= b.start_ms + 20 for a, b in pairwise(words))
    # Where the service's own voice has them.
    _, expected = await service_words(service)
    for mine, theirs in zip(words, expected, strict=True):
        assert mine.start_ms == pytest.approx(theirs.start_ms, abs=3)
    (asked,) = service.said
    assert asked.query["output_format"] == f"pcm_{rate}"
    assert asked.query["sync_alignment"] == "true"
    assert asked.query["model_id"] == "eleven_multilingual_v2"
    first, text, last = service.messages
    assert first["generation_config"] == {"chunk_length_schedule": [50, 120, 160, 290]}
    assert first["voice_settings"]["similarity_boost"] == 0.75
    assert "xi_api_key" not in first
    assert (text, last) == ({"text": f"{TEXT} ", "flush": True}, {"text": ""})


async def service_words(service: ElevenLabsService) -> tuple[Samples, list[WordTime]]:
    from salon.voice.tts import EspeakTextToSpeech

    engine = EspeakTextToSpeech(processes=1)
    await engine.start()
    try:
        return await spoken(engine, TEXT)
    finally:
        await engine.close()


async def test_times_of_a_long_text_go_on(service: ElevenLabsService) -> None:
    engine = engine_for(service, output_format="pcm_22050")
    await engine.start()
    sound, words = await spoken(engine, LONG)
    await engine.close()
    assert len(words) == len(LONG.split())
    assert all(LONG[word.offset : word.offset + word.length] == word.text for word in words)
    starts = [word.start_ms for word in words]
    assert starts == sorted(starts)
    assert len(sound) / 16 - 1500 < words[-1].end_ms <= len(sound) / 16 + 20


async def test_a_piece_may_ask_for_another_voice_speed_volume_and_language(
    service: ElevenLabsService,
) -> None:
    engine = engine_for(service, model_id="eleven_flash_v2_5", optimize_streaming_latency=2)
    await engine.start()
    loud, _ = await spoken(engine, TEXT)
    settings = VoiceSettings(VOICES[1], speed=3.0, volume=0.0, language="de_AT")
    silent, _ = await spoken(engine, TEXT, settings)
    with pytest.raises(SpeechError, match="404: voice_not_found"):
        await spoken(engine, TEXT, VoiceSettings("nobody"))
    with pytest.raises(SpeechError, match="HTTP 40"):
        await spoken(engine, TEXT, VoiceSettings("../../v2/voices?"))
    assert service.pages == []
    await engine.close()
    assert np.any(loud)
    assert not np.any(silent)
    first, second = service.said
    assert (first.voice, second.voice) == VOICES
    assert second.body["voice_settings"]["speed"] == 1.2
    assert "speed" not in first.body["voice_settings"]
    assert second.query["language_code"] == "de"
    assert second.query["optimize_streaming_latency"] == "2"


async def test_the_context_goes_with_a_request(service: ElevenLabsService) -> None:
    engine = engine_for(service, stream_input=False)
    assert engine.context_level is TTSContextLevel.SELF
    turns = (
        ConversationTurn("1", "assistant", "ai", "Good morning."),
        ConversationTurn("2", "user", "ada", "Hello."),
    )
    context = TTSContext("call", turns, "3")
    chunks = [chunk async for chunk in engine.synthesize_stream(TEXT, context=context)]
    assert chunks[-1].is_final
    assert service.said[0].body["previous_text"] == "Good morning."
    await engine.close()
    quiet = engine_for(service, stream_input=False, use_context=False)
    assert quiet.context_level is TTSContextLevel.NONE
    assert [chunk async for chunk in quiet.synthesize_stream(TEXT, context=context)]
    assert "previous_text" not in service.said[1].body
    await quiet.close()
    for options in ({}, {"model_id": "eleven_v3"}):
        assert engine_for(service, **options).context_level is TTSContextLevel.NONE


async def test_a_model_without_a_socket_speaks_over_http(service: ElevenLabsService) -> None:
    for options in ({"model_id": "eleven_v3", "stream_input": True}, {"expressive": True}):
        engine = engine_for(service, **options)
        assert not engine.has_word_times
        await engine.start()
        sound, words = await spoken(engine, TEXT)
        assert heard(sound, SAID) == SAID[0]
        assert words == []
        await engine.close()
    assert [said.body["model_id"] for said in service.said] == ["eleven_v3", "eleven_v4_turbo"]


async def test_a_whole_recording_is_in_the_format_asked_for(service: ElevenLabsService) -> None:
    engine = engine_for(service)
    made = await engine.synthesize(TEXT)
    assert (made.mime_type, made.transcript) == ("audio/mpeg", TEXT)
    assert made.url.startswith("data:audio/mpeg;base64,SUQz")
    await engine.close()
    plain = engine_for(service, output_format="pcm_24000")
    assert heard(sound_of(await plain.synthesize(TEXT), "test"), SAID) == SAID[0]
    await plain.close()


async def test_V248_voices_come_from_all_pages(service: ElevenLabsService) -> None:
    engine = engine_for(service)
    voices = await engine.list_voices()
    assert [voice.id for voice in voices] == list(VOICES)
    assert [voice.language for voice in voices] == ["en-US", "multilingual"]
    assert voices[0].description == "A warm voice."
    assert voices[0].attributes["category"] == "premade"
    assert [voice.deprecated for voice in voices] == [False, True]
    assert [voice.name for voice in await engine.list_voices(gender="male")] == ["Georg"]
    assert [voice.name for voice in await engine.list_voices(language="en")] == ["Rachel"]
    assert service.pages == ["", "page-2"]
    await engine.close()
    service.has_v2 = False
    older = engine_for(service)
    assert [voice.name for voice in await older.list_voices()] == ["Rachel", "Georg"]
    await older.close()


@pytest.mark.parametrize("fault", ["401", "garbage", "no object", "bad alignment", "empty"])
async def test_voices_that_are_none_are_told(service: ElevenLabsService, fault: str) -> None:
    engine = engine_for(service)
    service.fault = fault
    with pytest.raises(SpeechError, match="ElevenLabsTTS"):
        await engine.list_voices()
    if fault == "empty":
        service.has_v2 = False
        with pytest.raises(SpeechError, match="404"):
            await engine.list_voices()
    service.fault, service.has_v2 = "", True
    assert len(await engine.list_voices()) == 2
    await engine.close()


@pytest.mark.parametrize("fault", FAULTS)
async def test_V106_a_fault_of_the_socket_ends_its_own_piece(
    service: ElevenLabsService, fault: str
) -> None:
    await after_a_fault(service, engine_for(service, read_timeout=patience(fault)), fault)


@pytest.mark.parametrize("fault", HTTP_FAULTS)
async def test_V106_a_fault_over_http_ends_its_own_piece(
    service: ElevenLabsService, fault: str
) -> None:
    engine = engine_for(service, stream_input=False, read_timeout=patience(fault))
    await after_a_fault(service, engine, fault)


def patience(fault: str) -> float:
    """Seconds: only what hangs has to be given up, and what does not hang may be slow."""
    return 3.0 if "hang" in fault else 30.0


async def after_a_fault(
    service: ElevenLabsService, engine: ElevenLabsTTSProvider, fault: str
) -> None:
    await engine.start()
    await spoken(engine, TEXT)
    before = descriptors()
    service.fault = fault
    with pytest.raises(SpeechError, match="ElevenLabsTTS") as told:
        await spoken(engine, LONG)
    assert KEY not in str(told.value)
    assert {"401": "401", "429": "429", "hang": "3 s", "refuse": "quota"}.get(fault, "") in str(
        told.value
    )
    service.fault = ""
    service.release()
    sound, _ = await spoken(engine, TEXT)
    assert heard(sound, SAID) == SAID[0]
    await service.quiet()
    await drained(engine)
    async with asyncio.timeout(10):
        while descriptors() > before + 2:
            await asyncio.sleep(0.005)
    await engine.close()


async def drained(engine: ElevenLabsTTSProvider) -> None:
    async with asyncio.timeout(10):
        while engine.connections:
            await asyncio.sleep(0.005)


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_wrong_key_is_told_without_it(service: ElevenLabsService) -> None:
    wrong = "sk_wrong0123456789abcdef"
    for over in (None, False):
        config = ElevenLabsConfig(wrong, base_url=service.url, stream_input=over)
        engine = ElevenLabsTTSProvider(config)
        assert wrong not in repr(config) + repr(engine)
        await engine.start()
        with pytest.raises(SpeechError, match="401: invalid_api_key") as told:
            await spoken(engine, TEXT)
        assert wrong not in str(told.value)
        await engine.close()


async def test_nobody_there_is_told() -> None:
    for over in (None, False):
        config = ElevenLabsConfig(KEY, base_url="http://127.0.0.1:9", stream_input=over)
        engine = ElevenLabsTTSProvider(config)
        await engine.start()
        with pytest.raises(SpeechError, match=r"connect|request"):
            await spoken(engine, TEXT)
        await engine.close()


async def test_an_interruption_ends_the_service_at_once(service: ElevenLabsService) -> None:
    for over in (None, False):
        engine = engine_for(service, stream_input=over)
        await engine.start()
        before = service.sent_pieces
        stream = engine.speak(LONG * 10)
        await anext(stream)
        await stream.aclose()
        await service.quiet()
        assert service.sent_pieces - before < 250, "of 500 and more"
        await drained(engine)
        sound, _ = await spoken(engine, TEXT)
        assert heard(sound, SAID) == SAID[0]
        await engine.close()


async def test_an_end_without_its_mark_is_one_if_all_was_said(service: ElevenLabsService) -> None:
    engine = engine_for(service)
    await engine.start()
    service.fault = "no final"
    sound, words = await spoken(engine, TEXT)
    assert heard(sound, SAID) == SAID[0]
    assert len(words) == 5
    await engine.close()


async def test_a_text_over_the_limit_is_spoken_in_parts(
    service: ElevenLabsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elevenlabs, "MAX_INPUT", 60)
    engine = engine_for(service)
    await engine.start()
    sound, words = await spoken(engine, LONG)
    await engine.close()
    assert len(service.said) == 4
    assert len(words) == len(LONG.split())
    assert all(LONG[word.offset : word.offset + word.length] == word.text for word in words)
    starts = [word.start_ms for word in words]
    assert starts == sorted(starts)
    assert starts[-1] > len(sound) / 16 - 1_500


async def test_a_service_that_does_not_even_greet_is_given_up() -> None:
    listening = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    for over in (None, False):
        config = ElevenLabsConfig(
            KEY,
            base_url=f"http://127.0.0.1:{port}",
            stream_input=over,
            connect_timeout=0.1,
            read_timeout=0.1,
        )
        engine = ElevenLabsTTSProvider(config)
        await engine.start()
        with pytest.raises(SpeechError, match=r"0\.1 s"):
            await spoken(engine, TEXT)
        await engine.close()
    listening.close()


async def test_an_answer_without_end_is_cut_off(
    service: ElevenLabsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elevenlabs, "_MAX_BODY", 100)
    monkeypatch.setattr(elevenlabs, "_MAX_MESSAGE", 100)
    engine = engine_for(service)
    with pytest.raises(SpeechError, match="64 MiB"):
        await engine.synthesize(TEXT)
    with pytest.raises(SpeechError, match="8 MiB"):
        await engine.list_voices()
    with pytest.raises(SpeechError, match="closed"):
        await spoken(engine, TEXT)
    await engine.close()


async def test_closing_ends_pieces_that_wait(service: ElevenLabsService) -> None:
    for over in (None, False):
        engine = engine_for(service, stream_input=over)
        await engine.start()
        service.fault = "hang"
        waiting = asyncio.create_task(spoken(engine, TEXT))
        async with asyncio.timeout(10):
            while not service.open:
                await asyncio.sleep(0.005)
        await engine.close()
        with pytest.raises(SpeechError):
            await waiting
        assert engine.connections == 0
        service.fault = ""


async def test_connections_are_bounded(service: ElevenLabsService) -> None:
    engine = engine_for(service, max_connections=1, read_timeout=3.0)
    await engine.start()
    stream = engine.speak(LONG)
    await anext(stream)
    with pytest.raises(SpeechError, match="no free connection"):
        await spoken(engine, TEXT)
    await stream.aclose()
    await drained(engine)
    assert len((await spoken(engine, TEXT))[0])
    await engine.close()
