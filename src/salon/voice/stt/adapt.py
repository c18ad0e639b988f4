"""Any `STTProvider` as a `SpeechToText`: what it does wrong stays with its own utterance."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import numpy as np

from salon.base import RAISED, SalonError, TaskScope
from salon.media.frame import SAMPLE_RATE, AudioChunk, AudioFrame, Samples
from salon.models.speech import NO_HINTS, SpeechHints
from salon.voice.errors import SpeechError
from salon.voice.foreign import close_engine, close_stream, failure, is_ours
from salon.voice.stt.base import OnPartial, SpeechToText, Transcription, Utterance
from salon.voice.stt.gather import Gathered
from salon.voice.stt.provider import STTProvider

_log = logging.getLogger("salon.voice.stt")

ANSWER_S: Final = 15.0
WORK_S: Final = 1.0
"""Calls of the provider that are cancelled get this long to end."""
"""The final result must come within this of the end of the sound."""
MAX_SAMPLES: Final = 60 * SAMPLE_RATE
"""Sound waiting for the provider; of a provider that does not stream, the whole utterance."""


def recognizer_of(
    provider: STTProvider, *, answer_timeout: float = ANSWER_S, max_samples: int = MAX_SAMPLES
) -> SpeechToText:
    """`provider` itself if it is an engine, else wrapped."""
    if isinstance(provider, SpeechToText):
        return provider
    return AdaptedSpeechToText(provider, answer_timeout=answer_timeout, max_samples=max_samples)


class AdaptedSpeechToText(SpeechToText):
    """Speaks to `provider` as RoomKit's voice channel would.

    A provider that streams hears the sound as it comes (20 ms and more a chunk, 16 kHz mono); its
    final results are joined, and what it left interim at the end counts. Another gets the whole
    utterance as one `AudioFrame`. Whatever it raises, an answer that is none, and none within
    `answer_timeout` seconds of the end is `SpeechError` with its name. Hints are not passed on,
    a language only to a provider that supports it (V231).
    """

    def __init__(
        self,
        provider: STTProvider,
        *,
        answer_timeout: float = ANSWER_S,
        max_samples: int = MAX_SAMPLES,
    ) -> None:
        self.provider = provider
        self.name = provider.name
        self.supports_partials = provider.supports_streaming
        self.answer_timeout = answer_timeout
        self.max_samples = max_samples
        self.dropped_samples = 0
        self._scope: TaskScope | None = None
        self._closed = self._warm = False
        self._open: set[_AdaptedUtterance] = set()

    @property
    def supports_language_override(self) -> bool:
        """As the provider."""
        return self.provider.supports_language_override

    @property
    def supports_diarization(self) -> bool:
        """As the provider."""
        return self.provider.supports_diarization

    @property
    def keeps_stream_across_turns(self) -> bool:
        """As the provider."""
        return self.provider.keeps_stream_across_turns

    async def start(self) -> None:
        """Warm the provider up. `SpeechError` if it fails."""
        self._closed = False
        if self._warm:
            return
        self._warm = True
        if self._scope is None:
            self._scope = TaskScope(f"stt:{self.name}")
        try:
            await self.provider.warmup()
        except SalonError:
            self._scope, self._warm = None, False
            raise
        except RAISED as error:
            self._scope, self._warm = None, False
            if is_ours(error):
                raise
            raise failure(self.name, error) from error

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        """Begins what `start` has not begun yet. `SpeechError` after `close`."""
        if self._closed:
            raise SpeechError(self.name, "the recogniser is not running")
        if self._scope is None:
            self._scope = TaskScope(f"stt:{self.name}")
        options: dict[str, Any] = {}
        if language and language != "auto" and self.supports_language_override:
            options["language"] = language
        utterance = _AdaptedUtterance(self, self._scope, on_partial, options)
        self._open.add(utterance)
        return utterance

    async def close(self) -> None:
        """Open utterances fail; the provider is closed."""
        scope, self._scope = self._scope, None
        self._closed, self._warm = True, False
        for utterance in list(self._open):
            utterance.fail(SpeechError(self.name, "the recogniser is closed"))
        if scope is None:
            return
        await close_engine(scope.close, self.name, limit=WORK_S)
        await close_engine(self.provider.close, self.name)

    def closed(self, utterance: Utterance) -> None:
        """An utterance reports its end."""
        self._open.discard(utterance)


class _AdaptedUtterance(Utterance):
    """Its task calls the provider; `finish` waits for the task's answer."""

    def __init__(
        self,
        engine: AdaptedSpeechToText,
        scope: TaskScope,
        on_partial: OnPartial | None,
        options: dict[str, Any],
    ) -> None:
        self._engine = engine
        self._on_partial = on_partial
        self._options = options
        self._chunks: list[Samples] = []
        self._waiting = 0
        self._ended = asyncio.Event()
        self._more = asyncio.Event()
        self._result: asyncio.Future[Transcription] = asyncio.get_running_loop().create_future()
        self._task = scope.spawn(self._run(), name="utterance")

    def push(self, samples: Samples) -> None:
        if self._ended.is_set() or self._result.done():
            return
        room = self._engine.max_samples - self._waiting
        if len(samples) > room:
            self._engine.dropped_samples += len(samples) - room
            samples = samples[:room]
        if len(samples):
            self._waiting += len(samples)
            self._chunks.append(samples.copy())
            self._more.set()

    async def finish(self) -> Transcription:
        self._ended.set()
        self._more.set()
        try:
            async with asyncio.timeout(self._engine.answer_timeout):
                return await asyncio.shield(self._result)
        except TimeoutError:
            limit = self._engine.answer_timeout
            error = SpeechError(self._engine.name, f"no answer within {limit:g} s")
            self.fail(error)
            raise error from None
        except asyncio.CancelledError:
            self.cancel()
            raise

    def cancel(self) -> None:
        self.fail(SpeechError(self._engine.name, "the utterance was given up"))

    def fail(self, error: SpeechError) -> None:
        """End with this error, unless it has ended."""
        if self._result.done():
            return
        self._result.set_exception(error)
        self._result.exception()  # Who cancels does not ask for it.
        self._leave()
        self._task.cancel()

    def _leave(self) -> None:
        self._chunks.clear()
        self._engine.closed(self)

    async def _run(self) -> None:
        try:
            streams = self._engine.supports_partials
            result = await (self._stream() if streams else self._whole())
        except SpeechError as error:
            self.fail(error)
        except RAISED as error:
            if is_ours(error):
                raise
            _log.warning("the recogniser %s failed", self._engine.name, exc_info=error)
            self.fail(failure(self._engine.name, error))
        else:
            if not self._result.done():
                self._result.set_result(result)
                self._leave()

    async def _whole(self) -> Transcription:
        await self._ended.wait()
        if not self._chunks:
            return Transcription("", is_final=True)
        frame = AudioFrame.of(np.concatenate(self._chunks))
        self._chunks.clear()
        gathered = Gathered(self._engine.name)
        gathered.add(await self._engine.provider.transcribe(frame, **self._options))
        return gathered.result()

    async def _stream(self) -> Transcription:
        gathered = Gathered(self._engine.name)
        stream = self._engine.provider.transcribe_stream(self._sound(), **self._options)
        if not isinstance(stream, AsyncIterator):
            raise SpeechError(
                self._engine.name, f"transcribe_stream gave {type(stream).__name__}, no iterator"
            )
        try:
            async for result in stream:
                partial = gathered.add(result)
                if partial is not None and self._on_partial is not None:
                    self._on_partial(partial)
        finally:
            await close_stream(stream, self._engine.name)
        return gathered.result()

    async def _sound(self) -> AsyncIterator[AudioChunk]:
        """All that has come since the last chunk, as one."""
        while True:
            if self._chunks:
                samples = np.concatenate(self._chunks)
                self._chunks.clear()
                self._waiting = 0
                yield AudioChunk(samples.tobytes(), SAMPLE_RATE)
            elif self._ended.is_set():
                return
            else:
                self._more.clear()
                await self._more.wait()
