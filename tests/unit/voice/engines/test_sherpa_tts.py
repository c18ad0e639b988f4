"""Speech by the real sherpa-onnx with a tiny voice that sings."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.voice.engines import sherpa_models

from salon.base import ConfigurationError, MissingExtraError
from salon.testing.contracts.voice_tts import TextToSpeechContract, spoken
from salon.voice.errors import SpeechError
from salon.voice.tts import TextToSpeech, VoiceSettings
from salon.voice.tts.sherpa_onnx import SherpaOnnxTTSConfig, SherpaOnnxTTSProvider

pytest.importorskip("sherpa_onnx")
RATE = 22_050


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return sherpa_models.vits(tmp_path_factory.mktemp("vits"), RATE)


def provider(files: dict[str, str], **settings: Any) -> SherpaOnnxTTSProvider:
    return SherpaOnnxTTSProvider(SherpaOnnxTTSConfig(**files, **settings))  # type: ignore[arg-type]


class TestVits(TextToSpeechContract):
    @pytest.fixture
    async def engine(self, files: dict[str, str]) -> AsyncIterator[TextToSpeech]:
        engine = provider(files, voice_names=("low", "high"))
        await engine.start()
        yield engine
        await engine.close()


async def test_the_sound_is_the_models_at_16_kHz(files: dict[str, str]) -> None:
    engine = provider(files)
    rates = [engine.sample_rate]
    await engine.start()
    assert [*rates, engine.sample_rate] == [None, RATE]
    said = await spoken(engine, "aa")
    assert len(said.samples) == pytest.approx(2 * 1_600 * 16_000 / RATE, abs=60)
    # "a" is the first character: 0.02 radians a sample, 70 Hz.
    spectrum = np.abs(np.fft.rfft(said.samples.astype(float), 16_000))
    assert abs(int(np.argmax(spectrum)) - 0.02 * RATE / (2 * np.pi)) < 12
    assert 15_000 < np.abs(said.samples).max() < 17_500
    silent = await spoken(engine, "aa", VoiceSettings(volume=0.0))
    assert not np.any(silent.samples)
    await engine.close()


async def test_a_long_text_comes_in_parts_and_the_first_is_short(files: dict[str, str]) -> None:
    engine = provider(files)
    await engine.start()
    asked: list[str] = []
    generate = engine._model.generate

    class Model:
        sample_rate, num_speakers = RATE, 3

        def generate(self, text: str, **options: Any) -> Any:
            asked.append(text)
            return generate(text, **options)

    engine._model = Model()
    text = "good morning to you. " * 30
    said = await spoken(engine, text)
    assert max(len(chunk.samples) for chunk in said.chunks) == 16_000
    assert len(said.samples) == pytest.approx(len(text) * 1_600 * 16_000 / RATE, rel=0.1)
    assert 1 < len(asked) < 8
    assert len(asked[0]) <= 80 < len(asked[1]) <= 160
    await engine.close()


async def test_voices_are_named_or_numbered(files: dict[str, str]) -> None:
    engine = provider(files, voice_names=("low", "high"), speaker_id=1)
    assert engine.default_voice == "high"
    assert engine.voices() == ("low", "high")
    assert provider(files).default_voice is None
    await engine.start()
    assert [voice.id for voice in await engine.list_voices(query="low")] == ["low"]
    asked: list[int] = []
    generate = engine._model.generate

    class Model:
        sample_rate, num_speakers = RATE, 3

        def generate(self, text: str, sid: int, **options: Any) -> Any:
            asked.append(sid)
            return generate(text, sid=sid, **options)

    engine._model = Model()
    for voice in (None, "low", "2"):
        await spoken(engine, "aa", VoiceSettings(voice=voice))
    assert asked == [1, 0, 2]
    for voice in ("nobody", "3"):
        with pytest.raises(SpeechError, match=voice):
            await spoken(engine, "aa", VoiceSettings(voice=voice))
    await engine.close()


async def test_who_gives_up_costs_one_part_and_nobody_waits(files: dict[str, str]) -> None:
    engine = provider(files)
    await engine.start()
    begun, release = threading.Event(), threading.Event()
    generate = engine._model.generate
    texts: list[str] = []

    class Model:
        sample_rate, num_speakers = RATE, 3

        def generate(self, text: str, **options: Any) -> Any:
            texts.append(text)
            begun.set()
            release.wait(10)
            return generate(text, **options)

    engine._model = Model()
    long = asyncio.create_task(spoken(engine, "good morning to you. " * 30))
    await asyncio.to_thread(begun.wait, 10)
    waiting = asyncio.create_task(spoken(engine, "aa"))
    await asyncio.sleep(0)
    long.cancel()
    waiting.cancel()
    await asyncio.gather(long, waiting, return_exceptions=True)
    assert engine.speaking == 0
    release.set()
    assert len((await spoken(engine, "bb")).samples)
    assert len(texts) == 2
    await engine.close()


async def test_a_model_that_hangs_or_fails_ends_its_own_piece(files: dict[str, str]) -> None:
    config = SherpaOnnxTTSConfig(**files)  # type: ignore[arg-type]
    engine = SherpaOnnxTTSProvider(config, part_seconds=0.05)
    await engine.start()
    real, release = engine._model, threading.Event()

    class Model:
        sample_rate, num_speakers = RATE, 0

        def generate(self, text: str, **options: Any) -> Any:
            if text == "hang":
                release.wait(10)
                return real.generate(text, **options)
            raise RuntimeError("it broke")

    engine._model = Model()
    with pytest.raises(SpeechError, match=r"0\.05 s"):
        await spoken(engine, "hang")
    release.set()
    engine.part_seconds = 10.0
    with pytest.raises(SpeechError, match="it broke"):
        await spoken(engine, "aa")
    engine._model = real
    assert len((await spoken(engine, "aa")).samples)
    await engine.close()


async def test_a_text_the_model_has_no_sounds_for_is_told(files: dict[str, str]) -> None:
    engine = provider(files)
    await engine.start()
    with pytest.raises(SpeechError, match="no sound of the text"):
        await spoken(engine, "\u4f60\u597d")
    await engine.close()


async def test_pieces_are_bounded(files: dict[str, str]) -> None:
    config = SherpaOnnxTTSConfig(**files)  # type: ignore[arg-type]
    engine = SherpaOnnxTTSProvider(config, max_waiting=1)
    await engine.start()
    stream = engine.speak("aa. " * 200)
    await anext(stream)
    with pytest.raises(SpeechError, match="1 pieces"):
        await spoken(engine, "aa")
    await stream.aclose()
    with pytest.raises(SpeechError, match="20001"):
        await spoken(engine, "a" * 20_001)
    await engine.close()


async def test_a_model_that_cannot_be_loaded_is_told(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = provider(files)

    def fails(self: object) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patched:
        patched.setattr(SherpaOnnxTTSConfig, "load", fails)
        with pytest.raises(SpeechError, match="no memory"):
            await engine.start()

    def refuses(self: object) -> None:
        raise ConfigurationError("refused")

    with monkeypatch.context() as patched:
        patched.setattr(SherpaOnnxTTSConfig, "load", refuses)
        with pytest.raises(ConfigurationError, match="refused"):
            await engine.start()
    await engine.start()
    await engine.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model_type": "choir"}, "choir"),
        ({"speed": 0.0}, "speed"),
        ({"speaker_id": -1}, "speaker_id"),
        ({"num_threads": 0}, "num_threads"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        SherpaOnnxTTSConfig(**settings)


def test_files_that_are_missing_or_wrong_are_told(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "espeak").mkdir()
    for change, said in (
        ({"model": ""}, "model is not set"),
        ({"model": str(tmp_path)}, "a directory"),
        ({"model": files["tokens"]}, "no ONNX model"),
        ({"tokens": str(tmp_path / "none.txt")}, "no such file"),
        ({"data_dir": str(tmp_path / "none")}, "no such directory"),
        ({"data_dir": str(tmp_path / "espeak")}, "data_dir.*no such file"),
        ({"lexicon": "a.txt,b.txt"}, "lexicon"),
        ({"model_type": "kokoro"}, "another kind: it does not tell style_dim"),
        ({"model_type": "matcha"}, "another kind"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            SherpaOnnxTTSConfig(**{**files, **change}).check()  # type: ignore[arg-type]
    ort = tmp_path / "model.ort"
    ort.write_bytes(b"model")
    for change, said in (
        ({"model_type": "kitten"}, "voices is not set"),
        ({"model_type": "matcha"}, "vocoder is not set"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            SherpaOnnxTTSConfig(**{**files, "model": str(ort), **change}).check()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["kokoro", "kitten", "matcha"])
def test_the_library_sees_the_paths_of_every_kind(kind: str) -> None:
    config = SherpaOnnxTTSConfig("model.onnx", "tokens.txt", model_type=kind, voices="voices.bin")
    with pytest.raises(ConfigurationError, match="refuses the model"):
        config.load()


def test_without_the_library_the_extra_is_named(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sherpa_onnx", None)
    with pytest.raises(MissingExtraError, match=r"salon\[sherpa\]"):
        provider(files)
