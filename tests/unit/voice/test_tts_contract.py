"""What every engine promises, held against each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
import pytest
from tests.unit.voice.speech_server import speech_server

from salon.base import SalonError
from salon.voice.errors import SpeechError
from salon.voice.tts import (
    DEFAULT_VOICE,
    EspeakTextToSpeech,
    FliteTextToSpeech,
    MockTextToSpeech,
    OpenAITextToSpeech,
    SpeechChunk,
    TextToSpeech,
    VoiceSettings,
)

SENTENCE = "Hello there, the quick brown fox jumps over 123 lazy dogs."


@dataclass
class Spoken:
    """All of one piece."""

    chunks: list[SpeechChunk]

    @property
    def samples(self) -> np.ndarray:
        return np.concatenate([c.samples for c in self.chunks] or [np.zeros(0, dtype=np.int16)])

    @property
    def ms(self) -> float:
        return len(self.samples) / 16

    @property
    def words(self):
        return [word for chunk in self.chunks for word in chunk.words]

    @property
    def phonemes(self):
        return [phoneme for chunk in self.chunks for phoneme in chunk.phonemes]

    @property
    def rms(self) -> float:
        return float(np.sqrt(np.mean(self.samples.astype(np.float64) ** 2)))


async def speak(engine: TextToSpeech, text: str, settings: VoiceSettings = DEFAULT_VOICE) -> Spoken:
    return Spoken([chunk async for chunk in engine.speak(text, settings)])


@pytest.fixture(params=["espeak", "flite", "mock", "openai"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[TextToSpeech]:
    async with speech_server() as server:
        made: dict[str, TextToSpeech] = {
            "espeak": EspeakTextToSpeech(processes=1),
            "flite": FliteTextToSpeech(processes=1),
            "mock": MockTextToSpeech(),
            "openai": OpenAITextToSpeech(server.url, "sk-test"),
        }
        engine = made[request.param]
        await engine.start()
        yield engine
        await engine.close()


async def test_sound_is_int16_mono_with_energy(engine: TextToSpeech) -> None:
    spoken = await speak(engine, SENTENCE)
    assert all(chunk.samples.dtype == np.int16 for chunk in spoken.chunks)
    assert all(chunk.samples.ndim == 1 and chunk.samples.flags.writeable for chunk in spoken.chunks)
    assert spoken.ms > 1000
    assert spoken.rms > 500


async def test_start_and_close_are_idempotent(engine: TextToSpeech) -> None:
    await engine.start()
    await engine.close()
    await engine.close()
    await engine.start()
    assert (await speak(engine, "Again.")).ms > 50


async def test_words_cover_the_text_in_order(engine: TextToSpeech) -> None:
    spoken = await speak(engine, SENTENCE)
    if not engine.has_word_times:
        assert spoken.words == []
        return
    assert [word.text.strip(".,") for word in spoken.words] == SENTENCE.replace(",", "").replace(
        ".", ""
    ).split()
    at = 0
    for word in spoken.words:
        assert SENTENCE[word.offset : word.offset + word.length] == word.text
        assert at <= word.start_ms < word.end_ms <= spoken.ms + 50
        at = word.start_ms


async def test_phonemes_are_in_order_and_within_the_sound(engine: TextToSpeech) -> None:
    spoken = await speak(engine, SENTENCE)
    assert bool(spoken.phonemes) == engine.has_phoneme_times
    at = 0
    for phoneme in spoken.phonemes:
        assert phoneme.ipa
        assert at <= phoneme.start_ms <= phoneme.end_ms <= spoken.ms + 50
        at = phoneme.start_ms


@pytest.mark.parametrize("text", ["", " ", "\n\t", "...", "?! — …", "🙂", "👩‍👩‍👧 🇩🇪"])
async def test_G81_nothing_to_say_is_no_sound(engine: TextToSpeech, text: str) -> None:
    assert (await speak(engine, text)).ms == 0


async def test_G81_emoji_are_silent_and_offsets_stay(engine: TextToSpeech) -> None:
    text = "Hello 🙂🙂 there"
    spoken = await speak(engine, text)
    assert spoken.ms > 100
    if engine.has_word_times:
        assert [word.text for word in spoken.words] == ["Hello", "there"]
        assert spoken.words[1].offset == text.index("there")


async def test_non_ascii_and_hostile_text_is_spoken(engine: TextToSpeech) -> None:
    text = "Ünïcode naïve \ud800 café\0 “quoted” <b>&amp;</b> [[t@st]] ../../etc"
    spoken = await speak(engine, text)
    assert spoken.ms > 300
    for word in spoken.words:
        assert text[word.offset : word.offset + word.length] == word.text


async def test_speed_shortens_the_sound(engine: TextToSpeech) -> None:
    slow = await speak(engine, SENTENCE, VoiceSettings(speed=0.5))
    normal = await speak(engine, SENTENCE)
    fast = await speak(engine, SENTENCE, VoiceSettings(speed=2.0))
    assert slow.ms > normal.ms * 1.5
    assert fast.ms < normal.ms / 1.5


async def test_G291_volume_scales_the_sound(engine: TextToSpeech) -> None:
    normal = await speak(engine, SENTENCE)
    quiet = await speak(engine, SENTENCE, VoiceSettings(volume=2.5))
    silent = await speak(engine, SENTENCE, VoiceSettings(volume=0))
    loud = await speak(engine, SENTENCE, VoiceSettings(volume=10))
    assert quiet.rms == pytest.approx(normal.rms / 2, rel=0.15)
    assert silent.rms < 2
    assert loud.rms > normal.rms * 1.3


async def test_long_text_is_spoken_whole(engine: TextToSpeech) -> None:
    text = ("Nothing much happened, and the naïve café was closed. " * 93)[:5000]
    quick = VoiceSettings(voice="kal" if engine.name == "flite" else None)
    async with asyncio.timeout(30):
        spoken = await speak(engine, text, quick)
    assert spoken.ms > 60_000
    if engine.has_word_times:
        assert len(spoken.words) == len(text.split())
        assert spoken.words[-1].offset > 4980
        assert spoken.words[-1].end_ms == pytest.approx(spoken.ms, abs=700)


async def test_closing_early_leaves_the_engine_ready(engine: TextToSpeech) -> None:
    for _ in range(3):
        async with aclosing(engine.speak(SENTENCE * 30)) as chunks:  # type: ignore[type-var]
            await anext(chunks)
    async with asyncio.timeout(5):
        assert (await speak(engine, "Hello there.")).ms > 200


async def test_cancelling_the_consumer_leaves_the_engine_ready(engine: TextToSpeech) -> None:
    begun = asyncio.Event()

    async def consume() -> None:
        async with aclosing(engine.speak(SENTENCE * 30)) as chunks:  # type: ignore[type-var]
            async for _ in chunks:
                begun.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(consume())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        assert (await speak(engine, "Hello there.")).ms > 200


async def test_pieces_at_once_are_all_spoken(engine: TextToSpeech) -> None:
    spoken = await asyncio.gather(*(speak(engine, "Hello there.") for _ in range(10)))
    assert all(one.ms > 200 for one in spoken)


async def test_close_ends_a_running_piece_with_an_error(engine: TextToSpeech) -> None:
    chunks = engine.speak(SENTENCE * 500)
    await anext(chunks)
    await engine.close()
    with pytest.raises(SpeechError):
        async for _ in chunks:
            pass


async def test_not_started_is_an_error() -> None:
    for engine in (EspeakTextToSpeech(), MockTextToSpeech(), OpenAITextToSpeech("http://x/v1")):
        assert engine.voices() == ()
        with pytest.raises(SalonError, match="not started"):
            await speak(engine, "Hello")
