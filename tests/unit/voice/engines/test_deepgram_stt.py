"""Recognition by Deepgram, against a service that answers from a table: all sound is one phrase."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from tests.integration.deepgram_service import KEY, DeepgramService, deepgram_service

from salon.base import ConfigurationError, MissingExtraError
from salon.media.frame import SAMPLE_RATE, AudioChunk, AudioFrame, Samples
from salon.models.speech import SpeechHints
from salon.testing.contracts.voice_stt import SpeechToTextContract, hear
from salon.voice.errors import SpeechError
from salon.voice.stt.base import SpeechToText, Transcription
from salon.voice.stt.deepgram import DeepgramConfig, DeepgramSTTProvider
from salon.voice.stt.deepgram_results import read_results
from salon.voice.stt.result import SpeakerSegment, TranscriptionResult

PHRASE = "what are your opening hours"
SECOND = np.ones(SAMPLE_RATE, dtype=np.int16)
LOUD = np.resize(np.array([4000, -4000], dtype=np.int16), SAMPLE_RATE)
QUIET = np.zeros(SAMPLE_RATE // 2, dtype=np.int16)


def listens(sound: Samples, rate: int) -> str:
    return PHRASE if len(sound) * 2 >= rate else ""


@pytest.fixture
async def service() -> AsyncIterator[DeepgramService]:
    async with deepgram_service(listens=listens) as service:
        yield service


def made(service: DeepgramService, **options: Any) -> DeepgramSTTProvider:
    given = {name: options.pop(name) for name in ("timeout", "keep_alive", "finalize_timeout")
             if name in options}  # fmt: skip
    key = options.pop("api_key", KEY)
    return DeepgramSTTProvider(DeepgramConfig(key, base_url=service.url, **options), **given)


@pytest.fixture
async def engine(service: DeepgramService) -> AsyncIterator[DeepgramSTTProvider]:
    engine = made(service)
    await engine.start()
    yield engine
    await engine.close()


def impatient(engine: DeepgramSTTProvider, fault: str) -> None:
    """What hangs is not waited for."""
    if "hang" in fault:
        engine.service.timeout = engine.service.connect_timeout = 0.5


def patient(engine: DeepgramSTTProvider) -> None:
    """As long as a busy machine takes."""
    engine.service.timeout = engine.service.connect_timeout = 15.0


async def quiet(service: DeepgramService) -> None:
    """Nothing is left of any stream: no connection, no task of an engine."""
    async with asyncio.timeout(15):
        while service.open_streams or any(
            "deepgram" in task.get_name() or task.get_name() == "transcription"
            for task in asyncio.all_tasks()
        ):
            await asyncio.sleep(0.005)


class TestContract(SpeechToTextContract):
    heard = PHRASE

    @pytest.fixture
    def engine(self, service: DeepgramService) -> SpeechToText:
        return made(service)

    @pytest.fixture
    def sound(self) -> Samples:
        return SECOND


# -- what is asked -------------------------------------------------------------------------------


def test_the_configuration_has_roomkits_fields_and_defaults() -> None:
    config = DeepgramConfig("k")
    assert (config.model, config.language, config.endpointing) == ("nova-2", "en", 300)
    assert (config.punctuate, config.smart_format, config.vad_events) == (True, True, True)
    assert (config.keywords, config.redact, config.utterance_end_ms) == ([], None, None)
    assert KEY not in repr(DeepgramConfig(KEY))
    assert KEY not in repr(made_nowhere(KEY).service)


def made_nowhere(key: str = "k", **options: Any) -> DeepgramSTTProvider:
    return DeepgramSTTProvider(DeepgramConfig(key, **options))


def test_all_options_become_parameters() -> None:
    config = DeepgramConfig(
        "k", "nova-3", "de", redact=["pci", "ssn"], keyterm=["Salon"], diarize_model="latest",
        tag="t", endpointing=False, utterance_end_ms=1200, numerals=True, punctuate=False,
    )  # fmt: skip
    query = config.stream_query(None)
    assert [value for name, value in query if name == "redact"] == ["pci", "ssn"]
    assert dict(query) == {
        "model": "nova-3", "language": "de", "redact": "ssn", "keyterm": "Salon",
        "diarize_model": "latest", "tag": "t", "endpointing": "false", "utterance_end_ms": "1200",
        "numerals": "true", "smart_format": "true", "interim_results": "true",
        "vad_events": "true", "encoding": "linear16", "sample_rate": "16000", "channels": "1",
    }  # fmt: skip
    assert "endpointing" not in dict(config.recording_query(None))
    assert dict(DeepgramConfig("k", interim_results=False).stream_query(None))["vad_events"]


@pytest.mark.parametrize(
    ("asked", "sent"),
    [("de_AT", "de-AT"), ("fr", "fr"), ("auto", "en"), (None, "en"), ("", "en")],
)
def test_V231_a_language_replaces_the_configured_one(asked: str | None, sent: str) -> None:
    assert dict(DeepgramConfig("k").stream_query(asked))["language"] == sent


def test_hints_are_key_terms_of_models_that_take_them() -> None:
    hints = SpeechHints(("one two", "x" * 900, "y" * 200, "z"))
    new = DeepgramConfig("k", "nova-3", keyterm=["Salon"]).utterance_query(None, hints, True)
    assert [v for n, v in new if n == "keyterm"] == ["Salon", "one two", "x" * 900]
    assert "keyterm" not in dict(DeepgramConfig("k").utterance_query(None, hints, True))


async def test_an_utterance_has_no_endpoints_of_the_service(
    service: DeepgramService, engine: DeepgramSTTProvider
) -> None:
    await hear(engine, SECOND)
    path, query = service.requests[-1]
    assert path == "/v1/listen"
    assert query["endpointing"] == ["false"]
    assert "interim_results" not in query  # nobody asked for them
    assert "vad_events" not in query
    assert [message["type"] for message in service.received] == ["CloseStream"]


@pytest.mark.parametrize("url", ["ftp://host", "api.deepgram.com", "https://", "https://host/?a=1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        made_nowhere(base_url=url)


@pytest.mark.parametrize("key", ["a\r\nX: y", "schlüssel"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ConfigurationError):
        made_nowhere(key)


async def test_without_the_libraries_it_says_which_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "websockets.asyncio.client", None)
    with pytest.raises(MissingExtraError, match="deepgram"):
        await made_nowhere().start()


# -- utterances ----------------------------------------------------------------------------------


async def test_partials_come_while_the_sound_comes(
    service: DeepgramService, engine: DeepgramSTTProvider
) -> None:
    partials: list[Transcription] = []
    utterance = engine.recognize(on_partial=partials.append)
    utterance.push(np.concatenate([SECOND, SECOND]))
    async with asyncio.timeout(15):
        while not partials:
            await asyncio.sleep(0.005)
    assert (partials[0].text, partials[0].is_final) == (PHRASE, False)
    result = await utterance.finish()
    assert result.text == PHRASE
    assert result.confidence == pytest.approx(0.97)
    assert [word.text for word in result.words] == PHRASE.split()
    assert result.words[0].start_ms == 0
    assert result.words[-1].end_ms == pytest.approx(2000, abs=2)
    assert result.language is None
    assert not result.segments
    await quiet(service)


async def test_partials_can_be_switched_off(service: DeepgramService) -> None:
    engine = made(service, interim_results=False)
    await engine.start()
    partials: list[Transcription] = []
    utterance = engine.recognize(on_partial=partials.append)
    utterance.push(np.concatenate([SECOND, SECOND]))
    assert (await utterance.finish()).text == PHRASE
    assert not partials
    await engine.close()


async def test_no_sound_asks_nothing(service: DeepgramService, engine: DeepgramSTTProvider) -> None:
    utterance = engine.recognize()
    utterance.push(SECOND[:0])
    assert (await utterance.finish()).text == ""
    utterance.push(SECOND)
    assert not service.requests


async def test_V231_the_language_is_what_the_service_found(service: DeepgramService) -> None:
    engine = made(service, language="multi")
    await engine.start()
    assert (await hear(engine, SECOND)).language == "en"
    await engine.close()


async def test_sound_that_the_service_does_not_take_is_bounded(service: DeepgramService) -> None:
    engine = DeepgramSTTProvider(DeepgramConfig(KEY, base_url=service.url), max_seconds=1.5)
    await engine.start()
    utterance = engine.recognize()
    for _ in range(3):
        utterance.push(SECOND)
    assert engine.dropped_samples == 24_000
    assert (await utterance.finish()).text == PHRASE
    await engine.close()


async def test_a_pause_is_bridged_by_keep_alive(service: DeepgramService) -> None:
    service.idle_timeout = 0.3
    engine = made(service, keep_alive=0.1)
    await engine.start()
    utterance = engine.recognize()
    utterance.push(SECOND)
    await asyncio.sleep(0.7)
    assert (await utterance.finish()).text == PHRASE
    kinds = [message["type"] for message in service.received]
    assert kinds[-1] == "CloseStream"
    assert set(kinds[:-1]) == {"KeepAlive"}
    await engine.close()


async def test_without_keep_alive_the_service_ends_it(service: DeepgramService) -> None:
    service.idle_timeout = 0.1
    engine = made(service, keep_alive=5)
    await engine.start()
    utterance = engine.recognize()
    utterance.push(SECOND)
    async with asyncio.timeout(15):
        while service.open_streams or not service.requests:
            await asyncio.sleep(0.01)
    with pytest.raises(SpeechError, match=r"1011 .*net0001"):
        await utterance.finish()
    await engine.close()
    await quiet(service)


FAULTS = {
    "429": "answers 429: Too many requests",
    "503": "answers 503: Please try again later",
    "redirect": "answers 302",
    "hang": "no answer within 0.5 s",
    "hang at connect": "no (answer|connection) within 0.5 s",
    "gone": "closed with 1011 Deepgram failed",
    "ended": "too early|closed with 1000",
    "dropped": "closed without a word",
    "garbage": "sent what is no message",
    "list": "sent what is no message",
    "empty": "sent what is no result",
    "error": "the service says: no model left",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_V96_a_fault_ends_its_own_utterance(
    service: DeepgramService, engine: DeepgramSTTProvider, fault: str
) -> None:
    service.fault = fault
    impatient(engine, fault)
    with pytest.raises(SpeechError, match=FAULTS[fault]) as caught:
        await hear(engine, SECOND)
    assert caught.value.engine == "DeepgramSTT"
    if fault not in ("hang", "hang at connect"):
        await quiet(service)
    service.fault = ""
    patient(engine)
    assert (await hear(engine, SECOND)).text == PHRASE


async def test_V96_a_service_that_is_not_there(service: DeepgramService) -> None:
    engine = DeepgramSTTProvider(DeepgramConfig(KEY, base_url="http://127.0.0.1:1"))
    await engine.start()
    with pytest.raises(SpeechError, match="the connection failed"):
        await hear(engine, SECOND)
    with pytest.raises(SpeechError, match="the request failed"):
        await engine.transcribe(AudioFrame.of(SECOND))
    await engine.close()


async def test_a_slow_service_is_waited_for(
    service: DeepgramService, engine: DeepgramSTTProvider
) -> None:
    service.fault = "slow"
    assert (await hear(engine, SECOND)).text == PHRASE


async def test_V96_a_fault_in_the_middle_is_told_at_the_end(
    service: DeepgramService, engine: DeepgramSTTProvider
) -> None:
    utterance = engine.recognize()
    utterance.push(SECOND)
    async with asyncio.timeout(15):
        while not service.open_streams:
            await asyncio.sleep(0.005)
    service.fault = "gone"
    utterance.push(SECOND)
    await quiet(service)
    service.fault = ""
    utterance.push(SECOND)
    with pytest.raises(SpeechError, match="1011"):
        await utterance.finish()
    assert (await hear(engine, SECOND)).text == PHRASE


async def test_the_key_is_nowhere_to_be_read(
    service: DeepgramService, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = "f" * 39 + "0"
    engine = made(service, api_key=wrong)
    await engine.start()
    with caplog.at_level(logging.DEBUG):
        for asked in (hear(engine, SECOND), engine.transcribe(AudioFrame.of(SECOND))):
            with pytest.raises(
                SpeechError, match=r"401: Invalid credentials. Given: Token \*\*\*"
            ) as caught:
                await asked
            assert wrong not in str(caught.value)
    ours = [r for r in caplog.records if not r.name.startswith("uvicorn")]
    assert wrong not in " ".join(record.getMessage() for record in ours)
    await engine.close()


async def test_a_callback_that_fails_ends_its_own_utterance(
    service: DeepgramService, engine: DeepgramSTTProvider
) -> None:
    def broken(_: Transcription) -> None:
        raise RuntimeError("it broke")

    utterance = engine.recognize(on_partial=broken)
    utterance.push(np.concatenate([SECOND, SECOND]))
    with pytest.raises(SpeechError, match="RuntimeError: it broke"):
        await utterance.finish()
    assert (await hear(engine, SECOND)).text == PHRASE


# -- recordings ----------------------------------------------------------------------------------


async def test_a_recording_is_one_request(
    service: DeepgramService, engine: DeepgramSTTProvider
) -> None:
    result = await engine.transcribe(AudioFrame.of(np.tile(SECOND, 70)), language="de")
    assert result.text == PHRASE
    assert result.words[0]["punctuated_word"] == "what"
    assert len(service.requests) == 1
    assert service.requests[0][1]["language"] == ["de"]
    assert result.language is None
    assert (await engine.transcribe(AudioFrame.of(SECOND[:0]))).text == ""
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [("429", "429"), ("503", "503"), ("redirect", "302"), ("hang", "within 0.6 s"),
     ("garbage", "not a transcription"), ("list", "not a transcription")],
)  # fmt: skip
async def test_V96_a_fault_ends_its_own_recording(
    service: DeepgramService, engine: DeepgramSTTProvider, fault: str, told: str
) -> None:
    service.fault = fault
    impatient(engine, fault)
    with pytest.raises(SpeechError, match=told):
        await engine.transcribe(AudioFrame.of(SECOND))
    service.fault = ""
    patient(engine)
    assert (await engine.transcribe(AudioFrame.of(SECOND))).text == PHRASE


# -- continuous streams --------------------------------------------------------------------------


async def chunks(*sounds: Samples | None) -> AsyncIterator[AudioChunk]:
    """Each sound as a chunk; None is the end of an utterance."""
    for sound in sounds:
        if sound is None:
            yield AudioChunk(b"", is_final=True)
        else:
            yield AudioChunk(sound.tobytes())


async def results(
    engine: DeepgramSTTProvider, *sounds: Samples | None
) -> list[TranscriptionResult]:
    async with asyncio.timeout(10):
        return [result async for result in engine.transcribe_stream(chunks(*sounds))]


async def test_the_service_ends_what_was_said(
    service: DeepgramService, engine: DeepgramSTTProvider
) -> None:
    found = await results(engine, LOUD, QUIET, LOUD, QUIET)
    finals = [result for result in found if result.is_final]
    assert [result.text for result in finals] == [PHRASE, PHRASE]
    assert finals[0].words[0]["confidence"] == 0.97
    assert sum(result.is_speech_start for result in found) == 2
    assert len(service.requests) == 1
    assert service.requests[0][1]["endpointing"] == ["300"]
    await quiet(service)


async def test_the_end_of_an_utterance_ends_what_was_said(service: DeepgramService) -> None:
    engine = made(service, endpointing=False, utterance_end_ms=1000, vad_events=False)
    assert [r.text for r in await results(engine, LOUD, LOUD[:8000]) if r.is_final] == [PHRASE]
    await engine.close()


async def test_a_final_chunk_finalizes(
    service: DeepgramService, engine: DeepgramSTTProvider
) -> None:
    finals = [r.text for r in await results(engine, None, SECOND, None, None, SECOND, None)
              if r.is_final]  # fmt: skip
    assert finals == [PHRASE, PHRASE]
    kinds = [message["type"] for message in service.received]
    assert kinds == ["Finalize", "Finalize", "CloseStream"]


async def test_a_finalize_that_is_not_answered_is_not_waited_for(
    service: DeepgramService,
) -> None:
    service.finalizes = False
    engine = made(service, finalize_timeout=0.05)
    gate = asyncio.Event()

    async def sound() -> AsyncIterator[AudioChunk]:
        yield AudioChunk(SECOND.tobytes()[:8000], is_final=True)
        await gate.wait()

    stream = engine.transcribe_stream(sound())
    async with asyncio.timeout(15):
        first = await anext(stream)
        assert (first.text, first.is_final) == ("", True)
        gate.set()
        assert [r.text async for r in stream if r.is_final] == []
    await engine.close()


async def test_silence_without_end_is_kept_alive(service: DeepgramService) -> None:
    service.idle_timeout = 0.3
    engine = made(service, keep_alive=0.1)
    gate = asyncio.Event()

    async def sound() -> AsyncIterator[AudioChunk]:
        yield AudioChunk(SECOND.tobytes())
        await gate.wait()

    asyncio.get_running_loop().call_later(0.7, gate.set)
    async with asyncio.timeout(15):
        found = [r.text async for r in engine.transcribe_stream(sound()) if r.is_final]
    assert found == [PHRASE]
    await engine.close()


async def test_V233_speakers_are_labels_of_one_stream(service: DeepgramService) -> None:
    service.speakers = lambda text: [0, 0, 0, 1, 1][: len(text.split())]
    engine = made(service, diarize_model="latest")
    assert engine.supports_diarization
    assert engine.keeps_stream_across_turns
    (final,) = [r for r in await results(engine, SECOND) if r.is_final]
    assert final.segments == [
        SpeakerSegment("0", "what are your", 0, 600),
        SpeakerSegment("1", "opening hours", 600, 1000),
    ]
    assert (await hear(engine, SECOND)).segments[0].speaker == "0"
    assert (await engine.transcribe(AudioFrame.of(SECOND))).segments[1].speaker == "1"
    await engine.close()


async def test_V230_numbered_words_alone_are_no_segments(service: DeepgramService) -> None:
    engine = made(service, diarize=True)
    assert not engine.supports_diarization
    (final,) = [r for r in await results(engine, SECOND) if r.is_final]
    assert not final.segments
    assert final.words[0]["speaker"] == 0
    await engine.close()


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "hang at connect"])
async def test_V96_a_fault_ends_its_own_stream(
    service: DeepgramService, engine: DeepgramSTTProvider, fault: str
) -> None:
    service.fault = fault
    impatient(engine, fault)
    with pytest.raises(SpeechError):
        await results(engine, SECOND)
    if fault != "hang":
        await quiet(service)
    service.fault = ""
    patient(engine)
    assert [r.text for r in await results(engine, SECOND) if r.is_final] == [PHRASE]


async def test_V96_a_source_that_fails_is_told_as_it_is(
    service: DeepgramService, engine: DeepgramSTTProvider
) -> None:
    async def sound() -> AsyncIterator[AudioChunk]:
        yield AudioChunk(SECOND.tobytes())
        raise OSError("the microphone is gone")

    with pytest.raises(OSError, match="microphone"):
        [result async for result in engine.transcribe_stream(sound())]
    await quiet(service)


async def test_close_ends_open_streams(
    service: DeepgramService, engine: DeepgramSTTProvider
) -> None:
    async def sound() -> AsyncIterator[AudioChunk]:
        yield AudioChunk(SECOND.tobytes())
        await asyncio.Event().wait()

    async def read() -> None:
        async for _ in engine.transcribe_stream(sound()):
            pass

    reading = asyncio.create_task(read())
    async with asyncio.timeout(15):
        while not service.open_streams:
            await asyncio.sleep(0.005)
        await engine.close()
        with pytest.raises(SpeechError, match="is closed"):
            await reading
    await quiet(service)


# -- garbage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"channel": None},
        {"channel": {"alternatives": {}}},
        {"channel": {"alternatives": [{"transcript": 5}]}},
        {"is_final": "yes", "channel": {"alternatives": [{"transcript": "a"}]}},
    ],
)
def test_garbage_is_no_result(message: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"transcript|is_final"):
        read_results(message, diarized=True)


def test_strange_words_are_left_out() -> None:
    words: list[Any] = [
        {"word": "a", "speaker": 0, "start": "x", "end": True},
        {"word": 5},
        7,
        {"punctuated_word": "B.", "speaker": 0, "start": -1, "end": 2.5},
        {"word": "c", "speaker": "unknown"},
    ]
    best = {"transcript": " a B. c ", "confidence": 7, "words": words, "languages": [3]}
    message = {"is_final": True, "channel": {"alternatives": [best]}}
    result = read_results(message, diarized=True)
    assert (result.text, result.confidence, result.language) == ("a B. c", 1.0, None)
    assert result.segments == [
        SpeakerSegment("0", "a B.", None, 2500),
        SpeakerSegment(None, "c", None, None),
    ]
