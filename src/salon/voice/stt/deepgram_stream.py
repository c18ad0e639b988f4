"""A continuous stream: one connection over many turns, whose ends the service finds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, Final

from salon.media.frame import AudioChunk, Samples
from salon.voice.deepgram_wire import DeepgramSocket, beside
from salon.voice.errors import SpeechError
from salon.voice.stt.gather import Gathered
from salon.voice.stt.result import TranscriptionResult
from salon.voice.stt.streaming import StreamTranscriber

if TYPE_CHECKING:
    from salon.voice.stt.deepgram import DeepgramSTTProvider

FINALIZE_S: Final = 2.0
"""An answer to ``Finalize`` that has not come by then does not come: the service gives none where
it held no sound."""


class DeepgramStream(StreamTranscriber):
    """What was said is final at ``speech_final``, at ``UtteranceEnd``, after a chunk that
    `is_final`, and at the end of the sound. A chunk that `is_final` always gets a result, perhaps
    an empty one."""

    def __init__(
        self,
        engine: DeepgramSTTProvider,
        sound: AsyncIterator[AudioChunk],
        language: str | None,
        finalize_timeout: float = FINALIZE_S,
    ) -> None:
        self._deepgram = engine
        self._query = engine.config.stream_query(language)
        self._finalize_timeout = finalize_timeout
        self._gathered = Gathered(engine.name)
        self._words: list[dict[str, Any]] = []
        self._interim = False
        self._unasked = False
        self._answered = False
        self._due: deque[float] = deque()
        self._stale = 0
        self._closing_at: float | None = None
        self._patience: asyncio.Timeout | None = None
        self._failure: SpeechError | None = None
        self._loop = asyncio.get_running_loop()
        super().__init__(engine, aiter(sound), language)

    async def fail(self, error: SpeechError) -> None:
        """End with this error, after what is already known."""
        self._failure = error
        await self.close()

    async def _listen(self) -> None:
        try:
            async for chunk in self._sound:
                pieces = list(self._reader.feed(chunk))
                if chunk.data:
                    break
            else:
                return
            async with (
                self._deepgram.service.stream("/v1/listen", self._query) as socket,
                beside(self._send(socket, chunk, pieces), socket.keep_alive()),
            ):
                await self._read(socket)
        except asyncio.CancelledError:
            if self._failure is not None:
                raise self._failure from None
            raise

    # -- sound ------------------------------------------------------------------------------------

    async def _send(self, socket: DeepgramSocket, first: AudioChunk, sound: list[Samples]) -> None:
        await self._pass_on(socket, sound, is_final=first.is_final)
        async for chunk in self._sound:
            await self._pass_on(socket, self._reader.feed(chunk), is_final=chunk.is_final)
        await self._pass_on(socket, self._reader.flush(), is_final=False)
        self._closing_at = self._loop.time() + self._deepgram.service.timeout
        self._remind()
        await socket.command("CloseStream")

    async def _pass_on(
        self, socket: DeepgramSocket, sound: Iterable[Samples], *, is_final: bool
    ) -> None:
        for samples in sound:
            self._unasked = True
            await socket.send(samples.astype("<i2", copy=False).tobytes())
        if is_final and self._unasked:
            await self._pass_on(socket, self._reader.flush(), is_final=False)
            self._unasked = False
            self._due.append(self._loop.time() + self._finalize_timeout)
            self._remind()
            await socket.command("Finalize")

    # -- results ----------------------------------------------------------------------------------

    def _deadline(self) -> float | None:
        return self._due[0] if self._due else self._closing_at

    def _remind(self) -> None:
        """Whoever waits for a message now waits no longer than this."""
        if self._patience is not None:
            self._patience.reschedule(self._deadline())

    async def _read(self, socket: DeepgramSocket) -> None:
        while True:
            try:
                async with asyncio.timeout_at(self._deadline()) as self._patience:
                    try:
                        message = await socket.receive()
                    finally:
                        self._patience = None
            except TimeoutError:
                await self._overdue()
                continue
            kind = str(message.get("type")) if isinstance(message, dict) else ""
            if message is None or (kind == "Metadata" and self._closing_at is not None):
                if self._closing_at is None or (message is None and not self._answered):
                    raise self._deepgram.service.error("the service ended the stream too early")
                await self._give(always=bool(self._due))
                return
            if kind == "Results" and isinstance(message, dict):
                await self._results(message)
            elif kind == "UtteranceEnd":
                await self._give()
            elif kind == "SpeechStarted":
                await self._put(TranscriptionResult("", is_final=False, is_speech_start=True))

    async def _results(self, message: dict[str, Any]) -> None:
        self._answered = True
        result = self._deepgram.read(message)
        finalized = message.get("from_finalize") is True
        if finalized and self._stale:
            self._stale -= 1
            return
        if result.is_final:
            self._words += result.words
            self._interim = False
        if result.text or result.is_final:
            partial = self._gathered.add(result)
            if partial is not None:
                self._interim = True
                self._heard(partial)
        if finalized and self._due:
            self._due.popleft()
            await self._give(always=True)
        elif result.is_final and (finalized or message.get("speech_final") is True):
            await self._give()

    async def _overdue(self) -> None:
        if not self._due:
            raise self._deepgram.service.late()
        self._due.popleft()
        # What is taken as said now must not be said again by the answer that comes too late.
        self._stale += self._interim
        await self._give(always=True)

    async def _give(self, *, always: bool = False) -> None:
        """All that was said since the last time."""
        result = self._gathered.result().to_result()
        if not result.text and not always:
            return
        result.words = self._words
        self._gathered, self._words = Gathered(self._deepgram.name), []
        self._interim = False
        self._partial.clear()
        await self._put(result)

    async def _put(self, result: TranscriptionResult) -> None:
        await self._finals.put(result)
        self._news.set()
