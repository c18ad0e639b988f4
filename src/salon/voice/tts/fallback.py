"""Speech from the first of several engines that can."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Final

from salon.base import RAISED, SYSTEM_CLOCK, Clock, ConfigurationError, TaskScope
from salon.voice.errors import SpeechError
from salon.voice.foreign import close_engine, close_stream, failure, is_ours, tell
from salon.voice.health import Chain, EngineStatistics
from salon.voice.tts.adapt import voice_of
from salon.voice.tts.base import (
    DEFAULT_VOICE,
    SpeechChunk,
    TextToSpeech,
    VoiceSettings,
    require_chunk,
)
from salon.voice.tts.provider import TTSProvider

_log = logging.getLogger("salon.voice.tts")

ATTEMPT_S: Final = 4.0
COOLDOWN_S: Final = 30.0
MAX_COOLDOWN_S: Final = 600.0
PROBE_TEXT: Final = "One."


class FallbackTextToSpeech(TextToSpeech):
    """Speaks with the first of `engines` that can.

    Until the first sound of a piece another engine may take it: if one fails, or is silent for
    `attempt_timeout` seconds. After that the voice does not change: the piece ends with
    `SpeechError`, and the next one goes to another engine. A voice that an engine does not have is
    not asked of it. An engine with no sound for a text is passed by without blame.

    A failed engine is passed by for `cooldown` seconds, each failed probe doubling that up to
    `max_cooldown`. Then it is asked for a word nobody hears, beside the next piece; if that comes,
    it is back. If no engine is fit, all are tried.

    `on_served` is told the engine's name with the first sound of each piece.
    """

    def __init__(
        self,
        engines: Sequence[TTSProvider],
        *,
        attempt_timeout: float = ATTEMPT_S,
        cooldown: float = COOLDOWN_S,
        max_cooldown: float = MAX_COOLDOWN_S,
        on_served: Callable[[str], None] = lambda _name: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not engines:
            raise ConfigurationError("a fallback chain needs at least one engine")
        self.engines = tuple(voice_of(engine) for engine in engines)
        self.name = "+".join(engine.name for engine in self.engines)
        self.attempt_timeout = attempt_timeout
        self._chain = Chain.of([one.name for one in self.engines], cooldown, max_cooldown)
        self._on_served = on_served
        self._clock = clock
        self._scope: TaskScope | None = None

    async def start(self) -> None:
        """Start every engine; one that cannot start counts as failed. Raises the first failure
        if none can."""
        if self._scope is not None:
            return
        errors: list[Exception] = []
        for index, engine in enumerate(self.engines):
            try:
                await engine.start()
            except Exception as error:  # noqa: BLE001 - the border to an engine
                _log.warning("the voice %s did not start", engine.name, exc_info=error)
                self._chain.failed(index, self._clock.monotonic())
                errors.append(error)
        if len(errors) == len(self.engines):
            raise errors[0]
        self.has_word_times = all(engine.has_word_times for engine in self.engines)
        self.has_phoneme_times = all(engine.has_phoneme_times for engine in self.engines)
        self._scope = TaskScope(f"tts:{self.name}")

    def voices(self) -> tuple[str, ...]:
        """The first engine's."""
        return self.engines[0].voices()

    def statistics(self) -> tuple[EngineStatistics, ...]:
        """One entry per engine, in order."""
        return self._chain.statistics()

    async def close(self) -> None:
        """Close every engine; pieces under way end with `SpeechError`."""
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.close()
        await asyncio.gather(*(close_engine(each.close, each.name) for each in self.engines))

    async def speak(
        self, text: str, settings: VoiceSettings = DEFAULT_VOICE
    ) -> AsyncGenerator[SpeechChunk, None]:
        """Speak one piece."""
        if self._scope is None:
            raise SpeechError(self.name, "the engine is not started")
        errors: list[str] = []
        order = self._chain.order()
        for index in order:
            engine = self.engines[index]
            sounding = False
            chunks: AsyncIterator[SpeechChunk] | None = None
            try:
                chunks = _asked(engine, text, settings)
                while (chunk := await self._next(engine, chunks)) is not None:
                    if len(chunk.samples) and not sounding:
                        sounding = True
                        self._served(index)
                    yield chunk
            except SpeechError as error:
                self._failed(index, error)
                if sounding or self._scope is None:
                    raise
                errors.append(str(error))
            finally:
                if chunks is not None:
                    await close_stream(chunks, engine.name)
            if sounding:
                return
        if errors:
            raise SpeechError(self.name, "no engine could: " + "; ".join(errors))

    async def _next(
        self, engine: TextToSpeech, chunks: AsyncIterator[SpeechChunk]
    ) -> SpeechChunk | None:
        try:
            async with asyncio.timeout(self.attempt_timeout):
                chunk = await anext(chunks, None)
            return None if chunk is None else require_chunk(chunk, engine.name)
        except TimeoutError:
            limit = self.attempt_timeout
            raise SpeechError(engine.name, f"no sound within {limit:g} s") from None
        except RAISED as error:
            if is_ours(error):
                raise
            raise failure(engine.name, error) from error

    def _served(self, index: int) -> None:
        self._chain.succeeded(index)
        tell(self._on_served, self.engines[index].name)
        for better in self._chain.to_probe(index, self._clock.monotonic()):
            if self._scope is not None:
                self._scope.spawn(self._probe(better), name="probe")

    def _failed(self, index: int, error: SpeechError) -> None:
        if self._scope is None:  # Closed meanwhile: nobody's failure.
            return
        _log.warning("%s", error)
        self._chain.failed(index, self._clock.monotonic())

    async def _probe(self, index: int) -> None:
        engine = self.engines[index]
        fit: bool | None = None
        chunks: AsyncIterator[SpeechChunk] | None = None
        try:
            async with asyncio.timeout(self.attempt_timeout):
                await engine.start()
                chunks = engine.speak(PROBE_TEXT)
                fit = False
                async for chunk in chunks:
                    if len(chunk.samples):
                        fit = True
                        break
        except RAISED as error:
            if is_ours(error):
                raise
            fit = False
            _log.info("the voice %s still fails: %s", engine.name, failure(engine.name, error))
        finally:
            self._chain.probed(index, fit, self._clock.monotonic())
            if chunks is not None:
                await close_stream(chunks, engine.name)


def _asked(engine: TextToSpeech, text: str, settings: VoiceSettings) -> AsyncIterator[SpeechChunk]:
    """The engine's piece; whatever it raises is `SpeechError`."""
    try:
        return engine.speak(text, _for(engine, settings))
    except RAISED as error:
        raise failure(engine.name, error) from error


def _for(engine: TextToSpeech, settings: VoiceSettings) -> VoiceSettings:
    voices = engine.voices()
    if settings.voice is None or not voices or settings.voice in voices:
        return settings
    return replace(settings, voice=None)
