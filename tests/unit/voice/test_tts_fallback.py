"""One voice after another."""

from __future__ import annotations

import asyncio

import pytest

from salon.base import ConfigurationError, SalonError
from salon.testing import VirtualClock
from salon.testing.contracts.voice_tts import FaultyTTSProvider, spoken
from salon.voice.errors import SpeechError
from salon.voice.stt import FallbackSpeechToText
from salon.voice.tts import (
    FallbackTextToSpeech,
    MockTextToSpeech,
    TTSProvider,
    VoiceSettings,
)

TEXT = "Hello there."


async def chain(*engines: TTSProvider, **options: object) -> FallbackTextToSpeech:
    options.setdefault("clock", VirtualClock())
    engine = FallbackTextToSpeech(engines, **options)  # type: ignore[arg-type]
    await engine.start()
    return engine


async def test_before_the_first_sound_the_next_engine_takes_the_piece() -> None:
    served: list[str] = []
    second = MockTextToSpeech(name="second")
    engine = await chain(FaultyTTSProvider("crash"), second, on_served=served.append)
    assert len((await spoken(engine, TEXT)).samples) == second.duration_ms(TEXT) * 16
    assert served == ["second"]
    assert [(s.name, s.served, s.failed) for s in engine.statistics()] == [
        ("Faulty", 0, 1),
        ("second", 1, 0),
    ]
    await engine.close()


async def test_a_silent_engine_is_left_after_its_time() -> None:
    first = FaultyTTSProvider("hang")
    engine = await chain(first, MockTextToSpeech(), attempt_timeout=0.02)
    assert len((await spoken(engine, TEXT)).samples)
    assert first.open == 0
    await engine.close()


@pytest.mark.parametrize("fault", ["late crash", "late hang"])
async def test_after_the_first_sound_the_piece_ends_and_the_next_goes_elsewhere(
    fault: str,
) -> None:
    first, second = FaultyTTSProvider(fault), MockTextToSpeech()
    engine = await chain(first, second, attempt_timeout=0.05)
    with pytest.raises(SpeechError, match="Faulty"):
        await spoken(engine, TEXT)
    assert not second.spoken
    assert len((await spoken(engine, TEXT)).samples)
    assert len(second.spoken) == 1
    await engine.close()


async def test_a_failed_engine_rests_and_is_probed_back() -> None:
    clock = VirtualClock()
    first = FaultyTTSProvider("crash")
    engine = await chain(first, MockTextToSpeech(), cooldown=30, clock=clock)
    await spoken(engine, TEXT)
    await spoken(engine, TEXT)
    assert len(first.asked) == 1
    clock.advance(30)
    await spoken(engine, TEXT)
    async with asyncio.timeout(5):
        while len(first.asked) < 2 or first.open:
            await asyncio.sleep(0)
        first.fault = ""
        clock.advance(60)
        await spoken(engine, TEXT)
        while not engine.statistics()[0].healthy:
            await asyncio.sleep(0)
    assert first.open == 0
    assert len((await spoken(engine, TEXT)).samples) >= 16_000
    assert [asked[0] for asked in first.asked] == [TEXT, "One.", "One.", TEXT]
    await engine.close()


async def test_all_engines_failing_is_one_error_naming_each() -> None:
    engine = await chain(FaultyTTSProvider("crash"), FaultyTTSProvider("garbage"))
    with pytest.raises(SpeechError, match=r"no engine could: Faulty.*broke.*Faulty.*str"):
        await spoken(engine, TEXT)
    await engine.close()


async def test_a_voice_is_asked_only_of_an_engine_that_has_it() -> None:
    class Known(MockTextToSpeech):
        def voices(self) -> tuple[str, ...]:
            return ("anna",)

    first, second = Known(failures={TEXT: "no"}), Known()
    engine = await chain(first, second)
    await spoken(engine, TEXT, VoiceSettings(voice="anna"))
    await spoken(engine, "Bye now.", VoiceSettings(voice="bob"))
    assert [settings.voice for _, settings in second.spoken] == ["anna", None]
    assert engine.voices() == ("anna",)


async def test_one_engine_that_cannot_start_does_not_stop_the_other() -> None:
    class Broken(MockTextToSpeech):
        async def start(self) -> None:
            raise SpeechError("mock", "no model")

    engine = await chain(Broken(), MockTextToSpeech())
    assert len((await spoken(engine, TEXT)).samples)
    with pytest.raises(SalonError, match="no model"):
        await chain(Broken())


async def test_a_close_meanwhile_is_nobodys_failure() -> None:
    engine = await chain(MockTextToSpeech(), MockTextToSpeech())
    stream = engine.speak(TEXT)
    await anext(stream)
    await engine.close()
    with pytest.raises(SpeechError):
        await anext(stream)
    assert [s.failed for s in engine.statistics()] == [0, 0]


def test_a_chain_needs_an_engine() -> None:
    for chain_of in (FallbackTextToSpeech, FallbackSpeechToText):
        with pytest.raises(ConfigurationError):
            chain_of([])
