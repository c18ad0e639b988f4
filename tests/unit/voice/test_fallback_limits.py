"""Chains of engines: what bounds their probes, and who is let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import numpy as np
import pytest

from salon.models.speech import NO_HINTS, SpeechHints
from salon.testing import VirtualClock
from salon.testing.contracts.voice_stt import FaultySTTProvider, hear
from salon.testing.contracts.voice_tts import spoken
from salon.voice.errors import SpeechError
from salon.voice.stt import FallbackSpeechToText, MockSpeechToText, MockSTTProvider
from salon.voice.stt.base import OnPartial, SpeechToText, Transcription, Utterance
from salon.voice.stt.fallback import MAX_PROBES
from salon.voice.tts import (
    DEFAULT_VOICE,
    FallbackTextToSpeech,
    MockTextToSpeech,
    SpeechChunk,
    VoiceSettings,
)

SOUND = np.arange(3200, dtype=np.int16)
NONE = np.zeros(0, dtype=np.int16)
TEXT = "Hello there."


async def turns() -> None:
    """Let everything else go on for a while."""
    for _ in range(50):
        await asyncio.sleep(0)


class Refusing(SpeechToText):
    """Every utterance fails at its end; `given_up` counts those it was told to let go of."""

    name = "refusing"

    def __init__(self, *, hang: bool) -> None:
        self.hang = hang
        self.given_up = 0

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        return _Refused(self)


class _Refused(Utterance):
    def __init__(self, engine: Refusing) -> None:
        self._engine = engine

    def push(self, samples: object) -> None:
        pass

    async def finish(self) -> Transcription:
        if self._engine.hang:
            await asyncio.Event().wait()
        raise SpeechError("refusing", "no")

    def cancel(self) -> None:
        self._engine.given_up += 1


@pytest.mark.parametrize("hang", [False, True])
async def test_a_recogniser_that_failed_is_told_to_let_go_before_the_next_is_asked(
    hang: bool,
) -> None:
    first = Refusing(hang=hang)
    given_up: list[int] = []

    class Second(MockSpeechToText):
        def recognize(self, *args: object, **options: object) -> Utterance:
            given_up.append(first.given_up)
            return super().recognize(*args, **options)  # type: ignore[arg-type]

    engine = FallbackSpeechToText(
        [first, Second(["heard"])], attempt_timeout=0.01, clock=VirtualClock()
    )
    await engine.start()
    assert (await hear(engine, SOUND)).text == "heard"
    assert given_up == [1]
    await engine.close()


async def test_no_more_probes_begin_while_so_many_are_running() -> None:
    clock = VirtualClock()
    first = [FaultySTTProvider("crash") for _ in range(MAX_PROBES)]
    third = FaultySTTProvider()
    engine = FallbackSpeechToText(
        [*first, third, MockSTTProvider(["served"])], cooldown=30, clock=clock
    )
    await engine.start()
    await hear(engine, SOUND)
    clock.advance(20)
    third.fault = "crash"
    assert (await hear(engine, SOUND)).text == "served"
    for one in first:
        one.fault = "hang"
    clock.advance(10)
    await hear(engine, SOUND)
    await turns()
    assert [one.probes for one in engine.statistics()] == [*[1] * MAX_PROBES, 0, 0]
    clock.advance(20)
    await hear(engine, SOUND)
    await turns()
    assert [one.probes for one in engine.statistics()] == [*[1] * MAX_PROBES, 0, 0]
    await engine.close()


async def test_no_more_probes_than_that_begin_at_once() -> None:
    clock = VirtualClock()
    first = [FaultySTTProvider("crash") for _ in range(MAX_PROBES + 1)]
    engine = FallbackSpeechToText([*first, MockSTTProvider(["served"])], cooldown=30, clock=clock)
    await engine.start()
    await hear(engine, SOUND)
    for one in first:
        one.fault = "hang"
    clock.advance(30)
    await hear(engine, SOUND)
    await turns()
    probes = sum(one.probes for one in engine.statistics())
    await engine.close()
    assert probes == MAX_PROBES


async def test_a_probe_that_a_close_ended_is_made_again_at_once() -> None:
    clock = VirtualClock()
    first = FaultySTTProvider("crash")
    engine = FallbackSpeechToText([first, MockSTTProvider(["x"])], cooldown=30, clock=clock)
    await engine.start()
    await hear(engine, SOUND)
    first.fault = "hang"
    clock.advance(30)
    await hear(engine, SOUND)
    await turns()
    assert engine.statistics()[0].probes == 1
    await engine.close()
    assert first.open == 0
    await engine.start()
    await hear(engine, SOUND)
    await turns()
    assert engine.statistics()[0].probes == 2
    await engine.close()


async def test_what_has_no_sound_does_not_bind_a_piece_to_its_engine() -> None:
    class Empty(MockTextToSpeech):
        async def speak(
            self, text: str, settings: VoiceSettings = DEFAULT_VOICE
        ) -> AsyncGenerator[SpeechChunk, None]:
            yield SpeechChunk(NONE)
            raise SpeechError(self.name, "no sound came")

    served: list[str] = []
    second = MockTextToSpeech(name="second")
    engine = FallbackTextToSpeech(
        [Empty(name="first"), second], on_served=served.append, clock=VirtualClock()
    )
    await engine.start()
    said = await spoken(engine, TEXT)
    assert len(said.samples) == second.duration_ms(TEXT) * 16
    assert served == ["second"]
    assert [(one.served, one.failed) for one in engine.statistics()] == [(0, 1), (1, 0)]
    await engine.close()
