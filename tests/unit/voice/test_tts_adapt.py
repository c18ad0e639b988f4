"""Foreign voices, and ours seen as providers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from salon.base import ConfigurationError
from salon.media.frame import AudioChunk
from salon.models.content import AudioContent
from salon.testing.contracts.voice_tts import (
    FaultyTTSProvider,
    FaultyWholeProvider,
    TextToSpeechFaultContract,
    spoken,
)
from salon.voice.errors import SpeechError
from salon.voice.tts import (
    AdaptedTextToSpeech,
    MockTextToSpeech,
    MockTTSProvider,
    TextToSpeech,
    TTSContext,
    TTSContextLevel,
    TTSProvider,
    VoiceSettings,
    voice_of,
)
from salon.voice.tts import adapt as adapt_module
from salon.voice.tts import base as base_module
from salon.voice.voices import VoiceInfo

TEXT = "Hello there."
CONTEXT = TTSContext("s", (), "t1")


async def started(provider: TTSProvider) -> AdaptedTextToSpeech:
    engine = voice_of(provider)
    assert isinstance(engine, AdaptedTextToSpeech)
    await engine.start()
    await engine.start()
    return engine


def test_an_engine_is_not_wrapped() -> None:
    engine = MockTextToSpeech()
    assert voice_of(engine) is engine


async def test_any_rate_and_cut_becomes_16_kHz_mono() -> None:
    said = await spoken(await started(FaultyTTSProvider()), TEXT)
    assert 16_000 <= len(said.samples) < 16_100
    assert np.abs(said.samples[1000:15_000].astype(int) - 1000).max() <= 1


async def test_volume_is_applied_and_the_voice_passed_on() -> None:
    provider = FaultyWholeProvider()
    said = await spoken(await started(provider), TEXT, VoiceSettings(voice="anna", volume=2.5))
    assert said.samples.max() == 500
    assert provider.asked == [(TEXT, "anna")]


async def test_V105_the_final_chunk_ends_the_piece() -> None:
    class Chatty(MockTTSProvider):
        async def synthesize_stream(
            self, text: str, *, voice: str | None = None, context: TTSContext | None = None
        ) -> AsyncIterator[AudioChunk]:
            yield AudioChunk(b"\1\0" * 100, is_final=True)
            raise AssertionError("nobody asks")

    assert len((await spoken(await started(Chatty()), TEXT)).samples) == 100


async def test_nothing_to_say_asks_for_nothing() -> None:
    provider = MockTTSProvider()
    assert not len((await spoken(await started(provider), " ... ")).samples)
    assert provider.calls == []


async def test_closing_a_piece_closes_the_providers_stream() -> None:
    provider = FaultyTTSProvider()
    engine = await started(provider)
    stream = engine.speak(TEXT)
    await anext(stream)
    assert provider.open == 1
    await stream.aclose()
    assert provider.open == 0


async def test_nothing_is_read_ahead_of_a_slow_listener() -> None:
    class Endless(MockTTSProvider):
        made = 0

        async def synthesize_stream(
            self, text: str, *, voice: str | None = None, context: TTSContext | None = None
        ) -> AsyncIterator[AudioChunk]:
            while True:
                self.made += 1
                yield AudioChunk(bytes(32_000))

    provider = Endless()
    stream = (await started(provider)).speak(TEXT)
    await anext(stream)
    for _ in range(50):
        await asyncio.sleep(0)
    assert provider.made == 1
    with pytest.raises(SpeechError, match="over 600 s"):
        async for _ in stream:
            pass
    assert adapt_module.MAX_PIECE_S == 600


@pytest.mark.parametrize("level", [TTSContextLevel.NONE, TTSContextLevel.TEXT])
async def test_V238_a_context_is_never_passed_at_level_none(level: TTSContextLevel) -> None:
    provider = MockTTSProvider(context_level=level)
    engine = await started(provider)
    async for _ in engine.speak_in_context(TEXT, VoiceSettings(), CONTEXT):
        pass
    assert provider.contexts == [None if level is TTSContextLevel.NONE else CONTEXT]
    assert engine.context_level is level
    engine.release_context("s")
    assert provider.released == ["s"]


async def test_a_provider_that_cannot_warm_up_release_or_close(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(MockTTSProvider):
        fault: Exception | None = OSError("no model")

        async def warmup(self) -> None:
            if self.fault is not None:
                raise self.fault

        async def close(self) -> None:
            raise OSError("gone")

        def release_context(self, context_id: str) -> None:
            raise KeyError(context_id)

    provider = Broken()
    engine = voice_of(provider)
    await engine.close()
    with pytest.raises(SpeechError, match="OSError: no model"):
        await engine.warmup()
    provider.fault = ConfigurationError("no key")
    with pytest.raises(ConfigurationError):
        await engine.start()
    provider.fault = None
    await engine.start()
    engine.release_context("s")
    await engine.close()
    assert "did not release" in caplog.text
    assert "did not close" in caplog.text


async def test_voices_are_the_providers() -> None:
    class Voiced(MockTTSProvider):
        @classmethod
        def available_voices(cls) -> list[VoiceInfo]:
            return [VoiceInfo(id="a", language="en"), VoiceInfo(id="b", language="de")]

    engine = await started(Voiced("a"))
    assert engine.default_voice == "a"
    assert [voice.id for voice in await engine.list_voices(language="de")] == ["b"]


async def test_V248_an_engines_names_are_its_voices() -> None:
    class Voiced(MockTextToSpeech):
        def voices(self) -> tuple[str, ...]:
            return ("anna", "bob")

    assert [voice.id for voice in await Voiced().list_voices(query="AN")] == ["anna"]
    assert Voiced().default_voice is None
    assert Voiced().context_level is TTSContextLevel.NONE
    Voiced().release_context("s")


async def test_whole_recordings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_module, "MAX_WHOLE_S", 1)
    mock = MockTextToSpeech()
    with pytest.raises(SpeechError, match="over 1 s"):
        await mock.synthesize("word " * 20)
    assert len(mock.cancelled) == 1


async def test_what_is_no_text_ends_a_sentence() -> None:
    async def text() -> AsyncIterator[Any]:
        yield "Hello"
        yield None
        yield "there"

    mock = MockTextToSpeech()
    assert [c async for c in mock.synthesize_stream_input(text())][-1].is_final
    assert [piece for piece, _ in mock.spoken] == ["Hello", "there"]


async def test_the_mock_provider_keeps_what_it_was_asked() -> None:
    mock = MockTTSProvider(make_id=lambda: "1")
    chunks = [c async for c in mock.synthesize_stream("one two", voice="x", context=CONTEXT)]
    assert [(c.data, c.is_final) for c in chunks] == [
        (b"mock-audio-one", False),
        (b"mock-audio-two", True),
    ]
    content = await mock.synthesize("hello there")
    assert content == AudioContent(
        url="https://mock.test/audio/1.mp3",
        mime_type="audio/mpeg",
        duration_seconds=0.55,
        transcript="hello there",
    )
    assert mock.calls == [
        {"text": "one two", "voice": "x"},
        {"text": "hello there", "voice": "mock-voice"},
    ]
    assert mock.contexts == [CONTEXT]


async def test_V237_a_provider_of_whole_recordings_refuses_the_rest() -> None:
    provider = FaultyWholeProvider()
    for call in (provider.synthesize_stream, provider.synthesize_stream_input):
        with pytest.raises(NotImplementedError, match="Faulty"):
            call("x")  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="Faulty makes no dialogues"):
        await provider.synthesize_dialogue([], {})
    assert provider.default_voice is None
    assert not provider.supports_streaming_input
    assert provider.max_dialogue_speakers == 0
    assert await provider.list_voices() == []
    assert TTSProvider.name.fget(MockTTSProvider()) == "MockTTSProvider"  # type: ignore[attr-defined]


class TestPlain(TextToSpeechFaultContract):
    """The least patience works too."""

    def make(self, provider: TTSProvider) -> TextToSpeech:
        return AdaptedTextToSpeech(provider, chunk_timeout=0.01)
