"""Chains and caches over engines that break the contract: an error of their own, no hang, and no
sound or text that is none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import numpy as np
import pytest

from salon.media.frame import Samples
from salon.models.speech import NO_HINTS, SpeechHints
from salon.testing import VirtualClock
from salon.testing.contracts.voice_stt import hear
from salon.testing.contracts.voice_tts import spoken
from salon.voice.errors import SpeechError
from salon.voice.stt import FallbackSpeechToText, MockSpeechToText
from salon.voice.stt.base import OnPartial, SpeechToText, Transcription, Utterance
from salon.voice.tts import (
    DEFAULT_VOICE,
    CachedTextToSpeech,
    FallbackTextToSpeech,
    MockTextToSpeech,
    SpeechChunk,
    TextToSpeech,
    VoiceSettings,
)

SOUND = np.arange(3200, dtype=np.int16)
TEXT = "Hello there."


class Odd(TextToSpeech):
    """Gives `chunk`, whatever that is; None: raises before it gives an iterator."""

    name = "odd"

    def __init__(self, chunk: Any) -> None:
        self._chunk = chunk

    def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncIterator[SpeechChunk]:
        if self._chunk is None:
            raise ValueError(f"no voice for {text!r}")
        return self._give()

    async def _give(self) -> AsyncGenerator[SpeechChunk, None]:
        yield self._chunk


class Voiceless(MockTextToSpeech):
    def voices(self) -> tuple[str, ...]:
        raise RuntimeError("the list of voices is gone")


GARBAGE = [
    None,
    "sound",
    SpeechChunk(None),  # type: ignore[arg-type]
    SpeechChunk(np.zeros(320, dtype=np.float32)),
    SpeechChunk(np.zeros((160, 2), dtype=np.int16)),
]


@pytest.mark.parametrize("chunk", GARBAGE)
async def test_a_voice_that_breaks_the_contract_is_left_for_the_next(chunk: Any) -> None:
    second = MockTextToSpeech(name="second")
    engine = FallbackTextToSpeech([Odd(chunk), second], clock=VirtualClock())
    await engine.start()
    assert len((await spoken(engine, TEXT)).samples) == second.duration_ms(TEXT) * 16
    assert [(s.served, s.failed) for s in engine.statistics()] == [(0, 1), (1, 0)]
    await engine.close()


async def test_a_voice_whose_list_of_voices_fails_is_left_for_the_next() -> None:
    second = MockTextToSpeech(name="second")
    engine = FallbackTextToSpeech([Voiceless(name="first"), second], clock=VirtualClock())
    await engine.start()
    piece = await spoken(engine, TEXT, VoiceSettings(voice="anyone"))
    assert len(piece.samples) == second.duration_ms(TEXT) * 16
    await engine.close()


@pytest.mark.parametrize("chunk", GARBAGE)
async def test_what_a_cache_gets_from_a_voice_is_sound_or_a_speech_error(chunk: Any) -> None:
    engine = CachedTextToSpeech(Odd(chunk))
    await engine.start()
    with pytest.raises(SpeechError, match="odd"):
        await spoken(engine, TEXT)
    assert engine.statistics().stored == 0
    await engine.close()


class Breaking(SpeechToText):
    """`pushes` pieces of sound are taken, the next raises; `answer` is the text, `given_up` counts
    cancellations, which raise."""

    name = "breaking"

    def __init__(self, *, pushes: int = 1000, answer: Any = None) -> None:
        self.pushes = pushes
        self.answer = answer
        self.given_up = 0

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        return _Broken(self)


class _Broken(Utterance):
    def __init__(self, engine: Breaking) -> None:
        self._engine = engine
        self._left = engine.pushes

    def push(self, samples: Samples) -> None:
        if not self._left:
            raise RuntimeError("no more sound")
        self._left -= 1

    async def finish(self) -> Transcription:
        answer: Transcription = self._engine.answer
        return answer

    def cancel(self) -> None:
        self._engine.given_up += 1
        raise RuntimeError("never")


@pytest.mark.parametrize("pushes", [0, 2])
async def test_a_recogniser_that_breaks_while_it_hears_hands_the_whole_utterance_on(
    pushes: int,
) -> None:
    first, second = Breaking(pushes=pushes), MockSpeechToText(["heard"])
    engine = FallbackSpeechToText([first, second], clock=VirtualClock())
    await engine.start()
    utterance = engine.recognize()
    for at in range(0, len(SOUND), 320):
        utterance.push(SOUND[at : at + 320])
    assert (await utterance.finish()).text == "heard"
    assert np.array_equal(second.heard[0].samples, SOUND)
    assert first.given_up == 1
    assert [(s.served, s.failed) for s in engine.statistics()] == [(0, 1), (1, 0)]
    await engine.close()


@pytest.mark.parametrize("answer", [None, "heard", 7])
async def test_an_answer_that_is_no_transcription_is_a_failure(answer: Any) -> None:
    engine = FallbackSpeechToText(
        [Breaking(answer=answer), MockSpeechToText(["right"])], clock=VirtualClock()
    )
    await engine.start()
    assert (await hear(engine, SOUND)).text == "right"
    assert [(s.served, s.failed) for s in engine.statistics()] == [(0, 1), (1, 0)]
    await engine.close()


async def test_giving_an_utterance_up_raises_nothing_of_an_engine() -> None:
    engine = FallbackSpeechToText([Breaking()], clock=VirtualClock())
    await engine.start()
    engine.recognize().cancel()
    engine.recognize()
    await engine.close()
