"""Engines of the voice pipeline: recognition and synthesis (parts 11, 12 and 21)."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import AsyncIterator

import numpy as np
import pytest

from salon.media.frame import AudioChunk, AudioFrame
from salon.testing.contracts.voice_stt import FaultySTTProvider, hear
from salon.testing.contracts.voice_tts import FaultyTTSProvider, spoken
from salon.voice.errors import SpeechError
from salon.voice.stt import (
    MockSTTProvider,
    PocketSphinxSpeechToText,
    SpeakerSegment,
    STTProvider,
    TranscriptionResult,
    recognizer_of,
    speaker_label,
)
from salon.voice.tts import (
    EspeakTextToSpeech,
    MockTextToSpeech,
    MockTTSProvider,
    TTSContextConfig,
    TTSContextLevel,
    TTSContextStore,
    TTSProvider,
    voice_of,
)
from salon.voice.tts.library import CustomVoice, VoiceConsentError, VoiceLibrary
from salon.voice.voices import DialogueTurn, VoiceInfo, check_dialogue, filter_voices

SOUND = np.ones(3200, dtype=np.int16)


@pytest.mark.parametrize(
    "name",
    [
        "stt.base:STTProvider",
        "tts.base:TTSProvider",
        "stt.mock:MockSTTProvider",
        "tts.mock:MockTTSProvider",
        "base:TranscriptionResult",
        "base:SpeakerSegment",
        "base:speaker_label",
        "base:AudioChunk",
        "base:VoiceSession",
        "base:VoiceCapability",
        "base:VoiceSessionEndedError",
        "voices:VoiceInfo",
        "voices:DialogueTurn",
        "tts.context:TTSContextStore",
        "tts.filters:TTSFilterChain",
        "tts.library:VoiceLibrary",
    ],
)
def test_names_are_where_users_import_them_from(name: str) -> None:
    module, attribute = name.split(":")
    assert hasattr(importlib.import_module(f"salon.voice.{module}"), attribute)


def test_voice_base_has_no_other_names() -> None:
    with pytest.raises(AttributeError):
        importlib.import_module("salon.voice.base").nothing  # noqa: B018


def test_V97_V108_engines_ship() -> None:
    assert issubclass(PocketSphinxSpeechToText, STTProvider)
    assert issubclass(EspeakTextToSpeech, TTSProvider)


async def test_V96_a_failed_utterance_leaves_the_engine_usable() -> None:
    provider = FaultySTTProvider("crash")
    engine = recognizer_of(provider)
    await engine.start()
    with pytest.raises(SpeechError):
        await hear(engine, SOUND)
    provider.fault = ""
    assert (await hear(engine, SOUND)).text == "heard"
    await engine.close()


async def test_V106_a_failed_piece_leaves_the_engine_usable() -> None:
    provider = FaultyTTSProvider("crash")
    engine = voice_of(provider)
    await engine.start()
    with pytest.raises(SpeechError):
        await spoken(engine, "Hello.")
    provider.fault = ""
    assert len((await spoken(engine, "Hello.")).samples)
    await engine.close()


async def test_V12_chunks_of_any_size_become_the_sound_inside() -> None:
    engine = voice_of(FaultyTTSProvider())
    await engine.start()
    said = await spoken(engine, "Hello.")
    assert 16_000 <= len(said.samples) < 16_100


async def test_V99_text_left_at_the_end_is_spoken() -> None:
    async def text() -> AsyncIterator[str]:
        yield "First sentence here. And a re"
        yield "st"

    mock = MockTextToSpeech()
    chunks = [chunk async for chunk in mock.synthesize_stream_input(text())]
    assert [said for said, _ in mock.spoken] == ["First sentence here.", "And a rest"]
    assert chunks[-1].is_final


async def test_V105_the_last_chunk_of_a_stream_is_final() -> None:
    for provider in (MockTTSProvider(), MockTextToSpeech()):
        chunks = [chunk async for chunk in provider.synthesize_stream("one two")]
        assert [chunk.is_final for chunk in chunks].index(True) == len(chunks) - 1


def test_V230_the_fields_of_results() -> None:
    fields = [field.name for field in dataclasses.fields(TranscriptionResult)]
    assert fields == [
        *("text", "is_final", "confidence", "language", "words", "is_speech_start", "segments"),
    ]
    assert SpeakerSegment(None, "x") == SpeakerSegment(None, "x", None, None)
    provider = FaultySTTProvider()
    assert not provider.supports_language_override
    assert not provider.supports_diarization


async def test_V231_the_language_asked_for_is_not_echoed() -> None:
    mock = MockSTTProvider(["x"])
    assert (await mock.transcribe(AudioFrame.of(SOUND), language="de")).language is None
    provider = FaultySTTProvider()
    engine = recognizer_of(provider)
    await engine.start()
    utterance = engine.recognize(language="de")
    utterance.push(SOUND)
    assert (await utterance.finish()).language is None
    await engine.close()


@pytest.mark.parametrize("label", ["UU", "PENDING", "Unknown", "unknown", "", None])
def test_V233_spellings_of_nobody_are_null(label: str | None) -> None:
    assert speaker_label(label) is None
    assert speaker_label(0) == "0"


def test_V237_defaults() -> None:
    assert TTSContextConfig() == TTSContextConfig(True, False, 20, 120.0)
    assert [level.value for level in TTSContextLevel] == ["none", "self", "text", "audio"]
    provider = MockTTSProvider()
    assert provider.context_level is TTSContextLevel.NONE
    assert provider.max_dialogue_speakers == 0
    assert provider.available_voices() == []


def test_V238_a_context_goes_with_its_session() -> None:
    store = TTSContextStore(TTSContextConfig(), TTSContextLevel.TEXT)
    store.open("s")
    store.add_user_turn("s", "u", "hello", audio=b"\0\0")
    _, recorder = store.begin_assistant_turn("s")
    recorder.add(AudioChunk(b"\0\0"))
    store.commit_assistant_turn(recorder, "b", "never heard", played_ms=0, interrupted=True)
    assert [(turn.text, turn.audio) for turn in store.turns("s")] == [("hello", None)]
    store.release("s")
    assert store.turns("s") == ()


def test_V248_voices_match_as_asked() -> None:
    voices = [VoiceInfo(id="a", language="en-GB", gender="female"), VoiceInfo(id="b")]
    assert [voice.id for voice in filter_voices(voices, language="en")] == ["a"]
    assert filter_voices(voices, language="e") == []
    assert filter_voices(voices, query="a") == []


def test_V249_too_many_speakers_or_no_voice_is_refused() -> None:
    turns = [DialogueTurn(speaker=name, text="x") for name in "ab"]
    for voices, most in (({"a": "1", "b": "2"}, 1), ({"a": "1"}, 2)):
        with pytest.raises(ValueError, match="speaker"):
            check_dialogue(turns, voices, max_speakers=most, provider="P")


async def test_V250_a_library_refuses_what_it_cannot() -> None:
    class Library(VoiceLibrary):
        async def get_voice(self, voice_id: str) -> CustomVoice | None:
            return None

        async def delete_voice(self, voice_id: str) -> None:
            return None

    library = Library()
    assert not library.supports_design
    assert not library.supports_replication
    with pytest.raises(NotImplementedError, match="Library"):
        await library.design_voice("calm")
    with pytest.raises(NotImplementedError, match="Library"):
        await library.replicate_voice(b"sample", b"consent")
    await library.close()
    assert VoiceConsentError.code == "voice_consent"
    assert CustomVoice(voice=VoiceInfo(id="x"), stored=True).expires_at is None
