"""Which recogniser a call listens with."""

from __future__ import annotations

import pytest

from salon.gateway.ears import Ears
from salon.gateway.lent import LentRecognizer
from salon.gateway.options import TranscriptionOption
from salon.gateway.providers import Providers
from salon.voice.engine import VoiceEngine
from salon.voice.errors import SpeechError
from salon.voice.stt.mock import MockSpeechToText


def option(provider: str | None = None, **fields: str) -> TranscriptionOption:
    return TranscriptionOption.model_validate({"provider": provider, **fields})


def test_without_a_name_the_house_listens(engine: VoiceEngine) -> None:
    house = engine.recognizers[""]
    for ears in (Ears(engine), Ears(engine, Providers(environ=dict))):
        for wanted in (None, option(), option("mock"), option("mock", apiKey="k")):
            assert ears.recognizer(wanted) is house


def test_G64_unknown_providers_get_the_default(engine: VoiceEngine) -> None:
    for ears in (Ears(engine), Ears(engine, Providers(environ=dict))):
        assert ears.recognizer(option("tencent")) is engine.recognizers[""]
        assert not ears.knows("tencent")
        assert ears.knows("mock")
    assert not Ears(engine).knows("deepgram")
    assert Ears(engine, Providers(environ=dict)).knows("deepgram")


def test_G64_known_providers_are_used(engine: VoiceEngine) -> None:
    providers = Providers(environ=dict)
    ears = Ears(engine, providers)
    found = ears.recognizer(option("deepgram", apiKey="k", model="nova-2"))
    assert isinstance(found, LentRecognizer)
    assert found.name == "deepgram"
    with pytest.raises(SpeechError, match="no key"):
        ears.recognizer(option("deepgram"))
    providers.register_recognizer("mock", lambda _: MockSpeechToText())
    assert isinstance(ears.recognizer(option("mock")), LentRecognizer)


def test_the_house_keeps_its_name_unless_keys_are_brought(engine: VoiceEngine) -> None:
    house = MockSpeechToText()
    engine.recognizers = {**engine.recognizers, "openai": house}
    ears = Ears(engine, Providers(environ=dict))
    assert ears.recognizer(option("openai")) is house
    assert isinstance(ears.recognizer(option("openai", apiKey="k")), LentRecognizer)
