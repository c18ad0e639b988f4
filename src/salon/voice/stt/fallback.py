"""Recognition by the first of several engines that can."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from salon.base import RAISED, SYSTEM_CLOCK, Clock, ConfigurationError, TaskScope
from salon.media.frame import SAMPLE_RATE, Samples
from salon.models.speech import NO_HINTS, SpeechHints
from salon.voice.errors import SpeechError
from salon.voice.foreign import close_engine, failure, is_ours, tell
from salon.voice.health import Chain, EngineStatistics
from salon.voice.stt.adapt import recognizer_of
from salon.voice.stt.base import OnPartial, SpeechToText, Transcription, Utterance
from salon.voice.stt.provider import STTProvider

_log = logging.getLogger("salon.voice.stt")

ATTEMPT_S: Final = 10.0
COOLDOWN_S: Final = 30.0
MAX_COOLDOWN_S: Final = 600.0
MAX_SAMPLES: Final = 60 * SAMPLE_RATE
"""Sound of an utterance that is kept for the next engine."""
MAX_PROBES: Final = 2
"""Probes at once; each keeps its utterance's sound."""


class FallbackSpeechToText(SpeechToText):
    """Asks `engines` in order; the next one if one fails or gives no text within `attempt_timeout`
    seconds of the end of the sound. It then hears the whole utterance, which is kept (60 s).

    A failed engine is passed by for `cooldown` seconds, each failed probe doubling that up to
    `max_cooldown`. Then utterances that another engine served are played to it as well, beside the
    call; the first that it gets through brings it back. If no engine is fit, all are tried.

    `on_served` is told the engine's name with each final text; `statistics` counts.
    """

    def __init__(
        self,
        engines: Sequence[STTProvider],
        *,
        attempt_timeout: float = ATTEMPT_S,
        cooldown: float = COOLDOWN_S,
        max_cooldown: float = MAX_COOLDOWN_S,
        on_served: Callable[[str], None] = lambda _name: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not engines:
            raise ConfigurationError("a fallback chain needs at least one engine")
        self.engines = tuple(recognizer_of(engine) for engine in engines)
        self.name = "+".join(engine.name for engine in self.engines)
        self.supports_partials = any(engine.supports_partials for engine in self.engines)
        self.attempt_timeout = attempt_timeout
        self.dropped_samples = 0
        self.chain = Chain.of([one.name for one in self.engines], cooldown, max_cooldown)
        self._on_served = on_served
        self._clock = clock
        self._scope: TaskScope | None = None
        self._probes = 0
        self._open: set[_FallbackUtterance] = set()

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
                _log.warning("the recogniser %s did not start", engine.name, exc_info=error)
                self.chain.failed(index, self._clock.monotonic())
                errors.append(error)
        if len(errors) == len(self.engines):
            raise errors[0]
        self._scope = TaskScope(f"stt:{self.name}")

    async def prepare(self, hints: SpeechHints) -> None:
        """Prepare every engine; raises the first failure if none can."""
        errors: list[Exception] = []
        for engine in self.engines:
            try:
                await engine.prepare(hints)
            except Exception as error:  # noqa: BLE001 - the border to an engine
                _log.warning("the recogniser %s did not prepare", engine.name, exc_info=error)
                errors.append(error)
        if len(errors) == len(self.engines):
            raise errors[0]

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        """Raises `SpeechError` outside `start` and `close`."""
        if self._scope is None:
            raise SpeechError(self.name, "the recogniser is not running")
        utterance = _FallbackUtterance(self, hints, on_partial, language)
        self._open.add(utterance)
        return utterance

    def statistics(self) -> tuple[EngineStatistics, ...]:
        """One entry per engine, in order."""
        return self.chain.statistics()

    async def close(self) -> None:
        """Close every engine; open utterances fail."""
        scope, self._scope = self._scope, None
        for utterance in list(self._open):
            utterance.end("the recogniser is closed")
        if scope is not None:
            await scope.close()
        await asyncio.gather(*(close_engine(each.close, each.name) for each in self.engines))

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock.monotonic()

    def closed(self, utterance: _FallbackUtterance) -> None:
        """An utterance reports its end."""
        self._open.discard(utterance)

    def served(self, index: int, sound: list[Samples], hints: SpeechHints) -> None:
        """An engine gave a text; better ones whose cooldown is over hear the same sound."""
        self.chain.succeeded(index)
        tell(self._on_served, self.engines[index].name)
        if self._scope is None or not sound:
            return
        for better in self.chain.to_probe(index, self.now(), MAX_PROBES - self._probes):
            self._probes += 1
            self._scope.spawn(self._probe(better, sound, hints), name="probe")

    async def _probe(self, index: int, sound: list[Samples], hints: SpeechHints) -> None:
        fit: bool | None = None
        utterance: Utterance | None = None
        engine = self.engines[index]
        try:
            async with asyncio.timeout(self.attempt_timeout):
                await engine.start()
                utterance = engine.recognize(hints)
                for samples in sound:
                    utterance.push(samples)
                fit = isinstance(await utterance.finish(), Transcription)
            if fit:
                _log.info("the recogniser %s is back", engine.name)
        except RAISED as error:
            if is_ours(error):
                raise
            fit = False
            _log.info("the recogniser %s still fails: %s", engine.name, failure(engine.name, error))
        finally:
            self._probes -= 1
            self.chain.probed(index, fit, self.now())
            if utterance is not None:
                utterance.cancel()


class _FallbackUtterance(Utterance):
    def __init__(
        self,
        engine: FallbackSpeechToText,
        hints: SpeechHints,
        on_partial: OnPartial | None,
        language: str | None,
    ) -> None:
        self.served_by: str | None = None
        """The engine the final text is from."""
        self._engine = engine
        self._hints = hints
        self._on_partial = on_partial
        self._language = language
        self._sound: list[Samples] = []
        self._samples = 0
        self._ended: str | None = None
        self._errors: list[str] = []
        self._untried = engine.chain.order()
        self._index = -1
        self._current: Utterance | None = None
        self._next()

    def push(self, samples: Samples) -> None:
        if self._ended is not None:
            return
        room = MAX_SAMPLES - self._samples
        if len(samples) > room:
            self._engine.dropped_samples += len(samples) - room
            samples = samples[:room]
        if not len(samples):
            return
        samples = samples.copy()
        self._samples += len(samples)
        self._sound.append(samples)
        current = self._current
        if current is None:
            return
        try:
            current.push(samples)
        except Exception as error:  # noqa: BLE001 - the border to an engine
            self._failed(error)
            self._give_up(current)
            self._next()

    async def finish(self) -> Transcription:
        if self._ended is not None:
            raise SpeechError(self._engine.name, self._ended)
        try:
            while self._current is not None:
                result = await self._attempt(self._current)
                if result is not None:
                    self._engine.served(self._index, self._sound, self._hints)
                    self.served_by = self._engine.engines[self._index].name
                    return result
                self._next()
            if self._ended is not None:
                raise SpeechError(self._engine.name, self._ended)
            raise SpeechError(self._engine.name, "no engine could: " + "; ".join(self._errors))
        finally:
            self.end("the utterance has ended")

    def cancel(self) -> None:
        self.end("the utterance was given up")

    def end(self, reason: str) -> None:
        """No engine goes on; `finish` fails with `reason` from now on."""
        if self._ended is not None:
            return
        self._ended = reason
        self._untried.clear()
        self._sound = []  # A probe may still hold the list.
        current, self._current = self._current, None
        if current is not None:
            self._give_up(current)
        self._engine.closed(self)

    async def _attempt(self, current: Utterance) -> Transcription | None:
        limit = self._engine.attempt_timeout
        try:
            async with asyncio.timeout(limit):
                result: object = await current.finish()
            if not isinstance(result, Transcription):
                raise TypeError(f"it gave {type(result).__name__}, no Transcription")
            self.decoder_wait_ms += current.decoder_wait_ms
            return result
        except TimeoutError:
            name = self._engine.engines[self._index].name
            self._failed(SpeechError(name, f"no text within {limit:g} s"))
        except RAISED as error:
            if is_ours(error):
                raise
            self._failed(error)
        self._give_up(current)
        return None

    def _give_up(self, current: Utterance) -> None:
        try:
            current.cancel()
        except Exception:  # noqa: BLE001 - the border to an engine
            _log.exception("a recogniser of %s did not give an utterance up", self._engine.name)

    def _failed(self, error: BaseException) -> None:
        if self._ended is not None:  # Closed or cancelled meanwhile: nobody's failure.
            return
        said = failure(self._engine.engines[self._index].name, error)
        _log.warning("%s; the next engine is asked", said)
        self._errors.append(str(said))
        self._engine.chain.failed(self._index, self._engine.now())

    def _next(self) -> None:
        """The next engine that begins an utterance, with all the sound so far."""
        self._current = None
        while self._untried:
            self._index = self._untried.pop(0)
            engine = self._engine.engines[self._index]
            current: Utterance | None = None
            try:
                current = engine.recognize(
                    self._hints, on_partial=self._on_partial, language=self._language
                )
                for samples in self._sound:
                    current.push(samples)
            except Exception as error:  # noqa: BLE001 - the border to an engine
                self._failed(error)
                if current is not None:
                    self._give_up(current)
            else:
                self._current = current
                return
