"""Recognition with PocketSphinx, in worker processes; English, of what an agent understands.

Sound goes to the worker as it comes, so that most of the work is done when the speaker stops. The
model is built from the hints' phrases (`language_model`); without phrases the general model that
PocketSphinx carries is used, which is a stopgap: it misses about half of the words.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from typing import Any, Final

from salon.base import ConfigurationError, MissingExtraError, TaskScope
from salon.base.clock import SYSTEM_CLOCK, Clock
from salon.media.frame import SAMPLE_RATE, Samples
from salon.media.timing import WordTime
from salon.models.speech import NO_HINTS, SpeechHints
from salon.voice.errors import SpeechError
from salon.voice.stt.base import OnPartial, SpeechToText, Transcription, Utterance
from salon.voice.stt.sphinx_pool import WAIT_SECONDS, PoolStatistics, SphinxPool
from salon.voice.stt.sphinx_process import ENGINE, MODULE, SphinxProcess

_log = logging.getLogger("salon.voice.stt.pocketsphinx")

MAX_SECONDS: Final = 60.0
FINISH_SECONDS: Final = 20.0
"""How long a worker may take over the rest after the last sound (beyond the wait for one)."""


class PocketSphinxSpeechToText(SpeechToText):
    """Up to `workers` utterances at once; more wait in order, at most `wait_seconds` each."""

    name = ENGINE
    supports_partials = True

    def __init__(
        self,
        workers: int = 2,
        *,
        wait_seconds: float = WAIT_SECONDS,
        finish_seconds: float = FINISH_SECONDS,
        max_seconds: float = MAX_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
        worker_module: str = MODULE,
    ) -> None:
        if workers < 1:
            raise ConfigurationError(f"workers is {workers}, at least 1 is needed")
        self.clock = clock
        self.finish_seconds = finish_seconds
        self.max_samples = int(max_seconds * SAMPLE_RATE)
        self.pool = SphinxPool(
            workers, wait_seconds=wait_seconds, clock=clock, module=worker_module
        )
        self._scope: TaskScope | None = None
        self._open: set[_SphinxUtterance] = set()

    async def start(self) -> None:
        """Start the workers. Raises `MissingExtraError` without PocketSphinx, `SpeechError` if a
        process can't be started. Idempotent."""
        if self._scope is not None:
            return
        if importlib.util.find_spec("pocketsphinx") is None:
            raise MissingExtraError("recognition", "recognition with PocketSphinx")
        self._scope = TaskScope("salon.voice.stt.pocketsphinx")
        try:
            await self.pool.start()
        except BaseException:
            self._scope = None
            raise

    async def prepare(self, hints: SpeechHints) -> None:
        """Build the model of `hints` and load it into the workers. Raises `SpeechError`."""
        _demand_english(hints.language)
        await self.pool.prepare(await self.pool.model(hints))

    def recognize(
        self,
        hints: SpeechHints = NO_HINTS,
        *,
        on_partial: OnPartial | None = None,
        language: str | None = None,
    ) -> Utterance:
        """Raises `ConfigurationError` for a language that isn't English, `SpeechError` if the
        engine is not running."""
        _demand_english(language or hints.language)
        if self._scope is None:
            raise SpeechError(ENGINE, "the recogniser is not running")
        utterance = _SphinxUtterance(self, on_partial)
        self._open.add(utterance)
        utterance.run(self._scope, hints)
        return utterance

    def closed(self, utterance: Utterance) -> None:
        """An utterance reports its end."""
        self._open.discard(utterance)

    def statistics(self) -> PoolStatistics:
        """Loans, waits, restarts."""
        return self.pool.statistics()

    async def close(self) -> None:
        """End the workers; open utterances fail with `SpeechError`. Idempotent."""
        scope, self._scope = self._scope, None
        if scope is None:
            return
        for utterance in list(self._open):
            utterance.fail(SpeechError(ENGINE, "the recogniser is closed"))
        await scope.close()
        await self.pool.close()


def _demand_english(language: str) -> None:
    if language.lower().split("-")[0].split("_")[0] not in ("", "en", "eng", "english", "auto"):
        raise ConfigurationError(
            f"PocketSphinx understands English only, not {language!r}; "
            "choose another recogniser for this language"
        )


class _SphinxUtterance(Utterance):
    def __init__(self, engine: PocketSphinxSpeechToText, on_partial: OnPartial | None) -> None:
        self._engine = engine
        self._on_partial = on_partial
        self._buffer: list[bytes] = []
        self._samples = 0
        self._finished = False
        self._process: SphinxProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self._result: asyncio.Future[Transcription] = asyncio.get_running_loop().create_future()

    def run(self, scope: TaskScope, hints: SpeechHints) -> None:
        """Begin to borrow a worker."""
        self._task = scope.spawn(self._recognize(hints), name="utterance")

    def push(self, samples: Samples) -> None:
        room = self._engine.max_samples - self._samples
        if self._finished or self._result.done():
            return
        if len(samples) > room:
            self._engine.pool.dropped_samples += len(samples) - room
            samples = samples[:room]
        if not len(samples):
            return
        self._samples += len(samples)
        sound = samples.astype("<i2", copy=False).tobytes()
        if self._process is not None:
            self._process.hear(sound)
        else:
            self._buffer.append(sound)

    async def finish(self) -> Transcription:
        if not self._finished and not self._result.done():
            self._finished = True
            if self._process is not None:
                self._process.finish()
        try:
            return await asyncio.shield(self._result)
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
        if self._task is not None:
            self._task.cancel()
        self._release(given_up=True)

    async def _recognize(self, hints: SpeechHints) -> None:
        asked = self._engine.clock.monotonic()
        try:
            model = await self._engine.pool.model(hints)
            process = await self._engine.pool.borrow()
            self.decoder_wait_ms = (self._engine.clock.monotonic() - asked) * 1000
            self._lend(process, model)
            reply = await self._answer(process)
        except SpeechError as error:
            self.fail(error)
        except OSError as error:
            self.fail(SpeechError(ENGINE, f"the model can't be written: {error}"))
        else:
            self._result.set_result(_transcription(reply))
            self._release(given_up=False)

    def _lend(self, process: SphinxProcess, model: str) -> None:
        self._process = process
        process.begin(model, self._partial if self._on_partial is not None else None)
        for sound in self._buffer:
            process.hear(sound)
        self._buffer.clear()
        if self._finished:
            process.finish()

    async def _answer(self, process: SphinxProcess) -> dict[str, Any]:
        """As long as sound may come there is no limit but the worker's life."""
        answer = asyncio.ensure_future(process.answer())
        try:
            while not answer.done():
                finished = self._finished
                await asyncio.wait({answer}, timeout=self._engine.finish_seconds)
                if finished and not answer.done():
                    process.kill()
                    raise SpeechError(ENGINE, "the worker does not answer and was ended")
            return answer.result()
        finally:
            answer.cancel()

    def _partial(self, text: str) -> None:
        if self._on_partial is not None and not self._result.done():
            self._on_partial(Transcription(text, is_final=False))

    def _release(self, *, given_up: bool) -> None:
        self._buffer.clear()
        self._on_partial = self._task = None  # whoever listens keeps this utterance, too
        self._engine.closed(self)
        process, self._process = self._process, None
        if process is not None:
            if given_up:
                process.cancel()
            self._engine.pool.give_back(process)


def _transcription(reply: dict[str, Any]) -> Transcription:
    text: str = reply["text"]
    words, at = [], 0
    for word, start, end in reply["words"]:
        words.append(WordTime(word, start, end, at, len(word)))
        at += len(word) + 1
    return Transcription(text, is_final=True, confidence=reply["confidence"], words=tuple(words))
