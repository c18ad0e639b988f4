"""Which voice speaks, how, and what is made ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from salon.base import ConfigurationError
from salon.gateway.commands import TtsCommand, parse_command
from salon.gateway.lent import LentVoice
from salon.gateway.options import SynthesisOption
from salon.gateway.providers import Providers
from salon.gateway.sound_files import SoundFiles
from salon.gateway.speech_cache import CachedVoice, SpeechCache
from salon.gateway.voices import Cached, Voices
from salon.testing import MockTextToSpeech
from salon.voice.engine import VoiceEngine
from salon.voice.errors import SpeechError
from salon.voice.tts.base import VoiceSettings


def command(text: str = "hello", **fields: Any) -> TtsCommand:
    made = parse_command({"command": "tts", "text": text, **fields})
    assert isinstance(made, TtsCommand)
    return made


def option(provider: str | None = None, **fields: Any) -> SynthesisOption:
    return SynthesisOption.model_validate({"provider": provider, **fields})


@pytest.fixture
def providers() -> Providers:
    made = Providers(environ=dict)
    made.register_voice("acme", lambda _: MockTextToSpeech(name="acme"))
    return made


def cache(folder: Path) -> SpeechCache:
    return SpeechCache(SoundFiles(folder, 10_000_000))


def test_without_a_name_the_house_speaks(engine: VoiceEngine, providers: Providers) -> None:
    house = engine.synthesizers[""]
    for voices in (Voices(engine), Voices(engine, providers)):
        for wanted in (None, option(), option("mock"), option(speed=2.0)):
            assert voices.voice(wanted, command())[0] is house


def test_T37_a_name_chooses_the_provider(engine: VoiceEngine, providers: Providers) -> None:
    voices = Voices(engine, providers)
    voice, _ = voices.voice(option("acme"), command())
    assert (type(voice), voice.name) == (LentVoice, "acme")
    assert voices.voice(option("acme"), command("more"))[0] == voice
    for unknown in ("ACME", "tencent"):
        with pytest.raises(ConfigurationError, match=f"TTS type not found: {unknown}"):
            voices.voice(option(unknown), command())
        with pytest.raises(ConfigurationError, match=f"TTS type not found: {unknown}"):
            Voices(engine).voice(option(unknown), command())


def test_the_house_keeps_its_name_unless_keys_are_brought_or_it_is_registered(
    engine: VoiceEngine, providers: Providers
) -> None:
    house = MockTextToSpeech(name="openai")
    engine.synthesizers = {**engine.synthesizers, "openai": house}
    voices = Voices(engine, providers)
    assert voices.voice(option("openai"), command())[0] is house
    assert isinstance(voices.voice(option("openai", apiKey="k"), command())[0], LentVoice)
    providers.register_voice("openai", lambda _: MockTextToSpeech())
    assert isinstance(voices.voice(option("openai"), command())[0], LentVoice)
    # keys for an engine of the house that is nobody else's have no effect
    assert voices.voice(option("mock", apiKey="k"), command())[0] is engine.synthesizers["mock"]


def test_G291_numbers_stay_on_the_scale_unless_they_are_raw(
    engine: VoiceEngine, providers: Providers
) -> None:
    voices = Voices(engine, providers)
    wild: dict[str, Any] = {"speed": 6.0, "volume": -10, "language": "de", "speaker": "ann"}
    tame = VoiceSettings("ann", 2.0, 0.0, "de")
    raw = {"extra": {"rawScale": "true"}}
    assert voices.voice(option("acme", **wild), command())[1] == tame
    assert voices.voice(option("acme", **wild, **raw), command())[1] == VoiceSettings(
        "ann", 6.0, -10.0, "de"
    )
    assert voices.voice(option(None, **wild, **raw), command())[1] == tame
    assert voices.voice(None, command(speaker="bob"))[1] == VoiceSettings("bob")


def test_whole_texts_go_through_the_cache(
    engine: VoiceEngine, providers: Providers, tmp_path: Path
) -> None:
    voices = Voices(engine, providers, cache(tmp_path), house="settings")

    def key(text: str = "hello", wanted: SynthesisOption | None = None, **fields: Any) -> str:
        voice, _ = voices.voice(wanted, command(text, **fields))
        assert isinstance(voice, CachedVoice)
        return voice.key

    assert voices.voice(None, command(streaming=True))[0] is engine.synthesizers[""]
    assert key() == key(" hello \U0001f600")
    assert key() == key(wanted=option("mock"))
    assert key() != key(wanted=option("acme"))
    assert key(speaker="ann") == key(wanted=option(speaker="ann"))
    assert key(cacheKey="greeting") == "greeting"
    plain = Voices(engine, providers, cache(tmp_path)).voice(None, command())[0]
    assert isinstance(plain, CachedVoice)
    assert plain.key != key()


async def test_G204_speech_is_made_ahead(engine: VoiceEngine, tmp_path: Path) -> None:
    voices = Voices(engine, None, cache(tmp_path))
    first = await voices.precache(command("hello", option={"provider": "mock"}))
    assert first.status == "cached"
    assert first.bytes == 2 * 16 * 5 * 60
    assert await voices.precache(command("hello", option={"provider": "mock"})) == Cached(
        "exists", first.key, 0
    )
    named = await voices.precache(command("hello", cacheKey="greeting"))
    assert named.key == "greeting"


async def test_G204_what_cannot_be_made_ahead_is_told(
    engine: VoiceEngine, tmp_path: Path, providers: Providers
) -> None:
    with pytest.raises(ConfigurationError, match="switched off"):
        await Voices(engine).precache(command())
    voices = Voices(engine, providers, cache(tmp_path))
    for wrong in (command(streaming=True), command("AAAA", base64=True), command("  ")):
        with pytest.raises(ConfigurationError):
            await voices.precache(wrong)
    with pytest.raises(ConfigurationError, match="TTS type not found"):
        await voices.precache(command(option={"provider": "nobody"}))
    with pytest.raises(SpeechError, match="no key"):
        await voices.precache(command(option={"provider": "deepgram"}))
    with pytest.raises(SpeechError, match="no sound"):
        await voices.precache(command("..."))

    class Broken(MockTextToSpeech):
        async def start(self) -> None:
            raise ValueError("401 for Bearer sk-0123456789abcdef0123456789")

    providers.register_voice("broken", lambda _: Broken())
    with pytest.raises(SpeechError, match="broken: ValueError: 401") as told:
        await voices.precache(command(option={"provider": "broken"}))
    assert "0123456789" not in str(told.value)

    class Odd(MockTextToSpeech):
        def voices(self) -> tuple[str, ...]:
            raise KeyError("voices")

    providers.register_voice("odd", lambda _: Odd())
    with pytest.raises(SpeechError, match="odd: KeyError"):
        await voices.precache(command(option={"provider": "odd"}))
    await providers.close()
