"""The engines of a server, and what calls may choose beside them."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from salon.app.engines import Engines, register_providers
from salon.app.metrics import Metrics
from salon.app.settings import load_settings
from salon.base import ConfigurationError
from salon.gateway.commands import TtsCommand
from salon.gateway.options import SynthesisOption, TranscriptionOption
from salon.gateway.providers import Providers
from salon.gateway.sound_files import SoundFiles
from salon.gateway.speech_cache import CachedVoice, SpeechCache
from salon.testing import MockAIProvider, MockTextToSpeech


def engines(**environ: str) -> Engines:
    settings = load_settings({"SALON_STT": "none", "SALON_TTS": "none", **environ})
    return Engines(settings, Metrics(), MockAIProvider())


async def test_calls_choose_among_the_providers() -> None:
    made = engines()
    account = SynthesisOption(provider="openai", secret_key="k")
    voice, _ = made.voices().voice(account, TtsCommand(text="hello"))
    assert voice.name == "openai"
    for name in ("espeak", "flite"):  # programs of this machine, which is to be silent
        with pytest.raises(ConfigurationError, match=f"TTS type not found: {name}: .*switched off"):
            made.voices().voice(SynthesisOption(provider=name), TtsCommand(text="hello"))
    assert made.ears().knows("deepgram")
    found = made.ears().recognizer(TranscriptionOption(provider="openai", secret_key="k"))
    assert found.name == "openai"
    with pytest.raises(ConfigurationError, match="switched off"):
        made.voices().voice(None, TtsCommand(text="hello"))
    assert "speech providers of calls" in [service.name for service in made.services()]
    await made.providers.close()


async def test_the_cache_knows_the_settings_of_the_house(tmp_path: object) -> None:
    cache = SpeechCache(SoundFiles(tmp_path, 1000))  # type: ignore[arg-type]
    keys = []
    for voice in ("slt", "rms", "slt"):
        made = engines(SALON_TTS_VOICE=voice)
        made._synthesizers[""] = MockTextToSpeech()
        found, _ = made.voices(cache).voice(None, TtsCommand(text="hello"))
        assert isinstance(found, CachedVoice)
        keys.append(found.key)
    assert keys[0] == keys[2] != keys[1]


def test_an_operator_registers_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("acme_speech")
    seen: list[Providers] = []
    module.register = seen.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acme_speech", module)
    providers = Providers()
    register_providers(providers, "acme_speech:register")
    assert seen == [providers]
    for wrong in ("acme_speech:other", "acme_speech", "no_such_module:register", ":x", ""):
        with pytest.raises(ConfigurationError, match="no speech providers"):
            register_providers(providers, wrong)
