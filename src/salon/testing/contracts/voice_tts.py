"""The contract of `TextToSpeech`, as an engine and as a `TTSProvider`."""

# ruff: noqa: N802 - tests are named for the rule they hold

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
import pytest

from salon.media.frame import SAMPLE_RATE, AudioChunk, Samples
from salon.models.content import AudioContent
from salon.voice.content import sound_of
from salon.voice.errors import SpeechError
from salon.voice.foreign import close_stream
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings
from salon.voice.tts.provider import TTSProvider

LIMIT = 20.0
"""Seconds after which something that must happen counts as missing."""
ALIKE = 0.03
"""By how much the length of the same words may differ; some engines vary."""
SENTENCE = "Hello there, the quick brown fox jumps over lazy dogs."


@dataclass
class Spoken:
    """All of one piece."""

    chunks: list[SpeechChunk]

    @property
    def samples(self) -> Samples:
        """The sound."""
        return np.concatenate([np.zeros(0, dtype=np.int16), *(c.samples for c in self.chunks)])


async def spoken(
    engine: TextToSpeech, text: str, settings: VoiceSettings = DEFAULT_VOICE
) -> Spoken:
    """Speak one piece to its end."""
    async with asyncio.timeout(LIMIT):
        return Spoken([chunk async for chunk in engine.speak(text, settings)])


class TextToSpeechContract:
    """Give it an `engine` fixture: started, closed after the test."""

    async def test_sound_is_16_kHz_mono_int16_of_ones_own(self, engine: TextToSpeech) -> None:
        said = await spoken(engine, SENTENCE)
        assert len(said.samples) > SAMPLE_RATE // 4
        for chunk in said.chunks:
            assert chunk.samples.dtype == np.int16
            assert chunk.samples.ndim == 1
            assert chunk.samples.flags.writeable
            chunk.samples[:] = 0
        assert np.any((await spoken(engine, SENTENCE)).samples)

    async def test_word_times_are_there_if_promised(self, engine: TextToSpeech) -> None:
        said = await spoken(engine, SENTENCE)
        words = [word for chunk in said.chunks for word in chunk.words]
        assert words or not engine.has_word_times
        length_ms = len(said.samples) / 16
        for word in words:
            assert SENTENCE[word.offset : word.offset + word.length] == word.text
            assert 0 <= word.start_ms <= word.end_ms <= length_ms + 50

    async def test_saying_it_again_says_the_same_words(self, engine: TextToSpeech) -> None:
        first, second = await spoken(engine, SENTENCE), await spoken(engine, SENTENCE)
        first_words, second_words = (
            [(word.text, word.offset) for chunk in said.chunks for word in chunk.words]
            for said in (first, second)
        )
        assert first_words == second_words
        assert len(first.samples) == pytest.approx(len(second.samples), rel=ALIKE)

    @pytest.mark.parametrize("text", ["", " ", "...", "\N{GRINNING FACE}"])
    async def test_G81_nothing_to_say_is_no_sound(self, engine: TextToSpeech, text: str) -> None:
        assert not len((await spoken(engine, text)).samples)

    async def test_closing_early_leaves_the_engine_ready(self, engine: TextToSpeech) -> None:
        for _ in range(3):
            stream = engine.speak(SENTENCE * 20)
            await anext(stream)
            await close_stream(stream, engine.name)
        assert len((await spoken(engine, SENTENCE)).samples)

    async def test_cancelling_the_reader_leaves_the_engine_ready(
        self, engine: TextToSpeech
    ) -> None:
        begun = asyncio.Event()

        async def consume() -> None:
            stream = engine.speak(SENTENCE * 20)
            try:
                async for _ in stream:
                    begun.set()
                    await asyncio.Event().wait()
            finally:
                await close_stream(stream, engine.name)

        task = asyncio.create_task(consume())
        async with asyncio.timeout(LIMIT):
            await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len((await spoken(engine, SENTENCE)).samples)

    async def test_a_slow_reader_gets_all_of_it(self, engine: TextToSpeech) -> None:
        whole = len((await spoken(engine, SENTENCE)).samples)
        got = 0
        async with asyncio.timeout(LIMIT):
            async for chunk in engine.speak(SENTENCE):
                got += len(chunk.samples)
                for _ in range(50):
                    await asyncio.sleep(0)
        assert got == pytest.approx(whole, rel=ALIKE)

    async def test_two_at_once_do_not_mix(self, engine: TextToSpeech) -> None:
        texts = [SENTENCE, "One."]
        alone = [len((await spoken(engine, text)).samples) for text in texts]
        both = await asyncio.gather(*(spoken(engine, text) for text in texts))
        assert [len(said.samples) for said in both] == pytest.approx(alone, rel=ALIKE)

    async def test_close_ends_a_piece_under_way(self, engine: TextToSpeech) -> None:
        stream = engine.speak(SENTENCE * 30)
        await anext(stream)
        await engine.close()
        async with asyncio.timeout(LIMIT):
            with pytest.raises(SpeechError):
                [chunk async for chunk in stream]
        with pytest.raises(SpeechError):
            await spoken(engine, SENTENCE)

    async def test_start_and_close_are_idempotent(self, engine: TextToSpeech) -> None:
        await engine.start()
        await engine.close()
        await engine.close()
        await engine.start()
        assert len((await spoken(engine, "Again.")).samples)

    async def test_it_is_a_provider_of_whole_recordings(self, engine: TextToSpeech) -> None:
        assert isinstance(engine, TTSProvider)
        said = await spoken(engine, SENTENCE)
        content = await engine.synthesize(SENTENCE)
        assert content.transcript == SENTENCE
        assert content.mime_type == "audio/wav"
        assert content.duration_seconds == pytest.approx(len(said.samples) / SAMPLE_RATE, rel=ALIKE)
        length = len(sound_of(content, "test")) / SAMPLE_RATE
        assert length == pytest.approx(content.duration_seconds)

    async def test_V105_a_stream_ends_with_a_final_chunk(self, engine: TextToSpeech) -> None:
        said = await spoken(engine, SENTENCE)
        chunks = [chunk async for chunk in engine.synthesize_stream(SENTENCE)]
        assert [chunk.is_final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert all(
            (c.sample_rate, c.channels, c.format) == (16_000, 1, "pcm_s16le") for c in chunks
        )
        made = sum(len(chunk.data) for chunk in chunks) / 2
        assert made == pytest.approx(len(said.samples), rel=ALIKE)

    async def test_V99_streamed_text_is_spoken_before_it_ends(self, engine: TextToSpeech) -> None:
        assert engine.supports_streaming_input
        rest = asyncio.Event()
        ended = False

        async def text() -> AsyncIterator[str]:
            nonlocal ended
            try:
                for word in ["Hello", "there,", "my", "good", "old", "friend.", "And", ""]:
                    yield word + " "
                await rest.wait()
                yield "goodbye to you"
            finally:
                ended = True

        stream = engine.synthesize_stream_input(text())
        async with asyncio.timeout(LIMIT):
            first = await anext(stream)
            assert first.data
            rest.set()
            others = [chunk async for chunk in stream]
        assert [chunk.is_final for chunk in others] == [False] * (len(others) - 1) + [True]
        assert any(chunk.data for chunk in others)
        assert ended

    async def test_V248_voices_are_listed(self, engine: TextToSpeech) -> None:
        voices = await engine.list_voices()
        assert {voice.id for voice in voices} >= set(engine.voices())
        assert await engine.list_voices(query="no voice has such a name") == []


class TextToSpeechFaultContract:
    """Give it `make`: an engine of name `name` over a provider. What the provider does wrong is
    `SpeechError` with that name, and the next piece is spoken."""

    name = "Faulty"

    def make(self, provider: TTSProvider) -> TextToSpeech:
        """The engine under test; its patience is under a second."""
        raise NotImplementedError

    @pytest.mark.parametrize("streaming", [True, False])
    @pytest.mark.parametrize(
        "fault",
        ["crash", "late crash", "hang", "late hang", "garbage", "format", "rate", "no iterator"],
    )
    async def test_V106_a_fault_ends_its_own_piece(self, fault: str, streaming: bool) -> None:
        provider = FaultyTTSProvider(fault) if streaming else FaultyWholeProvider(fault)
        engine = self.make(provider)
        await engine.start()
        with pytest.raises(SpeechError, match=self.name):
            await spoken(engine, SENTENCE)
        provider.fault = ""
        said = await spoken(engine, SENTENCE)
        # The delay of the change of rate comes on top.
        assert SAMPLE_RATE <= len(said.samples) < SAMPLE_RATE + 100
        assert provider.open == 0
        await engine.close()


class FaultyWholeProvider(TTSProvider):
    """Says a second of a constant, or does what `fault` says."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.open = 0
        self.asked: list[tuple[str, str | None]] = []

    @property
    def name(self) -> str:
        return "Faulty"

    async def synthesize(self, text: str, *, voice: str | None = None) -> AudioContent:
        from salon.voice.content import audio_content

        self.asked.append((text, voice))
        good = audio_content(np.full(SAMPLE_RATE, 1000, dtype=np.int16), text)
        match self.fault:
            case "crash" | "late crash":
                raise RuntimeError("it broke")
            case "hang" | "late hang":
                await asyncio.Event().wait()
            case "garbage" | "no iterator":
                return b"sound"  # type: ignore[return-value]
            case "format":
                return good.model_copy(update={"url": good.url.replace("wav", "mpeg")})
            case "rate":
                return good.model_copy(update={"url": "https://mock.test/sound.wav"})
        return good


class FaultyTTSProvider(FaultyWholeProvider):
    """The same as a stream of 8 kHz stereo in four chunks, cut inside a sample."""

    def synthesize_stream(
        self, text: str, *, voice: str | None = None, context: object = None
    ) -> AsyncIterator[AudioChunk]:
        if self.fault == "no iterator":
            return [1]  # type: ignore[return-value]
        return self._stream(text, voice)

    async def _stream(self, text: str, voice: str | None) -> AsyncIterator[AudioChunk]:
        self.open += 1
        self.asked.append((text, voice))
        data = np.full(16_000, 1000, dtype="<i2").tobytes()
        try:
            if self.fault == "crash":
                raise RuntimeError("it broke")
            if self.fault == "hang":
                await asyncio.Event().wait()
            if self.fault == "garbage":
                yield "sound"  # type: ignore[misc]
            if self.fault == "format":
                yield AudioChunk(b"\xff\xfb", format="mp3")
            if self.fault == "rate":
                yield AudioChunk(b"\0\0", sample_rate=0)
            yield AudioChunk(data[:9_001], 8000, 2)
            if self.fault == "late crash":
                raise RuntimeError("it broke")
            if self.fault == "late hang":
                await asyncio.Event().wait()
            yield AudioChunk(data[9_001:15_000], 8000, 2)
            yield AudioChunk(data[15_000:], 8000, 2)
            yield AudioChunk(b"", 8000, 2, is_final=True)
        finally:
            self.open -= 1
