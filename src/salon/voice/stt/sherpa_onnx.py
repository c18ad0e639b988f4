"""Recognition with sherpa-onnx and the user's own model, on a thread of its own."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import numpy as np

from salon.media.frame import SAMPLE_RATE, Samples
from salon.models.speech import NO_HINTS, SpeechHints
from salon.voice.errors import SpeechError
from salon.voice.sherpa import sherpa_library
from salon.voice.stt.base import OnPartial, SpeechToText, Transcription, Utterance
from salon.voice.stt.sherpa_onnx_config import SherpaOnnxSTTConfig
from salon.voice.stt.sherpa_onnx_decoder import Decoder, Line

__all__ = ["SherpaOnnxSTTConfig", "SherpaOnnxSTTProvider"]

_log = logging.getLogger("salon.voice.stt.sherpa_onnx")

ENGINE: Final = "SherpaOnnxSTT"
MAX_SECONDS: Final = 60.0
MAX_UTTERANCES: Final = 64
FINISH_SECONDS: Final = 20.0
CLOSE_SECONDS: Final = 30.0
"""How long `close` waits for the step the model is at."""


class SherpaOnnxSTTProvider(SpeechToText):
    """One model and one thread serve all utterances; what is ready of them is decoded together.

    Of an utterance at most `max_seconds` are kept, more are dropped and counted; at most
    `max_utterances` run at once; `finish_seconds` bounds the wait for the text after the last
    sound. `hints` are not used.

    Here already: `MissingExtraError` without the library, `ConfigurationError` for files that are
    missing or of another kind.
    """

    name = ENGINE

    def __init__(
        self,
        config: SherpaOnnxSTTConfig,
        *,
        max_seconds: float = MAX_SECONDS,
        max_utterances: int = MAX_UTTERANCES,
        finish_seconds: float = FINISH_SECONDS,
    ) -> None:
        sherpa_library("recognition with sherpa-onnx")
        config.check()
        self.config = config
        self.supports_partials = config.streams
        self.max_samples = int(max_seconds * SAMPLE_RATE)
        self.max_utterances = max_utterances
        self.finish_seconds = finish_seconds
        self.close_seconds = CLOSE_SECONDS
        self.dropped_samples = 0
        self._decoder: Decoder | None = None
        self._starting = asyncio.Lock()
        self._open: set[_SherpaUtterance] = set()

    @property
    def supports_language_override(self) -> bool:
        """Only a model that is told its language with each utterance takes one."""
        return bool(self.config.stream_language) and self.config.streams

    @property
    def utterances(self) -> int:
        """Under way now."""
        return len(self._open)

    async def start(self) -> None:
        """Load the model, on another thread. Raises `SpeechError`. Idempotent."""
        async with self._starting:
            if self._decoder is not None:
                return
            try:
                recognizer = await asyncio.to_thread(self.config.load)
            except (RuntimeError, ValueError, AssertionError, TypeError) as error:
                raise SpeechError(ENGINE, f"the model can't be loaded: {error}") from error
            self._decoder = Decoder(
                recognizer, streams=self.config.streams, tail_s=self.config.tail_padding_s
            )

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        """Raises `SpeechError` outside `start` and `close`, and for one utterance too many."""
        if self._decoder is None:
            raise SpeechError(ENGINE, "the recogniser is not running")
        if len(self._open) >= self.max_utterances:
            raise SpeechError(ENGINE, f"{self.max_utterances} utterances are under way already")
        chosen = language if self.supports_language_override else None
        utterance = _SherpaUtterance(
            self, self._decoder, on_partial, chosen or self.config.stream_language or None
        )
        self._open.add(utterance)
        return utterance

    async def close(self) -> None:
        """End the thread and free the model; open utterances fail. Idempotent."""
        decoder, self._decoder = self._decoder, None
        for utterance in list(self._open):
            utterance.fail(SpeechError(ENGINE, "the recogniser is closed"))
        if decoder is not None and not await asyncio.to_thread(decoder.close, self.close_seconds):
            _log.warning("sherpa-onnx is still decoding after %g s", self.close_seconds)

    def closed(self, utterance: _SherpaUtterance) -> None:
        """An utterance reports its end."""
        self._open.discard(utterance)


class _SherpaUtterance(Utterance):
    def __init__(
        self,
        engine: SherpaOnnxSTTProvider,
        decoder: Decoder,
        on_partial: OnPartial | None,
        language: str | None,
    ) -> None:
        self._engine = engine
        self._decoder = decoder
        self._on_partial = on_partial
        self._samples = 0
        self._finished = False
        self._loop = asyncio.get_running_loop()
        self._result: asyncio.Future[Transcription] = self._loop.create_future()
        self._line = Line(self._told, self._failed, language)
        decoder.open(self._line)

    def push(self, samples: Samples) -> None:
        if self._finished or self._result.done():
            return
        room = self._engine.max_samples - self._samples
        if len(samples) > room:
            self._engine.dropped_samples += len(samples) - room
            samples = samples[:room]
        if len(samples):
            self._samples += len(samples)
            self._decoder.push(self._line, np.array(samples))

    async def finish(self) -> Transcription:
        if not self._finished and not self._result.done():
            self._finished = True
            if self._samples:
                self._decoder.finish(self._line)
            else:
                self._end(Transcription("", is_final=True))
        try:
            async with asyncio.timeout(self._engine.finish_seconds):
                return await asyncio.shield(self._result)
        except TimeoutError:
            said = f"no text within {self._engine.finish_seconds:g} s"
            self.fail(SpeechError(ENGINE, said))
            raise SpeechError(ENGINE, said) from None
        except asyncio.CancelledError:
            self.cancel()
            raise

    def cancel(self) -> None:
        self.fail(SpeechError(ENGINE, "the utterance was given up"))

    def fail(self, error: SpeechError) -> None:
        """End with this error, unless it has ended."""
        if self._result.done():
            return
        self._result.set_exception(error)
        self._result.exception()  # Who cancels does not ask for it.
        self._decoder.leave(self._line)
        self._engine.closed(self)

    def _end(self, text: Transcription) -> None:
        self._result.set_result(text)
        self._decoder.leave(self._line)
        self._engine.closed(self)

    # -- on the decoder's thread ------------------------------------------------------------------

    def _told(self, text: Transcription) -> None:
        self._soon(self._take, text)

    def _failed(self, error: BaseException) -> None:
        self._soon(self.fail, SpeechError(ENGINE, f"decoding failed: {type(error).__name__}"))

    def _soon(self, call: object, value: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, value)  # type: ignore[arg-type]
        except RuntimeError:
            self._decoder.leave(self._line)  # The loop is over, and nobody waits.

    # -- on the event loop ------------------------------------------------------------------------

    def _take(self, text: Transcription) -> None:
        if self._result.done():
            return
        if text.is_final:
            self._end(text)
        elif self._on_partial is not None:
            self._on_partial(text)
