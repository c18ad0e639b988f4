"""Engines of a pool as calls hold them: each piece and each utterance borrows one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from salon.base import RAISED
from salon.gateway.engine_pool import EnginePool, Recipe
from salon.media.frame import SAMPLE_RATE, Samples
from salon.models.speech import NO_HINTS, SpeechHints
from salon.voice.errors import SpeechError
from salon.voice.foreign import close_stream, failure, is_ours
from salon.voice.stt.base import OnPartial, SpeechToText, Transcription, Utterance
from salon.voice.tts.base import DEFAULT_VOICE, SpeechChunk, TextToSpeech, VoiceSettings

MAX_WAITING = 60 * SAMPLE_RATE
"""Sound that may wait for a recogniser to start; more is dropped and counted."""


class LentVoice(TextToSpeech):
    """The voice of `recipe`, by its provider's name. Two of one recipe are equal. It takes any
    speaker; one that the started engine does not know is left to its default."""

    def __init__(self, pool: EnginePool[TextToSpeech], recipe: Recipe[TextToSpeech]) -> None:
        self.name = recipe.name
        self._pool = pool
        self._recipe = recipe

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LentVoice) and other._recipe == self._recipe

    def __hash__(self) -> int:
        return hash(self._recipe)

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Speak one piece; an engine that cannot start fails it."""
        async with self._pool.use(self._recipe) as engine:
            known = engine.voices()
            if settings.voice and known and settings.voice not in known:
                settings = replace(settings, voice=None)
            sound = engine.speak(text, settings)
            try:
                async for chunk in sound:
                    yield chunk
            finally:
                await close_stream(sound, self.name)


class LentRecognizer(SpeechToText):
    """The recogniser of `recipe`, by its provider's name."""

    supports_partials = True

    def __init__(self, pool: EnginePool[SpeechToText], recipe: Recipe[SpeechToText]) -> None:
        self.name = recipe.name
        self.dropped_samples = 0
        self._pool = pool
        self._recipe = recipe

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        """Begins once the engine has started; what fails then, `finish` raises. `SpeechError` when
        the server is closing."""

        def begin(engine: SpeechToText) -> Utterance:
            return engine.recognize(hints, on_partial=on_partial, language=language)

        return _LentUtterance(self, self._pool, self._recipe, begin)


class _LentUtterance(Utterance):
    """Keeps the sound until its recogniser has started. One task borrows the engine and gives it
    back."""

    def __init__(
        self,
        owner: LentRecognizer,
        pool: EnginePool[SpeechToText],
        recipe: Recipe[SpeechToText],
        begin: Callable[[SpeechToText], Utterance],
    ) -> None:
        self._owner = owner
        self._waiting: list[Samples] = []
        self._length = 0
        self._inner: Utterance | None = None
        self._ended = asyncio.Event()
        self._task: asyncio.Task[Transcription | SpeechError] = pool.scope.spawn(
            self._work(pool, recipe, begin), name="utterance"
        )

    async def _work(
        self,
        pool: EnginePool[SpeechToText],
        recipe: Recipe[SpeechToText],
        begin: Callable[[SpeechToText], Utterance],
    ) -> Transcription | SpeechError:
        try:
            async with pool.use(recipe) as engine:
                inner = begin(engine)
                try:
                    for samples in self._waiting:
                        inner.push(samples)
                    self._waiting.clear()
                    self._inner = inner
                    await self._ended.wait()
                    return await inner.finish()
                finally:
                    self.decoder_wait_ms = inner.decoder_wait_ms
                    inner.cancel()
        except SpeechError as error:
            return error
        except RAISED as error:
            if is_ours(error):
                raise
            return failure(recipe.name, error)
        finally:
            self._ended.set()
            self._waiting.clear()

    def push(self, samples: Samples) -> None:
        if self._ended.is_set():
            return
        if self._inner is not None:
            self._inner.push(samples)
            return
        room = MAX_WAITING - self._length
        if len(samples) > room:
            self._owner.dropped_samples += len(samples) - room
            samples = samples[:room]
        if len(samples):
            self._length += len(samples)
            self._waiting.append(samples.copy())

    async def finish(self) -> Transcription:
        self._ended.set()
        try:
            result = await self._task
        except asyncio.CancelledError as error:
            self.cancel()
            if is_ours(error):
                raise
            raise SpeechError(self._owner.name, "the utterance was given up") from None
        if isinstance(result, Transcription):
            return result
        raise result

    def cancel(self) -> None:
        self._ended.set()
        self._task.cancel()
