"""Keys of speech, and voices that speak from the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from salon.gateway import speech_cache
from salon.gateway.options import SynthesisOption
from salon.gateway.sound_files import SoundFiles
from salon.gateway.speech_cache import SpeechCache, speech_key
from salon.testing import MockTextToSpeech
from salon.voice.errors import SpeechError
from salon.voice.tts.base import TextToSpeech, VoiceSettings


def key(text: str = "hello", speaker: str | None = None, house: str = "", **fields: object) -> str:
    option = SynthesisOption(**{"provider": "acme", **fields})  # type: ignore[arg-type]
    return speech_key(option, option.provider or "", speaker, text, house=house)


def test_G219_the_key_of_a_text() -> None:
    said = hashlib.sha256(b"tts:acmehello").hexdigest()
    assert key() == f"{said}_16000_1"
    assert key(speaker="ann") == f"{said}_16000_ann_1"
    assert key(samplerate=8000, speed=1.25) == f"{said}_8000_1.25"
    assert key(speed=1.2) != key(speed=1.5)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "m"},
        {"volume": 6},
        {"emotion": "happy"},
        {"language": "de"},
        {"endpoint": "https://x.example.com"},
        {"codec": "pcmu"},
        {"extra": {"a": "b"}},
        {"house": "other settings"},
    ],
)
def test_G295_what_changes_the_sound_changes_the_key(fields: dict[str, object]) -> None:
    changed = key(**fields)  # type: ignore[arg-type]
    assert changed.startswith(key() + "_")
    assert changed == key(**fields)  # type: ignore[arg-type]


def test_G295_defaults_that_are_given_change_nothing() -> None:
    assert key(volume=5, codec="pcm", extra={}, language=None) == key()


def test_no_key_and_no_endpoint_stands_in_the_key_of_a_text() -> None:
    secret = "sk-0123456789abcdef"
    made = key(secret_key=secret, endpoint=f"https://x.example.com/?token={secret}", app_id="me")
    assert secret not in made
    assert "example" not in made
    assert key(secret_key=secret) == key()


def cache(folder: Path) -> SpeechCache:
    return SpeechCache(SoundFiles(folder, 10_000_000))


async def said(voice: TextToSpeech, text: str) -> np.ndarray:
    chunks = [chunk.samples async for chunk in voice.speak(text, VoiceSettings())]
    return np.concatenate([np.zeros(0, dtype=np.int16), *chunks])


async def started(**options: object) -> MockTextToSpeech:
    engine = MockTextToSpeech(name="acme", **options)  # type: ignore[arg-type]
    await engine.start()
    return engine


async def test_the_second_time_a_text_comes_from_the_cache(tmp_path: Path) -> None:
    engine, kept = await started(), cache(tmp_path)
    text = "a sentence of more than one second of sound"
    first, second = kept.voice(engine, "k", text), kept.voice(engine, "k", text)
    assert (first.name, first.from_cache, first.voices()) == ("acme", False, ())
    new = await said(first, text)
    assert (first.from_cache, first.kept_bytes) == (False, new.nbytes)
    assert np.array_equal(await said(second, text), new)
    assert (second.from_cache, second.kept_bytes) == (True, 0)
    assert len(engine.spoken) == 1


async def test_what_is_cut_short_or_fails_is_not_kept(tmp_path: Path) -> None:
    engine, kept = await started(failures={"fails": "broken"}, fail_after=1), cache(tmp_path)
    voice = kept.voice(engine, "k", "long enough to be cut")
    sound = voice.speak("long enough to be cut")
    await anext(sound)
    await sound.aclose()
    assert not await kept.files.has("k")
    assert engine.cancelled
    with pytest.raises(SpeechError):
        await said(kept.voice(engine, "k", "fails"), "fails")
    assert not await kept.files.has("k")


async def test_nothing_and_too_much_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, kept = await started(), cache(tmp_path)
    await said(kept.voice(engine, "k", "..."), "...")
    assert not await kept.files.has("k")
    monkeypatch.setattr(speech_cache, "MAX_SAMPLES", 2000)
    assert len(await said(kept.voice(engine, "k", "long"), "long")) > 2000
    assert not await kept.files.has("k")


async def test_another_text_is_left_to_the_engine(tmp_path: Path) -> None:
    engine, kept = await started(), cache(tmp_path)
    voice = kept.voice(engine, "k", "one")
    await said(voice, "one")
    await said(voice, "two")
    assert [text for text, _ in engine.spoken] == ["one", "two"]
    assert not voice.from_cache


async def test_a_cache_that_cannot_be_written_costs_only_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    engine, kept = await started(), cache(tmp_path / "file")
    voice = kept.voice(engine, "k", "one")
    assert len(await said(voice, "one"))
    assert voice.kept_bytes == 0
