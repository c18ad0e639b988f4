"""What every recogniser holds to: PocketSphinx, an OpenAI-compatible service, the mock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
from tests.unit.voice.test_stt_openai import TranscriptionServer
from tests.unit.voice.test_stt_pocketsphinx import HAS_FLITE, speak

from salon.models.speech import SpeechHints
from salon.voice.errors import SpeechError
from salon.voice.stt import (
    MockSpeechToText,
    OpenAISpeechToText,
    PocketSphinxSpeechToText,
    SpeechToText,
    Transcription,
)

PHRASE = "what are your opening hours"
HINTS = SpeechHints((PHRASE, "book a table for four on friday at seven", "repeat that please"))
SILENCE = np.zeros(1600, dtype=np.int16)
LIMIT = 20.0


@pytest_asyncio.fixture(params=["pocketsphinx", "openai", "mock"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[SpeechToText]:
    if request.param == "mock":
        yield MockSpeechToText([PHRASE] * 9)
    elif request.param == "openai":
        async with TranscriptionServer() as server:
            server.reply = {"text": PHRASE, "language": "english"}
            yield OpenAISpeechToText(server.url, "key", "whisper-1")
    else:
        if not HAS_FLITE:
            pytest.skip("flite is not installed")
        pytest.importorskip("pocketsphinx")
        yield PocketSphinxSpeechToText(1)


@pytest_asyncio.fixture
async def running(engine: SpeechToText) -> AsyncIterator[SpeechToText]:
    await engine.start()
    yield engine
    await engine.close()


def spoken(engine: SpeechToText) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int16]]]:
    sound = speak(PHRASE) if engine.name == "pocketsphinx" else np.ones(32_000, dtype=np.int16)
    return [sound[at : at + 320] for at in range(0, len(sound), 320)]


async def hear(engine: SpeechToText) -> Transcription:
    utterance = engine.recognize(HINTS)
    for frame in spoken(engine):
        utterance.push(frame)
    async with asyncio.timeout(LIMIT):
        return await utterance.finish()


async def test_speech_becomes_final_text(running: SpeechToText) -> None:
    await running.prepare(HINTS)
    result = await hear(running)
    assert result.text == PHRASE
    assert result.is_final
    assert result.confidence is None or 0 <= result.confidence <= 1
    for word in result.words:
        assert result.text[word.offset : word.offset + word.length] == word.text
        assert word.start_ms < word.end_ms


async def test_utterances_at_once_all_come_to_an_end(running: SpeechToText) -> None:
    results = await asyncio.gather(*(hear(running) for _ in range(3)))
    assert [result.text for result in results] == [PHRASE] * 3


async def test_partials_are_not_final_and_grow_into_the_text(running: SpeechToText) -> None:
    partials: list[Transcription] = []
    utterance = running.recognize(HINTS, on_partial=partials.append)
    for frame in spoken(running):
        utterance.push(frame)
        await asyncio.sleep(0)
    async with asyncio.timeout(LIMIT):
        await utterance.finish()
    assert not any(partial.is_final for partial in partials)
    if running.name == "mock":
        assert partials


async def test_an_utterance_without_sound_is_empty_or_scripted(running: SpeechToText) -> None:
    async with asyncio.timeout(LIMIT):
        result = await running.recognize(HINTS).finish()
    assert result.text == (PHRASE if running.name == "mock" else "")


async def test_cancel_is_idempotent_and_finish_after_it_fails(running: SpeechToText) -> None:
    utterance = running.recognize(HINTS)
    utterance.push(SILENCE)
    utterance.cancel()
    utterance.cancel()
    utterance.push(SILENCE)
    with pytest.raises(SpeechError):
        await utterance.finish()
    assert (await hear(running)).text == PHRASE


async def test_cancel_after_the_end_does_nothing(running: SpeechToText) -> None:
    utterance = running.recognize(HINTS)
    for frame in spoken(running):
        utterance.push(frame)
    async with asyncio.timeout(LIMIT):
        await utterance.finish()
    utterance.cancel()
    assert (await hear(running)).text == PHRASE


async def test_close_ends_open_utterances_with_an_error(running: SpeechToText) -> None:
    utterance = running.recognize(HINTS)
    utterance.push(SILENCE)
    await running.close()
    with pytest.raises(SpeechError):
        await utterance.finish()
    with pytest.raises(SpeechError):
        running.recognize(HINTS)


async def test_start_and_close_are_idempotent(engine: SpeechToText) -> None:
    await engine.close()
    await engine.start()
    await engine.start()
    await engine.close()
    await engine.close()


async def test_recognize_before_start_fails(engine: SpeechToText) -> None:
    with pytest.raises(SpeechError):
        engine.recognize()


async def test_sound_beyond_the_bound_is_dropped_and_counted(running: SpeechToText) -> None:
    utterance = running.recognize(HINTS)
    for _ in range(61):
        utterance.push(np.zeros(16_000, dtype=np.int16))
    utterance.cancel()
    if isinstance(running, PocketSphinxSpeechToText):
        assert running.statistics().dropped_samples == 16_000
    elif isinstance(running, MockSpeechToText | OpenAISpeechToText):
        assert running.dropped_samples == 16_000
