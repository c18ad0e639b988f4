"""Scripted engines, detectors, rooms and sounds."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from salon.base import ConfigurationError
from salon.models import EventType
from salon.models.speech import SpeechHints
from salon.testing import (
    CallPair,
    EnergyVad,
    MockAIProvider,
    MockSpeechToText,
    MockTextToSpeech,
    ScriptedVad,
    add_noise,
    scripted_engine,
    scripted_gateway,
    scripted_rooms,
    silence,
    speak,
    tone,
)
from salon.testing.speech import _missing
from salon.voice.turns import InterruptionStrategy, TurnConfig
from salon.voice.vad.model import Floats


async def test_an_engine_understands_its_script_turn_by_turn() -> None:
    async with scripted_engine(["one", "two"]) as engine, scripted_gateway(engine) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite(asr={})
        for _ in range(2):
            await call.send_audio(np.concatenate((silence(300), tone(500), silence(900))))
        assert [event["text"] for event in call.of("asrFinal")] == ["one", "two"]


async def test_parts_may_be_replaced_or_left_out() -> None:
    ears, voice = MockSpeechToText(), MockTextToSpeech(name="mine")
    async with scripted_engine(recognizer=ears, synthesizer=voice) as engine:
        assert engine.recognizer() is ears
        running = (ears.running, engine.ticker.running)
        assert engine.synthesizer("mine") is voice
    assert running == (True, True)
    assert (ears.running, engine.ticker.running) == (False, False)
    async with scripted_engine(recognition=False, synthesis=False) as engine:
        assert not engine.recognizers
        assert not engine.synthesizers


async def test_hints_reach_the_recogniser() -> None:
    hints = SpeechHints(phrases=("call me",))
    ears = MockSpeechToText(["x"])
    async with (
        scripted_engine(recognizer=ears, hints=lambda: hints) as engine,
        scripted_gateway(engine) as gateway,
    ):
        call = CallPair.connect(gateway.acceptor)
        await call.invite(asr={})
        await call.send_audio(np.concatenate((tone(500), silence(700))))
        assert ears.heard[0].hints is hints


def windows(level: float, count: int = 1) -> Floats:
    return np.full((count, 512), level, dtype=np.float32)


def test_the_energy_vad_tells_speech_by_its_level() -> None:
    vad = EnergyVad(threshold_dbfs=-40.0)
    nothing = np.zeros((1, 64), dtype=np.float32)
    for level, speech in ((0.0, 0.0), (0.009, 0.0), (0.011, 1.0), (1.0, 1.0)):
        assert vad.evaluate(windows(level), nothing, nothing).tolist() == [speech]


async def test_a_scripted_vad_hears_what_it_is_told() -> None:
    vad = ScriptedVad([0.1, 0.9], rest=0.2)
    nothing = np.zeros((1, 64), dtype=np.float32)
    assert vad.evaluate(windows(0, 3), nothing, nothing).tolist() == pytest.approx([0.1, 0.9, 0.2])
    vad.add(0.8, windows=2)
    assert vad.evaluate(windows(0, 3), nothing, nothing).tolist() == pytest.approx([0.8, 0.8, 0.2])
    assert vad.evaluated == 6

    talking = ScriptedVad()
    talking.add(0.0, 10)
    talking.add(0.95, 20)
    async with scripted_engine(vad=talking) as engine, scripted_gateway(engine) as gateway:
        call = CallPair.connect(gateway.acceptor)
        await call.invite(vad={})
        await call.send_audio(silence(2000))  # nothing is said, but the script says so
        assert call.of("speaking")
        assert call.of("silence")


async def test_rooms_answer_and_remember() -> None:
    async with (
        scripted_engine(["hello"]) as engine,
        scripted_rooms(
            engine,
            MockAIProvider(["hi there"]),
            turns=TurnConfig(strategy=InterruptionStrategy.IMMEDIATE),
        ) as rooms,
    ):
        call = rooms.call("kitchen", "ann", name="Ann")
        await call.invite()
        await call.send_audio(np.concatenate((tone(500), silence(700))))
        await call.expect("trackEnd", trackId="server-side-track")
        await asyncio.sleep(0.1)
        assert await rooms.said("kitchen") == ["hello", "hi there"]
        assert {event.type for event in await rooms.messages("kitchen")} == {EventType.MESSAGE}
        programmed = CallPair.connect(rooms.gateway.acceptor, "/ws?handler=controller")
        await programmed.invite()


async def test_room_is_made_for_one_call_at_a_time_with_max_calls() -> None:
    async with (
        scripted_engine() as engine,
        scripted_rooms(engine, MockAIProvider(), max_calls=1) as rooms,
    ):
        assert rooms.gateway.max_calls == 1


# -- sounds ---------------------------------------------------------------------------------------


def test_silence_and_tone_have_their_length() -> None:
    assert len(silence(20)) == len(tone(20)) == 320
    assert len(silence(20, rate=8000)) == 160
    assert not silence(20).any()
    assert np.abs(tone(1000, level=0.5)).max() == pytest.approx(16_383, abs=2)


def test_noise_has_the_asked_ratio_and_is_the_same_every_time() -> None:
    clean = tone(1000)
    noisy = add_noise(clean, 10.0)
    assert np.array_equal(noisy, add_noise(clean, 10.0))
    assert not np.array_equal(noisy, add_noise(clean, 10.0, seed=2))
    noise = noisy.astype(float) - clean
    ratio = 10 * np.log10(np.mean(clean.astype(float) ** 2) / np.mean(noise**2))
    assert ratio == pytest.approx(10.0, abs=0.3)
    assert len(add_noise(silence(0), 10.0)) == 0


@pytest.mark.parametrize("engine", ["flite", "espeak"])
def test_speech_is_spoken_when_a_test_needs_it(engine: str) -> None:
    spoken = speak("hello there", engine=engine)  # type: ignore[arg-type]
    assert spoken.dtype == np.int16
    assert 16_000 * 0.3 < len(spoken) < 16_000 * 3
    assert np.abs(spoken).max() > 3000
    assert speak("hello there", engine=engine) is spoken  # type: ignore[arg-type]
    assert not spoken.flags.writeable
    slow = speak("hello there", engine=engine, rate=8000)  # type: ignore[arg-type]
    assert len(slow) == pytest.approx(len(spoken) / 2, abs=50)
    noisy = speak("hello there", engine=engine, noise_db=20)  # type: ignore[arg-type]
    assert len(noisy) == len(spoken)
    assert not np.array_equal(noisy, spoken)


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(ValueError, match="festival"):
        speak("hello", engine="festival")  # type: ignore[arg-type]


def test_without_the_program_a_test_is_skipped_but_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt install"):
        _missing("apt install flite")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(ConfigurationError, match="apt install"):
        _missing("apt install flite")


@pytest.mark.parametrize(
    ("name", "engine"), [("shutil.which", "flite"), ("salon.testing.speech.find_spec", "espeak")]
)
def test_missing_programs_are_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, engine: str
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(name, lambda _program: None)
    with pytest.raises(pytest.skip.Exception, match=engine[:5]):
        speak("never spoken before", engine=engine)  # type: ignore[arg-type]
